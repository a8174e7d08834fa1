//! How far a segment may be read.
//!
//! Floor 2. Imports `sync`.

use crate::sync::atomic::{AtomicU64, Ordering};

/// Invariant T1: every byte below `published` is written and will not change (W3).
/// Invariant T2: `published` never decreases, and only the commit leader (or recovery, before any reader) moves it.
#[derive(Debug)]
pub(crate) struct Tail {
    published: AtomicU64,
}

impl Tail {
    pub(crate) fn new(offset: u64) -> Tail {
        Tail { published: AtomicU64::new(offset) }
    }

    /// Makes everything below `end` readable.
    pub(crate) fn publish(&self, end: u64) {
        debug_assert!(end >= self.published.load(Ordering::Relaxed), "T2");
        // ORDER: Release; pairs with the Acquire in `published`: who sees `end` sees the bytes below it (T1).
        self.published.store(end, Ordering::Release);
    }

    /// Where the readable bytes end.
    #[inline]
    pub(crate) fn published(&self) -> u64 {
        // ORDER: Acquire; pairs with the Release in `publish`.
        self.published.load(Ordering::Acquire)
    }
}

#[cfg(all(test, zipcask_loom))]
#[path = "../../loom-tests/tail.rs"]
mod loom_models;
