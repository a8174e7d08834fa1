//! Space comes back, and nothing changes its meaning.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use zipcask::sim::Random;
use zipcask::{Db, Durability, Options, ReadMode};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn small() -> Options {
    Options::new().durability(Durability::Os).segment_size(64 << 10).background(false)
}

fn check(db: &Db, model: &Model) {
    assert_eq!(db.len(), model.len() as u64);
    for (key, value) in model {
        let got = db.get(key).unwrap();
        assert_eq!(got.as_deref(), Some(value.as_slice()), "{}", String::from_utf8_lossy(key));
    }
    let all: Model = db.iter().map(|pair| pair.map(|(k, v)| (k.to_vec(), v.to_vec())).unwrap()).collect();
    assert_eq!(all, *model);
}

fn names(dir: &Path, folder: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir.join(folder)) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Bytes of all files of the store.
fn bytes(dir: &Path) -> u64 {
    let folders = ["segments", "archives", "hints", "large", "spare"];
    let files =
        folders.iter().flat_map(|folder| names(dir, folder).into_iter().map(move |name| dir.join(folder).join(name)));
    files.map(|file| file.metadata().unwrap().len()).sum()
}

/// Puts, overwrites and deletes at random.
fn churn(db: &Db, model: &mut Model, random: &mut Random, writes: usize) {
    for _ in 0..writes {
        let key = format!("key {}", random.below(700)).into_bytes();
        if random.below(4) == 0 {
            assert_eq!(db.delete(&key).unwrap(), model.remove(&key).is_some());
        } else {
            let mut value = vec![0; [0, 7, 100, 100, 900][random.below(5)]];
            random.fill(&mut value);
            db.put(&key, &value).unwrap();
            model.insert(key, value);
        }
    }
}

#[test]
fn whatever_was_written_means_the_same_after_any_compaction_and_reopen() {
    for seed in 1..=6 {
        let (dir, mut random, mut model) = (tempfile::tempdir().unwrap(), Random::new(seed), Model::new());
        let mode = if seed % 3 == 0 { ReadMode::Positioned } else { ReadMode::Mmap };
        for round in 0..8 {
            let db = small().read_mode(mode).open(dir.path()).unwrap();
            check(&db, &model);
            churn(&db, &mut model, &mut random, 900);
            match random.below(4) {
                0 => drop(db.archive().unwrap()),
                1 | 2 => drop(db.compact().unwrap()),
                _ => {}
            }
            check(&db, &model);
            churn(&db, &mut model, &mut random, 100);
            assert!(db.verify().unwrap().is_clean(), "seed {seed}, round {round}");
            db.close().unwrap();
        }
        let db = small().read_mode(mode).open(dir.path()).unwrap();
        check(&db, &model);
        db.compact().unwrap();
        check(&db, &model);
        assert_eq!(names(dir.path(), "segments"), Vec::<String>::new());
        let live: usize = model.iter().map(|(key, value)| key.len() + value.len() + 64).sum();
        assert!(bytes(dir.path()) < 2 * live as u64 + 200_000, "seed {seed}: {} for {live}", bytes(dir.path()));
    }
}

#[test]
fn archives_are_read_like_segments_and_left_alone() {
    let (dir, mut random, mut model) = (tempfile::tempdir().unwrap(), Random::new(1), Model::new());
    let db = small().open(dir.path()).unwrap();
    churn(&db, &mut model, &mut random, 2000);
    db.seal().unwrap();
    let before: Vec<_> = model.keys().map(|key| db.get(key).unwrap().unwrap()).collect();
    let report = db.archive().unwrap();
    assert!(report.archives >= 1 && report.segments > 3, "{report:?}");
    assert_eq!(names(dir.path(), "segments"), Vec::<String>::new());
    let archives = names(dir.path(), "archives");
    check(&db, &model);
    churn(&db, &mut model, &mut random, 10);
    db.seal().unwrap();
    db.archive().unwrap();
    assert_eq!(names(dir.path(), "archives")[..archives.len()], archives);
    db.close().unwrap();
    assert!(before.iter().filter(|value| value.len() == 100).count() > 100);
    check(&small().open(dir.path()).unwrap(), &model);
}

#[test]
fn a_queue_leaves_next_to_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let db = small().open(dir.path()).unwrap();
    for round in 0..4_u32 {
        for i in 0..3000_u32 {
            let key = format!("job {round} {i}");
            db.put(&key, [7; 200]).unwrap();
            assert!(db.delete(&key).unwrap());
        }
        db.compact().unwrap();
    }
    assert_eq!(db.len(), 0);
    assert_eq!(db.stats().dead_bytes, 0);
    db.close().unwrap();
    assert!(bytes(dir.path()) < 64 << 10, "{}", bytes(dir.path()));
    assert!(small().open(dir.path()).unwrap().is_empty());
}

#[test]
fn a_queue_leaves_next_to_nothing_while_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().durability(Durability::Os).segment_size(1 << 20).open(dir.path()).unwrap();
    for i in 0..30_000_u32 {
        db.put(i.to_be_bytes(), [7; 200]).unwrap();
        if let Some(oldest) = i.checked_sub(500) {
            assert!(db.get(oldest.to_be_bytes()).unwrap().is_some());
            assert!(db.delete(oldest.to_be_bytes()).unwrap());
        }
    }
    // A segment that is being written, the next, and what the last jobs found alive.
    until(|| bytes(dir.path()) < 3 << 20);
    assert_eq!(db.len(), 500);
}

#[test]
fn an_older_archive_that_was_rewritten_goes_together_with_a_newer_one_that_was_not() {
    let dir = tempfile::tempdir().unwrap();
    let db = small().open(dir.path()).unwrap();
    let put = |prefix: &str| {
        for i in 0..100 {
            db.put(format!("{prefix} {i}"), [1; 200]).unwrap();
        }
        db.compact().unwrap();
    };
    let delete = |prefix: &str, from: usize| {
        for i in (from..100).step_by(4) {
            assert!(db.delete(format!("{prefix} {i}")).unwrap());
        }
    };
    put("older");
    put("newer");
    delete("older", 0);
    db.compact().unwrap();
    let archives = names(dir.path(), "archives");
    assert!(archives.len() >= 2 && !archives.iter().any(|name| name.ends_with("1.zip")), "{archives:?}");
    delete("older", 1);
    delete("newer", 1);
    let report = db.compact().unwrap();
    assert!(report.archives > 0);
    db.close().unwrap();
    assert_eq!(small().open(dir.path()).unwrap().len(), 125);
}

#[test]
fn hints_that_belong_to_no_segment_go_at_open() {
    let dir = tempfile::tempdir().unwrap();
    let db = small().open(dir.path()).unwrap();
    db.put("a", "1").unwrap();
    db.compact().unwrap();
    db.close().unwrap();
    // As a kill leaves them: never finished, and of a segment that is in an archive by now.
    std::fs::create_dir_all(dir.path().join("hints")).unwrap();
    for name in ["new-0000000001", "0000000001.hint"] {
        std::fs::write(dir.path().join("hints").join(name), "x").unwrap();
    }
    assert_eq!(small().open(dir.path()).unwrap().len(), 1);
    assert_eq!(names(dir.path(), "hints"), Vec::<String>::new());
}

/// The share of a file that is dead counts the large values that its records name, too.
#[test]
fn dead_large_values_among_live_small_ones_go() {
    let dir = tempfile::tempdir().unwrap();
    let db = small().segment_size(1 << 20).open(dir.path()).unwrap();
    for i in 0..6000_u32 {
        db.put(format!("live {i}"), [1; 100]).unwrap();
        if i % 1000 == 500 {
            db.put("large", vec![1; 4 << 20]).unwrap();
        }
    }
    db.delete("large").unwrap();
    for _ in 0..3 {
        db.seal().unwrap();
        db.compact().unwrap();
    }
    // They go once nobody in the process can look at them: a test beside this one may be in the midst of a read.
    until(|| {
        // Asking has what nobody looks at any more go.
        let _ = db.stats();
        names(dir.path(), "large").is_empty()
    });
}

/// A file that a job removes while all are looked through is no error.
#[test]
fn verify_beside_compactions_finds_nothing_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let db = small().open(dir.path()).unwrap();
    let stop = AtomicBool::new(false);
    let failed = std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..300_u32 {
                for key in 0..20 {
                    db.put(format!("{}", (round + key) % 40), [round as u8; 200]).unwrap();
                }
                db.compact().unwrap();
                if stop.load(Ordering::SeqCst) {
                    break;
                }
            }
            stop.store(true, Ordering::SeqCst);
        });
        let mut failed = None;
        while failed.is_none() && !stop.load(Ordering::SeqCst) {
            failed = db.verify().err();
        }
        stop.store(true, Ordering::SeqCst);
        failed
    });
    assert!(failed.is_none(), "{failed:?}");
}

/// Waits for what is about to happen.
pub(crate) fn until(what: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !what() {
        assert!(start.elapsed().as_secs() < 60, "waited a minute for what did not happen");
        std::thread::yield_now();
    }
}

#[test]
fn the_background_gives_the_space_of_large_values_back_within_a_session() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().durability(Durability::Os).segment_size(4 << 20).open(dir.path()).unwrap();
    for round in 0..40_u8 {
        db.put("key", vec![round; (1 << 20) + 1]).unwrap();
    }
    until(|| names(dir.path(), "large").len() < 12);
    assert_eq!(db.get("key").unwrap().unwrap(), vec![39; (1 << 20) + 1]);
}

#[test]
fn the_background_merges_what_many_short_sessions_leave() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options::new().durability(Durability::Os);
    for round in 0..40_u8 {
        let db = options().background(false).open(dir.path()).unwrap();
        db.put("key", [round; 300]).unwrap();
        db.close().unwrap();
    }
    let db = options().open(dir.path()).unwrap();
    db.put("key", "the last").unwrap();
    until(|| db.stats().segments.len() < 8);
    assert_eq!(db.get("key").unwrap().unwrap(), "the last");
}

#[test]
fn a_file_whose_hint_could_not_name_a_large_value_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let db = small().open(dir.path()).unwrap();
    db.put("large", vec![1; 40_000]).unwrap();
    for _ in 0..4 {
        db.put("dead", [2; 300]).unwrap();
    }
    db.close().unwrap();
    // The first record: header 24, horizon 8, key 8, then the 32 bytes that say which file it is.
    crate::bytes::edit(&dir.path().join(crate::bytes::FIRST), |bytes| bytes[4096 + 40 + 3] ^= 1);
    let db = small().open(dir.path()).unwrap();
    let report = db.compact().unwrap();
    assert_eq!((report.archives, report.damaged), (0, 1), "{report:?}");
    assert_eq!(db.get("large").unwrap_err().kind(), zipcask::ErrorKind::Corruption);
    assert_eq!(names(dir.path(), "large").len(), 1);
}
