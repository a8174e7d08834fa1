//! How fast a job goes, and when it stops.
//!
//! Floor 4. Imports `error`, `platform`, `sync`.

use std::cell::Cell;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::platform::Clock;
use crate::sync::plain::{Condvar, Mutex, PoisonError};

/// Bytes between two rests.
const STRIDE: u64 = 1 << 20;
/// The longest rest.
const REST_MAX: Duration = Duration::from_millis(100);

/// A call to end, which ends a rest, too.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    called: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    pub(crate) fn call(&self) {
        *self.called.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_called(&self) -> bool {
        *self.called.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns after this time, or at the call.
    fn rest(&self, time: Duration) {
        let called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_timeout_while(called, time, |called| !*called));
    }
}

/// What a job goes by.
pub(crate) struct Pace<'a> {
    clock: &'a dyn Clock,
    stop: &'a Stop,
    /// How long it rests for the time that it works, so that device and cores are left to others.
    rest: Cell<f64>,
    /// Bytes since the last rest, and when that ended.
    worked: Cell<(u64, u64)>,
}

impl<'a> Pace<'a> {
    pub(crate) fn new(clock: &'a dyn Clock, stop: &'a Stop) -> Pace<'a> {
        let worked = Cell::new((0, clock.monotonic_ns()));
        Pace { clock, stop, rest: Cell::new(0.0), worked }
    }

    /// From here on, it rests so long for each second that it works.
    pub(super) fn rest(&self, share: f64) {
        self.rest.set(share);
    }

    /// So many bytes were read or written.
    ///
    /// # Errors
    /// `Closed` if the job is to stop.
    pub(crate) fn work(&self, bytes: u64) -> Result<()> {
        let (before, since) = self.worked.get();
        self.worked.set((before + bytes, since));
        if before + bytes < STRIDE {
            return Ok(());
        }
        if self.rest.get() > 0.0 {
            let worked = self.clock.monotonic_ns().saturating_sub(since);
            self.stop.rest(Duration::from_nanos(worked).mul_f64(self.rest.get()).min(REST_MAX));
        }
        self.worked.set((0, self.clock.monotonic_ns()));
        self.check()
    }

    /// # Errors
    /// `Closed` if the job is to stop.
    pub(super) fn check(&self) -> Result<()> {
        match self.stop.is_called() {
            true => Err(Error::new(ErrorKind::Closed, "the store was closed")),
            false => Ok(()),
        }
    }
}
