//! The beginning of a lookup: what can be said of a key, and asked for ahead, before its record is looked at.
//!
//! Floor 2. Imports `address`, `index`, `prefetch`, `reclaim`.
//!
//! A lookup misses the cache twice, at its bucket and at its record. Those of one key wait for each other; those of
//! several keys need not.

use crate::address::Location;
use crate::index::bucket;
use crate::index::table::Table;
use crate::prefetch::prefetch;
use crate::reclaim::pin::Pin;

/// What the home bucket says of a hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Glance {
    /// No key has it.
    Absent,
    /// If a key has it, then most likely the one of this record.
    Likely(Location),
    /// Nothing: it takes a whole search.
    Unsure,
}

impl Table {
    /// Asks for the line that a lookup of this hash begins with.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64, pin: &Pin) {
        if let Some(unit) = self.unit(hash, pin) {
            prefetch(unit.home(hash));
        }
    }

    /// Looks at one line of the table: nearly all that a `get` has to do, in few enough steps that the processor can
    /// begin the next one while this one waits for memory.
    #[inline(always)]
    pub(crate) fn glance(&self, hash: u64, pin: &Pin) -> Glance {
        let Some(unit) = self.unit(hash, pin) else {
            return Glance::Absent;
        };
        let home = unit.home(hash);
        match bucket::first(&home.slots, hash) {
            Some(word) => word.location().map_or(Glance::Unsure, Glance::Likely),
            None if unit.may_stray(home, hash) => Glance::Unsure,
            None => Glance::Absent,
        }
    }
}
