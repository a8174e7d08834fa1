//! Threads that own keys, and look at each other's: every read is a version that its owner had then.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use fastrand::Rng;
use zipcask::{Db, Durability, Options, PutOptions, ReadMode, Reader, Seqno, Value};

use crate::counts::Counts;
use crate::jobs;
use crate::pass;
use crate::plan::{self, Board, Plan};
use crate::ways::{Checked, Way, told};

pub(crate) const THREADS: u32 = 8;

/// How much a run does.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) seed: u64,
    pub(crate) read_mode: ReadMode,
    pub(crate) segment_size: u64,
    /// Keys of each thread.
    pub(crate) owned: u32,
    /// Writes of each thread, at least.
    pub(crate) writes: u64,
    /// Rounds of a thread between two of its full passes.
    pub(crate) rounds_per_pass: u64,
}

/// What the threads share.
struct Shared {
    db: Db,
    effort: Effort,
    plan: Plan,
    board: Board,
    /// The key that each thread wrote last.
    latest: [AtomicU32; THREADS as usize],
    start: Barrier,
    failed: AtomicBool,
}

struct Worker<'a> {
    shared: &'a Shared,
    number: u32,
    random: Rng,
    /// What this thread has met of each key: later it meets no earlier version.
    met: Vec<u32>,
    /// How many of its keys it has written.
    keys: u32,
    writes: u64,
    last_seqno: Seqno,
    values: VecDeque<Held<Value>>,
    counts: Counts,
}

/// Bytes that were handed out, and what they have to stay.
struct Held<B> {
    key: u32,
    version: u32,
    bytes: B,
}

fn open(dir: &Path, effort: Effort) -> Checked<Db> {
    let options = Options::new().segment_size(effort.segment_size).durability(Durability::Os);
    told(options.read_mode(effort.read_mode).open(dir))
}

/// Lets the threads run over an empty store, then compares all of it with their models, then once more in both read modes
/// after it was closed.
pub(crate) fn run(effort: Effort) -> Checked<Counts> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (plan, keys) = (Plan { seed: effort.seed }, THREADS * effort.owned);
    let shared = Shared {
        db: open(dir.path(), effort)?,
        effort,
        plan,
        board: Board::new(plan, keys),
        latest: [const { AtomicU32::new(0) }; THREADS as usize],
        start: Barrier::new(THREADS as usize),
        failed: AtomicBool::new(false),
    };
    let done = AtomicBool::new(false);
    let (outcomes, archives): (Vec<_>, _) = std::thread::scope(|scope| {
        let (shared, done) = (&shared, &done);
        let compactor = scope.spawn(move || jobs::run(&shared.db, done));
        let work = |number| scope.spawn(move || Worker::new(shared, number).run());
        let workers: Vec<_> = (0..THREADS).map(work).collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, _>| {
            worker.join().map_err(|_| "a thread panicked".to_string())?
        };
        let outcomes = workers.into_iter().map(join).collect();
        done.store(true, Ordering::Relaxed);
        (outcomes, compactor.join().map_err(|_| "the compactor panicked".to_string()))
    });
    let mut counts: Counts = outcomes.into_iter().collect::<Checked<Vec<_>>>()?.into_iter().sum();
    counts.archives = archives??;
    let Shared { db, board, .. } = shared;
    let records = counts.records;
    let at_end = |db: &Db| {
        if u64::from(db.last_seqno()) != records {
            return Err(format!("{records} records were written, the last seqno is {}", db.last_seqno()));
        }
        pass::everything(db, plan, &board)
    };
    counts.passed += at_end(&db).map_err(|what| format!("at the end: {what}"))?;
    told(db.close())?;
    let db = open(dir.path(), effort)?;
    counts.passed += at_end(&db).map_err(|what| format!("after reopening: {what}"))?;
    let report = told(db.verify())?;
    if !report.is_clean() {
        return Err(format!("verify says {report:?}"));
    }
    told(db.close())?;
    // Many small files are slow to read by position: a single pass.
    let other = if effort.read_mode == ReadMode::Mmap { ReadMode::Positioned } else { ReadMode::Mmap };
    let db = open(dir.path(), Effort { read_mode: other, ..effort })?;
    counts.passed += pass::iter(&db, plan, &board).map_err(|what| format!("after reopening, {other:?}: {what}"))?;
    told(db.close())?;
    Ok(counts)
}

impl<'a> Worker<'a> {
    fn new(shared: &'a Shared, number: u32) -> Worker<'a> {
        Worker {
            shared,
            number,
            random: Rng::with_seed(crate::bytes::mix(shared.effort.seed, u64::from(number))),
            met: vec![0; (THREADS * shared.effort.owned) as usize],
            keys: 0,
            writes: 0,
            last_seqno: Seqno::default(),
            values: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    fn run(mut self) -> Checked<Counts> {
        self.shared.start.wait();
        let done = self.rounds().map_err(|what| format!("thread {}: {what}", self.number));
        if done.is_err() {
            self.shared.failed.store(true, Ordering::Relaxed);
        }
        done.map(|()| self.counts)
    }

    fn rounds(&mut self) -> Checked<()> {
        let effort = self.shared.effort;
        let mut reader = self.shared.db.reader();
        let mut round = 1 + u64::from(self.number) * effort.rounds_per_pass / u64::from(THREADS);
        while (self.writes < effort.writes || self.keys < self.shared.effort.owned)
            && !self.shared.failed.load(Ordering::Relaxed)
        {
            self.round(&reader)?;
            if self.random.u8(..) < 20 {
                reader = self.shared.db.reader();
            }
            reader.refresh();
            let (db, plan, board) = (&self.shared.db, self.shared.plan, &self.shared.board);
            match round % (2 * effort.rounds_per_pass) {
                0 => self.counts.passed += pass::iter(db, plan, board).map_err(|what| format!("iter: {what}"))?,
                at if at == effort.rounds_per_pass => {
                    self.counts.passed +=
                        pass::for_each(&reader, plan, board).map_err(|what| format!("for_each: {what}"))?;
                }
                _ => {}
            }
            round += 1;
        }
        while let Some(held) = self.values.pop_front() {
            self.look_again(&held)?;
        }
        Ok(())
    }

    /// Writes and reads, and at the end looks again at all that the reader handed out meanwhile.
    fn round(&mut self, reader: &Reader) -> Checked<()> {
        let mut slices = Vec::new();
        for _ in 0..self.random.u32(1..80) {
            match self.random.u8(..32) {
                0 => self.batch()?,
                _ => self.write()?,
            }
            for _ in 0..3 {
                let key = self.any_key();
                match self.random.u8(..) {
                    0..=139 => self.read(reader, key)?,
                    140..=169 => self.look_for(key)?,
                    170..=209 => self.hold_value(key)?,
                    210..=253 => slices.extend(self.hold_slice(reader, key)?),
                    _ => self.read_many(reader)?,
                }
            }
        }
        slices.iter().try_for_each(|held| self.look_again(held))
    }

    /// One of its keys, for a write: a new one, or one that it has.
    fn own_key(&mut self) -> u32 {
        let is_new = self.keys < self.shared.effort.owned && (self.keys == 0 || self.random.bool());
        let i = if is_new { self.keys } else { self.random.u32(..self.keys) };
        self.keys += u32::from(is_new);
        i * THREADS + self.number
    }

    /// Any thread's key, for a read: often the newest, sometimes one not yet written.
    fn any_key(&mut self) -> u32 {
        let thread = if self.random.u8(..3) == 0 { self.number } else { self.random.u32(..THREADS) };
        if self.random.u8(..4) == 0 {
            return self.shared.latest[thread as usize].load(Ordering::Acquire);
        }
        self.random.u32(..(self.keys + 50).min(self.shared.effort.owned)) * THREADS + thread
    }

    fn write(&mut self) -> Checked<()> {
        let Shared { db, plan, board, .. } = self.shared;
        let key = self.own_key();
        let was_there = plan.len(key, board.newest(key)).is_some();
        let version = board.begin(key);
        let is_durable = self.random.u16(..4000) == 0;
        let durability = if is_durable { Durability::Sync } else { Durability::Os };
        if let Some(value) = plan.value(key, version) {
            let options = PutOptions::new().durability(durability);
            let seqno = match is_durable {
                true => told(db.put_with(plan::name(key), value, options))?,
                false => told(db.put(plan::name(key), value))?,
            };
            self.take_seqno(seqno)?;
            self.counts.puts += 1;
            self.counts.records += 1;
        } else {
            if told(db.delete_with(plan::name(key), durability))? != was_there {
                return Err(format!("delete of key {key} says {}", !was_there));
            }
            self.counts.deletes += 1;
            self.counts.records += u64::from(was_there);
        }
        // A delete of nothing writes nothing, and makes nothing durable.
        if is_durable && (was_there || plan.len(key, version).is_some()) && db.durable_seqno() < self.last_seqno {
            return Err(format!(
                "write {} of key {key} is not durable: {} is, visible {}, len {:?}, was there {was_there}",
                self.last_seqno,
                db.durable_seqno(),
                db.last_seqno(),
                plan.len(key, version)
            ));
        }
        self.writes += 1;
        self.finish(key);
        Ok(())
    }

    /// Several writes, sometimes of one key.
    fn batch(&mut self) -> Checked<()> {
        let Shared { db, plan, board, .. } = self.shared;
        let (mut batch, mut keys) = (db.batch(), Vec::new());
        for _ in 0..self.random.u8(0..20) {
            let key = self.own_key();
            match plan.value(key, board.begin(key)) {
                Some(value) => batch.put(db, plan::name(key), value),
                None => batch.delete(db, plan::name(key)),
            };
            keys.push(key);
        }
        let seqno = told(batch.commit())?;
        if !keys.is_empty() {
            self.take_seqno(seqno)?;
        }
        self.counts.batches += 1;
        self.counts.records += keys.len() as u64;
        self.writes += keys.len() as u64;
        keys.into_iter().for_each(|key| self.finish(key));
        Ok(())
    }

    fn finish(&self, key: u32) {
        self.shared.board.finish(key);
        self.shared.latest[self.number as usize].store(key, Ordering::Release);
    }

    /// Seqnos of a thread's writes grow, and what is acknowledged is visible.
    fn take_seqno(&mut self, seqno: Seqno) -> Checked<()> {
        let visible = self.shared.db.last_seqno();
        if seqno <= self.last_seqno || visible < seqno {
            return Err(format!("seqno {seqno} after {}, visible is {visible}", self.last_seqno));
        }
        self.last_seqno = seqno;
        Ok(())
    }

    /// The earliest version that a read of this key may show from here on.
    fn oldest(&self, key: u32) -> u32 {
        self.shared.board.oldest(key).max(self.met[key as usize])
    }

    /// Says which version a read of the key showed.
    fn identify(&mut self, key: u32, oldest: u32, seen: Option<&[u8]>) -> Checked<u32> {
        let board = &self.shared.board;
        let version = board.identify(key, oldest, board.newest(key), seen)?;
        self.met[key as usize] = self.met[key as usize].max(version);
        self.counts.gets += 1;
        Ok(version)
    }

    fn read(&mut self, reader: &Reader, key: u32) -> Checked<()> {
        let way = Way::ALL[self.random.usize(..4)];
        let (name, oldest, db) = (plan::name(key), self.oldest(key), &self.shared.db);
        let version = way.read(db, reader, &name, |seen| self.identify(key, oldest, seen))?;
        version.map(drop).map_err(|what| format!("{way:?}: {what}"))
    }

    fn look_for(&mut self, key: u32) -> Checked<()> {
        let oldest = self.oldest(key);
        let there = told(self.shared.db.contains_key(plan::name(key)))?;
        self.counts.gets += 1;
        let board = &self.shared.board;
        board.is_there(key, oldest, board.newest(key), there).map_err(|what| format!("contains_key: {what}"))
    }

    fn read_many(&mut self, reader: &Reader) -> Checked<()> {
        let keys: Vec<_> = (0..self.random.u8(..100)).map(|_| self.any_key()).collect();
        let oldest: Vec<_> = keys.iter().map(|key| self.oldest(*key)).collect();
        let names: Vec<_> = keys.iter().copied().map(plan::name).collect();
        let (mut calls, mut met) = (vec![0; keys.len()], Ok(()));
        reader.get_many(&names, |at, value| {
            calls[at] += 1;
            let read = told(value).and_then(|seen| self.identify(keys[at], oldest[at], seen));
            if let (Err(what), Ok(())) = (read, &met) {
                met = Err(format!("get_many: {what}"));
            }
        });
        met?;
        let once = calls.iter().all(|calls| *calls == 1);
        if once { Ok(()) } else { Err(format!("get_many calls {calls:?} times")) }
    }

    fn hold_value(&mut self, key: u32) -> Checked<()> {
        let oldest = self.oldest(key);
        let value = told(self.shared.db.get(plan::name(key)))?;
        let version = self.identify(key, oldest, value.as_deref()).map_err(|what| format!("get: {what}"))?;
        self.values.extend(value.map(|bytes| Held { key, version, bytes }));
        if self.values.len() < 300 {
            return Ok(());
        }
        let at = self.random.usize(..300);
        let held = self.values.swap_remove_back(at).expect("there are 300");
        self.look_again(&held)
    }

    fn hold_slice<'r>(&mut self, reader: &'r Reader, key: u32) -> Checked<Option<Held<&'r [u8]>>> {
        let oldest = self.oldest(key);
        let bytes = told(reader.get(plan::name(key)))?;
        let version = self.identify(key, oldest, bytes).map_err(|what| format!("Reader::get: {what}"))?;
        Ok(bytes.map(|bytes| Held { key, version, bytes }))
    }

    /// What was handed out is what it was.
    fn look_again<B: AsRef<[u8]>>(&mut self, held: &Held<B>) -> Checked<()> {
        self.counts.held += 1;
        if self.shared.plan.shows(held.key, held.version, Some(held.bytes.as_ref())) {
            return Ok(());
        }
        Err(format!("what was handed out of key {} as version {} has changed", held.key, held.version))
    }
}
