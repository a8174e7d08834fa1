//! What stands for pins in the models of those who pin: nothing is reclaimed there, and a pin is nothing.
//!
//! Floor 1. Imports nothing.
//!
//! What a pin does has models of its own, in crossbeam-epoch. Together with the question that another model asks it would
//! cost millions of executions.

/// In place of `pin::Pin`.
pub(crate) struct Pin;

impl Pin {
    pub(crate) fn new() -> Pin {
        Pin
    }

    /// Never runs `free`.
    ///
    /// # Safety
    ///
    /// None is needed; it has the shape of the other.
    pub(crate) unsafe fn retire(&self, free: impl FnOnce() + 'static) {
        std::mem::forget(free);
    }
}

pub(crate) fn collect() {}
