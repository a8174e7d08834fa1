//! The plan: what is measured, with which values, against which floor.

use crate::common::data::VALUE_LEN;

/// One line of the plan.
pub(crate) struct Work {
    /// As `--only` says it.
    pub(crate) name: &'static str,
    pub(crate) value_len: usize,
    pub(crate) threads: usize,
    /// Operations of a thread in a round; 0 for all keys.
    pub(crate) count: usize,
    /// Whose speed is 1.00.
    pub(crate) floor: &'static str,
    /// What is written between the reads, if anything.
    pub(crate) mix: Option<Mix>,
    /// Pairs of a range at most, where ranges are read.
    pub(crate) range_len: usize,
    pub(crate) about: &'static str,
}

/// Writes between reads.
#[derive(Clone, Copy)]
pub(crate) struct Mix {
    /// One operation in so many, the others being gets.
    pub(crate) one_in: usize,
    pub(crate) update: Update,
}

/// What is written then.
#[derive(Clone, Copy)]
pub(crate) enum Update {
    /// A value that does not depend on what is there.
    Blind,
    /// What is made of the value, which is got before; both together are one operation.
    Modify,
    /// A key that is new.
    Insert,
}

/// Floors that are no engines.
const BARE_LOAD: &str = "bare log, one fdatasync";
const BARE_SYNC: &str = "bare pwrite + fdatasync, 1 thread";
const BARE_LOG: &str = "bare log";
const TWO_MISSES: &str = "two bare misses";

const MAP: &str = "HashMap";
const SHARED: &str = "DashMap";
const LMDB: &str = "LMDB (heed 0.22)";

/// Lengths of values, in the order in which the stores are made and measured.
pub(crate) const VALUE_LENS: [usize; 3] = [VALUE_LEN, 4 << 10, 64 << 10];

const fn work(name: &'static str, threads: usize, count: usize, floor: &'static str, about: &'static str) -> Work {
    Work { name, value_len: VALUE_LEN, threads, count, floor, mix: None, range_len: 0, about }
}

const fn large(value_len: usize, about: &'static str) -> Work {
    Work { value_len, ..work("large", 1, 20_000, MAP, about) }
}

const fn mixed(name: &'static str, one_in: usize, update: Update, about: &'static str) -> Work {
    Work { mix: Some(Mix { one_in, update }), ..work(name, 2, 50_000, SHARED, about) }
}

const fn ranges(name: &'static str, threads: usize, count: usize, mix: Option<Mix>, about: &'static str) -> Work {
    Work { mix, range_len: 100, ..work(name, threads, count, LMDB, about) }
}

/// Those that read come before those that write, which leave logs longer and trees split.
pub(crate) const WORKS: &[Work] = &[
    work("load", 1, 0, BARE_LOAD, "load, batches of 1,000, one sync at the end"),
    work("get", 1, 100_000, MAP, "random get, 1 thread"),
    work("get", 2, 100_000, MAP, "random get, 2 threads"),
    work("dependent", 1, 100_000, TWO_MISSES, "dependent get, 1 thread"),
    work("absent", 1, 100_000, MAP, "get of absent keys, 1 thread"),
    work("absent", 2, 100_000, MAP, "get of absent keys, 2 threads"),
    work("pass", 1, 0, MAP, "full pass over all keys"),
    work("scan", 1, 0, LMDB, "full pass in the order of the keys"),
    ranges("range", 1, 1_000, None, "range of 100 keys, 1 thread"),
    work("ycsb-c", 2, 50_000, SHARED, "YCSB C, 2 threads"),
    mixed("ycsb-b", 20, Update::Blind, "YCSB B (5 % updates, OS), 2 threads"),
    mixed("ycsb-a", 2, Update::Blind, "YCSB A (50 % updates, OS), 2 threads"),
    mixed("ycsb-f", 2, Update::Modify, "YCSB F (50 % read-modify-write, OS), 2 threads"),
    ranges(
        "ycsb-e",
        2,
        1_000,
        Some(Mix { one_in: 20, update: Update::Insert }),
        "YCSB E (ranges of 1 to 100, 5 % inserts, OS), 2 threads",
    ),
    work("os", 1, 10_000, BARE_LOG, "single writes to the OS, 1 thread"),
    work("os", 2, 5_000, BARE_LOG, "single writes to the OS, 2 threads"),
    work("os", 4, 2_500, BARE_LOG, "single writes to the OS, 4 threads"),
    work("durable", 1, 80, BARE_SYNC, "single durable writes, 1 thread"),
    work("durable", 4, 40, BARE_SYNC, "single durable writes, 4 threads"),
    work("durable", 16, 20, BARE_SYNC, "single durable writes, 16 threads"),
    large(VALUE_LENS[1], "get of values of 4 KiB, 1 thread"),
    large(VALUE_LENS[2], "get of values of 64 KiB, 1 thread"),
];

impl Work {
    /// Whether it is a read that nothing is written beside.
    pub(crate) fn reads_only(&self) -> bool {
        matches!(self.name, "get" | "dependent" | "absent" | "pass" | "scan" | "range" | "large" | "ycsb-c")
    }

    /// Whether it is asked only of those that have an order.
    pub(crate) fn wants_order(&self) -> bool {
        matches!(self.name, "scan" | "range" | "ycsb-e")
    }

    /// Whether single writes are handed to the operating system, with reads between them or without.
    pub(crate) fn writes_to_the_os(&self) -> bool {
        self.name == "os" || self.mix.is_some()
    }

    /// Whether its floor is no engine, and takes a turn of its own.
    pub(crate) fn has_bare_floor(&self) -> bool {
        [BARE_LOAD, BARE_SYNC, BARE_LOG, TWO_MISSES].contains(&self.floor)
    }
}

/// Keys in stores of such values, if those of small ones have `keys`: values of 4 KiB and of 64 KiB take as much room, about
/// twice that of the small ones.
pub(crate) fn keys_of(value_len: usize, keys: u64) -> u64 {
    if value_len == VALUE_LEN { keys } else { keys * 256 / value_len as u64 }
}
