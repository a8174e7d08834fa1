//! Putting, getting, deleting, and finding it all again.

use std::collections::BTreeMap;

use zipcask::{Db, Durability, ErrorKind, Options, PutOptions, ReadMode};

fn quick() -> Options {
    Options::new().durability(Durability::Os)
}

#[test]
fn what_was_put_is_got_and_what_was_not_is_none() {
    let db = quick().open_in_memory().unwrap();
    assert_eq!(db.get("a").unwrap(), None);
    db.put("a", "1").unwrap();
    assert_eq!(db.get("a").unwrap().unwrap(), "1");
    db.put("a", "2").unwrap();
    assert_eq!(db.get("a").unwrap().unwrap(), "2");
    assert_eq!(db.get("b").unwrap(), None);
    assert_eq!(db.get_with("a", |value| value.len()).unwrap(), Some(1));
    assert_eq!(db.len(), 1);
}

#[test]
fn everything_is_found_again_after_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = BTreeMap::new();
    for session in 0..4_u32 {
        let db = quick().open(dir.path()).unwrap();
        for i in 0..500_u32 {
            let key = format!("key {}", (i * 7 + session * 131) % 900);
            let value = format!("{session} {i}").repeat((i % 40) as usize);
            db.put(&key, &value).unwrap();
            expected.insert(key.into_bytes(), value.into_bytes());
        }
        for i in (0..900).step_by(17) {
            let key = format!("key {i}");
            assert_eq!(db.delete(&key).unwrap(), expected.remove(key.as_bytes()).is_some());
        }
        db.close().unwrap();
    }
    let db = quick().open(dir.path()).unwrap();
    assert_eq!(db.len(), expected.len() as u64);
    for (key, value) in &expected {
        assert_eq!(db.get(key).unwrap().unwrap(), *value);
    }
    let all: BTreeMap<_, _> = db.iter().map(|pair| pair.map(|(k, v)| (k.to_vec(), v.to_vec())).unwrap()).collect();
    assert_eq!(all, expected);
}

#[test]
fn deleting_nothing_writes_nothing() {
    let db = quick().open_in_memory().unwrap();
    db.put("a", "1").unwrap();
    let before = db.last_seqno();
    assert!(!db.delete("b").unwrap());
    assert_eq!(db.last_seqno(), before);
    assert!(db.delete("a").unwrap());
    assert!(db.last_seqno() > before);
    assert!(!db.delete("a").unwrap());
    assert!(db.is_empty());
}

#[test]
fn empty_keys_empty_values_and_the_longest_key_are_keys_and_values() {
    let dir = tempfile::tempdir().unwrap();
    let longest = vec![7; 65_535];
    let db = quick().open(dir.path()).unwrap();
    db.put("", "empty").unwrap();
    db.put("none", "").unwrap();
    db.put(&longest, "long").unwrap();
    db.close().unwrap();
    let db = quick().open(dir.path()).unwrap();
    assert_eq!(db.get("").unwrap().unwrap(), "empty");
    assert_eq!(db.get("none").unwrap().unwrap(), "");
    assert_eq!(db.get(&longest).unwrap().unwrap(), "long");
    assert_eq!(db.len(), 3);
}

#[test]
fn a_key_that_is_too_long_is_refused_before_anything_is_written() {
    let db = quick().open_in_memory().unwrap();
    let too_long = vec![0; 65_536];
    assert_eq!(db.put(&too_long, "x").unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(db.delete(&too_long).unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(db.get(&too_long).unwrap(), None);
    assert_eq!(u64::from(db.last_seqno()), 0);
}

#[test]
fn a_value_that_is_too_long_is_refused_before_anything_is_written() {
    let db = quick().open_in_memory().unwrap();
    // Never touched, so never really there.
    let too_long = vec![0_u8; 1 << 32];
    assert_eq!(db.put("a", &too_long).unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(db.put_writer("a", 1 << 32).unwrap_err().kind(), ErrorKind::TooLarge);
    let mut batch = db.batch();
    batch.put(&db, "small", "1").put(&db, "a", &too_long);
    assert_eq!(batch.commit().unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(u64::from(db.last_seqno()), 0);
    assert!(db.is_empty());
    assert!(db.stats().segments.is_empty());
}

#[test]
fn a_value_longer_than_a_segment_is_a_value() {
    let dir = tempfile::tempdir().unwrap();
    let big: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let db = quick().segment_size(64 * 1024).open(dir.path()).unwrap();
    db.put("small", "1").unwrap();
    db.put("big", &big).unwrap();
    db.put("after", "2").unwrap();
    db.close().unwrap();
    let db = quick().segment_size(64 * 1024).open(dir.path()).unwrap();
    assert!(db.get("big").unwrap().unwrap() == big);
    assert_eq!(db.get("small").unwrap().unwrap(), "1");
    assert_eq!(db.get("after").unwrap().unwrap(), "2");
}

#[test]
fn values_are_aligned_to_eight_bytes_in_both_read_modes() {
    let dir = tempfile::tempdir().unwrap();
    for mode in [ReadMode::Mmap, ReadMode::Positioned] {
        let db = quick().read_mode(mode).open(dir.path()).unwrap();
        for len in 0..40_usize {
            let key = vec![b'k'; len];
            db.put(&key, vec![len as u8; len]).unwrap();
            let value = db.get(&key).unwrap().unwrap();
            assert_eq!(value.as_ptr() as usize % 8, 0);
            assert_eq!(value, vec![len as u8; len]);
        }
        let all = db.iter().map(|pair| pair.unwrap()).filter(|(k, v)| k.len() == v.len()).count();
        assert_eq!(all, 40);
        db.close().unwrap();
    }
}

#[test]
fn the_three_durabilities_move_the_durable_seqno_as_they_promise() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let synced = db.put("sync", "1").unwrap();
    assert_eq!(db.durable_seqno(), synced);
    let handed = db.put_with("os", "1", PutOptions::new().durability(Durability::Os)).unwrap();
    assert_eq!(db.durable_seqno(), synced);
    assert_eq!(db.last_seqno(), handed);
    db.wait_durable(handed).unwrap();
    assert_eq!(db.durable_seqno(), handed);
    let ordered = db.put_with("barrier", "1", PutOptions::new().durability(Durability::Barrier)).unwrap();
    assert!(db.durable_seqno() >= ordered);
    assert!(db.delete_with("os", Durability::Os).unwrap());
    assert_eq!(db.sync().unwrap(), db.last_seqno());
    assert_eq!(db.durable_seqno(), db.last_seqno());
    let next = u64::from(db.last_seqno()) + 1;
    assert_eq!(db.wait_durable(next.into()).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn seal_starts_a_new_segment_at_the_next_write() {
    let dir = tempfile::tempdir().unwrap();
    let db = quick().open(dir.path()).unwrap();
    db.seal().unwrap();
    db.put("a", "1").unwrap();
    db.seal().unwrap();
    db.seal().unwrap();
    assert_eq!(db.durable_seqno(), db.last_seqno());
    db.put("b", "2").unwrap();
    let stats = db.stats();
    assert_eq!(stats.segments.iter().map(|s| s.active).collect::<Vec<_>>(), [false, true]);
    assert_eq!(db.get("a").unwrap().unwrap(), "1");
    assert_eq!(db.get("b").unwrap().unwrap(), "2");
}

#[test]
fn stats_tell_live_from_dead() {
    let db = quick().open_in_memory().unwrap();
    let record = |key: usize, value: usize| 24 + key.next_multiple_of(8) as u64 + value.next_multiple_of(8) as u64;
    db.put("key1", vec![1; 100]).unwrap();
    db.put("key2", vec![2; 50]).unwrap();
    let stats = db.stats();
    let horizons = 2 * 8;
    assert_eq!(stats.live_keys, 2);
    assert_eq!(stats.live_bytes, record(4, 100) + record(4, 50) + horizons);
    assert_eq!(stats.dead_bytes, 0);
    db.put("key1", "").unwrap();
    db.delete("key2").unwrap();
    let stats = db.stats();
    assert_eq!(stats.live_bytes, record(4, 0) + 8);
    assert_eq!(stats.dead_bytes, record(4, 100) + record(4, 50) + record(4, 0) + 3 * 8);
    assert_eq!(stats.segments.len(), 1);
    assert_eq!(stats.segments[0].live_records, 1);
    assert!(stats.index_bytes > 0 && stats.preallocated_bytes > 0);
}

#[test]
fn verify_is_clean_on_a_healthy_store() {
    let dir = tempfile::tempdir().unwrap();
    let db = quick().segment_size(64 * 1024).open(dir.path()).unwrap();
    for i in 0..1000_u32 {
        db.put(i.to_le_bytes(), vec![i as u8; 300]).unwrap();
    }
    let report = db.verify().unwrap();
    assert!(report.is_clean(), "{:?}", report.problems());
    assert_eq!(report.records, 1000);
    assert!(report.files > 4);
    db.close().unwrap();
    let db = quick().open(dir.path()).unwrap();
    assert!(db.verify().unwrap().is_clean());
}
