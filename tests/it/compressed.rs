//! Stores whose archives are compressed: the same as any other, but for their size.
#![cfg(feature = "deflate")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use zipcask::archive::Archive;
use zipcask::sim::Random;
use zipcask::{Compression, Db, Durability, ErrorKind, Options, ReadMode};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn small() -> Options {
    let options = Options::new().durability(Durability::Os).segment_size(256 << 10).background(false);
    options.archive_compression(Compression::Deflate)
}

/// Text of about so many bytes.
fn words(random: &mut Random, len: usize) -> Vec<u8> {
    const WORDS: [&str; 8] = ["segment ", "record ", "tail ", "seqno ", "hint ", "barrier ", "snapshot ", "pin "];
    (0..len / 6).flat_map(|_| WORDS[random.below(8)].bytes()).collect()
}

/// Puts, overwrites and deletes at random.
fn churn(db: &Db, model: &mut Model, random: &mut Random, writes: usize) {
    for _ in 0..writes {
        let key = format!("key {}", random.below(700)).into_bytes();
        if random.below(4) == 0 {
            assert_eq!(db.delete(&key).unwrap(), model.remove(&key).is_some());
        } else {
            let len = [0, 7, 100, 900, 90_000][random.below(100) / 24];
            let value = words(random, len);
            db.put(&key, &value).unwrap();
            model.insert(key, value);
        }
    }
}

fn check(db: &Db, model: &Model) {
    assert_eq!(db.len(), model.len() as u64);
    let reader = db.reader();
    let shown: Vec<_> = model.keys().map(|key| (key, reader.get(key).unwrap())).collect();
    for (key, value) in model {
        assert_eq!(db.get(key).unwrap().as_deref(), Some(&value[..]), "{}", String::from_utf8_lossy(key));
    }
    for (key, value) in shown {
        assert_eq!(value, Some(&model[key][..]), "what a reader shows stays");
    }
    let all: Model = db.iter().map(|pair| pair.map(|(k, v)| (k.to_vec(), v.to_vec())).unwrap()).collect();
    assert!(all == *model, "an iterator shows something else");
    let report = db.verify().unwrap();
    assert!(report.is_clean(), "{report:?}");
}

fn archives(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = fs::read_dir(dir.join("archives")).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

#[test]
fn whatever_was_written_means_the_same_through_archives_of_any_method_and_reopen() {
    let methods = [Compression::Deflate, Compression::None, Compression::Zstd];
    let built_in = if cfg!(feature = "zstd") { 3 } else { 2 };
    for seed in 1..=6 {
        let (dir, mut random, mut model) = (tempfile::tempdir().unwrap(), Random::new(seed), Model::new());
        let mode = if seed % 3 == 0 { ReadMode::Positioned } else { ReadMode::Mmap };
        for round in 0..6 {
            let method = methods[random.below(built_in)];
            let db = small().archive_compression(method).read_mode(mode).open(dir.path()).unwrap();
            check(&db, &model);
            churn(&db, &mut model, &mut random, 600);
            match random.below(4) {
                0 => {}
                1 => drop(db.archive().unwrap()),
                2 => drop(db.checkpoint()),
                _ => drop(db.compact().unwrap()),
            }
            check(&db, &model);
            println!("seed {seed}, round {round}: {method:?}, {} bytes archived", db.stats().archived_bytes);
            db.close().unwrap();
        }
    }
}

#[test]
fn text_takes_less_room_and_the_stats_say_what_is_on_disk() {
    let mut sizes = Vec::new();
    for method in [Compression::None, Compression::Deflate] {
        let (dir, mut random, mut model) = (tempfile::tempdir().unwrap(), Random::new(7), Model::new());
        let db = small().archive_compression(method).open(dir.path()).unwrap();
        churn(&db, &mut model, &mut random, 2000);
        db.archive().unwrap();
        let on_disk: u64 = archives(dir.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
        assert_eq!(db.stats().archived_bytes, on_disk);
        let facts = Archive::open(&archives(dir.path())[0]).unwrap().facts();
        assert!(facts.entries.iter().any(|entry| entry.compression == method && entry.records.is_some()));
        assert!(facts.entries.iter().map(|entry| entry.packed_len).sum::<u64>() < facts.file_bytes);
        sizes.push(on_disk);
    }
    println!("{} bytes as they are, {} compressed", sizes[0], sizes[1]);
    assert!(sizes[1] * 2 < sizes[0], "{sizes:?}");
}

#[test]
fn one_compressed_archive_is_read_without_its_store() {
    let (dir, mut random) = (tempfile::tempdir().unwrap(), Random::new(3));
    let db = small().open(dir.path()).unwrap();
    let model: Model = (0..3000).map(|at| (format!("key {at}").into_bytes(), words(&mut random, 300))).collect();
    for (key, value) in &model {
        db.put(key, value).unwrap();
    }
    db.compact().unwrap();
    db.close().unwrap();
    let mut all = Model::new();
    for path in archives(dir.path()) {
        let archive = Archive::open(path).unwrap();
        assert!(archive.verify().unwrap().is_clean());
        all.extend(archive.iter().map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()));
    }
    assert!(all == model);
}

#[test]
fn what_is_shown_of_a_compressed_archive_outlives_it() {
    let dir = tempfile::tempdir().unwrap();
    let db = small().open(dir.path()).unwrap();
    let text = "a value that is shown ".repeat(1000);
    for number in 0..50 {
        db.put(format!("key {number}"), &text).unwrap();
    }
    db.archive().unwrap();
    let (value, reader, mut iter) = (db.get("key 7").unwrap().unwrap(), db.reader(), db.iter());
    let shown = reader.get("key 8").unwrap().unwrap();
    iter.next().unwrap().unwrap();
    for number in 0..50 {
        db.delete(format!("key {number}")).unwrap();
    }
    db.compact().unwrap();
    assert!(value == *text.as_bytes() && shown == text.as_bytes());
    assert_eq!(iter.by_ref().map(|pair| assert!(pair.unwrap().1 == *text.as_bytes())).count(), 49);
    drop(iter);
    db.close().unwrap();
    assert!(value == *text.as_bytes());
}

#[test]
fn a_damaged_chunk_costs_its_keys_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let db = small().open(dir.path()).unwrap();
    let mut random = Random::new(9);
    let model: Model = (0..2000).map(|at| (format!("key {at}").into_bytes(), words(&mut random, 300))).collect();
    for (key, value) in &model {
        db.put(key, value).unwrap();
    }
    db.archive().unwrap();
    db.checkpoint().unwrap();
    db.close().unwrap();
    let path = archives(dir.path()).remove(0);
    let facts = Archive::open(&path).unwrap().facts();
    let entry = facts.entries.iter().max_by_key(|entry| entry.packed_len).unwrap();
    assert!(
        entry.compression == Compression::Deflate && entry.packed_len > 20_000,
        "a segment of some chunks: {entry:?}"
    );
    let at = entry.offset + entry.packed_len / 2;
    let mut bytes = fs::read(&path).unwrap();
    bytes[at as usize..][..16].fill(0x5a);
    fs::write(&path, bytes).unwrap();

    let db = small().open(dir.path()).unwrap();
    let mut lost = 0;
    for (key, value) in &model {
        match db.get(key) {
            Ok(found) => assert_eq!(found.as_deref(), Some(&value[..])),
            Err(error) => {
                let text = error.to_string();
                assert_eq!(error.kind(), ErrorKind::Corruption, "{error:?}");
                assert!(text.contains("archives/0000000001.zip (") && text.contains("offset"), "{text}");
                lost += 1;
            }
        }
    }
    println!("{lost} of {} keys lost with one chunk", model.len());
    // About 400 bytes each, in chunks of 64 KiB; a flaw that the codec lives with may be in two.
    assert!((1..=2 * 65_536 / 300).contains(&lost), "{lost}");
    let report = db.verify().unwrap();
    assert!(report.problems().iter().any(|problem| problem.what.contains("chunk")), "{report:?}");
}

#[test]
fn readers_of_many_threads_unpack_at_once() {
    let (dir, mut random, mut model) = (tempfile::tempdir().unwrap(), Random::new(11), Model::new());
    let db = small().open(dir.path()).unwrap();
    churn(&db, &mut model, &mut random, 3000);
    db.archive().unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let reader = db.reader();
                for (key, value) in &model {
                    assert_eq!(reader.get(key).unwrap(), Some(&value[..]));
                }
            });
        }
        scope.spawn(|| db.compact().unwrap());
    });
}

#[cfg(not(feature = "zstd"))]
#[test]
fn a_method_that_is_not_built_in_is_refused_when_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let error = small().archive_compression(Compression::Zstd).open(dir.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("feature `zstd`"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
