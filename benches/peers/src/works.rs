//! The works, and the rounds in which the engines take turns.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tempfile::TempDir;

use crate::bare::{self, BareLog};
use crate::data::{self, Zipf};
use crate::engines::{Engine, Floor, KINDS, Kind, Mode};
use crate::options::Options;
use crate::values::{Key, check, value};

/// One line of the plan.
pub(crate) struct Work {
    /// As `--only` says it.
    pub(crate) name: &'static str,
    threads: usize,
    /// Operations of a thread in a round; 0 for all keys.
    count: usize,
    /// Whose speed is 1.00.
    floor: &'static str,
    about: &'static str,
}

const BARE_LOAD: &str = "bare log, one fdatasync";
const BARE_SYNC: &str = "bare pwrite + fdatasync, 1 thread";
const BARE_LOG: &str = "bare log";

#[rustfmt::skip]
pub(crate) const WORKS: &[Work] = &[
    Work { name: "load", threads: 1, count: 0, floor: BARE_LOAD, about: "load, batches of 1,000, one sync at the end" },
    Work { name: "get", threads: 1, count: 100_000, floor: "HashMap", about: "random get, 1 thread" },
    Work { name: "get", threads: 2, count: 100_000, floor: "DashMap", about: "random get, 2 threads" },
    Work { name: "absent", threads: 1, count: 100_000, floor: "HashMap", about: "get of absent keys, 1 thread" },
    Work { name: "absent", threads: 2, count: 100_000, floor: "DashMap", about: "get of absent keys, 2 threads" },
    Work { name: "ycsb-b", threads: 2, count: 50_000, floor: "DashMap", about: "YCSB B (5 % updates, OS), 2 threads" },
    Work { name: "ycsb-c", threads: 2, count: 50_000, floor: "DashMap", about: "YCSB C, 2 threads" },
    Work { name: "pass", threads: 1, count: 0, floor: "HashMap", about: "full pass over all keys" },
    Work { name: "os", threads: 1, count: 10_000, floor: BARE_LOG, about: "single writes to the OS, 1 thread" },
    Work { name: "os", threads: 2, count: 5_000, floor: BARE_LOG, about: "single writes to the OS, 2 threads" },
    Work { name: "durable", threads: 1, count: 80, floor: BARE_SYNC, about: "single durable writes, 1 thread" },
    Work { name: "durable", threads: 4, count: 40, floor: BARE_SYNC, about: "single durable writes, 4 threads" },
    Work { name: "durable", threads: 16, count: 20, floor: BARE_SYNC, about: "single durable writes, 16 threads" },
];

/// Keys in a batch of a load.
const BATCH: u64 = 1_000;

/// Rounds of a load at most: each makes every store anew.
const LOADS_MAX: usize = 5;

/// What one engine did in one work.
pub(crate) struct Row {
    pub(crate) work: &'static str,
    pub(crate) engine: &'static str,
    /// Nanoseconds an operation, of each round, all threads together.
    pub(crate) ns: Vec<f64>,
    /// Those of the floor in the same rounds; empty if it was left out.
    pub(crate) floor_ns: Vec<f64>,
    /// Those of zipcask.
    pub(crate) zipcask_ns: Vec<f64>,
}

struct Store {
    kind: &'static Kind,
    engine: Box<dyn Engine>,
}

/// All stores, and where they are.
pub(crate) struct Bench<'a> {
    options: &'a Options,
    dir: TempDir,
    made: u64,
    stores: Vec<Store>,
    log: Mutex<BareLog>,
    zipf: Zipf,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(options: &'a Options) -> Bench<'a> {
        std::fs::create_dir_all(&options.dir).expect("the directory for the stores is made");
        let dir = tempfile::Builder::new().prefix("peers-").tempdir_in(&options.dir).expect("a directory of our own");
        let log = Mutex::new(BareLog::new(&dir.path().join("bare.log")));
        let mut bench = Bench { options, dir, made: 0, stores: Vec::new(), log, zipf: Zipf::new(options.keys) };
        for kind in KINDS.iter().filter(|kind| options.wants(kind.name)) {
            let engine = (kind.open)(&bench.fresh(), options.keys);
            bench.stores.push(Store { kind, engine });
        }
        bench
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Runs every work that is wanted. The last load is what the others work on.
    pub(crate) fn run(&mut self) -> Vec<Row> {
        let mut rows = Vec::new();
        for work in WORKS {
            let wanted = self.options.only.as_ref().is_none_or(|only| work.name == only);
            let rounds = match (wanted, work.name) {
                (true, "load") => self.options.rounds.min(LOADS_MAX),
                (true, _) => self.options.rounds,
                (false, "load") => 1,
                (false, _) => continue,
            };
            let measured = self.measure(work, rounds);
            if wanted {
                rows.extend(measured);
            }
        }
        rows
    }

    /// All engines and the bare floor in turns, each round beginning with another one.
    fn measure(&mut self, work: &'static Work, rounds: usize) -> Vec<Row> {
        eprintln!("{}: {rounds} rounds", work.about);
        let bare = matches!(work.name, "load" | "os" | "durable");
        let turns = self.stores.len() + usize::from(bare);
        let mut ns = vec![Vec::new(); turns];
        for round in 0..rounds {
            for turn in 0..turns {
                let at = (turn + round) % turns;
                if at == self.stores.len() {
                    ns[at].push(self.bare_turn(work, round));
                } else if takes(&*self.stores[at].engine, work) {
                    ns[at].push(self.turn(at, work, round));
                }
            }
        }
        let names = self.stores.iter().map(|store| store.kind.name).chain(bare.then_some(work.floor));
        let named: Vec<_> = names.zip(ns).filter(|(_, ns)| !ns.is_empty()).collect();
        let of =
            |name: &str| named.iter().find(|(named, _)| *named == name).map_or_else(Vec::new, |(_, ns)| ns.clone());
        let (floor_ns, zipcask_ns) = (of(work.floor), of("zipcask"));
        let row = |(engine, ns)| Row {
            work: work.about,
            engine,
            ns,
            floor_ns: floor_ns.clone(),
            zipcask_ns: zipcask_ns.clone(),
        };
        named.iter().cloned().map(row).collect()
    }

    /// One engine's turn; returns nanoseconds an operation.
    fn turn(&mut self, at: usize, work: &Work, round: usize) -> f64 {
        if work.name == "load" {
            return self.load(at);
        }
        let runs = self.runs(work, round);
        let store = &mut self.stores[at];
        store.engine.prepare(if work.name == "durable" { Mode::Sync } else { Mode::Os });
        let engine = &*store.engine;
        let spent = match work.name {
            "get" => timed(&runs, |_, run| {
                engine.get_all(run, &mut |key, found| {
                    check(key.id, found.expect("a key that was loaded"));
                });
            }),
            "absent" => timed(&runs, |_, run| {
                engine.get_all(run, &mut |key, found| assert!(found.is_none(), "key {} was never written", key.id));
            }),
            "pass" => pass(engine, self.options.keys),
            "ycsb-b" => timed(&runs, |thread, run| mixed(engine, run, version(round, thread, 0))),
            "ycsb-c" => timed(&runs, |_, run| {
                for key in run {
                    engine.get(key.as_bytes(), &mut |found| {
                        check(key.id, found.expect("a key that was loaded"));
                    });
                }
            }),
            _ => puts(engine, &runs, round),
        };
        if matches!(work.name, "ycsb-b" | "os") {
            store.engine.sync();
        }
        let count = if work.name == "pass" { self.options.keys as usize } else { work.count * work.threads };
        spent.as_nanos() as f64 / count as f64
    }

    /// The turn of the floor that is no engine.
    fn bare_turn(&mut self, work: &Work, round: usize) -> f64 {
        if work.name == "load" {
            let path = self.fresh().join("load.log");
            let spent = load_bare(&path, batches(self.options.keys));
            std::fs::remove_file(path).expect("it is ours");
            return spent.as_nanos() as f64 / self.options.keys as f64;
        }
        let (mut runs, durable) = (self.runs(work, round), work.name == "durable");
        if durable {
            runs.truncate(1);
        }
        let spent = timed(&runs, |thread, run| {
            for (at, key) in run.iter().enumerate() {
                let value = value(key.id, version(round, thread, at));
                let mut log = self.log.lock().expect("nobody panicked");
                log.append([(key.as_bytes(), &value[..])].into_iter());
                if durable {
                    log.sync();
                }
            }
        });
        self.log.lock().expect("nobody panicked").sync();
        spent.as_nanos() as f64 / (work.count * runs.len()) as f64
    }

    /// Makes the store anew and loads it; only the engine's calls are timed.
    fn load(&mut self, at: usize) -> f64 {
        let keys = self.options.keys;
        let engine = (self.stores[at].kind.open)(&self.fresh(), keys);
        let store = &mut self.stores[at];
        store.engine = engine;
        let mut spent = Duration::ZERO;
        for batch in batches(keys) {
            let start = Instant::now();
            store.engine.batch(&batch);
            spent += start.elapsed();
        }
        let start = Instant::now();
        store.engine.sync();
        spent += start.elapsed();
        pass(&*store.engine, keys);
        spent.as_nanos() as f64 / keys as f64
    }

    /// The keys of each thread in a round: the same for every engine. Writers have no key in common.
    fn runs(&self, work: &Work, round: usize) -> Vec<Vec<Key>> {
        let (count, threads) = (self.options.keys, work.threads as u64);
        let run = |thread: u64| {
            let mut rng = Rng::with_seed(self.options.seed ^ ((round as u64) << 32) ^ (thread << 8));
            match work.name {
                "absent" => data::absent(&mut rng, count, work.count),
                "ycsb-b" | "ycsb-c" => self.zipf.keys(&mut rng, work.count),
                "get" => data::uniform(&mut rng, count, work.count),
                _ => data::uniform(&mut rng, count / threads, work.count)
                    .iter()
                    .map(|key| Key::new(key.id * threads + thread))
                    .collect(),
            }
        };
        (0..threads).map(run).collect()
    }

    fn fresh(&mut self) -> PathBuf {
        self.made += 1;
        let path = self.dir.path().join(self.made.to_string());
        std::fs::create_dir(&path).expect("the directory is ours");
        path
    }
}

fn takes(engine: &dyn Engine, work: &Work) -> bool {
    match engine.floor() {
        None => true,
        Some(_) if work.name == "load" => true,
        Some(_) if matches!(work.name, "os" | "durable") => false,
        Some(Floor::Alone) => work.threads == 1,
        Some(Floor::Shared) => work.threads > 1,
    }
}

/// A number that no other write of this process has, and never 0, which the load writes.
fn version(round: usize, thread: usize, at: usize) -> u64 {
    1 + ((round as u64) << 40) + ((thread as u64) << 32) + at as u64
}

fn batches(keys: u64) -> impl Iterator<Item = Vec<(Key, [u8; 100])>> {
    let batch = move |from: u64| (from..keys.min(from + BATCH)).map(|id| (Key::new(id), value(id, 0))).collect();
    (0..keys).step_by(BATCH as usize).map(batch)
}

/// Writes batches to a new file, one call each, and syncs it.
fn load_bare(path: &Path, batches: impl Iterator<Item = Vec<(Key, [u8; 100])>>) -> Duration {
    let file = File::create_new(path).expect("the floor's file is made");
    let (mut spent, mut bytes) = (Duration::ZERO, Vec::new());
    for batch in batches {
        let start = Instant::now();
        bytes.clear();
        for (key, value) in &batch {
            bare::encode(&mut bytes, key.as_bytes(), value);
        }
        (&file).write_all(&bytes).expect("the floor writes");
        spent += start.elapsed();
    }
    let start = Instant::now();
    file.sync_data().expect("the floor syncs");
    spent + start.elapsed()
}

/// From the first thread's start to the last one's end.
fn timed(runs: &[Vec<Key>], f: impl Fn(usize, &[Key]) + Sync) -> Duration {
    if let [run] = runs {
        let start = Instant::now();
        f(0, run);
        return start.elapsed();
    }
    let gate = Barrier::new(runs.len());
    let one = |thread: usize| {
        gate.wait();
        let start = Instant::now();
        f(thread, &runs[thread]);
        (start, Instant::now())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..runs.len()).map(|thread| scope.spawn(move || one(thread))).collect();
        let spans: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("the answers are right")).collect();
        let start = spans.iter().map(|span| span.0).min().expect("a thread at least");
        let end = spans.iter().map(|span| span.1).max().expect("a thread at least");
        end - start
    })
}

/// Shows every key once, with its value.
fn pass(engine: &dyn Engine, keys: u64) -> Duration {
    let (mut seen, mut sum) = (0_u64, 0_u64);
    let start = Instant::now();
    engine.pass(&mut |key, value| {
        let id = u64::from_le_bytes(value[..8].try_into().expect("eight bytes"));
        check(id, value);
        assert_eq!(key, Key::new(id).as_bytes(), "a key with the value of another");
        seen += 1;
        sum ^= crate::values::mix(id);
    });
    let spent = start.elapsed();
    let all = (0..keys).fold(0, |sum, id| sum ^ crate::values::mix(id));
    assert_eq!((seen, sum), (keys, all), "a pass shows each key once");
    spent
}

/// Nineteen gets and one put, over and over.
fn mixed(engine: &dyn Engine, run: &[Key], version: u64) {
    for (at, key) in run.iter().enumerate() {
        if at % 20 == 19 {
            engine.put(key.as_bytes(), &value(key.id, version + at as u64));
        } else {
            engine.get(key.as_bytes(), &mut |found| {
                check(key.id, found.expect("a key that was loaded"));
            });
        }
    }
}

/// Single puts; afterwards every key must have the last value that was put.
fn puts(engine: &dyn Engine, runs: &[Vec<Key>], round: usize) -> Duration {
    let spent = timed(runs, |thread, run| {
        for (at, key) in run.iter().enumerate() {
            engine.put(key.as_bytes(), &value(key.id, version(round, thread, at)));
        }
    });
    for (thread, run) in runs.iter().enumerate() {
        let last: HashMap<_, _> = (0..).zip(run).map(|(at, key)| (key.id, version(round, thread, at))).collect();
        for key in run {
            let mut found = None;
            engine.get(key.as_bytes(), &mut |value| found = value.map(|value| check(key.id, value)));
            assert_eq!(found, last.get(&key.id).copied(), "key {} has another value than the last", key.id);
        }
    }
    spent
}
