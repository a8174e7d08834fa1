//! How far writes are visible, and how far durable.
//!
//! Floor 3. Imports `address`, `sync`.

use crate::address::Seqno;
use crate::sync::atomic::{AtomicU64, Ordering};

/// A seqno that only grows, moved by the commit leader alone.
///
/// Invariant M1: who sees a visible seqno finds every write up to it in the index.
/// Invariant M2: what is durable is also visible: the durable mark never passes the visible one.
#[derive(Debug)]
pub(crate) struct Watermark {
    visible: AtomicU64,
    durable: AtomicU64,
}

impl Watermark {
    pub(crate) fn new(visible: Seqno, durable: Seqno) -> Watermark {
        Watermark { visible: AtomicU64::new(visible.into()), durable: AtomicU64::new(durable.into()) }
    }

    /// The whole group that ends at `seqno` is in the index.
    pub(crate) fn show(&self, seqno: Seqno) {
        // ORDER: Release; pairs with the Acquire in `visible` (M1).
        self.visible.store(seqno.into(), Ordering::Release);
    }

    /// Everything up to `seqno`, which is visible, is on stable storage.
    pub(crate) fn settle(&self, seqno: Seqno) {
        debug_assert!(u64::from(seqno) <= self.visible.load(Ordering::Relaxed), "M2");
        // ORDER: Release; pairs with the Acquire in `durable` (M2).
        self.durable.store(seqno.into(), Ordering::Release);
    }

    pub(crate) fn visible(&self) -> Seqno {
        // ORDER: Acquire; pairs with the Release in `show`.
        self.visible.load(Ordering::Acquire).into()
    }

    pub(crate) fn durable(&self) -> Seqno {
        // ORDER: Acquire; pairs with the Release in `settle`.
        self.durable.load(Ordering::Acquire).into()
    }
}

#[cfg(all(test, zipcask_loom))]
#[path = "../../loom-tests/watermark.rs"]
mod loom_models;
