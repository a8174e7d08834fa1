//! Stores on the disk that has the build, and what fills them.

use crate::common::data::{Key, value};

/// Keys in a batch of a load.
const BATCH: u64 = 1_000;

/// An empty store on the disk that has the build, and its directory.
pub(crate) fn store() -> (tempfile::TempDir, zipcask::Db) {
    let dir = tempfile::Builder::new().prefix("bench-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
    let dir = dir.expect("the target folder can be written");
    let db = zipcask::Db::open(dir.path().join("store")).expect("a new store opens");
    (dir, db)
}

/// Puts ids `0..keys` in batches, and syncs.
pub(crate) fn load(db: &zipcask::Db, keys: u64) {
    for from in (0..keys).step_by(BATCH as usize) {
        let mut batch = db.batch();
        for id in from..keys.min(from + BATCH) {
            batch.put(&**db, Key::new(id).as_bytes(), value(id, 0));
        }
        batch.commit_with(zipcask::Durability::Os).expect("a batch is taken");
    }
    db.sync().expect("the disk syncs");
}
