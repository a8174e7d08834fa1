//! Grace periods under every interleaving: nothing is freed while somebody looks at it.

use std::mem::ManuallyDrop;

use loom::cell::UnsafeCell;
use loom::thread;

use super::Domain;
use crate::model::{self, Flaw};
use crate::sync::Arc;
use crate::sync::atomic::{AtomicPtr, Ordering};

type Thing = UnsafeCell<u64>;

/// Where readers find a thing, until it is unlinked.
struct World {
    domain: Domain,
    link: AtomicPtr<Thing>,
}

impl World {
    fn new() -> World {
        let thing = Box::into_raw(Box::new(UnsafeCell::new(7)));
        World { domain: Domain::new(), link: AtomicPtr::new(thing) }
    }

    /// Looks at the thing, if it is still there.
    fn look(&self) {
        let slot = self.domain.take_slot();
        slot.enter();
        let thing = self.link.load(Ordering::Acquire);
        // SAFETY: not freed before this reader looks away, which is what loom checks here.
        if let Some(thing) = unsafe { thing.as_ref() } {
            // SAFETY: written again only when it is freed.
            thing.with(|thing| assert_eq!(unsafe { *thing }, 7));
        }
        slot.leave();
        self.domain.give_back(slot);
    }

    /// Unlinks the thing, and frees it when nobody looks.
    fn end(&self) {
        let thing = self.link.swap(std::ptr::null_mut(), Ordering::AcqRel);
        // The memory stays, so that a reader who comes too late meets a wrong value and not undefined behaviour.
        // SAFETY: unlinked above, and this is the only time.
        unsafe {
            self.domain.retire(Box::new(move || {
                let thing = ManuallyDrop::new(Box::from_raw(thing));
                thing.with_mut(|thing| *thing = 0);
            }));
        }
        self.domain.collect();
    }
}

fn model(planted: Option<Flaw>, look_twice: bool) {
    model::plant(planted);
    loom::model(move || {
        let world = Arc::new(World::new());
        let reader = thread::spawn({
            let world = Arc::clone(&world);
            move || {
                world.look();
                if look_twice {
                    world.look();
                }
            }
        });
        world.end();
        reader.join().unwrap();
        // Whatever waited for the reader goes now.
        world.domain.collect();
    });
}

#[test]
fn nothing_is_freed_while_somebody_looks_at_it() {
    model(None, false);
}

#[test]
fn a_reader_that_looks_again_does_not_lose_what_it_sees() {
    model(None, true);
}

#[test]
fn a_slot_serves_one_reader_after_the_other() {
    model::plant(None);
    loom::model(|| {
        let world = Arc::new(World::new());
        let reader = thread::spawn({
            let world = Arc::clone(&world);
            move || world.look()
        });
        world.look();
        reader.join().unwrap();
        world.end();
        assert!(world.domain.all().count() <= 2);
    });
}

/// What waited is freed once its readers have gone, though nobody retires anything more.
#[test]
fn what_waited_goes_in_the_end() {
    model::plant(None);
    loom::model(|| {
        let world = World::new();
        let slot = world.domain.take_slot();
        slot.enter();
        let thing = world.link.load(Ordering::Relaxed);
        world.end();
        // SAFETY: this reader has not looked away.
        unsafe { &*thing }.with(|thing| assert_eq!(unsafe { *thing }, 7));
        slot.leave();
        world.domain.collect();
        // SAFETY: the memory stays.
        unsafe { &*thing }.with(|thing| assert_eq!(unsafe { *thing }, 0));
    });
}

#[test]
#[should_panic]
fn entering_without_a_fence_is_noticed() {
    model(Some(Flaw::EnteredWithoutFence), false);
}

#[test]
#[should_panic]
fn leaving_relaxed_is_noticed() {
    model(Some(Flaw::LeftRelaxed), false);
}

#[test]
#[should_panic]
fn freeing_what_somebody_looks_at_is_noticed() {
    model(Some(Flaw::BusyIsFreed), false);
}
