//! Where the bytes of a store are, as `stats` says.

use std::fs;
use std::path::Path;

use zipcask::{Db, Durability, Options};

fn small() -> Options {
    Options::new().durability(Durability::Os).segment_size(64 << 10).background(false)
}

fn fill(db: &Db, value: u8) {
    for number in 0..1000 {
        db.put(format!("key {number}"), [value; 100]).unwrap();
    }
}

fn archives_len(dir: &Path) -> u64 {
    fs::read_dir(dir.join("archives")).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

/// Every byte of a record is live, dead or needed, in all and by file.
fn assert_adds_up(db: &Db) {
    let stats = db.stats();
    let used: u64 = stats.segments.iter().map(|segment| segment.used_bytes).sum();
    assert_eq!(stats.live_bytes + stats.dead_bytes + stats.needed_bytes, used, "{stats:?}");
    assert!(stats.debt_bytes <= stats.dead_bytes, "{stats:?}");
    assert_eq!(stats.live_keys, stats.segments.iter().map(|segment| segment.live_records).sum::<u64>());
}

#[test]
fn each_segment_is_named_with_its_file_wherever_it_lies() {
    let dir = tempfile::tempdir().unwrap();
    let db = small().open(dir.path()).unwrap();
    db.put("key", "value").unwrap();
    let named = |db: &Db| -> Vec<_> {
        db.stats().segments.iter().map(|segment| (segment.file.clone(), segment.archived, segment.active)).collect()
    };
    assert_eq!(named(&db), [("segments/0000000001.seg".to_string(), false, true)]);
    db.seal().unwrap();
    db.archive().unwrap();
    let archived = ("archives/0000000001.zip (log/0000000001.seg)".to_string(), true, false);
    assert_eq!(named(&db), std::slice::from_ref(&archived));
    db.put("other", "value").unwrap();
    assert_eq!(named(&db), [archived, ("segments/0000000002.seg".to_string(), false, true)]);
    db.delete("key").unwrap();
    db.compact().unwrap();
    let stats = db.stats();
    assert!(stats.segments.iter().all(|segment| segment.archived), "{stats:?}");
    assert_eq!(stats.archived_bytes, archives_len(dir.path()));
    assert_adds_up(&db);
}

#[test]
fn debt_is_what_the_next_job_gives_back_and_what_jobs_did_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let db = small().open(dir.path()).unwrap();
    fill(&db, 1);
    assert_eq!((db.stats().debt_bytes, db.stats().compaction.archives), (0, 0));
    fill(&db, 2);
    db.seal().unwrap();
    assert_adds_up(&db);
    let before = db.stats();
    assert!(before.debt_bytes > 100_000, "{before:?}");
    let report = db.compact().unwrap();
    let after = db.stats();
    assert_eq!((after.debt_bytes, after.dead_bytes, after.compaction), (0, 0, report));
    // Not all of it: archives have hints, and entries begin at pages.
    assert!(after.disk_bytes + 100_000 < before.disk_bytes, "{before:?} {after:?}");
    assert_adds_up(&db);
}

#[test]
fn a_tombstone_that_is_needed_is_not_dead() {
    let dir = tempfile::tempdir().unwrap();
    let db = small().open(dir.path()).unwrap();
    fill(&db, 1);
    db.compact().unwrap();
    db.delete("key 7").unwrap();
    db.put("new", "value").unwrap();
    db.compact().unwrap();
    let stats = db.stats();
    assert!(stats.needed_bytes > 0, "{stats:?}");
    assert_adds_up(&db);
}

#[test]
fn what_a_value_keeps_is_pinned_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let db = small().open(dir.path()).unwrap();
    fill(&db, 1);
    let value = db.get("key 7").unwrap().unwrap();
    fill(&db, 2);
    db.compact().unwrap();
    // One segment of some; those of others go when the pins of other tests let them.
    let settled = |bytes: fn(u64) -> bool| (0..1_000_000).any(|_| bytes(db.stats().pinned_bytes));
    assert!(settled(|bytes| 0 < bytes && bytes <= 70_000), "{}", db.stats().pinned_bytes);
    assert_eq!(value, [1; 100]);
    drop(value);
    assert!(settled(|bytes| bytes == 0), "{}", db.stats().pinned_bytes);
}
