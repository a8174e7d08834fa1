//! What a table does, seen from outside, with a made-up log of records.
//!
//! Floor 2. Imports `address`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::address::Location;
use crate::index::hash::Hasher;
use crate::index::table::{Found, Probe, Table};

pub(crate) fn at(unit: u64) -> Location {
    Location::from_unit(unit).unwrap()
}

/// Numbers without an end, the same for the same seed (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A table beside a map that says what it has to say, over a log of which unit n + 1 is a record of key `log[n]`.
pub(crate) struct Twin {
    pub(crate) table: Arc<Table>,
    pub(crate) log: Vec<u64>,
    pub(crate) model: HashMap<u64, Location>,
    pub(crate) hash: fn(u64) -> u64,
}

impl Twin {
    pub(crate) fn new(hash: fn(u64) -> u64) -> Twin {
        Twin { table: Arc::new(Table::new()), log: Vec::new(), model: HashMap::new(), hash }
    }

    pub(crate) fn probe(log: &[u64], key: u64) -> impl FnMut(Location) -> Probe + '_ {
        move |at| match log[at.unit() as usize - 1] == key {
            true => Probe::Same(()),
            false => Probe::Other,
        }
    }

    pub(crate) fn append(&mut self, key: u64) -> Location {
        self.log.push(key);
        at(self.log.len() as u64)
    }

    pub(crate) fn insert(&mut self, key: u64) {
        let to = self.append(key);
        let before = self.table.insert((self.hash)(key), to, Twin::probe(&self.log, key)).old;
        assert_eq!(before, self.model.insert(key, to), "insert {key}");
    }

    pub(crate) fn remove(&mut self, key: u64) {
        let before = self.table.remove((self.hash)(key), Twin::probe(&self.log, key)).old;
        assert_eq!(before, self.model.remove(&key), "remove {key}");
    }

    /// Moves the record of a key, and then fails to move it once more from its old place.
    pub(crate) fn relocate(&mut self, key: u64) {
        let Some(&from) = self.model.get(&key) else {
            return;
        };
        let to = self.append(key);
        assert!(self.table.replace((self.hash)(key), from, to), "move {key}");
        assert!(!self.table.replace((self.hash)(key), from, to), "move {key} twice");
        self.model.insert(key, to);
    }

    /// Removes one location in so many, whatever its key.
    fn sweep(&mut self, part: u64) {
        self.table.sweep(|at| at.unit().is_multiple_of(part));
        self.model.retain(|_, at| !at.unit().is_multiple_of(part));
    }

    fn get(&self, key: u64) -> Found<Location> {
        self.table.find((self.hash)(key), Twin::probe(&self.log, key))
    }

    fn check(&self, key: u64) {
        let expected = self.model.get(&key).map_or(Found::Absent, |&at| Found::At(at));
        assert_eq!(self.get(key), expected, "get {key}");
    }

    pub(crate) fn check_all(&self) {
        self.model.keys().for_each(|&key| self.check(key));
        assert_eq!(self.table.len(), self.model.len() as u64);
        let mut seen = HashSet::new();
        self.table.walk(|all, _| {
            all.iter().for_each(|at| assert!(seen.insert(*at), "{at:?} is shown twice"));
            true
        });
        assert_eq!(seen, self.model.values().copied().collect());
    }
}

/// What a table does with keys that collide is what it does with any; these two differ in how much they do.
fn run_against_a_map(seed: u64, hash: fn(u64) -> u64, keys: u64, steps: u64) {
    println!("seed {seed}");
    let mut random = Random(seed);
    let mut twin = Twin::new(hash);
    for step in 0..steps {
        // Mostly growth at first, then as many removals as additions.
        let key = random.below(keys);
        match random.below(10) {
            0..=4 => twin.insert(key),
            5..=6 if step < steps / 2 => twin.insert(key),
            5..=7 => twin.remove(key),
            8 => twin.relocate(key),
            _ => twin.check(key),
        }
        if step % (steps / 4) == 0 {
            twin.sweep(5);
            twin.check_all();
        }
    }
    twin.check_all();
    (0..keys).for_each(|key| twin.remove(key));
    assert_eq!(twin.table.len(), 0);
    twin.check_all();
    (0..keys / 2).for_each(|key| twin.insert(key));
    twin.check_all();
}

#[test]
fn a_table_agrees_with_a_map_while_it_grows_to_200_thousand_keys() {
    run_against_a_map(1, mix, 200_000, 1_200_000);
}

#[test]
fn a_small_table_agrees_with_a_map() {
    for seed in 0..200 {
        run_against_a_map(seed, mix, 1 + seed * 5, 2_000);
    }
}

#[test]
fn a_table_agrees_with_a_map_whichever_bits_of_the_hashes_collide() {
    // The home bits; the directory bits; all but the bits that nothing looks at; all but a few.
    let masks: [fn(u64) -> u64; 5] = [
        |key| mix(key) & !0xff,
        |key| mix(key) & 0xffff_ffff,
        |key| mix(key) & 0x0000_003f_ffff_ff00,
        |key| mix(key) & 0xc000_0000_0000_0003,
        |key| mix(key) | 0xffff_fff0_0000_0000,
    ];
    for (seed, mask) in masks.into_iter().enumerate() {
        run_against_a_map(seed as u64, mask, 3_000, 20_000);
    }
}

#[test]
fn five_thousand_keys_with_one_hash_are_kept_apart() {
    let mut twin = Twin::new(|key| if key < 5_000 { 0x5555_5555_5555_5555 } else { mix(key) });
    (0..5_000).for_each(|key| twin.insert(key));
    twin.check_all();
    assert!(twin.table.bytes() < 2 << 20, "{} bytes", twin.table.bytes());
    // The others let the unit of the many be split further, with its chain.
    (5_000..60_000).for_each(|key| twin.insert(key));
    twin.check_all();
    (0..5_000).step_by(2).for_each(|key| twin.remove(key));
    (0..5_000).step_by(3).for_each(|key| twin.insert(key));
    (0..5_000).step_by(5).for_each(|key| twin.relocate(key));
    (0..5_000).for_each(|key| twin.check(key));
    twin.check_all();
}

#[test]
fn an_empty_table_takes_nothing_and_says_so() {
    let table = Table::new();
    assert_eq!(table.bytes(), size_of::<Table>() as u64);
    assert_eq!(table.find(7, |_| Probe::Same(())), Found::Absent);
    assert_eq!(table.remove(7, |_| Probe::Same(())).old, None);
    assert!(!table.replace(7, at(1), at(2)));
    table.walk(|all, _| panic!("{all:?} in an empty table"));
    assert_eq!(table.len(), 0);
}

#[test]
fn a_small_table_takes_one_small_unit() {
    let mut twin = Twin::new(mix);
    (0..300).for_each(|key| twin.insert(key));
    assert!(twin.table.bytes() < 6 << 10, "{} bytes", twin.table.bytes());
}

#[test]
fn an_unreadable_record_does_not_hide_the_key_behind_it() {
    let table = Table::new();
    (1..=40).for_each(|unit| assert_eq!(table.insert(9, at(unit), |_| Probe::Other).old, None));
    let bad = |found: u64| {
        move |at: Location| match at.unit() {
            unit if unit == found => Probe::Same(()),
            unit if unit % 2 == 1 => Probe::Unreadable,
            _ => Probe::Other,
        }
    };
    assert_eq!(table.find(9, bad(40)), Found::At(at(40)));
    assert_eq!(table.find(9, bad(0)), Found::Unreadable(at(1)));
    assert_eq!(table.find(9, |_| Probe::Other), Found::Absent);
}

#[test]
fn an_unreadable_record_is_neither_replaced_nor_removed() {
    let table = Table::new();
    table.insert(9, at(1), |_| Probe::Other);
    assert_eq!(table.remove(9, |_| Probe::Unreadable).old, None);
    assert_eq!(table.insert(9, at(2), |_| Probe::Unreadable).old, None);
    assert_eq!(table.len(), 2);
}

/// What a key's record is at each moment of a move of `hash` from 1 to 2 that comes when the key is first asked for.
fn moving<'t>(table: &'t Table, hash: u64, first: impl Fn() + 't) -> impl FnMut(Location) -> Probe + 't {
    move |found| match found.unit() {
        1 => {
            first();
            assert!(table.replace(hash, at(1), at(2)));
            Probe::Gone
        }
        2 => Probe::Same(()),
        _ => Probe::Other,
    }
}

#[test]
fn a_record_that_moves_while_it_is_looked_for_is_found_where_it_is() {
    for split in [false, true] {
        let table = Table::new();
        table.insert(9, at(1), |_| Probe::Other);
        let split_unit = || {
            let keys = if split { 3..5_000 } else { 3..4 };
            keys.for_each(|unit| assert_eq!(table.insert(mix(unit), at(unit), |_| Probe::Other).old, None));
        };
        assert_eq!(table.find(9, moving(&table, 9, split_unit)), Found::At(at(2)));
    }
}

#[test]
fn a_record_that_moves_before_it_is_replaced_or_removed_is_not_there_twice() {
    let table = Table::new();
    table.insert(9, at(1), |_| Probe::Other);
    assert_eq!(table.insert(9, at(3), moving(&table, 9, || ())).old, Some(at(2)));
    assert_eq!(table.len(), 1);
    assert_eq!(table.insert(9, at(1), |_| Probe::Same(())).old, Some(at(3)));
    assert_eq!(table.remove(9, moving(&table, 9, || ())).old, Some(at(2)));
    assert_eq!(table.len(), 0);
    assert_eq!(table.find(9, |_| Probe::Same(())), Found::Absent);
}

#[test]
fn a_location_that_leads_nowhere_is_named_at_the_second_sight_and_hides_no_key() {
    let table = Table::new();
    (1..=40).for_each(|unit| assert_eq!(table.insert(9, at(unit), |_| Probe::Other).old, None));
    let seen = AtomicU64::new(0);
    let bad = |found: u64| {
        let seen = &seen;
        move |at: Location| match at.unit() {
            unit if unit == found => Probe::Same(()),
            30 => {
                seen.fetch_add(1, Ordering::Relaxed);
                Probe::Gone
            }
            unit if unit % 2 == 1 => Probe::Unreadable,
            _ => Probe::Other,
        }
    };
    assert_eq!(table.find(9, bad(40)), Found::At(at(40)));
    assert_eq!(seen.swap(0, Ordering::Relaxed), 1);
    assert_eq!(table.find(9, bad(0)), Found::Gone(at(30)));
    assert_eq!(seen.swap(0, Ordering::Relaxed), 2);
    assert_eq!(table.remove(9, bad(0)).old, None);
    assert_eq!(table.insert(9, at(41), bad(0)).old, None);
    assert_eq!(table.len(), 41);
}

#[test]
fn a_mover_changes_nothing_if_the_index_says_another_place() {
    let table = Table::new();
    let same = |unit: u64| move |found: Location| [Probe::Other, Probe::Same(())][usize::from(found == at(unit))];
    table.insert(9, at(1), same(0));
    assert!(!table.replace(9, at(2), at(3)));
    assert!(!table.replace(9 << 38, at(1), at(3)), "another hash");
    assert!(table.replace(9, at(1), at(3)));
    assert_eq!(table.find(9, same(3)), Found::At(at(3)));
    assert_eq!(table.remove(9, same(3)).old, Some(at(3)));
    assert!(!table.replace(9, at(3), at(4)));
    assert_eq!(table.find(9, |_| Probe::Same(())), Found::Absent);
}

#[test]
fn coming_and_going_keys_do_not_grow_a_table() {
    for keys in [350, 20_000] {
        let mut twin = Twin::new(mix);
        (0..keys).for_each(|key| twin.insert(key));
        let mut bytes = Vec::new();
        for turn in 0..30 {
            for key in turn * keys..(turn + 1) * keys {
                twin.remove(key);
                twin.insert(key + keys);
            }
            bytes.push(twin.table.bytes());
        }
        println!("{keys} keys: {bytes:?}");
        assert!(bytes[29] <= bytes[9] * 5 / 4, "{keys} keys: {bytes:?}");
        twin.check_all();
    }
}

#[test]
fn most_keys_are_found_with_one_probe() {
    let mut twin = Twin::new(mix);
    (0..100_000).for_each(|key| twin.insert(key));
    let mut probes = 0_u32;
    for key in 0..200_000 {
        twin.table.find(mix(key), |at| {
            probes += 1;
            Twin::probe(&twin.log, key)(at)
        });
    }
    assert!((100_000..100_100).contains(&probes), "{probes} probes");
}

/// What threads share: a table over a log that may be appended to by each of them.
struct Shared {
    table: Table,
    /// Of unit n + 1: the key in the upper half, its version in the lower.
    log: Vec<AtomicU64>,
    log_len: AtomicU64,
    done: AtomicBool,
}

impl Shared {
    fn new(records: usize) -> Shared {
        Shared {
            table: Table::new(),
            log: (0..records).map(|_| AtomicU64::new(0)).collect(),
            log_len: AtomicU64::new(0),
            done: AtomicBool::new(false),
        }
    }

    /// `None` when the log is full.
    fn append(&self, key: u64, version: u64) -> Option<Location> {
        let n = self.log_len.fetch_add(1, Ordering::Relaxed);
        self.log.get(n as usize)?.store(key << 32 | version, Ordering::Relaxed);
        Some(at(n + 1))
    }

    fn record(&self, at: Location) -> (u64, u64) {
        let record = self.log[at.unit() as usize - 1].load(Ordering::Relaxed);
        (record >> 32, record & 0xffff_ffff)
    }

    fn probe(&self, key: u64) -> impl FnMut(Location) -> Probe + '_ {
        move |at| match self.record(at).0 == key {
            true => Probe::Same(()),
            false => Probe::Other,
        }
    }

    fn get(&self, key: u64) -> Option<Location> {
        match self.table.find(mix(key), self.probe(key)) {
            Found::At(at) => Some(at),
            _ => None,
        }
    }
}

/// Lets the other threads end when the inserter does, also by a panic.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn a_published_key_is_never_missing_while_the_table_grows() {
    const KEYS: u64 = 300_000;
    let shared = Shared::new(KEYS as usize);
    let published = AtomicU64::new(0);
    thread::scope(|scope| {
        for reader in 0..3 {
            let (shared, published) = (&shared, &published);
            scope.spawn(move || {
                let mut random = Random(reader);
                loop {
                    let end = published.load(Ordering::Acquire);
                    let newest = end.saturating_sub(1 + random.below(64));
                    for key in [newest, random.below(end.max(1))].into_iter().filter(|&key| key < end) {
                        assert!(shared.get(key).is_some(), "reader {reader}: key {key} of {end}");
                    }
                    if shared.done.load(Ordering::Acquire) {
                        return;
                    }
                }
            });
        }
        scope.spawn(|| {
            let mut seen = HashSet::new();
            while !shared.done.load(Ordering::Acquire) {
                let stable = published.load(Ordering::Acquire);
                seen.clear();
                shared.table.walk(|all, _| {
                    all.iter().for_each(|at| assert!(seen.insert(*at), "{at:?} is shown twice"));
                    true
                });
                assert!((1..=stable).all(|unit| seen.contains(&at(unit))));
            }
        });
        let _done = Done(&shared.done);
        for key in 0..KEYS {
            let to = shared.append(key, 0).unwrap();
            assert_eq!(shared.table.insert(mix(key), to, shared.probe(key)).old, None);
            published.store(key + 1, Ordering::Release);
        }
    });
}

/// Moves records of random keys until the log is full or the test done; returns how many.
fn move_records(shared: &Shared, seed: u64, keys: u64) -> u64 {
    let mut random = Random(seed);
    let mut moved = 0;
    while !shared.done.load(Ordering::Relaxed) {
        let key = random.below(keys);
        let Some(from) = shared.get(key) else {
            continue;
        };
        let Some(to) = shared.append(key, shared.record(from).1) else {
            break;
        };
        moved += u64::from(shared.table.replace(mix(key), from, to));
    }
    moved
}

#[test]
fn movers_and_the_inserter_do_not_undo_each_other() {
    const KEYS: u64 = 30_000;
    let shared = Shared::new(3_000_000);
    thread::scope(|scope| {
        let movers = [7, 8].map(|seed| {
            scope.spawn({
                let shared = &shared;
                move || move_records(shared, seed, KEYS)
            })
        });
        let reader = scope.spawn(|| {
            let mut newest = vec![0; KEYS as usize];
            let mut random = Random(9);
            while !shared.done.load(Ordering::Relaxed) {
                let key = random.below(KEYS);
                if let Some(at) = shared.get(key) {
                    let version = shared.record(at).1;
                    assert!(version >= newest[key as usize], "key {key} went back to {version}");
                    newest[key as usize] = version;
                }
            }
        });
        let done = Done(&shared.done);
        let mut versions: Vec<u64> = vec![0; KEYS as usize];
        let mut live = vec![false; KEYS as usize];
        let mut random = Random(10);
        for version in 1..=400_000 {
            let key = random.below(KEYS.min(1 + version / 8));
            let before = if random.below(4) == 0 {
                let removed = shared.table.remove(mix(key), shared.probe(key)).old;
                assert_eq!(removed.is_some(), live[key as usize]);
                live[key as usize] = false;
                removed
            } else {
                let Some(to) = shared.append(key, version) else {
                    break;
                };
                let replaced = shared.table.insert(mix(key), to, shared.probe(key)).old;
                assert_eq!(replaced.is_some(), std::mem::replace(&mut live[key as usize], true));
                replaced
            };
            if let Some(before) = before {
                assert_eq!(shared.record(before), (key, versions[key as usize]));
            }
            versions[key as usize] = version;
        }
        drop(done);
        reader.join().unwrap();
        let moved = movers.map(|mover| mover.join().unwrap());
        assert!(moved.iter().sum::<u64>() > 0, "the movers had no turn");
        let mut count = 0;
        for key in 0..KEYS {
            let found = shared.get(key).map(|at| shared.record(at));
            // The version of a removed key is that of its removal.
            let expected = live[key as usize].then_some((key, versions[key as usize]));
            assert_eq!(found, expected);
            count += u64::from(found.is_some());
        }
        assert_eq!(shared.table.len(), count);
    });
}

#[test]
fn keys_hashed_by_either_function_spread_over_the_table() {
    for hasher in [Hasher::rapid([7; 16]), Hasher::sip([7; 16])] {
        let table = Table::new();
        for key in 0..100_000_u64 {
            table.insert(hasher.hash(&key.to_be_bytes()), at(key + 1), |_| Probe::Other);
        }
        let each = table.bytes() as f64 / 100_000.0;
        assert!(each < 32.0, "{each:.1} bytes a key");
    }
}

/// How many bytes a key takes while a table grows to twice as many as `start`: the mean over the logarithm of the size,
/// and the most.
struct Doubling {
    start: u64,
    mean: f64,
    worst: f64,
}

/// The doublings of tables that grow from `start` keys to `end`, of as many sets of keys as there are seeds.
fn doublings(start: u64, end: u64, seeds: u64) -> Vec<Doubling> {
    const SAMPLES: i32 = 35;
    let mut grown: Vec<_> = (0..seeds).map(|_| Table::new()).collect();
    let mut doublings = Vec::new();
    let mut doubling = Doubling { start, mean: 0.0, worst: 0.0 };
    while doubling.start < end {
        for (seed, table) in grown.iter_mut().enumerate() {
            for sample in 1..=SAMPLES {
                let wanted = doubling.start as f64 * 2_f64.powf(f64::from(sample) / f64::from(SAMPLES));
                for key in table.len() + 1..=wanted as u64 {
                    table.insert(mix(key + ((seed as u64) << 40)), at(key), |_| Probe::Other);
                }
                let each = table.bytes() as f64 / table.len() as f64;
                doubling.mean += each / f64::from(SAMPLES) / seeds as f64;
                doubling.worst = doubling.worst.max(each);
            }
        }
        let Doubling { start, mean, worst } = doubling;
        println!("{start:8} keys to twice as many, {seeds} sets: {mean:.2} bytes a key, {worst:.2} at worst");
        doublings.push(doubling);
        doubling = Doubling { start: start * 2, mean: 0.0, worst: 0.0 };
    }
    doublings
}

#[test]
fn a_key_takes_16_bytes_in_the_mean_of_each_doubling_and_24_at_worst() {
    let small = doublings(1_000, 64_000, 20);
    let large = doublings(62_500, 4_000_000, 1);
    for Doubling { start, mean, worst } in small.into_iter().chain(large) {
        // What a table takes beside its units is a part of a byte a key only where there are a few thousand.
        let most = if start < 2_000 { 17.0 } else { 16.0 };
        assert!(mean <= most && worst <= 24.0, "from {start} keys: {mean:.2} bytes a key, {worst:.2} at worst");
    }
}
