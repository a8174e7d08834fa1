//! Pointers that are swapped under readers.
//!
//! Floor 2. Imports `model`, `sync`.

use crate::model::{self, Crossing, Flaw};
use crate::sync::atomic::{AtomicPtr, Ordering};

/// A pointer that the inserter publishes and anyone follows. Null at first.
#[derive(Debug)]
pub(crate) struct Published<T> {
    pointer: AtomicPtr<T>,
    crossing: Crossing,
}

impl<T> Published<T> {
    pub(crate) fn new(pointer: *mut T) -> Published<T> {
        Published { pointer: AtomicPtr::new(pointer), crossing: Crossing::new() }
    }

    #[inline]
    pub(crate) fn load(&self) -> *mut T {
        self.crossing.pass();
        // ORDER: Acquire; pairs with the Release in `store`: who sees the pointer sees what it leads to.
        self.pointer.load(model::ordering(Ordering::Acquire, Flaw::PointerReadRelaxed))
    }

    pub(crate) fn store(&self, pointer: *mut T) {
        self.crossing.pass();
        // ORDER: Release; pairs with the Acquire in `load`.
        self.pointer.store(pointer, model::ordering(Ordering::Release, Flaw::PointerWrittenRelaxed));
    }
}

#[cfg(all(test, zipcask_loom))]
#[path = "../../loom-tests/published.rs"]
mod loom_models;
