//! A handle for reading only: it follows a writer, takes nothing from it, and writes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use crate::bytes::copy;
use zipcask::sim::Random;
use zipcask::{Db, Durability, ErrorKind, Options, PutOptions, ReadMode, Seqno};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn small() -> Options {
    Options::new().durability(Durability::Os).segment_size(64 << 10).background(false)
}

fn all(db: &Db) -> Model {
    db.iter().map(|pair| pair.map(|(k, v)| (k.to_vec(), v.to_vec())).unwrap()).collect()
}

/// Holds against the model what every way of reading says.
fn check(db: &Db, model: &Model, what: &str) {
    assert_eq!(db.len(), model.len() as u64, "{what}");
    let keys: Vec<_> = model.keys().collect();
    let reader = db.reader();
    reader.get_many(&keys, |i, found| assert_eq!(found.unwrap(), Some(&*model[keys[i]]), "{what}: {:?}", keys[i]));
    assert!(all(db) == *model, "{what}: a pass shows something else");
}

/// Puts, overwrites and deletes at random, single and in batches.
fn churn(db: &Db, model: &mut Model, random: &mut Random, writes: usize) {
    for _ in 0..writes {
        let key = format!("key {}", random.below(400)).into_bytes();
        match random.below(8) {
            0..3 => assert_eq!(db.delete(&key).unwrap(), model.remove(&key).is_some()),
            3 => {
                let mut batch = db.batch();
                for i in 0..3_u8 {
                    let key = [&*key, &[i]].concat();
                    batch.put(db, &key, [i; 50]);
                    model.insert(key, vec![i; 50]);
                }
                batch.commit().unwrap();
            }
            _ => {
                let len = [0, 7, 100, 900, 40_000][if random.below(60) == 0 { 4 } else { random.below(4) }];
                let mut value = vec![0; len];
                random.fill(&mut value);
                db.put(&key, &value).unwrap();
                model.insert(key, value);
            }
        }
    }
}

/// Every file and folder below `dir`, with its length and when it was changed.
fn files(dir: &Path) -> BTreeMap<String, (u64, SystemTime)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let facts = entry.metadata().unwrap();
            found.insert(entry.path().display().to_string(), (facts.len(), facts.modified().unwrap()));
            if facts.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    found.insert(String::new(), (0, fs::metadata(dir).unwrap().modified().unwrap()));
    found
}

#[test]
fn it_shows_what_was_there_until_it_is_refreshed() {
    let dir = tempfile::tempdir().unwrap();
    let writer = small().open(dir.path()).unwrap();
    writer.put("apple", "red").unwrap();
    writer.put("pear", "green").unwrap();
    let db = Db::open_read_only(dir.path()).unwrap();
    assert_eq!(db.last_seqno(), Seqno::from(2));
    let (value, iter) = (db.get("apple").unwrap().unwrap(), db.iter());
    let mut reader = db.reader();
    let slice = reader.get("pear").unwrap().unwrap();
    writer.put("apple", "brown").unwrap();
    writer.delete("pear").unwrap();
    let last = writer.put("plum", "blue").unwrap();
    assert_eq!((db.last_seqno(), db.len()), (Seqno::from(2), 2));
    assert_eq!(db.get("apple").unwrap().unwrap(), b"red");
    assert!(!db.contains_key("plum").unwrap());
    assert_eq!(db.refresh().unwrap(), last);
    assert_eq!((db.last_seqno(), db.len()), (last, 2));
    assert_eq!(db.get("apple").unwrap().unwrap(), b"brown");
    assert!(!db.contains_key("pear").unwrap());
    assert_eq!((&*value, slice), (&b"red"[..], &b"green"[..]));
    assert_eq!(iter.map(|pair| pair.unwrap().1.to_vec()).collect::<Vec<_>>(), [b"red".to_vec(), b"green".to_vec()]);
    reader.refresh();
    assert_eq!(reader.get("plum").unwrap(), Some(&b"blue"[..]));
    assert_eq!(writer.refresh().unwrap(), last, "a writer has nothing to follow");
}

#[test]
fn a_batch_is_followed_whole_and_what_is_durable_is_known_late() {
    let dir = tempfile::tempdir().unwrap();
    let writer = small().open(dir.path()).unwrap();
    let first = writer.put_with("a", "1", PutOptions::new().durability(Durability::Sync)).unwrap();
    let db = Db::open_read_only(dir.path()).unwrap();
    assert!(db.durable_seqno() <= first);
    let second = writer.put("b", "2").unwrap();
    db.refresh().unwrap();
    assert_eq!(db.durable_seqno(), first, "the second says that the first is");
    assert_eq!(db.last_seqno(), second);
    db.wait_durable(first).unwrap();
    assert_eq!(db.wait_durable(second).unwrap_err().kind(), ErrorKind::ReadOnly);
    writer.seal().unwrap();
    db.refresh().unwrap();
    assert_eq!(db.durable_seqno(), second);
}

#[test]
fn where_there_is_no_store_none_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    for dir in [dir.path(), &missing] {
        assert_eq!(Db::open_read_only(dir).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(small().open_read_only(dir).unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    fs::write(dir.path().join("letter"), "dear").unwrap();
    assert_eq!(Db::open_read_only(dir.path()).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn whatever_writes_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    small().open(dir.path()).unwrap().put("key", "value").unwrap();
    let before = files(dir.path());
    let db = small().open_read_only(dir.path()).unwrap();
    let mut batch = db.batch();
    batch.put(&db, "large", vec![1; 3 << 20]).delete(&db, "key");
    let refused = [
        db.put("a", "b").map(drop),
        db.put("large", vec![1; 3 << 20]).map(drop),
        db.delete("key").map(drop),
        db.delete("not there").map(drop),
        db.put_writer("key", 3 << 20).map(drop),
        batch.commit().map(drop),
        db.batch().commit().map(drop),
        db.sync().map(drop),
        db.seal(),
        db.archive().map(drop),
        db.compact().map(drop),
    ];
    for (i, refused) in refused.into_iter().enumerate() {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ReadOnly, "{i}");
    }
    assert_eq!(db.get("key").unwrap().unwrap(), b"value");
    let copy = db.clone();
    db.close().unwrap();
    assert_eq!(copy.refresh().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(copy.put("a", "b").unwrap_err().kind(), ErrorKind::Closed);
    assert!(before == files(dir.path()));
}

#[test]
fn nothing_is_written_made_or_removed_though_there_is_much_to_tidy_up() {
    let (dir, mut random, mut model) = (tempfile::tempdir().unwrap(), Random::new(1), Model::new());
    let writer = small().open(dir.path().join("store")).unwrap();
    churn(&writer, &mut model, &mut random, 1500);
    writer.compact().unwrap();
    churn(&writer, &mut model, &mut random, 300);
    let crashed = dir.path().join("crashed");
    copy(&dir.path().join("store"), &crashed);
    // What a crash may leave: a torn tail, names that never became final, spares, files that no record names.
    let newest = files(&crashed.join("segments")).into_keys().next_back().unwrap();
    let mut bytes = fs::read(&newest).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() / 8 * 8 + 8;
    bytes[end..end + 30].fill(0xA5);
    fs::write(&newest, bytes).unwrap();
    fs::create_dir_all(crashed.join("spare")).unwrap();
    fs::create_dir_all(crashed.join("large")).unwrap();
    for name in ["segments/new-0000000099", "archives/new-0000000099", "spare/00c0ffee00c0ffee"] {
        fs::write(crashed.join(name), "leftover").unwrap();
    }
    fs::write(crashed.join(format!("large/{:032x}.val", 7)), "leftover").unwrap();
    let before = files(&crashed);
    let db = small().open_read_only(&crashed).unwrap();
    check(&db, &model, "a crashed store");
    assert!(db.verify().unwrap().is_clean());
    assert!(db.stats().live_keys == model.len() as u64 && db.stats().recovery.records > 0);
    db.refresh().unwrap();
    check(&db, &model, "a crashed store, refreshed");
    db.close().unwrap();
    assert!(before == files(&crashed));
    // A reopen for writing seals the tail under the eyes of a reader.
    let db = small().open_read_only(&crashed).unwrap();
    let writer = small().open(&crashed).unwrap();
    assert!(writer.stats().recovery.torn_bytes > 0);
    churn(&writer, &mut model, &mut random, 100);
    db.refresh().unwrap();
    check(&db, &model, "after a reopen");
}

#[test]
fn whatever_happens_to_the_files_a_refresh_shows_what_the_writer_has() {
    for seed in 1..=6 {
        let (dir, mut random, mut model) = (tempfile::tempdir().unwrap(), Random::new(seed), Model::new());
        let mode = |i: u64| if (seed + i).is_multiple_of(3) { ReadMode::Positioned } else { ReadMode::Mmap };
        let mut writer = small().open(dir.path()).unwrap();
        let mut readers = Vec::new();
        for round in 0..60 {
            let writes = [1, 5, 60, 300][random.below(4)];
            churn(&writer, &mut model, &mut random, writes);
            match random.below(9) {
                0 => drop(writer.archive().unwrap()),
                1 | 2 => drop(writer.compact().unwrap()),
                3 => writer.seal().unwrap(),
                4 => {
                    writer.close().unwrap();
                    writer = small().open(dir.path()).unwrap();
                }
                _ => {}
            }
            if readers.len() < 4 {
                let db = small().read_mode(mode(round)).open_read_only(dir.path()).unwrap();
                check(&db, &model, &format!("seed {seed}, round {round}, new"));
                readers.push(db);
            }
            for (i, reader) in readers.iter().enumerate() {
                // Some are late.
                if random.below(1 << i) == 0 {
                    let what = format!("seed {seed}, round {round}, reader {i}");
                    let last = reader.refresh().unwrap_or_else(|error| panic!("{what}: {error:?}"));
                    assert_eq!(last, writer.last_seqno(), "{what}");
                    check(reader, &model, &what);
                    let (ours, theirs) = (reader.stats(), writer.stats());
                    assert_eq!((ours.live_keys, ours.live_bytes), (theirs.live_keys, theirs.live_bytes), "{what}");
                    assert!(round % 8 != 0 || reader.verify().unwrap().is_clean(), "{what}");
                }
            }
        }
    }
}

#[test]
fn large_values_are_followed_and_one_that_is_gone_says_to_refresh() {
    let dir = tempfile::tempdir().unwrap();
    let writer = small().open(dir.path()).unwrap();
    let value = |i: u8| vec![i; 100_000];
    (0..3_u8).for_each(|i| assert!(writer.put([i], value(i)).is_ok()));
    for mode in [ReadMode::Mmap, ReadMode::Positioned] {
        let db = small().read_mode(mode).open_read_only(dir.path()).unwrap();
        let (shown, before) = (db.get([1]).unwrap().unwrap(), fs::read_dir(dir.path().join("large")).unwrap().count());
        writer.put([1], value(1)).unwrap();
        writer.put([2], value(2)).unwrap();
        writer.compact().unwrap();
        // The writer removes them once nobody in its process can look at them.
        let is_gone = || fs::read_dir(dir.path().join("large")).unwrap().count() < before + 2;
        while !is_gone() || matches!(db.get([2]), Ok(Some(_))) {
            drop(writer.get([0]).unwrap());
            std::thread::yield_now();
        }
        assert_eq!(db.get([2]).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(db.verify().unwrap().is_clean(), "what is gone with a compaction is no damage");
        db.refresh().unwrap();
        (0..3_u8).for_each(|i| assert!(db.get([i]).unwrap().unwrap() == value(i)));
        assert!(shown == value(1));
        assert!(db.verify().unwrap().is_clean());
    }
    // Lost without any compaction: that is damage.
    let db = small().open_read_only(dir.path()).unwrap();
    for entry in fs::read_dir(dir.path().join("large")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert_eq!(db.verify().unwrap().problems().len(), 3);
}

#[cfg(target_os = "linux")]
#[test]
fn a_store_on_a_medium_that_cannot_be_written_is_read() {
    use crate::mount::Mount;
    use crate::report::report;

    let mount = match Mount::tmpfs(8 << 20) {
        Ok(mount) => mount,
        Err(missing) => return report(&format!("skipped: {missing}")),
    };
    let (dir, mut random, mut model) = (mount.root().join("store"), Random::new(1), Model::new());
    let writer = small().open(&dir).unwrap();
    churn(&writer, &mut model, &mut random, 500);
    writer.compact().unwrap();
    churn(&writer, &mut model, &mut random, 100);
    let crashed = mount.root().join("crashed");
    copy(&dir, &crashed);
    writer.close().unwrap();
    mount.make_read_only().unwrap();
    for dir in [&dir, &crashed] {
        assert_eq!(small().open(dir).unwrap_err().kind(), ErrorKind::ReadOnly);
        let db = small().open_read_only(dir).unwrap();
        check(&db, &model, "on a medium that cannot be written");
        assert_eq!(db.refresh().unwrap(), db.last_seqno());
        assert!(db.verify().unwrap().is_clean());
    }
}
