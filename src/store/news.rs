//! Waiting for writes to become visible.
//!
//! Floor 3. Imports `platform`, `store`, `sync`.
//!
//! Whoever waits says so, and then looks for a publication under way (S1): either that ends before the first look at what is visible, or the
//! writer knows that somebody waits and tells when it has ended.

use std::time::Duration;

use crate::platform::Clock;
use crate::store::moments::Moments;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex, MutexGuard};

/// A moment of a clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline<'c> {
    clock: &'c dyn Clock,
    at_ns: u64,
}

impl Deadline<'_> {
    /// So long from now; `None` if that is further than the clock goes.
    pub(crate) fn after(clock: &dyn Clock, time: Duration) -> Option<Deadline<'_>> {
        let at_ns = u64::try_from(time.as_nanos()).ok()?.checked_add(clock.monotonic_ns())?;
        Some(Deadline { clock, at_ns })
    }

    pub(super) fn is_over(self) -> bool {
        self.left() == Duration::ZERO
    }

    fn left(self) -> Duration {
        Duration::from_nanos(self.at_ns.saturating_sub(self.clock.monotonic_ns()))
    }
}

#[derive(Debug)]
pub(crate) struct News {
    waiting: AtomicU64,
    /// Whether there will be no more.
    ended: Mutex<bool>,
    told: Condvar,
}

impl News {
    pub(crate) fn new() -> News {
        News { waiting: AtomicU64::new(0), ended: Mutex::new(false), told: Condvar::new() }
    }

    /// The writer, after the fence of a publication's beginning: whether it has to `tell` behind its end.
    pub(crate) fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Has those who wait look again.
    pub(crate) fn tell(&self) {
        drop(self.lock());
        self.told.notify_all();
    }

    /// There will be no more.
    pub(crate) fn end(&self) {
        *self.lock() = true;
        self.told.notify_all();
    }

    /// Waits until it `is_there`, and says whether it is: not if there will be no more news, or none in time.
    pub(crate) fn wait(&self, moments: &Moments, until: Option<Deadline<'_>>, is_there: impl Fn() -> bool) -> bool {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        moments.await_publication();
        let mut ended = self.lock();
        while !is_there() && !*ended {
            let Some(left) = until.map(|until| until.left()) else {
                ended = self.told.wait(ended).unwrap_or_else(|poisoned| poisoned.into_inner());
                continue;
            };
            if left == Duration::ZERO {
                break;
            }
            ended = self.told.wait_timeout(ended, left).unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
        drop(ended);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        is_there()
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.ended.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
