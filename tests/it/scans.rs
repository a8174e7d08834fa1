//! Scans that are held while the store goes on: each shows its moment to the end, whatever sides its keys are taken from.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::bytes::edit;
use crate::expiry::{disk, ttl};
use crate::intervals::{Bounds, is_inverted};
use zipcask::sim::{self, Random, SimDisk};
use zipcask::{
    Compression, Db, Durability, ErrorKind, Keyspace, KeyspaceOptions, Options, PutOptions, Range, ReadMode, Snapshot,
};

/// Values, each with the time from which on it is no more.
type Model = BTreeMap<Vec<u8>, (Vec<u8>, u64)>;

const NEVER: u64 = u64::MAX;
const STEP_MS: u64 = 20_000;

fn options(seed: u64) -> Options {
    let mode = if seed % 3 == 2 { ReadMode::Positioned } else { ReadMode::Mmap };
    let compression = if seed % 4 == 3 { Compression::Deflate } else { Compression::None };
    let ordered = KeyspaceOptions::new().ordered(true);
    let small = Options::new().durability(Durability::Os).segment_size(64 << 10).background(false);
    small.default_keyspace(ordered).read_mode(mode).archive_compression(compression)
}

/// Of one of several kinds, which begin alike for more or fewer bytes, so that their first eight bytes behind that are often the same.
fn key(kind: usize, random: &mut Random) -> Vec<u8> {
    let number = (random.below(700) as u16).to_be_bytes();
    let few = [0, 1, b'a', 0xff][random.below(4)];
    match kind {
        0 => (0..random.below(4)).map(|_| [0, 1, 0xfe, 0xff][random.below(4)]).collect(),
        1 => vec![0xff; random.below(20)],
        2 => [&b"a common beginning/sameword"[..], &number].concat(),
        3 => [&b"a common beginning/samewordsamewordsameword"[..], &number, &[few]].concat(),
        4 => [&b"a common beg"[..], &vec![few; random.below(12)]].concat(),
        5 => vec![0; random.below(20)],
        6 => [&number[..], &[few; 8]].concat(),
        _ => [&[0xff; 9][..], &vec![few; random.below(3)], &number].concat(),
    }
}

/// At a key, or right beside one.
fn bound(model: &Model, random: &mut Random) -> Bound<Vec<u8>> {
    let mut at = match model.iter().nth(random.below(model.len().max(1))) {
        Some((key, _)) if random.below(3) > 0 => key.clone(),
        _ => key(random.below(8), random),
    };
    match random.below(6) {
        0 => at.push(0),
        1 => drop(at.pop()),
        2 => at.push(0xff),
        _ => {}
    }
    match random.below(6) {
        0 => Bound::Unbounded,
        1..3 => Bound::Excluded(at),
        _ => Bound::Included(at),
    }
}

fn bounds(model: &Model, random: &mut Random) -> Bounds {
    match random.below(4) {
        0 => (Bound::Unbounded, Bound::Unbounded),
        _ => (bound(model, random), bound(model, random)),
    }
}

fn expected(model: &Model, bounds: &Bounds, time: u64) -> VecDeque<(Vec<u8>, Vec<u8>)> {
    if is_inverted(bounds) {
        return VecDeque::new();
    }
    let there = model.range(bounds.clone()).filter(|(_, (_, expiry))| *expiry > time);
    there.map(|(key, (value, _))| (key.clone(), value.clone())).collect()
}

/// A scan that is under way, and what it has left.
struct Held {
    range: Range,
    left: VecDeque<(Vec<u8>, Vec<u8>)>,
    what: String,
}

impl Held {
    /// Takes at most `most` keys from one side, or visits them.
    fn take(&mut self, side: usize, most: usize) {
        if side == 2 {
            let (left, mut count, what) = (&mut self.left, 0, &self.what);
            let each = |key: &[u8], value: &[u8]| {
                assert_eq!(left.pop_front(), Some((key.to_vec(), value.to_vec())), "visited: {what}");
                count += 1;
                if count < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            self.range.visit(each).unwrap();
            assert!(count == most || self.left.is_empty(), "visited: {what}, {} left", self.left.len());
            return;
        }
        for _ in 0..most {
            let (found, then) = match side {
                0 => (self.range.next(), self.left.pop_front()),
                _ => (self.range.next_back(), self.left.pop_back()),
            };
            let found = found.map(|pair| pair.unwrap()).map(|(key, value)| (key.to_vec(), value.to_vec()));
            assert_eq!(found, then, "side {side}: {}, {} left", self.what, self.left.len());
        }
    }

    fn take_some(&mut self, random: &mut Random) {
        for _ in 0..random.below(6) {
            self.take(random.below(3), 1 + [random.below(3), random.below(60)][random.below(2)]);
        }
    }

    fn take_all(mut self, random: &mut Random) {
        let only = random.below(4);
        while !self.left.is_empty() {
            let side = if only < 3 { only } else { random.below(3) };
            self.take(side, 1 + random.below(30));
        }
        self.take(0, 1);
        self.take(1, 1);
        self.take(2, 1);
    }
}

struct World {
    seed: u64,
    random: Random,
    disk: SimDisk,
    db: Db,
    other: Keyspace,
    models: [Model; 2],
    time: u64,
    open: Vec<(Snapshot, [Model; 2], u64)>,
    held: Vec<Held>,
    log: String,
}

fn open(disk: &SimDisk, seed: u64) -> (Db, Keyspace) {
    let db = sim::open(options(seed), 64 << 10, Arc::new(disk.clone())).unwrap();
    let aligned = KeyspaceOptions::new().ordered(true).value_align(if seed.is_multiple_of(2) { 64 } else { 8 });
    let other = db.keyspace_with("other", aligned).unwrap();
    (db, other)
}

impl World {
    fn new(seed: u64) -> World {
        let disk = disk();
        let (db, other) = open(&disk, seed);
        let (models, random) = (Default::default(), Random::new(seed));
        let (open, held, log) = (Vec::new(), Vec::new(), String::new());
        World { seed, random, disk, db, other, models, time: 0, open, held, log }
    }

    fn space(&self, which: usize) -> &Keyspace {
        if which == 0 { self.db.as_ref() } else { &self.other }
    }

    fn put(&mut self, which: usize, key: Vec<u8>) {
        let len = match self.random.below(120) {
            // It has a file of its own.
            0 => 40_000,
            1..4 => 9_000,
            other => [0, 5, 60, 300][other % 4],
        };
        let mut value = vec![0; len];
        self.random.fill(&mut value);
        let (options, expiry) = match self.random.below(12) {
            0 => {
                let lasts = STEP_MS * (1 + self.random.below(3) as u64) + STEP_MS / 2;
                (ttl(lasts), self.time + lasts)
            }
            _ => (PutOptions::new(), NEVER),
        };
        self.space(which).put_with(&key, &value, options).unwrap();
        self.models[which].insert(key, (value, expiry));
    }

    fn delete(&mut self, which: usize) {
        let at = self.random.below(self.models[which].len().max(1));
        if let Some(key) = self.models[which].keys().nth(at).cloned() {
            self.space(which).delete(&key).unwrap();
            self.models[which].remove(&key);
        }
    }

    /// Some writes to keys of one or two kinds: new ones in their order, or any.
    fn write(&mut self) {
        let kinds = [self.random.below(8), self.random.below(8)];
        let (which, most) = (usize::from(self.random.below(4) == 0), [5, 40, 300][self.random.below(3)]);
        let mut keys: Vec<_> = (0..1 + self.random.below(most))
            .map(|_| key(kinds[usize::from(self.random.below(5) == 0)], &mut self.random))
            .collect();
        match self.random.below(3) {
            0 => keys.sort(),
            1 => {
                keys.sort();
                keys.dedup();
                keys.retain(|key| !self.models[which].contains_key(key));
            }
            _ => {}
        }
        let _ = write!(self.log, " write {} of {kinds:?} to {which};", keys.len());
        let deletes = self.random.below(4);
        for key in keys {
            if deletes == 0 && self.random.below(3) == 0 {
                self.delete(which);
            }
            let beside = usize::from(self.random.below(20) == 0);
            self.put(which ^ beside, key);
        }
    }

    fn change_files(&mut self) {
        let what = self.random.below(40);
        let _ = write!(self.log, " files {what};");
        match what {
            0..14 => self.db.seal().unwrap(),
            14..18 => drop(self.db.archive().unwrap()),
            18..21 => assert_eq!(self.db.compact().unwrap().damaged, 0),
            21..23 => self.db.checkpoint().unwrap(),
            23 => {
                self.open.clear();
                let left = std::mem::take(&mut self.held);
                self.db.clone().close().unwrap();
                // They outlive it.
                left.into_iter().for_each(|held| held.take_all(&mut self.random));
                (self.db, self.other) = open(&self.disk, self.seed);
            }
            24 => {
                let which = self.random.below(2);
                self.space(which).clear().unwrap();
                self.models[which].clear();
            }
            25..28 => {
                self.disk.advance_ms(STEP_MS);
                self.time += STEP_MS;
            }
            28 | 29 => self.open.push((self.db.snapshot(), self.models.clone(), self.time)),
            30 => self.open.truncate(1),
            _ => {}
        }
    }

    /// Begins a scan of now, of a snapshot, or of a transaction with writes of its own.
    fn hold(&mut self) {
        let which = self.random.below(2);
        let how = self.random.below(4);
        let (range, left, bounds) = match how {
            0 if !self.open.is_empty() => {
                let (snapshot, models, time) = &self.open[self.random.below(self.open.len())];
                let bounds = bounds(&models[which], &mut self.random);
                let left = expected(&models[which], &bounds, *time);
                (snapshot.range(self.space(which), bounds.clone()).unwrap(), left, bounds)
            }
            1 => {
                let (mut model, mut transaction) = (self.models[which].clone(), self.db.begin());
                for _ in 0..self.random.below(30) {
                    let at = self.random.below(model.len().max(1));
                    let key = match model.keys().nth(at) {
                        Some(key) if self.random.below(2) == 0 => key.clone(),
                        _ => key(self.random.below(8), &mut self.random),
                    };
                    if self.random.below(2) == 0 {
                        transaction.delete(self.space(which), &key).unwrap();
                        model.remove(&key);
                    } else {
                        transaction.put(self.space(which), &key, "own").unwrap();
                        model.insert(key, (b"own".to_vec(), NEVER));
                    }
                }
                let bounds = bounds(&model, &mut self.random);
                let left = expected(&model, &bounds, self.time);
                (transaction.range(self.space(which), bounds.clone()).unwrap(), left, bounds)
            }
            _ => {
                let bounds = bounds(&self.models[which], &mut self.random);
                let left = expected(&self.models[which], &bounds, self.time);
                (self.space(which).range(bounds.clone()).unwrap(), left, bounds)
            }
        };
        let what = format!("seed {}, how {how} of {which}, {bounds:?};{}", self.seed, self.log);
        self.held.push(Held { range, left, what });
    }

    fn run(mut self, rounds: usize) {
        for _ in 0..rounds {
            self.write();
            self.change_files();
            for _ in 0..self.random.below(4) {
                self.hold();
            }
            for held in &mut self.held {
                held.take_some(&mut self.random);
            }
            while self.held.len() > 4 {
                let at = self.random.below(self.held.len());
                self.held.swap_remove(at).take_all(&mut self.random);
            }
        }
        std::mem::take(&mut self.held).into_iter().for_each(|held| held.take_all(&mut self.random));
    }
}

#[test]
fn a_scan_that_is_held_goes_on_with_its_moment_from_both_ends() {
    for seed in 1..=8 {
        println!("seed {seed}");
        World::new(seed).run(60);
    }
}

#[test]
fn a_scan_of_a_follower_goes_on_with_its_moment_while_that_follows() {
    for seed in 1..=4 {
        println!("seed {seed}");
        let (dir, mut random, mut model) = (tempfile::tempdir().unwrap(), Random::new(seed), Model::new());
        let db = options(seed).open(dir.path()).unwrap();
        let follower = options(seed / 2).open_read_only(dir.path()).unwrap();
        let mut held: Vec<Held> = Vec::new();
        for round in 0..60 {
            let kind = random.below(8);
            for _ in 0..random.below(200) {
                let key = key(kind, &mut random);
                if random.below(4) == 0 {
                    db.delete(&key).unwrap();
                    model.remove(&key);
                } else {
                    let value = vec![round; [3, 100, 400][random.below(3)]];
                    db.put(&key, &value).unwrap();
                    model.insert(key, (value, NEVER));
                }
            }
            match random.below(12) {
                0..4 => db.seal().unwrap(),
                4 => drop(db.archive().unwrap()),
                5 | 6 => drop(db.compact().unwrap()),
                7 => {
                    db.clear().unwrap();
                    model.clear();
                }
                _ => {}
            }
            held.iter_mut().for_each(|held| held.take_some(&mut random));
            if random.below(3) > 0 {
                follower.refresh().unwrap();
                let bounds = bounds(&model, &mut random);
                let (range, left) = (follower.range(bounds.clone()).unwrap(), expected(&model, &bounds, 0));
                held.push(Held { range, left, what: format!("seed {seed}, round {round}, {bounds:?}") });
            }
            held.iter_mut().for_each(|held| held.take_some(&mut random));
            while held.len() > 3 {
                held.remove(0).take_all(&mut random);
            }
        }
        held.into_iter().for_each(|held| held.take_all(&mut random));
    }
}

const GROUPS: u32 = 8;
const MEMBERS: u32 = 25;

/// Keys that are written together, far apart.
fn member(group: u32, number: u32) -> Vec<u8> {
    let begin: &[u8] = if number.is_multiple_of(2) { b"a common beginning/sameword" } else { b"b" };
    [begin, &number.to_be_bytes(), &group.to_be_bytes()].concat()
}

/// Checks that what a scan shows of each group was written together.
fn check_members(mut scan: Range, random: &mut Random, what: &str) {
    let (mut below, mut above) = (Vec::new(), Vec::new());
    loop {
        let is_below = random.below(2) == 0;
        let Some(pair) = (if is_below { scan.next() } else { scan.next_back() }) else { break };
        if is_below { &mut below } else { &mut above }.push(pair.unwrap());
    }
    below.extend(above.into_iter().rev());
    assert!(below.is_sorted_by(|a, b| *a.0 < *b.0), "{what}");
    assert_eq!(below.len() as u32, GROUPS * (MEMBERS + 1), "{what}");
    for group in 0..GROUPS {
        let of = |key: &[u8]| key.ends_with(&group.to_be_bytes());
        let mut values = below.iter().filter(|(key, _)| of(key)).map(|(_, value)| value);
        let first = values.next().unwrap();
        assert!(values.all(|value| value == first), "{what}, group {group}");
    }
}

#[test]
fn keys_that_are_written_together_are_of_one_moment_in_every_scan() {
    for seed in 1..=2 {
        println!("seed {seed}");
        let dir = tempfile::tempdir().unwrap();
        let db = options(seed).open(dir.path()).unwrap();
        let write = |db: &Db, group: u32, round: u64| {
            let mut batch = db.batch();
            for number in 0..MEMBERS {
                batch.put(db, member(group, number), round.to_le_bytes());
            }
            // One of them is there by turns.
            let gone = member(group, MEMBERS + round as u32 % 2);
            batch.put(db, member(group, MEMBERS + (round as u32 + 1) % 2), round.to_le_bytes()).delete(db, gone);
            batch.commit().unwrap();
        };
        (0..GROUPS).for_each(|group| write(&db, group, 0));
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut random = Random::new(seed);
                for round in 1.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    // Some groups stay as they are for long: whole files of them.
                    let most = 1 + random.below(GROUPS as usize);
                    let group = random.below(most) as u32;
                    write(&db, group, round);
                }
            });
            scope.spawn(|| {
                for round in 0.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    match round % 4 {
                        0 => drop(db.compact().unwrap()),
                        2 => drop(db.archive().unwrap()),
                        _ => db.seal().unwrap(),
                    }
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
            });
            let mut random = Random::new(seed + 100);
            let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                for round in 0..40 {
                    let scan = if round % 3 == 0 { db.snapshot().range(&db, "a"..) } else { db.prefix("") };
                    check_members(scan.unwrap(), &mut random, &format!("seed {seed}, round {round}"));
                }
            }));
            done.store(true, Ordering::Relaxed);
            found.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
    }
}

/// What is taken from a side, with `None` for what cannot be read.
fn taken(range: &mut Range, side: usize) -> Option<Option<Vec<u8>>> {
    let pair = if side == 0 { range.next() } else { range.next_back() };
    pair.map(|pair| match pair {
        Ok((key, _)) => Some(key.to_vec()),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corruption);
            None
        }
    })
}

#[test]
fn damaged_values_are_errors_in_their_places_from_both_ends() {
    for seed in 1..=12 {
        let (dir, mut random) = (tempfile::tempdir().unwrap(), Random::new(seed));
        let mut all = BTreeMap::new();
        let db = options(seed).open(dir.path()).unwrap();
        for file in 1..=4_usize {
            let mut keys: Vec<_> = (0..120).map(|_| key(2 + 4 * random.below(2), &mut random)).collect();
            if seed % 2 == 0 {
                keys.sort();
            }
            for key in keys {
                db.put(&key, [&b"the value of "[..], &key, &[file as u8; 3]].concat()).unwrap();
                all.insert(key, file);
            }
            db.seal().unwrap();
        }
        db.checkpoint().unwrap();
        db.close().unwrap();
        let mut hit = Vec::new();
        for _ in 0..25 {
            let (key, file) = all.iter().nth(random.below(all.len())).unwrap();
            if hit.contains(key) {
                continue;
            }
            hit.push(key.clone());
            edit(&dir.path().join(format!("segments/{file:010}.seg")), |bytes| {
                let value = [&b"the value of "[..], key, &[*file as u8; 3]].concat();
                let at = bytes.windows(value.len()).rposition(|window| window == value).unwrap();
                bytes[at + random.below(value.len())] ^= 1 << random.below(8);
            });
        }
        let db = options(seed).open(dir.path()).unwrap();
        for round in 0..12 {
            let mut range = db.prefix(if round % 3 == 0 { &b""[..] } else { b"a common" }).unwrap();
            let within = all.keys().filter(|key| round % 3 == 0 || key.starts_with(b"a common"));
            let mut left: VecDeque<_> = within.map(|key| (!hit.contains(key)).then(|| key.clone())).collect();
            while !left.is_empty() {
                let side = if round % 4 < 2 { round % 2 } else { random.below(2) };
                let then = if side == 0 { left.pop_front() } else { left.pop_back() };
                assert_eq!(taken(&mut range, side), then, "seed {seed}, round {round}, side {side}");
            }
            assert_eq!((taken(&mut range, 0), taken(&mut range, 1)), (None, None), "seed {seed}, round {round}");
        }
    }
}

/// A store whose second file begins with a damaged record that was replaced, behind one with many keys; it has the keys "key 000" to 299.
fn with_a_break() -> (tempfile::TempDir, Db) {
    let dir = tempfile::tempdir().unwrap();
    let open = || options(1).segment_size(16 << 20).open(dir.path()).unwrap();
    let db = open();
    for i in 0..20_000_u32 {
        db.put([&b"a"[..], &i.to_be_bytes()].concat(), "").unwrap();
    }
    db.seal().unwrap();
    db.put("key 000", "what is damaged").unwrap();
    for i in 0..300 {
        db.put(format!("key {i:03}"), "0").unwrap();
    }
    db.checkpoint().unwrap();
    db.close().unwrap();
    edit(&dir.path().join("segments/0000000002.seg"), |bytes| {
        let at = bytes.windows(7).position(|window| window == b"key 000").unwrap();
        bytes[at - 8] ^= 0x40;
    });
    let db = open();
    (dir, db)
}

#[test]
fn keys_behind_a_break_are_shown_while_they_are_overwritten() {
    for round in 0..3 {
        let ((_dir, db), begun) = (with_a_break(), AtomicBool::new(false));
        let found = std::thread::scope(|scope| {
            scope.spawn(|| {
                for i in 0..300 {
                    db.put(format!("key {i:03}"), "1").unwrap();
                    begun.store(i > 20, Ordering::Relaxed);
                }
            });
            while !begun.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            db.prefix("key").unwrap().map(Result::unwrap).count()
        });
        assert_eq!(found, 300, "round {round}");
    }
}

#[test]
fn keys_behind_a_break_are_shown_as_of_before_their_keyspace_was_cleared() {
    for scanned in [false, true] {
        let (_dir, db) = with_a_break();
        let before = db.snapshot();
        db.clear().unwrap();
        db.put("key new", "").unwrap();
        if scanned {
            assert_eq!(db.prefix("key").unwrap().count(), 1);
        }
        assert_eq!(before.prefix(&db, "key").unwrap().count(), 300, "scanned: {scanned}");
    }
}
