//! Schedules of a table of several units that grows under four threads: an inserter, a mover and two readers.
//!
//! Larger than loom can hold, and drawn at random instead of all. Units are as small as in loom's models: two slots a
//! bucket, one or two buckets a unit. shuttle knows no weak memory, so orderings are loom's matter.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner, thread};

use crate::address::Location;
use crate::index::table::{Found, Probe, Table};
use crate::model::{self, Flaw};

const SEED: u64 = 0x7a69_7063_6173_6b00;
const KEYS: usize = 16;
/// Of each kind.
const SCHEDULES: usize = 30_000;
const OPERATIONS: usize = 20;
const RECORDS: usize = KEYS + 2 * OPERATIONS;

/// Some share their home, some their unit, and the last three the whole hash.
fn hash(key: usize) -> u64 {
    let number = key.min(KEYS - 3) as u64;
    number.reverse_bits() ^ number / 5
}

fn at(unit: usize) -> Location {
    Location::from_unit(unit as u64).unwrap()
}

/// A table and its log. What is beside the table is seen by all at once: it switches no thread.
struct Shared {
    table: Table,
    /// Of unit n + 1: its key.
    log: [AtomicU64; RECORDS],
    log_len: AtomicU64,
    /// Of unit n + 1: whether the table named it and never will again.
    dead: [AtomicBool; RECORDS],
    /// Of each key: an even number while it is there and nobody removes it, and another after each change of that.
    absence: [AtomicU64; KEYS],
}

impl Shared {
    /// A table with the first half of the keys.
    fn new() -> Shared {
        let shared = Shared {
            table: Table::new(),
            log: [const { AtomicU64::new(0) }; RECORDS],
            log_len: AtomicU64::new(0),
            dead: [const { AtomicBool::new(false) }; RECORDS],
            absence: [const { AtomicU64::new(1) }; KEYS],
        };
        (0..KEYS / 2).for_each(|key| shared.put(key));
        shared
    }

    fn append(&self, key: usize) -> Location {
        let n = self.log_len.fetch_add(1, Ordering::Relaxed) as usize;
        self.log[n].store(key as u64, Ordering::Relaxed);
        at(n + 1)
    }

    fn probe(&self, key: usize) -> impl FnMut(Location) -> Probe + '_ {
        move |at| match self.log[at.unit() as usize - 1].load(Ordering::Relaxed) == key as u64 {
            true => Probe::Same(()),
            false => Probe::Other,
        }
    }

    fn absence(&self, key: usize) -> u64 {
        self.absence[key].load(Ordering::Relaxed)
    }

    /// Notes that the table never names this place again.
    fn bury(&self, at: Location) {
        let twice = self.dead[at.unit() as usize - 1].swap(true, Ordering::Relaxed);
        assert!(!twice, "{at:?} was given up twice");
    }

    fn dead(&self) -> [bool; RECORDS] {
        std::array::from_fn(|n| self.dead[n].load(Ordering::Relaxed))
    }

    /// The inserter's.
    fn put(&self, key: usize) {
        let to = self.append(key);
        let before = self.table.insert(hash(key), to, self.probe(key)).old;
        assert_eq!(before.is_some(), self.absence(key) % 2 == 0, "put {key}");
        match before {
            Some(before) => self.bury(before),
            None => {
                self.absence[key].fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The inserter's.
    fn remove(&self, key: usize) {
        let there = self.absence(key) % 2 == 0;
        if there {
            self.absence[key].fetch_add(1, Ordering::Relaxed);
        }
        let before = self.table.remove(hash(key), self.probe(key)).old;
        assert_eq!(before.is_some(), there, "remove {key}");
        before.into_iter().for_each(|before| self.bury(before));
    }

    /// Checks that what it finds was true at some moment of this call.
    fn get(&self, key: usize) -> Option<Location> {
        let (dead, absence) = (self.dead(), self.absence(key));
        match self.table.find(hash(key), self.probe(key)) {
            Found::At(at) => {
                assert!(!dead[at.unit() as usize - 1], "key {key} is found at {at:?}, given up before");
                Some(at)
            }
            Found::Absent => {
                let stayed = absence % 2 == 0 && self.absence(key) == absence;
                assert!(!stayed, "key {key} is missing");
                None
            }
            Found::Unreadable(at) | Found::Gone(at) => panic!("{at:?} is unreadable"),
        }
    }

    fn relocate(&self, key: usize) {
        let Some(from) = self.get(key) else { return };
        let to = self.append(key);
        if self.table.replace(hash(key), from, to) {
            self.bury(from);
        } else {
            self.bury(to);
            assert_ne!(self.get(key), Some(from), "not moved, though it stays");
        }
    }

    /// Once all threads have ended: the table names just what it should.
    fn check(&self) {
        let mut live = [0; KEYS];
        self.table.walk(|all, _| {
            for at in all {
                assert!(!self.dead()[at.unit() as usize - 1], "{at:?} was given up");
                live[self.log[at.unit() as usize - 1].load(Ordering::Relaxed) as usize] += 1;
            }
            true
        });
        for (key, live) in live.into_iter().enumerate() {
            assert_eq!(live, 1 - self.absence(key) % 2, "key {key}");
            self.get(key);
        }
        assert_eq!(self.table.len(), live.into_iter().sum::<u64>());
    }
}

fn below(end: usize) -> usize {
    thread_rng().gen_range(0..end)
}

fn reader(shared: &Shared) {
    shared.get(below(KEYS));
}

fn four_threads() {
    let shared = Arc::new(Shared::new());
    let spawn = |work: fn(&Shared)| {
        let shared = Arc::clone(&shared);
        thread::spawn(move || (0..OPERATIONS).for_each(|_| work(&shared)))
    };
    let threads = [
        spawn(|shared| match below(4) {
            0 => shared.remove(below(KEYS)),
            _ => shared.put(below(KEYS)),
        }),
        spawn(|shared| shared.relocate(below(KEYS))),
        spawn(reader),
        spawn(reader),
    ];
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    shared.check();
}

fn run(planted: Option<Flaw>, scheduler: impl Scheduler + 'static) {
    println!("seed {SEED:#x}");
    model::plant(planted);
    Runner::new(scheduler, Config::new()).run(four_threads);
}

fn random(planted: Option<Flaw>) {
    run(planted, RandomScheduler::new_from_seed(SEED, SCHEDULES));
}

/// Few changes of thread, at the worst places: what needs at most three to go wrong is found soon.
fn three_deep(planted: Option<Flaw>) {
    run(planted, PctScheduler::new_from_seed(SEED, 3, SCHEDULES));
}

#[test]
fn random_schedules_lose_nothing() {
    random(None);
}

#[test]
fn schedules_three_deep_lose_nothing() {
    three_deep(None);
}

#[test]
#[should_panic]
fn copying_without_freezing_is_noticed() {
    random(Some(Flaw::NoFreeze));
}

#[test]
#[should_panic]
fn copying_without_freezing_is_noticed_three_deep() {
    three_deep(Some(Flaw::NoFreeze));
}

#[test]
#[should_panic]
fn replacing_blindly_is_noticed() {
    random(Some(Flaw::ReplacedBlindly));
}

#[test]
#[should_panic]
fn taking_frozen_for_changed_is_noticed() {
    random(Some(Flaw::FrozenIsChanged));
}

#[test]
#[should_panic]
fn rebuilding_a_reach_in_place_is_noticed() {
    random(Some(Flaw::ReachRebuiltInPlace));
}
