//! A process that gets no thread, and one whose files somebody cuts under its mappings.
//!
//! Each test runs in a child: this executable again, asked for one test.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use zipcask::{Db, ErrorKind, Options, ReadMode};

const DIR: &str = "ZIPCASK_HOSTILE_DIR";
const MODE: &str = "ZIPCASK_HOSTILE_MODE";

/// What a child that was to go on exits with.
const SURVIVED: i32 = 77;

const COUNT: u32 = 6000;

fn options() -> Options {
    Options::new().segment_size(64 << 10)
}

fn value(i: u32) -> Vec<u8> {
    vec![i as u8; 900]
}

/// Runs one test of this executable in a process of its own.
fn child(name: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]).envs(variables.iter().copied());
    command.output().unwrap()
}

fn told_directory() -> Option<PathBuf> {
    std::env::var_os(DIR).map(PathBuf::from)
}

fn assert_holds(db: &Db, count: u32) {
    assert_eq!(db.len(), u64::from(count));
    for i in 0..count {
        assert_eq!(db.get(i.to_le_bytes()).unwrap().unwrap(), value(i), "{i}");
    }
}

#[test]
fn child_without_threads() {
    let Some(dir) = told_directory() else { return };
    let no_thread = std::thread::Builder::new().spawn(|| ()).map(drop);
    assert!(no_thread.is_err(), "the stack of a thread is larger than the address space");
    // What a process that was killed has left: there is much to read, for which an open takes threads where it gets them.
    let db = options().open(&dir).unwrap();
    assert_holds(&db, COUNT);
    for i in COUNT..COUNT + 500 {
        db.put(i.to_le_bytes(), value(i)).unwrap();
    }
    for i in 0..COUNT {
        db.delete_with(i.to_le_bytes(), zipcask::Durability::Os).unwrap();
    }
    db.seal().unwrap();
    assert!(db.compact().unwrap().archives > 0);
    db.checkpoint().unwrap();
    assert_eq!(db.len(), 500);
    assert!(db.verify().unwrap().is_clean());
    db.close().unwrap();
    let db = options().open(&dir).unwrap();
    assert_eq!(db.len(), 500);
    db.put("after", "a reopen").unwrap();
    db.close().unwrap();
}

#[test]
fn a_process_that_gets_no_thread_opens_writes_compacts_and_closes() {
    let dir = tempfile::tempdir().unwrap();
    let (store, killed) = (dir.path().join("store"), dir.path().join("killed"));
    let db = options().background(false).open(&store).unwrap();
    for i in 0..COUNT {
        db.put_with(i.to_le_bytes(), value(i), zipcask::PutOptions::new().durability(zipcask::Durability::Os)).unwrap();
    }
    // A copy of an open store is what a kill leaves.
    copy(&store, &killed);
    drop(db);
    // No address space has room for such a stack.
    let variables = [(DIR, killed.to_str().unwrap()), ("RUST_MIN_STACK", "1125899906842624")];
    let output = child("hostile_world::child_without_threads", &variables);
    assert!(output.status.success(), "{output:?}");
    let db = options().open(&killed).unwrap();
    assert_eq!(db.len(), 501);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to)
        } else {
            fs::copy(entry.path(), to).map(|_| ()).unwrap()
        }
    }
}

const SEGMENT: &str = "segments/0000000001.seg";

#[test]
fn child_with_a_cut_file() {
    let Some(dir) = told_directory() else { return };
    let mapped = std::env::var(MODE).unwrap() == "mapped";
    let mode = if mapped { ReadMode::Mmap } else { ReadMode::Positioned };
    let db = options().read_mode(mode).background(false).open(dir.join("store")).unwrap();
    for i in 0..40_u32 {
        db.put(i.to_le_bytes(), value(i)).unwrap();
    }
    let segment = dir.join("store").join(SEGMENT);
    fs::copy(&segment, dir.join("saved")).unwrap();
    fs::OpenOptions::new().write(true).open(&segment).unwrap().set_len(8192).unwrap();
    // The first lie in what is left of it. In a mapping the others are SIGBUS.
    let mut told = Vec::new();
    for i in 0..40_u32 {
        match db.get(i.to_le_bytes()) {
            Ok(got) => assert_eq!(got.unwrap(), value(i), "{i}"),
            Err(error) => told.push(error.kind()),
        }
    }
    assert!(told.len() > 30, "{told:?}");
    assert!(told.iter().all(|kind| matches!(kind, ErrorKind::Io | ErrorKind::Corruption)), "{told:?}");
    // It goes without closing the store, as who is killed.
    std::process::exit(SURVIVED);
}

#[test]
fn a_file_that_is_cut_under_a_mapping_kills_the_process_and_nothing_else_and_is_an_error_where_it_is_read() {
    for mode in ["mapped", "positioned"] {
        let dir = tempfile::tempdir().unwrap();
        let output =
            child("hostile_world::child_with_a_cut_file", &[(DIR, dir.path().to_str().unwrap()), (MODE, mode)]);
        match mode {
            "mapped" => assert_eq!(output.status.signal(), Some(libc::SIGBUS), "{output:?}"),
            _ => assert_eq!(output.status.code(), Some(SURVIVED), "{output:?}"),
        }
        let store = dir.path().join("store");
        let cut = dir.path().join("cut");
        copy(&store, &cut);
        match options().open(&cut) {
            Ok(db) => {
                let left = db.len() as u32;
                assert!(left < 40);
                assert_holds(&db, left);
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corruption),
        }
        // With the file as it was, everything is there: the process died as of a kill.
        fs::copy(dir.path().join("saved"), store.join(SEGMENT)).unwrap();
        let db = options().open(&store).unwrap();
        assert_holds(&db, 40);
    }
}
