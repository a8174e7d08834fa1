//! What of a segment is live, and which large values its records name.
//!
//! Floor 2. Imports `address`, `sync`.

use std::collections::HashMap;

use crate::address::LargeId;
use crate::sync::plain::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, PoisonError};

/// What a record takes up, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Extent {
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
    bytes: AtomicU64,
    records: AtomicU64,
    large: AtomicU64,
}

impl Counts {
    fn add(&self, record: Extent) {
        self.bytes.fetch_add(record.len, Ordering::Relaxed);
        self.records.fetch_add(1, Ordering::Relaxed);
        if record.large > 0 {
            self.large.fetch_add(record.large, Ordering::Relaxed);
        }
    }

    fn remove(&self, record: Extent) {
        self.bytes.fetch_sub(record.len, Ordering::Relaxed);
        self.records.fetch_sub(1, Ordering::Relaxed);
        if record.large > 0 {
            self.large.fetch_sub(record.large, Ordering::Relaxed);
        }
    }

    fn get(&self) -> Amount {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Amount { bytes: get(&self.bytes), records: get(&self.records), large: get(&self.large) }
    }

    fn set(&self, to: Amount) {
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
    pub(crate) fn set(&self, to: Amount) {
        self.all.set(to);
    }

    /// Whether the index points at so many records, and these are as many.
    pub(crate) fn is_all(&self, records: u64) -> bool {
        let moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        !*moving && self.get().records == records
    }

    /// Records are moved here from here on, or no more.
    pub(crate) fn set_moving(&self, moving: bool) {
        *self.moving.lock().unwrap_or_else(PoisonError::into_inner) = moving;
    }

    /// The index begins to be written down: it has all of the segment that the index has. Nobody changes that meanwhile.
    pub(crate) fn begin_image(&self) {
        self.imaged.set(self.all.get());
    }

    /// What the index points at that was written down.
    pub(crate) fn imaged(&self) -> Amount {
        self.imaged.get()
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
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
