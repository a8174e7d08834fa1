//! Keys that are there for a time, in transactions, feeds and copies, and clocks that jump.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use zipcask::sim::{self, SimDisk};
use zipcask::{Db, KeyspaceOptions, Options, PutOptions, ReadMode};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const START_MS: u64 = 1_800_000_000_000;

fn disk() -> SimDisk {
    let disk = SimDisk::new(1);
    disk.set_wall_ms(START_MS);
    disk
}

fn options() -> Options {
    Options::new().default_keyspace(KeyspaceOptions::new().ordered(true))
}

fn open(disk: &SimDisk) -> Db {
    sim::open(options(), 64 << 10, Arc::new(disk.clone())).unwrap()
}

fn ttl(ms: u64) -> PutOptions {
    PutOptions::new().ttl(Duration::from_millis(ms))
}

/// Runs a transaction a few times at most.
fn few_times(db: &Db, mut f: impl FnMut(&mut zipcask::Transaction) -> zipcask::Result<()>) -> usize {
    let mut times = 0;
    db.transaction(|transaction| {
        times += 1;
        assert!(times < 5, "it is run again and again");
        f(transaction)
    })
    .unwrap();
    times
}

#[test]
fn a_transaction_that_missed_an_expired_key_commits() {
    let disk = disk();
    let db = open(&disk);
    db.put_with("a", "1", ttl(1_000)).unwrap();
    disk.advance_ms(1_000);
    let times = few_times(&db, |transaction| {
        assert_eq!(transaction.get(&db, "a")?, None);
        transaction.put(&db, "a", "2")
    });
    assert_eq!((times, db.get("a").unwrap().unwrap().to_vec()), (1, b"2".to_vec()));
}

#[test]
fn a_transaction_whose_key_expires_under_way_can_be_run_again() {
    let disk = disk();
    let db = open(&disk);
    db.put_with("a", "1", ttl(1_000)).unwrap();
    few_times(&db, |transaction| {
        let found = transaction.get(&db, "a")?;
        disk.advance_ms(1_000);
        transaction.put(&db, "b", if found.is_some() { "there" } else { "not there" })
    });
    assert!(db.contains_key("b").unwrap());
}

#[test]
fn a_transaction_over_expired_keys_swept_meanwhile_can_be_run_again() {
    let disk = disk();
    let db = open(&disk);
    for i in 0..100_u8 {
        db.put_with([i], [i; 50], ttl(1_000)).unwrap();
    }
    db.seal().unwrap();
    disk.advance_ms(3 * DAY_MS);
    few_times(&db, |transaction| {
        assert_eq!(transaction.iter(&db).count(), 0);
        assert_eq!(transaction.get(&db, [1])?, None);
        db.compact()?;
        transaction.put(&db, [1], "2")
    });
    assert_eq!(db.len(), 1);
    assert_eq!(db.iter().count(), 1);
}

#[test]
fn a_transaction_does_not_see_its_own_writes_behind_their_time_in_the_store() {
    let disk = disk();
    let db = open(&disk);
    let mut transaction = db.begin();
    transaction.put_with(&db, "a", "1", ttl(1_000)).unwrap();
    assert_eq!(transaction.get(&db, "a").unwrap().unwrap(), b"1");
    assert_eq!(transaction.range(&db, "a"..).unwrap().count(), 1);
    transaction.commit().unwrap();
    disk.advance_ms(1_000);
    assert_eq!(db.get("a").unwrap(), None);
    assert_eq!(db.range("a"..).unwrap().count(), 0);
    assert_eq!(db.range("a"..).unwrap().rev().count(), 0);
}

/// Everything that a store shows.
fn shown(db: &Db) -> Vec<(Vec<u8>, Vec<u8>)> {
    let all: Vec<_> = db.iter().map(|pair| pair.unwrap()).map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
    let ranged: Vec<_> =
        db.prefix("").unwrap().map(|pair| pair.unwrap()).map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
    assert_eq!(all, ranged);
    let mut read = Vec::new();
    db.reader()
        .for_each(|key, value| {
            read.push((key.to_vec(), value.to_vec()));
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    read.sort();
    assert_eq!(all, read);
    for (key, value) in &all {
        assert_eq!(db.get(key).unwrap().unwrap(), value[..]);
    }
    let snapshot = db.snapshot();
    let past: Vec<_> = snapshot.iter(db).map(|pair| pair.unwrap()).map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
    assert_eq!(all, past);
    all
}

#[test]
fn a_clock_that_was_ahead_for_a_while_leaves_no_trace_behind_a_reopen() {
    for what in 0..6 {
        for mode in [ReadMode::Mmap, ReadMode::Positioned] {
            let disk = disk();
            let open = || sim::open(options().read_mode(mode), 64 << 10, Arc::new(disk.clone())).unwrap();
            let mut db = open();
            for i in 0..400_u32 {
                let key = format!("{i:04}");
                match i % 4 {
                    0 => db.put(&key, [7; 100]).unwrap(),
                    1 => db.put_with(&key, [8; 100], ttl(60_000)).unwrap(),
                    2 => db.put_with(&key, [9; 100], ttl(DAY_MS / 2)).unwrap(),
                    _ => db.put_with(&key, [9; 100], ttl(100 * DAY_MS)).unwrap(),
                };
            }
            db.seal().unwrap();
            for i in (0..400_u32).step_by(3) {
                db.put_with(format!("{i:04}"), "new", ttl(DAY_MS / 3)).unwrap();
            }
            let before = shown(&db);
            assert_eq!((before.len(), db.len()), (400, 400));
            // Nearly a day ahead.
            disk.set_wall_ms(START_MS + DAY_MS - 1_000);
            match what {
                0 => {}
                1 => drop(db.compact().unwrap()),
                2 => drop(db.archive().unwrap()),
                3 => db.checkpoint().unwrap(),
                4 => {
                    db.close().unwrap();
                    db = open();
                }
                _ => {
                    db.compact().unwrap();
                    db.checkpoint().unwrap();
                    db.close().unwrap();
                    db = open();
                    db.compact().unwrap();
                }
            }
            assert!(shown(&db).len() < 400);
            disk.set_wall_ms(START_MS + 1_000);
            db.close().unwrap();
            db = open();
            assert_eq!(shown(&db), before, "{what}, {mode:?}");
            assert!(db.delete("0001").unwrap());
            db.put("0001", [8; 100]).unwrap();
            assert_eq!(db.iter().count(), 400);
            db.compact().unwrap();
            assert_eq!(db.len(), 400, "{what}, {mode:?}");
            db.close().unwrap();
            db = open();
            assert_eq!((db.len(), db.iter().count()), (400, 400), "{what}, {mode:?}");
        }
    }
}

#[test]
fn a_clock_that_was_ahead_for_a_moment_leaves_no_trace() {
    let disk = disk();
    let db = open(&disk);
    db.put_with("hour", "1", ttl(3_600_000)).unwrap();
    disk.set_wall_ms(START_MS + DAY_MS / 2);
    assert_eq!(db.get("hour").unwrap(), None);
    disk.set_wall_ms(START_MS + 1_000);
    assert_eq!(db.get("hour").unwrap().as_deref(), Some(&b"1"[..]));
}

#[test]
fn a_clock_that_was_ahead_for_a_moment_gives_later_writes_no_longer_time() {
    let disk = disk();
    let db = open(&disk);
    disk.set_wall_ms(START_MS + 3_650 * DAY_MS);
    assert_eq!(db.get("minute").unwrap(), None);
    db.put_with("other", "1", ttl(1_000)).unwrap();
    disk.set_wall_ms(START_MS + 1_000);
    db.put_with("minute", "1", ttl(60_000)).unwrap();
    let expires = db.expires_at("minute").unwrap().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    db.close().unwrap();
    let db = open(&disk);
    assert!(db.contains_key("minute").unwrap());
    disk.set_wall_ms(START_MS + 120_000);
    assert!(
        !db.contains_key("minute").unwrap(),
        "it is there until {expires:?}, and is to be until {START_MS} ms and a minute"
    );
}

#[test]
fn the_count_of_keys_is_right_within_a_sweep_of_writes_among_expired_ones() {
    let disk = disk();
    let db = open(&disk);
    for i in 0..100_u32 {
        db.put_with(i.to_be_bytes(), "1", ttl(1_000)).unwrap();
    }
    disk.advance_ms(1_000);
    db.compact().unwrap();
    assert_eq!(db.len(), 0);
    // Each in a way of its own.
    db.put(0_u32.to_be_bytes(), "2").unwrap();
    db.put_with(1_u32.to_be_bytes(), "2", ttl(1_000)).unwrap();
    assert!(!db.delete(2_u32.to_be_bytes()).unwrap());
    db.increment(3_u32.to_be_bytes(), 1).unwrap();
    assert!(db.compare_and_swap(4_u32.to_be_bytes(), None, Some(b"2")).unwrap());
    db.update(5_u32.to_be_bytes(), |was| was.map(<[u8]>::to_vec)).unwrap();
    let mut batch = db.batch();
    batch.put(&db, 6_u32.to_be_bytes(), "2").delete(&db, 7_u32.to_be_bytes()).delete(&db, 6_u32.to_be_bytes());
    batch.commit().unwrap();
    few_times(&db, |transaction| transaction.delete(&db, 8_u32.to_be_bytes()).map(|there| assert!(!there)));
    assert_eq!(db.iter().count(), 4);
    assert_eq!(db.len(), 4);
    db.compact().unwrap();
    assert_eq!(db.len(), 4);
    disk.advance_ms(1_000);
    db.compact().unwrap();
    assert_eq!((db.len(), db.is_empty()), (3, false));
    disk.set_wall_ms(START_MS);
    db.compact().unwrap();
    assert_eq!(db.len(), db.iter().count() as u64, "after the clock went back");
    db.clear().unwrap();
    assert_eq!(db.len(), 0);
}

#[test]
fn no_time_is_too_short_or_too_long() {
    let disk = disk();
    let db = open(&disk);
    db.put_with("a", "1", PutOptions::new().ttl(Duration::MAX)).unwrap();
    db.put_with("b", "1", PutOptions::new().ttl(Duration::from_nanos(1))).unwrap();
    assert!(db.contains_key("a").unwrap());
    let _ = db.expires_at("a").unwrap();
    db.put("c", "1").unwrap();
    db.put_with("c", "1", PutOptions::new().ttl(Duration::ZERO)).unwrap();
    assert_eq!(db.get("c").unwrap(), None);
    disk.advance_ms(1);
    assert_eq!(db.get("b").unwrap(), None);
    db.put_with("a", "2", ttl(1)).unwrap();
    disk.advance_ms(1);
    db.put("a", "3").unwrap();
    assert_eq!((db.get("a").unwrap().unwrap().to_vec(), db.expires_at("a").unwrap()), (b"3".to_vec(), None));
}

#[test]
fn a_time_that_no_record_has_room_for_is_none() {
    let disk = disk();
    let db = open(&disk);
    let longest = Duration::from_millis(u64::MAX - 2 * START_MS);
    let keyspace = |name: &str, ttl| db.keyspace_with(name, KeyspaceOptions::new().default_ttl(ttl)).unwrap();
    let (long, ever) = (keyspace("long", longest), keyspace("ever", Duration::from_millis(u64::MAX)));
    for (key, options) in [("max", PutOptions::new().ttl(Duration::MAX)), ("long", PutOptions::new().ttl(longest))] {
        db.put_with(key, "1", options).unwrap();
    }
    long.put("key", "1").unwrap();
    ever.put("key", "1").unwrap();
    assert_eq!((db.expires_at("max").unwrap(), ever.expires_at("key").unwrap()), (None, None));
    assert!(db.expires_at("long").unwrap().is_some() && long.expires_at("key").unwrap().is_some());
    // As far as the system's clocks go.
    if let Some(time) = UNIX_EPOCH.checked_add(Duration::from_secs(1 << 60)) {
        db.put_with("later", "1", PutOptions::new().expires_at(time)).unwrap();
        assert_eq!((db.expires_at("later").unwrap(), db.contains_key("later").unwrap()), (None, true));
    }
    db.close().unwrap();
    let db = open(&disk);
    assert_eq!((db.expires_at("max").unwrap(), db.get("max").unwrap().is_some()), (None, true));
}

#[test]
fn an_overwrite_with_a_time_does_not_bring_back_what_it_replaced() {
    for what in 0..4 {
        let disk = disk();
        let mut db = open(&disk);
        db.put("a", "for ever").unwrap();
        db.put("b", "stays").unwrap();
        db.seal().unwrap();
        db.put_with("a", "for a while", ttl(1_000)).unwrap();
        for i in 0..200_u32 {
            db.put_with(format!("x{i}"), [1; 100], ttl(1_000)).unwrap();
        }
        db.seal().unwrap();
        if what == 1 {
            db.archive().unwrap();
        }
        disk.advance_ms(3 * DAY_MS);
        for _ in 0..3 {
            assert_eq!(db.get("a").unwrap(), None);
            assert_eq!(shown(&db).len(), 1, "{what}");
            match what {
                3 => {
                    db.close().unwrap();
                    db = open(&disk);
                }
                _ => drop(db.compact().unwrap()),
            }
        }
        db.close().unwrap();
        db = open(&disk);
        assert_eq!(db.get("a").unwrap(), None);
        db.compact().unwrap();
        db.close().unwrap();
        // The clock goes back to when it was to be there for a while: what it replaced is gone in any case.
        disk.set_wall_ms(START_MS + 2_000);
        db = open(&disk);
        assert_eq!(db.get("a").unwrap(), None);
        assert_eq!(shown(&db).len(), 1, "{what}");
    }
}
