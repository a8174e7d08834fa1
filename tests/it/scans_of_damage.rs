//! A bit flipped in a record of a sealed segment: scans say so, show nothing outside of their bounds, and miss nothing else.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::path::Path;

use crate::bytes::edit;
use zipcask::sim::Random;
use zipcask::{Db, Durability, ErrorKind, KeyspaceOptions, Options, Range, ReadMode, Verify};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;
type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

fn options(mode: ReadMode) -> Options {
    let small = Options::new().durability(Durability::Os).segment_size(256 << 10).background(false).read_mode(mode);
    small.verify_values(Verify::Always).default_keyspace(KeyspaceOptions::new().ordered(true))
}

/// Some keys, in the order of the log; those that begin with "8" have eight bytes and more in common.
fn key(i: usize) -> Vec<u8> {
    match i % 3 {
        0 => format!("{i:03}").into_bytes(),
        1 => format!("8 bytes in common {i:03}").into_bytes(),
        _ => format!("k{i:03}").into_bytes(),
    }
}

/// A store of 240 keys in a sealed segment.
fn made(dir: &Path, sorted: bool) -> Model {
    let db = options(ReadMode::Mmap).open(dir).unwrap();
    let mut keys: Vec<_> = (0..240).map(|i| key(i * 77 % 240)).collect();
    if sorted {
        keys.sort();
    }
    let pairs = keys.into_iter().map(|key| {
        let value = [b"the value of ", &key[..]].concat();
        db.put(&key, &value).unwrap();
        (key, value)
    });
    let model = pairs.collect();
    db.checkpoint().unwrap();
    db.close().unwrap();
    model
}

fn bound(random: &mut Random) -> Bound<Vec<u8>> {
    let key = key(random.below(240));
    match random.below(6) {
        0 => Bound::Unbounded,
        1 | 2 => Bound::Excluded(key),
        _ => Bound::Included(key),
    }
}

fn in_order(bounds: Bounds) -> Option<Bounds> {
    let ends = match (&bounds.0, &bounds.1) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => return Some(bounds),
        (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) => {
            start.cmp(end)
        }
    };
    match ends {
        std::cmp::Ordering::Less => Some(bounds),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some((bounds.1, bounds.0)),
    }
}

/// What a scan shows, and how often it fails.
fn shown(mut range: Range, how: usize, random: &mut Random) -> (Pairs, usize) {
    let (mut below, mut above, mut failed) = (Vec::new(), Vec::new(), 0);
    if how == 3 {
        let mut each = |key: &[u8], value: &[u8]| {
            below.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        };
        while let Err(error) = range.visit(&mut each) {
            assert_eq!(error.kind(), ErrorKind::Corruption);
            failed += 1;
            assert!(failed < 1_000, "it ends");
        }
        return (below, failed);
    }
    loop {
        let is_below = how == 0 || how == 2 && random.below(2) == 0;
        let pair = if is_below { range.next() } else { range.next_back() };
        match pair {
            None => break,
            Some(Ok((key, value))) => {
                if is_below { &mut below } else { &mut above }.push((key.to_vec(), value.to_vec()));
            }
            Some(Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::Corruption);
                failed += 1;
                assert!(failed < 1_000, "it ends");
            }
        }
    }
    below.extend(above.into_iter().rev());
    (below, failed)
}

/// What scans may do wrong.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Wrong {
    /// No scan at all.
    Refused,
    /// A key outside of the bounds, or a pair that never was, or twice, or in another order.
    Outside,
    /// Keys are missing, and nothing is said.
    Silent,
    /// Something is said, but more is missing than the key that was hit.
    Lost,
}

/// What is wrong with what scans show.
fn wrong(db: &Db, model: &Model, hit: &[u8], random: &mut Random) -> Vec<(Wrong, String)> {
    let mut all = Vec::new();
    for how in 0..4 {
        for i in 0..12 {
            let bounds = if i == 0 { (Bound::Unbounded, Bound::Unbounded) } else { (bound(random), bound(random)) };
            let Some(bounds) = in_order(bounds) else { continue };
            let text = |bound: &Bound<Vec<u8>>| format!("{:?}", bound.as_ref().map(|key| String::from_utf8_lossy(key)));
            let what = format!("how {how}, {} to {}", text(&bounds.0), text(&bounds.1));
            let range = match db.range(bounds.clone()) {
                Ok(range) => range,
                Err(error) => {
                    all.push((Wrong::Refused, format!("{what}: {error}")));
                    continue;
                }
            };
            let (found, failed) = shown(range, how, random);
            let within: BTreeMap<_, _> = model.range(bounds.clone()).collect();
            if let Some((key, _)) = found.iter().find(|(key, value)| within.get(key) != Some(&value)) {
                all.push((Wrong::Outside, format!("{what}: {:?}", String::from_utf8_lossy(key))));
            } else if !found.is_sorted_by(|a, b| a.0 < b.0) {
                all.push((Wrong::Outside, format!("{what}: not in order")));
            }
            let missing = within.len().saturating_sub(found.len());
            if missing > 0 && failed == 0 {
                all.push((Wrong::Silent, format!("{what}: {missing} missing")));
            } else if missing > usize::from(within.contains_key(&hit.to_vec())) {
                all.push((Wrong::Lost, format!("{what}: {missing} missing, {failed} failures")));
            }
        }
    }
    all
}

/// Where the key lies that is written in front of its value.
fn place_of(bytes: &[u8], key: &[u8]) -> usize {
    let value = [b"the value of ", key].concat();
    let ahead = bytes.windows(value.len()).position(|window| window == value).unwrap();
    ahead - 32 + bytes[ahead - 32..ahead].windows(key.len()).rposition(|window| window == key).unwrap()
}

/// Where in a record a bit is flipped, from the beginning of its key.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Key,
    Value,
    Header,
}

/// Whether scans of a damaged store do this wrong.
fn check(unwanted: &[Wrong], mode: ReadMode, place: Place, while_open: bool) {
    let mut complaints = Vec::new();
    for seed in 1..=24 {
        let (dir, mut random) = (tempfile::tempdir().unwrap(), Random::new(seed));
        let sorted = seed % 2 == 0;
        let model = made(dir.path(), sorted);
        let hit = key(random.below(240));
        let at = match place {
            Place::Key => random.below(hit.len()),
            Place::Value => hit.len().next_multiple_of(8) + 8 + random.below(4),
            Place::Header => 0_usize.wrapping_sub(1 + random.below(32)),
        };
        let bit = random.below(8);
        let damage = |dir: &Path| {
            edit(&dir.join("segments/0000000001.seg"), |bytes| {
                let start = place_of(bytes, &hit);
                bytes[start.wrapping_add(at)] ^= 1 << bit;
            });
        };
        if !while_open {
            damage(dir.path());
        }
        let db = match options(mode).open(dir.path()) {
            Ok(db) => db,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corruption, "seed {seed}");
                continue;
            }
        };
        if while_open {
            assert_eq!(db.iter().filter(|pair| pair.is_ok()).count(), 240);
            // In place: the mapping shows it.
            in_place(&dir.path().join("segments/0000000001.seg"), |bytes| {
                let start = place_of(bytes, &hit);
                (start.wrapping_add(at), bytes[start.wrapping_add(at)] ^ 1 << bit)
            });
        }
        let found = wrong(&db, &model, &hit, &mut random).into_iter().find(|(wrong, _)| unwanted.contains(wrong));
        if let Some((wrong, what)) = found {
            let hit = String::from_utf8_lossy(&hit);
            complaints.push(format!("seed {seed}, {hit:?} at {}, bit {bit}: {wrong:?}: {what}", at as isize));
        }
    }
    assert!(complaints.is_empty(), "{} of 24:\n{}", complaints.len(), complaints.join("\n"));
}

/// Changes one byte of a file without making another.
fn in_place(path: &Path, change: impl FnOnce(&[u8]) -> (usize, u8)) {
    use std::io::{Seek, SeekFrom, Write};
    let (at, byte) = change(&std::fs::read(path).unwrap());
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    file.write_all(&[byte]).unwrap();
}

const ALL: &[Wrong] = &[Wrong::Refused, Wrong::Outside, Wrong::Silent, Wrong::Lost];
const MODES: [ReadMode; 2] = [ReadMode::Mmap, ReadMode::Positioned];

#[test]
fn damage_before_the_open_costs_scans_the_key_that_it_hit() {
    for place in [Place::Key, Place::Value, Place::Header] {
        MODES.into_iter().for_each(|mode| check(ALL, mode, place, false));
    }
}

#[test]
fn a_damaged_value_behind_the_first_scan_costs_scans_that_key() {
    MODES.into_iter().for_each(|mode| check(ALL, mode, Place::Value, true));
}

#[test]
fn no_positioned_scan_leaves_its_bounds_for_a_damaged_key() {
    check(&[Wrong::Refused, Wrong::Outside], ReadMode::Positioned, Place::Key, true);
}

#[test]
fn no_positioned_scan_leaves_its_bounds_for_a_damaged_header() {
    check(&[Wrong::Refused, Wrong::Outside], ReadMode::Positioned, Place::Header, true);
}

#[test]
fn no_positioned_scan_misses_keys_without_a_word_for_a_damaged_one() {
    check(&[Wrong::Silent], ReadMode::Positioned, Place::Key, true);
}

#[test]
fn a_damaged_record_of_another_keyspace_costs_a_scan_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let db = options(ReadMode::Mmap).open(dir.path()).unwrap();
    let other = db.keyspace("other").unwrap();
    // In the order of the keys, so that scans walk from record to record, from each place that they know: there the others lie.
    let mut model = Model::new();
    for i in 0..64 {
        let key = format!("{i:02}").into_bytes();
        db.put(&key, "").unwrap();
        model.insert(key, Vec::new());
        if i % 16 == 15 {
            other.put(format!("of the other {i:02}"), "").unwrap();
        }
    }
    db.seal().unwrap();
    let path = dir.path().join("segments/0000000001.seg");
    for i in [None, Some(15), Some(31), Some(47), Some(63)] {
        if let Some(i) = i {
            in_place(&path, |bytes| {
                let key = format!("of the other {i}");
                let at = bytes.windows(key.len()).position(|window| window == key.as_bytes()).unwrap();
                // The kind, in a header with a horizon or without.
                let has_len = |header: usize| bytes[header + 14..][..2] == (key.len() as u16).to_le_bytes();
                let header = if has_len(at - 24) { at - 24 } else { at - 32 };
                assert!(has_len(header));
                (header + 22, 0xee)
            });
        }
        for how in 0..4 {
            let (found, failed) = shown(db.prefix("").unwrap(), how, &mut Random::new(1));
            assert_eq!((found, failed), (model.clone().into_iter().collect(), 0), "{i:?}, how {how}");
        }
    }
}
