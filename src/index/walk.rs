//! Going through a table from its lowest hash to its highest.
//!
//! Floor 2. Imports `address`, `index`.

use crate::address::Location;
use crate::index::bucket::Word;
use crate::index::pin::Pin;
use crate::index::table::Table;

impl Table {
    /// Every location, each once, if nobody inserts or removes meanwhile.
    ///
    /// A key that stays is shown once in any case, at one of the places that it had meanwhile. The pin is held for one
    /// unit at a time.
    pub(crate) fn walk(&self, mut each: impl FnMut(Location)) {
        // The lowest hash of what is still to be shown. Units are only ever divided, so it stays the lowest of one.
        let mut first = 0;
        loop {
            let pin = Pin::new();
            let Some(unit) = self.unit(first, &pin) else {
                return;
            };
            unit.words().filter_map(Word::location).for_each(&mut each);
            let hashes = 1_u64.checked_shl(u64::BITS - unit.depth());
            match hashes.and_then(|count| first.checked_add(count)) {
                Some(next) => first = next,
                None => return,
            }
        }
    }
}
