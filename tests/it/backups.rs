//! Backups: a copy is a store as of one moment, whatever goes on meanwhile, and is never half of another one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use tempfile::TempDir;
use zipcask::sim::Random;
use zipcask::{BackupReport, Db, Durability, ErrorKind, Options, Seqno};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn small() -> Options {
    Options::new().durability(Durability::Os).segment_size(64 << 10).background(false)
}

fn store() -> (TempDir, Db) {
    let dir = tempfile::tempdir().unwrap();
    let db = small().open(dir.path().join("store")).unwrap();
    (dir, db)
}

/// Puts, overwrites and deletes at random; some values have files of their own.
fn churn(db: &Db, model: &mut Model, random: &mut Random, writes: usize) {
    for _ in 0..writes {
        let key = format!("key {}", random.below(300)).into_bytes();
        if random.below(4) == 0 {
            assert_eq!(db.delete(&key).unwrap(), model.remove(&key).is_some());
        } else {
            let mut value = vec![0; [0, 7, 100, 900, 900, 40_000][random.below(6)]];
            random.fill(&mut value);
            db.put(&key, &value).unwrap();
            model.insert(key, value);
        }
    }
}

fn pairs(db: &Db) -> Model {
    db.iter().map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect()
}

/// Whether the copy in `dir` is this store, read beside others and whole.
#[track_caller]
fn assert_copy(dir: &Path, model: &Model, seqno: Seqno) {
    let copy = Db::open_read_only(dir).unwrap();
    assert!(pairs(&copy) == *model, "the copy has other pairs");
    assert_eq!(copy.last_seqno(), seqno);
    let report = copy.verify().unwrap();
    assert!(report.is_clean(), "{:?}", report.problems());
}

struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The files below a directory, each with its bytes.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => drop(found.insert(entry.path(), fs::read(entry.path()).unwrap())),
        }
    }
    found
}

#[test]
fn a_backup_is_the_store_of_that_moment() {
    let (dir, db) = store();
    let (mut model, mut random) = (Model::new(), Random::new(1));
    churn(&db, &mut model, &mut random, 1000);
    db.compact().unwrap();
    churn(&db, &mut model, &mut random, 1000);
    let report = db.backup(dir.path().join("copy")).unwrap();
    let (then, seqno) = (model.clone(), db.last_seqno());
    assert_eq!(report.seqno, seqno);
    churn(&db, &mut model, &mut random, 500);
    assert_copy(&dir.path().join("copy"), &then, seqno);
    db.close().unwrap();
    assert_copy(&dir.path().join("copy"), &then, seqno);

    // Opened for writing, each goes its own way.
    let copy = small().open(dir.path().join("copy")).unwrap();
    let mut other = then;
    churn(&copy, &mut other, &mut random, 1000);
    copy.compact().unwrap();
    assert!(pairs(&copy) == other);
    copy.close().unwrap();
    let db = small().open(dir.path().join("store")).unwrap();
    assert!(pairs(&db) == model);
    assert!(db.verify().unwrap().is_clean());
}

#[test]
fn an_empty_store_has_a_backup() {
    let (dir, db) = store();
    let report = db.backup(dir.path().join("copy")).unwrap();
    assert_eq!(report, BackupReport::default());
    assert_copy(&dir.path().join("copy"), &Model::new(), Seqno::from(0));
    let copy = small().open(dir.path().join("copy")).unwrap();
    copy.put("key", "value").unwrap();
}

#[test]
fn backups_into_one_directory_bring_what_is_new_and_remove_what_is_replaced() {
    let (dir, db) = store();
    let copy = dir.path().join("copy");
    let (mut model, mut random) = (Model::new(), Random::new(2));
    let (mut kept, mut removed) = (0, 0);
    for round in 0..25 {
        churn(&db, &mut model, &mut random, 150);
        match round % 5 {
            1 => drop(db.archive().unwrap()),
            3 => drop(db.compact().unwrap()),
            _ => {}
        }
        let report = db.backup(&copy).unwrap();
        (kept, removed) = (kept + report.kept_files, removed + report.removed_files);
        assert_copy(&copy, &model, db.last_seqno());
        let again = db.backup(&copy).unwrap();
        let files = report.linked_files + report.copied_files + report.kept_files;
        assert_eq!((again.kept_files, again.linked_files, again.copied_files, again.removed_files), (files, 0, 0, 0));
        assert!(!copy.join("PENDING").exists());
    }
    assert!(kept > 20 && removed > 20, "{kept} kept, {removed} removed");
    let names = |folder: &str| -> Vec<_> {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    for folder in ["archives", "large"] {
        let [ours, theirs] =
            ["store", "copy"].map(|dir_name| names(dir.path().join(dir_name).join(folder).to_str().unwrap()));
        assert_eq!(ours, theirs, "{folder}");
    }
}

#[test]
fn a_backup_beside_writers_and_compactions_has_all_that_was_acknowledged_and_whole_batches() {
    let (dir, db) = store();
    let rounds = AtomicU64::new(1);
    let (stop, acknowledged) = (AtomicBool::new(false), [AtomicU64::new(0), AtomicU64::new(0)]);
    thread::scope(|scope| {
        // Also where an assertion fails: else the others would never end.
        let _stop = StopAtEnd(&stop);
        for (writer, acknowledged) in acknowledged.iter().enumerate() {
            let (db, stop, rounds) = (&db, &stop, &rounds);
            scope.spawn(move || {
                for i in 1_u64.. {
                    // Some writes a round: what is to be looked through at its end is bounded.
                    while i > 100 * rounds.load(Ordering::Relaxed) && !stop.load(Ordering::Relaxed) {
                        thread::yield_now();
                    }
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let mut batch = db.batch();
                    for part in 0..5 {
                        batch.put(db, format!("{writer} {part}"), [&i.to_le_bytes()[..], &[7; 500]].concat());
                    }
                    batch.commit().unwrap();
                    acknowledged.store(i, Ordering::Relaxed);
                }
            });
        }
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                db.compact().unwrap();
            }
        });
        for round in 0..20 {
            rounds.store(round + 1, Ordering::Relaxed);
            let before = acknowledged.each_ref().map(|count| count.load(Ordering::Relaxed));
            let copy = dir.path().join(if round % 2 == 0 { "copy".to_owned() } else { format!("copy {round}") });
            let report = db.backup(&copy).unwrap();
            let copy = Db::open_read_only(&copy).unwrap();
            assert_eq!(copy.last_seqno(), report.seqno);
            assert!(copy.verify().unwrap().is_clean());
            for (writer, before) in before.into_iter().enumerate() {
                let count = |part| {
                    let value = copy.get(format!("{writer} {part}")).unwrap();
                    value.map_or(0, |value| u64::from_le_bytes(*value.first_chunk().unwrap()))
                };
                assert!(count(0) >= before, "writer {writer}: {} of {before} acknowledged", count(0));
                assert!((1..5).all(|part| count(part) == count(0)), "writer {writer}: half a batch");
            }
        }
    });
}

#[test]
fn a_directory_that_is_no_backup_of_this_store_is_refused_and_left_alone() {
    let (dir, db) = store();
    let (mut model, mut random) = (Model::new(), Random::new(3));
    churn(&db, &mut model, &mut random, 300);
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("foreign")).unwrap();
    fs::write(at("foreign/diary.txt"), "mine").unwrap();
    fs::create_dir_all(at("half/segments")).unwrap();
    fs::write(at("half/segments/notes"), "mine").unwrap();
    fs::create_dir_all(at("named/segments")).unwrap();
    fs::write(at("named/segments/0000000001.seg"), "mine").unwrap();
    let other = small().open(at("other")).unwrap();
    other.put("key", "value").unwrap();
    other.seal().unwrap();
    other.backup(at("other copy")).unwrap();
    other.close().unwrap();
    // Opened for writing, though nothing was written.
    db.backup(at("opened")).unwrap();
    small().open(at("opened")).unwrap().close().unwrap();
    churn(&db, &mut model, &mut random, 300);
    for name in ["foreign", "half", "other", "other copy", "opened"] {
        let before = files(&at(name));
        let error = db.backup(at(name)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name}: {error}");
        assert!(files(&at(name)) == before, "{name} was touched");
    }
    let error = db.backup(at("named")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert_eq!(fs::read(at("named/segments/0000000001.seg")).unwrap(), b"mine");
    assert_eq!(db.backup(at("store")).unwrap_err().kind(), ErrorKind::Invalid);
    fs::write(at("file"), "mine").unwrap();
    assert_eq!(db.backup(at("file")).unwrap_err().kind(), ErrorKind::Invalid);
    let reader = Db::open_read_only(at("store")).unwrap();
    assert_eq!(reader.backup(at("new")).unwrap_err().kind(), ErrorKind::ReadOnly);
    assert!(!at("new").exists());
    assert!(pairs(&db) == model);
}

#[test]
fn a_copy_that_is_open_for_writing_takes_no_backup() {
    let (dir, db) = store();
    db.put("key", "value").unwrap();
    db.backup(dir.path().join("copy")).unwrap();
    let _copy = small().open(dir.path().join("copy")).unwrap();
    let kind = db.backup(dir.path().join("copy")).unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::Invalid | ErrorKind::Locked), "{kind:?}");
}

#[test]
fn a_store_restored_from_a_backup_needs_a_backup_of_its_own() {
    let (dir, db) = store();
    let at = |name: &str| dir.path().join(name);
    let (mut model, mut random) = (Model::new(), Random::new(4));
    churn(&db, &mut model, &mut random, 300);
    db.backup(at("copy")).unwrap();
    db.close().unwrap();
    Db::restore(at("copy"), at("restored"), None).unwrap();
    let restored = small().open(at("restored")).unwrap();
    churn(&restored, &mut model, &mut random, 300);
    let error = restored.backup(at("copy")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let seqno = restored.backup(at("second")).unwrap().seqno;
    assert_copy(&at("second"), &model, seqno);
}

#[test]
fn a_restored_store_is_the_one_that_was_backed_up_and_shares_nothing_with_the_backup() {
    let (dir, db) = store();
    let at = |name: &str| dir.path().join(name);
    let (mut model, mut random) = (Model::new(), Random::new(5));
    churn(&db, &mut model, &mut random, 600);
    db.compact().unwrap();
    churn(&db, &mut model, &mut random, 600);
    let seqno = db.backup(at("copy")).unwrap().seqno;
    drop(db);
    fs::remove_dir_all(at("store")).unwrap();
    let report = Db::restore(at("copy"), at("store"), None).unwrap();
    assert_eq!(report.seqno, seqno);
    assert_copy(&at("store"), &model, seqno);
    #[cfg(unix)]
    for path in files(&at("store")).into_keys() {
        use std::os::unix::fs::MetadataExt;
        assert_eq!(path.metadata().unwrap().nlink(), 1, "{path:?}");
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600, "{path:?}");
    }
    let error = Db::restore(at("copy"), at("store"), None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert_eq!(Db::restore(at("nothing"), at("new"), None).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!at("new").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn files_on_the_same_file_system_are_linked_and_on_another_copied() {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    let (dir, db) = store();
    let (mut model, mut random) = (Model::new(), Random::new(6));
    churn(&db, &mut model, &mut random, 600);
    db.compact().unwrap();
    churn(&db, &mut model, &mut random, 300);
    let report = db.backup(dir.path().join("copy")).unwrap();
    assert!(report.linked_files > 10 && report.copied_files == 0, "{report:?}");
    for (path, _) in files(&dir.path().join("copy")) {
        let shared =
            ["segments", "archives", "large"].contains(&path.parent().unwrap().file_name().unwrap().to_str().unwrap());
        assert_eq!(path.metadata().unwrap().nlink(), if shared { 2 } else { 1 }, "{path:?}");
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600, "{path:?}");
    }
    assert_eq!(dir.path().join("copy").metadata().unwrap().mode() & 0o777, 0o700);

    // Memory is another file system, if there is one.
    let elsewhere = PathBuf::from("/dev/shm").join(format!("zipcask-backup-{}", std::process::id()));
    let other = |path: &Path| path.metadata().map(|facts| facts.dev()).ok();
    if other(Path::new("/dev/shm")).is_none_or(|device| Some(device) == other(dir.path())) {
        return;
    }
    fs::DirBuilder::new().mode(0o700).create(&elsewhere).unwrap();
    let copied = db.backup(&elsewhere).unwrap();
    assert_copy(&elsewhere, &model, report.seqno);
    fs::remove_dir_all(&elsewhere).unwrap();
    assert_eq!((copied.linked_files, copied.copied_files), (0, report.linked_files));
    assert_eq!(copied.copied_bytes, report.linked_bytes);
}

/// The states of a small store after each of its writes.
type History = Vec<(Seqno, Model)>;

fn write_history(db: &Db, history: &mut History, random: &mut Random, batches: usize) {
    let mut model = history.last().map_or_else(Model::new, |(_, model)| model.clone());
    for _ in 0..batches {
        let mut batch = db.batch();
        for _ in 0..=random.below(3) {
            let key = format!("key {}", random.below(12)).into_bytes();
            if random.below(4) == 0 {
                batch.delete(db, &key);
                model.remove(&key);
            } else {
                let mut value = vec![0; [5, 2000, 2000, 40_000][random.below(4)]];
                random.fill(&mut value);
                batch.put(db, &key, &value);
                model.insert(key, value);
            }
        }
        let seqno = batch.commit().unwrap();
        history.push((seqno, model.clone()));
    }
}

/// Restores as of each seqno from `from` on, and compares.
fn assert_every_moment(backup: &Path, history: &History, dir: &Path, from: u64) {
    let last = u64::from(history[history.len() - 1].0);
    for at in from..=last {
        let then = history.iter().rev().find(|(seqno, _)| u64::from(*seqno) <= at);
        let (seqno, model) = then.cloned().unwrap_or_default();
        let restored = dir.join(format!("at {at}"));
        let report = Db::restore(backup, &restored, Some(at.into())).unwrap();
        assert_eq!(report.seqno, seqno, "as of {at}");
        assert_copy(&restored, &model, seqno);
        let db = small().open(&restored).unwrap();
        db.put("more", "value").unwrap();
        assert_eq!(db.len(), model.len() as u64 + 1);
        db.close().unwrap();
        fs::remove_dir_all(restored).unwrap();
    }
    let error = Db::restore(backup, dir.join("late"), Some((last + 1).into())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[test]
fn a_store_is_restored_as_of_every_write_of_its_log() {
    let (dir, db) = store();
    let (mut history, mut random) = (History::new(), Random::new(7));
    write_history(&db, &mut history, &mut random, 60);
    db.backup(dir.path().join("copy")).unwrap();
    assert_every_moment(&dir.path().join("copy"), &history, dir.path(), 0);
    // Packed as it was, the log is all there.
    db.archive().unwrap();
    write_history(&db, &mut history, &mut random, 10);
    db.backup(dir.path().join("copy")).unwrap();
    assert_every_moment(&dir.path().join("copy"), &history, dir.path(), 0);
}

#[test]
fn a_store_is_restored_as_of_every_write_since_its_last_compaction() {
    let (dir, db) = store();
    let (mut history, mut random) = (History::new(), Random::new(8));
    write_history(&db, &mut history, &mut random, 60);
    db.compact().unwrap();
    let compacted = u64::from(db.last_seqno());
    write_history(&db, &mut history, &mut random, 20);
    let copy = dir.path().join("copy");
    db.backup(&copy).unwrap();
    assert_every_moment(&copy, &history, dir.path(), compacted);
    for at in [1, compacted / 2, compacted - 1] {
        let error = Db::restore(&copy, dir.path().join("lost"), Some(at.into())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let last = db.last_seqno();
        let end = format!("as of write {at}: of the writes 0 to {last}, it can be as of 0, {compacted} to {last}");
        assert!(error.to_string().ends_with(&end), "{error}");
        assert!(!dir.path().join("lost").exists());
    }
    assert_eq!(Db::restore(&copy, dir.path().join("none"), Some(Seqno::from(0))).unwrap().files, 0);
}

#[test]
fn what_a_compaction_left_out_for_something_newer_is_not_restored_as_of_before_that() {
    let (dir, db) = store();
    db.put("key", vec![1; 20_000]).unwrap();
    db.put("other", vec![1; 20_000]).unwrap();
    db.seal().unwrap();
    db.put("third", "value").unwrap();
    let newer = db.put("key", vec![2; 20_000]).unwrap();
    // The first segment is rewritten without the key, whose newer value is in the second.
    db.compact().unwrap();
    db.put("more", "value").unwrap();
    db.backup(dir.path().join("copy")).unwrap();
    for at in 1..u64::from(newer) {
        let restored = Db::restore(dir.path().join("copy"), dir.path().join("at"), Some(at.into()));
        assert_eq!(restored.unwrap_err().kind(), ErrorKind::Invalid, "as of {at}");
    }
    Db::restore(dir.path().join("copy"), dir.path().join("at"), Some(newer)).unwrap();
    let restored = Db::open_read_only(dir.path().join("at")).unwrap();
    assert_eq!(restored.get("key").unwrap().unwrap(), vec![2; 20_000]);
}
