//! A transaction under way: what it has seen, and what it is to write.
//!
//! Floor 5. Imports `address`, `commit`, `error`, `segment`, `store`, `sync`, `txn`.
//!
//! It reads a moment, and its own writes. It commits if all that it read, absent keys and whole passes included, is as it was: then it might
//! as well have run as a whole when it was committed, so transactions are serializable. Who writes only, or reads only, is
//! never refused.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::address::Seqno;
use crate::commit::batch::{Condition, Records, To, check_lens};
use crate::commit::group::Done;
use crate::commit::large;
use crate::error::{Error, ErrorKind, Result};
use crate::segment::value::Value;
use crate::store::Store;
use crate::store::past::PastPass;
use crate::store::range::{self, ALL, Bounds};
use crate::store::space::Space;
use crate::sync::Arc;
use crate::sync::plain::{Mutex, MutexGuard, PoisonError};
use crate::txn::Writing;
use crate::txn::moment::Moment;
use crate::txn::pending_range::PendingRange;
use crate::txn::range::MomentRange;

/// Ranges of a keyspace that are told apart: whoever writes waits for who commits to look at each. Who scans more has read all of it.
const SCANNED_MAX: usize = 64;

pub(crate) struct Pending {
    moment: Arc<Moment>,
    seen: Mutex<Seen>,
    /// By keyspace and key; `None` deletes it.
    writes: BTreeMap<u16, BTreeMap<Vec<u8>, Option<Own>>>,
    /// Somebody was told that there was nothing to delete.
    told: bool,
}

/// A value that is to be written.
#[derive(Clone)]
struct Own {
    value: Value,
    /// When it is no more, in milliseconds since 1970.
    expiry: Option<u64>,
}

#[derive(Default)]
struct Seen {
    /// When each key was written that was looked at; `None`: it was not there.
    keys: HashMap<(u16, Vec<u8>), Option<Seqno>>,
    /// By keyspace, the bounds of what there was a scan of.
    scanned: BTreeMap<u16, HashSet<Bounds>>,
}

impl Pending {
    /// # Errors
    /// As `Moment::now`.
    pub(crate) fn begin(store: &Arc<Store>) -> Result<Pending> {
        Ok(Pending {
            moment: Arc::new(Moment::now(store)?),
            seen: Mutex::default(),
            writes: BTreeMap::new(),
            told: false,
        })
    }

    pub(crate) fn moment(&self) -> &Moment {
        &self.moment
    }

    /// # Errors
    /// As `Moment::get`.
    pub(crate) fn get(&self, space: &Space, key: &[u8]) -> Result<Option<Value>> {
        if let Some(own) = self.own(space, key) {
            return Ok(own.as_ref().map(|own| own.value.clone()));
        }
        let (value, seqno) = self.moment.get(space, key)?;
        self.saw(space, key, seqno);
        Ok(value)
    }

    /// # Errors
    /// As `Moment::get`.
    pub(crate) fn contains_key(&self, space: &Space, key: &[u8]) -> Result<bool> {
        if let Some(own) = self.own(space, key) {
            return Ok(own.is_some());
        }
        let (there, seqno) = self.moment.look(space, key)?;
        self.saw(space, key, seqno);
        Ok(there)
    }

    /// # Errors
    /// `TooLarge`.
    pub(crate) fn put(&mut self, space: &Space, key: &[u8], value: &[u8], expiry: Option<u64>) -> Result<()> {
        check_lens(key, value.len() as u64)?;
        self.write(space, key, Some(Own { value: Value::copied(value), expiry }));
        Ok(())
    }

    /// Whether the key was there.
    ///
    /// # Errors
    /// `TooLarge`; as `Moment::get`.
    pub(crate) fn delete(&mut self, space: &Space, key: &[u8]) -> Result<bool> {
        check_lens(key, 0)?;
        let there = self.contains_key(space, key)?;
        self.told |= !there;
        if there {
            self.write(space, key, None);
        }
        Ok(there)
    }

    /// All keys and values, first those that it did not write.
    ///
    /// # Errors
    /// `Forked`.
    pub(crate) fn pass(&self, space: &Space) -> Result<PendingPass> {
        let pass = self.moment.pass(space)?;
        self.scanned(space, &ALL);
        Ok(PendingPass { pass, own: self.writes.get(&space.id()).cloned().unwrap_or_default() })
    }

    /// The keys within bounds of an ordered keyspace, in their order. Whatever is written within them from the moment on is a conflict.
    ///
    /// # Errors
    /// `Forked`; `Io`, `ResourceLimit`.
    pub(crate) fn range(&self, space: &Arc<Space>, bounds: &Bounds) -> Result<PendingRange> {
        let scan = MomentRange::at(&self.moment, space, bounds)?;
        self.scanned(space, bounds);
        let own = self.writes.get(&space.id()).into_iter().flatten();
        let own = own.filter(|(key, _)| range::contains(bounds, key));
        let own = own.map(|(key, own)| (key.clone(), own.as_ref().map(|own| own.value.clone())));
        Ok(PendingRange::new(scan, own.collect()))
    }

    /// # Errors
    /// `Conflict` if anything that it saw was changed meanwhile; as a batch. Nothing is written then.
    pub(crate) fn commit(self, to: Writing<'_>) -> Result<Seqno> {
        let Pending { moment, seen, writes, told } = self;
        let mut records = Records::new();
        for (keyspace, key, value) in
            writes.iter().flat_map(|(keyspace, writes)| writes.iter().map(|(key, value)| (*keyspace, key, value)))
        {
            match value {
                Some(Own { value, expiry }) => {
                    large::put(to.store, &mut records, To { keyspace, expiry: *expiry }, key, value)?;
                }
                None => records.delete(keyspace, to.store.hash(key), key)?,
            }
        }
        if records.len() == 0 {
            // Who only reads waits for nothing, as a get does.
            return if told { to.rest() } else { Ok(()) }.map(|()| moment.seqno());
        }
        let Seen { keys, scanned } = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
        for ((keyspace, key), seqno) in keys {
            records.require(Condition::Same { keyspace, hash: to.store.hash(&key), key: key.into(), seqno });
        }
        for (keyspace, within) in scanned {
            // The moment is open until it has been looked at.
            let within = within.into_iter().collect();
            records.require(Condition::Unchanged { keyspace, within, since: moment.seqno() });
        }
        match to.commit(records)? {
            Done::Written(seqno) => Ok(seqno.into()),
            Done::Conflict | Done::NotPresent => Err(Error::new(
                ErrorKind::Conflict,
                "something that the transaction read was changed before it was committed; nothing of it was written: run it again",
            )),
        }
    }

    /// What it is to write to the key, if anything.
    fn own(&self, space: &Space, key: &[u8]) -> Option<&Option<Own>> {
        self.writes.get(&space.id())?.get(key)
    }

    fn write(&mut self, space: &Space, key: &[u8], value: Option<Own>) {
        self.writes.entry(space.id()).or_default().insert(key.to_vec(), value);
    }

    fn saw(&self, space: &Space, key: &[u8], seqno: Option<Seqno>) {
        self.seen().keys.insert((space.id(), key.to_vec()), seqno);
    }

    fn scanned(&self, space: &Space, bounds: &Bounds) {
        let mut seen = self.seen();
        let scanned = seen.scanned.entry(space.id()).or_default();
        scanned.insert(bounds.clone());
        if scanned.len() > SCANNED_MAX {
            *scanned = HashSet::from([ALL]);
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All keys and values as a transaction sees them.
pub(crate) struct PendingPass {
    pass: PastPass,
    own: BTreeMap<Vec<u8>, Option<Own>>,
}

impl PendingPass {
    /// The next; nothing after the last.
    pub(crate) fn next_pair(&mut self) -> Option<Result<(Value, Value)>> {
        while let Some(pair) = self.pass.next_pair() {
            if pair.as_ref().is_ok_and(|(key, _)| self.own.contains_key(&key[..])) {
                continue;
            }
            return Some(pair);
        }
        while let Some((key, value)) = self.own.pop_first() {
            if let Some(own) = value {
                return Some(Ok((Value::copied(&key), own.value)));
            }
        }
        None
    }

    /// At most so many are left.
    pub(crate) fn len_max(&self) -> usize {
        self.pass.len_max() + self.own.len()
    }
}
