//! Stores of other versions and other makings, with right checksums: refused by name, and left alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use zipcask::{Db, ErrorKind, Options, ReadMode, inspect};

use crate::bytes::{FIRST, RECORDS, edit, fix_record, fix_sector, headers, records, small};

/// Everything below `dir` but the lock: contents and times of change.
fn tree(dir: &Path) -> Vec<(PathBuf, Vec<u8>, SystemTime)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let changed = path.symlink_metadata().unwrap().modified().unwrap();
        if path.is_dir() {
            found.extend(tree(&path));
            found.push((path, Vec::new(), changed));
        } else if path.file_name().unwrap() != "LOCK" {
            found.push((path.clone(), fs::read(&path).unwrap(), changed));
        }
    }
    found.sort();
    found
}

/// A closed store of one segment with 50 records.
fn store() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let db = small(dir.path());
    for i in 0..50_u32 {
        db.put(i.to_le_bytes(), vec![i as u8; 500]).unwrap();
    }
    db.close().unwrap();
    dir
}

/// Changes a store, and sees that it is refused with this kind, naming all of these, and stays as it is.
fn refused(change: impl FnOnce(&Path), kind: ErrorKind, names: &[&str]) {
    let dir = store();
    change(dir.path());
    let before = tree(dir.path());
    let error = Db::open(dir.path()).expect_err("it is refused");
    assert_eq!(error.kind(), kind, "{error}");
    for name in names {
        assert!(error.to_string().contains(name), "{name} is not in: {error}");
    }
    assert_eq!(tree(dir.path()), before, "{error}");
}

/// Changes both copies of the identity.
fn identity(change: impl Fn(&mut [u8])) -> impl FnOnce(&Path) {
    move |dir| {
        edit(&dir.join("ZIPCASK"), |bytes| {
            for copy in bytes.chunks_mut(512) {
                change(copy);
                fix_sector(copy);
            }
        });
    }
}

fn segment(change: impl Fn(&mut Vec<u8>)) -> impl FnOnce(&Path) {
    move |dir| edit(&dir.join(FIRST), change)
}

#[test]
fn a_store_of_a_newer_version_is_refused() {
    refused(identity(|copy| copy[8] = 2), ErrorKind::FormatVersion, &["ZIPCASK"]);
}

#[test]
fn a_store_with_an_unknown_feature_is_refused() {
    refused(identity(|copy| copy[16] = 4), ErrorKind::FormatVersion, &["ZIPCASK"]);
}

#[test]
fn a_store_with_an_unknown_feature_that_only_readers_may_ignore_is_refused_for_writing() {
    refused(identity(|copy| copy[24] = 4), ErrorKind::FormatVersion, &["ZIPCASK"]);
}

#[test]
fn a_store_with_an_unknown_feature_that_only_readers_may_ignore_is_read_copied_and_left_alone() {
    let (dir, out) = (store(), tempfile::tempdir().unwrap());
    identity(|copy| copy[24] = 4)(dir.path());
    let before = tree(dir.path());
    let db = Db::open_read_only(dir.path()).unwrap();
    assert!((0..50_u32).all(|i| db.get(i.to_le_bytes()).unwrap().unwrap() == vec![i as u8; 500]));
    assert_eq!(db.iter().count(), 50);
    assert!(db.verify().unwrap().is_clean());
    assert_eq!(db.put("key", "value").unwrap_err().kind(), ErrorKind::ReadOnly);
    drop(db);
    assert!(inspect::verify(dir.path()).unwrap().is_clean());
    inspect::salvage(dir.path(), out.path()).unwrap();
    assert_eq!(Db::open(out.path()).unwrap().len(), 50);
    assert_eq!(tree(dir.path()), before);
}

#[test]
fn a_store_that_readers_may_not_read_either_is_refused_to_them_by_the_same_name() {
    for at in [8, 16] {
        let dir = store();
        identity(|copy| copy[at] = 4)(dir.path());
        let before = tree(dir.path());
        let error = Db::open_read_only(dir.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FormatVersion, "{error:?}");
        assert_eq!(tree(dir.path()), before);
    }
}

#[test]
fn unknown_features_that_nobody_needs_to_know_are_kept_by_whoever_writes() {
    let dir = store();
    identity(|copy| copy[32] = 128)(dir.path());
    let before = fs::read(dir.path().join("ZIPCASK")).unwrap();
    let db = Db::open(dir.path()).unwrap();
    db.put("key", "value").unwrap();
    db.compact().unwrap();
    db.checkpoint().unwrap();
    db.close().unwrap();
    assert_eq!(fs::read(dir.path().join("ZIPCASK")).unwrap(), before);
    assert_eq!(Db::open(dir.path()).unwrap().len(), 51);
}

#[test]
fn one_copy_of_the_identity_of_a_newer_version_is_enough_to_refuse() {
    let newer = |dir: &Path| {
        edit(&dir.join("ZIPCASK"), |bytes| {
            bytes[8] = 9;
            fix_sector(&mut bytes[..512]);
        });
    };
    refused(newer, ErrorKind::FormatVersion, &["ZIPCASK"]);
}

#[test]
fn an_identity_with_something_where_zeros_belong_is_corruption() {
    refused(identity(|copy| copy[200] = 1), ErrorKind::Corruption, &["ZIPCASK", "offset"]);
}

#[test]
fn segments_without_an_identity_are_no_reason_to_make_a_new_store() {
    refused(|dir| fs::remove_file(dir.join("ZIPCASK")).unwrap(), ErrorKind::Invalid, &[]);
}

#[test]
fn a_segment_of_a_newer_version_is_refused() {
    refused(segment(|bytes| headers(bytes, |header| header[8] = 2)), ErrorKind::FormatVersion, &[FIRST]);
}

#[test]
fn a_segment_that_says_that_its_first_seqno_is_zero_is_corruption() {
    let zero = segment(|bytes| headers(bytes, |header| header[56..64].fill(0)));
    refused(zero, ErrorKind::Corruption, &[FIRST, "offset"]);
}

#[test]
fn a_record_of_a_keyspace_that_is_not_there_is_of_one_that_was_dropped() {
    let dir = store();
    segment(|bytes| {
        let at = records(bytes)[3];
        bytes[at + 20] = 5;
        fix_record(bytes, at);
    })(dir.path());
    let db = Db::open(dir.path()).unwrap();
    assert_eq!((db.len(), db.get(3_u32.to_le_bytes()).unwrap()), (49, None));
    assert_eq!(db.keyspaces(), ["default"]);
    assert!((0..6).all(|number| db.keyspace(&number.to_string()).unwrap().is_empty()));
}

#[test]
fn what_is_said_of_a_keyspace_is_not_ignored_where_it_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let db = small(dir.path());
    db.keyspace("users").unwrap().put("key", "value").unwrap();
    db.close().unwrap();
    edit(&dir.path().join(FIRST), |bytes| {
        let at = records(bytes)[0];
        bytes[at + 24 + 8 + 4] ^= 1;
    });
    let before = tree(dir.path());
    let error = Db::open(dir.path()).expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
    assert!(error.to_string().contains(FIRST) && error.to_string().contains("keyspace"), "{error}");
    assert_eq!(tree(dir.path()), before, "{error}");
}

#[test]
fn a_folder_in_place_of_a_segment_is_corruption() {
    let folder = |dir: &Path| {
        fs::remove_file(dir.join(FIRST)).unwrap();
        fs::create_dir(dir.join(FIRST)).unwrap();
    };
    refused(folder, ErrorKind::Corruption, &[FIRST]);
}

#[test]
fn a_missing_folder_of_segments_is_corruption() {
    refused(|dir| fs::remove_dir_all(dir.join("segments")).unwrap(), ErrorKind::Corruption, &["segments"]);
}

#[test]
fn verify_in_positioned_mode_reports_a_file_that_was_cut() {
    let dir = store();
    let db = Options::new().read_mode(ReadMode::Positioned).open(dir.path()).unwrap();
    fs::OpenOptions::new().write(true).open(dir.path().join(FIRST)).unwrap().set_len(10_000).unwrap();
    assert!(!db.verify().unwrap().is_clean());
}

#[test]
fn a_key_that_rots_while_the_store_is_open_is_told_until_it_is_put_again() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().read_mode(ReadMode::Positioned).open(dir.path()).unwrap();
    db.put("key", "old").unwrap();
    // The first record has the eight bytes of the horizon before its key.
    edit(&dir.path().join(FIRST), |bytes| bytes[RECORDS + 24 + 8] ^= 1);
    assert_eq!(db.get("key").unwrap_err().kind(), ErrorKind::Corruption);
    db.put("key", "new").unwrap();
    assert_eq!(db.get("key").unwrap().unwrap(), "new");
}

#[test]
fn a_store_that_was_closed_is_left_as_it_was_by_all_calls_that_change_nothing() {
    let dir = store();
    let before = tree(&dir.path().join("segments"));
    let db = Db::open(dir.path()).unwrap();
    assert_eq!(db.iter().count(), 50);
    assert!(db.verify().unwrap().is_clean());
    db.batch().commit().unwrap();
    db.sync().unwrap();
    db.seal().unwrap();
    assert_eq!(tree(&dir.path().join("segments")), before, "while it was open");
    drop(db);
    assert_eq!(tree(&dir.path().join("segments")), before);
}

#[test]
fn a_second_opening_that_is_locked_out_touches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let db = small(dir.path());
    db.put("a", "b").unwrap();
    let before = tree(dir.path());
    for options in [Options::new(), Options::new().create_if_missing(false)] {
        assert_eq!(options.open(dir.path()).unwrap_err().kind(), ErrorKind::Locked);
    }
    assert_eq!(tree(dir.path()), before);
}
