//! Batches: whole or not at all, the last word wins.

use zipcask::{Durability, ErrorKind, Options};

fn memory() -> zipcask::Db {
    Options::new().durability(Durability::Os).open_in_memory().unwrap()
}

#[test]
fn a_batch_writes_all_of_it_and_returns_its_last_seqno() {
    let db = memory();
    db.put("old", "1").unwrap();
    let mut batch = db.batch();
    batch.put(&db, "a", "1").put(&db, "b", "2").delete(&db, "old").delete(&db, "never");
    assert_eq!(batch.len(), 4);
    assert_eq!(db.get("a").unwrap(), None);
    let seqno = batch.commit().unwrap();
    assert_eq!(seqno, db.last_seqno());
    assert_eq!(db.get("a").unwrap().unwrap(), "1");
    assert_eq!(db.get("b").unwrap().unwrap(), "2");
    assert_eq!(db.get("old").unwrap(), None);
    assert_eq!(db.len(), 2);
}

#[test]
fn the_last_write_of_a_key_wins_within_a_batch() {
    let db = memory();
    let mut batch = db.batch();
    batch.put(&db, "a", "1").delete(&db, "a").put(&db, "a", "3").put(&db, "b", "1").delete(&db, "b");
    batch.commit().unwrap();
    assert_eq!(db.get("a").unwrap().unwrap(), "3");
    assert_eq!(db.get("b").unwrap(), None);
    assert_eq!(db.len(), 1);
}

#[test]
fn an_empty_batch_writes_nothing() {
    let db = memory();
    let before = db.put("a", "1").unwrap();
    assert_eq!(db.batch().commit().unwrap(), before);
    assert_eq!(db.last_seqno(), before);
}

#[test]
fn one_bad_write_spoils_the_batch_and_nothing_of_it_is_there() {
    let db = memory();
    let mut batch = db.batch();
    batch.put(&db, "a", "1").put(&db, vec![0; 65_536], "x").put(&db, "b", "2");
    assert_eq!(batch.commit().unwrap_err().kind(), ErrorKind::TooLarge);
    assert!(db.is_empty());
    let other = memory();
    let mut batch = db.batch();
    batch.put(&other, "a", "1");
    assert_eq!(batch.commit_with(Durability::Sync).unwrap_err().kind(), ErrorKind::Invalid);
    assert!(db.is_empty() && other.is_empty());
}

#[test]
fn a_batch_larger_than_a_segment_is_whole_after_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().segment_size(64 * 1024).open(dir.path()).unwrap();
    db.put("first", "1").unwrap();
    let mut batch = db.batch();
    for i in 0..5000_u32 {
        batch.put(&db, i.to_be_bytes(), [i as u8; 60]);
    }
    batch.commit().unwrap();
    db.close().unwrap();
    let db = zipcask::Db::open(dir.path()).unwrap();
    assert_eq!(db.len(), 5001);
    for i in 0..5000_u32 {
        assert_eq!(db.get(i.to_be_bytes()).unwrap().unwrap(), [i as u8; 60]);
    }
}
