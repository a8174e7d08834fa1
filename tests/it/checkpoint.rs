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

/// Bytes of a value that has a file of its own.
const LARGE: usize = 140_000;

fn options() -> Options {
    Options::new().durability(Durability::Os).segment_size(256 << 10).background(false)
}

fn churn(db: &Db, model: &mut Model, random: &mut Random, writes: usize) {
    for _ in 0..writes {
        let key = format!("key {}", random.below(KEYS)).into_bytes();
        if random.below(5) == 0 {
            assert_eq!(db.delete(&key).unwrap(), model.remove(&key).is_some());
        } else {
            let len = if random.below(500) == 0 { LARGE } else { [0, 7, 40, 300][random.below(4)] };
            let mut value = vec![0; len];
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

/// What both ways of opening must agree on: of the store, and of each of its segments.
fn figures(stats: &Stats) -> Vec<(String, [u64; 4])> {
    let all = [stats.live_keys, stats.live_bytes, stats.dead_bytes, stats.archived_bytes];
    let each = stats.segments.iter().map(|s| (s.file.clone(), [s.used_bytes, s.live_bytes, s.live_records, s.id]));
    each.chain([("all".to_owned(), all)]).collect()
}

/// Opens copies of a store as it is now: with the written index, and without. Returns how many records the first read.
fn open_copies(dir: &Path, model: &Model) -> (u64, u64) {
    let home = tempfile::tempdir().unwrap();
    let (with, without) = (home.path().join("with"), home.path().join("without"));
    copy(dir, &with);
    copy(dir, &without);
    let _ = fs::remove_dir_all(without.join("checkpoint"));
    let follower = options().open_read_only(&with).unwrap();
    check(&follower, model);
    let followed = follower.stats();
    drop(follower);
    let (with, without) = (options().open(with).unwrap(), options().open(without).unwrap());
    assert_eq!(figures(&followed), figures(&with.stats()), "opened for reading only");
    assert_eq!(followed.recovery.records, with.stats().recovery.records);
    check(&with, model);
    check(&without, model);
    assert_eq!(figures(&with.stats()), figures(&without.stats()));
    assert_eq!(with.stats().debt_bytes, without.stats().debt_bytes);
    assert!(with.verify().unwrap().is_clean());
    (with.stats().recovery.records, without.stats().recovery.records)
}

#[test]
fn with_it_or_without_a_store_opens_with_the_same_whatever_was_written_since() {
    let (mut spared, mut partial) = (0, 0);
    for seed in 1..=3 {
        let (dir, mut random, mut model) = (tempfile::tempdir().unwrap(), Random::new(seed), Model::new());
        let mut db = options().open(dir.path()).unwrap();
        churn(&db, &mut model, &mut random, KEYS * 2);
        db.checkpoint().unwrap();
        for round in 0..10 {
            let mut jobs = 0;
            match random.below(8) {
                0 | 1 => db.checkpoint().unwrap(),
                2..=4 => jobs = db.compact().unwrap().archives,
                5 => {
                    db.seal().unwrap();
                    jobs = db.archive().unwrap().archives;
                }
                6 => {
                    db.close().unwrap();
                    db = options().open(dir.path()).unwrap();
                }
                _ => db.seal().unwrap(),
            }
            let (with, without) = open_copies(dir.path(), &model);
            assert!(with <= without, "seed {seed}, round {round}");
            spared += without - with;
            partial += u64::from(jobs > 0 && with < without);
            let writes = random.below(3000);
            churn(&db, &mut model, &mut random, writes);
            open_copies(dir.path(), &model);
        }
        db.close().unwrap();
    }
    assert!(spared > 10_000, "only {spared} records were spared");
    assert!(partial > 2, "{partial} indexes were of other files than those that were there, and of use");
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

/// Keys that hardly change: enough for files that no job rewrites, so that a written index has some that are still there.
const CALM: u32 = 1000;

fn write_calm(db: &Db, model: &mut Model) {
    touch_calm(db, model, (0..CALM).collect());
    db.seal().unwrap();
}

fn touch_calm(db: &Db, model: &mut Model, keys: Vec<u32>) {
    for key in keys {
        let (key, value) = (format!("calm {key}").into_bytes(), vec![model.len() as u8; 200]);
        db.put(&key, &value).unwrap();
        model.insert(key, value);
    }
}

/// Some of them, each turn others.
fn some_calm(turn: u32) -> Vec<u32> {
    (turn..CALM).step_by(100).collect()
}

/// Puts what lies in this folder of a store in the place of what another has there.
fn put_back(from: &Path, to: &Path, folder: &str) {
    let _ = fs::remove_dir_all(to.join(folder));
    if from.join(folder).exists() {
        copy(&from.join(folder), &to.join(folder));
    }
}

#[test]
fn it_says_nothing_of_a_backup_that_was_put_back_whatever_is_written_then() {
    for seed in 1..=4 {
        let (home, mut random, mut model) = (tempfile::tempdir().unwrap(), Random::new(seed), Model::new());
        let (dir, backup) = (home.path().join("store"), home.path().join("backup"));
        let db = options().open(&dir).unwrap();
        write_calm(&db, &mut model);
        churn(&db, &mut model, &mut random, KEYS * 2);
        // Of some there is an archive that the index does not know, of others the log.
        if seed % 2 == 0 {
            db.compact().unwrap();
        }
        db.sync().unwrap();
        copy(&dir, &backup);
        let mut then = model.clone();
        touch_calm(&db, &mut model, some_calm(0));
        churn(&db, &mut model, &mut random, 3_000);
        db.seal().unwrap();
        db.compact().unwrap();
        db.checkpoint().unwrap();
        db.close().unwrap();
        // All but the index.
        for folder in ["segments", "archives", "large"] {
            put_back(&backup, &dir, folder);
        }
        let db = options().open(&dir).unwrap();
        check(&db, &then);
        touch_calm(&db, &mut then, some_calm(50));
        churn(&db, &mut then, &mut random, 6_000);
        open_copies(&dir, &then);
        db.compact().unwrap();
        open_copies(&dir, &then);
        churn(&db, &mut then, &mut random, 6_000);
        db.compact().unwrap();
        open_copies(&dir, &then);
    }
}

#[test]
fn it_says_nothing_of_a_copy_that_went_another_way() {
    for seed in 1..=4 {
        let (home, mut random, mut model) = (tempfile::tempdir().unwrap(), Random::new(seed), Model::new());
        let (dir, other) = (home.path().join("store"), home.path().join("other"));
        let db = options().open(&dir).unwrap();
        write_calm(&db, &mut model);
        churn(&db, &mut model, &mut random, KEYS * 2);
        db.checkpoint().unwrap();
        copy(&dir, &other);
        let mut theirs = model.clone();
        touch_calm(&db, &mut model, some_calm(0));
        churn(&db, &mut model, &mut random, 1_000);
        db.checkpoint().unwrap();
        let db = options().open(&other).unwrap();
        touch_calm(&db, &mut theirs, some_calm(50));
        churn(&db, &mut theirs, &mut random, 5_000);
        db.compact().unwrap();
        churn(&db, &mut theirs, &mut random, 5_000);
        db.compact().unwrap();
        drop(db);
        open_copies(&other, &theirs);
        put_back(&dir, &other, "checkpoint");
        open_copies(&other, &theirs);
    }
}
