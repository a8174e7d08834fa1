//! Pins: keeping everything that one call can reach.
//!
//! Floor 1. Imports `reclaim`.

use std::marker::PhantomData;

use crate::reclaim::grace::{Domain, Slot};

/// One for the process: a thread reads from any number of stores.
static DOMAIN: Domain = Domain::new();

std::thread_local! {
    static OWN: Seat = Seat::new();
}

/// A place to pin from: each thread has one, and so has each reader.
pub(crate) struct Seat(&'static Slot);

impl Seat {
    pub(crate) fn new() -> Seat {
        Seat(DOMAIN.take_slot())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        DOMAIN.give_back(self.0);
    }
}

/// While it lives, nothing is freed that was reachable when it was made. Belongs to the thread that made it.
pub(crate) struct Pin {
    slot: &'static Slot,
    /// Of a thread that has given its own seat back already.
    _own: Option<Seat>,
    _thread: PhantomData<*mut ()>,
}

impl Pin {
    /// Pins from the thread's seat. Cheap, and cheaper inside of another pin.
    #[inline]
    pub(crate) fn new() -> Pin {
        match OWN.try_with(|seat| seat.0) {
            Ok(slot) => Pin::enter(slot, None),
            Err(_) => Pin::at_the_end(),
        }
    }

    /// Pins from a seat that no other thread pins from meanwhile, and that outlives the pin.
    #[inline]
    pub(crate) fn at(seat: &Seat) -> Pin {
        Pin::enter(seat.0, None)
    }

    /// A thread that ends may still drop what reads.
    #[cold]
    fn at_the_end() -> Pin {
        let seat = Seat::new();
        Pin::enter(seat.0, Some(seat))
    }

    #[inline]
    fn enter(slot: &'static Slot, own: Option<Seat>) -> Pin {
        slot.enter();
        Pin { slot, _own: own, _thread: PhantomData }
    }

    /// Runs `free` when every pin that exists now has gone; it may wait until more was retired, or for `collect`.
    ///
    /// # Safety
    ///
    /// What `free` frees has been unlinked: a pin made from here on cannot reach it. `free` may run on any thread, at
    /// any time, and nothing else frees the same.
    pub(crate) unsafe fn retire(&self, free: impl FnOnce() + 'static) {
        // SAFETY: the caller's promise is the one asked for here.
        unsafe { DOMAIN.retire(Box::new(free)) };
    }
}

impl Drop for Pin {
    #[inline]
    fn drop(&mut self) {
        self.slot.leave();
    }
}

/// Frees what was retired and may go by now.
pub(crate) fn collect() {
    DOMAIN.collect();
}

/// Lets pins be made without a fence from here on, by a call that has every thread of the process pass one.
pub(crate) fn fence_by(fence_all: fn() -> bool) {
    DOMAIN.fence_by(fence_all);
}
