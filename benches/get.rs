//! Reads, beside a map in memory that keeps nothing.
//!
//! Durability plays no part: the store is loaded and synced before. Reads are mapped, and check the record's checksums.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod common;

use std::collections::HashMap;
use std::time::Duration;

use common::data::{Key, check, mix, value};
use common::{Scale, load, store, timed};
use zipcask::Db;

type Map = HashMap<Vec<u8>, Vec<u8>>;

fn main() {
    let scale = Scale::new("get: mapped reads of a synced store");
    let (_dir, db) = store();
    load(&db, scale.keys);
    let map: Map = (0..scale.keys).map(|id| (Key::new(id).as_bytes().to_vec(), value(id, 0).to_vec())).collect();
    let run = |round: u64, from: u64| -> Vec<Key> {
        (0..scale.of(50_000) as u64).map(|at| Key::new(from + mix(round << 32 | at) % scale.keys)).collect()
    };
    scale.ratio(
        "get / HashMap<Vec<u8>, Vec<u8>>",
        51,
        |round| get(&db, &run(round, 0)),
        |round| get_from_map(&map, &run(round, 0)),
    );
    scale.ratio(
        "get of absent keys / HashMap",
        51,
        |round| get_none(&db, &run(round, scale.keys)),
        |round| get_none_from_map(&map, &run(round, scale.keys)),
    );
    scale.ratio(
        "get, 2 threads / HashMap without a lock, 2 threads",
        51,
        |round| twice(|thread| get(&db, &run(round << 1 | thread, 0))),
        |round| twice(|thread| get_from_map(&map, &run(round << 1 | thread, 0))),
    );
    scale.ratio("iter / iter of HashMap", 21, |_| pass(&db, scale.keys), |_| pass_map(&map, scale.keys));
}

fn get(db: &Db, run: &[Key]) -> Duration {
    timed(|| {
        for key in run {
            let found = db.get(key.as_bytes()).expect("a get does not fail");
            check(key.id, &found.expect("a key that was loaded"));
        }
    })
}

fn get_from_map(map: &Map, run: &[Key]) -> Duration {
    timed(|| {
        for key in run {
            check(key.id, map.get(key.as_bytes()).expect("a key that was loaded"));
        }
    })
}

fn get_none(db: &Db, run: &[Key]) -> Duration {
    timed(|| {
        for key in run {
            assert!(db.get(key.as_bytes()).expect("a get does not fail").is_none());
        }
    })
}

fn get_none_from_map(map: &Map, run: &[Key]) -> Duration {
    timed(|| {
        for key in run {
            assert!(!map.contains_key(key.as_bytes()));
        }
    })
}

/// The same at the same time on two threads; the slower one counts.
fn twice(f: impl Fn(u64) -> Duration + Sync) -> Duration {
    std::thread::scope(|scope| {
        let other = scope.spawn(|| f(1));
        f(0).max(other.join().expect("the answers are right"))
    })
}

fn pass(db: &Db, keys: u64) -> Duration {
    timed(|| {
        let mut seen = 0;
        for pair in db.iter() {
            let (key, value) = pair.expect("the store is sound");
            seen += check_pair(&key, &value);
        }
        assert_eq!(seen, keys);
    })
}

fn pass_map(map: &Map, keys: u64) -> Duration {
    timed(|| assert_eq!(map.iter().map(|(key, value)| check_pair(key, value)).sum::<u64>(), keys))
}

/// Counts 1 if key and value belong together.
fn check_pair(key: &[u8], value: &[u8]) -> u64 {
    let id = u64::from_le_bytes(value[..8].try_into().expect("eight bytes"));
    check(id, value);
    assert_eq!(key, Key::new(id).as_bytes());
    1
}
