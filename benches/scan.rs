//! Scans in the order of keys, beside a sorted map in memory, and what an order costs a load.
//!
//! Durability plays no part: the store is loaded and synced before. Reads are mapped. Keys are loaded in no order (`scattered`) and in
//! theirs (`in order`); every value is looked at.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::data::{Key, check, mix, value};
use common::{Scale, timed};
use zipcask::{Db, Durability, KeyspaceOptions, Options};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// Keys in a batch of a load.
const BATCH: u64 = 1_000;
/// Keys of a short scan, and short scans in a round.
const SHORT: usize = 100;
const SHORTS: u64 = 500;

fn main() {
    let scale = Scale::new("scan: mapped reads of a synced store", 1_000_000);
    loads(&scale);
    let map: Map = (0..scale.keys).map(|id| (key(id).to_vec(), value(id, 0).to_vec())).collect();
    for (name, place) in [("scattered", scattered as fn(u64, u64) -> u64), ("in order", |id, _| id)] {
        let (_dir, db) = store(true);
        load(&db, scale.keys, place);
        let start = Instant::now();
        assert!(db.prefix("").expect("it is ordered").next().is_some());
        println!("{name}: the first scan of {} keys waits {:.1} ms", scale.keys, start.elapsed().as_secs_f64() * 1e3);
        scans(&scale, &format!("loaded {name}"), &db, &map);
        db.compact().expect("there is room");
        let start = Instant::now();
        assert!(db.prefix("").expect("it is ordered").next().is_some());
        println!("{name}: the first after compact() waits {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
        scans(&scale, &format!("compacted, {name}"), &db, &map);
    }
}

/// 20 bytes that sort as the id does, and end in what that of another would not.
fn key(id: u64) -> [u8; 20] {
    let (mut key, other) = (*b"key:00000000........", Key::new(id));
    for (at, byte) in key[4..12].iter_mut().enumerate() {
        *byte = b"0123456789abcdef"[(other.id >> (28 - 4 * at) & 15) as usize];
    }
    key[12..].copy_from_slice(&other.as_bytes()[..8]);
    key
}

/// A place of its own for each id below `keys`.
fn scattered(id: u64, keys: u64) -> u64 {
    // Odd, and no multiple of five: a million has no other factors.
    id * 7_368_787 % keys
}

fn store(is_ordered: bool) -> (tempfile::TempDir, Db) {
    let dir = tempfile::Builder::new().prefix("bench-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
    let dir = dir.expect("the target folder can be written");
    let options = Options::new().background(false).default_keyspace(KeyspaceOptions::new().ordered(is_ordered));
    let db = options.open(dir.path().join("store")).expect("a new store opens");
    (dir, db)
}

fn load(db: &Db, keys: u64, place: fn(u64, u64) -> u64) {
    for from in (0..keys).step_by(BATCH as usize) {
        let mut batch = db.batch();
        for id in from..keys.min(from + BATCH) {
            let id = place(id, keys);
            batch.put(db, key(id), value(id, 0));
        }
        batch.commit_with(Durability::Os).expect("a batch is taken");
    }
    db.sync().expect("the disk syncs");
}

fn loads(scale: &Scale) {
    let one = |is_ordered| {
        let (_dir, db) = store(is_ordered);
        timed(|| load(&db, scale.keys / 4, scattered))
    };
    scale.ratio("load, ordered / not ordered", 9, |_| one(true), |_| one(false));
}

fn scans(scale: &Scale, name: &str, db: &Db, map: &Map) {
    let all = |pairs: &mut dyn Iterator<Item = u64>| assert_eq!(pairs.count() as u64, scale.keys);
    let ours = |back: bool| {
        let id = |pair: zipcask::Result<(zipcask::Value, zipcask::Value)>| checked(&pair.expect("a pair").1);
        timed(|| match back {
            false => all(&mut db.prefix("").expect("it is ordered").map(id)),
            true => all(&mut db.prefix("").expect("it is ordered").rev().map(id)),
        })
    };
    let floor = |back: bool| {
        timed(|| match back {
            false => all(&mut map.values().map(|value| checked(value))),
            true => all(&mut map.values().rev().map(|value| checked(value))),
        })
    };
    scale.ratio(&format!("all forward, {name} / BTreeMap"), 11, |_| ours(false), |_| floor(false));
    scale.ratio(&format!("all back, {name} / BTreeMap"), 11, |_| ours(true), |_| floor(true));
    println!("  {:.1} ns a pair forward", ours(false).as_nanos() as f64 / scale.keys as f64);
    for back in [false, true] {
        let way = if back { "back" } else { "forward" };
        let ours = |round: u64| shorts(scale, round, |from| short(db, from, back));
        let floor = |round: u64| shorts(scale, round, |from| short_of_map(map, from, back));
        scale.ratio(&format!("{SHORT} {way}, {name} / BTreeMap"), 21, ours, floor);
    }
}

fn shorts(scale: &Scale, round: u64, one: impl Fn(u64)) -> Duration {
    let last = scale.keys - SHORT as u64;
    timed(|| (0..SHORTS).for_each(|at| one(mix(round * SHORTS + at) % last)))
}

fn short(db: &Db, from: u64, back: bool) {
    let range = db.range(key(from)..key(from + SHORT as u64)).expect("it is ordered");
    let id = |pair: zipcask::Result<(zipcask::Value, zipcask::Value)>| checked(&pair.expect("a pair").1);
    match back {
        false => assert!(range.map(id).eq(from..from + SHORT as u64)),
        true => assert!(range.rev().map(id).eq((from..from + SHORT as u64).rev())),
    }
}

fn short_of_map(map: &Map, from: u64, back: bool) {
    let range = map.range(key(from).to_vec()..key(from + SHORT as u64).to_vec()).map(|(_, value)| checked(value));
    match back {
        false => assert!(range.eq(from..from + SHORT as u64)),
        true => assert!(range.rev().eq((from..from + SHORT as u64).rev())),
    }
}

/// The id of a value that is whole.
fn checked(found: &[u8]) -> u64 {
    let id = u64::from_le_bytes(found[..8].try_into().expect("eight bytes"));
    check(id, found);
    id
}
