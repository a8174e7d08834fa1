//! Schedules of the whole store, on the simulated disk: writers, transactions, readers, jobs and a reader of the feed at once, and then a
//! power cut.
//!
//! Each lock, each wait and each atomic that a model knows is a place where shuttle may change threads. It knows no weak memory, so
//! orderings are loom's matter; and the index has units as small as in loom's models.

use std::cell::Cell;
use std::io::Write;
use std::panic::catch_unwind;
use std::sync::{Arc, Mutex};

use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner, thread};

use crate::db::snapshot::Snapshot;
use crate::model::{self, Flaw};
use crate::reclaim::pin;
use crate::sabotage::{self, Sabotage};
use crate::sim::{Random, SimDisk};
use crate::{Db, KeyspaceOptions, Options};

const SEED: u64 = 0x7a69_7063_6173_6b01;
/// Of each kind; `ZIPCASK_SCHEDULES` asks for more.
const SCHEDULES: usize = 2_000;
/// Of the disk: so long that a schedule fills some.
const SEGMENT: u64 = 4096;
/// Batches of the writer of pairs.
const PAIRS: u64 = 4;
/// What there is of something, and how often each of two threads tries to take one of it: more often than there is.
const STOCK: u64 = 4;
const TRIES: u64 = 3;
/// Jobs of one thread.
const JOBS: u64 = 3;
/// Bytes of a value, most of them zeros.
const LEN: usize = 300;
/// Images of a power cut at the end.
const IMAGES: usize = 4;
/// Bytes of a thread's stack: shuttle's own are for less than a store.
const STACK_LEN: usize = 1 << 20;

std::thread_local! {
    /// How many writes were acknowledged, and how many images of power cuts opened. The threads of a schedule are coroutines on the thread
    /// of its test.
    static DONE: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// A store, and what was acknowledged: from which position of the disk on, which key has at least which number.
struct Shared {
    disk: SimDisk,
    db: Db,
    acknowledged: Mutex<Vec<(usize, &'static str, u64)>>,
    /// The last pair that the consumer of the feed has seen.
    consumed: Mutex<u64>,
}

/// In their order.
const KEYS: [&str; 5] = ["count", "left", "mine", "right", "yours"];

fn value(number: u64) -> Vec<u8> {
    let mut value = vec![0; LEN];
    value[..8].copy_from_slice(&number.to_le_bytes());
    value
}

fn number(value: &[u8]) -> u64 {
    u64::from_le_bytes(value[..8].try_into().unwrap())
}

fn open(disk: &SimDisk) -> Db {
    let ordered = KeyspaceOptions::new().ordered(true);
    let options = Options::new().background(false).default_keyspace(ordered);
    crate::sim::open(options, SEGMENT, Arc::new(disk.clone())).unwrap()
}

/// What must be so at every moment; how many pairs there were, and how much was taken by each, and was counted.
fn check(snapshot: &Snapshot, db: &Db) -> [u64; 4] {
    let all = KEYS.map(|key| number(&snapshot.get(db, key).unwrap().unwrap()));
    let [count, left, mine, right, yours] = all;
    assert_eq!(left, right, "half of a batch");
    assert!(mine + yours <= STOCK, "more was taken than there was");
    assert!(count <= mine + yours, "{count} of {mine} and {yours} that were taken were counted");
    let scanned: Vec<u64> = snapshot.range::<&[u8]>(db, ..).unwrap().map(|pair| number(&pair.unwrap().1)).collect();
    assert_eq!(scanned, all, "a scan shows other values than gets do");
    [left, mine, yours, count]
}

impl Shared {
    fn new() -> Shared {
        let disk = SimDisk::new(SEED);
        let db = open(&disk);
        let mut batch = db.batch();
        for key in &KEYS[1..] {
            batch.put(&db, key, value(0));
        }
        batch.put(&db, KEYS[0], 0_i64.to_le_bytes());
        batch.commit().unwrap();
        db.cursor("reader").unwrap();
        disk.record();
        Shared { disk, db, acknowledged: Mutex::default(), consumed: Mutex::default() }
    }

    fn acknowledge(&self, key: &'static str, number: u64) {
        let told = self.disk.position();
        DONE.set((DONE.get().0 + 1, DONE.get().1));
        self.acknowledged.lock().unwrap().push((told, key, number));
    }

    fn put_pairs(&self) {
        for number in 1..=PAIRS {
            let mut batch = self.db.batch();
            batch.put(&self.db, "left", value(number)).put(&self.db, "right", value(number));
            batch.commit().unwrap();
            self.acknowledge("left", number);
        }
    }

    /// Takes one of what is left, and counts it. Two that look at once and then each take the last one have taken too much, unless what
    /// they looked at is looked at again: keys, or ranges.
    fn take(&self, mine: &'static str, by_scans: bool) {
        for _ in 0..TRIES {
            let taken = self.db.transaction(|transaction| {
                let of = |key| match by_scans {
                    true => Ok(number(&transaction.prefix(&self.db, key)?.next().unwrap()?.1)),
                    false => Ok(number(&transaction.get(&self.db, key)?.unwrap())),
                };
                let (before, all) = (of(mine)?, of("mine")? + of("yours")?);
                if all == STOCK {
                    return Ok(None);
                }
                transaction.put(&self.db, mine, value(before + 1))?;
                Ok(Some(before + 1))
            });
            let Some(taken) = taken.unwrap() else { return };
            self.acknowledge(mine, taken);
            let count = self.db.increment("count", 1).unwrap();
            self.acknowledge("count", count as u64);
        }
    }

    fn read(&self) {
        let mut before = [0; 4];
        for _ in 0..3 {
            let now = check(&self.db.snapshot(), &self.db);
            assert!(now.iter().zip(before).all(|(now, before)| *now >= before), "{now:?} after {before:?}");
            // Each of these is of a moment of its own, and none of an older one than that of the snapshot. What a batch has first comes first.
            let [right, left] = ["right", "left"].map(|key| number(&self.db.get(key).unwrap().unwrap()));
            assert!(right >= now[0] && left >= right, "{right} and then {left}, after {}", now[0]);
            before = now;
        }
    }

    fn work(&self) {
        match thread_rng().gen_range(0..4) {
            0 => self.db.seal().unwrap(),
            1 => drop(self.db.archive().unwrap()),
            2 => self.db.checkpoint().unwrap(),
            _ => drop(self.db.compact().unwrap()),
        }
    }

    /// Reads all batches so far, and lets go of them.
    fn consume(&self) {
        let cursor = self.db.cursor("reader").unwrap();
        for batch in cursor.tail().unwrap() {
            let batch = batch.unwrap();
            let of = |key: &str| {
                let changed = batch.changes().iter().find(|change| *change.key == *key.as_bytes());
                changed.map(|change| number(change.value.as_ref().unwrap()))
            };
            assert_eq!(of("left"), of("right"), "half of a batch in the feed");
            if let Some(left) = of("left") {
                let before = std::mem::replace(&mut *self.consumed.lock().unwrap(), left);
                assert_eq!(left, before + 1, "batches of the feed are out of order");
            }
            cursor.advance(batch.seqno()).unwrap();
        }
    }

    /// What is there now, and what a power cut at some moment leaves.
    fn end(self) {
        assert_eq!(check(&self.db.snapshot(), &self.db)[..1], [PAIRS]);
        self.consume();
        assert_eq!(*self.consumed.lock().unwrap(), PAIRS, "the feed has lost some");
        let of = |key: &str| number(&self.db.get(key).unwrap().unwrap());
        assert_eq!((of("mine") + of("yours"), of("count")), (STOCK, STOCK));
        let acknowledged = self.acknowledged.into_inner().unwrap();
        let point = thread_rng().gen_range(0..=self.disk.position());
        drop(self.db);
        let mut random = Random::new(thread_rng().r#gen());
        for image in self.disk.images(point, IMAGES, &mut random) {
            let db = open(&image);
            DONE.set((DONE.get().0, DONE.get().1 + 1));
            check(&db.snapshot(), &db);
            for (told, key, least) in acknowledged.iter().filter(|(told, ..)| *told <= point) {
                let is = number(&db.get(key).unwrap().unwrap());
                assert!(is >= *least, "{key} is {is} after a power cut at {point}, and was {least} at {told}");
            }
        }
    }
}

fn all_at_once() {
    pin::keep_retired();
    let shared = Arc::new(Shared::new());
    let spawn = |work: fn(&Shared)| {
        let shared = Arc::clone(&shared);
        thread::spawn(move || work(&shared))
    };
    let threads = [
        spawn(Shared::put_pairs),
        spawn(|shared| shared.take("mine", false)),
        spawn(|shared| shared.take("yours", true)),
        spawn(Shared::read),
        spawn(|shared| (0..JOBS).for_each(|_| shared.work())),
        spawn(|shared| (0..2).for_each(|_| shared.consume())),
    ];
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    Arc::into_inner(shared).unwrap().end();
    pin::end_retired();
}

fn run(scheduler: impl Scheduler + 'static) {
    let mut config = Config::new();
    config.stack_size = STACK_LEN;
    Runner::new(scheduler, config).run(all_at_once);
}

fn schedules() -> usize {
    let asked = std::env::var("ZIPCASK_SCHEDULES").ok();
    asked.map_or(SCHEDULES, |text| text.parse().expect("ZIPCASK_SCHEDULES is no number"))
}

/// Past what libtest keeps back, so that each run prints what it did.
fn report(kind: &str) {
    let ((told, images), schedules) = (DONE.get(), schedules());
    let done =
        format!("{told} writes acknowledged, {images} images of power cuts opened, 0 promises broken (seed {SEED:#x})");
    drop(writeln!(std::io::stdout(), "\n    {schedules} schedules of the whole store, {kind}: {done}"));
}

#[test]
fn random_schedules_of_the_whole_store_keep_every_promise() {
    run(RandomScheduler::new_from_seed(SEED, schedules()));
    report("at random");
}

/// Few changes of thread, at the worst places.
#[test]
fn schedules_of_the_whole_store_three_deep_keep_every_promise() {
    run(PctScheduler::new_from_seed(SEED, 3, schedules()));
    report("three deep");
}

#[test]
fn every_flaw_that_is_planted_is_noticed() {
    let bugs = [
        Sabotage::ReadsUnvalidated,
        Sabotage::AcknowledgeBeforeSync,
        Sabotage::StaleInOrder,
        Sabotage::SourcesGoFirst,
        Sabotage::DanglingPlaces,
        Sabotage::CursorHoldsNothing,
    ];
    let flaws = [
        Flaw::SecondLeader,
        Flaw::LeaderNotWoken,
        Flaw::ToldBeforeWritten,
        Flaw::GroupNotSwapped,
        Flaw::PublicationNotAwaited,
    ];
    let bugs = bugs.map(|bug| (format!("{bug:?}"), Some(bug), None));
    let flaws = flaws.map(|flaw| (format!("{flaw:?}"), None, Some(flaw)));
    let missed = bugs.into_iter().chain(flaws).filter(|(_, bug, flaw)| {
        sabotage::plant(*bug);
        model::plant(*flaw);
        catch_unwind(|| run(RandomScheduler::new_from_seed(SEED, SCHEDULES))).is_ok()
    });
    let missed: Vec<String> = missed.map(|(name, ..)| name).collect();
    assert!(missed.is_empty(), "not noticed: {missed:?}");
}
