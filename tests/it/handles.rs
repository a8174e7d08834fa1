//! Handles, closing, and what outlives what.

use zipcask::{Db, ErrorKind, Options, Value};

fn is_static_and_shareable<T: Send + Sync + 'static>() {}

#[test]
fn handles_and_values_cross_threads_and_own_what_they_need() {
    is_static_and_shareable::<Db>();
    is_static_and_shareable::<Value>();
    is_static_and_shareable::<zipcask::Keyspace>();
    is_static_and_shareable::<zipcask::Error>();
    fn is_send<T: Send + 'static>() {}
    is_send::<zipcask::Iter>();
    is_send::<zipcask::Batch>();
}

#[test]
fn values_and_iterators_outlive_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    db.put("a", "first").unwrap();
    db.put("b", "other").unwrap();
    let value = db.get("a").unwrap().unwrap();
    let iter = db.iter();
    db.put("a", "second").unwrap();
    db.delete("b").unwrap();
    db.close().unwrap();
    assert_eq!(value, "first");
    let mut pairs: Vec<_> = iter.map(|pair| pair.unwrap()).map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
    pairs.sort();
    assert_eq!(pairs, [(b"a".to_vec(), b"first".to_vec()), (b"b".to_vec(), b"other".to_vec())]);
    let copy = std::thread::spawn(move || value.clone()).join().unwrap();
    assert_eq!(copy, "first");
}

#[test]
fn after_close_every_call_of_every_handle_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let other = db.clone();
    db.put("a", "1").unwrap();
    let batch = {
        let mut batch = db.batch();
        batch.put(&db, "b", "2");
        batch
    };
    db.close().unwrap();
    let kinds = [
        other.put("a", "2").unwrap_err().kind(),
        other.get("a").unwrap_err().kind(),
        other.contains_key("a").unwrap_err().kind(),
        other.delete("a").unwrap_err().kind(),
        other.sync().unwrap_err().kind(),
        other.seal().unwrap_err().kind(),
        other.verify().unwrap_err().kind(),
        other.iter().next().unwrap().unwrap_err().kind(),
        batch.commit().unwrap_err().kind(),
        other.wait_durable(other.last_seqno()).unwrap_err().kind(),
        other.clone().close().unwrap_err().kind(),
    ];
    assert!(kinds.iter().all(|kind| *kind == ErrorKind::Closed), "{kinds:?}");
    let reopened = Db::open(dir.path()).unwrap();
    assert_eq!(reopened.get("a").unwrap().unwrap(), "1");
    assert_eq!(reopened.get("b").unwrap(), None);
}

#[test]
fn dropping_the_last_handle_closes_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let other = db.clone();
    drop(db);
    assert_eq!(Db::open(dir.path()).unwrap_err().kind(), ErrorKind::Locked);
    drop(other);
    Db::open(dir.path()).unwrap();
}

#[test]
fn a_second_opener_is_told_that_its_own_process_holds_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let error = Db::open(dir.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    let told = "is open in this process already; clone that handle, or close it";
    assert!(error.to_string().ends_with(told), "{error}");
    db.put("a", "1").unwrap();
}

#[test]
fn opening_and_closing_without_a_write_leaves_every_file_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    db.put("a", "1").unwrap();
    db.close().unwrap();
    let before = tree(dir.path());
    let db = Db::open(dir.path()).unwrap();
    assert_eq!(db.get("a").unwrap().unwrap(), "1");
    assert!(!db.delete("b").unwrap());
    db.sync().unwrap();
    db.close().unwrap();
    assert_eq!(tree(dir.path()), before);
}

/// Every file below `dir`, with its content and time of change.
fn tree(dir: &std::path::Path) -> Vec<(std::path::PathBuf, Vec<u8>, std::time::SystemTime)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(tree(&path));
        } else {
            let changed = path.metadata().unwrap().modified().unwrap();
            files.push((path.clone(), std::fs::read(&path).unwrap(), changed));
        }
    }
    files.sort();
    files
}

#[test]
fn a_missing_store_is_not_made_if_the_options_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    for path in [&missing, &dir.path().to_path_buf()] {
        let error = Options::new().create_if_missing(false).open(path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let text = error.to_string();
        assert!(text.starts_with("there is no store in "), "{text}");
        assert_eq!(
            std::error::Error::source(&error).is_some(),
            *path == missing,
            "the system's word, where it had one"
        );
    }
    assert!(!missing.exists());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn options_out_of_range_are_invalid() {
    for size in [0, 10, 4096, 64 * 1024 - 1, (1 << 30) + 1, u64::MAX] {
        let error = Options::new().segment_size(size).open_in_memory().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{size}");
        assert!(error.to_string().starts_with(&format!("segment_size is {size};")), "{error}");
    }
    assert!(Options::new().segment_size((1 << 30) - 1).open_in_memory().is_ok(), "rounded down");
}
