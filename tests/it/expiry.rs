//! Keys that are there for a time.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use zipcask::sim::{self, SimDisk};
use zipcask::{Db, KeyspaceOptions, Options, PutOptions, ReadMode};

pub(crate) const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const START_MS: u64 = 1_800_000_000_000;

fn open(disk: &SimDisk) -> Db {
    sim::open(Options::new(), 64 << 10, Arc::new(disk.clone())).unwrap()
}

pub(crate) fn disk() -> SimDisk {
    let disk = SimDisk::new(1);
    disk.set_wall_ms(START_MS);
    disk
}

pub(crate) fn ttl(ms: u64) -> PutOptions {
    PutOptions::new().ttl(Duration::from_millis(ms))
}

#[test]
fn what_has_expired_is_shown_in_no_way() {
    let disk = disk();
    let db = open(&disk);
    db.put_with("short", "1", ttl(60_000)).unwrap();
    db.put_with("long", "2", ttl(DAY_MS)).unwrap();
    db.put("ever", "3").unwrap();
    let expires = db.expires_at("short").unwrap().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!((START_MS + 60_000..START_MS + 61_000).contains(&(expires.as_millis() as u64)));
    assert_eq!(db.expires_at("ever").unwrap(), None);
    let (before, reader) = (db.snapshot(), db.reader());
    let transaction = db.begin();
    assert!(db.contains_key("short").unwrap());
    disk.advance_ms(60_000);
    assert_eq!((db.get("short").unwrap(), db.get_range("short", 0..1).unwrap()), (None, None));
    assert!(!db.contains_key("short").unwrap());
    assert_eq!(db.expires_at("short").unwrap(), None);
    assert_eq!(reader.get("short").unwrap(), None);
    reader.get_many(&["short"], |_, found| assert_eq!(found.unwrap(), None));
    let mut shown = 0;
    reader
        .for_each(|key, _| {
            assert_ne!(key, b"short");
            shown += 1;
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(shown, 2);
    assert!(db.iter().all(|pair| *pair.unwrap().0 != *b"short"));
    assert_eq!(db.iter().count(), 2);
    assert!(db.snapshot().get(&db, "short").unwrap().is_none());
    let gone = db.tail(1.into()).unwrap().find(|batch| *batch.as_ref().unwrap().changes()[0].key == *b"short");
    assert!(gone.unwrap().unwrap().changes()[0].value.is_none());
    // A snapshot, and a transaction, keep their time.
    assert_eq!(before.get(&db, "short").unwrap().unwrap(), b"1");
    assert_eq!(before.iter(&db).count(), 3);
    assert_eq!(transaction.get(&db, "short").unwrap().unwrap(), b"1");
    assert!(!db.delete("short").unwrap(), "there is nothing to delete");
    assert!(db.compare_and_swap("short", None, Some(b"again")).unwrap());
    assert_eq!(db.get("short").unwrap().unwrap(), b"again");
}

#[test]
fn a_keyspace_has_a_time_for_what_has_none_of_its_own() {
    let disk = disk();
    let db = open(&disk);
    let sessions = db.keyspace_with("sessions", KeyspaceOptions::new().default_ttl(Duration::from_secs(10))).unwrap();
    sessions.put("a", "put").unwrap();
    sessions.put_with("b", "own", ttl(30_000)).unwrap();
    db.batch().put(&sessions, "c", "batch");
    let mut batch = db.batch();
    batch.put(&sessions, "c", "batch").put_with(&sessions, "d", "own", ttl(30_000)).put(&db, "e", "default");
    batch.commit().unwrap();
    db.transaction(|transaction| transaction.put(&sessions, "f", "transaction")).unwrap();
    sessions.increment("n", 1).unwrap();
    disk.advance_ms(5_000);
    sessions.increment("n", 1).unwrap();
    disk.advance_ms(5_000);
    let left = |keys: &[&str]| {
        let there: Vec<_> =
            ["a", "b", "c", "d", "f", "n"].into_iter().filter(|key| sessions.contains_key(key).unwrap()).collect();
        assert_eq!(there, keys);
    };
    left(&["b", "d"]);
    disk.advance_ms(20_000);
    left(&[]);
    assert!(db.contains_key("e").unwrap());
    assert_eq!(sessions.increment("n", 1).unwrap(), 1, "what has expired counts from zero");
}

#[test]
fn a_key_may_last_in_a_keyspace_that_has_a_time_for_others() {
    let disk = disk();
    let db = open(&disk);
    let sessions = db.keyspace_with("sessions", KeyspaceOptions::new().default_ttl(Duration::from_secs(10))).unwrap();
    sessions.put_with("root", "1", PutOptions::new().no_ttl()).unwrap();
    sessions.put_with("own", "1", ttl(1).no_ttl()).unwrap();
    sessions.put_with("gone", "1", PutOptions::new().no_ttl().ttl(Duration::ZERO)).unwrap();
    assert!(!sessions.contains_key("gone").unwrap(), "no time at all");
    let mut batch = db.batch();
    batch.put_with(&sessions, "batch", "1", PutOptions::new().no_ttl());
    batch.commit().unwrap();
    sessions.update("root", |_| Some(b"2".to_vec())).unwrap();
    disk.advance_ms(20_000);
    for key in ["root", "own", "batch"] {
        assert!(sessions.contains_key(key).unwrap() && sessions.expires_at(key).unwrap().is_none(), "{key}");
    }
}

#[test]
fn a_key_may_be_put_until_a_moment_that_is_told_as_it_was_given() {
    let disk = disk();
    let db = open(&disk);
    let moment = UNIX_EPOCH + Duration::from_millis(START_MS + DAY_MS);
    let until = |time| PutOptions::new().expires_at(time);
    db.put_with("exact", "1", until(moment)).unwrap();
    db.put_with("between", "2", until(moment + Duration::from_nanos(1))).unwrap();
    db.put("gone", "3").unwrap();
    db.put_with("gone", "4", until(UNIX_EPOCH - Duration::from_secs(1))).unwrap();
    assert_eq!(db.expires_at("exact").unwrap(), Some(moment));
    assert_eq!(db.expires_at("between").unwrap(), Some(moment + Duration::from_millis(1)), "rounded up");
    assert_eq!((db.get("gone").unwrap(), db.iter().count()), (None, 2));
    let brief = db.keyspace_with("brief", KeyspaceOptions::new().default_ttl(Duration::from_millis(5))).unwrap();
    brief.put_with("exact", "1", until(moment)).unwrap();
    assert_eq!(brief.expires_at("exact").unwrap(), Some(moment), "what the keyspace says does not count");
    db.put_with("exact", "2", until(moment).ttl(Duration::from_millis(5))).unwrap();
    assert!(db.expires_at("exact").unwrap().unwrap() < moment, "what was said last counts");
}

#[test]
fn the_count_of_keys_and_their_room_follow() {
    let disk = disk();
    let db = open(&disk);
    for key in 0..2_000_u32 {
        db.put_with(key.to_le_bytes(), [1; 40], ttl(if key % 2 == 0 { 1_000 } else { 100 * DAY_MS })).unwrap();
    }
    disk.advance_ms(1_000);
    db.compact().unwrap();
    assert_eq!(db.len(), 1_000);
    let held = db.stats().live_bytes;
    (0..10_u32).for_each(|key| assert!(db.put((key * 2).to_le_bytes(), "new").is_ok()));
    assert_eq!(db.len(), 1_010);
    // Behind the grace, room comes back, and a reopened store does not have them either.
    disk.advance_ms(2 * DAY_MS);
    db.compact().unwrap();
    assert_eq!(db.len(), 1_010);
    let stats = db.stats();
    assert!(stats.live_bytes < held * 6 / 10 && stats.dead_bytes < held / 10, "{stats:?}");
    db.close().unwrap();
    let db = open(&disk);
    assert_eq!((db.len(), db.iter().count()), (1_010, 1_010));
}

#[test]
fn what_expired_and_left_brings_nothing_older_back() {
    let disk = disk();
    let db = open(&disk);
    (0..300_u32).for_each(|key| assert!(db.put(key.to_le_bytes(), [7; 60]).is_ok()));
    db.seal().unwrap();
    db.archive().unwrap();
    for key in 0..20_u32 {
        db.put_with(key.to_le_bytes(), "short", ttl(1_000)).unwrap();
    }
    (1_000..1_300_u32).for_each(|key| assert!(db.put(key.to_le_bytes(), [7; 60]).is_ok()));
    disk.advance_ms(3 * DAY_MS);
    for _ in 0..3 {
        db.seal().unwrap();
        db.compact().unwrap();
    }
    assert_eq!(db.len(), 580);
    db.close().unwrap();
    let db = open(&disk);
    assert!((0..20_u32).all(|key| db.get(key.to_le_bytes()).unwrap().is_none()));
    assert_eq!(db.iter().count(), 580);
}

#[test]
fn a_clock_that_was_wrong_for_less_than_the_grace_leaves_no_trace() {
    let disk = disk();
    let db = open(&disk);
    for key in 0..5_000_u32 {
        db.put_with(key.to_le_bytes(), [1; 20], ttl(3_600_000)).unwrap();
    }
    disk.set_wall_ms(START_MS + DAY_MS / 2);
    assert_eq!(db.get(1_u32.to_le_bytes()).unwrap(), None);
    db.compact().unwrap();
    db.checkpoint().unwrap();
    assert_eq!(db.len(), 0);
    // Set back by a little, it stands still, so that nothing comes back; set right, it was never wrong.
    disk.set_wall_ms(START_MS + DAY_MS / 2 - 50_000);
    assert_eq!(db.get(1_u32.to_le_bytes()).unwrap(), None);
    db.put_with("late", "1", ttl(60_000)).unwrap();
    disk.set_wall_ms(START_MS + DAY_MS / 2 + 50_000);
    assert!(db.contains_key("late").unwrap());
    disk.set_wall_ms(START_MS + 1_000);
    assert_eq!(db.get(1_u32.to_le_bytes()).unwrap().as_deref(), Some(&[1; 20][..]));
    assert!(db.delete("late").unwrap());
    db.close().unwrap();
    let db = open(&disk);
    assert_eq!(db.iter().count(), 5_000);
    assert!((0..5_000_u32).all(|key| db.contains_key(key.to_le_bytes()).unwrap()));
}

/// Each way to read, of what is mapped, of what is not, and of large values.
#[test]
fn what_has_expired_is_shown_in_no_mode() {
    for mode in [ReadMode::Mmap, ReadMode::Positioned] {
        let dir = tempfile::tempdir().unwrap();
        let db = Options::new().segment_size(64 << 10).read_mode(mode).background(false).open(dir.path()).unwrap();
        let aligned = db.keyspace_with("aligned", KeyspaceOptions::new().value_align(4096)).unwrap();
        for keyspace in [&*db, &aligned] {
            for (key, len) in [("small", 10), ("large", 100_000)] {
                keyspace.put_with(key, vec![7; len], ttl(1)).unwrap();
                keyspace.put(format!("{key}, ever"), vec![8; len]).unwrap();
                let (start, reader) = (std::time::Instant::now(), keyspace.reader());
                while keyspace.contains_key(key).unwrap() {
                    assert!(start.elapsed().as_secs() < 60, "a minute is more than a millisecond");
                }
                assert_eq!(keyspace.get(key).unwrap(), None, "{mode:?}, {key}");
                assert_eq!(keyspace.get_range(key, 0..3).unwrap(), None, "{mode:?}, {key}");
                assert_eq!(reader.get(key).unwrap(), None, "{mode:?}, {key}");
                reader.get_many(&[key], |_, found| assert_eq!(found.unwrap(), None, "{mode:?}, {key}"));
                let ever = keyspace.get(format!("{key}, ever")).unwrap().unwrap();
                assert!(ever == vec![8; len] && reader.get(format!("{key}, ever")).unwrap().unwrap() == vec![8; len]);
                assert!(std::ptr::eq(keyspace, &*db) || ever.as_ptr().addr().is_multiple_of(4096));
            }
        }
    }
}
