//! What an application did, and what it may find after a power cut.

use std::collections::BTreeMap;
use std::sync::Arc;

use zipcask::sim::{Random, SimDisk};
use zipcask::{Db, Durability, Options, PutOptions, Seqno};

use crate::meanwhile::{CALLS, Done, Meanwhile};

/// Bytes of every segment: small, so that a short history has many.
pub(crate) const SEGMENT: u64 = 8192;

/// Where room is given back at a seal there must be whole blocks of it.
pub(crate) const LONG_SEGMENT: u64 = 5 * 4096;

/// Bytes of a value that has a file of its own.
const LARGE: usize = 4500;

/// Keys that a history uses.
pub(crate) const KEYS: u8 = 12;

/// Keys, each with the length of its value or a delete: all or nothing. A single one goes without a batch.
pub(crate) type Writes = Vec<(u8, Option<usize>)>;

/// One thing that an application does.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Write(Writes, Durability),
    Sync,
    Seal,
    /// Makes a spare segment, as the thread for them would at some point.
    Spare,
    /// Closes the store and opens it again.
    Reopen,
    /// Compacts. Writes come meanwhile: each with the call on an archive that it comes before.
    Compact(Vec<(&'static str, Writes, Durability)>),
    /// Seals, and packs what is sealed.
    Archive,
    /// Writes the index down.
    Checkpoint,
}

/// Which steps a history has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Writes, and what ends segments.
    Log,
    /// Jobs, too, and writes that leave much dead.
    Jobs,
}

/// The contents of a store.
pub(crate) type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// What was issued, what was acknowledged, and when.
pub(crate) struct History {
    /// Bytes of every segment.
    pub(crate) segment: u64,
    /// How many spare segments were made.
    pub(crate) spares: usize,
    /// How many jobs wrote an archive, and how many archives went for another.
    pub(crate) jobs: u64,
    /// How often the index was written down.
    pub(crate) indexes: u64,
    pub(crate) merged: u64,
    /// The contents after the first, second ... write; `models[0]` is before.
    pub(crate) models: Vec<Model>,
    /// The seqno of each of these states.
    seqnos: Vec<u64>,
    /// Where each write was issued.
    issued: Vec<usize>,
    /// From which position on how many writes must survive.
    floors: Vec<(usize, usize)>,
    /// How many large values were written up to each of these states.
    large_counts: Vec<usize>,
    /// Where the first job began: before it no file of a large value goes.
    first_job: Option<usize>,
    /// The writes themselves, for a retry.
    pub(crate) writes: Vec<Writes>,
    /// How many values were made.
    values: u64,
    meanwhile: Meanwhile,
}

/// A write, with its bytes.
#[derive(Debug)]
pub(crate) struct Prepared {
    writes: Writes,
    values: Vec<Option<Vec<u8>>>,
    durability: Durability,
}

impl Prepared {
    /// Writes it.
    pub(crate) fn execute(&self, db: &Db) -> zipcask::Result<Seqno> {
        let (mut batch, options) = (db.batch(), PutOptions::new().durability(self.durability));
        for ((number, _), value) in self.writes.iter().zip(&self.values) {
            match (value, self.writes.len()) {
                (Some(value), 1) => drop(db.put_with(key(*number), value, options)?),
                (None, 1) => drop(db.delete_with(key(*number), self.durability)?),
                (Some(value), _) => drop(batch.put(db, key(*number), value)),
                (None, _) => drop(batch.delete(db, key(*number))),
            }
        }
        if self.writes.len() > 1 {
            batch.commit_with(self.durability)?;
        }
        Ok(db.last_seqno())
    }
}

/// A history's steps by its seed.
pub(crate) fn plan(random: &mut Random, kind: Kind, steps: usize) -> Vec<Step> {
    let of_jobs = if kind == Kind::Jobs { 25 } else { 18 };
    (0..steps)
        .map(|_| match random.below(of_jobs) {
            0..=8 => Step::Write(vec![write(random)], durability(random)),
            9..=12 => {
                let count = 2 + random.below(4);
                Step::Write((0..count).map(|_| write(random)).collect(), durability(random))
            }
            13 => Step::Sync,
            14 => Step::Seal,
            15 | 16 => Step::Spare,
            17 => Step::Reopen,
            18..=21 => Step::Compact((0..random.below(4)).map(|_| write_meanwhile(random)).collect()),
            22 | 23 => Step::Archive,
            _ => Step::Checkpoint,
        })
        .collect()
}

fn write_meanwhile(random: &mut Random) -> (&'static str, Writes, Durability) {
    let call = CALLS[random.below(CALLS.len())];
    let count = [1, 1, 2][random.below(3)];
    let durability = [Durability::Os, Durability::Os, Durability::Sync][random.below(3)];
    (call, (0..count).map(|_| write(random)).collect(), durability)
}

fn durability(random: &mut Random) -> Durability {
    [Durability::Sync, Durability::Sync, Durability::Os, Durability::Os, Durability::Barrier][random.below(5)]
}

fn write(random: &mut Random) -> (u8, Option<usize>) {
    let len = [0, 5, 90, 90, 300, 700, 1500, LARGE][random.below(8)];
    (random.below(usize::from(KEYS)) as u8, (random.below(5) > 0).then_some(len))
}

/// A key's bytes: of several lengths.
pub(crate) fn key(number: u8) -> Vec<u8> {
    vec![b'a' + number; 1 + usize::from(number) * 3]
}

/// A value of this length that no other life and no other write has.
fn value(life: u64, number: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Random::new(life << 32 | number).fill(&mut bytes);
    bytes
}

pub(crate) fn open(disk: &SimDisk) -> zipcask::Result<Db> {
    zipcask::sim::open(Options::new(), SEGMENT, Arc::new(disk.clone()))
}

impl History {
    /// Begins with a store in a known state, or none.
    pub(crate) fn begin(model: Model, seqno: u64, segment: u64, large_count: usize) -> History {
        History {
            segment,
            spares: 0,
            jobs: 0,
            indexes: 0,
            merged: 0,
            models: vec![model],
            seqnos: vec![seqno],
            issued: Vec::new(),
            floors: vec![(0, 0)],
            large_counts: vec![large_count],
            first_job: None,
            writes: Vec::new(),
            values: 0,
            meanwhile: Meanwhile::default(),
        }
    }

    /// Goes on where `before` was in this state, when its power was cut at `point`.
    pub(crate) fn resume(before: &History, state: usize, point: usize) -> History {
        let (model, large_count) = (before.models[state].clone(), before.large_counts[state]);
        let mut history = History::begin(model, before.seqnos[state], before.segment, large_count);
        history.first_job = before.first_job.filter(|job| *job <= point).map(|_| 0);
        history
    }

    pub(crate) fn open(&self, disk: &SimDisk) -> zipcask::Result<Db> {
        zipcask::sim::open(Options::new(), self.segment, Arc::new(disk.clone()))
    }

    /// The same, on a disk that lets writes come while a job runs.
    pub(crate) fn open_driven(&self, disk: &SimDisk) -> zipcask::Result<Db> {
        zipcask::sim::open(Options::new(), self.segment, Arc::new(self.meanwhile.disk(disk)))
    }

    /// Runs the steps on a recording disk. `life` sets the values apart from those of other lives.
    ///
    /// # Errors
    /// What a healthy disk gives no reason for.
    pub(crate) fn drive(&mut self, disk: &SimDisk, mut db: Db, steps: &[Step], life: u64) -> Result<(), String> {
        let wrong = |error: zipcask::Error| format!("wrong: {error:?}");
        for step in steps {
            match step {
                Step::Write(writes, durability) => {
                    let prepared = self.prepare(writes, *durability, life);
                    let issued = disk.position();
                    let seqno = prepared.execute(&db).map_err(wrong)?;
                    self.account(&Done { prepared, issued, told: disk.position(), seqno: seqno.into() });
                }
                Step::Sync => {
                    db.sync().map_err(wrong)?;
                    self.settle(disk.position());
                }
                Step::Seal => {
                    db.seal().map_err(wrong)?;
                    self.settle(disk.position());
                }
                Step::Spare => self.spares += usize::from(zipcask::sim::make_spare(&db)),
                Step::Reopen => {
                    db.close().map_err(wrong)?;
                    self.settle(disk.position());
                    db = self.open_driven(disk).map_err(|error| format!("refused: {error:?}"))?;
                }
                Step::Checkpoint => {
                    db.checkpoint().map_err(wrong)?;
                    self.settle(disk.position());
                    self.indexes += 1;
                }
                Step::Compact(writes) => self.compact(disk, &db, writes, life)?,
                Step::Archive => {
                    db.seal().map_err(wrong)?;
                    self.settle(disk.position());
                    self.first_job.get_or_insert(disk.position());
                    self.jobs += db.archive().map_err(wrong)?.archives;
                    self.compare(&db, self.writes.len())?;
                }
            }
        }
        db.close().map_err(wrong)?;
        self.settle(disk.position());
        Ok(())
    }

    fn compact(
        &mut self,
        disk: &SimDisk,
        db: &Db,
        writes: &[(&'static str, Writes, Durability)],
        life: u64,
    ) -> Result<(), String> {
        self.first_job.get_or_insert(disk.position());
        let prepared = |(call, writes, durability): &(_, Writes, _)| (*call, self.prepare(writes, *durability, life));
        let due = writes.iter().map(prepared).collect();
        let acknowledged = self.writes.len();
        self.meanwhile.begin(disk, db, due);
        let outcome = db.compact();
        let (done, removed) = self.meanwhile.end().map_err(|error| format!("wrong: {error:?}"))?;
        self.jobs += outcome.map_err(|error| format!("wrong: {error:?}"))?.archives;
        self.merged += removed;
        // It sealed the log first.
        self.floors.push((disk.position(), acknowledged));
        done.iter().for_each(|done| self.account(done));
        self.compare(db, self.writes.len())
    }

    /// Everything written so far survives a cut from this position on.
    fn settle(&mut self, position: usize) {
        self.floors.push((position, self.writes.len()));
    }

    fn prepare(&mut self, writes: &Writes, durability: Durability, life: u64) -> Prepared {
        let mut made = |len| {
            self.values += 1;
            value(life, self.values, len)
        };
        let values = writes.iter().map(|(_, len)| len.map(&mut made)).collect();
        Prepared { writes: writes.clone(), values, durability }
    }

    /// Takes in what was written.
    fn account(&mut self, done: &Done) {
        let Prepared { writes, values, durability } = &done.prepared;
        let number = self.writes.len();
        if Some(&done.seqno) == self.seqnos.last() {
            // A delete of nothing wrote nothing.
            assert!(writes.iter().all(|(k, len)| len.is_none() && !self.models[number].contains_key(&key(*k))));
            return;
        }
        let mut model = self.models[number].clone();
        for ((k, _), value) in writes.iter().zip(values) {
            match value {
                Some(value) => model.insert(key(*k), value.clone()),
                None => model.remove(&key(*k)),
            };
        }
        let large_count = values.iter().flatten().filter(|value| value.len() as u64 > self.segment / 2).count();
        self.large_counts.push(self.large_counts[number] + large_count);
        self.models.push(model);
        self.seqnos.push(done.seqno);
        self.issued.push(done.issued);
        self.writes.push(writes.clone());
        if *durability != Durability::Os {
            self.settle(done.told);
        }
    }

    /// Opens what a power cut at `point` left and says which of the states it is in.
    pub(crate) fn check(&self, image: &SimDisk, point: usize) -> Result<(Db, usize), String> {
        let db = self.open(image).map_err(|error| format!("refused: {error:?}"))?;
        let seqno = u64::from(db.last_seqno());
        let Ok(state) = self.seqnos.binary_search(&seqno) else {
            return Err(format!("torn: seqno {seqno} is the end of no write"));
        };
        let floor = self.floors.iter().filter(|(from, _)| *from <= point).map(|(_, writes)| *writes).max();
        let ceiling = self.issued.iter().filter(|issued| **issued < point).count();
        if Some(state) < floor {
            return Err(format!("lost: {state} writes are there, {floor:?} were acknowledged"));
        }
        if state > ceiling {
            return Err(format!("wrong: {state} writes are there, {ceiling} were issued"));
        }
        self.compare(&db, state)?;
        self.check_files(image, state, point)?;
        Ok((db, state))
    }

    /// Whether an open left just the files that there should be. That those of live values are there, `compare` has seen.
    fn check_files(&self, image: &SimDisk, state: usize, point: usize) -> Result<(), String> {
        let files = image.files();
        if let Some(name) = files.iter().find(|name| name.contains("/new-")) {
            return Err(format!("wrong: {name} is still there in state {state}"));
        }
        let large: Vec<_> = files.iter().filter_map(|name| large_id(name)).collect();
        let written = self.large_counts[state];
        if self.first_job.is_none_or(|job| point < job) {
            return match large.len() == written {
                true => Ok(()),
                false => Err(format!("wrong: {} files of large values in state {state}, not {written}", large.len())),
            };
        }
        // Dead ones go with the records that name them: whichever are left, some record names each.
        let logs = files.iter().filter(|name| name.starts_with("segments/") || name.starts_with("archives/"));
        let logs: Vec<_> = logs.filter_map(|name| image.read_file(name)).collect();
        let named = |id: &[u8; 16]| logs.iter().any(|log| log.windows(16).step_by(8).any(|window| window == id));
        match large.len() <= written && large.iter().all(named) {
            true => Ok(()),
            false => Err(format!("wrong: a file of a large value that no record names in state {state}")),
        }
    }

    /// Whether the store's contents are those of the state.
    pub(crate) fn compare(&self, db: &Db, state: usize) -> Result<(), String> {
        let model = &self.models[state];
        if db.len() != model.len() as u64 {
            return Err(format!("wrong: {} keys in state {state}, {} expected", db.len(), model.len()));
        }
        for number in 0..KEYS {
            let key = key(number);
            let got = db.get(&key).map_err(|error| format!("wrong: key {number}: {error:?}"))?;
            if got.as_deref() != model.get(&key).map(Vec::as_slice) {
                return Err(format!("wrong: key {number} in state {state}"));
            }
        }
        Ok(())
    }
}

/// The id in the name of a large value's file.
fn large_id(name: &str) -> Option<[u8; 16]> {
    let digits = name.strip_prefix("large/")?.strip_suffix(".val")?;
    u128::from_str_radix(digits, 16).ok().map(u128::to_be_bytes)
}
