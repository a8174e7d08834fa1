//! Looking up many keys at once: the lines that their lookups will read are asked for before the first is read.
//!
//! Floor 2. Imports `address`, `index`, `prefetch`, `reclaim`.
//!
//! A lookup misses the cache twice, at its bucket and at its record. Those of one key wait for each other; those of
//! several keys need not.

use std::ops::ControlFlow;

use crate::address::Location;
use crate::index::bucket;
use crate::index::table::Table;
use crate::prefetch::prefetch;
use crate::reclaim::Pin;

impl Table {
    /// Asks for the line that a lookup of this hash begins with.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64, pin: &Pin) {
        if let Some(unit) = self.unit(hash, pin) {
            prefetch(unit.home(hash));
        }
    }

    /// A location that a lookup of this hash would probably probe first, from its home bucket alone.
    #[inline]
    pub(crate) fn candidate(&self, hash: u64, pin: &Pin) -> Option<Location> {
        let home = self.unit(hash, pin)?.home(hash);
        let first = bucket::search(&home.slots, hash, 0, &mut |_, word| match word.location() {
            Some(at) => ControlFlow::Break(at),
            None => ControlFlow::Continue(()),
        });
        first.break_value()
    }
}
