//! What only the inserter knows: how large the table is, and bits of hashes that its first unit has no room for.
//!
//! Floor 2. Imports `index`.

use crate::index::bucket::SLOTS;
use crate::index::draft::{Draft, Rest};
use crate::index::unit::Vacancy;

/// What only the inserter knows.
#[derive(Debug, Default)]
pub(crate) struct Inserter {
    pub(crate) units: u64,
    /// Memory of the units.
    pub(crate) unit_bytes: u64,
    /// While the table is written down: the lowest hash that was not copied yet. `None` also once all were.
    pub(crate) uncopied: Option<u64>,
    /// For each slot of a table's only unit. Empty when there are more.
    rest: Vec<Rest>,
}

impl Inserter {
    /// Of a table of so many full units.
    pub(crate) fn of(units: u64, unit_bytes: u64) -> Inserter {
        Inserter { units, unit_bytes, ..Inserter::default() }
    }

    /// Whether what changes at this hash is still to be copied.
    pub(crate) fn will_copy(&self, hash: u64) -> bool {
        self.uncopied.is_some_and(|first| hash >= first)
    }

    /// Notes what its unit has no room for of the hash of the key about to be put there.
    #[inline]
    pub(crate) fn note(&mut self, hash: u64, vacancy: Vacancy) {
        if let Some(rest) = self.rest.get_mut(vacancy.bucket * SLOTS + vacancy.slot) {
            *rest = Rest::new(hash);
        }
    }

    /// Memory of all that it knows.
    pub(crate) fn bytes(&self) -> u64 {
        self.unit_bytes + self.rest.capacity() as u64
    }

    /// Takes away what it knows of the unit that is replaced.
    pub(crate) fn take_rest(&mut self) -> Vec<Rest> {
        std::mem::take(&mut self.rest)
    }

    /// Keeps what it has to know of a unit.
    pub(crate) fn keep_rest(&mut self, draft: &mut Draft) {
        self.rest = std::mem::take(&mut draft.rest);
    }
}

/// The lowest hash that has the first `depth` bits of this one.
pub(crate) fn first_hash(hash: u64, depth: u32) -> u64 {
    hash & !u64::MAX.checked_shr(depth).unwrap_or(0)
}
