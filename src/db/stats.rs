//! Sizes and counts.
//!
//! Floor 6. Imports `compact`, `segment`, `store`.

use crate::compact::CompactionReport;
use crate::segment::State;
use crate::store::Store;
use crate::store::recovery::RecoveryReport;

/// Sizes and counts of a store at one moment. Bytes of records include their headers and padding.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Keys.
    pub live_keys: u64,
    /// Bytes of the records of these keys, and of the large values that they name.
    pub live_bytes: u64,
    /// Bytes of records that were overwritten or deleted, of the large values that they name, and of tombstones.
    pub dead_bytes: u64,
    /// Bytes in archives: none in this version, which makes none.
    pub archived_bytes: u64,
    /// Bytes of the device that files of segments take up and no record uses, as far as the system tells: room for what is to
    /// come, that of a spare segment included.
    pub preallocated_bytes: u64,
    /// Bytes of files that are only kept because something still shows them: none in this version, which removes no file
    /// that has records.
    pub pinned_bytes: u64,
    /// Memory of the index.
    pub index_bytes: u64,
    /// Each segment, oldest first.
    pub segments: Vec<SegmentStats>,
    /// What this open found.
    pub recovery: RecoveryReport,
}

/// What [`Db::archive`](crate::Db::archive) did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ArchiveReport {
    /// Archives written.
    pub archives: u64,
    /// Segments in them.
    pub segments: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Segments that were left alone because they are damaged: `verify` tells more.
    pub damaged: u64,
}

impl ArchiveReport {
    pub(super) fn of(report: CompactionReport) -> ArchiveReport {
        let CompactionReport { archives, segments, records, written_bytes, damaged, .. } = report;
        ArchiveReport { archives, segments, records, written_bytes, damaged }
    }
}

/// One segment.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SegmentStats {
    /// Its number, as in its file's name.
    pub id: u64,
    /// Bytes of its file.
    pub file_bytes: u64,
    /// Bytes of its records.
    pub used_bytes: u64,
    /// Bytes of those that are the newest of their key.
    pub live_bytes: u64,
    /// How many those are.
    pub live_records: u64,
    /// Whether it is being written (or was, when a failure stopped all writing).
    pub active: bool,
}

impl Stats {
    pub(super) fn of(store: &Store) -> Stats {
        let segments: Vec<_> = store
            .segments()
            .iter()
            .map(|segment| SegmentStats {
                id: segment.id().0,
                file_bytes: segment.len(),
                used_bytes: segment.used_bytes(),
                live_bytes: segment.live_bytes(),
                live_records: segment.live_records(),
                active: segment.state() == State::Unsealed,
            })
            .collect();
        let sum = |bytes: fn(&SegmentStats) -> u64| segments.iter().map(bytes).sum::<u64>();
        let unused: u64 = store.segments().iter().map(|segment| segment.unused_bytes()).sum();
        let large = store.large();
        let (used, live) = (sum(|s| s.used_bytes), sum(|s| s.live_bytes));
        Stats {
            live_keys: store.table().len(),
            live_bytes: live + large.live_bytes(),
            dead_bytes: used.saturating_sub(live) + large.bytes().saturating_sub(large.live_bytes()),
            archived_bytes: 0,
            preallocated_bytes: unused + store.pool().bytes(),
            pinned_bytes: 0,
            index_bytes: store.table().bytes(),
            segments,
            recovery: store.recovery().clone(),
        }
    }
}
