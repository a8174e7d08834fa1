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
    /// Whether it rests as long as it works, so that half of the device and of a core is left to others.
    gentle: bool,
    /// Bytes since the last rest, and when that ended.
    worked: Cell<(u64, u64)>,
    read: Cell<u64>,
    written: Cell<u64>,
}

impl<'a> Pace<'a> {
    pub(crate) fn new(clock: &'a dyn Clock, stop: &'a Stop, gentle: bool) -> Pace<'a> {
        let worked = Cell::new((0, clock.monotonic_ns()));
        Pace { clock, stop, gentle, worked, read: Cell::new(0), written: Cell::new(0) }
    }

    /// So much was read.
    ///
    /// # Errors
    /// `Closed` if the job is to stop.
    pub(super) fn read(&self, bytes: u64) -> Result<()> {
        self.read.set(self.read.get() + bytes);
        self.work(bytes)
    }

    /// So much was written.
    ///
    /// # Errors
    /// As `read`.
    pub(super) fn wrote(&self, bytes: u64) -> Result<()> {
        self.written.set(self.written.get() + bytes);
        self.work(bytes)
    }

    /// Bytes read and written so far.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.read.get(), self.written.get())
    }

    fn work(&self, bytes: u64) -> Result<()> {
        let (before, since) = self.worked.get();
        self.worked.set((before + bytes, since));
        if before + bytes < STRIDE {
            return Ok(());
        }
        if self.gentle {
            let worked = self.clock.monotonic_ns().saturating_sub(since);
            self.stop.rest(Duration::from_nanos(worked).min(REST_MAX));
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
