//! A snapshot shows one moment, whatever happens afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::bytes::edit;
use crate::faults::{EIO, fault};
use zipcask::sim::{Call, Fault, FaultDisk, Lasts, Random, SimDisk};
use zipcask::{Db, Durability, ErrorKind, Options, ReadMode, Seqno, Snapshot};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn small() -> Options {
    Options::new().durability(Durability::Os).segment_size(64 << 10).background(false)
}

fn check(db: &Db, snapshot: &Snapshot, model: &Model, keys: u64) {
    for key in 0..keys {
        let key = format!("key {key}").into_bytes();
        let expected = model.get(&key).map(Vec::as_slice);
        assert_eq!(snapshot.get(db, &key).unwrap().as_deref(), expected, "{}", String::from_utf8_lossy(&key));
        assert_eq!(snapshot.contains_key(db, &key).unwrap(), expected.is_some());
    }
    let mut all = Model::new();
    for pair in snapshot.iter(db) {
        let (key, value) = pair.unwrap();
        assert_eq!(all.insert(key.to_vec(), value.to_vec()), None, "each key once");
    }
    assert!(all == *model);
}

const LENS: [usize; 4] = [0, 7, 100, 900];

/// One write of a value that is as long as one of `lens`, or a job.
fn change(db: &Db, model: &mut Model, random: &mut Random, keys: usize, lens: &[usize]) {
    let key = format!("key {}", random.below(keys)).into_bytes();
    match random.below(1000) {
        0 => drop(db.compact().unwrap()),
        1 => drop(db.archive().unwrap()),
        2 => db.checkpoint().unwrap(),
        3..300 => assert_eq!(db.delete(&key).unwrap(), model.remove(&key).is_some()),
        _ => {
            let mut value = vec![0; lens[random.below(lens.len())]];
            random.fill(&mut value);
            db.put(&key, &value).unwrap();
            model.insert(key, value);
        }
    }
}

#[test]
fn snapshots_stay_what_they_were_whatever_is_written_compacted_and_archived() {
    const KEYS: usize = 60;
    for seed in 1..=4 {
        println!("seed {seed}");
        let (dir, mut random, mut model) = (tempfile::tempdir().unwrap(), Random::new(seed), Model::new());
        let mode = if seed % 2 == 0 { ReadMode::Positioned } else { ReadMode::Mmap };
        let db = small().read_mode(mode).open(dir.path()).unwrap();
        let mut open: Vec<(Snapshot, Model)> = Vec::new();
        for i in 0..4_000 {
            // The longest has a file of its own.
            change(&db, &mut model, &mut random, KEYS, &[LENS.as_slice(), &[40_000]].concat());
            if random.below(100) == 0 {
                open.push((db.snapshot(), model.clone()));
                assert_eq!(open[open.len() - 1].0.seqno(), db.last_seqno());
            }
            if open.len() > 5 || open.len() > 1 && random.below(150) == 0 {
                let (snapshot, shown) = open.swap_remove(random.below(open.len()));
                check(&db, &snapshot, &shown, KEYS as u64);
            }
            if i % 500 == 0 {
                open.iter().for_each(|(snapshot, shown)| check(&db, snapshot, shown, KEYS as u64));
            }
        }
        assert_eq!(db.stats().snapshots, open.len() as u64);
        assert_eq!(db.stats().oldest_snapshot, open.iter().map(|(snapshot, _)| snapshot.seqno()).min());
        open.clear();
        let stats = db.stats();
        assert_eq!((stats.snapshots, stats.oldest_snapshot, stats.snapshot_bytes), (0, None, 0));
    }
}

#[test]
fn snapshots_of_a_follower_stay_what_they_were_when_it_is_refreshed() {
    const KEYS: usize = 60;
    for seed in 1..=3 {
        println!("seed {seed}");
        let (dir, mut random, mut model) = (tempfile::tempdir().unwrap(), Random::new(seed), Model::new());
        let db = small().open(dir.path()).unwrap();
        let follower = small().open_read_only(dir.path()).unwrap();
        let mut open: Vec<(Snapshot, Model)> = Vec::new();
        for _ in 0..3_000 {
            // The file of a large value goes when the writer has nothing that names it.
            change(&db, &mut model, &mut random, KEYS, &LENS);
            match random.below(80) {
                0 => drop(follower.refresh().unwrap()),
                1 => {
                    follower.refresh().unwrap();
                    open.push((follower.snapshot(), model.clone()));
                }
                _ => {}
            }
            if open.len() > 4 {
                let (snapshot, shown) = open.swap_remove(random.below(open.len()));
                check(&follower, &snapshot, &shown, KEYS as u64);
            }
        }
        follower.refresh().unwrap();
        open.iter().for_each(|(snapshot, shown)| check(&follower, snapshot, shown, KEYS as u64));
    }
}

#[test]
fn a_snapshot_shows_a_batch_whole_or_not_at_all() {
    const KEYS: u64 = 30;
    let db = small().open_in_memory().unwrap();
    let write = |round: u64| {
        let mut batch = db.batch();
        for key in 0..KEYS {
            batch.put(&db, key.to_le_bytes(), round.to_le_bytes());
        }
        batch.commit().unwrap();
    };
    write(0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (1..3_000).for_each(write);
            done.store(true, Ordering::Relaxed);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = Seqno::default();
                while !done.load(Ordering::Relaxed) {
                    let snapshot = db.snapshot();
                    assert!(snapshot.seqno() >= last, "they go forward");
                    last = snapshot.seqno();
                    assert_eq!(u64::from(last) % KEYS, 0, "the end of a batch");
                    let round = u64::from(last) / KEYS - 1;
                    for key in 0..KEYS {
                        let value = snapshot.get(&db, key.to_le_bytes()).unwrap().unwrap();
                        assert_eq!(*value, round.to_le_bytes());
                    }
                    let all: Vec<_> = snapshot.iter(&db).map(|pair| pair.unwrap().1).collect();
                    assert_eq!(all.len() as u64, KEYS);
                    assert!(all.iter().all(|value| *value == round.to_le_bytes()));
                }
            });
        }
    });
}

#[test]
fn what_a_snapshot_keeps_grows_with_the_keys_that_are_changed_and_not_with_the_changes() {
    let db = small().open_in_memory().unwrap();
    for key in 0..20_000_u64 {
        db.put(key.to_le_bytes(), [1; 20]).unwrap();
    }
    let snapshot = db.snapshot();
    let rounds = |count: u64| {
        for round in 0..count {
            for key in 0..100_u64 {
                db.put(key.to_le_bytes(), round.to_le_bytes()).unwrap();
                // One that is put and deleted by turns, and was never there.
                db.put("new", "").unwrap();
                db.delete("new").unwrap();
            }
        }
        db.stats().snapshot_bytes
    };
    let (few, many) = (rounds(1), rounds(50));
    assert_eq!(few, many);
    assert!(few > 0 && few < 101 * 300, "{few}");
    assert_eq!(snapshot.iter(&db).count(), 20_000);
    assert!(!snapshot.contains_key(&db, "new").unwrap());
    drop(snapshot);
    assert_eq!(db.stats().snapshot_bytes, 0);
}

#[test]
fn the_files_that_a_snapshot_shows_stay_and_go_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let db = small().open(dir.path()).unwrap();
    for key in 0..2_000_u64 {
        db.put(key.to_le_bytes(), [7; 100]).unwrap();
    }
    let snapshot = db.snapshot();
    for key in 0..2_000_u64 {
        db.delete(key.to_le_bytes()).unwrap();
    }
    db.compact().unwrap();
    assert!(db.stats().pinned_bytes > 200_000, "{}", db.stats().pinned_bytes);
    assert_eq!(snapshot.iter(&db).filter(|pair| pair.as_ref().unwrap().1 == [7; 100]).count(), 2_000);
    drop(snapshot);
    assert_eq!(db.stats().pinned_bytes, 0);
}

#[test]
fn a_snapshot_outlives_the_store_and_does_not_keep_it_locked() {
    let dir = tempfile::tempdir().unwrap();
    let db = small().open(dir.path()).unwrap();
    db.put("a", "1").unwrap();
    let (snapshot, keyspace) = (db.snapshot(), db.clone());
    db.put("a", "2").unwrap();
    db.close().unwrap();
    let again = small().open(dir.path()).unwrap();
    again.put("a", "3").unwrap();
    again.compact().unwrap();
    assert_eq!(snapshot.get(&keyspace, "a").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(snapshot.iter(&keyspace).count(), 1);
    assert_eq!(keyspace.snapshot().get(&keyspace, "a").unwrap_err().kind(), ErrorKind::Closed);
    assert!(keyspace.snapshot().iter(&keyspace).next().unwrap().is_err());
    assert_eq!(snapshot.get(&again, "a").unwrap_err().kind(), ErrorKind::Invalid, "of another store");
}

#[test]
fn what_was_damaged_when_it_was_replaced_is_an_error_of_the_snapshot_and_of_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let db = small().open(dir.path()).unwrap();
    for key in ["whole", "damaged", "rotten"] {
        db.put(key, format!("{key} once")).unwrap();
    }
    db.seal().unwrap();
    db.checkpoint().unwrap();
    db.close().unwrap();
    edit(&dir.path().join("segments/0000000001.seg"), |bytes| {
        let place = |text: &[u8]| bytes.windows(text.len()).position(|bytes| bytes == text).unwrap();
        let (key, value) = (place(b"damaged"), place(b"rotten once"));
        [key, value].iter().for_each(|at| bytes[*at] ^= 1);
    });
    let db = small().open(dir.path()).unwrap();
    assert_eq!(db.stats().recovery.records, 0, "nobody has looked at them");
    let snapshot = db.snapshot();
    for key in ["whole", "damaged", "rotten"] {
        db.put(key, "is now").unwrap();
        assert_eq!(db.get(key).unwrap().unwrap(), b"is now");
    }
    assert_eq!(snapshot.get(&db, "whole").unwrap().unwrap(), b"whole once");
    for key in ["damaged", "rotten"] {
        assert_eq!(snapshot.get(&db, key).unwrap_err().kind(), ErrorKind::Corruption, "{key}");
    }
    assert_eq!(snapshot.contains_key(&db, "damaged").unwrap_err().kind(), ErrorKind::Corruption);
}

#[test]
fn after_a_refresh_that_failed_half_way_there_is_no_snapshot_until_one_succeeds() {
    let inside = SimDisk::new(1);
    let writer = zipcask::sim::open(small(), 64 << 10, Arc::new(inside.clone())).unwrap();
    writer.put("changed", "old").unwrap();
    writer.put("deleted", "old").unwrap();
    writer.sync().unwrap();
    let disk = FaultDisk::simulated(inside.clone());
    let db = zipcask::sim::open_read_only(small(), Arc::new(disk.clone())).unwrap();
    let before = db.snapshot();
    writer.put("changed", "new").unwrap();
    writer.delete("deleted").unwrap();
    writer.seal().unwrap();
    writer.put("later", "1").unwrap();
    // It has read the first segment to its end, and cannot open the second.
    let opened = disk.calls(Call::Open) + 3;
    disk.inject(Fault { lasts: Lasts::FromThenOn, ..fault(Call::Open, opened, EIO) });
    db.refresh().unwrap_err();
    disk.heal();
    for key in ["changed", "deleted"] {
        assert_eq!(db.snapshot().get(&db, key).unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(before.get(&db, key).unwrap().unwrap(), b"old", "one from before stays");
    }
    assert!(db.snapshot().iter(&db).next().unwrap().is_err());
    db.refresh().unwrap();
    let after = db.snapshot();
    assert_eq!(after.get(&db, "changed").unwrap().unwrap(), b"new");
    assert_eq!((before.iter(&db).count(), after.iter(&db).count()), (2, 2));
    assert_eq!(db.stats().snapshots, 2);
}

#[test]
fn a_snapshot_costs_memory_for_each_key_that_is_overwritten_whatever_the_store_and_however_often() {
    let bytes = |keys: u32, overwritten: u32, writes: u32| {
        let dir = tempfile::tempdir().unwrap();
        let db = Options::new().durability(Durability::Os).background(false).open(dir.path()).unwrap();
        for i in 0..keys {
            db.put(i.to_le_bytes(), [1; 8]).unwrap();
        }
        let snapshot = db.snapshot();
        assert_eq!(db.stats().snapshot_bytes, 0);
        for i in 0..writes {
            db.put((i % overwritten).to_le_bytes(), i.to_le_bytes()).unwrap();
        }
        assert!((0..overwritten).all(|i| snapshot.get(&db, i.to_le_bytes()).unwrap().unwrap() == [1; 8]));
        let bytes = db.stats().snapshot_bytes;
        drop(snapshot);
        bytes
    };
    let of_many = bytes(200_000, 10_000, 1_000_000);
    let of_few = bytes(10_000, 10_000, 10_000);
    crate::report::report(&format!(
        "a snapshot held for 1000000 overwrites of 10000 keys: {of_many} bytes, {} a key; for 10000 overwrites: {of_few}",
        of_many / 10_000
    ));
    assert_eq!(of_many, of_few);
    assert!(of_many / 10_000 < 200);
}
