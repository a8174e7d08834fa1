//! Pins: keeping everything that one call can reach.
//!
//! Floor 1. Imports nothing.

use crossbeam_epoch::Guard;

/// How often `collect` pins: what was retired waits for two turns of the epoch, and each pin can bring about one. The
/// third is for a turn that another thread brought about between retiring and pinning.
const TURNS: usize = 3;

/// While it lives, nothing is freed that was reachable when it was made. Belongs to the thread that made it.
pub(crate) struct Pin(Guard);

impl Pin {
    /// Cheap, and cheaper inside of another pin. One in 128 frees what others retired, if nobody looks at it any more.
    #[inline]
    pub(crate) fn new() -> Pin {
        Pin(crossbeam_epoch::pin())
    }

    /// Runs `free` when every pin that exists now has gone; it may wait until this thread has retired more or ends, or for
    /// its `collect`.
    ///
    /// # Safety
    ///
    /// What `free` frees has been unlinked: a pin made from here on cannot reach it. `free` may run on any thread, at
    /// any time, and nothing else frees the same.
    pub(crate) unsafe fn retire(&self, free: impl FnOnce() + 'static) {
        // SAFETY: the caller's promise is the one asked for here.
        unsafe { self.0.defer_unchecked(free) };
    }
}

/// Frees what this thread and others retired, as far as no pin is in the way. Within a pin it frees nothing.
pub(crate) fn collect() {
    for _ in 0..TURNS {
        crossbeam_epoch::pin().flush();
    }
}
