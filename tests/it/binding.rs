//! A record is bound to its place: its bytes are no record at another offset, in another segment, in another life of the same
//! file, or in another store; and no two lives have the same salt.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use zipcask::{Db, ErrorKind, ReadMode, Verify, inspect};

use crate::bytes::{copy, edit, records, small};

const KEYS: u8 = 40;
/// Which record is replaced, and which takes its place.
const OLD: usize = 10;
const MOVED: usize = 25;

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir.join("segments")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// A closed store of two segments, each with a record a key, all of one length; `salt` tells its values from those of others.
fn store(dir: &Path, salt: u8) {
    let db = small(dir);
    for round in 0..2 {
        for key in 0..KEYS {
            db.put([round, key], [salt, round, key, 0, 0, 0, 0, 0]).unwrap();
        }
        db.seal().unwrap();
    }
    db.close().unwrap();
}

/// The bytes of a record, up to the next, and where they are.
fn record(path: &Path, number: usize) -> (usize, Vec<u8>) {
    let bytes = fs::read(path).unwrap();
    let all = records(&bytes);
    (all[number], bytes[all[number]..all[number + 1]].to_vec())
}

/// Puts a record in the place of the one `OLD` of the first segment: no reader shows it, and all say that something is wrong.
fn is_none_there(dir: &Path, moved: &[u8], what: &str) {
    let path = &segments(dir)[0];
    let (at, old) = record(path, OLD);
    assert!(old.len() == moved.len() && old != moved, "{what}");
    let sound: BTreeMap<_, _> = pairs(&small(dir)).into_iter().collect();
    // An index that was written down would spare the open its look at the record.
    let _ = fs::remove_dir_all(dir.join("checkpoint"));
    edit(path, |bytes| bytes[at..at + moved.len()].copy_from_slice(moved));
    assert!(!inspect::verify(dir).unwrap().is_clean(), "{what}");
    for mode in [ReadMode::Mmap, ReadMode::Positioned] {
        let options = zipcask::Options::new().read_mode(mode).verify_values(Verify::FirstTouch).segment_size(64 << 10);
        match options.background(false).open(dir) {
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corruption, "{what}: {error:?}"),
            Ok(db) => {
                assert_eq!(db.get([0, OLD as u8]).unwrap_err().kind(), ErrorKind::Corruption, "{what}");
                for (key, value) in &sound {
                    if key[..] != [0, OLD as u8] {
                        assert_eq!(db.get(key).unwrap().as_deref(), Some(&value[..]), "{what}: {key:?}");
                    }
                }
                assert!(!db.verify().unwrap().is_clean(), "{what}");
            }
        }
    }
    let out = tempfile::tempdir().unwrap();
    inspect::salvage(dir, out.path()).unwrap();
    let saved = pairs(&Db::open_read_only(out.path()).unwrap());
    assert!(saved.iter().all(|(key, value)| sound.get(key) == Some(value)), "{what}: {saved:?}");
    assert_eq!(saved.len() + 1, sound.len(), "{what}");
}

fn pairs(db: &Db) -> Vec<(Vec<u8>, Vec<u8>)> {
    db.iter().map(Result::unwrap).map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

#[test]
fn a_record_is_none_at_another_offset_in_another_segment_or_in_another_store() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    store(&at("store"), 1);
    store(&at("other"), 2);
    let first = |name: &str| segments(&at(name))[0].clone();
    let second = segments(&at("store"))[1].clone();
    for (what, path, number) in [
        ("another offset", first("store"), MOVED),
        ("the same offset of another segment", second.clone(), OLD),
        ("another offset of another segment", second, MOVED),
        ("the same offset of the same segment of another store", first("other"), OLD),
    ] {
        let copied = at(what);
        copy(&at("store"), &copied);
        let (_, moved) = record(&path, number);
        is_none_there(&copied, &moved, what);
    }
}

#[test]
fn a_record_of_an_earlier_life_is_none_in_a_store_that_was_put_back_and_went_another_way() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    small(at("empty")).close().unwrap();
    for (name, salt) in [("here", 1), ("there", 2)] {
        copy(&at("empty"), &at(name));
        store(&at(name), salt);
    }
    // The same store, the same id, the same offset, another life.
    let (place, moved) = record(&segments(&at("there"))[0], OLD);
    assert_eq!(place, record(&segments(&at("here"))[0], OLD).0);
    assert_eq!(segments(&at("there"))[0].file_name(), segments(&at("here"))[0].file_name());
    is_none_there(&at("here"), &moved, "another life");
}

#[test]
fn no_two_lives_of_segments_have_the_same_random_epoch_whatever_happens_to_the_store() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    // By the epoch in its header: which stores have the segment, and under which name.
    let mut lives: BTreeMap<Vec<u8>, HashSet<PathBuf>> = BTreeMap::new();
    let mut note = |dir: &Path| {
        for path in segments(dir) {
            let name = path.file_name().unwrap().into();
            lives.entry(fs::read(&path).unwrap()[40..56].to_vec()).or_default().insert(name);
        }
    };
    let mut made = 0;
    store(&at("store"), 1);
    // Each goes another way from the same files: what is written next has the same ids and seqnos.
    for round in 0..20 {
        let way = at(&format!("way {round}"));
        copy(&at("store"), &way);
        let db = small(&way);
        for key in 0..KEYS {
            db.put([9, key], [round; 8]).unwrap();
            db.seal().unwrap();
            made += 1;
        }
        db.close().unwrap();
        note(&way);
    }
    assert_eq!(lives.len(), made + 2, "two that all of them have, and each that was made");
    assert!(lives.values().all(|names| names.len() == 1), "{lives:?}");
}
