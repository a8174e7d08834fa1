//! The moments that snapshots show, and how one is found without stopping the writer.
//!
//! Floor 3. Imports `address`, `model`, `sync`.
//!
//! S1: a moment is the end of a group, and of every change behind it the writer knows that what it replaces is to be kept. The writer
//! marks its publication and then looks whether there are snapshots; who makes one says so and then looks for the mark.
//! One of the two sees the other: the writer keeps what it replaces, or the snapshot waits until it is done.

use std::collections::BTreeMap;

use crate::address::Seqno;
use crate::model::{self, Flaw};
use crate::sync::atomic::{AtomicU64, Ordering, fence};
use crate::sync::{Mutex, MutexGuard, yield_now};

/// In `newest`: no snapshot is open; one is being made. Else it is the seqno of the newest one and this.
const NONE: u64 = 0;
const BEING_MADE: u64 = u64::MAX;
const FIRST: u64 = 1;

#[derive(Debug)]
pub(crate) struct Moments {
    /// Of those that are open, and how many show each.
    open: Mutex<BTreeMap<Seqno, usize>>,
    newest: AtomicU64,
    /// Odd while a group is being published.
    publication: AtomicU64,
}

/// What a publication has to keep of what it replaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Keep {
    Nothing,
    /// What was written up to this.
    UpTo(Seqno),
    /// One is being made.
    Everything,
}

impl Keep {
    /// Whether a record of this seqno is kept when it is replaced; 0 where there was none.
    pub(crate) fn covers(self, seqno: Seqno) -> bool {
        match self {
            Keep::Nothing => false,
            Keep::UpTo(newest) => seqno <= newest,
            Keep::Everything => true,
        }
    }
}

impl Moments {
    pub(crate) fn new() -> Moments {
        Moments { open: Mutex::new(BTreeMap::new()), newest: AtomicU64::new(NONE), publication: AtomicU64::new(0) }
    }

    /// The one writer: marks that it changes the index from here on, and learns what to keep.
    pub(crate) fn begin_publication(&self) -> Keep {
        let mark = self.publication.load(Ordering::Relaxed) + 1;
        // ORDER: Release; who waited for the end of the one before may see this mark first; pairs with the Acquire in `open`.
        self.publication.store(mark, model::ordering(Ordering::Release, Flaw::MarkRelaxed));
        if !model::planted(Flaw::PublicationUnfenced) {
            // ORDER: SeqCst; the mark comes before the look at `newest`; pairs with the fence in `open` (S1).
            fence(Ordering::SeqCst);
        }
        // ORDER: Acquire; pairs with the Release in `set_newest`: who sees a snapshot gone may drop what it showed.
        match self.newest.load(Ordering::Acquire) {
            NONE => Keep::Nothing,
            BEING_MADE => Keep::Everything,
            newest => Keep::UpTo(Seqno::from(newest - FIRST)),
        }
    }

    /// The one writer, once what it changed is visible.
    pub(crate) fn end_publication(&self) {
        // ORDER: Release; who waited for the end sees what was made visible before; pairs with the Acquire in `open`.
        self.publication.store(self.publication.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// Opens a snapshot, and says of which moment: the last that is `visible`.
    pub(crate) fn open(&self, visible: impl FnOnce() -> Seqno) -> Seqno {
        let mut open = self.lock();
        self.newest.store(BEING_MADE, Ordering::Relaxed);
        self.await_publication();
        let moment = visible();
        *open.entry(moment).or_default() += 1;
        self.set_newest(&open);
        moment
    }

    /// A sign that the one writer looks for behind its fence was given before: waits for the end of a publication that may have missed it.
    pub(crate) fn await_publication(&self) {
        if !model::planted(Flaw::SignUnfenced) {
            // ORDER: SeqCst; the sign comes before the look at `publication`; pairs with the fence in `begin_publication` (S1).
            fence(Ordering::SeqCst);
        }
        // ORDER: Acquire; pairs with the Release in `end_publication`.
        let begun = self.publication.load(Ordering::Acquire);
        if !begun.is_multiple_of(2) && !model::planted(Flaw::PublicationNotAwaited) {
            // ORDER: as above.
            while self.publication.load(Ordering::Acquire) == begun {
                yield_now();
            }
        }
    }

    /// Closes one, and calls `left` with those that are open still.
    pub(crate) fn close(&self, moment: Seqno, left: impl FnOnce(&BTreeMap<Seqno, usize>)) {
        let mut open = self.lock();
        if let Some(count) = open.get_mut(&moment) {
            *count -= 1;
            if *count == 0 {
                open.remove(&moment);
            }
        }
        self.set_newest(&open);
        left(&open);
    }

    /// How many are open, and the oldest.
    pub(crate) fn count(&self) -> (usize, Option<Seqno>) {
        let open = self.lock();
        (open.values().sum(), open.keys().next().copied())
    }

    fn set_newest(&self, open: &BTreeMap<Seqno, usize>) {
        let newest = open.keys().next_back().map_or(NONE, |moment| u64::from(*moment) + FIRST);
        // ORDER: Release; pairs with the Acquire in `begin_publication`.
        self.newest.store(newest, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Seqno, usize>> {
        self.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(all(test, zipcask_loom))]
#[path = "../../loom-tests/moments.rs"]
mod loom_models;
