//! What only the inserter knows: how large the table is, and the bits of hashes that slots have no room for.
//!
//! Floor 2. Imports `index`.

use crate::index::bucket::{EARLY_BITS, SLOTS};
use crate::index::draft::{Draft, Early};
use crate::index::unit::{Unit, Vacancy};

/// What only the inserter knows.
#[derive(Debug, Default)]
pub(crate) struct Inserter {
    pub(crate) units: u64,
    /// Memory of the units.
    pub(crate) unit_bytes: u64,
    /// For each unit above a depth of `EARLY_BITS`, at the number that its lowest hash begins with. Empty when there
    /// is none left.
    early: Vec<Vec<Early>>,
}

impl Inserter {
    /// Notes what the slot has no room for of the hash of the key about to be put there.
    #[inline]
    pub(crate) fn note(&mut self, hash: u64, unit: Unit<'_>, vacancy: Vacancy) {
        if !self.early.is_empty() && unit.depth() < EARLY_BITS {
            let seat = vacancy.bucket * SLOTS + vacancy.slot;
            self.early[early_number(hash, unit.depth())][seat] = Early::new(hash);
        }
    }

    /// Memory of all that it knows.
    pub(crate) fn bytes(&self) -> u64 {
        let early = self.early.iter().map(|early| size_of_val::<[_]>(early)).sum::<usize>();
        self.unit_bytes + (early + size_of_val::<[_]>(&self.early)) as u64
    }

    /// Takes the early bits of a unit away, to be shared by its children. None of a unit too deep to have any.
    pub(crate) fn take_early(&mut self, hash: u64, depth: u32) -> Vec<Early> {
        let early = self.early.get_mut(early_number(hash, depth)).filter(|_| depth < EARLY_BITS);
        early.map(std::mem::take).unwrap_or_default()
    }

    /// Gives the memory back once no unit has early bits.
    pub(crate) fn tidy_early(&mut self) {
        if self.early.iter().all(Vec::is_empty) {
            self.early = Vec::new();
        }
    }

    /// Keeps the early bits of a unit in which this hash is.
    pub(crate) fn keep_early(&mut self, hash: u64, draft: &mut Draft) {
        if draft.depth < EARLY_BITS {
            let number = early_number(hash, draft.depth);
            if self.early.len() <= number {
                self.early.resize_with(number + 1, Vec::new);
            }
            self.early[number] = std::mem::take(&mut draft.early);
        }
    }
}

/// The first bits of the lowest hash that belongs to the unit of `hash` with this depth.
fn early_number(hash: u64, depth: u32) -> usize {
    (first_hash(hash, depth) >> (u64::BITS - EARLY_BITS)) as usize
}

/// The lowest hash that has the first `depth` bits of this one.
pub(crate) fn first_hash(hash: u64, depth: u32) -> u64 {
    hash & !u64::MAX.checked_shr(depth).unwrap_or(0)
}
