//! Tools over a directory that nobody has open: what they find in damaged stores, what they save, and that they write nothing.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use zipcask::inspect::{self, What};
use zipcask::{Db, Durability, ErrorKind, KeyspaceOptions, Options, PutOptions};

use crate::bytes::{FIRST, FOOTER, RECORDS, copy, edit, records};

/// Relative names and contents of all files.
type Files = BTreeMap<String, Vec<u8>>;

/// Keys and values.
type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// A record: where, and what it does.
#[derive(Clone, Debug)]
struct Record {
    file: String,
    at: Range<usize>,
    seqno: u64,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

pub(crate) fn files(dir: &Path) -> Files {
    fn walk(top: &Path, dir: &Path, files: &mut Files) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                walk(top, &path, files);
            } else {
                let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_string();
                files.insert(name, if kind.is_file() { fs::read(&path).unwrap() } else { b"no file".to_vec() });
            }
        }
    }
    let mut found = Files::new();
    walk(dir, dir, &mut found);
    found
}

/// The records of the segments in files of their own, oldest first.
fn log(files: &Files) -> Vec<Record> {
    let mut all = Vec::new();
    for (file, bytes) in files.iter().filter(|(name, _)| name.ends_with(".seg")) {
        for at in records(bytes) {
            let number = |from: usize, len: usize| {
                bytes[at + from..at + from + len].iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
            };
            let (key_len, value_len, kind, flags) = (number(14, 2), number(16, 4), number(22, 1), number(23, 1));
            let key = at + 24 + 8 * (flags >> 1 & 1) as usize + 8 * (flags >> 2 & 1) as usize;
            let value = (key + key_len as usize).next_multiple_of(8);
            let end = (value + value_len as usize).next_multiple_of(8);
            all.push(Record {
                file: file.clone(),
                at: at..end,
                seqno: number(8, 6),
                key: bytes[key..key + key_len as usize].to_vec(),
                value: (kind == 1).then(|| bytes[value..value + value_len as usize].to_vec()),
            });
        }
    }
    all.sort_by_key(|record| record.seqno);
    all
}

/// What the records make of an empty store, but for those that `lost` says.
fn model(log: &[Record], lost: impl Fn(&Record) -> bool) -> Model {
    let mut model = Model::new();
    for record in log.iter().filter(|record| !lost(record)) {
        match &record.value {
            Some(value) => drop(model.insert(record.key.clone(), value.clone())),
            None => drop(model.remove(&record.key)),
        }
    }
    model
}

fn contents(dir: &Path) -> Model {
    let db = Db::open_read_only(dir).unwrap();
    db.iter().map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect()
}

pub(crate) fn small(dir: &Path) -> Db {
    Options::new().durability(Durability::Os).segment_size(64 << 10).background(false).open(dir).unwrap()
}

/// Some records: puts over puts, deletes, a batch.
fn fill(db: &Db, round: u8) {
    for i in 0..12_u8 {
        db.put([b'k', i], vec![round ^ i; 3 + 11 * usize::from(i)]).unwrap();
    }
    db.delete([b'k', round]).unwrap();
    let mut batch = db.batch();
    batch.put(db, "batch 1", [round; 20]).put(db, "batch 2", [round; 70]).delete(db, [b'k', 11]).put(db, "batch 3", "");
    batch.commit().unwrap();
}

/// A closed store of three segments; the last is short.
fn store(dir: &Path) {
    let db = small(dir);
    for round in 0..3 {
        fill(&db, round);
        db.seal().unwrap();
    }
    fill(&db, 3);
    db.close().unwrap();
}

/// A folder for what is saved, and everything that is saved there.
fn salvaged(dir: &Path) -> (Model, inspect::SalvageReport) {
    let out = TempDir::new().unwrap();
    let report = inspect::salvage(dir, out.path()).unwrap();
    let saved = contents(out.path());
    assert_eq!(report.keys, saved.len() as u64);
    (saved, report)
}

/// Every byte of records and of what is around them, and some of the free space.
fn places(bytes: &[u8], step: usize) -> Vec<usize> {
    let end = records(bytes).last().map_or(RECORDS, |last| last + 200).min(bytes.len());
    let free = (end..bytes.len().saturating_sub(FOOTER)).step_by(4999);
    let dense = (0..520).chain(RECORDS - 520..end).chain(bytes.len().saturating_sub(FOOTER)..bytes.len());
    dense.step_by(step).chain(free).filter(|at| *at < bytes.len()).collect()
}

#[test]
fn a_whole_store_is_clean_and_is_saved_whole() {
    let dir = TempDir::new().unwrap();
    store(dir.path());
    let before = files(dir.path());
    let report = inspect::verify(dir.path()).unwrap();
    assert_eq!(report.problems(), []);
    assert_eq!(report.records, log(&before).len() as u64);
    let (saved, report) = salvaged(dir.path());
    assert_eq!(saved, model(&log(&before), |_| false));
    assert!(report.is_complete() && report.unfinished == 0, "{report:?}");
    assert_eq!(files(dir.path()), before, "nothing was written");
}

#[test]
fn keyspaces_are_saved_with_their_options_and_also_without_keys() {
    let (dir, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let ordered = KeyspaceOptions::new().ordered(true).value_align(64).default_ttl(Duration::from_secs(1 << 20));
    let options = || Options::new().durability(Durability::Os).background(false).default_keyspace(ordered);
    let db = options().open(dir.path()).unwrap();
    db.put("a", "b").unwrap();
    for name in ["dropped", "empty", "in order", "cleared"] {
        let keyspace = db.keyspace_with(name, if name == "in order" { ordered } else { Default::default() }).unwrap();
        keyspace.put(name, "c").unwrap();
    }
    db.keyspace("empty").unwrap().delete("empty").unwrap();
    db.keyspace("cleared").unwrap().clear().unwrap();
    db.drop_keyspace("dropped").unwrap();
    db.close().unwrap();
    let report = inspect::salvage(dir.path(), out.path()).unwrap();
    assert!(report.is_complete() && report.keys == 2, "{report:?}");
    let saved = options().open(out.path()).unwrap();
    assert_eq!(saved.keyspaces(), ["cleared", "default", "empty", "in order"]);
    for name in saved.keyspaces() {
        let is_ordered = matches!(&*name, "default" | "in order");
        let wanted = if is_ordered { ordered } else { KeyspaceOptions::new() };
        let keyspace = saved.keyspace_with(&name, wanted).unwrap();
        assert_eq!(keyspace.iter().count(), usize::from(is_ordered), "{name}");
    }
}

#[test]
fn what_has_a_time_is_saved_with_it_whether_or_not_that_has_come() {
    let (dir, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let db = small(dir.path());
    let ttl = |ms| PutOptions::new().ttl(Duration::from_millis(ms));
    let week = db.keyspace_with("week", KeyspaceOptions::new().default_ttl(Duration::from_secs(604_800))).unwrap();
    week.put("small", "1").unwrap();
    week.put("large", vec![2; 2 << 20]).unwrap();
    db.put_with("day", "3", ttl(86_400_000)).unwrap();
    db.put("gone", "4").unwrap();
    db.put_with("gone", "5", ttl(0)).unwrap();
    let times = |db: &Db| {
        let week = db.keyspace("week").unwrap();
        let times = [week.expires_at("small"), week.expires_at("large"), db.expires_at("day")];
        times.map(|time| time.unwrap().unwrap())
    };
    let before = times(&db);
    db.close().unwrap();
    let report = inspect::salvage(dir.path(), out.path()).unwrap();
    assert!(report.is_complete() && report.keys == 4, "{report:?}");
    let saved = small(out.path());
    assert_eq!(times(&saved), before);
    let week = saved.keyspace("week").unwrap();
    assert_eq!(week.get("small").unwrap().unwrap(), b"1");
    assert_eq!(week.get("large").unwrap().unwrap(), vec![2; 2 << 20]);
    assert_eq!(saved.get("day").unwrap().unwrap(), b"3");
    assert_eq!(saved.get("gone").unwrap(), None);
}

#[test]
fn keys_of_a_keyspace_that_was_dropped_are_not_saved_into_another() {
    let (dir, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let db = small(dir.path());
    let old = db.keyspace("old").unwrap();
    old.put("old", "1").unwrap();
    for key in 0..100_u8 {
        db.put([key], [key; 200]).unwrap();
    }
    db.seal().unwrap();
    db.drop_keyspace("old").unwrap();
    db.keyspace("new").unwrap().put("new", "2").unwrap();
    for again in 0..100_u8 {
        db.put("again", [again; 200]).unwrap();
    }
    // The file with the old key has little that is dead, and stays.
    db.compact().unwrap();
    db.close().unwrap();
    let kinds = inspect::dump(dir.path()).unwrap().filter_map(|item| match item.what {
        What::Record(record) => Some((record.kind, record.key)),
        _ => None,
    });
    assert!(kinds.collect::<Vec<_>>().contains(&("put", b"old".to_vec())));
    inspect::salvage(dir.path(), out.path()).unwrap();
    let saved = small(out.path());
    assert_eq!(saved.keyspaces(), ["default", "new"]);
    let keys: Vec<_> = saved.keyspace("new").unwrap().iter().map(|pair| pair.unwrap().0.to_vec()).collect();
    assert_eq!(keys, [b"new"]);
}

/// What `Db` says of a copy of the store: whether it opens and verifies clean.
fn db_complains(dir: &Path) -> bool {
    let there = TempDir::new().unwrap();
    copy(dir, there.path());
    match Db::open(there.path()) {
        Ok(db) => !db.verify().unwrap().is_clean(),
        Err(_) => true,
    }
}

#[test]
fn no_flipped_bit_that_the_store_would_complain_of_is_clean_and_none_costs_more_than_its_record() {
    let dir = TempDir::new().unwrap();
    store(dir.path());
    let whole = files(dir.path());
    let log = log(&whole);
    let all = model(&log, |_| false);
    let (mut flips, mut noticed) = (0, 0);
    for (name, bytes) in whole.iter().filter(|(name, _)| *name == "ZIPCASK" || name.ends_with(".seg")) {
        let path = dir.path().join(name);
        for at in places(bytes, 29) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&path, &flipped).unwrap();
            let place = format!("{name}, byte {at}");
            let clean = inspect::verify(dir.path()).unwrap().is_clean();
            assert!(!clean || !db_complains(dir.path()), "{place}");
            (flips, noticed) = (flips + 1, noticed + u32::from(!clean));
            let hit = |record: &Record| record.file == *name && record.at.contains(&at);
            let (saved, report) = salvaged(dir.path());
            assert!(saved == model(&log, hit), "{place}: {report:?}");
            // A rotten value that was overwritten since is no loss.
            let complete = report.is_complete();
            assert!(if log.iter().any(hit) { !complete || saved == all } else { complete }, "{place}: {report:?}");
        }
        fs::write(&path, bytes).unwrap();
    }
    assert_eq!(files(dir.path()), whole);
    crate::report::report(&format!("inspect: {flips} flips, {noticed} noticed, 0 lost more than their record"));
}

#[test]
fn a_store_that_was_killed_or_cut_anywhere_gives_what_is_still_there() {
    let (dir, killed) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let db = small(dir.path());
    fill(&db, 0);
    db.seal().unwrap();
    fill(&db, 1);
    copy(dir.path(), killed.path());
    drop(db);
    let whole = files(killed.path());
    let log = log(&whole);
    assert!(inspect::verify(killed.path()).unwrap().is_clean(), "nobody sealed it, and that is no damage");
    assert_eq!(salvaged(killed.path()).0, model(&log, |_| false));
    for (name, bytes) in whole.iter().filter(|(name, _)| name.ends_with(".seg")) {
        let path = killed.path().join(name);
        let newest = name != FIRST;
        for len in (0..RECORDS).step_by(511).chain((RECORDS..RECORDS + 4000).step_by(37)) {
            fs::write(&path, &bytes[..len]).unwrap();
            let _ = inspect::verify(killed.path()).unwrap();
            let (saved, report) = salvaged(killed.path());
            let gone = |record: &Record| record.file == *name && record.at.end > len;
            // Where the log ends in a batch, that counts if somebody was told of it, which nobody knows here.
            let whole_batches =
                |record: &Record| gone(record) || (newest && report.unfinished > 0 && in_cut_batch(bytes, record, len));
            assert!(saved == model(&log, whole_batches), "{name}, {len} bytes: {report:?}");
        }
        fs::write(&path, bytes).unwrap();
    }
}

/// Whether the record is of the file's batch that `len` cuts.
fn in_cut_batch(bytes: &[u8], record: &Record, len: usize) -> bool {
    let starts = records(bytes);
    let Some(nth) = starts.iter().position(|start| *start == record.at.start) else { return false };
    let follows = |start: &usize| bytes[start + 23] & 1 == 1;
    let last = (nth..starts.len()).find(|nth| !follows(&starts[*nth])).unwrap();
    starts.get(last + 1).is_none_or(|end| *end > len) && follows(&starts[nth]) && record.file != FIRST
}

#[test]
fn where_no_store_is_both_say_so_and_make_none() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out");
    let both = |dir: &Path, kind| {
        assert_eq!(inspect::verify(dir).unwrap_err().kind(), kind);
        assert_eq!(inspect::salvage(dir, &out).unwrap_err().kind(), kind);
    };
    both(&dir.path().join("none"), ErrorKind::NotFound);
    fs::create_dir(dir.path().join("empty")).unwrap();
    both(&dir.path().join("empty"), ErrorKind::NotFound);
    fs::create_dir(dir.path().join("other")).unwrap();
    fs::write(dir.path().join("other/notes.txt"), "mine").unwrap();
    both(&dir.path().join("other"), ErrorKind::Invalid);
    both(&dir.path().join("other/notes.txt"), ErrorKind::Invalid);
    assert!(!out.exists());
    assert_eq!(files(dir.path()).len(), 1);
}

#[test]
fn nothing_is_saved_into_what_is_to_be_saved_or_over_anything() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    store(&path);
    let before = files(dir.path());
    let inside =
        [path.clone(), path.join("out"), path.join("a/b/c"), path.join("segments"), path.join("segments/../out")];
    for out in inside.iter().chain([&dir.path().to_path_buf()]) {
        let error = inspect::salvage(&path, out).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{}: {error}", out.display());
    }
    assert_eq!(files(dir.path()), before);
    let out: PathBuf = dir.path().join("new/out");
    inspect::salvage(&path, &out).unwrap();
    assert_eq!(contents(&out), contents(&path));
}

#[test]
fn an_older_value_that_is_taken_is_told_of() {
    let dir = TempDir::new().unwrap();
    let db = small(dir.path());
    db.put("key", "old").unwrap();
    db.put("other", "there").unwrap();
    db.put("key", "a newer value").unwrap();
    db.close().unwrap();
    edit(&dir.path().join(FIRST), |bytes| {
        let at = bytes.windows(7).position(|window| window == b"a newer").unwrap();
        bytes[at] ^= 1;
    });
    let (saved, report) = salvaged(dir.path());
    assert_eq!(saved[&b"key"[..]], b"old");
    let [damaged] = &report.damaged[..] else { panic!("{report:?}") };
    assert_eq!((&damaged.key[..], u64::from(damaged.lost), damaged.taken.map(u64::from)), (&b"key"[..], 3, Some(1)));
    assert!(!report.is_complete() && report.lost.is_empty());
}

#[test]
fn what_a_job_has_put_in_the_order_of_its_keys_is_whole_and_is_saved_whole() {
    for keyspaces in [1, 3] {
        let dir = TempDir::new().unwrap();
        let db = small(dir.path());
        let spaces: Vec<_> = (0..keyspaces)
            .map(|n| db.keyspace_with(&format!("ordered {n}"), KeyspaceOptions::new().ordered(true)).unwrap())
            .collect();
        for i in (0..300_u32).rev() {
            spaces[i as usize % spaces.len()].put(i.to_be_bytes(), [i as u8; 30]).unwrap();
            if i % 10 == 0 {
                db.put(i.to_be_bytes(), "in no order").unwrap();
            }
        }
        db.compact().unwrap();
        let seqnos: Vec<_> = inspect::dump(dir.path())
            .unwrap()
            .filter_map(|item| if let What::Record(record) = item.what { Some(record.seqno) } else { None })
            .collect();
        assert!(!seqnos.is_sorted(), "it has rewritten them");
        let expected: Vec<_> = spaces.iter().map(|space| space.len()).chain([db.len()]).collect();
        db.close().unwrap();
        assert_eq!(inspect::verify(dir.path()).unwrap().problems(), []);
        let out = TempDir::new().unwrap();
        let report = inspect::salvage(dir.path(), out.path()).unwrap();
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(report.keys, expected.iter().sum::<u64>());
        let saved = Db::open_read_only(out.path()).unwrap();
        let found = (0..keyspaces).map(|n| saved.keyspace(&format!("ordered {n}")).unwrap().len()).chain([saved.len()]);
        assert_eq!(found.collect::<Vec<_>>(), expected);
        assert!(inspect::dump(dir.path()).unwrap().all(|item| !matches!(item.what, What::Damaged(_))));
    }
}
