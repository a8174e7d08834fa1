//! What several keyspaces have in them, as far as anyone may ask.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::consumer::Cursors;
use zipcask::sim::SimDisk;
use zipcask::{Db, Keyspace, KeyspaceOptions, Snapshot, Value};

/// The default keyspace, one with an order, one whose keys are there for a time, and one with both.
pub(crate) const NAMES: [&str; 4] = ["default", "ordered", "passing", "passing, ordered"];

/// Keys that are used in each.
pub(crate) const KEYS: u8 = 10;

/// For how many hours a key may be there. The clock goes by `HOURS` at once, so that nothing expires just when somebody looks.
pub(crate) const TTLS: [u64; 4] = [1, 10, 30, 50];
pub(crate) const HOURS: u64 = 7;

const START_MS: u64 = 1_800_000_000_000;
const HOUR_MS: u64 = 60 * 60 * 1000;

/// A key's value, and in which hour it is no more.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) value: Vec<u8>,
    pub(crate) until: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Space {
    /// Tells one of this name from others that were dropped.
    pub(crate) born: u64,
    pub(crate) pairs: BTreeMap<Vec<u8>, Kept>,
}

/// All keyspaces and cursors, by name, and the hour.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) spaces: BTreeMap<&'static str, Space>,
    pub(crate) cursors: Cursors,
    pub(crate) hour: u64,
}

/// A key's bytes: of several lengths, some the beginning of others.
pub(crate) fn key(number: u8) -> Vec<u8> {
    match number % 3 {
        0 => vec![b'a' + number; 1 + usize::from(number)],
        1 => b"shared by some, "[..usize::from(number)].to_vec(),
        _ => [b"shared by many keys: ", &[number][..]].concat(),
    }
}

pub(crate) fn is_ordered(name: &str) -> bool {
    name.ends_with("ordered")
}

/// Hours that a key of this keyspace is there, if nobody says how many.
pub(crate) fn ttl(name: &str) -> Option<u64> {
    name.starts_with("passing").then_some(30)
}

pub(crate) fn hours(hours: u64) -> Duration {
    Duration::from_millis(hours * HOUR_MS)
}

pub(crate) fn options(name: &str) -> KeyspaceOptions {
    let options = KeyspaceOptions::new().ordered(is_ordered(name));
    ttl(name).map_or(options, |ttl| options.default_ttl(hours(ttl)))
}

pub(crate) fn set_hour(disk: &SimDisk, hour: u64) {
    disk.set_wall_ms(START_MS + hour * HOUR_MS);
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn all(pairs: impl Iterator<Item = zipcask::Result<(Value, Value)>>) -> Result<Pairs, String> {
    pairs.map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(wrong)).collect()
}

pub(crate) fn wrong(error: zipcask::Error) -> String {
    format!("wrong: {error:?}")
}

impl Space {
    /// A key's value in an hour.
    pub(crate) fn get(&self, key: &[u8], hour: u64) -> Option<&[u8]> {
        let kept = self.pairs.get(key).filter(|kept| kept.until.is_none_or(|until| hour < until))?;
        Some(&kept.value)
    }

    fn all(&self, hour: u64) -> Pairs {
        let found = |key: &Vec<u8>| self.get(key, hour).map(|value| (key.clone(), value.to_vec()));
        self.pairs.keys().filter_map(found).collect()
    }

    fn check(&self, keyspace: &Keyspace, name: &str, hour: u64) -> Result<(), String> {
        let expected = self.all(hour);
        let (least, most, len) = (expected.len() as u64, self.pairs.len() as u64, keyspace.len());
        if !(least..=most).contains(&len) {
            return Err(format!("wrong: {len} keys in {name}, {least} to {most} expected"));
        }
        for number in 0..KEYS {
            let key = key(number);
            let (got, expected) = (keyspace.get(&key).map_err(wrong)?, self.get(&key, hour));
            if got.as_deref() != expected || keyspace.contains_key(&key).map_err(wrong)? != expected.is_some() {
                return Err(format!(
                    "wrong: key {number} of {name}: {:?}, not {:?}",
                    got.map(|v| v.len()),
                    expected.map(<[u8]>::len)
                ));
            }
        }
        let mut shown = all(keyspace.iter())?;
        shown.sort();
        if shown != expected {
            return Err(format!("wrong: a pass over {name} shows {} keys, not these {least}", shown.len()));
        }
        if is_ordered(name) {
            check_order(&expected, name, |from| keyspace.range(from), |from| keyspace.prefix(from))?;
        }
        Ok(())
    }
}

/// Scans from both ends, from a key on, and of what begins alike.
fn check_order(
    expected: &Pairs,
    name: &str,
    range: impl Fn(std::ops::RangeFrom<Vec<u8>>) -> zipcask::Result<zipcask::Range>,
    prefix: impl Fn(&[u8]) -> zipcask::Result<zipcask::Range>,
) -> Result<(), String> {
    let mut back = all(prefix(b"").map_err(wrong)?.rev())?;
    back.reverse();
    let from = b"shared".to_vec();
    let behind: Pairs = expected.iter().filter(|(key, _)| *key >= from).cloned().collect();
    let alike: Pairs = expected.iter().filter(|(key, _)| key.starts_with(&from)).cloned().collect();
    let shown = [
        (all(prefix(b"").map_err(wrong)?)?, expected),
        (back, expected),
        (all(prefix(&from).map_err(wrong)?)?, &alike),
        (all(range(from..).map_err(wrong)?)?, &behind),
    ];
    match shown.iter().position(|(shown, expected)| shown != *expected) {
        Some(scan) => Err(format!(
            "wrong: scan {scan} of {name} shows {:?}",
            shown[scan].0.iter().map(|p| &p.0).collect::<Vec<_>>()
        )),
        None => Ok(()),
    }
}

impl World {
    /// Whether a store has just this in it, asked in an hour that may be a later one.
    pub(crate) fn check(&self, db: &Db, hour: u64) -> Result<(), String> {
        let mut names: Vec<_> = self.spaces.keys().copied().collect();
        names.sort_unstable();
        if db.keyspaces() != names {
            return Err(format!("wrong: the keyspaces are {:?}, not {names:?}", db.keyspaces()));
        }
        for (name, space) in &self.spaces {
            space.check(&db.keyspace(name).map_err(wrong)?, name, hour)?;
        }
        Ok(())
    }

    /// Whether a snapshot of it shows the same still, of keyspaces that are there still.
    pub(crate) fn check_then(&self, snapshot: &Snapshot, db: &Db, now: &World) -> Result<(), String> {
        for (name, space) in &self.spaces {
            if now.spaces.get(name).is_none_or(|now| now.born != space.born) {
                continue;
            }
            let (keyspace, expected) = (db.keyspace(name).map_err(wrong)?, space.all(self.hour));
            let mut shown = all(snapshot.iter(&keyspace))?;
            shown.sort();
            let mut got = Vec::new();
            for number in 0..KEYS {
                let value = snapshot.get(&keyspace, key(number)).map_err(wrong)?;
                got.extend(value.map(|value| (key(number), value.to_vec())));
            }
            got.sort();
            if shown != expected || got != expected {
                return Err(format!(
                    "wrong: a snapshot shows {} and {} keys of {name}, not these {}",
                    shown.len(),
                    got.len(),
                    expected.len()
                ));
            }
            if is_ordered(name) {
                check_order(
                    &expected,
                    name,
                    |from| snapshot.range(&keyspace, from),
                    |from| snapshot.prefix(&keyspace, from),
                )?;
            }
        }
        Ok(())
    }
}
