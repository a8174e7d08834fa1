//! What an application may do, against a map: with reopens, power cuts, jobs, snapshots and transactions.

use std::collections::BTreeMap;
use std::sync::Arc;

use arbitrary::{Arbitrary, Unstructured};
use zipcask::sim::{self, Random, SimDisk};
use zipcask::{Compression, Db, Durability, ErrorKind, Options, PutOptions, ReadMode, Snapshot, Verify};

use crate::base::{self, SEGMENT};
use crate::memory;

/// More make a history slow, and find no more.
const OPS_MAX: usize = 80;
const KEYS: u8 = 12;
const LENS: [usize; 8] = [0, 5, 90, 90, 300, 700, 1500, 4500];

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// A key, and what it gets: a length, or nothing.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Write {
    key: u8,
    len: Option<u8>,
}

#[derive(Arbitrary, Debug)]
enum Op {
    Write(Write, u8),
    Batch(Vec<Write>, u8),
    /// Reads these, writes those, and meanwhile somebody else puts this.
    Transaction {
        reads: Vec<u8>,
        writes: Vec<Write>,
        meanwhile: Option<u8>,
    },
    Swap {
        key: u8,
        right: bool,
        new: Option<u8>,
    },
    Increment(u8, i64),
    Stream(u8, u8),
    Snapshot,
    Forget(u8),
    Sync,
    Seal,
    Spare,
    Hints,
    Checkpoint,
    Archive,
    Compact,
    Verify,
    Reopen(u8),
    /// Goes on with one of the images that a power cut may leave here.
    Crash(u16),
    ReadOnly,
    Feed,
}

pub fn target(data: &[u8]) -> u64 {
    let mut bytes = Unstructured::new(data);
    let (mut ops, how) = (Vec::new(), u8::arbitrary(&mut bytes).unwrap_or_default());
    while !bytes.is_empty() && ops.len() < OPS_MAX {
        match Op::arbitrary(&mut bytes) {
            Ok(op) => ops.push(op),
            Err(_) => break,
        }
    }
    let told = std::env::var_os("ZIPCASK_FUZZ_TOLD").is_some();
    memory::bounded(memory::STORE, || {
        let mut world = World::new(how);
        for op in &ops {
            if told {
                eprintln!("{:>4} {op:?}", u64::from(world.db().last_seqno()));
            }
            world.step(op);
        }
        world.end();
    });
    ops.len() as u64
}

struct World {
    disk: SimDisk,
    db: Option<Db>,
    how: u8,
    model: Model,
    /// Each state that may come back after a power cut, by its seqno: the first of them is durable.
    states: BTreeMap<u64, Model>,
    snapshots: Vec<(Snapshot, Model)>,
    made: u64,
}

fn options(how: u8) -> Options {
    let mode = if how & 1 == 0 { ReadMode::Mmap } else { ReadMode::Positioned };
    let verify = if how & 2 == 0 { Verify::FirstTouch } else { Verify::Always };
    let packed = if how & 4 == 0 { Compression::None } else { Compression::Deflate };
    Options::new().read_mode(mode).verify_values(verify).archive_compression(packed).untrusted_keys(how & 8 != 0)
}

fn durability(choice: u8) -> Durability {
    [Durability::Os, Durability::Sync, Durability::Barrier, Durability::Os][usize::from(choice % 4)]
}

impl World {
    fn new(how: u8) -> World {
        let disk = SimDisk::new(u64::from(how));
        let db = sim::open(options(how), SEGMENT, Arc::new(disk.clone())).expect("a new store opens");
        // The store's own name is durable from here on.
        db.put("first", "").expect("it is written");
        disk.record();
        let model = Model::from([(b"first".to_vec(), Vec::new())]);
        let states = BTreeMap::from([(u64::from(db.last_seqno()), model.clone())]);
        World { disk, db: Some(db), how, model, states, snapshots: Vec::new(), made: 0 }
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("it is open between steps")
    }

    fn value(&mut self, choice: u8) -> Vec<u8> {
        self.made += 1;
        let mut bytes = vec![0; LENS[usize::from(choice) % LENS.len()]];
        let seed = self.made << 8 | u64::from(choice);
        Random::new(seed).fill(&mut bytes);
        bytes
    }

    /// The model was changed by what was written; a barrier says that it is durable.
    fn note(&mut self, durable: bool) {
        let seqno = u64::from(self.db().last_seqno());
        self.states.insert(seqno, self.model.clone());
        if durable {
            self.states.retain(|earlier, _| *earlier >= seqno);
        }
    }

    /// All that was written is durable.
    fn settle(&mut self) {
        let last = u64::from(self.db().last_seqno());
        self.states.retain(|seqno, _| *seqno >= last);
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Write(write, choice) => self.write(*write, durability(*choice)),
            Op::Batch(writes, choice) => self.batch(writes, durability(*choice)),
            Op::Transaction { reads, writes, meanwhile } => self.transaction(reads, writes, *meanwhile),
            Op::Swap { key, right, new } => self.swap(*key, *right, *new),
            Op::Increment(key, by) => self.increment(*key, *by),
            Op::Stream(key, choice) => self.stream(*key, *choice),
            Op::Snapshot if self.snapshots.len() < 4 => {
                let snapshot = self.db().snapshot();
                assert_eq!(snapshot.seqno(), self.db().last_seqno());
                self.snapshots.push((snapshot, self.model.clone()));
            }
            Op::Snapshot => {}
            Op::Forget(which) => {
                if !self.snapshots.is_empty() {
                    let at = usize::from(*which) % self.snapshots.len();
                    drop(self.snapshots.swap_remove(at));
                }
            }
            Op::Sync => {
                assert_eq!(self.db().sync().expect("it syncs"), self.db().last_seqno());
                self.settle();
            }
            Op::Seal => {
                self.db().seal().expect("it seals");
                self.settle();
            }
            Op::Spare => drop(sim::make_spare(self.db())),
            Op::Hints => sim::make_hints(self.db()).expect("hints are made"),
            Op::Checkpoint => {
                self.db().checkpoint().expect("the index is written");
                self.settle();
            }
            Op::Archive => {
                self.db().archive().expect("it is packed");
                self.compare();
            }
            Op::Compact => {
                self.db().compact().expect("it is compacted");
                self.settle();
                self.compare();
            }
            Op::Verify => {
                let report = self.db().verify().expect("it is verified");
                assert!(report.is_clean(), "{report:?}");
                self.compare();
            }
            Op::Reopen(how) => self.reopen(*how),
            Op::Crash(choice) => self.crash(*choice),
            Op::ReadOnly => {
                let db = sim::open_read_only(options(self.how), Arc::new(self.disk.clone())).expect("it opens beside");
                compare(&db, &self.model);
            }
            Op::Feed => self.feed(),
        }
    }

    fn write(&mut self, write: Write, durability: Durability) {
        let key = base::key(write.key % KEYS);
        let last = self.db().last_seqno();
        match write.len {
            Some(choice) => {
                let value = self.value(choice);
                let options = PutOptions::new().durability(durability);
                self.db().put_with(&key, &value, options).expect("it is written");
                self.model.insert(key, value);
            }
            None => {
                let was = self.db().delete_with(&key, durability).expect("it is written");
                assert_eq!(was, self.model.remove(&key).is_some(), "a delete says whether it was there");
            }
        }
        let wrote = self.db().last_seqno() != last;
        self.note(wrote && durability != Durability::Os);
    }

    fn batch(&mut self, writes: &[Write], durability: Durability) {
        let mut batch = self.db().batch();
        for write in writes.iter().take(12) {
            let key = base::key(write.key % KEYS);
            match write.len {
                Some(choice) => {
                    let value = self.value(choice);
                    batch.put(self.db(), &key, &value);
                    self.model.insert(key, value);
                }
                None => {
                    batch.delete(self.db(), &key);
                    self.model.remove(&key);
                }
            }
        }
        let last = self.db().last_seqno();
        batch.commit_with(durability).expect("it is written");
        let wrote = self.db().last_seqno() != last;
        self.note(wrote && durability != Durability::Os);
    }

    fn transaction(&mut self, reads: &[u8], writes: &[Write], meanwhile: Option<u8>) {
        let (mut transaction, mut seen) = (self.db().begin(), self.model.clone());
        let mut read = Vec::new();
        for key in reads.iter().take(6).map(|key| base::key(key % KEYS)) {
            let found = transaction.get(self.db(), &key).expect("it reads");
            assert_eq!(found.as_deref(), seen.get(&key).map(Vec::as_slice));
            read.push(key);
        }
        let mut changes = BTreeMap::new();
        for write in writes.iter().take(6) {
            let key = base::key(write.key % KEYS);
            match write.len {
                Some(choice) => {
                    let value = self.value(choice);
                    transaction.put(self.db(), &key, &value).expect("it is taken");
                    seen.insert(key.clone(), value.clone());
                    changes.insert(key, Some(value));
                }
                None => {
                    let was = transaction.delete(self.db(), &key).expect("it is taken");
                    assert_eq!(was, seen.remove(&key).is_some());
                    if was {
                        changes.insert(key.clone(), None);
                    }
                    read.push(key);
                }
            }
        }
        for number in 0..KEYS {
            let key = base::key(number);
            if seen.get(&key) != self.model.get(&key) {
                let found = transaction.get(self.db(), &key).expect("it reads");
                assert_eq!(found.as_deref(), seen.get(&key).map(Vec::as_slice), "it sees its own writes");
            }
        }
        let mut others = None;
        if let Some(number) = meanwhile {
            let key = base::key(number % KEYS);
            self.write(Write { key: number % KEYS, len: Some(1) }, Durability::Os);
            others = Some(key);
        }
        match transaction.commit() {
            Ok(_) => {
                let conflict = others.as_ref().is_some_and(|key| read.contains(key)) && !changes.is_empty();
                assert!(!conflict, "a key that it read was changed");
                for (key, change) in changes {
                    match change {
                        Some(value) => drop(self.model.insert(key, value)),
                        None => drop(self.model.remove(&key)),
                    }
                }
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
                assert!(others.is_some_and(|key| read.contains(&key)), "nothing that it read was changed");
            }
        }
        self.note(false);
        self.db().sync().expect("it syncs");
        self.settle();
    }

    fn swap(&mut self, key: u8, right: bool, new: Option<u8>) {
        let key = base::key(key % KEYS);
        let (value, there) = (new.map(|choice| self.value(choice)), self.model.get(&key).cloned());
        let expected = if right { there.clone() } else { Some(b"something else".to_vec()) };
        let done = self.db().compare_and_swap(&key, expected.as_deref(), value.as_deref()).expect("it swaps");
        assert_eq!(done, expected == there, "a swap says whether it was done");
        if done {
            match value {
                Some(value) => drop(self.model.insert(key, value)),
                None => drop(self.model.remove(&key)),
            }
        }
        self.note(false);
    }

    fn increment(&mut self, key: u8, by: i64) {
        let key = base::key(key % KEYS);
        let there: Option<[u8; 8]> = match self.model.get(&key) {
            None => Some([0; 8]),
            Some(value) => value.as_slice().try_into().ok(),
        };
        let sum = there.and_then(|there| i64::from_le_bytes(there).checked_add(by));
        match self.db().increment(&key, by) {
            Ok(found) => {
                assert_eq!(Some(found), sum);
                self.model.insert(key, found.to_le_bytes().to_vec());
            }
            Err(error) => assert!(error.kind() == ErrorKind::Invalid && sum.is_none(), "{error:?}"),
        }
        self.note(false);
    }

    fn stream(&mut self, key: u8, choice: u8) {
        use std::io::Write as _;
        let (key, value) = (base::key(key % KEYS), self.value(choice));
        let mut writer = self.db().put_writer(&key, value.len() as u64).expect("it begins");
        writer.write_all(&value).expect("it is taken");
        if choice & 64 != 0 {
            drop(writer);
            return;
        }
        writer.finish().expect("it is written");
        self.model.insert(key, value);
        self.note(false);
    }

    fn reopen(&mut self, how: u8) {
        let last = self.db().last_seqno();
        self.db.take().expect("it is open").close().expect("it closes");
        self.settle_at(u64::from(last));
        self.check_snapshots();
        self.snapshots.clear();
        // What was chosen when it was made stays.
        self.how = how & 7 | self.how & 8;
        let db = sim::open(options(self.how), SEGMENT, Arc::new(self.disk.clone())).expect("it opens again");
        assert_eq!((db.last_seqno(), db.stats().recovery.torn_bytes), (last, 0));
        self.db = Some(db);
        self.compare();
    }

    fn settle_at(&mut self, last: u64) {
        self.states.retain(|seqno, _| *seqno >= last);
    }

    fn crash(&mut self, choice: u16) {
        self.made += 1;
        // Each life of a disk has random numbers of its own: no two segments may have the same epoch.
        let (point, mut random) = (self.disk.position(), Random::new(self.made << 16 | u64::from(choice)));
        let budget = 8;
        let images: Vec<_> = self.disk.images(point, budget, &mut random).collect();
        let image = images[usize::from(choice) % images.len()].clone();
        drop(images);
        self.check_snapshots();
        self.snapshots.clear();
        self.db = None;
        self.disk = image;
        self.disk.record();
        let db = sim::open(options(self.how), SEGMENT, Arc::new(self.disk.clone())).expect("any image opens");
        let seqno = u64::from(db.last_seqno());
        let Some(model) = self.states.get(&seqno) else {
            panic!("seqno {seqno} is none of {:?}", self.states.keys());
        };
        self.model = model.clone();
        self.db = Some(db);
        // Recovery has made durable what it found.
        self.states = BTreeMap::from([(seqno, self.model.clone())]);
        self.compare();
    }

    fn feed(&mut self) {
        let last = self.db().last_seqno();
        let Ok(tail) = self.db().tail(last) else { return };
        for batch in tail {
            let batch = batch.expect("the newest batch is there");
            assert_eq!(batch.seqno(), last);
            for change in batch.changes() {
                let newer = batch.changes().iter().rev().find(|other| other.key == change.key);
                if std::ptr::eq(newer.expect("itself at least"), change) {
                    assert_eq!(change.value.as_deref(), self.model.get(&*change.key).map(Vec::as_slice));
                }
            }
        }
    }

    fn compare(&self) {
        compare(self.db(), &self.model);
        self.check_snapshots();
    }

    fn check_snapshots(&self) {
        let Some(db) = &self.db else { return };
        for (snapshot, model) in &self.snapshots {
            for number in 0..KEYS {
                let key = base::key(number);
                let found = snapshot.get(db, &key).expect("it reads");
                assert_eq!(found.as_deref(), model.get(&key).map(Vec::as_slice), "a snapshot stays what it was");
            }
            let all: Model = snapshot.iter(db).map(pair).collect();
            assert!(all == *model, "a pass over a snapshot shows what it was");
        }
    }

    fn end(mut self) {
        self.compare();
        self.reopen(self.how);
        assert!(self.db().verify().expect("it is verified").is_clean());
    }
}

fn pair(pair: zipcask::Result<(zipcask::Value, zipcask::Value)>) -> (Vec<u8>, Vec<u8>) {
    let (key, value) = pair.expect("it reads");
    (key.to_vec(), value.to_vec())
}

fn compare(db: &Db, model: &Model) {
    assert_eq!(db.len(), model.len() as u64);
    for number in 0..KEYS {
        let key = base::key(number);
        let found = db.get(&key).expect("it reads");
        assert_eq!(found.as_deref(), model.get(&key).map(Vec::as_slice), "{key:?}");
    }
    let reader = db.reader();
    for (key, value) in model {
        assert_eq!(reader.get(key).expect("it reads"), Some(&value[..]));
    }
    let all: Model = db.iter().map(pair).collect();
    assert!(all == *model, "a pass shows all");
}
