//! Hints save an open the reading of what they list, and change nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::bytes::{copy, edit};
use zipcask::sim::{Random, make_hints};
use zipcask::{Db, Durability, ErrorKind, Options, Stats};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn options() -> Options {
    Options::new().durability(Durability::Os).segment_size(6 << 20).background(false)
}

/// Keys of which a share of `again` percent was there before, some of them deleted, with values of some KiB, and a few large ones.
fn churn(db: &Db, model: &mut Model, random: &mut Random, writes: usize, again: usize) {
    for _ in 0..writes {
        let old = model.keys().nth(random.below(model.len() + 1)).filter(|_| random.below(100) < again).cloned();
        let delete = old.is_some() && random.below(3) == 0;
        let key = old.unwrap_or_else(|| random.next_u64().to_le_bytes()[..5 + random.below(4)].to_vec());
        if delete {
            assert_eq!(db.delete(&key).unwrap(), model.remove(&key).is_some());
            continue;
        }
        let lens = if random.below(100) == 0 { [4_000_000, 1 << 20] } else { [0, 9000] };
        let mut value = vec![0; lens[random.below(2)]];
        random.fill(&mut value);
        db.put(&key, &value).unwrap();
        model.insert(key, value);
    }
}

fn check(db: &Db, model: &Model) {
    assert_eq!(db.len(), model.len() as u64);
    for (key, value) in model {
        assert!(db.get(key).unwrap().as_deref() == Some(value), "{key:?}");
    }
    assert!(db.iter().all(|pair| model.get(&*pair.as_ref().unwrap().0).map(Vec::as_slice) == Some(&*pair.unwrap().1)));
    assert_eq!(db.iter().count(), model.len());
}

/// What all ways of opening must agree on.
fn figures(stats: &Stats) -> impl PartialEq + std::fmt::Debug {
    let segments =
        stats.segments.iter().map(|s| (s.id, s.used_bytes, s.live_bytes, s.live_records)).collect::<Vec<_>>();
    (stats.live_keys, stats.live_bytes, stats.dead_bytes, stats.disk_bytes, segments)
}

fn hints(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir.join("hints")).map_or(Vec::new(), |names| names.map(|name| name.unwrap().path()).collect())
}

/// Opens a copy of the store as a kill would leave it now, but for the written index and what `change` does to the copy.
fn open_copy(dir: &Path, model: &Model, options: Options, change: impl FnOnce(&Path)) -> Stats {
    let home = tempfile::tempdir().unwrap();
    let copied = home.path().join("copy");
    copy(dir, &copied);
    let _ = fs::remove_dir_all(copied.join("checkpoint"));
    change(&copied);
    let db = options.open(&copied).unwrap();
    let stats = db.stats();
    check(&db, model);
    db.close().unwrap();
    stats
}

/// Removes all hints, or what tells that they are some.
fn spoil_hints(copied: &Path) {
    let _ = fs::remove_dir_all(copied.join("hints"));
    for archive in fs::read_dir(copied.join("archives")).into_iter().flatten() {
        edit(&archive.unwrap().path(), |bytes| {
            let pages = bytes.chunks_mut(4096).filter(|page| page.starts_with(b"ZCHINTS\n"));
            pages.for_each(|page| page[0] ^= 1);
        });
    }
}

#[test]
fn with_them_or_without_a_store_opens_with_the_same() {
    let mut hinted = 0;
    for (seed, again) in [(1, 0), (2, 1), (3, 5), (4, 40)] {
        println!("seed {seed}, {again} % of the keys again");
        let (dir, mut random, mut model) = (tempfile::tempdir().unwrap(), Random::new(seed), Model::new());
        let db = options().open(dir.path()).unwrap();
        for round in 0..3 {
            churn(&db, &mut model, &mut random, 2500, again);
            if round == 1 {
                db.compact().unwrap();
            }
            make_hints(&db).unwrap();
            let with = open_copy(dir.path(), &model, options(), |_| {});
            let beside = open_copy(dir.path(), &model, options().background(true), |_| {});
            let without = open_copy(dir.path(), &model, options(), spoil_hints);
            assert_eq!(figures(&with), figures(&without), "seed {seed}, round {round}");
            assert_eq!(figures(&with), figures(&beside), "seed {seed}, round {round}");
            let (with, without) = (with.recovery, without.recovery);
            assert_eq!((without.hinted, without.segments), (0, with.segments + with.hinted));
            hinted += with.hinted;
        }
        assert!(db.verify().unwrap().is_clean());
    }
    assert!(hinted >= 10, "only {hinted} segments were found by their hints");
}

/// A store closed with one sealed segment of 64 values and its hint, which is worth it, and something behind it.
fn one_sealed(dir: &Path) -> Model {
    let (db, mut model) = (options().open(dir).unwrap(), Model::new());
    let mut batch = db.batch();
    for at in 0..64_u8 {
        let (key, value) = (vec![at; 3], vec![at; 80_000]);
        batch.put(&db, &key, &value);
        model.insert(key, value);
    }
    batch.commit().unwrap();
    db.seal().unwrap();
    make_hints(&db).unwrap();
    db.put("a", "b").unwrap();
    model.insert(b"a".to_vec(), b"b".to_vec());
    db.close().unwrap();
    model
}

#[test]
fn one_with_any_byte_changed_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let model = one_sealed(dir.path());
    let whole = options().open(dir.path()).unwrap().stats();
    assert_eq!((whole.recovery.hinted, whole.recovery.records), (1, 1));
    let hint = hints(dir.path()).remove(0);
    let bytes = fs::read(&hint).unwrap();
    for at in 0..bytes.len() {
        edit(&hint, |bytes| bytes[at] ^= 1 << (at % 8));
        let db = options().open(dir.path()).unwrap();
        let stats = db.stats();
        assert_eq!((stats.recovery.hinted, stats.recovery.records), (0, 65), "byte {at}");
        assert_eq!(figures(&stats), figures(&whole), "byte {at}");
        if at % 100 == 0 {
            check(&db, &model);
        }
        drop(db);
        fs::write(&hint, &bytes).unwrap();
    }
    for len in [0, 1, 127, 128, bytes.len() - 1] {
        fs::write(&hint, &bytes[..len]).unwrap();
        assert_eq!(options().open(dir.path()).unwrap().stats().recovery.hinted, 0, "{len} bytes");
    }
    // Nor is that of another segment, or of a store of the same name.
    let other = tempfile::tempdir().unwrap();
    one_sealed(other.path());
    fs::copy(hints(other.path()).remove(0), &hint).unwrap();
    assert_eq!(options().open(dir.path()).unwrap().stats().recovery.hinted, 0);
    println!("{} bytes", bytes.len());
}

fn name_of(at: u32) -> String {
    format!("key {at:08};")
}

/// The store of `it_is_served`: a file of old values, then a sealed one of short records that overwrite and delete most of them, each
/// a few times, which no hint is worth to be used for. What it holds, and the second file.
fn overwritten(dir: &Path) -> (Model, PathBuf) {
    let (db, mut model) = (options().open(dir).unwrap(), Model::new());
    for at in 0..8000_u32 {
        db.put(name_of(at), [1; 100]).unwrap();
        model.insert(name_of(at).into(), vec![1; 100]);
    }
    db.seal().unwrap();
    let mut batch = db.batch();
    for round in 2..=6_u8 {
        for at in 1000..8000_u32 {
            if round == 6 && at % 3 == 0 {
                batch.delete(&db, name_of(at));
                model.remove(name_of(at).as_bytes());
            } else {
                batch.put(&db, name_of(at), [round; 100]);
                model.insert(name_of(at).into(), vec![round; 100]);
            }
        }
    }
    batch.commit().unwrap();
    db.seal().unwrap();
    make_hints(&db).unwrap();
    db.put("one more", "").unwrap();
    model.insert(b"one more".to_vec(), vec![]);
    db.close().unwrap();
    let names = fs::read_dir(dir.join("segments")).unwrap().map(|name| name.unwrap().path());
    (model, names.filter(|path| newest_of(path, &name_of(6000)).is_some()).max().unwrap())
}

/// Where the newest record of a key in a file has it.
fn newest_of(file: &Path, key: &str) -> Option<usize> {
    fs::read(file).unwrap().windows(key.len()).rposition(|window| window == key.as_bytes())
}

#[test]
fn a_sealed_file_with_a_broken_chain_is_served_by_its_hint_but_for_what_is_broken() {
    let dir = tempfile::tempdir().unwrap();
    let (mut model, file) = overwritten(dir.path());
    let whole = options().open(dir.path()).unwrap().stats();
    assert_eq!((whole.recovery.hinted, whole.recovery.damaged.len()), (0, 0), "keys come again too often");
    // One was put, the other was deleted: neither may be what it was before.
    let broken = name_of(4000);
    for key in [&broken, &name_of(6000)] {
        let at = newest_of(&file, key).unwrap();
        edit(&file, |bytes| bytes[at + 3] ^= 1);
        model.remove(key.as_bytes());
    }
    for round in 0..3 {
        let db = options().open(dir.path()).unwrap();
        let recovery = db.stats().recovery;
        assert_eq!(recovery.damaged, [fs::canonicalize(&file).unwrap()], "round {round}");
        for at in 0..8000 {
            let (key, found) = (name_of(at), db.get(name_of(at)));
            if key == broken {
                assert_eq!(found.unwrap_err().kind(), ErrorKind::Corruption, "{key}");
            } else {
                assert_eq!(found.unwrap().as_deref(), model.get(key.as_bytes()).map(Vec::as_slice), "{key}");
            }
        }
        assert_eq!(db.iter().filter(Result::is_ok).count(), model.len());
        assert!(!db.verify().unwrap().is_clean());
        // No job takes the file, and none what is needed for it to mean what it means.
        let report = if round == 1 { db.archive().map(|_| 1) } else { db.compact().map(|report| report.damaged) };
        assert!(report.is_err() || report.unwrap() > 0);
        assert!(file.exists());
        db.close().unwrap();
        let _ = fs::remove_dir_all(dir.path().join("checkpoint"));
    }
    fs::remove_dir_all(dir.path().join("hints")).unwrap();
    assert_eq!(options().open(dir.path()).unwrap_err().kind(), ErrorKind::Corruption);
}

#[test]
fn the_background_makes_them_of_what_is_sealed_and_worth_it() {
    let dir = tempfile::tempdir().unwrap();
    let db = options().background(true).open(dir.path()).unwrap();
    for at in 0..500_u32 {
        db.put(at.to_le_bytes(), vec![0; 40_000]).unwrap();
    }
    let start = std::time::Instant::now();
    while hints(dir.path()).is_empty() {
        assert!(start.elapsed().as_secs() < 60, "the background did not come to it");
        std::thread::yield_now();
    }
    db.close().unwrap();
    assert!(options().open(dir.path()).unwrap().stats().recovery.hinted > 0);
}

#[test]
fn a_session_that_writes_little_has_none_to_make() {
    let dir = tempfile::tempdir().unwrap();
    let db = options().open(dir.path()).unwrap();
    for at in 0..3000_u32 {
        db.put(at.to_le_bytes(), vec![0; 1000]).unwrap();
    }
    db.seal().unwrap();
    make_hints(&db).unwrap();
    assert!(!dir.path().join("hints").exists());
}

/// A store whose second segment has a hint, and then a record with a broken head. The index was written down before that was begun.
fn broken_behind_an_index(dir: &Path) {
    let db = options().open(dir).unwrap();
    db.put("first", "1").unwrap();
    db.seal().unwrap();
    db.checkpoint().unwrap();
    let mut batch = db.batch();
    for i in 0..1200 {
        batch.put(&db, format!("key {i:08}"), [i as u8; 4000]);
    }
    batch.commit().unwrap();
    db.seal().unwrap();
    make_hints(&db).unwrap();
    db.put("last", "1").unwrap();
    std::mem::forget(db);
    edit(&dir.join("segments/0000000002.seg"), |bytes| {
        let key = b"key 00000500";
        let at = bytes.windows(key.len()).position(|window| window == key).unwrap();
        bytes[at - 3] ^= 1;
    });
}

#[test]
fn a_broken_chain_is_served_beside_a_written_index_and_to_a_handle_for_reading_only() {
    let home = tempfile::tempdir().unwrap();
    let (killed, copied) = (home.path().join("killed"), home.path().join("copied"));
    broken_behind_an_index(&killed);
    let with = |copied: &Path| assert!(copied.join("checkpoint/index").exists());
    let without = |copied: &Path| fs::remove_dir_all(copied.join("checkpoint")).unwrap();
    for change in [with as fn(&Path), without] {
        for writes in [true, false] {
            copy(&killed, &copied);
            change(&copied);
            let db = if writes { options().open(&copied) } else { options().open_read_only(&copied) }.unwrap();
            assert_eq!(db.len(), 1202);
            assert_eq!(db.get("key 00000501").unwrap().unwrap(), [245; 4000]);
            assert_eq!(db.get("key 00000500").unwrap_err().kind(), ErrorKind::Corruption);
            drop(db);
            fs::remove_dir_all(&copied).unwrap();
        }
    }
}
