//! Scans in the order of keys, of the store as it is and as it was.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::bytes::edit;
use crate::intervals::{Bounds, Pairs, bound, is_inverted, pairs};
use zipcask::sim::Random;
use zipcask::{Compression, Db, Durability, ErrorKind, KeyspaceOptions, Options, Range, ReadMode, Result, Snapshot};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn ordered() -> Options {
    let small = Options::new().durability(Durability::Os).segment_size(64 << 10).background(false);
    small.default_keyspace(KeyspaceOptions::new().ordered(true))
}

/// Keys of few kinds of bytes, so that many begin alike, end in zeros, or are one the beginning of another.
fn key(random: &mut Random) -> Vec<u8> {
    let start: &[u8] = [&b""[..], b"", b"\xff", b"\xff\xff", b"a common beginning/", b"eight by"][random.below(6)];
    let bytes = [0, 0, 1, b'a', 0xfe, 0xff];
    let rest = (0..random.below(5)).map(|_| bytes[random.below(6)]);
    start.iter().copied().chain(rest).collect()
}

/// All that a scan shows, taken from the sides that `random` says: as if it were taken from below.
fn shown(mut range: Range, random: &mut Random) -> Pairs {
    let (mut below, mut above) = (Vec::new(), Vec::new());
    let from = random.below(3);
    loop {
        let is_below = from == 0 || from == 2 && random.below(2) == 0;
        let pair = if is_below { range.next() } else { range.next_back() };
        let Some(pair) = pair else { break };
        let (key, value) = pair.unwrap();
        if is_below { &mut below } else { &mut above }.push((key.to_vec(), value.to_vec()));
    }
    assert!(range.next().is_none() && range.next_back().is_none());
    below.extend(above.into_iter().rev());
    below
}

/// The same, visited a few at a time, and taken now and then.
fn visited(mut range: Range, random: &mut Random) -> Pairs {
    let mut all = Vec::new();
    loop {
        let (before, most) = (all.len(), random.below(9));
        let visit = |key: &[u8], value: &[u8]| {
            all.push((key.to_vec(), value.to_vec()));
            if all.len() - before > most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        range.visit(visit).unwrap();
        if all.len() - before <= most {
            assert!(range.next().is_none() && range.next_back().is_none());
            return all;
        }
        all.extend(range.next().map(Result::unwrap).map(|(key, value)| (key.to_vec(), value.to_vec())));
    }
}

/// Checks some scans of what `range` and `prefix` show against the model.
fn check(
    model: &Model,
    random: &mut Random,
    range: impl Fn(Bounds) -> Result<Range>,
    prefix: impl Fn(&[u8]) -> Result<Range>,
) {
    assert_eq!(shown(range((Bound::Unbounded, Bound::Unbounded)).unwrap(), random), pairs(model.iter()));
    for _ in 0..4 {
        let bounds = (bound(random, key), bound(random, key));
        let expected = if is_inverted(&bounds) { Vec::new() } else { pairs(model.range(bounds.clone())) };
        assert_eq!(shown(range(bounds.clone()).unwrap(), random), expected, "{bounds:?}");
        assert_eq!(visited(range(bounds.clone()).unwrap(), random), expected, "visited: {bounds:?}");
        let begin = key(random);
        let expected = pairs(model.iter().filter(|(key, _)| key.starts_with(&begin)));
        assert_eq!(shown(prefix(&begin).unwrap(), random), expected, "{begin:?}");
    }
}

fn check_now(db: &Db, model: &Model, random: &mut Random) {
    check(model, random, |bounds| db.range(bounds), |begin| db.prefix(begin));
    let all: Vec<_> = db.iter().map(|pair| pair.unwrap()).map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    assert_eq!(all, pairs(model.iter()));
}

fn check_then(db: &Db, snapshot: &Snapshot, model: &Model, random: &mut Random) {
    check(model, random, |bounds| snapshot.range(db, bounds), |begin| snapshot.prefix(db, begin));
    let all = snapshot.iter(db).map(|pair| pair.unwrap()).map(|(key, value)| (key.to_vec(), value.to_vec()));
    assert_eq!(all.collect::<Vec<_>>(), pairs(model.iter()));
}

fn options(seed: u64) -> Options {
    let mode = if seed % 3 == 2 { ReadMode::Positioned } else { ReadMode::Mmap };
    let compression = if seed % 4 == 3 { Compression::Deflate } else { Compression::None };
    ordered().read_mode(mode).archive_compression(compression)
}

#[test]
fn scans_show_what_a_sorted_map_does_whatever_happens_to_the_files() {
    for seed in 1..=7 {
        println!("seed {seed}");
        let (dir, mut random, mut model) = (tempfile::tempdir().unwrap(), Random::new(seed), Model::new());
        let mut db = options(seed).open(dir.path()).unwrap();
        let mut open: Vec<(Snapshot, Model)> = Vec::new();
        for _ in 0..1_500 {
            let key = key(&mut random);
            match random.below(1000) {
                0..4 => drop(db.compact().unwrap()),
                4..8 => drop(db.archive().unwrap()),
                8..16 => db.seal().unwrap(),
                16..18 => db.checkpoint().unwrap(),
                18..21 => {
                    open.clear();
                    db.close().unwrap();
                    db = options(seed).open(dir.path()).unwrap();
                }
                21..50 => check_now(&db, &model, &mut random),
                50..60 => open.push((db.snapshot(), model.clone())),
                60..90 if !open.is_empty() => {
                    let (snapshot, then) = &open[random.below(open.len())];
                    check_then(&db, snapshot, then, &mut random);
                }
                90..94 => open.truncate(2),
                94..300 => assert_eq!(db.delete(&key).unwrap(), model.remove(&key).is_some()),
                _ => {
                    // The longest has a file of its own.
                    let mut value = vec![0; [0, 7, 100, 900, 40_000][random.below(40).min(4 - random.below(2) * 2)]];
                    random.fill(&mut value);
                    db.put(&key, &value).unwrap();
                    model.insert(key, value);
                }
            }
        }
        check_now(&db, &model, &mut random);
        open.iter().for_each(|(snapshot, then)| check_then(&db, snapshot, then, &mut random));
    }
}

#[test]
fn a_scan_shows_the_moment_at_which_it_began() {
    let (dir, mut random, mut model) = (tempfile::tempdir().unwrap(), Random::new(7), Model::new());
    let db = ordered().open(dir.path()).unwrap();
    for i in 0..2_000_u64 {
        let key = format!("key {:05}", i * 7919 % 2_000).into_bytes();
        db.put(&key, i.to_le_bytes()).unwrap();
        model.insert(key, i.to_le_bytes().to_vec());
    }
    let mut scans: Vec<Range> = (0..3).map(|_| db.prefix("key").unwrap()).collect();
    let mut half: Vec<Pairs> = Vec::new();
    for scan in &mut scans {
        let pairs = scan.by_ref().take(500).map(|pair| pair.unwrap());
        half.push(pairs.map(|(key, value)| (key.to_vec(), value.to_vec())).collect());
    }
    for i in 0..2_000_u64 {
        let key = format!("key {i:05}");
        match i % 3 {
            0 => drop(db.put(&key, "new").unwrap()),
            1 => drop(db.delete(&key).unwrap()),
            _ => drop(db.put(format!("key {i:05} and more"), "new").unwrap()),
        }
    }
    db.compact().unwrap();
    for (scan, mut all) in scans.into_iter().zip(half) {
        all.extend(shown(scan, &mut random));
        assert!(all == pairs(model.iter()));
    }
}

#[test]
fn a_keyspace_without_an_order_has_no_ranges() {
    let db = Options::new().open_in_memory().unwrap();
    db.put("a", "b").unwrap();
    assert_eq!(db.range("a".."b").unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(db.prefix("a").unwrap_err().kind(), ErrorKind::Invalid);
    let snapshot = db.snapshot();
    assert_eq!(snapshot.range(&db, "a".."b").unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(snapshot.prefix(&db, "a").unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_scan_outlives_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let db = ordered().open(dir.path()).unwrap();
    for i in 0..200 {
        db.put(format!("{i:03}"), format!("value {i}")).unwrap();
    }
    let scan = db.prefix("1").unwrap();
    db.close().unwrap();
    let scan = std::thread::spawn(move || scan.rev().map(|pair| pair.unwrap()).collect::<Vec<_>>());
    let found = scan.join().unwrap();
    assert_eq!(found.len(), 100);
    assert_eq!(found[0].0, b"199");
    assert_eq!(found[0].1, b"value 199");
}

#[test]
fn a_key_that_stays_is_seen_once_while_others_come_and_go() {
    const STAY: u64 = 300;
    let dir = tempfile::tempdir().unwrap();
    let db = ordered().open(dir.path()).unwrap();
    for i in 0..STAY {
        db.put(format!("{:05}", i * 10), "stays").unwrap();
    }
    let done = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..2_u64)
        .map(|writer| {
            let (db, done) = (db.clone(), Arc::clone(&done));
            std::thread::spawn(move || {
                let mut random = Random::new(writer + 1);
                for _ in 0..30_000 {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    let i = random.below(10 * STAY as usize);
                    match random.below(4) {
                        0 if !i.is_multiple_of(10) => drop(db.delete(format!("{i:05}")).unwrap()),
                        _ => drop(
                            db.put(format!("{i:05}"), if i.is_multiple_of(10) { "stays" } else { "comes" }).unwrap(),
                        ),
                    }
                }
            })
        })
        .collect();
    for round in 0..20 {
        let (scan, is_back) = (db.prefix("0").unwrap(), round % 2 == 1);
        let mut keys: Vec<Vec<u8>> = match is_back {
            false => scan.map(|pair| pair.unwrap().0.to_vec()).collect(),
            true => scan.rev().map(|pair| pair.unwrap().0.to_vec()).collect(),
        };
        if is_back {
            keys.reverse();
        }
        assert!(keys.is_sorted_by(|a, b| a < b), "round {round}");
        assert_eq!(keys.iter().filter(|key| key[4] == b'0').count() as u64, STAY, "round {round}");
        if round % 4 == 3 {
            db.compact().unwrap();
        }
    }
    done.store(true, Ordering::Relaxed);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
}

#[test]
fn scans_of_a_follower_show_what_it_has_followed() {
    for seed in 1..=3 {
        println!("seed {seed}");
        let (dir, mut random, mut model) = (tempfile::tempdir().unwrap(), Random::new(seed), Model::new());
        let db = options(seed).open(dir.path()).unwrap();
        let follower = options(seed).open_read_only(dir.path()).unwrap();
        let mut open: Vec<(Snapshot, Model)> = Vec::new();
        for _ in 0..1_500 {
            let key = key(&mut random);
            match random.below(200) {
                0 => drop(db.compact().unwrap()),
                1 => drop(db.archive().unwrap()),
                2..10 => {
                    follower.refresh().unwrap();
                    check_now(&follower, &model, &mut random);
                    open.push((follower.snapshot(), model.clone()));
                    open.truncate(3);
                }
                10..20 => open.iter().for_each(|(then, model)| check_then(&follower, then, model, &mut random)),
                20..60 => drop(db.delete(&key).map(|_| model.remove(&key)).unwrap()),
                _ => {
                    let mut value = vec![0; [0, 7, 100, 900][random.below(4)]];
                    random.fill(&mut value);
                    db.put(&key, &value).unwrap();
                    model.insert(key, value);
                }
            }
        }
    }
}

/// A store of 100 keys in a sealed segment, opened again after `damage` was done to the record of key 50; the others are 0 to 99.
fn damaged(damage: impl Fn(&mut Vec<u8>, usize), mode: ReadMode, sorted: bool) -> (tempfile::TempDir, Db) {
    let dir = tempfile::tempdir().unwrap();
    let db = ordered().open(dir.path()).unwrap();
    for i in 0..100 {
        let i = if sorted { i } else { i * 37 % 100 };
        db.put(format!("key {i:02}"), format!("the value of {i:02}")).unwrap();
    }
    db.checkpoint().unwrap();
    db.close().unwrap();
    edit(&dir.path().join("segments/0000000001.seg"), |bytes| {
        let at = bytes.windows(6).position(|window| window == b"key 50").unwrap();
        damage(bytes, at);
    });
    let db = ordered().read_mode(mode).open(dir.path()).unwrap();
    (dir, db)
}

#[test]
fn damage_costs_a_scan_the_key_that_it_hit() {
    let value: fn(&mut Vec<u8>, usize) = |bytes, at| bytes[at + 10] ^= 1;
    let name: fn(&mut Vec<u8>, usize) = |bytes, at| bytes[at + 5] ^= 1;
    let len: fn(&mut Vec<u8>, usize) = |bytes, at| bytes[at - 8] ^= 0x40;
    for (which, damage) in [value, name, len].into_iter().enumerate() {
        for (mode, sorted) in [(ReadMode::Mmap, true), (ReadMode::Mmap, false), (ReadMode::Positioned, true)] {
            let (_dir, db) = damaged(damage, mode, sorted);
            for back in [false, true] {
                let scan = db.prefix("key").unwrap();
                let all: Vec<_> = if back { scan.rev().collect() } else { scan.collect() };
                let (found, failed): (Vec<_>, Vec<_>) = all.into_iter().partition(|pair| pair.is_ok());
                let failed: Vec<_> = failed.into_iter().map(|pair| pair.unwrap_err().kind()).collect();
                assert_eq!(failed, [ErrorKind::Corruption], "{which}, {mode:?}, {sorted}");
                let mut keys: Vec<_> = found.into_iter().map(|pair| pair.unwrap().0.to_vec()).collect();
                keys.sort();
                let expected = (0..100).filter(|i| *i != 50).map(|i| format!("key {i:02}").into_bytes());
                assert_eq!(keys, expected.collect::<Vec<_>>(), "{which}, {mode:?}, {sorted}");
            }
        }
    }
}

#[test]
fn a_scan_of_a_store_in_memory_with_few_keys_takes_them_from_both_ends() {
    let db = ordered().open_in_memory().unwrap();
    for key in ["b", "a", "c", ""] {
        db.put(key, key).unwrap();
    }
    let mut scan = db.iter();
    assert_eq!(scan.next().unwrap().unwrap().0, b"");
    let mut scan = db.range("a"..).unwrap();
    assert_eq!(scan.next_back().unwrap().unwrap().0, b"c");
    assert_eq!(scan.next().unwrap().unwrap().0, b"a");
    assert_eq!(scan.next_back().unwrap().unwrap().0, b"b");
    assert!(scan.next().is_none() && scan.next_back().is_none());
}

#[test]
fn keys_that_many_files_end_with_are_all_taken_from_both_sides() {
    // Their first eight bytes are the highest there are, so that a file which has ended looks as one that has not.
    let high = |file: u8, nth: u8| [&[0xff; 9][..], &[nth, file]].concat();
    let (db, mut all) = (ordered().open_in_memory().unwrap(), Vec::new());
    for file in 0..7 {
        let keys = (0..file % 4 + 1).map(|nth| high(file, nth)).chain([vec![file]]);
        for key in keys {
            db.put(&key, [file]).unwrap();
            all.push((key, vec![file]));
        }
        db.seal().unwrap();
    }
    all.sort();
    for seed in 0..500 {
        assert_eq!(shown(db.prefix("").unwrap(), &mut Random::new(seed)), all, "seed {seed}");
    }
}
