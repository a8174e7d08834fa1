//! The time that threads take together.

use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// Starts all threads at once, and notes when the first began and the last ended.
pub(crate) struct Clock {
    /// Threads that have not come yet.
    missing: Mutex<usize>,
    all_here: Condvar,
    span: Mutex<Option<(Instant, Instant)>>,
}

impl Clock {
    /// Waits until all threads are here, then runs what is to be timed. Each thread calls it once.
    pub(crate) fn time(&self, f: impl FnOnce()) {
        self.arrive(1);
        let missing = self.missing.lock().expect("nobody panicked");
        drop(self.all_here.wait_while(missing, |missing| *missing > 0).expect("nobody panicked"));
        let start = Instant::now();
        f();
        let end = Instant::now();
        let mut span = self.span.lock().expect("nobody panicked");
        let (first, last) = span.unwrap_or((start, end));
        *span = Some((first.min(start), last.max(end)));
    }

    fn arrive(&self, threads: usize) {
        let mut missing = self.missing.lock().expect("nobody panicked");
        *missing = missing.saturating_sub(threads);
        if *missing == 0 {
            self.all_here.notify_all();
        }
    }
}

/// Lets nobody wait for a thread that found a wrong answer before it came to the clock.
struct Watch<'a>(&'a Clock);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.arrive(usize::MAX);
        }
    }
}

/// Runs `f` on so many threads, a single one being the caller's own.
///
/// # Panics
/// If one of them does, or none was timed.
pub(crate) fn together(threads: usize, f: impl Fn(usize, &Clock) + Sync) -> Duration {
    let clock = Clock { missing: Mutex::new(threads), all_here: Condvar::new(), span: Mutex::new(None) };
    if threads == 1 {
        f(0, &clock);
    } else {
        std::thread::scope(|scope| {
            let (f, clock) = (&f, &clock);
            (0..threads).for_each(|thread| {
                scope.spawn(move || {
                    let _watch = Watch(clock);
                    f(thread, clock);
                });
            });
        });
    }
    let (start, end) = clock.span.into_inner().expect("nobody panicked").expect("a thread was timed");
    end - start
}
