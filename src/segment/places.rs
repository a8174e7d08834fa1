//! Which places of the linear address space are free.
//!
//! Floor 2. Imports `error`, `limits`, `platform`, `sync`.

use std::collections::BTreeMap;

use crate::error::{Error, ErrorKind, Result};
use crate::limits::PLACE_LEN;
use crate::platform::fork::ForkGuard;
use crate::sync::Arc;
use crate::sync::plain::{Mutex, MutexGuard, PoisonError};

/// The places of a registry. What is given out comes back with its lease.
#[derive(Debug)]
pub(crate) struct Places {
    state: Mutex<State>,
    /// How many there are.
    count: u64,
    fork: ForkGuard,
}

#[derive(Debug, Default)]
struct State {
    /// None from here on was ever given out.
    next: u64,
    /// Runs that came back: first place and how many. No two touch.
    free: BTreeMap<u64, u64>,
}

/// A run of places, which may be given out anew once this is gone: whoever can reach what lay there has part in it.
#[derive(Debug)]
pub(crate) struct Lease {
    places: Arc<Places>,
    first: u64,
    count: u64,
}

impl Places {
    pub(crate) fn new(count: u64) -> Places {
        Places { state: Mutex::default(), count, fork: ForkGuard::new() }
    }

    /// Takes places for `len` bytes, the lowest that are free, and returns the first.
    ///
    /// # Errors
    /// `ResourceLimit` if no run is long enough.
    pub(crate) fn take(&self, len: u64) -> Result<u64> {
        let (mut state, count) = (self.state(), len.div_ceil(PLACE_LEN));
        let fitting = state.free.iter().find(|(_, free)| **free >= count).map(|(first, free)| (*first, *free));
        if let Some((first, free)) = fitting {
            state.free.remove(&first);
            if free > count {
                state.free.insert(first + count, free - count);
            }
            return Ok(first);
        }
        let first = state.next;
        if count > self.count - first {
            let text = "the address space of 16 TiB is full; compact the store, or split it";
            return Err(Error::new(ErrorKind::ResourceLimit, text));
        }
        state.next = first + count;
        Ok(first)
    }

    /// Takes just these runs, each a first place and how many, in their order, of places of which none was ever taken.
    pub(crate) fn take_these(&self, runs: impl Iterator<Item = (u64, u64)>) {
        let mut state = self.state();
        for (first, count) in runs {
            let next = state.next;
            if first > next {
                state.free.insert(next, first - next);
            }
            state.next = first + count;
        }
    }

    /// The lease of places for `len` bytes from `first` on, which were taken.
    pub(crate) fn lease(self: &Arc<Places>, first: u64, len: u64) -> Lease {
        Lease { places: Arc::clone(self), first, count: len.div_ceil(PLACE_LEN) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.places.fork.forked() {
            // Dropped with what the parent retired: its store gives nothing out here, and the lock may be held for ever.
            return;
        }
        let (mut first, mut count, mut state) = (self.first, self.count, self.places.state());
        if let Some((before, len)) = state.free.range(..first).next_back().map(|(before, len)| (*before, *len))
            && before + len == first
        {
            state.free.remove(&before);
            (first, count) = (before, count + len);
        }
        if let Some(behind) = state.free.remove(&(first + count)) {
            count += behind;
        }
        state.free.insert(first, count);
    }
}

#[cfg(test)]
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
mod tests {
    use super::Places;
    use crate::error::ErrorKind;
    use crate::limits::PLACE_LEN;
    use crate::sync::Arc;

    #[test]
    fn places_come_back_with_their_lease_and_runs_grow_together() {
        let places = Arc::new(Places::new(6));
        let taken: Vec<_> = (0..3).map(|_| places.take(2 * PLACE_LEN).unwrap()).collect();
        assert_eq!(taken, [0, 2, 4]);
        assert_eq!(places.take(1).unwrap_err().kind(), ErrorKind::ResourceLimit);
        let mut leases: Vec<_> = taken.iter().map(|first| Some(places.lease(*first, 2 * PLACE_LEN))).collect();
        leases[0] = None;
        leases[2] = None;
        assert_eq!(places.take(3 * PLACE_LEN).unwrap_err().kind(), ErrorKind::ResourceLimit, "no run is long enough");
        leases[1] = None;
        assert_eq!(places.take(5 * PLACE_LEN - 7).unwrap(), 0);
        assert_eq!(places.take(1).unwrap(), 5);
    }

    #[cfg(unix)]
    #[test]
    fn a_forked_child_drops_a_lease_though_its_parent_was_giving_places_out() {
        let places = Arc::new(Places::new(6));
        let mut lease = Some(places.lease(places.take(1).unwrap(), 1));
        let held = places.state();
        // SAFETY: the child drops the lease, which takes no lock, and leaves by `_exit`, or by the alarm.
        let status = unsafe {
            let pid = libc::fork();
            assert!(pid >= 0, "no fork");
            if pid == 0 {
                libc::alarm(20);
                drop(lease.take());
                libc::_exit(0);
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid);
            status
        };
        assert!(libc::WIFEXITED(status), "the child hung: status {status}");
        drop(held);
        drop(lease.take());
        assert_eq!(places.take(1).unwrap(), 0, "the parent has it back");
    }
}
