//! What an open makes of a log that was not closed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use zipcask::{Db, Durability, Options};

/// The bytes of a store's first segment after `puts` writes, as a killed process leaves it.
fn killed(dir: &Path, puts: usize) {
    let db = Options::new().durability(Durability::Os).segment_size(64 * 1024).open(dir).unwrap();
    for i in 0..puts {
        db.put(format!("key {i}"), format!("value {i}")).unwrap();
    }
    let path = dir.join("segments/0000000001.seg");
    let bytes = fs::read(&path).unwrap();
    db.close().unwrap();
    fs::write(path, bytes).unwrap();
}

/// Where the bytes that are not zero end.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

#[test]
fn preallocated_zeros_are_the_end_not_damage() {
    let dir = tempfile::tempdir().unwrap();
    killed(dir.path(), 10);
    let db = Db::open(dir.path()).unwrap();
    assert_eq!(db.len(), 10);
    let recovery = db.stats().recovery;
    assert_eq!((recovery.segments, recovery.records, recovery.torn_bytes), (1, 10, 0));
    assert_eq!(recovery.torn_copy, None);
    assert!(!dir.path().join("torn").exists());
}

#[test]
fn a_torn_tail_is_cut_reported_and_kept_for_inspection() {
    let dir = tempfile::tempdir().unwrap();
    killed(dir.path(), 10);
    let path = dir.path().join("segments/0000000001.seg");
    let mut bytes = fs::read(&path).unwrap();
    let end = used(&bytes);
    bytes[end - 3..end].fill(0);
    fs::write(&path, &bytes).unwrap();

    let db = Db::open(dir.path()).unwrap();
    assert_eq!(db.len(), 9);
    assert_eq!(db.get("key 9").unwrap(), None);
    assert_eq!(db.get("key 8").unwrap().unwrap(), "value 8");
    let recovery = db.stats().recovery;
    let copy = recovery.torn_copy.expect("the torn bytes are kept");
    assert!(recovery.torn_bytes > 0);
    assert_eq!(fs::read(copy).unwrap().len() as u64, recovery.torn_bytes);

    // The last open sealed it there; what is written next goes into another file, and all of it is found again.
    let sealed = fs::read(&path).unwrap();
    db.put("key 9", "other").unwrap();
    db.close().unwrap();
    assert!(fs::read(&path).unwrap() == sealed, "a segment is never appended to after a reopen");
    let db = Db::open(dir.path()).unwrap();
    assert_eq!(db.stats().recovery.torn_bytes, 0);
    assert_eq!(db.get("key 9").unwrap().unwrap(), "other");
    assert!(db.verify().unwrap().is_clean());
}

#[test]
fn damage_before_a_durable_record_is_corruption_and_nothing_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().segment_size(64 * 1024).open(dir.path()).unwrap();
    for i in 0..10 {
        db.put(format!("key {i}"), format!("value {i}")).unwrap();
    }
    let path = dir.path().join("segments/0000000001.seg");
    let mut bytes = fs::read(&path).unwrap();
    db.close().unwrap();
    // Record 5 loses its key; the later ones say that it was durable before they were written.
    let at = bytes.windows(5).position(|bytes| bytes == b"key 5").unwrap();
    bytes[at] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = Db::open(dir.path()).unwrap_err();
    assert_eq!(error.kind(), zipcask::ErrorKind::Corruption);
    assert!(error.to_string().contains("was durable"), "{error}");
    assert!(fs::read(&path).unwrap() == bytes);
    assert!(!dir.path().join("torn").exists());
}

/// Three segments, the newest of 4 MiB, as a killed process leaves them; and the newest's path and bytes.
///
/// The last record, alone in its group, says that all before it was durable.
fn killed_long(dir: &Path) -> (PathBuf, Vec<u8>) {
    let db = Options::new().durability(Durability::Os).background(false).open(dir).unwrap();
    for i in 0..LONG {
        if i + 1 == LONG {
            db.sync().unwrap();
        }
        db.put(format!("key {i}"), long_value(i)).unwrap();
    }
    let path = dir.join("segments/0000000003.seg");
    let bytes = fs::read(&path).unwrap();
    assert_eq!((bytes.len(), dir.join("segments/0000000004.seg").exists()), (4 << 20, false));
    db.close().unwrap();
    fs::write(&path, &bytes).unwrap();
    (path, bytes)
}

const LONG: usize = 5_000;

fn long_value(i: usize) -> Vec<u8> {
    vec![i as u8; 1000]
}

/// Where the record of a key begins to be its key.
fn key_at(bytes: &[u8], key: &str) -> usize {
    bytes.windows(key.len()).position(|bytes| bytes == key.as_bytes()).unwrap()
}

#[test]
fn the_end_of_the_newest_segment_is_found_while_others_are_indexed() {
    for background in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let (path, mut bytes) = killed_long(dir.path());
        let (end, last) = (used(&bytes), key_at(&bytes, "key 4999"));
        bytes[end - 1] ^= 1;
        fs::write(&path, &bytes).unwrap();

        let last_done = Arc::new(Mutex::new((0, 0)));
        let seen = Arc::clone(&last_done);
        let note = move |progress: zipcask::Progress| *seen.lock().unwrap() = (progress.done, progress.total);
        let db = Options::new().background(background).on_progress(note).open(dir.path()).unwrap();
        assert_eq!(*last_done.lock().unwrap(), (7 << 20, 7 << 20), "1, 2 and 4 MiB");
        assert_eq!(db.len(), LONG as u64 - 1);
        for i in 0..LONG - 1 {
            assert_eq!(db.get(format!("key {i}")).unwrap().unwrap(), long_value(i));
        }
        let recovery = db.stats().recovery;
        assert_eq!((recovery.segments, recovery.records), (3, LONG as u64 - 1));
        // A header of 24 bytes and a horizon of 8 stand before the key.
        assert_eq!(recovery.torn_bytes, (end - (last - 32)) as u64);
        let kept = fs::read(recovery.torn_copy.unwrap()).unwrap();
        assert!(kept == bytes[last - 32..end]);
    }
}

#[test]
fn damage_in_the_newest_segment_is_told_before_that_in_older_ones_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut bytes) = killed_long(dir.path());
    let at = key_at(&bytes, "key 4000");
    bytes[at] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let older = dir.path().join("segments/0000000002.seg");
    let mut older_bytes = fs::read(&older).unwrap();
    let at = key_at(&older_bytes, "key 1500");
    older_bytes[at] ^= 1;
    fs::write(&older, &older_bytes).unwrap();

    for background in [true, false] {
        let error = Options::new().background(background).open(dir.path()).unwrap_err();
        assert_eq!(error.kind(), zipcask::ErrorKind::Corruption);
        assert!(error.to_string().contains("0000000003.seg"), "{error}");
        assert!(error.to_string().contains("was durable"), "{error}");
        assert!(fs::read(&path).unwrap() == bytes && fs::read(&older).unwrap() == older_bytes);
        assert!(!dir.path().join("torn").exists());
    }
}

#[test]
fn only_so_many_torn_copies_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..20_u64 {
        let db = Options::new().durability(Durability::Os).open(dir.path()).unwrap();
        db.put(format!("key {round}"), "x").unwrap();
        let path = dir.path().join(format!("segments/{:010}.seg", round + 1));
        let mut bytes = fs::read(&path).unwrap();
        db.close().unwrap();
        let end = used(&bytes);
        bytes[end + 500] = 1;
        fs::write(&path, &bytes).unwrap();
        let db = Db::open(dir.path()).unwrap();
        assert!(db.stats().recovery.torn_bytes > 0);
        db.close().unwrap();
    }
    let copies: Vec<_> = fs::read_dir(dir.path().join("torn")).unwrap().collect();
    assert_eq!(copies.len(), 16);
    assert_eq!(Db::open(dir.path()).unwrap().len(), 20);
}

#[test]
fn a_crash_during_creation_starts_over() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("new-ZIPCASK"), "half of it").unwrap();
    fs::write(dir.path().join("LOCK"), "").unwrap();
    fs::create_dir(dir.path().join("segments")).unwrap();
    let db = Db::open(dir.path()).unwrap();
    db.put("a", "1").unwrap();
    db.close().unwrap();
    assert_eq!(Db::open(dir.path()).unwrap().get("a").unwrap().unwrap(), "1");
    assert!(!dir.path().join("new-ZIPCASK").exists());
}

#[test]
fn a_damaged_footer_of_the_newest_segment_is_mended_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().segment_size(64 * 1024).open(dir.path()).unwrap();
    db.put("a", "1").unwrap();
    db.close().unwrap();
    let path = dir.path().join("segments/0000000001.seg");
    let whole = fs::read(&path).unwrap();
    let mut bytes = whole.clone();
    let footer = bytes.len() - 40;
    bytes[footer] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let db = Db::open(dir.path()).unwrap();
    assert_eq!(db.stats().recovery.mended_footer.as_deref(), Some(fs::canonicalize(&path).unwrap().as_path()));
    assert_eq!(db.get("a").unwrap().unwrap(), "1");
    db.close().unwrap();
    assert!(fs::read(&path).unwrap() == whole);
    assert_eq!(Db::open(dir.path()).unwrap().stats().recovery.mended_footer, None);
}

#[test]
fn a_damaged_footer_of_an_older_segment_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options::new().segment_size(64 * 1024).background(false);
    let db = options().open(dir.path()).unwrap();
    for i in 0..3 {
        for j in 0..5 {
            db.put(format!("key {i} {j}"), format!("value {j}")).unwrap();
        }
        db.seal().unwrap();
    }
    db.close().unwrap();
    let path = dir.path().join("segments/0000000002.seg");
    let mut bytes = fs::read(&path).unwrap();
    let footer = bytes.len() - 40;
    bytes[footer] ^= 1;
    fs::write(&path, &bytes).unwrap();
    // With what was written down about the segments, and without.
    for name in ["checkpoint", "hints"].map(Some).into_iter().chain([None]) {
        let db = options().open(dir.path()).unwrap();
        for (i, j) in (0..3).flat_map(|i| (0..5).map(move |j| (i, j))) {
            assert_eq!(db.get(format!("key {i} {j}")).unwrap().unwrap(), format!("value {j}"), "before {name:?} go");
        }
        assert_eq!(db.len(), 15);
        db.close().unwrap();
        name.map(|name| fs::remove_dir_all(dir.path().join(name)).ok());
    }
}

#[test]
fn a_file_cut_while_the_store_is_open_is_in_the_report_of_verify() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().segment_size(64 * 1024).read_mode(zipcask::ReadMode::Positioned);
    let db = options.open(dir.path()).unwrap();
    for i in 0..200 {
        db.put_with(format!("key {i}"), [7; 100], zipcask::PutOptions::new().durability(Durability::Os)).unwrap();
    }
    let file = fs::OpenOptions::new().write(true).open(dir.path().join("segments/0000000001.seg")).unwrap();
    file.set_len(9000).unwrap();
    let report = db.verify().unwrap();
    assert!(!report.is_clean());
    assert!(report.problems().iter().any(|problem| problem.offset >= 9000), "{:?}", report.problems());
}
