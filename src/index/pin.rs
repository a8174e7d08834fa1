//! Pointers that are swapped under readers, and the pins that keep alive what such a pointer led to.
//!
//! Floor 2. Imports `index`, `sync`.
//!
//! The only file of the index that knows crossbeam's epochs. In loom's models nothing is reclaimed: an epoch inside of
//! a model costs millions of executions, and the questions asked there are about the table.

use crate::index::model::{self, Crossing, Flaw};
use crate::sync::atomic::{AtomicPtr, Ordering};

/// While it lives, nothing is freed that was reachable when it was made.
pub(crate) struct Pin(#[cfg(not(zipcask_loom))] crossbeam_epoch::Guard);

impl Pin {
    /// Pins this thread. Cheap, and cheaper inside of another pin.
    #[inline]
    pub(crate) fn new() -> Pin {
        Pin(
            #[cfg(not(zipcask_loom))]
            crossbeam_epoch::pin(),
        )
    }

    /// Runs `free` when every pin that exists now has gone.
    ///
    /// # Safety
    ///
    /// What `free` frees has been unlinked: a pin made from here on cannot reach it. `free` may run on any thread, at
    /// any time, and nothing else frees the same.
    pub(crate) unsafe fn retire(&self, free: impl FnOnce() + 'static) {
        #[cfg(not(zipcask_loom))]
        {
            // SAFETY: the caller's promise is the one asked for here.
            unsafe { self.0.defer_unchecked(free) };
            self.0.flush();
        }
        #[cfg(zipcask_loom)]
        std::mem::forget(free);
    }
}

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
#[path = "../../loom-tests/pin.rs"]
mod loom_models;
