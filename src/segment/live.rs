//! What of a segment is live, and which large values its records name.
//!
//! Floor 2. Imports `address`, `limits`, `sync`.

use std::collections::HashMap;

use crate::address::LargeId;
use crate::limits::DEFAULT_KEYSPACE;
use crate::sync::plain::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, PoisonError};

/// What a record takes up, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Extent {
    pub(crate) keyspace: u16,
    /// Encoded.
    pub(crate) len: u64,
    /// Of the large value that it names; 0 without one.
    pub(crate) large: u64,
}

/// What the index points at of a segment: records, their encoded bytes, and those of the large values that they name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Amount {
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    pub(crate) large: u64,
}

impl Amount {
    fn add(&mut self, record: Extent) {
        self.bytes += record.len;
        self.records += 1;
        self.large += record.large;
    }

    fn remove(&mut self, record: Extent) {
        self.bytes -= record.len;
        self.records -= 1;
        self.large -= record.large;
    }

    fn without(self, other: Amount) -> Amount {
        Amount {
            // Writers and movers count meanwhile, one thing after the other.
            bytes: self.bytes.saturating_sub(other.bytes),
            records: self.records.saturating_sub(other.records),
            large: self.large.saturating_sub(other.large),
        }
    }
}

/// The counts of one segment. They go along when its records do as a whole.
#[derive(Default)]
pub(crate) struct Live {
    all: Counts,
    /// What the index points at that is being written down.
    imaged: Counts,
    /// Bytes of tombstones that are known to be needed.
    pub(super) needed: AtomicU64,
    /// The large values that its records name, whatever became of their keys, each with its length.
    named: Mutex<HashMap<LargeId, u64>>,
    named_bytes: AtomicU64,
    /// Whether a record names one that is not among them, since it is damaged.
    unnamed: AtomicBool,
    /// Whether records are being moved here, each counted before it is known whether it moves.
    moving: Mutex<bool>,
}

#[derive(Default)]
struct Counts {
    /// What is counted here, too, of keyspaces that are not the default one.
    others: Mutex<HashMap<u16, Amount>>,
    bytes: AtomicU64,
    records: AtomicU64,
    large: AtomicU64,
}

impl Counts {
    fn add(&self, record: Extent) {
        // Held for both: who asks for one keyspace takes the difference.
        let mut others = (record.keyspace != DEFAULT_KEYSPACE).then(|| lock(&self.others));
        self.bytes.fetch_add(record.len, Ordering::Relaxed);
        self.records.fetch_add(1, Ordering::Relaxed);
        if record.large > 0 {
            self.large.fetch_add(record.large, Ordering::Relaxed);
        }
        if let Some(others) = &mut others {
            others.entry(record.keyspace).or_default().add(record);
        }
    }

    fn remove(&self, record: Extent) {
        // Held for both: who asks for one keyspace takes the difference.
        let mut others = (record.keyspace != DEFAULT_KEYSPACE).then(|| lock(&self.others));
        self.bytes.fetch_sub(record.len, Ordering::Relaxed);
        self.records.fetch_sub(1, Ordering::Relaxed);
        if record.large > 0 {
            self.large.fetch_sub(record.large, Ordering::Relaxed);
        }
        if let Some(others) = &mut others {
            others.entry(record.keyspace).or_default().remove(record);
        }
    }

    /// What is counted of each keyspace that is not the default one.
    fn others(&self) -> HashMap<u16, Amount> {
        lock(&self.others).clone()
    }

    /// What is counted of one keyspace.
    fn of(&self, keyspace: u16) -> Amount {
        let others = lock(&self.others);
        match keyspace {
            DEFAULT_KEYSPACE => others.values().fold(self.get(), |rest, other| rest.without(*other)),
            other => others.get(&other).copied().unwrap_or_default(),
        }
    }

    /// Counts nothing of this keyspace any more, and says what it was.
    fn forget(&self, keyspace: u16) -> Amount {
        let gone = self.of(keyspace);
        lock(&self.others).remove(&keyspace);
        self.bytes.fetch_sub(gone.bytes, Ordering::Relaxed);
        self.records.fetch_sub(gone.records, Ordering::Relaxed);
        self.large.fetch_sub(gone.large, Ordering::Relaxed);
        gone
    }

    fn get(&self) -> Amount {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Amount { bytes: get(&self.bytes), records: get(&self.records), large: get(&self.large) }
    }

    fn set(&self, to: Amount, others: HashMap<u16, Amount>) {
        *lock(&self.others) = others;
        self.bytes.store(to.bytes, Ordering::Relaxed);
        self.records.store(to.records, Ordering::Relaxed);
        self.large.store(to.large, Ordering::Relaxed);
    }
}

impl Live {
    /// The index points at one more record; so does the one that is being written down, if `imaged`.
    pub(crate) fn add(&self, record: Extent, imaged: bool) {
        self.all.add(record);
        if imaged {
            self.imaged.add(record);
        }
    }

    /// The index no longer points at a record; nor does the one that is being written down, if `imaged`.
    pub(crate) fn remove(&self, record: Extent, imaged: bool) {
        self.all.remove(record);
        if imaged {
            self.imaged.remove(record);
        }
    }

    pub(crate) fn get(&self) -> Amount {
        self.all.get()
    }

    /// Sets what the index points at, before anybody changes it.
    pub(crate) fn set(&self, to: Amount, others: HashMap<u16, Amount>) {
        self.all.set(to, others);
    }

    /// The index points at no record of this keyspace any more; what it pointed at. What is being written down stays.
    pub(crate) fn forget(&self, keyspace: u16) -> Amount {
        self.all.forget(keyspace)
    }

    /// How many records of a keyspace the index points at.
    pub(crate) fn records_of(&self, keyspace: u16) -> u64 {
        self.all.of(keyspace).records
    }

    /// Whether the index points at so many records of a keyspace still.
    pub(crate) fn is_still(&self, keyspace: u16, records: u64) -> bool {
        !*lock(&self.moving) && self.records_of(keyspace) == records
    }

    /// Records are moved here from here on, or no more.
    pub(crate) fn set_moving(&self, moving: bool) {
        *lock(&self.moving) = moving;
    }

    /// The index begins to be written down: it has all of the segment that the index has. Nobody changes that meanwhile.
    pub(crate) fn begin_image(&self) {
        self.imaged.set(self.all.get(), self.all.others());
    }

    /// What the index points at that was written down.
    pub(crate) fn imaged(&self) -> Amount {
        self.imaged.get()
    }

    /// The same of each keyspace that is not the default one.
    pub(crate) fn imaged_others(&self) -> HashMap<u16, Amount> {
        self.imaged.others()
    }

    /// One of its records names this large value. `false` if that was known.
    pub(crate) fn name(&self, id: LargeId, len: u64) -> bool {
        let new = self.enter().insert(id, len).is_none();
        if new {
            self.named_bytes.fetch_add(len, Ordering::Relaxed);
        }
        new
    }

    /// One of its records names a large value, and is too damaged to say which.
    pub(crate) fn name_unknown(&self) {
        self.unnamed.store(true, Ordering::Relaxed);
    }

    /// The large values that its records name, each with its length.
    pub(crate) fn named(&self) -> Vec<(LargeId, u64)> {
        self.enter().iter().map(|(id, len)| (*id, *len)).collect()
    }

    /// Whether one of its records is known to name this one.
    pub(crate) fn names(&self, id: LargeId) -> bool {
        self.enter().contains_key(&id)
    }

    /// Whether those are all.
    pub(crate) fn names_all(&self) -> bool {
        !self.unnamed.load(Ordering::Relaxed)
    }

    /// Bytes of large values that its records name and nobody sees any more.
    pub(super) fn dead_large(&self) -> u64 {
        self.named_bytes.load(Ordering::Relaxed).saturating_sub(self.all.large.load(Ordering::Relaxed))
    }

    fn enter(&self) -> MutexGuard<'_, HashMap<LargeId, u64>> {
        lock(&self.named)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
