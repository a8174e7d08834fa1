//! Holds and their owner under every interleaving: what is held stays, and goes with the last of them.

use std::mem::ManuallyDrop;

use loom::cell::UnsafeCell;
use loom::thread;

use super::{Hold, Owner};
use crate::model::{self, Flaw};
use crate::sync::counted::Arc;

/// Says when it is dropped: a hold that still reads races with that.
struct Thing(Arc<UnsafeCell<u64>>);

impl Drop for Thing {
    fn drop(&mut self) {
        // SAFETY: nobody holds it any more, which is what loom checks here.
        self.0.with_mut(|state| unsafe { *state += 1 });
    }
}

fn look(hold: &Hold<Thing>) {
    // SAFETY: written again only when the last hold has gone.
    (**hold).0.with(|state| assert_eq!(unsafe { *state }, 0));
}

fn model(planted: Option<Flaw>) {
    model::plant(planted);
    loom::model(|| {
        let state = Arc::new(UnsafeCell::new(0));
        let owner = Owner::new(Thing(Arc::clone(&state)));
        // What panics must not drop on its way what panics again.
        let (one, other) = (ManuallyDrop::new(owner.hold_at(0)), ManuallyDrop::new(owner.hold_at(1)));
        let reader = thread::spawn(move || {
            let again = ManuallyDrop::new(Hold::clone(&one));
            drop(ManuallyDrop::into_inner(one));
            look(&again);
            drop(ManuallyDrop::into_inner(again));
        });
        // The owner goes first, or a hold does; either way the last one ends it.
        drop(owner);
        look(&other);
        drop(ManuallyDrop::into_inner(other));
        reader.join().unwrap();
        // SAFETY: everyone has gone.
        state.with(|state| assert_eq!(unsafe { *state }, 1, "it goes once"));
    });
}

#[test]
fn what_is_held_stays_and_goes_once() {
    model(None);
}

#[test]
#[should_panic]
fn a_hold_that_is_not_counted_is_noticed() {
    model(Some(Flaw::HoldUncounted));
}
