//! Transactions of many threads, replayed in the order of their seqnos: each read what was there just before it.

use std::collections::BTreeMap;
use std::sync::{Barrier, Mutex};

use zipcask::{Db, Durability, ErrorKind, Keyspace, KeyspaceOptions, Options, Transaction};

const THREADS: u64 = 4;
const KEYS: u8 = 6;

/// The first and the last key of a range, both in, and all that was there.
type Ranged = (u8, u8, Vec<(u8, u64)>);

/// What one transaction saw and wrote. Reads are of what was there when it began, none of its own writes.
#[derive(Clone, Default)]
struct Record {
    gets: Vec<(u8, Option<u64>)>,
    ranges: Vec<Ranged>,
    writes: BTreeMap<u8, Option<u64>>,
}

#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) commits: usize,
    pub(crate) conflicts: u64,
    pub(crate) gets: usize,
    pub(crate) ranges: usize,
}

fn number(value: &[u8]) -> u64 {
    u64::from_le_bytes(value.try_into().expect("eight bytes"))
}

fn read(txn: &Transaction, space: &Keyspace, key: u8, record: &mut Record) -> zipcask::Result<Option<u64>> {
    let seen = txn.get(space, [key])?.map(|value| number(&value));
    record.gets.push((key, seen));
    Ok(seen)
}

fn scan(txn: &Transaction, space: &Keyspace, first: u8, last: u8, record: &mut Record) -> zipcask::Result<usize> {
    let pairs = txn.range(space, [first]..=[last])?;
    let pairs: Vec<_> = pairs.map(|pair| pair.map(|(k, v)| (k[0], number(&v)))).collect::<zipcask::Result<_>>()?;
    let count = pairs.len();
    record.ranges.push((first, last, pairs));
    Ok(count)
}

/// One of several shapes, each of which goes wrong where isolation is weaker than it says.
fn work(txn: &mut Transaction, space: &Keyspace, random: &mut fastrand::Rng, stamp: u64) -> zipcask::Result<Record> {
    let mut record = Record::default();
    let (one, two) = (random.u8(..KEYS), random.u8(..KEYS));
    match random.u8(..4) {
        // Write skew: what is written to one rests on the other.
        0 => {
            let there = read(txn, space, one, &mut record)?.is_some();
            record.writes.insert(two, (!there).then_some(stamp));
        }
        // A phantom: what is written rests on how many there are.
        1 => {
            let (first, last) = (one.min(two), one.max(two));
            let count = scan(txn, space, first, last, &mut record)?;
            record.writes.insert(random.u8(..KEYS), (count < 2).then_some(stamp));
        }
        // A lost update.
        2 => {
            read(txn, space, one, &mut record)?;
            record.writes.insert(one, Some(stamp));
        }
        _ => {
            read(txn, space, one, &mut record)?;
            scan(txn, space, two, KEYS, &mut record)?;
            record.writes.insert(one, None);
            record.writes.insert(two, Some(stamp));
        }
    }
    // So that others come between what was read and what rests on it.
    std::thread::yield_now();
    for (key, value) in &record.writes {
        match value {
            Some(value) => txn.put(space, [*key], value.to_le_bytes()).map(drop)?,
            None => txn.delete(space, [*key]).map(drop)?,
        }
    }
    // Something is always written, so that each commit has a seqno of its own; a delete of nothing may write nothing.
    txn.put(space, [0xff, (stamp >> 32) as u8], stamp.to_le_bytes())?;
    Ok(record)
}

fn thread(db: &Db, space: &Keyspace, seed: u64, id: u64, count: u32) -> zipcask::Result<(Vec<(u64, Record)>, u64)> {
    let mut random = fastrand::Rng::with_seed(seed ^ id << 48);
    let (mut done, mut conflicts) = (Vec::new(), 0);
    for round in 0..count {
        let mut txn = db.begin();
        let record = work(&mut txn, space, &mut random, id << 32 | u64::from(round))?;
        match txn.commit() {
            Ok(seqno) => done.push((seqno.into(), record)),
            Err(error) if error.kind() == ErrorKind::Conflict => conflicts += 1,
            Err(error) => return Err(error),
        }
    }
    Ok((done, conflicts))
}

/// Replays them; what does not fit is told.
fn replay(all: &[(u64, Record)]) -> Result<BTreeMap<u8, u64>, String> {
    let mut now = BTreeMap::new();
    for (seqno, record) in all {
        for (key, seen) in &record.gets {
            let there = now.get(key).copied();
            (there == *seen).then_some(()).ok_or(format!("{seqno}: key {key} was {there:?}, read as {seen:?}"))?;
        }
        for (first, last, seen) in &record.ranges {
            let there: Vec<_> = now.range(first..=last).map(|(key, value)| (*key, *value)).collect();
            (there == *seen)
                .then_some(())
                .ok_or(format!("{seqno}: {first}..={last} was {there:?}, read as {seen:?}"))?;
        }
        for (key, value) in &record.writes {
            match value {
                Some(value) => drop(now.insert(*key, *value)),
                None => drop(now.remove(key)),
            }
        }
    }
    Ok(now)
}

/// Runs `count` transactions a thread; jobs run beside them.
pub(crate) fn run(seed: u64, count: u32) -> Result<Counts, String> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let options = Options::new().durability(Durability::Os).segment_size(64 << 10).background(false);
    let db = options.open(dir.path()).map_err(|error| error.to_string())?;
    let space = db.keyspace_with("ordered", KeyspaceOptions::new().ordered(true)).map_err(|error| error.to_string())?;
    let (start, outcomes) = (Barrier::new(THREADS as usize + 1), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for id in 1..=THREADS {
            let (db, space, start, outcomes) = (&db, &space, &start, &outcomes);
            scope.spawn(move || {
                start.wait();
                let outcome = thread(db, space, seed, id, count);
                outcomes.lock().unwrap().push(outcome);
            });
        }
        start.wait();
        for _ in 0..4 {
            db.seal().and_then(|()| db.compact()).map_err(|error| error.to_string())?;
        }
        Ok::<_, String>(())
    })?;
    let (mut all, mut counts) = (Vec::new(), Counts::default());
    for outcome in outcomes.into_inner().unwrap() {
        let (done, conflicts) = outcome.map_err(|error| error.to_string())?;
        all.extend(done);
        counts.conflicts += conflicts;
    }
    all.sort_by_key(|(seqno, _)| *seqno);
    if all.windows(2).any(|two| two[0].0 == two[1].0) {
        return Err("two transactions have one seqno".into());
    }
    let now = replay(&all)?;
    let there =
        space.iter().map(|pair| pair.map(|(k, v)| (k.to_vec(), number(&v)))).collect::<zipcask::Result<Vec<_>>>();
    let there: BTreeMap<_, _> =
        there.map_err(|error| error.to_string())?.into_iter().filter(|(k, _)| k.len() == 1).collect();
    if there != now.into_iter().map(|(key, value)| (vec![key], value)).collect() {
        return Err("the store is not what its transactions say".into());
    }
    counts.commits = all.len();
    counts.gets = all.iter().map(|(_, record)| record.gets.len()).sum();
    counts.ranges = all.iter().map(|(_, record)| record.ranges.len()).sum();
    Ok(counts)
}
