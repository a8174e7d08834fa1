//! Grace periods: what was unlinked is freed once everyone who was looking has looked away.
//!
//! Floor 1. Imports `model`, `sync`.
//!
//! A reader marks its slot busy, looks, and marks it idle. Who frees something waits until each slot that was busy has
//! been idle, or is busy with something later. For that, being marked busy must come before looking in the order of
//! memory, which takes a full fence. Where the system lets one thread have all others fence (membarrier(2), used as liburcu
//! does), readers have none, and the one who frees pays, once for many things; elsewhere each reader fences.

use std::ptr;

use crate::model::{self, Flaw};
use crate::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering, fence};
use crate::sync::plain::{self, OnceLock, TryLockError};
use crate::sync::{Mutex, MutexGuard, compiler_fence};

/// Things that are retired before it pays to ask whether they may go.
const BATCH: u64 = 8;

/// Has every thread of the process pass a full fence; `false` if it could not.
pub(crate) type FenceAll = fn() -> bool;

/// Readers, and what waits for them.
pub(crate) struct Domain {
    /// Every slot that was ever made.
    slots: AtomicPtr<Slot>,
    /// How many of them nobody has, or some more: with none there is nothing to look for.
    idle: plain::AtomicUsize,
    /// The last that was given back, most likely idle still.
    last_idle: AtomicPtr<Slot>,
    /// Unlinked, but nobody was asked yet who is looking. The last one first.
    fresh: AtomicPtr<Garbage>,
    /// How many things ever were.
    retired: plain::AtomicU64,
    /// Only ever tried: whoever finds it taken leaves the work to who has it. A forked child may find it taken for ever.
    limbo: Mutex<Limbo>,
    fence_all: OnceLock<FenceAll>,
}

/// Where one reader at a time says whether it is looking. On lines of its own.
#[repr(align(128))]
pub(crate) struct Slot {
    /// Odd while its reader is looking, and never the same again.
    turn: AtomicU64,
    /// The reader's: its copy of `turn`, how many pins it is within, and whether it has to fence by itself.
    own_turn: plain::AtomicU64,
    depth: plain::AtomicU64,
    fences: plain::AtomicBool,
    taken: AtomicBool,
    next: *const Slot,
}

// SAFETY: `next` is written before the slot is shared, and leads to a slot that stays; all else is atomic.
unsafe impl Send for Slot {}
// SAFETY: as above.
unsafe impl Sync for Slot {}

/// What was retired and waits until nobody is left in `busy`.
struct Limbo {
    waiting: Vec<Free>,
    /// Who was looking when that had been unlinked, in which turn.
    busy: Vec<(&'static Slot, u64)>,
}

/// Frees something.
type Free = Box<dyn FnOnce()>;

/// A link of the chain of what was retired.
struct Garbage {
    free: Free,
    next: *mut Garbage,
}

// SAFETY: who retires promises that any thread may free it (`Domain::retire`).
unsafe impl Send for Limbo {}

impl Limbo {
    const EMPTY: Limbo = Limbo { waiting: Vec::new(), busy: Vec::new() };
}

impl Domain {
    #[cfg(not(zipcask_loom))]
    pub(crate) const fn new() -> Domain {
        Domain {
            slots: AtomicPtr::new(ptr::null_mut()),
            idle: plain::AtomicUsize::new(0),
            last_idle: AtomicPtr::new(ptr::null_mut()),
            fresh: AtomicPtr::new(ptr::null_mut()),
            retired: plain::AtomicU64::new(0),
            limbo: Mutex::new(Limbo::EMPTY),
            fence_all: OnceLock::new(),
        }
    }

    /// loom's types are made within its models alone.
    #[cfg(zipcask_loom)]
    pub(crate) fn new() -> Domain {
        Domain {
            slots: AtomicPtr::new(ptr::null_mut()),
            idle: plain::AtomicUsize::new(0),
            last_idle: AtomicPtr::new(ptr::null_mut()),
            fresh: AtomicPtr::new(ptr::null_mut()),
            retired: plain::AtomicU64::new(0),
            limbo: Mutex::new(Limbo::EMPTY),
            fence_all: OnceLock::new(),
        }
    }

    /// Lets readers that come from here on do without fences. The first call counts.
    pub(crate) fn fence_by(&self, fence_all: FenceAll) {
        let _ = self.fence_all.set(fence_all);
    }

    /// A slot for a reader, until it gives it back.
    pub(crate) fn take_slot(&self) -> &'static Slot {
        let slot = self.reuse_slot().unwrap_or_else(|| self.add_slot());
        slot.fences.store(self.fence_all.get().is_none(), Ordering::Relaxed);
        // ORDER: SeqCst; pairs with the fence in `fence_everyone`: whoever could miss there that readers need it sees
        // nothing of a reader that could miss here what was unlinked.
        fence(Ordering::SeqCst);
        slot
    }

    /// A slot that was given back. Seldom looks for one in vain: a process may have many thousand readers.
    fn reuse_slot(&self) -> Option<&'static Slot> {
        if self.idle.load(Ordering::Relaxed) == 0 {
            return None;
        }
        // ORDER: Acquire; pairs with the Release in `give_back`.
        // SAFETY: null, or a slot, which is never freed, and of which nobody makes a unique reference.
        let last = unsafe { self.last_idle.load(Ordering::Acquire).as_ref() };
        let slot = last.filter(|slot| slot.take()).or_else(|| self.all().find(|slot| slot.take()))?;
        self.idle.fetch_sub(1, Ordering::Relaxed);
        Some(slot)
    }

    /// Lets another reader have the slot.
    pub(crate) fn give_back(&self, slot: &'static Slot) {
        // Before it can be taken, so that the count is never too low.
        self.idle.fetch_add(1, Ordering::Relaxed);
        // ORDER: Release; pairs with the Acquire in `take`.
        slot.taken.store(false, Ordering::Release);
        // ORDER: Release; pairs with the Acquire in `reuse_slot`: who gets the slot this way sees it as it was made.
        self.last_idle.store(ptr::from_ref(slot).cast_mut(), Ordering::Release);
    }

    fn all(&self) -> impl Iterator<Item = &'static Slot> {
        // ORDER: Acquire; pairs with the Release in `add_slot`: who sees a slot sees the one behind it.
        let mut next = self.slots.load(Ordering::Acquire).cast_const();
        std::iter::from_fn(move || {
            // SAFETY: null, or a slot, which is never freed.
            let slot = unsafe { next.as_ref() }?;
            next = slot.next;
            Some(slot)
        })
    }

    fn add_slot(&self) -> &'static Slot {
        let mut first = self.slots.load(Ordering::Relaxed);
        let slot = Box::leak(Box::new(Slot {
            turn: AtomicU64::new(0),
            own_turn: plain::AtomicU64::new(0),
            depth: plain::AtomicU64::new(0),
            fences: plain::AtomicBool::new(true),
            taken: AtomicBool::new(true),
            next: ptr::null(),
        }));
        loop {
            slot.next = first;
            // ORDER: Release; pairs with the Acquire in `all`.
            match self.slots.compare_exchange(first, slot, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return slot,
                Err(other) => first = other,
            }
        }
    }

    /// Runs `free` once everyone who is looking now has looked away, and more was retired, or `collect` is called.
    ///
    /// # Safety
    ///
    /// What `free` frees has been unlinked: who begins to look from here on cannot reach it. `free` may run on any
    /// thread, and nothing else frees the same.
    pub(crate) unsafe fn retire(&self, free: Free) {
        let garbage = Box::into_raw(Box::new(Garbage { free, next: ptr::null_mut() }));
        let mut first = self.fresh.load(Ordering::Relaxed);
        let count = loop {
            // SAFETY: ours until it is in the chain.
            unsafe { (*garbage).next = first };
            // ORDER: Release; pairs with the Acquire in `take_fresh`: for who takes it, it is unlinked.
            match self.fresh.compare_exchange(first, garbage, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break self.retired.fetch_add(1, Ordering::Relaxed) + 1,
                Err(other) => first = other,
            }
        };
        if count.is_multiple_of(BATCH) {
            self.collect();
        }
    }

    /// Frees what may go by now, unless another thread is at it.
    pub(crate) fn collect(&self) {
        let Some(mut limbo) = self.try_limbo() else {
            return;
        };
        let freed = self.sift(&mut limbo);
        // Freeing may take its time, and may retire more.
        drop(limbo);
        freed.into_iter().for_each(|free| free());
    }

    /// Takes out what may go.
    fn sift(&self, limbo: &mut Limbo) -> Vec<Free> {
        let mut freed = Vec::new();
        // Twice: when the last batch can go, this one may, too.
        for _ in 0..2 {
            limbo.busy.retain(|(slot, turn)| slot.turn() == *turn);
            if !limbo.busy.is_empty() {
                break;
            }
            freed.append(&mut limbo.waiting);
            limbo.waiting = self.take_fresh();
            if limbo.waiting.is_empty() {
                break;
            }
            if !self.fence_everyone() {
                // Nobody can say who is looking, and never will.
                limbo.waiting.drain(..).for_each(std::mem::forget);
                break;
            }
            let looking = |(_, turn): &(_, u64)| turn % 2 == 1 && !model::planted(Flaw::BusyIsFreed);
            limbo.busy.extend(self.all().map(|slot| (slot, slot.turn())).filter(looking));
        }
        freed
    }

    fn take_fresh(&self) -> Vec<Free> {
        // ORDER: Acquire; pairs with the Release in `retire`.
        let mut next = self.fresh.swap(ptr::null_mut(), Ordering::Acquire);
        std::iter::from_fn(|| {
            // SAFETY: null, or made by `Box::into_raw` in `retire`; the chain is ours since the swap.
            let garbage = (!next.is_null()).then(|| unsafe { Box::from_raw(next) })?;
            next = garbage.next;
            Some(garbage.free)
        })
        .collect()
    }

    /// Has a full fence stand between whatever was unlinked and who looks afterwards.
    fn fence_everyone(&self) -> bool {
        // ORDER: SeqCst; pairs with the fence in `enter`, or with the one that `fence_all` puts there: a reader is seen to
        // be busy, or sees that all this was unlinked.
        fence(Ordering::SeqCst);
        self.fence_all.get().is_none_or(|fence_all| fence_all())
    }

    /// `None` if another thread has it.
    fn try_limbo(&self) -> Option<MutexGuard<'_, Limbo>> {
        match self.limbo.try_lock() {
            Ok(limbo) => Some(limbo),
            Err(TryLockError::Poisoned(limbo)) => Some(limbo.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Slot {
    fn take(&self) -> bool {
        if self.taken.load(Ordering::Relaxed) {
            return false;
        }
        // ORDER: Acquire; pairs with the Release in `give_back`: the last reader's counts are there.
        let taken = self.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
        taken.is_ok()
    }

    /// The reader begins to look, or to look within a look. Only who took the slot, one thread at a time.
    #[inline]
    pub(crate) fn enter(&self) {
        let depth = self.depth.load(Ordering::Relaxed);
        self.depth.store(depth + 1, Ordering::Relaxed);
        if depth > 0 {
            return;
        }
        let turn = self.own_turn.load(Ordering::Relaxed) + 1;
        self.own_turn.store(turn, Ordering::Relaxed);
        self.turn.store(turn, Ordering::Relaxed);
        if !self.fences.load(Ordering::Relaxed) {
            // ORDER: SeqCst where `fence_all` asks for it; pairs with the fence in `fence_everyone`.
            compiler_fence();
        } else if !model::planted(Flaw::EnteredWithoutFence) {
            // ORDER: SeqCst; pairs with the fence in `fence_everyone`.
            fence(Ordering::SeqCst);
        }
    }

    /// The reader looks away.
    #[inline]
    pub(crate) fn leave(&self) {
        let depth = self.depth.load(Ordering::Relaxed) - 1;
        self.depth.store(depth, Ordering::Relaxed);
        if depth > 0 {
            return;
        }
        let turn = self.own_turn.load(Ordering::Relaxed) + 1;
        self.own_turn.store(turn, Ordering::Relaxed);
        // ORDER: Release; pairs with the Acquire in `turn`: what was looked at is freed after the look.
        self.turn.store(turn, model::ordering(Ordering::Release, Flaw::LeftRelaxed));
    }

    fn turn(&self) -> u64 {
        // ORDER: Acquire; pairs with the Release in `leave`.
        self.turn.load(Ordering::Acquire)
    }
}

#[cfg(all(test, zipcask_loom))]
#[path = "../../loom-tests/grace.rs"]
mod loom_models;

#[cfg(test)]
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
mod tests {
    use super::Domain;
    use std::ptr;

    #[test]
    fn no_slot_is_made_while_one_is_idle() {
        let domain = Domain::new();
        let slots = [(); 5].map(|()| domain.take_slot());
        for idle in [2, 0, 4, 2] {
            domain.give_back(slots[idle]);
            assert!(ptr::eq(domain.take_slot(), slots[idle]));
        }
        slots.iter().for_each(|slot| domain.give_back(slot));
        assert!((0..6).all(|_| domain.take_slot().turn() == 0));
        assert_eq!(domain.all().count(), 6);
    }
}
