//! Faults, kills and power cuts together: after each write any image is a state that was promised.

use std::sync::Arc;

use zipcask::sim::{Call, FailedSync, Fault, FaultDisk, Lasts, Random, SimDisk, Written};
use zipcask::{Db, Durability, Error, ErrorKind, Options, PutOptions, ReadMode, Result as Told};

use crate::history::{self, SEGMENT};
use crate::hook::{HookDisk, cut, nothing};

const EIO: i32 = 5;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;

/// Keys that a storm uses; the last two are only ever written together.
const KEYS: usize = 8;
const PAIR: [usize; 2] = [6, 7];

/// Power cuts after each step.
const IMAGES: usize = 12;

/// What storms went through.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) storms: u64,
    pub(crate) images: u64,
    pub(crate) struck: u64,
    pub(crate) kills: u64,
    /// Archives written.
    pub(crate) jobs: u64,
}

/// A store's contents: which write each key shows.
type State = [Option<u32>; KEYS];

/// The states that the store may show: the last is what it shows in memory, those before what a power cut may go back to.
struct Oracle {
    allowed: Vec<State>,
}

impl Oracle {
    fn push(&mut self, keys: &[usize], value: Option<u32>) {
        let mut state = *self.allowed.last().expect("there is always one");
        for key in keys {
            state[*key] = value;
        }
        self.allowed.push(state);
    }

    /// Everything so far survives from here on.
    fn settle(&mut self) {
        self.allowed.drain(..self.allowed.len() - 1);
    }

    /// The state that the store is in.
    fn state(&self, db: &Db) -> Result<State, String> {
        let mut now = State::default();
        for (key, shown) in now.iter_mut().enumerate() {
            *shown = self::shown(db, key)?;
        }
        let live = now.iter().flatten().count() as u64;
        if db.len() != live {
            return Err(format!("len is {}, {live} keys are there", db.len()));
        }
        if now[PAIR[0]] != now[PAIR[1]] {
            return Err("a batch is torn".into());
        }
        match self.allowed.contains(&now) {
            true => Ok(now),
            false => Err(format!("{now:?} is none of {:?}", self.allowed)),
        }
    }
}

fn name(key: usize) -> [u8; 5] {
    [key as u8; 5]
}

fn encode(write: u32, key: usize) -> Vec<u8> {
    let mut bytes = write.to_le_bytes().to_vec();
    bytes.resize([4, 90, 300, 700, 1500, 5000][(write as usize + key) % 6], write as u8);
    bytes
}

/// The write whose value a key shows.
fn shown(db: &Db, key: usize) -> Result<Option<u32>, String> {
    let got = db.get(name(key)).map_err(|error| format!("key {key}: {error:?}"))?;
    got.map(|value| {
        let write = u32::from_le_bytes(value[..4].try_into().expect("four bytes"));
        if value[..] == encode(write, key) { Ok(write) } else { Err(format!("key {key}: wrong bytes")) }
    })
    .transpose()
}

/// Whether the store goes on as it was.
fn is_harmless(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NoSpace | ErrorKind::ResourceLimit)
}

struct Storm {
    random: Random,
    inside: SimDisk,
    disk: FaultDisk,
    read_mode: ReadMode,
    oracle: Oracle,
    counts: Counts,
}

impl Storm {
    fn begin(seed: u64, mode: FailedSync, read_mode: ReadMode) -> Storm {
        let inside = SimDisk::new(seed);
        inside.record();
        inside.set_failed_sync(mode);
        drop(history::open(&inside).expect("a healthy disk takes a new store"));
        let disk = FaultDisk::new(Arc::new(HookDisk::of_killed(inside.clone(), nothing())));
        let oracle = Oracle { allowed: vec![State::default()] };
        Storm { random: Random::new(seed), inside, disk, read_mode, oracle, counts: Counts::default() }
    }

    fn reopen(&self) -> Told<Db> {
        zipcask::sim::open(Options::new().read_mode(self.read_mode), SEGMENT, Arc::new(self.disk.clone()))
    }

    /// Takes a step; whether the store is to be killed after it.
    fn step(&mut self, db: &Db, write: u32) -> bool {
        match self.random.below(16) {
            0..=6 => self.write(db, write),
            7 => {
                let synced = db.sync().is_ok();
                if synced {
                    self.oracle.settle();
                }
                !synced
            }
            8 => match db.seal() {
                Ok(_) => {
                    self.oracle.settle();
                    false
                }
                Err(error) => !is_harmless(&error),
            },
            9 => true,
            10 => {
                if db.clone().close().is_ok() {
                    self.oracle.settle();
                }
                true
            }
            11 => {
                zipcask::sim::make_spare(db);
                false
            }
            12 | 13 => self.job(db.compact().map(|report| report.archives)),
            14 => self.job(db.archive().map(|report| report.archives)),
            _ => {
                self.inject();
                false
            }
        }
    }

    /// What became of a job; whether it poisoned the store.
    fn job(&mut self, outcome: Told<u64>) -> bool {
        match outcome {
            Ok(archives) => {
                self.counts.jobs += archives;
                false
            }
            // One that failed when its archive was named, or one after that, changed nothing either.
            Err(error) => error.kind() == ErrorKind::Poisoned,
        }
    }

    /// A put, a delete or a batch; whether it poisoned the store.
    fn write(&mut self, db: &Db, write: u32) -> bool {
        let durability = [Durability::Sync, Durability::Os, Durability::Os][self.random.below(3)];
        let (outcome, keys, value) = match self.random.below(4) {
            0 => {
                let key = self.random.below(6);
                (db.delete_with(name(key), durability).map(drop), vec![key], None)
            }
            1 => {
                let mut batch = db.batch();
                for key in PAIR {
                    batch.put(db, name(key), encode(write, key));
                }
                (batch.commit_with(durability).map(drop), PAIR.to_vec(), Some(write))
            }
            _ => {
                let key = self.random.below(6);
                let options = PutOptions::new().durability(durability);
                (db.put_with(name(key), encode(write, key), options).map(drop), vec![key], Some(write))
            }
        };
        match outcome {
            Ok(()) => {
                self.oracle.push(&keys, value);
                // A delete of nothing writes nothing, and makes nothing durable.
                if durability == Durability::Sync && db.durable_seqno() == db.last_seqno() {
                    self.oracle.settle();
                }
                false
            }
            Err(error) if is_harmless(&error) => false,
            Err(_) => {
                // Unknown: it may be there.
                self.oracle.push(&keys, value);
                true
            }
        }
    }

    fn inject(&mut self) {
        let calls =
            [Call::WriteAt, Call::Barrier, Call::Allocate, Call::Sync, Call::SyncDir, Call::Rename, Call::Remove];
        let call = calls[self.random.below(calls.len())];
        // A write or a sync never says EMFILE.
        let few = matches!(call, Call::WriteAt | Call::Barrier | Call::Sync);
        let errno = [EIO, ENOSPC, if few { EIO } else { EMFILE }][self.random.below(3)];
        let written = [Written::Nothing, Written::OneByte, Written::AllButOne][self.random.below(3)];
        let lasts = [Lasts::Once, Lasts::FromThenOn][self.random.below(2)];
        let nth = self.disk.calls(call) + 1 + self.random.below(3) as u64;
        self.disk.inject(Fault { call, nth, errno, lasts, written });
    }

    /// Cuts the power here, in many ways, and looks at what is left.
    fn cut(&mut self) -> Result<(), String> {
        for image in cut(&self.inside, IMAGES) {
            self.counts.images += 1;
            let db = history::open(&image).map_err(|error| format!("cut: refused {error:?}"))?;
            self.oracle.state(&db).map_err(|what| format!("cut: {what}"))?;
        }
        Ok(())
    }

    /// Kills the store and opens it again, which is to say what is there from now on.
    fn kill(&mut self, db: Db) -> Result<Db, String> {
        self.counts.kills += 1;
        std::mem::forget(db);
        if let Ok(db) = self.reopen() {
            let state = self.oracle.state(&db).map_err(|what| format!("killed: {what}"))?;
            if db.sync().is_ok() {
                self.oracle.allowed = vec![state];
                return Ok(db);
            }
            std::mem::forget(db);
        }
        self.disk.heal();
        let db = self.reopen().map_err(|error| format!("healed: {error:?}"))?;
        let state = self.oracle.state(&db).map_err(|what| format!("healed: {what}"))?;
        db.sync().map_err(|error| format!("healed: {error:?}"))?;
        self.oracle.allowed = vec![state];
        Ok(db)
    }

    fn run(mut self) -> Result<Counts, String> {
        let mut db = self.reopen().expect("nothing fails yet");
        for write in 1..40 {
            let before = self.disk.injected();
            let dies = self.step(&db, write);
            self.counts.struck += self.disk.injected() - before;
            self.cut().map_err(|what| format!("write {write}, {what}"))?;
            if dies {
                db = self.kill(db).map_err(|what| format!("write {write}, {what}"))?;
            }
        }
        Ok(self.counts)
    }
}

/// Storms of so many seeds, in both modes of failed syncs and of reading.
///
/// # Errors
/// What was not as promised, with the seed.
pub(crate) fn run(seed: u64, storms: u64) -> Result<Counts, String> {
    let mut sum = Counts::default();
    for seed in seed..seed + storms {
        for mode in [FailedSync::NothingWritten, FailedSync::PartWritten] {
            for read_mode in [ReadMode::Mmap, ReadMode::Positioned] {
                let counts = Storm::begin(seed, mode, read_mode).run();
                let counts = counts.map_err(|what| format!("seed {seed}, {mode:?}, {read_mode:?}: {what}"))?;
                sum = Counts {
                    storms: sum.storms + 1,
                    images: sum.images + counts.images,
                    struck: sum.struck + counts.struck,
                    kills: sum.kills + counts.kills,
                    jobs: sum.jobs + counts.jobs,
                };
            }
        }
    }
    Ok(sum)
}
