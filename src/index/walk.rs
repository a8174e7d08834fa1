//! Going through a table from its lowest hash to its highest.
//!
//! Floor 2. Imports `address`, `index`, `reclaim`.

use crate::address::Location;
use crate::index::bucket::Word;
use crate::index::image::Extent;
use crate::index::table::Table;
use crate::reclaim::pin::Pin;

impl Table {
    /// Every location, each once, if nobody inserts or removes meanwhile.
    ///
    /// A key that stays is shown once in any case, at one of the places that it had meanwhile. A pin is held for one unit
    /// at a time: what `each` will use later it has to keep by then. It is shown a unit's locations at once, and says whether they
    /// will do; if not, it is shown them as they are then: where one leads nowhere, its record has moved.
    pub(crate) fn walk(&self, mut each: impl FnMut(&[Location], &Pin) -> bool) {
        let mut locations = Vec::new();
        // The lowest hash of what is still to be shown. Units are only ever divided, so it stays the lowest of one.
        let mut first = 0;
        loop {
            let pin = Pin::new();
            let Some(unit) = self.unit(first, &pin) else {
                return;
            };
            locations.clear();
            locations.extend(unit.words().filter_map(Word::location));
            if !each(&locations, &pin) {
                // Of this unit, or of what became of it.
                continue;
            }
            match (Extent { first, depth: unit.depth() }).next() {
                Some(next) => first = next,
                None => return,
            }
        }
    }
}
