//! Many threads at once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use zipcask::{Durability, Options};

#[test]
fn concurrent_writers_all_get_through_and_memory_equals_what_a_reopen_finds() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options::new().segment_size(256 * 1024).durability(Durability::Os);
    let db = options().open(dir.path()).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4_u32 {
            let db = &db;
            scope.spawn(move || {
                for i in 0..2000_u32 {
                    // All writers race on the same keys, and each has keys of its own.
                    db.put(format!("shared {}", i % 50), format!("{writer} {i}")).unwrap();
                    db.put(format!("own {writer} {i}"), i.to_le_bytes()).unwrap();
                    if i % 7 == 0 {
                        db.delete(format!("shared {}", (i + 13) % 50)).unwrap();
                    }
                }
            });
        }
    });
    let mut before: Vec<_> = db.iter().map(|p| p.map(|(k, v)| (k.to_vec(), v.to_vec())).unwrap()).collect();
    db.close().unwrap();
    let db = options().open(dir.path()).unwrap();
    let mut after: Vec<_> = db.iter().map(|p| p.map(|(k, v)| (k.to_vec(), v.to_vec())).unwrap()).collect();
    before.sort();
    after.sort();
    assert!(before == after, "memory and log disagree");
    for writer in 0..4_u32 {
        for i in 0..2000_u32 {
            assert_eq!(db.get(format!("own {writer} {i}")).unwrap().unwrap(), i.to_le_bytes());
        }
    }
}

#[test]
fn a_published_key_is_never_missing_to_a_reader_and_never_goes_back() {
    let db = Options::new().durability(Durability::Os).segment_size(64 * 1024).open_in_memory().unwrap();
    let published = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    db.put("counter", 0_u64.to_le_bytes()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = 0;
                while !done.load(Ordering::Relaxed) {
                    let known = published.load(Ordering::Acquire);
                    let value = db.get("counter").unwrap().expect("it was published");
                    let counter = u64::from_le_bytes(value[..].try_into().unwrap());
                    assert!(counter >= known.max(last), "{counter} after {known} and {last}");
                    last = counter;
                    if known > 0 {
                        let key = format!("key {}", known % 5000);
                        assert!(db.contains_key(&key).unwrap(), "{key} is missing");
                    }
                }
            });
        }
        for i in 1..30_000_u64 {
            db.put(format!("key {}", i % 5000), i.to_le_bytes()).unwrap();
            db.put("counter", i.to_le_bytes()).unwrap();
            published.store(i, Ordering::Release);
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn durable_writers_share_syncs_and_each_is_durable_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().open(dir.path()).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let db = &db;
            scope.spawn(move || {
                for i in 0..50 {
                    let seqno = db.put(format!("{writer} {i}"), "x").unwrap();
                    assert!(db.durable_seqno() >= seqno);
                }
            });
        }
    });
    assert_eq!(db.len(), 200);
    assert_eq!(u64::from(db.last_seqno()), 200);
}

#[test]
fn an_iterator_shows_one_moment_while_batches_are_written() {
    let db = Options::new().durability(Durability::Os).open_in_memory().unwrap();
    let write = |i: u64| {
        let mut batch = db.batch();
        for key in 0..64_u64 {
            batch.put(&db, key.to_le_bytes(), i.to_le_bytes());
        }
        batch.commit().unwrap();
    };
    write(0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (1..3000).for_each(write);
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            let values: Vec<_> = db.iter().map(|pair| pair.unwrap().1.to_vec()).collect();
            assert_eq!(values.len(), 64);
            assert!(values.iter().all(|value| *value == values[0]), "half a batch is shown");
        }
    });
}
