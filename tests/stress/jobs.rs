//! Compaction beside threads that read and write.

use std::sync::atomic::{AtomicBool, Ordering};

use zipcask::Db;

use crate::ways::{Checked, told};

/// Compacts and packs, one after the other, until `done`; how many archives were written.
pub(crate) fn run(db: &Db, done: &AtomicBool) -> Checked<u64> {
    let mut archives = 0;
    for round in 0_u64.. {
        if done.load(Ordering::Relaxed) {
            break;
        }
        archives += match round % 3 {
            0 => told(db.compact())?.archives,
            _ => {
                told(db.seal())?;
                told(db.archive())?.archives
            }
        };
    }
    Ok(archives)
}
