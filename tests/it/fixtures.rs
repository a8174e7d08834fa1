//! Stores that earlier versions wrote, kept as they were: each later version reads them, goes on with them, and shows the same.
//!
//! `tests/fixtures` has one for each version of the format, which is written once and never again. `ZIPCASK_FIXTURE=DIR cargo test
//! --test it fixtures` writes one of the version at hand into DIR, for a format that has changed.
#![cfg(feature = "deflate")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use zipcask::archive::Archive;
use zipcask::{Compression, Db, Durability, ErrorKind, KeyspaceOptions, Options, PutOptions, ReadMode, inspect};

use crate::bytes::copy;

const KEYS: u32 = 400;
const LARGE: usize = (1 << 20) + 5;

fn options() -> Options {
    Options::new().durability(Durability::Os).segment_size(64 << 10).background(false)
}

fn ordered() -> KeyspaceOptions {
    KeyspaceOptions::new().ordered(true).value_align(64)
}

/// What the last of several writes has put there; every ninth key was deleted.
fn value(i: u32) -> Option<Vec<u8>> {
    (!i.is_multiple_of(9)).then(|| vec![i as u8; (i as usize * 7) % 500])
}

/// A year that no test sees.
fn late() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(7_000_000_000)
}

/// A store as a kill leaves it, with files of each kind: archives packed both ways, an index that was written down, a large value, a
/// cursor, segments behind all that, and one without an end.
fn write(dir: &Path) {
    let home = tempfile::tempdir().unwrap();
    let db = options().archive_compression(Compression::Deflate).open(home.path()).unwrap();
    for i in 0..KEYS {
        db.put(i.to_le_bytes(), vec![1; 300]).unwrap();
    }
    db.archive().unwrap();
    db.close().unwrap();
    let db = options().open(home.path()).unwrap();
    let space = db.keyspace_with("ordered", ordered()).unwrap();
    for i in 0..KEYS {
        match value(i) {
            Some(value) => drop(db.put(i.to_le_bytes(), value).unwrap()),
            None => assert!(db.delete(i.to_le_bytes()).unwrap()),
        }
        space.put(i.to_be_bytes(), i.to_le_bytes()).unwrap();
    }
    db.put("large", vec![7; LARGE]).unwrap();
    db.archive().unwrap();
    db.checkpoint().unwrap();
    let ttl = late().duration_since(SystemTime::now()).unwrap();
    db.put_with("late", "value", PutOptions::new().ttl(ttl)).unwrap();
    db.keyspace("cleared").unwrap().put("key", "value").unwrap();
    db.keyspace("cleared").unwrap().clear().unwrap();
    db.keyspace("dropped").unwrap().put("key", "value").unwrap();
    db.drop_keyspace("dropped").unwrap();
    let mut batch = db.batch();
    batch.put(&db, "batch", "one").put(&space, "batch", "other");
    batch.commit().unwrap();
    db.cursor("consumer").unwrap();
    db.put("behind", "the cursor").unwrap();
    db.sync().unwrap();
    copy(home.path(), dir);
    for name in ["LOCK", "HOLDER"] {
        let _ = fs::remove_file(dir.join(name));
    }
}

/// Holds a store against what `write` has put there.
fn check(db: &Db, what: &str) {
    for i in 0..KEYS {
        assert_eq!(db.get(i.to_le_bytes()).unwrap().as_deref(), value(i).as_deref(), "{what}: {i}");
    }
    let present = (0..KEYS).filter(|i| value(*i).is_some()).count() as u64;
    assert_eq!(db.len(), present + 4, "{what}");
    assert!(db.get("large").unwrap().unwrap() == vec![7; LARGE], "{what}");
    assert_eq!(db.get("behind").unwrap().unwrap(), "the cursor", "{what}");
    let expiry = db.expires_at("late").unwrap().unwrap();
    let apart = expiry.duration_since(late()).unwrap_or_else(|error| error.duration());
    assert!(apart < Duration::from_secs(60), "{what}: {expiry:?}");
    let mut names = db.keyspaces();
    names.sort();
    assert_eq!(names, ["cleared", "default", "ordered"], "{what}");
    assert!(db.keyspace("cleared").unwrap().is_empty(), "{what}");
    let other = db.keyspace_with("ordered", KeyspaceOptions::new()).unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Invalid, "{what}: {other:?}");
    let space = db.keyspace_with("ordered", ordered()).unwrap();
    let keys: Vec<_> = space.range(..1_u32.to_be_bytes()).unwrap().map(|pair| pair.unwrap().0.to_vec()).collect();
    assert_eq!(keys, [0_u32.to_be_bytes()], "{what}");
    assert_eq!(space.len(), u64::from(KEYS) + 1, "{what}");
    assert_eq!(space.get("batch").unwrap().unwrap(), "other", "{what}");
    assert!(db.verify().unwrap().is_clean(), "{what}: {:?}", db.verify().unwrap().problems());
}

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut found: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

#[test]
fn write_one_where_it_is_asked_for() {
    if let Some(dir) = std::env::var_os("ZIPCASK_FIXTURE") {
        write(Path::new(&dir));
    }
}

#[test]
fn what_is_written_as_a_fixture_is_what_is_expected_of_one() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    check(&options().open(dir.path()).unwrap(), "a new one");
}

#[test]
fn a_store_of_each_version_is_read_in_all_ways_and_gone_on_with() {
    for fixture in fixtures() {
        let name = fixture.file_name().unwrap().to_str().unwrap();
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        copy(&fixture, &at("store"));
        assert_eq!(inspect::verify(at("store")).unwrap().problems(), [], "{name}");
        inspect::salvage(at("store"), at("saved")).unwrap();
        assert_eq!(Db::open_read_only(at("saved")).unwrap().get("batch").unwrap().unwrap(), "one", "{name}");
        for entry in fs::read_dir(at("store").join("archives")).unwrap() {
            assert!(Archive::open(entry.unwrap().path()).unwrap().verify().unwrap().is_clean(), "{name}");
        }
        check(&Db::open_read_only(at("store")).unwrap(), name);
        // Without the index that was written down all files are read.
        copy(&at("store"), &at("unlisted"));
        fs::remove_dir_all(at("unlisted").join("checkpoint")).unwrap();
        for store in [at("store"), at("unlisted")] {
            for mode in [ReadMode::Mmap, ReadMode::Positioned] {
                check(&options().read_mode(mode).open(&store).unwrap(), name);
            }
            let db = options().open(&store).unwrap();
            let next = db.cursor("consumer").unwrap().tail().unwrap().next().unwrap().unwrap();
            assert_eq!(next.changes()[0].key, "behind", "{name}");
            db.compact().unwrap();
            db.checkpoint().unwrap();
            check(&db, name);
            db.close().unwrap();
            check(&options().open(&store).unwrap(), name);
        }
    }
}
