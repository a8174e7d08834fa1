//! The time that threads take together.

use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

/// Starts all threads at once, and notes when the first began and the last ended.
pub(crate) struct Clock {
    gate: Barrier,
    span: Mutex<Option<(Instant, Instant)>>,
}

impl Clock {
    /// Waits until all threads are here, then runs what is to be timed. Each thread calls it once.
    pub(crate) fn time(&self, f: impl FnOnce()) {
        self.gate.wait();
        let start = Instant::now();
        f();
        let end = Instant::now();
        let mut span = self.span.lock().expect("nobody panicked");
        let (first, last) = span.unwrap_or((start, end));
        *span = Some((first.min(start), last.max(end)));
    }
}

/// Runs `f` on so many threads, a single one being the caller's own.
///
/// # Panics
/// If one of them does, or none was timed.
pub(crate) fn together(threads: usize, f: impl Fn(usize, &Clock) + Sync) -> Duration {
    let clock = Clock { gate: Barrier::new(threads), span: Mutex::new(None) };
    if threads == 1 {
        f(0, &clock);
    } else {
        std::thread::scope(|scope| {
            let (f, clock) = (&f, &clock);
            (0..threads).for_each(|thread| {
                scope.spawn(move || f(thread, clock));
            });
        });
    }
    let (start, end) = clock.span.into_inner().expect("nobody panicked").expect("a thread was timed");
    end - start
}
