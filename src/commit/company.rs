//! Whether a leader waits a little for the writers that it lately shared a barrier with.
//!
//! Floor 4. Imports `platform`, `sync`.
//!
//! Writers that waited for one barrier come back at about the same time, and the first of them leads. If it began at once,
//! it would take the few along that are as quick, and the others would wait for its barrier before their own: half of
//! them a barrier at best. So it looks for the others first, but not for long beside what a barrier takes. A lone writer
//! never waits, and one whose company stays away waits in vain once.

use crate::platform::Clock;
use crate::sync::plain::{AtomicU64, Ordering};
use crate::sync::yield_now;

/// Waiting for a part of the last barrier pays more than it costs: with 4 writers on 2 cores, commits for each bare sync
/// go from 1.8 to 2.4 with a quarter, to 2.0 with an eighth.
const PART: u64 = 4;

/// Nobody waits longer, since it keeps a core busy.
const PATIENCE_NS_MAX: u64 = 250_000;

/// What the last barrier was like. Only a hint: torn or old, it costs a little time.
#[derive(Debug, Default)]
pub(super) struct Company {
    /// Who was in its group or came meanwhile.
    writers: AtomicU64,
    patience_ns: AtomicU64,
}

impl Company {
    /// Returns when the group has as many members as company was, or when it was waited for long enough. `members` says
    /// how many the group has by now.
    pub(super) fn gather(&self, clock: &dyn Clock, members: impl Fn() -> usize) {
        let writers = self.writers.load(Ordering::Relaxed);
        if writers < 2 || members() as u64 >= writers {
            return;
        }
        let (start, patience) = (clock.monotonic_ns(), self.patience_ns.load(Ordering::Relaxed));
        while clock.monotonic_ns().saturating_sub(start) < patience && (members() as u64) < writers {
            yield_now();
        }
    }

    /// After a group that asked for a barrier: how many were in it or came meanwhile, and how long it took.
    pub(super) fn remember(&self, writers: usize, ns: u64) {
        self.writers.store(writers as u64, Ordering::Relaxed);
        self.patience_ns.store((ns / PART).min(PATIENCE_NS_MAX), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{Company, PART};
    use crate::platform::Clock;
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Goes on by one with each look.
    #[derive(Debug, Default)]
    struct Looks(AtomicU64);

    impl Clock for Looks {
        fn wall_ms(&self) -> u64 {
            0
        }

        fn monotonic_ns(&self) -> u64 {
            self.0.fetch_add(1, Ordering::Relaxed)
        }
    }

    /// How often the clock was looked at until a leader began, to whose group one member comes with every look at it.
    fn looks(writers: usize, barrier_ns: u64, comes: usize) -> u64 {
        let (company, clock, members) = (Company::default(), Looks::default(), Cell::new(1));
        company.remember(writers, barrier_ns);
        company.gather(&clock, || members.replace(members.get() + comes));
        clock.0.into_inner()
    }

    #[test]
    fn a_leader_waits_for_its_company_and_not_for_long() {
        assert_eq!(looks(0, 1_000_000, 0), 0, "nobody was ever there");
        assert_eq!(looks(1, 1_000_000, 0), 0, "a lone writer");
        assert_eq!(looks(4, 1_000_000, 1), 4, "until all are there");
        assert_eq!(looks(4, 400, 0), 400 / PART + 1, "a part of the last barrier");
        assert_eq!(looks(4, u64::MAX, 0), 250_001, "nor longer than that");
    }
}
