//! The end of what other threads do until it is over.

use std::sync::atomic::{AtomicBool, Ordering};

/// Says that it is over when dropped: also by a panic, so that nobody goes on for ever.
pub(crate) struct Over<'a>(pub(crate) &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
