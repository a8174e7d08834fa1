//! Writing a table down while it changes, and a table whose units are what was written.
//!
//! Floor 2. Imports `index`, `model`, `reclaim`, `sync`.
//!
//! What is written of a unit is its memory, so that a private mapping of the file has units to be used in place. They are
//! copied one after the other, by ascending hashes, each while the inserter waits. So an image is of no single moment:
//! of each key it says what was true when its unit was copied. Whoever brings it up to date replays the log from a moment
//! before the first copy on: the newest record of each key is then what counts, whether the image has it or not.
//!
//! Big-endian machines, which would have to turn each word, do without.

use std::any::Any;
use std::fmt;
use std::ptr::NonNull;

use crate::index::table::Table;
use crate::index::unit::{Chained, UNIT_LEN};
use crate::model::{self, Flaw};
use crate::reclaim::pin::Pin;
use crate::sync::Arc;

/// The hashes of one unit: all that agree with `first` in their first `depth` bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Extent {
    /// The lowest.
    pub(crate) first: u64,
    pub(crate) depth: u32,
}

impl Extent {
    /// The lowest hash beyond; `None` if there is none.
    pub(crate) fn next(self) -> Option<u64> {
        let count = 1_u64.checked_shl(u64::BITS - self.depth)?;
        self.first.checked_add(count)
    }
}

/// A table being written down. Until it is dropped, changes say whether they will be in it.
pub(crate) struct Image<'t> {
    table: &'t Table,
    len: u64,
    whole: bool,
}

impl Table {
    /// Begins to write the table down; one at a time. Changes from here on say whether they will be in it.
    ///
    /// The only unit of a small table grows into two first: only full ones are written down.
    pub(crate) fn image(&self) -> Image<'_> {
        let mut inserter = self.lock();
        while inserter.units < 2 {
            let pin = Pin::new();
            match self.unit(0, &pin) {
                Some(unit) => drop(self.grow(&mut inserter, 0, unit, &pin)),
                None => self.begin(&mut inserter, &pin),
            }
        }
        let under_way = inserter.uncopied.replace(0);
        assert_eq!(under_way, None, "a table is written down once at a time");
        Image { table: self, len: 0, whole: false }
    }
}

impl Image<'_> {
    /// Writes the next unit down and says whose hashes it has; `Ok(None)` if there are no more.
    ///
    /// # Errors
    ///
    /// Keys of a chain are not written down: where keys are so hostile, there is no image.
    pub(crate) fn copy_next(&mut self, unit: &mut [u8; UNIT_LEN]) -> Result<Option<Extent>, Chained> {
        let mut inserter = self.table.lock();
        let Some(first) = inserter.uncopied.filter(|_| !self.whole) else {
            return Ok(None);
        };
        let pin = Pin::new();
        let next = self.table.unit(first, &pin).expect("a table with units keeps them");
        // Units are only ever divided, so that `first` is the lowest hash of one.
        let extent = Extent { first, depth: next.depth() };
        self.len += next.copy(unit)?;
        if model::planted(Flaw::CopiedBeforeNoted) {
            drop(inserter);
            inserter = self.table.lock();
        }
        inserter.uncopied = extent.next();
        self.whole = inserter.uncopied.is_none();
        Ok(Some(extent))
    }

    /// Keys in the units that were written down.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }
}

impl Drop for Image<'_> {
    fn drop(&mut self) {
        if !self.whole {
            self.table.lock().uncopied = None;
        }
    }
}

/// Memory that holds units, one after the other.
pub(crate) struct Memory {
    start: NonNull<u8>,
    len: usize,
    keeper: Arc<dyn Any + Send + Sync>,
}

// SAFETY: the bytes belong to this value as those of a box do (`Memory::new`), and may go to any thread with it.
unsafe impl Send for Memory {}
// SAFETY: through a shared reference nothing is reached but where the bytes are.
unsafe impl Sync for Memory {}

impl Memory {
    /// # Safety
    ///
    /// The `len` bytes at `start` may be read and written until `keeper` is dropped, from any thread, and are reached in
    /// no other way meanwhile.
    pub(crate) unsafe fn new(start: NonNull<u8>, len: usize, keeper: Arc<dyn Any + Send + Sync>) -> Memory {
        Memory { start, len, keeper }
    }

    /// The first `len` bytes, or all if there are not so many, and the rest.
    pub(crate) fn split_at(self, len: usize) -> (Memory, Memory) {
        let len = len.min(self.len);
        // SAFETY: the memory has so many bytes at least.
        let start = unsafe { self.start.add(len) };
        let rest = Memory { start, len: self.len - len, keeper: Arc::clone(&self.keeper) };
        (Memory { len, ..self }, rest)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
mod opening {
    use std::iter;

    use crate::index::bucket::Bucket;
    use crate::index::grow;
    use crate::index::image::{Extent, Memory};
    use crate::index::inserter::Inserter;
    use crate::index::table::Table;
    use crate::index::unit::{self, UNIT_LEN};

    impl Table {
        /// The table whose units were written down with these extents, one after the other, and have `len` keys. They are
        /// used where they are.
        ///
        /// `None` if the extents are not those of a whole table, each hash in one, or are not what the units say. Words of
        /// slots are not looked at: the caller has checked that the bytes are what was written.
        pub(crate) fn open(memory: Memory, extents: &[Extent], len: u64) -> Option<Table> {
            let aligned = memory.start.cast::<Bucket>().is_aligned();
            let whole = extents.len().checked_mul(UNIT_LEN) == Some(memory.len);
            if cfg!(target_endian = "big") || !aligned || !whole {
                return None;
            }
            let depth = directory_depth(extents)?;
            let mut names = Vec::with_capacity(1 << depth);
            for (i, extent) in extents.iter().enumerate() {
                // SAFETY: there are as many units as extents. The memory is the table's alone from here on, and goes
                // after it.
                let name = unsafe { unit::adopt(memory.start.add(i * UNIT_LEN), extent.depth) }?;
                names.extend(iter::repeat_n(name, 1 << (depth - extent.depth)));
            }
            let inserter = Inserter::of(extents.len() as u64, memory.len as u64);
            Some(Table::over(grow::directory(depth, |i| names[i]), inserter, len, memory))
        }
    }

    /// How deep the directory of these units is; `None` if they are not those of one.
    fn directory_depth(extents: &[Extent]) -> Option<u32> {
        let deepest = grow::depth_max(extents.len().max(1) as u64);
        let (mut depth, mut next) = (0, Some(0));
        for &extent in extents {
            let low = u64::MAX.checked_shr(extent.depth).unwrap_or(0);
            if next != Some(extent.first) || !(1..=deepest).contains(&extent.depth) || extent.first & low != 0 {
                return None;
            }
            depth = depth.max(extent.depth);
            next = extent.next();
        }
        next.is_none().then_some(depth)
    }
}

/// Where the models run, units are no plain memory.
#[cfg(any(zipcask_loom, zipcask_shuttle))]
impl Table {
    pub(crate) fn open(_memory: Memory, _extents: &[Extent], _len: u64) -> Option<Table> {
        None
    }
}

#[cfg(all(test, zipcask_loom))]
#[path = "../../loom-tests/image.rs"]
mod loom_models;
