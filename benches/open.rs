//! Opening a store: closed cleanly, and killed with the log unsealed; each against reading all of its files once, which no open that
//! rebuilds an index can do without.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

#[expect(dead_code, reason = "its rounds are of its own kind")]
mod common;
#[path = "common/store.rs"]
#[expect(dead_code, reason = "its stores have options")]
mod store;

use std::fs;
use std::path::Path;
use std::time::Instant;

use common::Scale;
use common::data::{Key, check, mix};
use common::figures::Figures;
use zipcask::{Db, Durability, Options};

fn main() {
    let scale = Scale::new("open: milliseconds until the first get was answered", 1_000_000);
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder can be written");
    // "values" on the command line: nothing but the last part.
    let some = if std::env::args().any(|arg| arg == "values") { 0 } else { 2 };
    for keys in [scale.keys, 10 * scale.keys].into_iter().take(some) {
        let dir = home.path().join(keys.to_string());
        let db = Options::new().background(false).open(&dir).expect("a new store opens");
        store::load(&db, keys);
        // What a kill leaves: the files as they are, without a close.
        let killed = home.path().join("killed");
        copy(&dir, &killed);
        rounds(&format!("{keys} keys, killed before any close"), 7, || {
            let again = home.path().join("again");
            copy(&killed, &again);
            let took = open(&again, keys);
            fs::remove_dir_all(&again).expect("the copy goes");
            took
        });
        fs::remove_dir_all(&killed).expect("the copy goes");
        db.close().expect("the store closes");
        rounds(&format!("{keys} keys, closed"), 15, || open(&dir, keys));
        let db = Options::new().open(&dir).expect("the store opens");
        db.compact().expect("a compaction succeeds");
        db.close().expect("the store closes");
        rounds(&format!("{keys} keys, compacted and closed"), 15, || open(&dir, keys));
        fs::remove_dir_all(&dir).expect("the store goes");
    }
    for value_len in [100, 1 << 10, 4 << 10, 64 << 10] {
        without_index(home.path(), value_len, (scale.keys * 1024 / value_len).min(2 * scale.keys));
    }
}

/// What the hints of sealed segments are worth where no index was written down.
fn without_index(home: &Path, value_len: u64, keys: u64) {
    let (dir, aside) = (home.join("values"), home.join("hints"));
    let options = || Options::new().durability(Durability::Os).background(false);
    let db = options().open(&dir).expect("a new store opens");
    let value = vec![7; value_len as usize];
    for id in 0..keys {
        db.put(Key::new(id), &value).expect("a put is taken");
    }
    zipcask::sim::make_hints(&db).expect("hints are made");
    db.close().expect("the store closes");
    let had = fs::exists(dir.join("hints")).expect("a folder is looked for");
    for (what, with) in [("with hints", true), ("without", false)] {
        if had && !with {
            fs::rename(dir.join("hints"), &aside).expect("hints go aside");
        }
        let mut hinted = 0;
        rounds(&format!("{keys} x {value_len} bytes, no index, {what}"), 9, || {
            let _ = fs::remove_dir_all(dir.join("checkpoint"));
            let start = Instant::now();
            let db = Db::open(&dir).expect("the store opens");
            let took = start.elapsed().as_secs_f64() * 1e3;
            let recovery = db.stats().recovery;
            hinted = recovery.hinted;
            assert_eq!(db.len(), keys);
            assert_eq!(db.get(Key::new(keys / 2)).expect("a get does not fail").as_deref(), Some(&*value));
            took
        });
        assert!(hinted == 0 || with, "there is no hint");
        println!("    {hinted} segments by their hints");
    }
    let _ = fs::remove_dir_all(aside);
    fs::remove_dir_all(&dir).expect("the store goes");
}

/// Prints what the rounds come to.
fn rounds(name: &str, count: usize, mut round: impl FnMut() -> f64) {
    let took: Vec<_> = (0..count).map(|_| round()).collect();
    let it = Figures::of(&took);
    println!("{name:<44} {:>9.2} ms   [{:.2} .. {:.2}]", it.median, it.p5, it.p95);
}

/// Opens, gets one key, and checks some more after the clock was stopped.
fn open(dir: &Path, keys: u64) -> f64 {
    let start = Instant::now();
    let db = Db::open(dir).expect("the store opens");
    get(&db, 1);
    let took = start.elapsed().as_secs_f64() * 1e3;
    (0..1_000.min(keys)).for_each(|at| get(&db, mix(at) % keys));
    assert_eq!(db.len(), keys);
    took
}

fn get(db: &Db, id: u64) {
    let found = db.get(Key::new(id)).expect("a get does not fail").expect("a key that was loaded");
    check(id, &found);
}

/// Copies a store, but for its lock.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder is made");
    for entry in fs::read_dir(from).expect("a folder is listed") {
        let path = entry.expect("an entry is there").path();
        let to = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).expect("a file is copied");
        }
    }
}
