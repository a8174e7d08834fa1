//! Power cuts while keyspaces come and go, and while keys pass away, in transactions, and are put in order by jobs.

use std::sync::Arc;

use zipcask::sim::{Random, Sabotage, SimDisk, plant};
use zipcask::{Db, Durability, ErrorKind, Options, PutOptions, Snapshot};

use crate::consumer::{self, Feed};
use crate::history::SEGMENT;
use crate::world::{self, HOURS, KEYS, Kept, NAMES, Space, TTLS, World, key, wrong};

/// Bytes of a value that has a file of its own.
const LARGE: usize = 4500;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) seed: u64,
    pub(crate) histories: u64,
    pub(crate) steps: usize,
    /// Images of a point.
    pub(crate) images: usize,
}

/// What came up, so that a run tells whether it means anything.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Counts {
    pub(crate) points: u64,
    pub(crate) images: u64,
    pub(crate) created: u64,
    pub(crate) dropped: u64,
    pub(crate) cleared: u64,
    pub(crate) transactions: u64,
    pub(crate) conflicts: u64,
    pub(crate) expired: u64,
    pub(crate) jobs: u64,
    pub(crate) snapshots: u64,
    /// Cursors that were made, and times that one moved.
    pub(crate) cursors: u64,
    pub(crate) moves: u64,
}

/// A state of the store: the end of a write.
struct State {
    world: World,
    seqno: u64,
    /// Where the write was issued.
    issued: usize,
}

struct History {
    disk: SimDisk,
    random: Random,
    world: World,
    states: Vec<State>,
    /// From which position on how many writes must survive.
    floors: Vec<(usize, usize)>,
    snapshots: Vec<(Snapshot, World)>,
    feed: Feed,
    /// Whether writes wait for nothing unless they say so.
    lazy: bool,
    born: u64,
    counts: Counts,
}

pub(crate) fn run(effort: Effort, sabotage: Option<Sabotage>) -> Result<Counts, String> {
    let mut sum = Counts::default();
    for number in 0..effort.histories {
        plant(sabotage);
        let outcome = cut_everywhere(effort, number, &mut sum);
        plant(None);
        outcome.map_err(|what| format!("seed {}, history {number} of keyspaces: {what}", effort.seed))?;
    }
    Ok(sum)
}

fn open(disk: &SimDisk, lazy: bool) -> Result<Db, String> {
    let durability = if lazy { Durability::Os } else { Durability::Sync };
    zipcask::sim::open(Options::new().durability(durability), SEGMENT, Arc::new(disk.clone()))
        .map_err(|error| format!("refused: {error:?}"))
}

fn cut_everywhere(effort: Effort, number: u64, sum: &mut Counts) -> Result<(), String> {
    let mut history = History::new(Random::new((effort.seed << 20 | number) ^ 0x5eed_0f5a), number % 2 == 1);
    let mut db = open(&history.disk, history.lazy)?;
    for step in 0..effort.steps {
        db = history.step(db).map_err(|what| format!("step {step}: {what}"))?;
    }
    history.snapshots.clear();
    db.close().map_err(wrong)?;
    history.settle();
    let mut counts = history.counts;
    let mut recording = history.disk.recording();
    for point in recording.points() {
        counts.points += 1;
        let mut random = Random::new(history.random.next_u64());
        let later = HOURS * history.random.below(8) as u64;
        for image in recording.images(point, effort.images, &mut random) {
            counts.images += 1;
            history.check(&image, point, later).map_err(|what| format!("point {point}: {what}"))?;
        }
    }
    sum.add(&counts);
    Ok(())
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        self.points += other.points;
        self.images += other.images;
        self.created += other.created;
        self.dropped += other.dropped;
        self.cleared += other.cleared;
        self.transactions += other.transactions;
        self.conflicts += other.conflicts;
        self.expired += other.expired;
        self.jobs += other.jobs;
        self.snapshots += other.snapshots;
        self.cursors += other.cursors;
        self.moves += other.moves;
    }
}

impl History {
    fn new(mut random: Random, lazy: bool) -> History {
        let disk = SimDisk::new(random.next_u64());
        disk.record();
        let mut world = World::default();
        world.spaces.insert(NAMES[0], Space::default());
        world::set_hour(&disk, 0);
        let states = vec![State { world: world.clone(), seqno: 0, issued: 0 }];
        let (floors, snapshots, counts) = (vec![(0, 0)], Vec::new(), Counts::default());
        let feed = Feed::default();
        History { disk, random, world, states, floors, snapshots, feed, lazy, born: 0, counts }
    }

    /// Everything written so far survives a cut from here on.
    fn settle(&mut self) {
        self.floors.push((self.disk.position(), self.states.len() - 1));
    }

    /// One thing that an application does; what is there afterwards is what should be.
    fn step(&mut self, db: Db) -> Result<Db, String> {
        let issued = self.disk.position();
        let mut db = db;
        let kind = self.random.below(38);
        let durable = match kind {
            0..=7 => self.write(&db)?,
            8..=10 => self.batch(&db)?,
            11..=14 => self.transaction(&db)?,
            15 | 16 => self.change(&db)?,
            17 | 18 => self.create(&db)?,
            19 => self.drop_one(&db)?,
            20 => self.clear(&db)?,
            21 | 22 => self.pass_time(),
            23 => self.snapshot(&db)?,
            24 => db.seal().map_err(wrong).map(|()| true)?,
            25 => db.checkpoint().map_err(wrong).map(|()| true)?,
            26 => {
                self.snapshots.clear();
                db.close().map_err(wrong)?;
                db = open(&self.disk, self.lazy)?;
                true
            }
            27 => self.archive(&db)?,
            30 => self.make_cursor(&db)?,
            31 => self.drop_cursor(&db)?,
            32..=37 => self.move_cursor(&db)?,
            _ => {
                self.counts.jobs += db.compact().map_err(wrong)?.archives;
                // It seals the log first.
                true
            }
        };
        let (seqno, writes) = (u64::from(db.last_seqno()), kind <= 20 || kind >= 30);
        let before = self.states.last().map_or(0, |state| state.seqno);
        let has_written = seqno != before;
        if has_written {
            self.feed.grow(&db, before, self.world.hour)?;
            self.states.push(State { world: self.world.clone(), seqno, issued });
        }
        // Who had nothing to write waited for nothing.
        if durable && (has_written || !writes) {
            self.settle();
        }
        self.world.check(&db, self.world.hour)?;
        self.feed.check(&db, &self.world.cursors, self.world.hour)?;
        for (snapshot, then) in &self.snapshots {
            then.check_then(snapshot, &db, &self.world)?;
        }
        Ok(db)
    }

    /// A keyspace that is there, and a key.
    fn pick(&mut self) -> (&'static str, Vec<u8>) {
        let names: Vec<_> = self.world.spaces.keys().copied().collect();
        (names[self.random.below(names.len())], key(self.random.below(usize::from(KEYS)) as u8))
    }

    fn durability(&mut self) -> Durability {
        [Durability::Os, Durability::Os, Durability::Sync][self.random.below(3)]
    }

    /// A value to put with a time to live, in hours, or without.
    fn value(&mut self) -> (Vec<u8>, Option<u64>) {
        let mut value = vec![0; [0, 8, 60, 200, 700, 1500, LARGE][self.random.below(7)]];
        self.random.fill(&mut value);
        let ttl = (self.random.below(3) == 0).then(|| TTLS[self.random.below(TTLS.len())]);
        (value, ttl)
    }

    fn put(&mut self, name: &str, key: &[u8], value: Vec<u8>, ttl: Option<u64>) {
        let until = ttl.or_else(|| world::ttl(name)).map(|ttl| self.world.hour + ttl);
        let space = self.world.spaces.get_mut(name).expect("it was picked");
        space.pairs.insert(key.to_vec(), Kept { value, until });
    }

    /// What has expired is no more, and may be counted until the next sweep, whether it is deleted or not.
    fn delete(&mut self, name: &str, key: &[u8]) {
        if self.get(name, key).is_some() {
            self.world.spaces.get_mut(name).expect("it was picked").pairs.remove(key);
        }
    }

    fn get(&self, name: &str, key: &[u8]) -> Option<Vec<u8>> {
        self.world.spaces[name].get(key, self.world.hour).map(<[u8]>::to_vec)
    }

    fn write(&mut self, db: &Db) -> Result<bool, String> {
        let ((name, key), durability) = (self.pick(), self.durability());
        let keyspace = db.keyspace(name).map_err(wrong)?;
        if self.random.below(4) == 0 {
            let there = keyspace.delete_with(&key, durability).map_err(wrong)?;
            if there != self.get(name, &key).is_some() {
                return Err(format!("wrong: a delete of {name} says {there}"));
            }
            if there {
                self.delete(name, &key);
            }
            return Ok(there && durability == Durability::Sync);
        }
        let (value, ttl) = self.value();
        let options = PutOptions::new().durability(durability);
        let options = ttl.map_or(options, |ttl| options.ttl(world::hours(ttl)));
        keyspace.put_with(&key, &value, options).map_err(wrong)?;
        self.put(name, &key, value, ttl);
        Ok(durability == Durability::Sync)
    }

    fn batch(&mut self, db: &Db) -> Result<bool, String> {
        let (mut batch, durability) = (db.batch(), self.durability());
        for _ in 0..2 + self.random.below(4) {
            let (name, key) = self.pick();
            let keyspace = db.keyspace(name).map_err(wrong)?;
            if self.random.below(4) == 0 {
                batch.delete(&keyspace, &key);
                self.delete(name, &key);
            } else {
                let (value, _) = self.value();
                batch.put(&keyspace, &key, &value);
                self.put(name, &key, value, None);
            }
        }
        batch.commit_with(durability).map_err(wrong)?;
        Ok(durability == Durability::Sync)
    }

    /// Reads and writes, and sees what it is to write; now and then somebody else is faster.
    fn transaction(&mut self, db: &Db) -> Result<bool, String> {
        let (mut transaction, before) = (db.begin(), self.world.clone());
        self.counts.transactions += 1;
        let (name, key) = self.pick();
        let keyspace = db.keyspace(name).map_err(wrong)?;
        if transaction.get(&keyspace, &key).map_err(wrong)?.as_deref() != self.get(name, &key).as_deref() {
            return Err(format!("wrong: a transaction reads something else of {name}"));
        }
        if self.random.below(4) == 0 {
            keyspace.put(&key, "faster").map_err(wrong)?;
            transaction.put(&keyspace, &key, "slower").map_err(wrong)?;
            self.put(name, &key, b"faster".to_vec(), None);
            self.counts.conflicts += 1;
            return match transaction.commit() {
                Err(error) if error.kind() == ErrorKind::Conflict => Ok(!self.lazy),
                outcome => Err(format!("wrong: a transaction that came too late: {outcome:?}")),
            };
        }
        let gives_up = self.random.below(5) == 0;
        for _ in 0..1 + self.random.below(4) {
            let (name, key) = self.pick();
            let keyspace = db.keyspace(name).map_err(wrong)?;
            if self.random.below(4) == 0 {
                let there = transaction.delete(&keyspace, &key).map_err(wrong)?;
                if there != self.get(name, &key).is_some() {
                    return Err(format!("wrong: a delete in a transaction of {name} says {there}"));
                }
                self.delete(name, &key);
            } else {
                let (value, ttl) = self.value();
                let options = ttl.map_or(PutOptions::new(), |ttl| PutOptions::new().ttl(world::hours(ttl)));
                transaction.put_with(&keyspace, &key, &value, options).map_err(wrong)?;
                self.put(name, &key, value, ttl);
            }
            let shown = transaction.iter(&keyspace).count();
            let expected = (0..KEYS).filter(|number| self.get(name, &world::key(*number)).is_some()).count();
            if shown != expected {
                return Err(format!("wrong: a transaction passes over {shown} keys of {name}, not {expected}"));
            }
        }
        if gives_up {
            self.world = before;
            return Ok(false);
        }
        transaction.commit().map_err(wrong)?;
        Ok(!self.lazy)
    }

    /// Changes a key by what it is; it keeps its time.
    fn change(&mut self, db: &Db) -> Result<bool, String> {
        let (name, key) = self.pick();
        let keyspace = db.keyspace(name).map_err(wrong)?;
        let before = self.get(name, &key);
        let new = match self.random.below(3) {
            0 => {
                let swapped = keyspace.compare_and_swap(&key, before.as_deref(), Some(b"swapped"));
                if !swapped.map_err(wrong)? || keyspace.compare_and_swap(&key, None, None).map_err(wrong)? {
                    return Err(format!("wrong: a swap of {name}"));
                }
                b"swapped".to_vec()
            }
            1 if before.as_ref().is_none_or(|value| value.len() == 8) => {
                let number =
                    before.as_ref().map_or(0, |value| i64::from_le_bytes(value[..].try_into().expect("8 bytes")));
                let Some(sum) = number.checked_add(3) else { return Ok(false) };
                if keyspace.increment(&key, 3).map_err(wrong)? != sum {
                    return Err(format!("wrong: a sum of {name}"));
                }
                sum.to_le_bytes().to_vec()
            }
            _ => {
                let new = [before.as_deref().unwrap_or_default(), b"+"].concat();
                let updated = keyspace.update(&key, |now| Some([now.unwrap_or_default(), b"+"].concat()));
                if updated.map_err(wrong)?.as_deref() != Some(&new[..]) {
                    return Err(format!("wrong: an update of {name}"));
                }
                new
            }
        };
        let until = self.world.spaces[name].pairs.get(&key).and_then(|kept| kept.until).filter(|_| before.is_some());
        self.put(name, &key, new, None);
        if before.is_some() {
            let space = self.world.spaces.get_mut(name).expect("it was picked");
            space.pairs.get_mut(&key).expect("it was put").until = until;
        }
        Ok(!self.lazy)
    }

    fn create(&mut self, db: &Db) -> Result<bool, String> {
        let name = NAMES[1 + self.random.below(NAMES.len() - 1)];
        db.keyspace_with(name, world::options(name)).map_err(wrong)?;
        let (born, counts) = (&mut self.born, &mut self.counts);
        self.world.spaces.entry(name).or_insert_with(|| {
            *born += 1;
            counts.created += 1;
            Space { born: *born, ..Space::default() }
        });
        Ok(true)
    }

    fn drop_one(&mut self, db: &Db) -> Result<bool, String> {
        let name = NAMES[1 + self.random.below(NAMES.len() - 1)];
        let there = db.drop_keyspace(name).map_err(wrong)?;
        self.counts.dropped += u64::from(there);
        match self.world.spaces.remove(name).is_some() == there {
            true => Ok(there),
            false => Err(format!("wrong: dropping {name} says {there}")),
        }
    }

    fn clear(&mut self, db: &Db) -> Result<bool, String> {
        let (name, _) = self.pick();
        db.keyspace(name).and_then(|keyspace| keyspace.clear()).map_err(wrong)?;
        self.counts.cleared += 1;
        self.world.spaces.get_mut(name).expect("it was picked").pairs.clear();
        Ok(true)
    }

    fn make_cursor(&mut self, db: &Db) -> Result<bool, String> {
        let (name, next) = (consumer::NAMES[self.random.below(2)], u64::from(db.last_seqno()) + 1);
        db.cursor(name).map_err(wrong)?;
        let there = self.world.cursors.insert(name, next);
        self.counts.cursors += u64::from(there.is_none());
        // One that is there stays where it is.
        there.map(|position| self.world.cursors.insert(name, position));
        Ok(true)
    }

    fn drop_cursor(&mut self, db: &Db) -> Result<bool, String> {
        let name = consumer::NAMES[self.random.below(2)];
        let there = db.drop_cursor(name).map_err(wrong)?;
        match self.world.cursors.remove(name).is_some() == there {
            true => Ok(there),
            false => Err(format!("wrong: dropping {name} says {there}")),
        }
    }

    /// A consumer has dealt with some of what is there.
    fn move_cursor(&mut self, db: &Db) -> Result<bool, String> {
        let (name, last) = (consumer::NAMES[self.random.below(2)], u64::from(db.last_seqno()));
        let Some(position) = self.world.cursors.get_mut(name) else { return Ok(false) };
        let seqno = *position + self.random.below((last + 1 - (*position).min(last)) as usize) as u64;
        if seqno > last {
            return Ok(false);
        }
        db.cursor(name).and_then(|cursor| cursor.advance(seqno.into())).map_err(wrong)?;
        *position = seqno + 1;
        self.counts.moves += 1;
        Ok(!self.lazy)
    }

    fn pass_time(&mut self) -> bool {
        let live = |world: &World| -> usize {
            let there = |space: &Space| space.pairs.keys().filter(|key| space.get(key, world.hour).is_some()).count();
            world.spaces.values().map(there).sum()
        };
        let before = live(&self.world);
        self.world.hour += HOURS * (1 + self.random.below(4) as u64);
        self.counts.expired += (before - live(&self.world)) as u64;
        world::set_hour(&self.disk, self.world.hour);
        false
    }

    fn snapshot(&mut self, db: &Db) -> Result<bool, String> {
        if self.snapshots.len() == 3 {
            self.snapshots.remove(0);
        }
        self.snapshots.push((db.snapshot(), self.world.clone()));
        self.counts.snapshots += 1;
        Ok(false)
    }

    fn archive(&mut self, db: &Db) -> Result<bool, String> {
        db.seal().map_err(wrong)?;
        self.counts.jobs += db.archive().map_err(wrong)?.archives;
        Ok(true)
    }

    /// Opens what a power cut at `point` left, so many hours later.
    fn check(&self, image: &SimDisk, point: usize, later: u64) -> Result<(), String> {
        world::set_hour(image, self.world.hour + later);
        let db = open(image, false)?;
        let seqno = u64::from(db.last_seqno());
        let Ok(state) = self.states.binary_search_by_key(&seqno, |state| state.seqno) else {
            return Err(format!("torn: seqno {seqno} is the end of no write"));
        };
        let floor = self.floors.iter().filter(|(from, _)| *from <= point).map(|(_, writes)| *writes).max();
        if Some(state) < floor {
            return Err(format!("lost: {state} writes are there, {floor:?} were acknowledged"));
        }
        if self.states[state].issued > point {
            return Err(format!("wrong: write {state} is there, and was not issued"));
        }
        let then = &self.states[state].world;
        then.check(&db, self.world.hour + later)?;
        self.feed.check(&db, &then.cursors, self.world.hour + later)
    }
}
