//! A keyspace that was dropped, and another one made after it: nothing of the one is seen in, or gets into, the other.

use zipcask::{Db, Durability, ErrorKind, KeyspaceOptions, Options};

fn open(dir: &std::path::Path) -> Db {
    let small = Options::new().durability(Durability::Os).segment_size(64 << 10).background(false);
    small.open(dir).unwrap()
}

#[test]
fn a_snapshot_shows_nothing_in_a_keyspace_made_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let old = db.keyspace("old").unwrap();
    old.put("key", "of old").unwrap();
    let snapshot = db.snapshot();
    old.put("key", "of old, newer").unwrap();
    assert!(db.drop_keyspace("old").unwrap());
    let new = db.keyspace("new").unwrap();
    assert_eq!(snapshot.get(&new, "key").unwrap(), None);
    assert!(!snapshot.contains_key(&new, "key").unwrap());
    assert_eq!(snapshot.iter(&new).count(), 0);
}

#[test]
fn a_snapshot_shows_no_range_in_a_keyspace_made_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let ordered = KeyspaceOptions::new().ordered(true);
    let old = db.keyspace_with("old", ordered).unwrap();
    old.put("a", "of old").unwrap();
    old.put("b", "of old").unwrap();
    let snapshot = db.snapshot();
    old.put("a", "of old, newer").unwrap();
    assert!(db.drop_keyspace("old").unwrap());
    let new = db.keyspace_with("new", ordered).unwrap();
    new.put("b", "of new").unwrap();
    let shown: Vec<_> = snapshot.range(&new, "a"..).unwrap().map(Result::unwrap).collect();
    assert!(shown.is_empty(), "{shown:?}");
    assert_eq!(snapshot.iter(&new).count(), 0);
    let shown: Vec<_> = snapshot.range(&old, "a"..).unwrap().map(|pair| pair.unwrap().1.to_vec()).collect();
    assert_eq!(shown, [b"of old", b"of old"]);
}

#[test]
fn a_transaction_sees_nothing_in_a_keyspace_made_after_it_began() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let old = db.keyspace("old").unwrap();
    old.put("key", "of old").unwrap();
    let mut transaction = db.begin();
    old.put("key", "of old, newer").unwrap();
    db.drop_keyspace("old").unwrap();
    let new = db.keyspace("new").unwrap();
    assert_eq!(transaction.get(&new, "key").unwrap(), None);
    transaction.put(&new, "other", "1").unwrap();
    transaction.commit().unwrap();
    assert_eq!(new.get("other").unwrap().unwrap(), b"1");
}

#[test]
fn what_a_transaction_wrote_to_a_dropped_keyspace_gets_into_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let old = db.keyspace("old").unwrap();
    let mut transaction = db.begin();
    transaction.put(&old, "key", "of old").unwrap();
    db.drop_keyspace("old").unwrap();
    let new = db.keyspace("new").unwrap();
    let done = transaction.commit();
    assert_eq!(new.get("key").unwrap(), None, "{done:?}");
    assert!(done.is_err(), "{done:?}");
}

#[test]
fn what_a_transaction_read_in_a_dropped_keyspace_is_a_conflict() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let old = db.keyspace("old").unwrap();
    old.put("key", "of old").unwrap();
    let mut transaction = db.begin();
    assert!(transaction.contains_key(&old, "key").unwrap());
    transaction.put(&db, "answer", "it is there").unwrap();
    db.drop_keyspace("old").unwrap();
    let new = db.keyspace("new").unwrap();
    new.put("key", "of new").unwrap();
    assert_eq!(transaction.commit().unwrap_err().kind(), ErrorKind::Conflict);
}

#[test]
fn what_a_batch_has_for_a_dropped_keyspace_gets_into_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let old = db.keyspace("old").unwrap();
    let mut batch = db.batch();
    batch.put(&old, "key", "of old").put(&db, "key", "of the default one");
    db.drop_keyspace("old").unwrap();
    let new = db.keyspace("new").unwrap();
    let done = batch.commit();
    assert_eq!(new.get("key").unwrap(), None, "{done:?}");
    assert!(done.is_err(), "{done:?}");
    assert!(!db.contains_key("key").unwrap());
}

#[test]
fn a_value_being_written_to_a_dropped_keyspace_gets_into_no_other() {
    use std::io::Write;
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    for len in [3, 3 << 20] {
        let old = db.keyspace("old").unwrap();
        let mut writer = old.put_writer("key", len).unwrap();
        writer.write_all(&vec![1; len as usize]).unwrap();
        db.drop_keyspace("old").unwrap();
        let new = db.keyspace("new").unwrap();
        let done = writer.finish();
        assert!(!new.contains_key("key").unwrap(), "{done:?}");
        assert!(done.is_err(), "{done:?}");
        db.drop_keyspace("new").unwrap();
    }
}

#[test]
fn the_feed_calls_no_write_by_the_name_of_a_keyspace_made_later() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    db.keyspace("old").unwrap().put("key", "of old").unwrap();
    db.drop_keyspace("old").unwrap();
    db.keyspace("new").unwrap().put("key", "of new").unwrap();
    for batch in db.tail(1.into()).unwrap() {
        for change in batch.unwrap().changes() {
            assert_eq!(change.keyspace == "new", change.value.as_deref() == Some(b"of new"), "{change:?}");
        }
    }
}

#[test]
fn the_feed_shows_what_was_written_before_a_keyspace_of_the_same_name_was_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    db.keyspace("same").unwrap().put("old", "1").unwrap();
    db.drop_keyspace("same").unwrap();
    let same = db.keyspace("same").unwrap();
    let mut copy = std::collections::BTreeMap::new();
    for batch in db.tail(1.into()).unwrap() {
        for change in batch.unwrap().changes().iter().filter(|change| change.keyspace == "same") {
            copy.insert(change.key.to_vec(), change.value.clone());
        }
    }
    assert_eq!(copy.len() as u64, same.len(), "{copy:?}");
}

#[test]
fn old_handles_are_not_handles_of_what_was_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let old = db.keyspace("same").unwrap();
    old.put("key", "of old").unwrap();
    let mut reader = old.reader();
    db.drop_keyspace("same").unwrap();
    let new = db.keyspace_with("same", KeyspaceOptions::new().ordered(true)).unwrap();
    new.put("key", "of new").unwrap();
    assert_eq!(old.get("key").map_err(|error| error.kind()), Err(ErrorKind::NotFound));
    assert_eq!(old.put("key", "x").map_err(|error| error.kind()), Err(ErrorKind::NotFound));
    assert_eq!(old.delete("key").map_err(|error| error.kind()), Err(ErrorKind::NotFound));
    assert_eq!(old.increment("n", 1).map_err(|error| error.kind()), Err(ErrorKind::NotFound));
    assert_eq!(old.compare_and_swap("n", None, Some(b"1")).map_err(|error| error.kind()), Err(ErrorKind::NotFound));
    assert_eq!(old.update("n", |_| None).map_err(|error| error.kind()), Err(ErrorKind::NotFound));
    assert_eq!(old.clear().map_err(|error| error.kind()), Err(ErrorKind::NotFound));
    assert!(old.range("a"..).is_err());
    assert_eq!((old.len(), old.iter().filter(Result::is_ok).count()), (0, 0));
    reader.refresh();
    assert!(reader.get("key").is_err());
    assert_eq!(new.get("key").unwrap().unwrap(), b"of new");
    assert_eq!(new.len(), 1);
}

#[test]
fn a_scan_of_a_keyspace_that_was_dropped_is_a_conflict() {
    for again in [None, Some("old"), Some("new")] {
        let db = Options::new().open_in_memory().unwrap();
        let old = db.keyspace("old").unwrap();
        old.put("key", "of old").unwrap();
        let mut transaction = db.begin();
        let count = transaction.iter(&old).count();
        transaction.put(&db, "keys in old", count.to_string()).unwrap();
        db.drop_keyspace("old").unwrap();
        again.iter().for_each(|name| drop(db.keyspace(name).unwrap()));
        let done = transaction.commit().map_err(|error| error.kind());
        assert_eq!(done, Err(ErrorKind::Conflict), "made again: {again:?}");
    }
}

#[test]
fn what_was_put_into_a_dropped_keyspace_is_not_acknowledged() {
    let db = Options::new().open_in_memory().unwrap();
    let old = db.keyspace("old").unwrap();
    let (mut batch, mut transaction) = (db.batch(), db.begin());
    batch.put(&old, "key", "1");
    transaction.put(&old, "key", "2").unwrap();
    db.drop_keyspace("old").unwrap();
    // A put of the handle itself is `NotFound`.
    assert!(batch.commit().is_err(), "the batch is said to be committed, and is nowhere");
    assert!(transaction.commit().is_err(), "the transaction is said to be committed, and is nowhere");
}
