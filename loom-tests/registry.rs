//! G1 under every interleaving: who finds a segment finds it whole.

use std::mem::ManuallyDrop;

use crate::address::Location;
use crate::limits::PLACE_LEN;
use crate::model::{self, Flaw};
use crate::reclaim::hold::Owner;
use crate::reclaim::pin::{self, Pin};
use crate::segment::registry::Registry;
use crate::sync::Arc;
use crate::sync::atomic::{AtomicBool, Ordering, fence};
use loom::{cell::UnsafeCell, thread};

/// Loom tries a thread's switch at a load only if nothing else of the other thread hides it; yielding brings every order.
fn wait_for<'p, T>(registry: &'p Registry<T>, place: u64, pin: &'p Pin) -> &'p Owner<T> {
    loop {
        match registry.find(Location::new(place, 4096), pin) {
            Some(file) => return file,
            None => thread::yield_now(),
        }
    }
}

/// A file whose content a reader may only see whole.
fn file() -> UnsafeCell<u64> {
    let file = UnsafeCell::new(0);
    // SAFETY: nobody else has it yet.
    file.with_mut(|file| unsafe { *file = 7 });
    file
}

/// G1. Fails if the store in `add` or the load of the entry in `find` is weakened to Relaxed; checked by doing so.
#[test]
fn a_file_is_found_whole_where_others_were_before() {
    loom::model(|| {
        let registry: Arc<Registry<UnsafeCell<u64>>> = Arc::new(Registry::new());
        drop(registry.add(file(), 0, PLACE_LEN));
        let opener = {
            let registry = Arc::clone(&registry);
            thread::spawn(move || drop(registry.add(file(), 1, PLACE_LEN)))
        };
        // SAFETY: found (G1), which is what loom checks here; nobody writes after `add`.
        wait_for(&registry, 1, &Pin::new()).with(|file| assert_eq!(unsafe { *file }, 7));
        opener.join().unwrap();
        assert_eq!(registry.files().len(), 2);
    });
}

/// G1. Fails if the store in `leaf` or the load of the leaf in `find` is weakened to Relaxed; checked by doing so.
#[test]
fn the_first_file_of_a_leaf_is_found_whole_at_all_of_its_places() {
    loom::model(|| {
        let registry: Arc<Registry<UnsafeCell<u64>>> = Arc::new(Registry::new());
        let opener = {
            let registry = Arc::clone(&registry);
            thread::spawn(move || {
                let place = registry.reserve(2 * PLACE_LEN).unwrap();
                registry.add(file(), place, 2 * PLACE_LEN);
            })
        };
        for place in [1, 0] {
            // SAFETY: found (G1), which is what loom checks here; nobody writes after `add`.
            wait_for(&registry, place, &Pin::new()).with(|file| assert_eq!(unsafe { *file }, 7));
        }
        opener.join().unwrap();
    });
}

/// The models above have teeth: a file that changes after it was added is a race.
#[test]
#[should_panic(expected = "Causality violation")]
fn finishing_a_file_after_adding_it_is_caught() {
    loom::model(|| {
        let registry: Arc<Registry<UnsafeCell<u64>>> = Arc::new(Registry::new());
        let opener = {
            let registry = Arc::clone(&registry);
            thread::spawn(move || {
                let file = registry.add(UnsafeCell::new(0), 0, PLACE_LEN);
                // SAFETY: none; this is the bug.
                file.with_mut(|file| unsafe { *file = 7 });
            })
        };
        // SAFETY: none; this is the bug.
        wait_for(&registry, 0, &Pin::new()).with(|file| assert_eq!(unsafe { *file }, 7));
        opener.join().unwrap();
    });
}

/// A file that may go on any thread.
struct Shared(UnsafeCell<u64>);

// SAFETY: whether it is shared soundly is what loom checks here.
unsafe impl Sync for Shared {}

/// A reader takes a hold of a file that is being retired, within its pin or behind it.
///
/// What is retired is gone at once unless the one reader has a pin. The real one waits for whoever has; and what is held stays in
/// any case, which has models of its own (`hold`).
fn retirement(planted: Option<Flaw>, behind_the_pin: bool) {
    model::plant(planted);
    loom::model(move || {
        model::reclaim_if(None);
        pin::keep_retired();
        // A panic leaves it, for what it left half done is not to be taken down.
        let registry: ManuallyDrop<Arc<Registry<Shared>>> = ManuallyDrop::new(Arc::new(Registry::new()));
        drop(registry.add(Shared(file()), 0, PLACE_LEN));
        let pinned = Arc::new(AtomicBool::new(false));
        let nobody_looks = {
            let pinned = Arc::clone(&pinned);
            move || {
                fence(Ordering::SeqCst);
                !pinned.load(Ordering::Acquire)
            }
        };
        model::reclaim_if(Some(Box::new(nobody_looks)));
        let retirer = {
            let registry = Arc::clone(&registry);
            thread::spawn(move || registry.retire(0))
        };
        pinned.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let pin = Pin::new();
        let found = registry.find(Location::new(0, 4096), &pin);
        if behind_the_pin {
            pinned.store(false, Ordering::Release);
            // Once more: between the two loom has the other thread look.
            pinned.store(false, Ordering::Release);
        }
        let hold = found.map(Owner::hold);
        pinned.store(false, Ordering::Release);
        if let Some(hold) = hold {
            // SAFETY: nobody writes after `add`.
            hold.0.with(|file| assert_eq!(unsafe { *file }, 7));
        }
        retirer.join().unwrap();
        assert!(registry.find(Location::new(0, 4096), &Pin::new()).is_none());
        drop(ManuallyDrop::into_inner(registry));
        pin::end_retired();
    });
}

#[test]
fn who_looks_takes_a_hold_of_no_file_that_is_gone() {
    retirement(None, false);
}

#[test]
#[should_panic(expected = "leads to what was freed")]
fn a_file_retired_early_is_noticed() {
    retirement(Some(Flaw::FileRetiredEarly), false);
}

#[test]
#[should_panic(expected = "leads to what was freed")]
fn a_hold_taken_behind_the_pin_is_noticed() {
    retirement(None, true);
}
