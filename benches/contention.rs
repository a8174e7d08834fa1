//! What writes cost those who wait for something else: how long the growth of the index holds up an insert, and how a
//! writer slows a reader.
//!
//! All writes are to the operating system (`Durability::Os`); the stores of the first part are in memory.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod common;
#[path = "common/store.rs"]
mod store;

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::data::{Key, check, mix, value};
use common::figures::Figures;
use common::{Scale, timed};
use store::{load, store};
use zipcask::{Db, Durability, Options, PutOptions};

fn main() {
    let scale = Scale::new("contention: pauses of writers, readers beside a writer", 1_000_000);
    pauses(&scale);
    beside_a_writer(&scale);
}

/// The processor time of each put, of new keys and then of the same again, and of the clock alone.
fn pauses(scale: &Scale) {
    let rounds = scale.of(500).div_ceil(100);
    let (mut new, mut again, mut nothing) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds as u64 {
        let db = Options::new().durability(Durability::Os).open_in_memory().expect("a store in memory opens");
        let keys: Vec<_> = (0..scale.keys).map(|id| Key::new(round << 32 | id)).collect();
        let puts = |version: u64| {
            each_timed(&keys, |key| {
                db.put(key.as_bytes(), value(key.id, version)).expect("a put is taken");
            })
        };
        new.push(puts(0));
        assert_eq!(db.len(), scale.keys, "every key is there");
        again.push(puts(1));
        for key in &keys {
            let found = db.get(key.as_bytes()).expect("a get does not fail").expect("a key that was put");
            assert_eq!(check(key.id, &found), 1, "the last write wins");
        }
        nothing.push(each_timed(&keys, |key| assert!(key.id >> 32 == round)));
    }
    println!("Processor time of single puts in microseconds, {} keys: median, p99.99, longest.", scale.keys);
    println!("Each over {rounds} rounds, new stores: median [p5 .. p95].");
    for (name, rounds) in [("put of a new key", new), ("overwrite", again), ("reading the clock", nothing)] {
        let column = |at: usize| Figures::of(&rounds.iter().map(|round| round[at]).collect::<Vec<_>>());
        let [median, most, longest] = [0, 1, 2].map(column);
        let spread = |it: Figures| format!("{:.2} [{:.2} .. {:.2}]", it.median, it.p5, it.p95);
        println!("{name:<20} {}   {}   {}", spread(median), spread(most), spread(longest));
    }
}

/// Median, p99.99 and the longest of what `f` takes for each key, in microseconds.
fn each_timed(keys: &[Key], mut f: impl FnMut(&Key)) -> [f64; 3] {
    let mut spent: Vec<_> = keys
        .iter()
        .map(|key| {
            let start = processor_ns();
            f(key);
            processor_ns() - start
        })
        .collect();
    spent.sort_unstable();
    let at = |part: f64| spent[(part * (spent.len() - 1) as f64) as usize] as f64 / 1_000.0;
    [at(0.5), at(0.999_9), at(1.0)]
}

/// Nanoseconds that this thread has been running: what the system gives to others meanwhile does not count.
fn processor_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock's number is one that every Unix knows, and the call writes to a `timespec` of ours only.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(status, 0, "the thread has a clock");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A reader alone, beside a writer to the same store, and beside a writer to another one, which costs memory and processor
/// as much and shares nothing else. Beside the writer to its own store the reader also meets records that were written a
/// moment ago, and that nobody has touched in the mapping.
fn beside_a_writer(scale: &Scale) {
    let ((_dir, db), (_other_dir, other)) = (store(), store());
    load(&db, scale.keys);
    load(&other, scale.keys);
    let run = |round: u64| -> Vec<Key> {
        (0..scale.of(200_000) as u64).map(|at| Key::new(mix(round << 32 | at) % scale.keys)).collect()
    };
    let read = |round| {
        let (run, mut reader) = (run(round), db.reader());
        timed(|| {
            run.iter().for_each(|key| found(key, reader.get(key.as_bytes())));
            reader.refresh();
        })
    };
    let get = |round| {
        let run = run(round);
        timed(|| run.iter().for_each(|key| found(key, db.get(key.as_bytes()).as_ref().map(Option::as_deref))))
    };
    let writes = Writes::default();
    scale.ratio(
        "Reader::get beside a writer / alone",
        51,
        |round| writes.beside(&db, scale.keys, || read(round)),
        read,
    );
    scale.ratio("Db::get beside a writer / alone", 51, |round| writes.beside(&db, scale.keys, || get(round)), get);
    println!("{:<58} {:>6.2} million a second", "the writer's puts meanwhile", writes.millions_a_second());
    let writes = Writes::default();
    scale.ratio(
        "Reader::get beside a writer / beside one of another store",
        51,
        |round| writes.beside(&db, scale.keys, || read(round)),
        |round| writes.beside(&other, scale.keys, || read(round)),
    );
}

fn found<E: std::fmt::Debug>(key: &Key, found: Result<Option<&[u8]>, E>) {
    check(key.id, found.expect("a get does not fail").expect("a key that was loaded"));
}

/// Ends a writer, even where its reader panics.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What writers did.
#[derive(Default)]
struct Writes {
    count: AtomicU64,
    ns: AtomicU64,
}

impl Writes {
    /// Runs `f` while a writer overwrites keys of `db` without a pause.
    fn beside(&self, db: &Db, keys: u64, f: impl FnOnce() -> Duration) -> Duration {
        let (gate, done) = (Barrier::new(2), AtomicBool::new(false));
        let os = PutOptions::new().durability(Durability::Os);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut at = self.count.load(Ordering::Relaxed);
                gate.wait();
                let spent = timed(|| {
                    while !done.load(Ordering::Relaxed) {
                        at += 1;
                        let id = mix(at) % keys;
                        db.put_with(Key::new(id).as_bytes(), value(id, at), os).expect("a put is taken");
                    }
                });
                self.count.store(at, Ordering::Relaxed);
                self.ns.fetch_add(spent.as_nanos() as u64, Ordering::Relaxed);
            });
            gate.wait();
            let _stop = Stop(&done);
            f()
        })
    }

    fn millions_a_second(&self) -> f64 {
        self.count.load(Ordering::Relaxed) as f64 * 1e3 / self.ns.load(Ordering::Relaxed) as f64
    }
}
