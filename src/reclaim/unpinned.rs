//! What stands for pins in the models of those who pin: nothing is reclaimed there, and a pin is nothing.
//!
//! Floor 1. Imports nothing.
//!
//! What a pin does has models of its own, in crossbeam-epoch. Together with the question that another model asks it would
//! cost millions of executions.

use std::cell::RefCell;
use std::mem::ManuallyDrop;

/// A panic leaves them: outside of its model nothing of it can be dropped.
type Kept = Vec<ManuallyDrop<Box<dyn FnOnce()>>>;

std::thread_local! {
    // The threads of a model are coroutines on the thread of its test.
    static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

/// Keeps what is retired from here on until `end_retired`: where loom counts what would be forgotten.
pub(crate) fn keep_retired() {
    KEPT.set(Some(Vec::new()));
}

/// Frees what was kept.
pub(crate) fn end_retired() {
    let kept = KEPT.take().unwrap_or_default();
    kept.into_iter().for_each(|free| ManuallyDrop::into_inner(free)());
}

/// In place of `pin::Pin`.
pub(crate) struct Pin;

impl Pin {
    pub(crate) fn new() -> Pin {
        Pin
    }

    /// Never runs `free`, or not before the end of the model.
    ///
    /// # Safety
    ///
    /// None is needed; it has the shape of the other.
    pub(crate) unsafe fn retire(&self, free: impl FnOnce() + 'static) {
        KEPT.with_borrow_mut(|kept| match kept {
            Some(kept) => kept.push(ManuallyDrop::new(Box::new(free))),
            None => std::mem::forget(free),
        });
    }
}

pub(crate) fn collect() {}
