//! The thread that runs jobs in the background.
//!
//! Floor 4. Imports `address`, `compact`, `store`, `sync`.

use crate::address::SegmentId;
use crate::compact::pace::{Pace, Stop};
use crate::compact::{self, CompactionReport, Task};
use crate::store::Store;
use crate::sync::plain::{Condvar, JoinHandle, Mutex, MutexGuard, PoisonError, ThreadBuilder};
use crate::sync::{Arc, Weak};

/// The compactor of a store. No thread is started before somebody has written enough to need one.
#[derive(Debug)]
pub(crate) struct Worker {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    stop: Stop,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    wanted: bool,
    closed: bool,
    done: CompactionReport,
}

impl Worker {
    pub(crate) fn new() -> Worker {
        let shared = Shared { stop: Stop::default(), state: Mutex::default(), wake: Condvar::new() };
        Worker { shared: Arc::new(shared), thread: Mutex::new(None) }
    }

    /// What tells jobs to end.
    pub(crate) fn stop(&self) -> &Stop {
        &self.shared.stop
    }

    /// What the background has done so far.
    pub(crate) fn done(&self) -> CompactionReport {
        self.shared.state().done
    }

    /// Counts what somebody else had done.
    pub(crate) fn count(&self, report: &CompactionReport) {
        self.shared.state().done.add(report);
    }

    /// Has the thread look whether there is anything to do, soon.
    pub(crate) fn ask(&self, store: &Arc<Store>) {
        {
            let mut state = self.shared.state();
            if state.closed {
                return;
            }
            state.wanted = true;
        }
        self.shared.wake.notify_one();
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_none() {
            let (shared, store) = (Arc::clone(&self.shared), Arc::downgrade(store));
            let started = ThreadBuilder::new().name("zipcask-compact".to_string()).spawn(move || shared.run(&store));
            // Without a thread nothing is compacted; the next segment tries again.
            *thread = started.ok();
        }
    }

    /// Ends the thread, and every job; waits for the thread.
    pub(crate) fn close(&self) {
        self.shared.state().closed = true;
        self.shared.stop.call();
        self.shared.wake.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It has nothing to say that is not counted.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, store: &Weak<Store>) {
        let mut hinted = SegmentId(0);
        loop {
            let mut state = self.state();
            while !state.wanted && !state.closed {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.closed {
                return;
            }
            state.wanted = false;
            drop(state);
            let Some(store) = store.upgrade() else { return };
            let pace = Pace::new(store.disk().clock(), &self.stop);
            let task = Task::Background(store.settings().compact_when_dead);
            let mut report = CompactionReport::default();
            // What failed is counted, and left everything as it was; the next segment asks again.
            let _ = compact::run(&store, task, &pace, &mut report);
            self.state().done.add(&report);
            // Best effort, as well.
            let _ = compact::checkpoint_now_and_then(&store);
            let _ = compact::hint_sealed(&store, &pace, &mut hinted);
        }
    }
}
