//! What loom's models need inside of what they model: flaws to plant, so that they prove that they would notice them, and
//! crossings, so that loom looks at every order of two accesses.
//!
//! Floor 0. Imports `sync`.
//!
//! Without loom or shuttle `planted` is the constant `false`, a crossing is nothing, and both cost nothing.

#[cfg(zipcask_loom)]
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering;
#[cfg(zipcask_loom)]
use crate::sync::plain::AtomicBool;

/// A step of a protocol left out, or an ordering taken away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flaw {
    /// A slot is written without releasing the record that it names.
    SlotWrittenRelaxed,
    /// A slot is read without acquiring the record that it names.
    SlotReadRelaxed,
    /// A pointer is published without what it points to.
    PointerWrittenRelaxed,
    /// A pointer is followed without acquiring what it points to.
    PointerReadRelaxed,
    /// What a mover released is not acquired when its word is frozen and copied.
    FreezeRelaxed,
    /// A unit is copied while movers may still change it.
    NoFreeze,
    /// A mover that meets a frozen word takes it for changed.
    FrozenIsChanged,
    /// The inserter overwrites a slot whatever is in it.
    ReplacedBlindly,
    /// The reach of a home is taken down and built up again.
    ReachRebuiltInPlace,
    /// Changes come between the copy of a unit and the note that it was copied.
    CopiedBeforeNoted,
    /// A hold is dropped without a count.
    HoldUncounted,
    /// A unit is retired while the directory names it.
    UnitRetiredEarly,
    /// A directory is retired while the root names it.
    DirectoryRetiredEarly,
    /// A file is retired while the registry names it.
    FileRetiredEarly,
    /// Whoever brings a write leads, although another does.
    SecondLeader,
    /// The lead is handed to a writer who is not woken.
    LeaderNotWoken,
    /// A group is told Ok before it was written.
    ToldBeforeWritten,
    /// The buffer goes to the leader, but who comes next still joins its group.
    GroupNotSwapped,
    /// The queue is closed beside a leader.
    ClosedBesideLeader,
    /// The mark of a publication does not release what the one before made visible.
    MarkRelaxed,
    /// A publication is marked, but the look for snapshots may come before.
    PublicationUnfenced,
    /// A sign for the writer is given, but the look for a publication may come before.
    SignUnfenced,
    /// A snapshot is of a moment, or a look for news is, before the publication ends that it met.
    PublicationNotAwaited,
}

#[cfg(any(zipcask_loom, zipcask_shuttle))]
std::thread_local! {
    // The threads of a model are coroutines on the thread of its test.
    static PLANTED: std::cell::Cell<Option<Flaw>> = const { std::cell::Cell::new(None) };
}

#[cfg(zipcask_loom)]
std::thread_local! {
    static NOBODY_LOOKS: std::cell::RefCell<Option<Box<dyn Fn() -> bool>>> = const { std::cell::RefCell::new(None) };
}

/// Plants `flaw` in all models that this thread runs from here on; `None` takes it out again.
#[cfg(all(test, any(zipcask_loom, zipcask_shuttle)))]
pub(crate) fn plant(flaw: Option<Flaw>) {
    PLANTED.set(flaw);
}

/// Whether this flaw is planted.
#[inline]
pub(crate) fn planted(flaw: Flaw) -> bool {
    #[cfg(any(zipcask_loom, zipcask_shuttle))]
    return PLANTED.get() == Some(flaw);
    #[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
    {
        let _ = flaw;
        false
    }
}

/// `sound`, unless `flaw` is planted.
#[inline]
pub(crate) fn ordering(sound: Ordering, flaw: Flaw) -> Ordering {
    if planted(flaw) { Ordering::Relaxed } else { sound }
}

/// Has what is retired from here on end at once if `nobody_looks` says so; with `None` nothing ends in a model.
#[cfg(all(test, zipcask_loom))]
pub(crate) fn reclaim_if(nobody_looks: Option<Box<dyn Fn() -> bool>>) {
    NOBODY_LOOKS.set(nobody_looks);
}

/// Whether something that readers find by a pointer is still there. Not modelled: it tells of the true order of things.
#[derive(Debug)]
pub(crate) struct Life(#[cfg(zipcask_loom)] AtomicBool);

impl Life {
    pub(crate) fn new() -> Life {
        Life(
            #[cfg(zipcask_loom)]
            AtomicBool::new(true),
        )
    }

    /// A reader has come here.
    #[inline]
    pub(crate) fn found(&self) {
        #[cfg(zipcask_loom)]
        assert!(self.0.load(Ordering::Relaxed), "a pointer leads to what was freed");
    }

    /// The inserter has given it up.
    pub(crate) fn retired(&self) {
        #[cfg(zipcask_loom)]
        if NOBODY_LOOKS.with_borrow(|asked| asked.as_ref().is_some_and(|nobody_looks| nobody_looks())) {
            self.0.store(false, Ordering::Relaxed);
        }
    }
}

/// Stands before every access to one atomic.
///
/// loom 0.7 keeps of an atomic only who was last there. So where a thread loads before it stores, its own load hides
/// from the store those of other threads, and orders in which they differ are never tried (tokio-rs/loom#166, #392).
/// A relaxed read-modify-write of a word that means nothing orders no memory, but no two of them hide each other.
#[derive(Debug)]
pub(crate) struct Crossing(#[cfg(zipcask_loom)] AtomicU64);

impl Crossing {
    #[inline]
    pub(crate) fn new() -> Crossing {
        Crossing(
            #[cfg(zipcask_loom)]
            AtomicU64::new(0),
        )
    }

    #[inline]
    pub(crate) fn pass(&self) {
        #[cfg(zipcask_loom)]
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
