//! Threads that write the same few keys: one order, that of the seqnos, for readers, in memory and on disk.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use fastrand::Rng;
use zipcask::{Db, Durability, Options, PutOptions, ReadMode, Reader};

use crate::bytes;
use crate::counts::Counts;
use crate::jobs;
use crate::order::{Order, Put, Read, Write};
use crate::ways::{Checked, Way, told};

pub(crate) const THREADS: u32 = 8;

/// The first keys: batches put or delete them, always all together.
const TOGETHER: u32 = 4;

/// Records of the longest batch.
const BATCH: u32 = 8;

/// Steps of a thread.
const STEPS: u32 = 12_000;

/// Bytes before what follows from them: key, writer, number.
const HEADER: usize = 12;

/// How many keys there are races on.
pub(crate) fn keys(seed: u64) -> u32 {
    16 + bytes::mix(seed, 0) as u32 % 49
}

/// Of the other keys, the even ones are deleted by batches only, which say as which seqno.
fn is_exact(key: u32) -> bool {
    key < TOGETHER || key.is_multiple_of(2)
}

/// Keys of its own that a thread adds, so that the index grows under the races.
fn filler(writer: u32, number: u32) -> [u8; 8] {
    (u64::from(writer + 1) << 32 | u64::from(number)).to_le_bytes()
}

fn name(key: u32) -> [u8; 4] {
    key.to_le_bytes()
}

fn encode(key: u32, (writer, number): Put) -> Vec<u8> {
    let source = bytes::mix(u64::from(key) << 32 | u64::from(writer), u64::from(number));
    let len = match source % 1000 {
        0 => 65_600 + source as usize % 20_000,
        1..=19 => 4096,
        _ => 8 + (source >> 32) as usize % 150,
    };
    let mut value: Vec<u8> = [key, writer, number].into_iter().flat_map(u32::to_le_bytes).collect();
    value.extend(bytes::from(source, len));
    value
}

/// The put that this value is of, whole.
fn decode(key: u32, value: &[u8]) -> Checked<Put> {
    let word = |at: usize| value.get(at..at + 4).and_then(<[u8]>::first_chunk).map(|word| u32::from_le_bytes(*word));
    let (Some(of), Some(writer), Some(number)) = (word(0), word(4), word(8)) else {
        return Err(format!("key {key} shows {} bytes, fewer than anybody wrote", value.len()));
    };
    let written = encode(of, (writer, number));
    if of != key || value[HEADER..] != written[HEADER..] {
        return Err(format!("key {key} shows {} bytes: not whole what thread {writer} put as {number}", value.len()));
    }
    Ok((writer, number))
}

struct Racer<'a> {
    db: &'a Db,
    number: u32,
    keys: u32,
    random: Rng,
    puts: u32,
    writes: Vec<Write>,
    reads: Vec<Read>,
    /// Full passes: each of every key of the races, as read between the same two moments.
    passes: Vec<Vec<Read>>,
    counts: Counts,
}

fn open(dir: &Path, read_mode: ReadMode) -> Checked<Db> {
    told(Options::new().segment_size(512 * 1024).durability(Durability::Os).read_mode(read_mode).open(dir))
}

/// Lets the threads race, puts what they wrote in order, and looks whether what they read and what is left fits.
pub(crate) fn run(seed: u64, read_mode: ReadMode) -> Checked<Counts> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (db, start) = (open(dir.path(), read_mode)?, Barrier::new(THREADS as usize));
    let done = AtomicBool::new(false);
    let (racers, archives) = std::thread::scope(|scope| {
        let (db, start, done) = (&db, &start, &done);
        let compactor = scope.spawn(move || jobs::run(db, done));
        let race = |number| {
            scope.spawn(move || {
                start.wait();
                Racer::new(db, number, seed).run().map_err(|what| format!("thread {number}: {what}"))
            })
        };
        let threads: Vec<_> = (0..THREADS).map(race).collect();
        let racers = threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread panicked".to_string())?);
        let racers = racers.collect::<Vec<_>>();
        done.store(true, Ordering::Relaxed);
        let archives = compactor.join().map_err(|_| "the compactor panicked".to_string())?;
        Ok::<_, String>((racers.into_iter().collect::<Checked<Vec<_>>>()?, archives?))
    })?;
    let writes: Vec<_> = racers.iter().flat_map(|racer| racer.writes.iter().copied()).collect();
    let under_way = u64::from(THREADS * BATCH);
    let count = keys(seed) + 1;
    let order = Order::new(count, &writes, db.last_seqno().into(), under_way)?;
    for racer in &racers {
        racer.check(&order).map_err(|what| format!("thread {}: {what}", racer.number))?;
    }
    let fillers = writes.iter().filter(|write| write.key == keys(seed)).filter_map(|write| write.put).collect();
    let mut counts: Counts = racers.iter().map(|racer| racer.counts).sum();
    counts.archives = archives;
    drop(racers);
    let before = left(&db, &order, seed, &fillers).map_err(|what| format!("at the end: {what}"))?;
    told(db.close())?;
    for read_mode in [ReadMode::Mmap, ReadMode::Positioned] {
        let db = open(dir.path(), read_mode)?;
        let after = left(&db, &order, seed, &fillers).map_err(|what| format!("after reopening: {what}"))?;
        if after != before {
            return Err(format!("memory had {before:?}, a reopened store has {after:?}"));
        }
        told(db.close())?;
    }
    Ok(counts)
}

/// What the keys show when the races are over, in all ways alike.
fn left(db: &Db, order: &Order, seed: u64, fillers: &Vec<Put>) -> Checked<BTreeMap<u32, Put>> {
    let mut left = BTreeMap::new();
    let (reader, last) = (db.reader(), db.last_seqno().into());
    for key in 0..keys(seed) {
        for way in Way::ALL {
            let seen =
                way.read(db, &reader, &name(key), |value| value.map(|value| decode(key, value)).transpose())??;
            order.fit(&Read { key, seen, before: last, after: last }, 0)?;
            if is_exact(key) && seen != order.last(key) {
                return Err(format!("key {key} shows {seen:?}, the last write is {:?}", order.last(key)));
            }
            left.extend(seen.map(|put| (key, put)));
        }
        if told(db.contains_key(name(key)))? != left.contains_key(&key) {
            return Err(format!("contains_key of key {key} says the opposite of get"));
        }
    }
    for (writer, number) in fillers {
        let seen = told(db.get(filler(*writer, *number)))?.ok_or("a key that was written once is missing")?;
        decode(keys(seed), &seen)?;
    }
    let mut passes = [BTreeMap::new(), BTreeMap::new()];
    let mut met = 0;
    for pair in db.iter() {
        let (key, value) = told(pair)?;
        met += meet(&mut passes[0], &key, &value)?;
    }
    let mut each = Ok(());
    let passed = reader.for_each(|key, value| match meet(&mut passes[1], key, value) {
        Ok(one) => {
            met += one;
            ControlFlow::Continue(())
        }
        Err(what) => {
            each = Err(what);
            ControlFlow::Break(())
        }
    });
    told(passed)?;
    each?;
    let live = (left.len() + fillers.len()) as u64;
    if passes != [left.clone(), left.clone()] || met != 2 * live || db.len() != live {
        return Err(format!(
            "{left:?} and {} other keys; passes show {met} of two times that: {passes:?}",
            fillers.len()
        ));
    }
    Ok(left)
}

/// Notes a key of the races that a pass shows; counts it.
fn meet(pass: &mut BTreeMap<u32, Put>, key: &[u8], value: &[u8]) -> Checked<u64> {
    if let Ok(key) = <[u8; 4]>::try_from(key) {
        let key = u32::from_le_bytes(key);
        pass.insert(key, decode(key, value)?);
    }
    Ok(1)
}

impl<'a> Racer<'a> {
    fn new(db: &'a Db, number: u32, seed: u64) -> Racer<'a> {
        Racer {
            db,
            number,
            keys: keys(seed),
            random: Rng::with_seed(bytes::mix(seed, u64::from(number) + 1)),
            puts: 0,
            writes: Vec::new(),
            reads: Vec::new(),
            passes: Vec::new(),
            counts: Counts::default(),
        }
    }

    fn run(mut self) -> Checked<Self> {
        let mut reader = self.db.reader();
        for step in 0..STEPS {
            match self.random.u8(..100) {
                0..=39 => self.put()?,
                40..=51 => self.delete()?,
                52..=66 => self.batch()?,
                67..=74 => self.put_together()?,
                _ => self.put_filler()?,
            }
            for _ in 0..3 {
                self.read(&reader)?;
            }
            if step % 97 == 0 {
                reader.refresh();
            }
            if (step + self.number * 700).is_multiple_of(6000) {
                self.iterate()?;
                self.pass(&reader)?;
            }
        }
        Ok(self)
    }

    fn visible(&self) -> u64 {
        self.db.last_seqno().into()
    }

    fn next_put(&mut self) -> Put {
        self.puts += 1;
        self.counts.puts += 1;
        (self.number, self.puts)
    }

    /// A key that is not of those written together.
    fn key(&mut self) -> u32 {
        self.random.u32(TOGETHER..self.keys)
    }

    fn note(&mut self, key: u32, put: Option<Put>, seqno: u64) {
        self.writes.push(Write { key, put, after: seqno - 1, upto: seqno, said_there: false });
    }

    fn put(&mut self) -> Checked<()> {
        let (key, put) = (self.key(), self.next_put());
        let is_durable = self.random.u16(..2000) == 0;
        let durability = if is_durable { Durability::Sync } else { Durability::Os };
        let options = PutOptions::new().durability(durability);
        let seqno = told(self.db.put_with(name(key), encode(key, put), options))?;
        self.note(key, Some(put), seqno.into());
        Ok(())
    }

    fn put_filler(&mut self) -> Checked<()> {
        let put = self.next_put();
        let seqno = told(self.db.put(filler(put.0, put.1), encode(self.keys, put)))?;
        self.note(self.keys, Some(put), seqno.into());
        Ok(())
    }

    fn delete(&mut self) -> Checked<()> {
        let key = self.key();
        self.counts.deletes += 1;
        if is_exact(key) {
            return self.commit(&[(key, None)]);
        }
        let after = self.visible();
        if told(self.db.delete(name(key)))? {
            let upto = self.visible();
            self.writes.push(Write { key, put: None, after, upto, said_there: true });
        }
        Ok(())
    }

    fn batch(&mut self) -> Checked<()> {
        self.counts.batches += 1;
        let mut writes = Vec::new();
        for _ in 0..self.random.u32(1..=BATCH) {
            let (key, puts) = (self.key(), self.random.u8(..3) > 0);
            writes.push((key, puts.then(|| self.next_put())));
        }
        self.commit(&writes)
    }

    /// All keys that are written together, by one put or delete.
    fn put_together(&mut self) -> Checked<()> {
        self.counts.batches += 1;
        let puts = self.random.u8(..4) > 0;
        let writes: Vec<_> = (0..TOGETHER).map(|key| (key, puts.then(|| self.next_put()))).collect();
        self.commit(&writes)
    }

    fn commit(&mut self, writes: &[(u32, Option<Put>)]) -> Checked<()> {
        let mut batch = self.db.batch();
        for (key, put) in writes {
            match put {
                Some(put) => batch.put(self.db, name(*key), encode(*key, *put)),
                None => batch.delete(self.db, name(*key)),
            };
        }
        let last = u64::from(told(batch.commit())?);
        for (back, (key, put)) in (0..).zip(writes.iter().rev()) {
            self.note(*key, *put, last - back);
        }
        Ok(())
    }

    fn read(&mut self, reader: &Reader) -> Checked<()> {
        let (key, way) = (self.random.u32(..self.keys), Way::ALL[self.random.usize(..4)]);
        let before = self.visible();
        let seen =
            way.read(self.db, reader, &name(key), |value| value.map(|value| decode(key, value)).transpose())??;
        self.counts.gets += 1;
        self.reads.push(Read { key, seen, before, after: self.visible() });
        Ok(())
    }

    /// One moment, in which those written together are all there, from one batch, or all missing.
    fn iterate(&mut self) -> Checked<()> {
        let before = self.visible();
        let all = self.db.iter();
        let after = self.visible();
        let mut shown = BTreeMap::new();
        for pair in all {
            let (key, value) = told(pair)?;
            meet(&mut shown, &key, &value)?;
        }
        let together: Vec<_> = (0..TOGETHER).map(|key| shown.get(&key)).collect();
        let first = together[0].map(|(writer, number)| (*writer, *number));
        for (key, put) in (0..).zip(together) {
            if put.copied() != first.map(|(writer, number)| (writer, number + key)) {
                return Err(format!("iter shows half a batch: key {key} is {put:?}, key 0 {first:?}"));
            }
        }
        self.keep_pass(&shown, before, after);
        Ok(())
    }

    fn pass(&mut self, reader: &Reader) -> Checked<()> {
        let before = self.visible();
        let (mut shown, mut met) = (BTreeMap::new(), Ok(0));
        let passed = reader.for_each(|key, value| {
            met = meet(&mut shown, key, value);
            if met.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        told(passed)?;
        met?;
        self.keep_pass(&shown, before, self.visible());
        Ok(())
    }

    fn keep_pass(&mut self, shown: &BTreeMap<u32, Put>, before: u64, after: u64) {
        self.counts.passed += u64::from(self.keys);
        let read = |key| Read { key, seen: shown.get(&key).copied(), before, after };
        self.passes.push((0..self.keys).map(read).collect());
    }

    /// Whether all that was read fits into the order, without going back.
    fn check(&self, order: &Order) -> Checked<()> {
        let mut floors = vec![0; self.keys as usize];
        for read in &self.reads {
            let floor = &mut floors[read.key as usize];
            *floor = order.fit(read, *floor)?;
        }
        self.passes
            .iter()
            .flatten()
            .try_for_each(|read| order.fit(read, 0).map(drop).map_err(|what| format!("pass: {what}")))
    }
}
