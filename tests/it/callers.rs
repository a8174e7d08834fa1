//! What callers do with what they are given: callbacks that panic, handles that linger, values that are compared.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use zipcask::{Db, Keyspace, Options};

use crate::bytes::small;

#[test]
fn whatever_is_a_keyspace_by_reference_may_be_passed_as_one() {
    fn takes(keyspace: impl AsRef<Keyspace>) -> u64 {
        keyspace.as_ref().len()
    }
    let db = Options::new().open_in_memory().unwrap();
    assert_eq!((takes(&db), takes(&*db), takes(db.clone())), (0, 0, 0));
}

#[test]
fn missing_directories_above_the_store_are_made() {
    let dir = tempfile::tempdir().unwrap();
    Db::open(dir.path().join("a/b/c")).unwrap().put("k", "v").unwrap();
    assert_eq!(Db::open(dir.path().join("a/b/c")).unwrap().len(), 1);
}

#[test]
fn neither_values_nor_iterators_nor_batches_keep_a_closed_store_locked() {
    let dir = tempfile::tempdir().unwrap();
    let db = small(dir.path());
    db.put("a", "b").unwrap();
    let lingering = (db.iter(), db.get("a").unwrap(), db.batch());
    db.close().unwrap();
    assert_eq!(small(dir.path()).len(), 1);
    drop(lingering);
}

#[test]
fn a_panic_while_looking_at_a_value_harms_nothing() {
    let db = Options::new().open_in_memory().unwrap();
    db.put("a", "b").unwrap();
    catch_unwind(AssertUnwindSafe(|| db.get_with("a", |_| panic!("mine")))).unwrap_err();
    db.put("a", "c").unwrap();
    assert_eq!(db.get("a").unwrap().unwrap(), "c");
}

#[test]
fn a_panic_in_a_report_of_progress_leaves_the_store_openable() {
    let dir = tempfile::tempdir().unwrap();
    small(dir.path()).put("a", "b").unwrap();
    catch_unwind(|| Options::new().on_progress(|_| panic!("mine")).open(dir.path())).unwrap_err();
    assert_eq!(small(dir.path()).get("a").unwrap().unwrap(), "b");
}

#[test]
fn progress_is_reported_by_opening_and_by_verify() {
    let dir = tempfile::tempdir().unwrap();
    small(dir.path()).put("a", "b").unwrap();
    let reports = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&reports);
    let count = move |progress: zipcask::Progress| {
        assert!(progress.done <= progress.total);
        counted.fetch_add(1, Ordering::Relaxed);
    };
    let db = Options::new().on_progress(count).open(dir.path()).unwrap();
    let by_opening = reports.load(Ordering::Relaxed);
    assert!(by_opening > 0);
    db.verify().unwrap();
    assert!(reports.load(Ordering::Relaxed) > by_opening);
}

#[test]
fn a_batch_counts_its_writes_those_of_one_key_too() {
    let db = Options::new().open_in_memory().unwrap();
    let mut batch = db.batch();
    batch.put(&db, "a", "1").delete(&db, "a").delete(&db, "never");
    assert_eq!(batch.len(), 3);
    batch.commit().unwrap();
    assert!(db.is_empty());
}

#[test]
fn values_compare_with_slices_strings_and_vectors() {
    let db = Options::new().open_in_memory().unwrap();
    db.put("k", "v").unwrap();
    let value = db.get("k").unwrap().unwrap();
    assert_eq!(value, b"v");
    assert_eq!(value, b"v"[..]);
    assert_eq!(value, "v");
    assert_eq!(value, vec![b'v']);
    assert_eq!(value, value.clone());
}

#[test]
fn a_store_for_untrusted_keys_opens_without_the_option() {
    let dir = tempfile::tempdir().unwrap();
    Options::new().untrusted_keys(true).open(dir.path()).unwrap().put("a", "b").unwrap();
    assert_eq!(Db::open(dir.path()).unwrap().get("a").unwrap().unwrap(), "b");
}
