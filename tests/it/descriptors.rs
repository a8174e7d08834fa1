//! A process without descriptors: told so, nothing lost, and it heals.
//!
//! The limit is the process's, so the test runs in a child: this executable again, asked for one test.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use zipcask::{Db, Durability, ErrorKind, Options};

const DIR: &str = "ZIPCASK_DESCRIPTORS_DIR";
/// Plenty for what the test harness and a store hold.
const LIMIT: libc::rlim_t = 100;

/// Opens files until there are no descriptors left.
fn take_all() -> Vec<File> {
    let limit = libc::rlimit { rlim_cur: LIMIT, rlim_max: LIMIT };
    // SAFETY: reads the struct alone, and changes nothing but a limit of this process, which is the test's own.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    assert_eq!(File::open("/dev/null").unwrap_err().raw_os_error(), Some(libc::EMFILE));
    files
}

fn options(durability: Durability) -> Options {
    Options::new().segment_size(64 << 10).durability(durability)
}

fn value(i: u32) -> Vec<u8> {
    vec![i as u8; 1000]
}

/// Puts until one fails, which must be for want of descriptors; returns the first that was not taken.
fn put_from(db: &Db, from: u32) -> u32 {
    for i in from..from + 10_000 {
        if let Err(error) = db.put(i.to_le_bytes(), value(i)) {
            assert_eq!(error.kind(), ErrorKind::ResourceLimit, "{error:?}");
            return i;
        }
    }
    panic!("nothing failed")
}

fn assert_holds(db: &Db, count: u32) {
    for i in 0..count {
        assert_eq!(db.get(i.to_le_bytes()).unwrap().unwrap(), value(i), "{i}");
    }
    assert_eq!(db.len(), u64::from(count));
}

fn run_out(dir: &Path, durability: Durability) {
    let db = options(durability).open(dir.join("store")).unwrap();
    db.put(0_u32.to_le_bytes(), value(0)).unwrap();
    let mut files = take_all();
    let mut count = put_from(&db, 1);
    for _ in 0..3 {
        assert_eq!(put_from(&db, count), count, "it is the same again");
        assert_holds(&db, count);
        db.sync().unwrap();
        // What a rotation takes: the file, and for a moment one more where the folder's parent is synced.
        files.truncate(files.len() - 3);
        db.put(count.to_le_bytes(), value(count)).unwrap();
        files.extend(take_all());
        count = put_from(&db, count + 1);
    }
    let error = options(durability).open(dir.join("other")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceLimit, "{error:?}");
    assert!(!error.to_string().is_empty());
    db.close().unwrap();
    files.extend(take_all());
    let error = options(durability).open(dir.join("store")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceLimit, "{error:?}");
    drop(files);
    let db = options(durability).open(dir.join("store")).unwrap();
    assert_holds(&db, count);
    assert!(db.verify().unwrap().is_clean());
}

#[test]
fn child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    run_out(&Path::new(&dir).join("sync"), Durability::Sync);
    run_out(&Path::new(&dir).join("os"), Durability::Os);
}

#[test]
fn a_process_without_descriptors_is_told_so_loses_nothing_and_goes_on_with_more() {
    let dir = tempfile::tempdir().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "descriptors::child", "--test-threads=1"])
        .env(DIR, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}
