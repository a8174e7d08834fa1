//! The rounds in which the engines take turns.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use fastrand::Rng;
use tempfile::TempDir;

use crate::bare::BareLog;
use crate::clock::together;
use crate::common::data::{Key, VALUE_LEN};
use crate::engines::{Engine, KINDS, Kind, Mode, Way, zipcask};
use crate::load;
use crate::options::Options;
use crate::plan::{Mix, VALUE_LENS, WORKS, Work, keys_of};
use crate::raw::TwoMisses;
use crate::runs::{self, Zipf};
use crate::turn::{Task, Turn};
use crate::view::Tally;
use crate::writes;

/// Rounds of a load at most: each makes every store anew.
const LOADS_MAX: usize = 3;

/// Rows that others are held against: the reader's where there is one.
const READER: &str = "zipcask Reader";
const ZIPCASK: &str = "zipcask";

/// What one engine did in one work.
pub(crate) struct Row {
    pub(crate) work: &'static str,
    pub(crate) engine: String,
    /// Nanoseconds an operation, of each round, all threads together.
    pub(crate) ns: Vec<f64>,
    /// Those of the floor in the same rounds; empty if it was left out.
    pub(crate) floor_ns: Vec<f64>,
    /// Those of zipcask, by a reader where there is that way; empty for rows of its own.
    pub(crate) zipcask_ns: Vec<f64>,
}

/// Who takes a turn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// A store, by its place among all of them.
    Store(usize, Way),
    /// A floor that is no engine, named by the work.
    Floor,
}

struct Store {
    kind: &'static Kind,
    engine: Box<dyn Engine>,
}

/// The stores for values of one length, and where they are.
struct Bench<'a> {
    options: &'a Options,
    dir: &'a Path,
    made: u64,
    keys: u64,
    value_len: usize,
    stores: Vec<Store>,
    log: Mutex<BareLog>,
    all: Tally,
    zipf: Zipf,
    misses: Option<TwoMisses>,
}

/// Runs every work that is wanted; stores of one length of values after those of another.
pub(crate) fn run(options: &Options, dir: &Path) -> Vec<Row> {
    let mut rows = Vec::new();
    for value_len in VALUE_LENS {
        let works: Vec<_> =
            WORKS.iter().filter(|work| work.value_len == value_len && options.wants_work(work.name)).collect();
        if works.is_empty() {
            continue;
        }
        let dir = TempDir::new_in(dir).expect("the directory is ours");
        let mut bench = Bench::new(options, dir.path(), value_len, &works);
        if works[0].name != "load" {
            for at in 0..bench.stores.len() {
                bench.load(at);
            }
        }
        rows.extend(works.iter().flat_map(|work| bench.measure(work)));
    }
    rows
}

impl<'a> Bench<'a> {
    /// Makes the stores, empty, of all who take part in one of `works`.
    fn new(options: &'a Options, dir: &'a Path, value_len: usize, works: &[&Work]) -> Bench<'a> {
        let keys = keys_of(value_len, options.keys);
        let log = Mutex::new(BareLog::new(&dir.join("bare.log")));
        let (all, zipf) = (Tally::of(keys), Zipf::new(keys));
        let mut bench =
            Bench { options, dir, made: 0, keys, value_len, stores: Vec::new(), log, all, zipf, misses: None };
        let taking = KINDS.iter().filter(|kind| works.iter().any(|work| (kind.takes)(work)));
        for kind in taking.filter(|kind| options.wants_engine(kind.name)) {
            let engine = bench.open(kind);
            bench.stores.push(Store { kind, engine });
        }
        bench
    }

    /// All sides in turns, in another order each round.
    fn measure(&mut self, work: &'static Work) -> Vec<Row> {
        let rounds = if work.name == "load" { self.options.rounds.min(LOADS_MAX) } else { self.options.rounds };
        eprintln!("{}: {rounds} rounds", work.about);
        let sides = self.sides(work);
        let mut ns = vec![Vec::new(); sides.len()];
        let mut rng = Rng::with_seed(self.options.seed);
        for round in 0..rounds {
            let mut order: Vec<_> = (0..sides.len()).collect();
            rng.shuffle(&mut order);
            for at in order {
                ns[at].push(self.turn(sides[at], work, round));
            }
        }
        let names: Vec<_> = sides.iter().map(|&side| self.name(side, work)).collect();
        let of = |name: &str| names.iter().position(|it| it == name).map_or_else(Vec::new, |at| ns[at].clone());
        let floor_ns = of(work.floor);
        let zipcask_ns =
            [READER, ZIPCASK, zipcask::VISITED].map(of).into_iter().find(|ns| !ns.is_empty()).unwrap_or_default();
        let row = |(engine, ns): (&String, &Vec<f64>)| Row {
            work: work.about,
            engine: engine.clone(),
            ns: ns.clone(),
            floor_ns: floor_ns.clone(),
            zipcask_ns: if engine.starts_with(ZIPCASK) { Vec::new() } else { zipcask_ns.clone() },
        };
        names.iter().zip(&ns).map(row).collect()
    }

    fn sides(&self, work: &Work) -> Vec<Side> {
        let taking = self.stores.iter().enumerate().filter(|(_, store)| (store.kind.takes)(work));
        let stores =
            taking.flat_map(|(at, store)| (store.kind.ways)(work).iter().map(move |&way| Side::Store(at, way)));
        stores.chain(work.has_bare_floor().then_some(Side::Floor)).collect()
    }

    fn name(&self, side: Side, work: &Work) -> String {
        match side {
            Side::Store(at, Way::Plain) => self.stores[at].kind.name.to_owned(),
            Side::Store(_, Way::Reader) => READER.to_owned(),
            Side::Store(at, Way::Visit) => format!("{}, visited", self.stores[at].kind.name),
            Side::Store(_, Way::Many(keys)) => format!("zipcask get_many, {keys}"),
            Side::Floor => work.floor.to_owned(),
        }
    }

    /// One side's turn; returns nanoseconds an operation.
    fn turn(&mut self, side: Side, work: &Work, round: usize) -> f64 {
        let runs = self.runs(work, round);
        let mode = if work.name == "durable" { Mode::Sync } else { Mode::Os };
        let (spent, count) = match (side, work.name) {
            (Side::Store(at, _), "load") => (self.load(at), self.keys as usize),
            (Side::Floor, "load") => (self.load_bare(), self.keys as usize),
            (Side::Floor, "dependent") => (self.follow(&runs[0]), work.count),
            (Side::Floor, "durable") => (writes::puts_bare(&self.log, &runs[..1], round, mode), work.count),
            (Side::Floor, _) => (writes::puts_bare(&self.log, &runs, round, mode), work.count * work.threads),
            (Side::Store(at, _), "os" | "durable") => {
                let engine = &mut self.stores[at].engine;
                engine.prepare(mode);
                (writes::puts(&**engine, &runs, round), work.count * work.threads)
            }
            (Side::Store(at, way), _) => {
                self.stores[at].engine.prepare(mode);
                let spent = self.read(at, way, &runs, |thread| self.task(work, writes::version(round, thread, 0)));
                (spent, if work.count == 0 { self.keys as usize } else { work.count * work.threads })
            }
        };
        if let Side::Store(at, _) = side
            && work.writes_to_the_os()
        {
            self.stores[at].engine.sync();
        }
        spent.as_nanos() as f64 / count as f64
    }

    fn task(&self, work: &Work, version: u64) -> Task<'_> {
        if let (Some(Mix { one_in, .. }), len @ 1..) = (work.mix, work.range_len) {
            return Task::Scans { len, one_in, new: self.keys + version };
        }
        if let Some(mix) = work.mix {
            return Task::Mixed { mix, version };
        }
        match work.name {
            "get" => Task::Found,
            "absent" => Task::Absent,
            "dependent" => Task::Dependent { ids: self.keys },
            "pass" => Task::Pass(self.all),
            "scan" => Task::InOrder(self.all),
            "range" => Task::Ranges { len: work.range_len },
            "ycsb-c" => Task::FoundNewest,
            "large" => Task::Large { value_len: self.value_len },
            name => unreachable!("{name} is no work that reads"),
        }
    }

    /// Each thread warms up on the first half of its keys, and is timed on the other.
    fn read<'t>(&self, at: usize, way: Way, runs: &[Vec<Key>], task: impl Fn(usize) -> Task<'t> + Sync) -> Duration {
        let engine = &*self.stores[at].engine;
        together(runs.len(), |thread, clock| {
            let (warm, keys) = runs[thread].split_at(runs[thread].len() / 2);
            let turn = Turn { task: task(thread), warm, keys, clock, engine };
            if turn.wants_order() { engine.read_in_order(way, &turn) } else { engine.read(way, &turn) }
        })
    }

    /// The floor's index and log are as large as those of zipcask; if that was left out, as large as it should need.
    fn follow(&mut self, keys: &[Key]) -> Duration {
        let stats = self.stores.iter().find_map(|store| store.engine.stats());
        let (index, log) =
            stats.map_or((self.keys * 16, self.keys * 160), |stats| (stats.index_bytes, stats.live_bytes));
        let (path, count) = (self.dir.join("two-misses"), self.keys);
        let misses = &*self.misses.get_or_insert_with(|| TwoMisses::new(&path, count, index, log));
        let (warm, keys) = keys.split_at(keys.len() / 2);
        misses.follow(warm[0].id, warm.len());
        together(1, |_, clock| clock.time(|| misses.follow(keys[0].id, keys.len())))
    }

    /// Makes the store anew and loads it; then every answer is looked at, and every page touched, untimed.
    fn load(&mut self, at: usize) -> Duration {
        let engine = self.open(self.stores[at].kind);
        self.stores[at].engine = engine;
        let spent = load::load(&mut *self.stores[at].engine, self.keys, self.value_len);
        if self.value_len == VALUE_LEN {
            self.read(at, Way::Plain, &[Vec::new()], |_| Task::Pass(self.all));
        } else {
            let keys: Vec<_> = (0..self.keys).map(Key::new).collect();
            self.read(at, Way::Plain, &[keys], |_| Task::Large { value_len: self.value_len });
        }
        spent
    }

    fn load_bare(&mut self) -> Duration {
        let path = self.fresh().join("load.log");
        let spent = load::load_bare(&path, self.keys, self.value_len);
        std::fs::remove_file(path).expect("it is ours");
        spent
    }

    /// The keys of each thread in a round: the same for every side. Writers have no key in common; those of readers are
    /// twice as many as are timed.
    fn runs(&self, work: &Work, round: usize) -> Vec<Vec<Key>> {
        let (count, threads) = (self.keys, work.threads as u64);
        let run = |thread: u64| {
            let mut rng = Rng::with_seed(self.options.seed ^ ((round as u64) << 32) ^ (thread << 8));
            match work.name {
                "absent" => runs::absent(&mut rng, count, 2 * work.count),
                name if name.starts_with("ycsb") => self.zipf.keys(&mut rng, 2 * work.count),
                "get" | "dependent" | "large" | "range" => runs::uniform(&mut rng, count, 2 * work.count),
                _ => runs::of_thread(&mut rng, count, work.count, thread, threads),
            }
        };
        (0..threads).map(run).collect()
    }

    fn open(&mut self, kind: &Kind) -> Box<dyn Engine> {
        let bytes = self.keys * (self.value_len as u64 + 100);
        (kind.open)(&self.fresh(), bytes)
    }

    fn fresh(&mut self) -> PathBuf {
        self.made += 1;
        let path = self.dir.join(self.made.to_string());
        std::fs::create_dir(&path).expect("the directory is ours");
        path
    }
}
