//! What a run did.

use std::iter::Sum;

/// How often a thread, or all of them, did what.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) puts: u64,
    pub(crate) deletes: u64,
    pub(crate) batches: u64,
    /// Keys read one by one, or by `get_many`.
    pub(crate) gets: u64,
    /// Keys read by `iter` and `for_each`.
    pub(crate) passed: u64,
    /// Looks at what was handed out some time before.
    pub(crate) held: u64,
    /// Records written.
    pub(crate) records: u64,
    /// Archives that jobs wrote meanwhile.
    pub(crate) archives: u64,
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Counts>>(all: I) -> Counts {
        all.fold(Counts::default(), |sum, one| Counts {
            puts: sum.puts + one.puts,
            deletes: sum.deletes + one.deletes,
            batches: sum.batches + one.batches,
            gets: sum.gets + one.gets,
            passed: sum.passed + one.passed,
            held: sum.held + one.held,
            records: sum.records + one.records,
            archives: sum.archives + one.archives,
        })
    }
}

impl Counts {
    /// Everything that was looked at.
    pub(crate) fn checked(&self) -> u64 {
        self.gets + self.passed + self.held
    }
}
