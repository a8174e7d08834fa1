//! Owners and holds: keeping one thing for as long as one likes.
//!
//! Floor 1. Imports `model`, `sync`.

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;

use crate::model::{self, Flaw, Life};
use crate::sync::counted::Arc;
use crate::sync::plain::{AtomicUsize, Ordering};

/// How many counts the holds of one thing are spread over.
const STRIPES: usize = if cfg!(zipcask_loom) { 2 } else { 16 };

/// The one who made something and can end it: it goes when the owner has gone and every hold.
///
/// Holds are counted in stripes, one a thread or so, each a line of its own: threads that take and drop holds of one
/// thing do not meet. A stripe is itself counted, by its holds and its owner, and the thing by its owner and its
/// stripes; so nobody ever has to add the stripes up.
///
/// Who has not got a hold reaches the owner through a pin, and whoever unlinks the owner retires it; so no hold is
/// taken of what has gone.
pub(crate) struct Owner<T> {
    target: Arc<T>,
    stripes: [Arc<Stripe<T>>; STRIPES],
    pub(crate) life: Life,
}

/// One count of holds.
struct Stripe<T> {
    target: Arc<T>,
    /// So that the counts of two stripes are not on one pair of lines.
    _apart: [u64; 14],
}

/// Keeps something where it is, whatever becomes of its owner (R3).
pub(crate) struct Hold<T>(Arc<Stripe<T>>);

impl<T> Owner<T> {
    pub(crate) fn new(target: T) -> Owner<T> {
        let target = Arc::new(target);
        let stripe = |_| Arc::new(Stripe { target: Arc::clone(&target), _apart: [0; 14] });
        Owner { stripes: std::array::from_fn(stripe), target, life: Life::new() }
    }

    /// A hold of it, counted where this thread counts.
    #[inline]
    pub(crate) fn hold(&self) -> Hold<T> {
        self.hold_at(stripe_of_this_thread())
    }

    #[inline]
    fn hold_at(&self, stripe: usize) -> Hold<T> {
        self.life.found();
        let stripe = &self.stripes[stripe];
        if model::planted(Flaw::HoldUncounted) {
            // SAFETY: none; this is the flaw.
            return Hold(unsafe { std::ptr::read(stripe) });
        }
        Hold(Arc::clone(stripe))
    }
}

/// Threads take the stripes in turn.
#[inline]
fn stripe_of_this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    std::thread_local! {
        static STRIPE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    STRIPE.with(|stripe| {
        if stripe.get() == usize::MAX {
            stripe.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        stripe.get() % STRIPES
    })
}

impl<T> Deref for Owner<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.target
    }
}

impl<T> Deref for Hold<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0.target
    }
}

/// Counted where the first was: then one line is touched, whichever thread clones and drops.
impl<T> Clone for Hold<T> {
    fn clone(&self) -> Self {
        Hold(Arc::clone(&self.0))
    }
}

impl<T: fmt::Debug> fmt::Debug for Hold<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(all(test, zipcask_loom))]
#[path = "../../loom-tests/hold.rs"]
mod loom_models;
