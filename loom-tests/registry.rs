//! G1 under every interleaving: who finds a segment finds it whole.

use crate::address::Location;
use crate::limits::PLACE_LEN;
use crate::reclaim::hold::Owner;
use crate::reclaim::pin::Pin;
use crate::segment::registry::Registry;
use crate::sync::Arc;
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
