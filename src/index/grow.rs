//! Growth: a unit whose window is full is frozen, and its keys are copied into one that is wider or into two.
//!
//! Floor 2. Imports `index`, `model`, `reclaim`.
//!
//! All of this is the inserter's. It copies one unit, publishes the copies, and retires the original; readers go on in
//! whichever of them they have come to. The directory doubles when a unit is split that has but one entry.

use crate::index::bucket::{DEPTH_MAX, EARLY_BITS};
use crate::index::draft::{self, BUCKETS, Draft};
use crate::index::inserter::{Inserter, first_hash};
use crate::index::published::Published;
use crate::index::table::{Directory, Table};
use crate::index::unit::{self, Head, Unit};
use crate::model::{self, Flaw, Life};
use crate::reclaim::pin::Pin;

/// How much deeper than the mean a unit may get. Keys that agree in more bits of their hash than that are no accident;
/// for them it gets a chain, instead of a directory of gigabytes.
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
const SLACK: u32 = 6;
#[cfg(any(zipcask_loom, zipcask_shuttle))]
const SLACK: u32 = 1;

impl Table {
    /// Makes the first unit.
    pub(crate) fn begin(&self, inserter: &mut Inserter, pin: &Pin) {
        let mut draft = Draft::new(0, BUCKETS.0);
        inserter.units = 1;
        inserter.keep_rest(&mut draft);
        let unit = unit::allocate(&draft);
        self.root.store(directory(0, |_| unit));
        // SAFETY: `allocate` made it, and no one but the inserter frees units.
        inserter.unit_bytes = unsafe { Unit::new(unit, pin) }.bytes();
        self.count_bytes(inserter, pin);
    }

    /// Makes room in `unit`, to which `hash` belongs, by replacing it. `false` if it may not be split further.
    pub(crate) fn grow(&self, inserter: &mut Inserter, hash: u64, unit: Unit<'_>, pin: &Pin) -> bool {
        let (depth, buckets) = (unit.depth(), unit.buckets());
        let parent = self.directory(pin).expect("a unit stands in a directory").name(hash);
        let mut drafts = if buckets < BUCKETS.1 {
            vec![Draft::new(depth, buckets * 2)]
        } else if depth < depth_max(inserter.units) {
            vec![Draft::new(depth + 1, buckets), Draft::new(depth + 1, buckets)]
        } else if unit::is_image(parent) {
            // A chain is more than an image may have.
            vec![Draft::new(depth, buckets)]
        } else {
            return false;
        };
        draft::share(&mut drafts, unit.freeze(), &inserter.take_rest());

        let first = first_hash(hash, depth);
        inserter.units += drafts.len() as u64 - 1;
        inserter.unit_bytes -= unit.bytes();
        let mut children = Vec::with_capacity(drafts.len());
        for draft in &mut drafts {
            inserter.keep_rest(draft);
            let child = unit::allocate(draft);
            // SAFETY: `allocate` made it, and no one but the inserter frees units.
            inserter.unit_bytes += unsafe { Unit::new(child, pin) }.bytes();
            children.push(child);
        }
        if model::planted(Flaw::UnitRetiredEarly) {
            unit.head().life.retired();
        }
        self.publish(first, depth, &children, pin);
        unit.head().life.retired();
        // SAFETY: no entry of the directory names the parent any more, and directories that did have been retired
        // before it.
        unsafe { pin.retire(move || unit::free(parent)) };
        self.count_bytes(inserter, pin);
        true
    }

    /// Puts `children` in the place of the unit of this depth whose lowest hash is `first`.
    fn publish(&self, first: u64, depth: u32, children: &[*mut Head], pin: &Pin) {
        let old = self.directory(pin).expect("a unit stands in a directory");
        if children.len() > 1 && depth == old.depth {
            let parent = old.index(first);
            let doubled = directory(old.depth + 1, |i| match i / 2 == parent {
                true => children[i % 2],
                false => old.units[i / 2].load(),
            });
            let retired = std::ptr::from_ref(old).cast_mut();
            if model::planted(Flaw::DirectoryRetiredEarly) {
                old.life.retired();
            }
            self.root.store(doubled);
            old.life.retired();
            // SAFETY: it came from a box; the root does not name it any more.
            unsafe { pin.retire(move || drop(Box::from_raw(retired))) };
            return;
        }
        let entries = 1 << (old.depth - depth);
        let start = old.index(first);
        for i in 0..entries {
            old.units[start + i].store(children[i * children.len() / entries]);
        }
    }

    /// Frees everything.
    pub(crate) fn free(&mut self) {
        let root = self.root.load();
        if root.is_null() {
            return;
        }
        // SAFETY: `directory` made it; nobody else is here any more.
        let directory = unsafe { Box::from_raw(root) };
        let mut last = std::ptr::null_mut();
        for unit in directory.units.iter().map(Published::load) {
            // The entries of a unit lie side by side.
            if unit != last {
                // SAFETY: `allocate` made it; no other entry names it; nobody else is here any more.
                unsafe { unit::free(unit) };
            }
            last = unit;
        }
    }
}

/// How deep units may get in a table of so many.
pub(crate) fn depth_max(units: u64) -> u32 {
    EARLY_BITS.max(DEPTH_MAX.min(units.ilog2() + SLACK))
}

/// Makes a directory of this depth.
pub(crate) fn directory(depth: u32, unit: impl FnMut(usize) -> *mut Head) -> *mut Directory {
    let units = (0..1 << depth).map(unit).map(Published::new).collect();
    Box::into_raw(Box::new(Directory { depth, units, life: Life::new() }))
}
