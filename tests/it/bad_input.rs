//! Directories and files that are not what they should be: a clear error, and nothing is touched.

use std::fs;
use std::path::{Path, PathBuf};

use zipcask::{Db, Durability, Error, ErrorKind, Options};

/// Every file below `dir` with its content, the lock's own files left out.
fn tree(dir: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.push((path.clone(), None));
            files.extend(tree(&path));
        } else if path.file_name().unwrap() != "LOCK" {
            files.push((path.clone(), Some(fs::read(&path).unwrap())));
        }
    }
    files.sort();
    files
}

/// Opens what must not open, and sees that nothing changed.
fn refused(dir: &Path) -> Error {
    let before = tree(dir);
    let error = Db::open(dir).unwrap_err();
    assert_eq!(tree(dir), before, "{error:?}");
    let text = error.to_string();
    assert!(!text.contains('\n') && !text.ends_with('.'), "one line, no full stop: {text}");
    error
}

/// A store of `count` sealed segments with a record each.
fn store(count: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().segment_size(64 * 1024).open(dir.path()).unwrap();
    for i in 0..count {
        db.put(format!("key {i}"), format!("value {i}")).unwrap();
        db.seal().unwrap();
    }
    db.close().unwrap();
    dir
}

fn segment(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("segments/{id:010}.seg"))
}

fn overwrite(path: &Path, offset: usize, bytes: &[u8]) {
    let mut content = fs::read(path).unwrap();
    content[offset..offset + bytes.len()].copy_from_slice(bytes);
    fs::write(path, content).unwrap();
}

#[test]
fn a_directory_with_other_peoples_files_is_invalid_and_stays_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("holiday.jpg"), "x").unwrap();
    let error = refused(dir.path());
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("holiday.jpg"), "{error}");
    assert!(!dir.path().join("LOCK").exists());
}

#[test]
fn a_file_where_a_directory_is_expected_is_invalid() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    assert_eq!(Db::open(&file).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(fs::read(&file).unwrap(), b"x");
}

#[test]
fn an_identity_of_another_program_is_invalid() {
    for content in [&b""[..], b"hello", &[0; 1024], &[b'x'; 5000]] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ZIPCASK"), content).unwrap();
        let error = refused(dir.path());
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
        assert!(error.to_string().contains("ZIPCASK"), "{error}");
        assert!(!dir.path().join("LOCK").exists());
    }
}

#[test]
fn one_damaged_copy_of_the_identity_is_survived_and_reported() {
    for copy in [0, 512] {
        let dir = store(1);
        overwrite(&dir.path().join("ZIPCASK"), copy + 20, b"damage");
        let db = Db::open(dir.path()).unwrap();
        assert_eq!(db.get("key 0").unwrap().unwrap(), "value 0");
        let report = db.verify().unwrap();
        assert_eq!(report.problems().len(), 1);
        assert_eq!(report.problems()[0].offset, copy as u64);
    }
}

#[test]
fn both_copies_damaged_is_corruption() {
    let dir = store(1);
    overwrite(&dir.path().join("ZIPCASK"), 20, b"damage");
    overwrite(&dir.path().join("ZIPCASK"), 532, b"damage");
    assert_eq!(refused(dir.path()).kind(), ErrorKind::Corruption);
}

#[test]
fn a_foreign_file_named_like_a_segment_is_corruption_named_with_its_offset() {
    let dir = store(1);
    fs::write(segment(dir.path(), 2), vec![b'x'; 70_000]).unwrap();
    let error = refused(dir.path());
    assert_eq!(error.kind(), ErrorKind::Corruption);
    assert!(error.to_string().contains("0000000002.seg") && error.to_string().contains("offset 0"), "{error}");
}

#[test]
fn a_segment_of_another_store_is_corruption() {
    let (dir, other) = (store(1), store(2));
    fs::copy(segment(other.path(), 2), segment(dir.path(), 2)).unwrap();
    let error = refused(dir.path());
    assert_eq!(error.kind(), ErrorKind::Corruption);
    assert!(error.to_string().contains("another store"), "{error}");
}

#[test]
fn a_segment_under_another_id_is_corruption() {
    let dir = store(2);
    fs::copy(segment(dir.path(), 1), segment(dir.path(), 2)).unwrap();
    assert_eq!(refused(dir.path()).kind(), ErrorKind::Corruption);
}

#[test]
fn a_missing_segment_is_corruption_that_names_it() {
    for missing in [1, 2] {
        let dir = store(3);
        fs::remove_file(segment(dir.path(), missing)).unwrap();
        let error = refused(dir.path());
        assert_eq!(error.kind(), ErrorKind::Corruption);
        assert!(error.to_string().contains(&format!("{missing:010}.seg")), "{error}");
    }
}

#[test]
fn a_segment_cut_or_grown_is_corruption() {
    for len in [0, 100, 4096, 4160, 65_535, 65_537, 200_000] {
        let dir = store(2);
        let file = fs::OpenOptions::new().write(true).open(segment(dir.path(), 1)).unwrap();
        file.set_len(len).unwrap();
        let error = refused(dir.path());
        assert_eq!(error.kind(), ErrorKind::Corruption, "{len}: {error:?}");
    }
}

#[test]
fn one_damaged_header_of_a_segment_is_survived_both_are_corruption() {
    for damaged in [&[0][..], &[3584], &[0, 3584]] {
        let dir = store(2);
        for offset in damaged {
            overwrite(&segment(dir.path(), 2), offset + 24, b"damage");
        }
        if damaged.len() == 2 {
            assert_eq!(refused(dir.path()).kind(), ErrorKind::Corruption);
            continue;
        }
        let db = Db::open(dir.path()).unwrap();
        assert_eq!(db.get("key 1").unwrap().unwrap(), "value 1");
        assert!(!db.verify().unwrap().is_clean());
    }
}

#[test]
fn a_damaged_value_costs_that_key_alone() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().segment_size(64 * 1024).open(dir.path()).unwrap();
    for i in 0..20 {
        db.put(format!("key {i}"), format!("the value of {i}")).unwrap();
    }
    db.close().unwrap();
    let path = segment(dir.path(), 1);
    let content = fs::read(&path).unwrap();
    let at = content.windows(15).position(|bytes| bytes == b"the value of 7\0").unwrap();
    overwrite(&path, at + 3, b"!");
    let db = Db::open(dir.path()).unwrap();
    assert_eq!(db.len(), 20);
    for i in 0..20 {
        let got = db.get(format!("key {i}"));
        if i == 7 {
            let error = got.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption);
            assert!(error.to_string().contains("0000000001.seg is damaged at offset"), "{error}");
        } else {
            assert_eq!(got.unwrap().unwrap(), format!("the value of {i}"));
        }
    }
    assert_eq!(db.iter().filter(|pair| pair.is_err()).count(), 1);
    assert_eq!(db.verify().unwrap().problems().len(), 1);
    db.put_with("key 7", "healed", zipcask::PutOptions::new().durability(Durability::Os)).unwrap();
    assert_eq!(db.get("key 7").unwrap().unwrap(), "healed");
}

#[test]
fn files_that_are_none_of_ours_are_left_alone_and_reported() {
    let dir = store(1);
    fs::write(dir.path().join("segments/notes.txt"), "x").unwrap();
    fs::write(dir.path().join("segments/new-0000000002"), "leftover").unwrap();
    let db = Db::open(dir.path()).unwrap();
    assert_eq!(db.stats().recovery.ignored, ["notes.txt"]);
    assert!(dir.path().join("segments/notes.txt").exists());
    assert!(!dir.path().join("segments/new-0000000002").exists());
    db.put("a", "1").unwrap();
}

#[cfg(unix)]
#[test]
fn symbolic_links_at_our_names_are_refused() {
    for name in ["ZIPCASK", "LOCK", "segments", "segments/0000000001.seg"] {
        let (dir, elsewhere) = (store(1), tempfile::tempdir().unwrap());
        let (path, moved) = (dir.path().join(name), elsewhere.path().join("moved"));
        fs::rename(&path, &moved).unwrap();
        std::os::unix::fs::symlink(&moved, &path).unwrap();
        let error = Db::open(dir.path()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Io | ErrorKind::Invalid), "{name}: {error:?}");
    }
}
