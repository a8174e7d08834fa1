//! A whole store that is put back as it was once: the store cannot notice, and whoever noted a seqno can.

use std::fs;
use std::path::Path;

use zipcask::{Db, Durability, ErrorKind, Options, Seqno};

use crate::bytes::{FIRST, copy, small};

fn value(round: u32, i: u32) -> Vec<u8> {
    format!("{i} of round {round}").into_bytes()
}

fn write(db: &Db, round: u32) -> Seqno {
    (0..300_u32).map(|i| db.put(i.to_le_bytes(), value(round, i)).unwrap()).max().unwrap()
}

fn shows(db: &Db, round: u32) -> bool {
    (0..300_u32).all(|i| db.get(i.to_le_bytes()).unwrap().unwrap() == value(round, i)) && db.len() == 300
}

/// A store of a first round, as it is then; and of a second one that is noted and taken back. Returns the seqno that was noted.
fn rolled_back(dir: &Path, jobs: fn(&Db)) -> Seqno {
    let (store, then) = (dir.join("store"), dir.join("then"));
    let db = small(&store);
    write(&db, 1);
    jobs(&db);
    db.close().unwrap();
    copy(&store, &then);
    let db = small(&store);
    let noted = write(&db, 2);
    jobs(&db);
    assert!(shows(&db, 2));
    db.close().unwrap();
    fs::remove_dir_all(&store).unwrap();
    copy(&then, &store);
    noted
}

const JOBS: [fn(&Db); 3] = [
    |_| {},
    |db| {
        db.compact().unwrap();
    },
    |db| {
        db.compact().unwrap();
        db.checkpoint().unwrap();
    },
];

#[test]
fn a_store_that_was_put_back_whole_is_the_one_of_then_and_finds_nothing_wrong() {
    for jobs in JOBS {
        let dir = tempfile::tempdir().unwrap();
        let noted = rolled_back(dir.path(), jobs);
        let db = small(dir.path().join("store"));
        assert!(shows(&db, 1) && db.verify().unwrap().is_clean());
        assert!(db.last_seqno() < noted);
        write(&db, 3);
        db.close().unwrap();
        assert!(shows(&small(dir.path().join("store")), 3));
    }
}

#[test]
fn whoever_noted_a_seqno_is_told_that_the_store_has_not_come_so_far() {
    for jobs in JOBS {
        let dir = tempfile::tempdir().unwrap();
        let noted = rolled_back(dir.path(), jobs);
        let db = small(dir.path().join("store"));
        for error in [db.wait_durable(noted).unwrap_err(), db.tail(noted).unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
            assert!(error.to_string().contains(&db.last_seqno().to_string()), "{error:?}");
        }
        let read_only = Db::open_read_only(dir.path().join("store")).unwrap();
        assert_eq!(read_only.wait_durable(noted).unwrap_err().kind(), ErrorKind::Invalid);
        // What was there then is enough for whoever noted no more.
        db.wait_durable(Seqno::from(1)).unwrap();
        db.wait_durable(db.last_seqno()).unwrap();
    }
}

#[test]
fn a_seqno_that_was_noted_holds_for_the_store_that_gave_it_after_a_kill_and_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options::new().durability(Durability::Sync).segment_size(64 << 10).background(false);
    let db = options().open(dir.path().join("store")).unwrap();
    let noted = (0..300_u32).map(|i| db.put(i.to_le_bytes(), value(1, i)).unwrap()).max().unwrap();
    copy(&dir.path().join("store"), &dir.path().join("killed"));
    db.close().unwrap();
    for name in ["store", "killed"] {
        options().open(dir.path().join(name)).unwrap().wait_durable(noted).unwrap();
    }
}

#[test]
fn a_file_that_was_put_back_without_the_others_is_damage_where_writes_are_missing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, then) = (dir.path().join("store"), dir.path().join("then"));
    let db = small(&store);
    db.put("one", "1").unwrap();
    copy(&store, &then);
    // The copy's first segment ends with one write, and says so; the store's goes on.
    small(&then).close().unwrap();
    db.put("two", "2").unwrap();
    db.seal().unwrap();
    db.put("three", "3").unwrap();
    db.close().unwrap();
    fs::copy(then.join(FIRST), store.join(FIRST)).unwrap();
    for _ in 0..2 {
        let error = Options::new().open(&store).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption, "{error:?}");
        assert!(error.to_string().contains("0000000002.seg"), "{error}");
        let _ = fs::remove_dir_all(store.join("checkpoint"));
    }
}

#[test]
fn a_log_that_lost_its_newest_file_is_the_one_of_before_whatever_index_was_written_down() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let db = small(&store);
    write(&db, 1);
    db.seal().unwrap();
    let files =
        || -> Vec<_> { fs::read_dir(store.join("segments")).unwrap().map(|entry| entry.unwrap().path()).collect() };
    let before = files();
    // Not all, so that the index says something of what is left.
    let last = (0..150_u32).map(|i| db.put(i.to_le_bytes(), value(2, i)).unwrap()).max().unwrap();
    db.checkpoint().unwrap();
    db.close().unwrap();
    files().iter().filter(|path| !before.contains(path)).for_each(|path| fs::remove_file(path).unwrap());
    let db = small(&store);
    assert!(db.last_seqno() < last, "a file was lost");
    assert!(shows(&db, 1), "and nothing else");
}
