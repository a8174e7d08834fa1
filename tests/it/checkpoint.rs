//! The index that was written down saves time, and changes nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::bytes::copy;
use zipcask::sim::Random;
use zipcask::{Db, Durability, Options, Stats};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// So many keys that the index has several units.
const KEYS: usize = 12_000;

fn options() -> Options {
    Options::new().durability(Durability::Os).segment_size(256 << 10).background(false)
}

fn churn(db: &Db, model: &mut Model, random: &mut Random, writes: usize) {
    for _ in 0..writes {
        let key = format!("key {}", random.below(KEYS)).into_bytes();
        if random.below(5) == 0 {
            assert_eq!(db.delete(&key).unwrap(), model.remove(&key).is_some());
        } else {
            let mut value = vec![0; [0, 7, 40, 300][random.below(4)]];
            random.fill(&mut value);
            db.put(&key, &value).unwrap();
            model.insert(key, value);
        }
    }
}

fn check(db: &Db, model: &Model) {
    assert_eq!(db.len(), model.len() as u64);
    for (key, value) in model {
        assert_eq!(db.get(key).unwrap().as_deref(), Some(value.as_slice()), "{}", String::from_utf8_lossy(key));
    }
    let mut count = 0;
    for pair in db.iter() {
        let (key, value) = pair.unwrap();
        assert_eq!(model.get(&*key).map(Vec::as_slice), Some(&*value));
        count += 1;
    }
    assert_eq!(count, model.len());
}

/// What both ways of opening must agree on.
fn figures(stats: &Stats) -> (u64, u64, u64, Vec<(u64, u64, u64)>) {
    let segments = stats.segments.iter().map(|s| (s.used_bytes, s.live_bytes, s.live_records)).collect();
    (stats.live_keys, stats.live_bytes, stats.dead_bytes, segments)
}

/// Opens copies of a store as it is now: with the written index, and without. Returns how many records the first read.
fn open_copies(dir: &Path, model: &Model) -> (u64, u64) {
    let home = tempfile::tempdir().unwrap();
    let (with, without) = (home.path().join("with"), home.path().join("without"));
    copy(dir, &with);
    copy(dir, &without);
    let _ = fs::remove_dir_all(without.join("checkpoint"));
    let (with, without) = (options().open(with).unwrap(), options().open(without).unwrap());
    check(&with, model);
    check(&without, model);
    assert_eq!(figures(&with.stats()), figures(&without.stats()));
    assert!(with.verify().unwrap().is_clean());
    (with.stats().recovery.records, without.stats().recovery.records)
}

#[test]
fn with_it_or_without_a_store_opens_with_the_same_whatever_was_written_since() {
    let mut spared = 0;
    for seed in 1..=3 {
        let (dir, mut random, mut model) = (tempfile::tempdir().unwrap(), Random::new(seed), Model::new());
        let mut db = options().open(dir.path()).unwrap();
        churn(&db, &mut model, &mut random, KEYS * 2);
        for round in 0..10 {
            match random.below(6) {
                0 | 1 => db.checkpoint().unwrap(),
                2 => assert!(db.compact().unwrap().decisions.nothing > 0),
                3 => {
                    db.seal().unwrap();
                    db.archive().unwrap();
                }
                4 => {
                    db.close().unwrap();
                    db = options().open(dir.path()).unwrap();
                }
                _ => db.seal().unwrap(),
            }
            let (with, without) = open_copies(dir.path(), &model);
            assert!(with <= without, "seed {seed}, round {round}");
            spared += without - with;
            let writes = random.below(3000);
            churn(&db, &mut model, &mut random, writes);
            open_copies(dir.path(), &model);
        }
        db.close().unwrap();
    }
    assert!(spared > 10_000, "only {spared} records were spared");
}

#[test]
fn it_is_taken_while_others_write() {
    let (dir, mut random, mut model) = (tempfile::tempdir().unwrap(), Random::new(7), Model::new());
    let db = options().open(dir.path()).unwrap();
    churn(&db, &mut model, &mut random, KEYS * 2);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| churn(&db, &mut model, &mut random, 20_000));
        let mut taken = 0;
        while !writer.is_finished() || taken == 0 {
            db.checkpoint().unwrap();
            taken += 1;
        }
    });
    open_copies(dir.path(), &model);
    churn(&db, &mut model, &mut random, 1_000);
    let (with, without) = open_copies(dir.path(), &model);
    assert!(with < without);
    db.close().unwrap();
}

#[test]
fn damaged_it_costs_time_and_nothing_else() {
    let (dir, mut random, mut model) = (tempfile::tempdir().unwrap(), Random::new(3), Model::new());
    let db = options().open(dir.path()).unwrap();
    churn(&db, &mut model, &mut random, KEYS * 2);
    db.checkpoint().unwrap();
    db.close().unwrap();
    let file = dir.path().join("checkpoint/index");
    let whole = fs::read(&file).unwrap();
    assert!(open_copies(dir.path(), &model).0 < 100);
    for _ in 0..40 {
        let mut bytes = whole.clone();
        match random.below(3) {
            0 => bytes.truncate(random.below(whole.len())),
            1 => bytes[random.below(whole.len())] ^= 1 << random.below(8),
            _ => {
                let at = random.below(whole.len() - 4096);
                random.fill(&mut bytes[at..at + 4096]);
            }
        }
        fs::write(&file, bytes).unwrap();
        open_copies(dir.path(), &model);
    }
}

#[test]
fn a_clean_close_writes_it_where_it_pays() {
    let dir = tempfile::tempdir().unwrap();
    let db = options().open(dir.path()).unwrap();
    for from in (0..70_000_u32).step_by(1000) {
        let mut batch = db.batch();
        for i in from..from + 1000 {
            batch.put(&db, i.to_le_bytes(), b"value");
        }
        batch.commit().unwrap();
    }
    db.close().unwrap();
    let db = options().open(dir.path()).unwrap();
    assert_eq!((db.len(), db.stats().recovery.records), (70_000, 0));
    db.put("one more", "").unwrap();
    let before = fs::metadata(dir.path().join("checkpoint/index")).unwrap().modified().unwrap();
    db.close().unwrap();
    let after = fs::metadata(dir.path().join("checkpoint/index")).unwrap().modified().unwrap();
    assert_eq!(before, after, "a single record is read as fast");
    assert_eq!(options().open(dir.path()).unwrap().stats().recovery.records, 1);
}
