//! Reading from archives, against reading the same from segments; and what packing again writes.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod common;
#[path = "common/store.rs"]
#[expect(dead_code, reason = "its stores have options")]
mod store;

use std::time::Duration;

use common::data::{Key, check, mix, value};
use common::{Scale, timed};
use zipcask::{Db, Durability, Options};

fn main() {
    let scale = Scale::new("archive: gets by a reader from archives, against gets from segments", 1_000_000);
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder can be written");
    let [segments, packed, rewritten] = ["segments", "packed", "rewritten"].map(|name| {
        let db = Options::new().background(false).open(home.path().join(name)).expect("a new store opens");
        store::load(&db, scale.keys);
        db.seal().expect("the log is sealed");
        db
    });
    let first = packed.archive().expect("segments are packed");
    overwrite(&rewritten, scale.keys, 3);
    overwrite(&segments, scale.keys, 3);
    rewritten.compact().expect("a compaction succeeds");
    let run: Vec<_> = (0..scale.of(200_000) as u64).map(|at| Key::new(mix(at) % scale.keys)).collect();
    for (name, db) in [("packed as they were", &packed), ("rewritten", &rewritten)] {
        read(db, &run);
        read(&segments, &run);
        scale.ratio(&format!("  {name} / segments"), 101, |_| read(db, &run), |_| read(&segments, &run));
    }
    overwrite(&packed, scale.keys, 10);
    packed.seal().expect("the log is sealed");
    let second = packed.archive().expect("segments are packed");
    println!(
        "packing {} records wrote {} bytes; after a tenth of the keys was put again, packing wrote {} bytes: {:.3} of that",
        first.records,
        first.written_bytes,
        second.written_bytes,
        second.written_bytes as f64 / first.written_bytes as f64
    );
}

/// Puts one key of so many again, scattered, with the value that it has.
fn overwrite(db: &Db, keys: u64, one_in: u64) {
    let mut batch = db.batch();
    for id in (0..keys).filter(|id| mix(*id ^ 1 << 50).is_multiple_of(one_in)) {
        batch.put(&**db, Key::new(id), value(id, 0));
    }
    batch.commit_with(Durability::Os).expect("a batch is taken");
}

fn read(db: &Db, run: &[Key]) -> Duration {
    let mut reader = db.reader();
    timed(|| {
        for key in run {
            check(key.id, reader.get(key).expect("a get does not fail").expect("a key that was loaded"));
        }
        reader.refresh();
    })
}
