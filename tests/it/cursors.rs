//! Named places in the feed: what is behind one stays.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::compaction::until;
use zipcask::sim::Random;
use zipcask::{Cursor, CursorStats, Db, Durability, ErrorKind, Options, ReadMode, Seqno};

type Written = Vec<(u64, Vec<u8>, Vec<u8>)>;

fn small() -> Options {
    Options::new().durability(Durability::Os).segment_size(64 << 10).background(false).compact_when_dead(0.05)
}

/// Overwrites one of few keys.
fn write(db: &Db, random: &mut Random, written: &mut Written) {
    let mut value = vec![0; [100, 3_000, 40_000][random.below(3)]];
    random.fill(&mut value);
    let key = format!("key {}", random.below(5)).into_bytes();
    let seqno = db.put(&key, &value).unwrap();
    written.push((seqno.into(), key, value));
}

/// Takes up to `most` batches from where the cursor stands.
fn take(cursor: &Cursor, most: usize) -> Written {
    let mut taken = Vec::new();
    for batch in cursor.tail().unwrap().take(most) {
        let batch = batch.unwrap();
        let [change] = batch.changes() else { panic!("each batch was one write") };
        taken.push((batch.seqno().into(), change.key.to_vec(), change.value.as_ref().unwrap().to_vec()));
    }
    taken
}

fn of(db: &Db, name: &str) -> CursorStats {
    db.stats().cursors.into_iter().find(|cursor| cursor.name == name).expect("it is listed")
}

fn forget_index(dir: &Path) {
    let checkpoint = dir.join("checkpoint");
    if checkpoint.exists() {
        fs::remove_dir_all(checkpoint).unwrap();
    }
}

/// Rewrites whatever may be rewritten.
fn compact(db: &Db) {
    db.seal().unwrap();
    db.compact().unwrap();
}

#[test]
fn a_consumer_with_a_cursor_misses_nothing_whatever_jobs_run_and_one_without_does() {
    for (seed, mode) in [(1, ReadMode::Mmap), (2, ReadMode::Positioned), (3, ReadMode::Mmap), (4, ReadMode::Mmap)] {
        println!("seed {seed}");
        let (dir, mut random) = (tempfile::tempdir().unwrap(), Random::new(seed));
        let open = || small().read_mode(mode).open(dir.path()).unwrap();
        let (mut db, mut written, mut seen, mut freed) = (open(), Written::new(), Written::new(), 0);
        db.cursor("consumer").unwrap();
        for _ in 0..500 {
            match random.below(40) {
                0 | 1 => {
                    db.seal().unwrap();
                    freed += db.compact().unwrap().freed_bytes;
                }
                2 => drop(db.archive().unwrap()),
                3 => db.checkpoint().unwrap(),
                4 => {
                    db.close().unwrap();
                    if random.below(2) == 0 {
                        forget_index(dir.path());
                    }
                    db = open();
                }
                5..=8 => {
                    let cursor = db.cursor("consumer").unwrap();
                    let taken = take(&cursor, random.below(30));
                    // What was seen, and not noted, comes again.
                    if let Some((last, ..)) = taken.last().filter(|_| random.below(3) > 0) {
                        cursor.advance((*last).into()).unwrap();
                        seen.extend(taken);
                    }
                }
                _ => write(&db, &mut random, &mut written),
            }
            assert!(!of(&db, "consumer").lost);
        }
        let rest = take(&db.cursor("consumer").unwrap(), usize::MAX);
        seen.extend(rest);
        assert!(seen == written, "{} of {} writes", seen.len(), written.len());
        assert!(freed > 0, "jobs ran, and gave space back");
        let error = db.tail(1.into()).expect_err("without a cursor the first writes are gone");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}

#[test]
fn what_a_cursor_holds_comes_back_once_it_moves_or_goes() {
    let dir = tempfile::tempdir().unwrap();
    let (db, mut random, mut written) = (small().open(dir.path()).unwrap(), Random::new(1), Written::new());
    let (slow, fast) = (db.cursor("slow").unwrap(), db.cursor("fast").unwrap());
    (0..60).for_each(|_| write(&db, &mut random, &mut written));
    compact(&db);
    let all = of(&db, "slow").held_bytes;
    assert!(all > 500_000, "{all}");
    assert_eq!(of(&db, "fast").held_bytes, all);
    assert_eq!(take(&slow, usize::MAX).len(), 60);

    fast.advance(written[59].0.into()).unwrap();
    compact(&db);
    assert!(of(&db, "fast").held_bytes < 1_000, "moves alone are left");
    assert!(of(&db, "slow").held_bytes >= all, "one that stays behind holds it all the same");
    assert_eq!(take(&slow, usize::MAX).len(), 60);

    let before = db.stats().disk_bytes;
    assert!(db.drop_cursor("slow").unwrap());
    compact(&db);
    assert!(db.stats().disk_bytes + all / 2 < before);
    assert!(db.tail(written[0].0.into()).is_err());
    assert_eq!(slow.tail().err().map(|error| error.kind()), Some(ErrorKind::NotFound));
    assert!(!db.drop_cursor("slow").unwrap());
}

#[test]
fn a_cursor_beyond_the_bound_holds_nothing_and_its_consumer_is_told_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let open = || small().cursors_hold_max(300_000).open(dir.path()).unwrap();
    let (mut db, mut random, mut written) = (open(), Random::new(1), Written::new());
    let cursor = db.cursor("consumer").unwrap();
    while of(&db, "consumer").held_bytes <= 200_000 {
        write(&db, &mut random, &mut written);
    }
    compact(&db);
    assert_eq!(take(&cursor, usize::MAX).len(), written.len(), "so much is held");
    while of(&db, "consumer").held_bytes <= 300_000 {
        write(&db, &mut random, &mut written);
    }
    assert!(!of(&db, "consumer").lost, "nothing has gone yet");
    compact(&db);
    for _ in 0..2 {
        let found = of(&db, "consumer");
        assert!(found.lost && found.position == Seqno::from(1), "{found:?}");
        let error = db.cursor("consumer").unwrap().tail().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("the first write that is left is"), "{error}");
        db.close().unwrap();
        db = open();
    }
    let cursor = db.cursor("consumer").unwrap();
    cursor.advance(db.last_seqno()).unwrap();
    assert!(!of(&db, "consumer").lost, "it may go on behind what it lost");
    write(&db, &mut random, &mut written);
    compact(&db);
    assert!(take(&cursor, 9) == written[written.len() - 1..]);
}

#[test]
fn what_is_said_of_cursors_last_is_what_a_reopen_finds() {
    for forget in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (mut db, mut random, mut written) = (small().open(dir.path()).unwrap(), Random::new(1), Written::new());
        let reopened = |db: Db| {
            db.close().unwrap();
            if forget {
                forget_index(dir.path());
            }
            small().open(dir.path()).unwrap()
        };
        for name in ["gone", "again", "stays"] {
            db.cursor(name).unwrap();
        }
        (0..30).for_each(|_| write(&db, &mut random, &mut written));
        compact(&db);
        db = reopened(db);
        assert!(db.drop_cursor("gone").unwrap() && db.drop_cursor("again").unwrap());
        db.cursor("stays").unwrap().advance(written[9].0.into()).unwrap();
        db = reopened(db);
        (0..30).for_each(|_| write(&db, &mut random, &mut written));
        let again = db.cursor("again").unwrap().position().unwrap();
        for _ in 0..3 {
            compact(&db);
            db.checkpoint().unwrap();
            db = reopened(db);
            let names: Vec<_> = db.stats().cursors.into_iter().map(|cursor| (cursor.name, cursor.position)).collect();
            let stays = Seqno::from(written[9].0 + 1);
            assert_eq!(names, [("again".to_owned(), again), ("stays".to_owned(), stays)], "forget {forget}");
            assert!(take(&db.cursor("stays").unwrap(), usize::MAX) == written[10..]);
        }
    }
}

#[test]
fn a_cursor_is_made_once_moves_forwards_and_says_what_it_cannot() {
    let dir = tempfile::tempdir().unwrap();
    let db = small().open(dir.path()).unwrap();
    let kind = |result: zipcask::Result<()>| result.unwrap_err().kind();
    for name in ["", &"n".repeat(65_536)] {
        assert_eq!(db.cursor(name).unwrap_err().kind(), ErrorKind::Invalid);
    }
    let first = db.put("key", "1").unwrap();
    let from = db.cursor_from("from", first).unwrap();
    assert_eq!((from.name(), from.position().unwrap()), ("from", first));
    assert_eq!(db.cursor_from("from", 9.into()).unwrap().position().unwrap(), first, "it is where it was");
    assert_eq!(db.cursor_from("far", 99.into()).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(db.cursor_from("zero", 0.into()).unwrap().position().unwrap(), first);

    let second = db.put("key", "2").unwrap();
    from.advance(second).unwrap();
    let behind = Seqno::from(u64::from(second) + 1);
    assert_eq!(from.position().unwrap(), behind);
    from.advance(first).unwrap();
    assert_eq!(from.position().unwrap(), behind, "it does not go back");
    assert_eq!(kind(from.advance(999.into())), ErrorKind::Invalid);

    let reader = Db::open_read_only(dir.path()).unwrap();
    assert_eq!(reader.cursor("none").unwrap_err().kind(), ErrorKind::NotFound);
    let seen = reader.cursor("from").unwrap();
    assert_eq!(seen.position().unwrap(), behind);
    assert_eq!(kind(seen.advance(second)), ErrorKind::ReadOnly);
    assert_eq!(kind(reader.drop_cursor("from").map(drop)), ErrorKind::ReadOnly);
    from.advance(db.last_seqno()).unwrap();
    db.drop_cursor("zero").unwrap();
    reader.refresh().unwrap();
    assert_eq!(seen.position().unwrap(), from.position().unwrap());
    assert_eq!(reader.stats().cursors.len(), 1);

    db.close().unwrap();
    assert_eq!(kind(from.advance(first)), ErrorKind::Closed);
    assert_eq!(from.position().unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn a_backup_has_the_cursors_and_what_they_hold() {
    let dir = tempfile::tempdir().unwrap();
    let (store, copy) = (dir.path().join("store"), dir.path().join("copy"));
    let (db, mut random, mut written) = (small().open(store).unwrap(), Random::new(1), Written::new());
    db.cursor("consumer").unwrap();
    (0..40).for_each(|_| write(&db, &mut random, &mut written));
    compact(&db);
    db.backup(&copy).unwrap();
    let copied = small().open(&copy).unwrap();
    compact(&copied);
    assert!(take(&copied.cursor("consumer").unwrap(), usize::MAX) == written);
}

#[test]
fn a_removed_cursor_stays_away_as_long_as_an_older_file_says_that_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (mut db, mut random, mut written) = (small().open(dir.path()).unwrap(), Random::new(1), Written::new());
    db.cursor("gone").unwrap();
    // Nothing in this file is dead but what is said of the cursor.
    for i in 0..40 {
        db.put(format!("other {i}"), [7; 1_000]).unwrap();
    }
    db.seal().unwrap();
    assert!(db.drop_cursor("gone").unwrap());
    for _ in 0..3 {
        (0..30).for_each(|_| write(&db, &mut random, &mut written));
        db.seal().unwrap();
        let report = db.compact().unwrap();
        assert!(report.freed_bytes > 0, "the record of its removal is moved");
        db.close().unwrap();
        forget_index(dir.path());
        db = small().open(dir.path()).unwrap();
        assert!(db.stats().cursors.is_empty());
    }
}

#[test]
fn a_large_value_of_a_keyspace_that_was_dropped_is_there_for_the_feed_and_goes_behind_it() {
    for clears in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut db = small().open(dir.path()).unwrap();
        db.cursor("consumer").unwrap();
        let keyspace = db.keyspace("gone").unwrap();
        let put = keyspace.put("key", [7; 100_000]).unwrap();
        if clears {
            keyspace.clear().unwrap();
        } else {
            db.drop_keyspace("gone").unwrap();
        }
        drop(keyspace);
        for _ in 0..2 {
            compact(&db);
            db.close().unwrap();
            forget_index(dir.path());
            db = small().open(dir.path()).unwrap();
            assert!(take(&db.cursor("consumer").unwrap(), 9) == [(put.into(), b"key".to_vec(), vec![7; 100_000])]);
        }
        let before = db.stats().disk_bytes;
        db.cursor("consumer").unwrap().advance(db.last_seqno()).unwrap();
        compact(&db);
        // Other tests may be looking at it for a moment.
        until(|| db.stats().disk_bytes + 60_000 < before);
        db.close().unwrap();
        assert_eq!(fs::read_dir(dir.path().join("large")).unwrap().count(), 0);
    }
}

#[test]
fn a_cursor_loses_nothing_whenever_it_is_looked_at_while_segments_fill() {
    let dir = tempfile::tempdir().unwrap();
    let db = small().open(dir.path()).unwrap();
    db.cursor("consumer").unwrap();
    let done = AtomicBool::new(false);
    let looks = std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..40_000_u32 {
                db.put((i % 7).to_le_bytes(), [7; 1_000]).unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        let mut looks = 0;
        while !done.load(Ordering::Relaxed) {
            let found = of(&db, "consumer");
            assert!(!found.lost, "look {looks}: {found:?}");
            looks += 1;
        }
        looks
    });
    assert!(looks > 50, "{looks}");
    assert_eq!(db.cursor("consumer").unwrap().tail().unwrap().count(), 40_000);
}
