//! What an application did, and what it may find after a power cut.

use std::collections::BTreeMap;
use std::sync::Arc;

use zipcask::sim::{Random, SimDisk};
use zipcask::{Db, Durability, Options, PutOptions};

/// Bytes of every segment: small, so that a short history has many.
pub(crate) const SEGMENT: u64 = 8192;

/// Where room is given back at a seal there must be whole blocks of it.
pub(crate) const LONG_SEGMENT: u64 = 5 * 4096;

/// Bytes of a value that has a file of its own.
const LARGE: usize = 4500;

/// Keys that a history uses.
pub(crate) const KEYS: u8 = 12;

/// One thing that an application does.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Writes, all or nothing: a key, and the length of its value or a delete. A single one goes without a batch.
    Write(Vec<(u8, Option<usize>)>, Durability),
    Sync,
    Seal,
    /// Makes a spare segment, as the thread for them would at some point.
    Spare,
    /// Closes the store and opens it again.
    Reopen,
}

/// The contents of a store.
pub(crate) type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// What was issued, what was acknowledged, and when.
pub(crate) struct History {
    /// Bytes of every segment.
    pub(crate) segment: u64,
    /// How many spare segments were made.
    pub(crate) spares: usize,
    /// The contents after the first, second ... write; `models[0]` is before.
    pub(crate) models: Vec<Model>,
    /// The seqno of each of these states.
    seqnos: Vec<u64>,
    /// Where each write was issued.
    issued: Vec<usize>,
    /// From which position on how many writes must survive.
    floors: Vec<(usize, usize)>,
    /// How many large values the log has in each of these states.
    large_counts: Vec<usize>,
    /// The writes themselves, for a retry.
    pub(crate) writes: Vec<Vec<(u8, Option<usize>)>>,
}

/// A history's steps by its seed.
pub(crate) fn plan(random: &mut Random, steps: usize) -> Vec<Step> {
    (0..steps)
        .map(|_| match random.below(18) {
            0..=8 => Step::Write(vec![write(random)], durability(random)),
            9..=12 => {
                let count = 2 + random.below(4);
                Step::Write((0..count).map(|_| write(random)).collect(), durability(random))
            }
            13 => Step::Sync,
            14 => Step::Seal,
            15 | 16 => Step::Spare,
            _ => Step::Reopen,
        })
        .collect()
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
fn value(life: u64, write: usize, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Random::new(life << 32 | write as u64).fill(&mut bytes);
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
            models: vec![model],
            seqnos: vec![seqno],
            issued: Vec::new(),
            floors: vec![(0, 0)],
            large_counts: vec![large_count],
            writes: Vec::new(),
        }
    }

    pub(crate) fn open(&self, disk: &SimDisk) -> zipcask::Result<Db> {
        zipcask::sim::open(Options::new(), self.segment, Arc::new(disk.clone()))
    }

    /// Runs the steps on a recording disk. `life` sets the values apart from those of other lives.
    ///
    /// # Errors
    /// What a healthy disk gives no reason for.
    pub(crate) fn drive(&mut self, disk: &SimDisk, mut db: Db, steps: &[Step], life: u64) -> Result<(), String> {
        for step in steps {
            match step {
                Step::Write(writes, durability) => {
                    self.write(disk, &db, writes, *durability, life).map_err(|error| format!("wrong: {error:?}"))?;
                }
                Step::Sync => {
                    db.sync().map_err(|error| format!("wrong: {error:?}"))?;
                    self.settle(disk);
                }
                Step::Seal => {
                    db.seal().map_err(|error| format!("wrong: {error:?}"))?;
                    self.settle(disk);
                }
                Step::Spare => self.spares += usize::from(zipcask::sim::make_spare(&db)),
                Step::Reopen => {
                    db.close().map_err(|error| format!("wrong: {error:?}"))?;
                    self.settle(disk);
                    db = self.open(disk).map_err(|error| format!("refused: {error:?}"))?;
                }
            }
        }
        db.close().map_err(|error| format!("wrong: {error:?}"))?;
        self.settle(disk);
        Ok(())
    }

    /// Everything written so far survives from here on.
    fn settle(&mut self, disk: &SimDisk) {
        self.floors.push((disk.position(), self.writes.len()));
    }

    fn write(
        &mut self,
        disk: &SimDisk,
        db: &Db,
        writes: &[(u8, Option<usize>)],
        durability: Durability,
        life: u64,
    ) -> zipcask::Result<()> {
        let number = self.writes.len();
        let mut model = self.models[number].clone();
        self.issued.push(disk.position());
        let (mut batch, options) = (db.batch(), PutOptions::new().durability(durability));
        for (i, (k, len)) in writes.iter().enumerate() {
            let bytes = len.map(|len| value(life, number * 16 + i, len));
            match (&bytes, writes.len()) {
                (Some(bytes), 1) => drop(db.put_with(key(*k), bytes, options)?),
                (None, 1) => {
                    let was = db.delete_with(key(*k), durability)?;
                    assert_eq!(was, model.contains_key(&key(*k)));
                }
                (Some(bytes), _) => drop(batch.put(db, key(*k), bytes)),
                (None, _) => drop(batch.delete(db, key(*k))),
            }
            match bytes {
                Some(bytes) => model.insert(key(*k), bytes),
                None => model.remove(&key(*k)),
            };
        }
        if writes.len() > 1 {
            batch.commit_with(durability)?;
        }
        let seqno = u64::from(db.last_seqno());
        if Some(&seqno) == self.seqnos.last() {
            // A delete of nothing wrote nothing.
            self.issued.pop();
            return Ok(());
        }
        let large_count = writes.iter().filter(|(_, len)| len.is_some_and(|len| len as u64 > self.segment / 2)).count();
        self.large_counts.push(self.large_counts[number] + large_count);
        self.models.push(model);
        self.seqnos.push(seqno);
        self.writes.push(writes.to_vec());
        if durability != Durability::Os {
            self.settle(disk);
        }
        Ok(())
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
        let files = image.files().iter().filter(|name| name.starts_with("large/")).count();
        if files != self.large_counts[state] {
            return Err(format!(
                "wrong: {files} files of large values in state {state}, not {}",
                self.large_counts[state]
            ));
        }
        Ok((db, state))
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

    pub(crate) fn large_count(&self, state: usize) -> usize {
        self.large_counts[state]
    }

    pub(crate) fn seqno(&self, state: usize) -> u64 {
        self.seqnos[state]
    }
}
