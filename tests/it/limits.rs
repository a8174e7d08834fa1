//! A process at its limits, of descriptors or of the length of files: told so, nothing lost, and it heals.
//!
//! Limits are the process's, so each test runs in a child: this executable again, asked for one test.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use zipcask::{Db, Durability, ErrorKind, Options};

const DIR: &str = "ZIPCASK_LIMITS_DIR";
/// Plenty for what the test harness and a store hold.
const DESCRIPTORS: libc::rlim_t = 100;

fn limit_of(what: libc::__rlimit_resource_t) -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes the struct alone.
    assert_eq!(unsafe { libc::getrlimit(what, &raw mut limit) }, 0);
    limit
}

/// Sets a limit of this process, the child.
fn limit(what: libc::__rlimit_resource_t, to: libc::rlim_t) {
    let limit = libc::rlimit { rlim_cur: to, ..limit_of(what) };
    // SAFETY: reads the struct alone, and changes nothing but a limit of this process, which is the test's own.
    assert_eq!(unsafe { libc::setrlimit(what, &raw const limit) }, 0);
}

/// Opens files until there are no descriptors left.
fn take_all() -> Vec<File> {
    limit(libc::RLIMIT_NOFILE, DESCRIPTORS);
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

/// Puts until one fails, as `kind`; returns the first that was not taken.
fn put_from(db: &Db, from: u32, kind: ErrorKind) -> u32 {
    for i in from..from + 10_000 {
        if let Err(error) = db.put(i.to_le_bytes(), value(i)) {
            assert_eq!(error.kind(), kind, "{error:?}");
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

fn run_out_of_descriptors(dir: &Path, durability: Durability) {
    // A spare made just in time has a descriptor, and its making can go on with that of what was sealed.
    let options = |durability| options(durability).background(false);
    let db = options(durability).open(dir.join("store")).unwrap();
    db.put(0_u32.to_le_bytes(), value(0)).unwrap();
    let mut files = take_all();
    let mut count = put_from(&db, 1, ErrorKind::ResourceLimit);
    for _ in 0..3 {
        assert_eq!(put_from(&db, count, ErrorKind::ResourceLimit), count, "it is the same again");
        assert_holds(&db, count);
        db.sync().unwrap();
        // What a rotation takes: the file, and for a moment one more where the folder's parent is synced.
        files.truncate(files.len() - 3);
        db.put(count.to_le_bytes(), value(count)).unwrap();
        files.extend(take_all());
        count = put_from(&db, count + 1, ErrorKind::ResourceLimit);
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

/// As `ulimit -f` does. The signal that kills whoever goes beyond is not ignored.
fn run_into_the_longest_file(dir: &Path, durability: Durability) {
    let db = options(durability).open(dir).unwrap();
    db.put(0_u32.to_le_bytes(), value(0)).unwrap();
    let free = limit_of(libc::RLIMIT_FSIZE).rlim_cur;
    limit(libc::RLIMIT_FSIZE, 63 << 10);
    let count = put_from(&db, 1, ErrorKind::NoSpace);
    assert_holds(&db, count);
    assert_eq!(put_from(&db, count, ErrorKind::NoSpace), count);
    limit(libc::RLIMIT_FSIZE, free);
    for i in count..count + 100 {
        db.put(i.to_le_bytes(), value(i)).unwrap();
    }
    db.close().unwrap();
    assert_holds(&options(durability).open(dir).unwrap(), count + 100);
}

#[test]
fn child_without_descriptors() {
    let Ok(dir) = std::env::var(DIR) else { return };
    run_out_of_descriptors(&Path::new(&dir).join("sync"), Durability::Sync);
    run_out_of_descriptors(&Path::new(&dir).join("os"), Durability::Os);
}

#[test]
fn child_with_short_files() {
    let Ok(dir) = std::env::var(DIR) else { return };
    run_into_the_longest_file(&Path::new(&dir).join("sync"), Durability::Sync);
    run_into_the_longest_file(&Path::new(&dir).join("os"), Durability::Os);
}

/// Runs one of the tests above in a process of its own.
fn run_child(test: &str) {
    let dir = tempfile::tempdir().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("limits::{test}"), "--test-threads=1"])
        .env(DIR, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn a_process_without_descriptors_is_told_so_loses_nothing_and_goes_on_with_more() {
    run_child("child_without_descriptors");
}

#[test]
fn a_process_that_may_write_no_longer_files_is_told_no_space_and_goes_on_with_more() {
    run_child("child_with_short_files");
}
