//! Sizes and counts.
//!
//! Floor 6. Imports `address`, `compact`, `reclaim`, `segment`, `store`.

use crate::address::Seqno;
use crate::compact::{self, CompactionReport};
use crate::reclaim::pin;
use crate::segment::State;
use crate::store::Store;
use crate::store::kept::Held;
use crate::store::recovery::RecoveryReport;

/// Sizes and counts of a store at one moment. Bytes of records include their headers and padding.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Keys of all keyspaces, counted as [`Keyspace::len`](crate::Keyspace::len) does.
    pub live_keys: u64,
    /// Bytes of the records of these keys, and of the large values that they name.
    pub live_bytes: u64,
    /// Bytes of records that were overwritten or deleted, of the large values that they name, and of tombstones, but for those below.
    pub dead_bytes: u64,
    /// Bytes of tombstones that are known to be needed: an older file has what they delete.
    pub needed_bytes: u64,
    /// What of the dead bytes is in files of which so much is dead that the background would rewrite them
    /// ([`Options::compact_when_dead`](crate::Options::compact_when_dead)): what its next jobs give back.
    pub debt_bytes: u64,
    /// Bytes of the device that the files with records, archives and large values among them, and room for more records take
    /// up, as far as the system tells.
    pub disk_bytes: u64,
    /// Bytes of archives, as they are on disk.
    pub archived_bytes: u64,
    /// Bytes of the device that files of segments take up and no record uses, as far as the system tells: room for what is to
    /// come, that of a spare segment included.
    pub preallocated_bytes: u64,
    /// Bytes of files that a compaction has removed, and that take up space because a value, an iterator, a snapshot or a
    /// reader of this process still shows something of them. They are not among the `disk_bytes`.
    pub pinned_bytes: u64,
    /// Open snapshots, those of transactions under way among them.
    pub snapshots: u64,
    /// The last write that the oldest of them shows.
    pub oldest_snapshot: Option<Seqno>,
    /// Memory of what is kept for them of keys that were changed since.
    pub snapshot_bytes: u64,
    /// Memory of the index.
    pub index_bytes: u64,
    /// Each cursor, in the order of their names.
    pub cursors: Vec<CursorStats>,
    /// Each segment, oldest first, wherever it lies.
    pub segments: Vec<SegmentStats>,
    /// What jobs did since the store was opened: those of the background, and those that were asked for.
    pub compaction: CompactionReport,
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

/// One [`Cursor`](crate::Cursor).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct CursorStats {
    /// What it is called.
    pub name: String,
    /// The first write that its consumer has still to see.
    pub position: Seqno,
    /// Bytes of the files of the log from there on, and of large values that are dead otherwise. They stay as they are for its sake, unless they are more
    /// than [`Options::cursors_hold_max`](crate::Options::cursors_hold_max), or it has lost something.
    pub held_bytes: u64,
    /// Whether something that its consumer has still to see is not kept any more.
    pub lost: bool,
}

/// One segment.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SegmentStats {
    /// Its number: as in its file's name, or in that of the archive's entry.
    pub id: u64,
    /// Its file, in the store's directory: "segments/0000000042.seg", or "archives/0000000007.zip (packed/0000000001.seg)".
    pub file: String,
    /// Whether it lies in an archive.
    pub archived: bool,
    /// Bytes of its file, or of the archive's entry, unpacked.
    pub file_bytes: u64,
    /// Bytes of its records.
    pub used_bytes: u64,
    /// Bytes of those that are the newest of their key.
    pub live_bytes: u64,
    /// Bytes of its tombstones that are known to be needed.
    pub needed_bytes: u64,
    /// How many those are.
    pub live_records: u64,
    /// Whether it is being written (or was, when a failure stopped all writing).
    pub active: bool,
}

impl CursorStats {
    fn of(Held { name, position, bytes, lost, .. }: Held) -> CursorStats {
        CursorStats { name, position, held_bytes: bytes, lost }
    }
}

impl Stats {
    pub(super) fn of(store: &Store, compaction: CompactionReport) -> Stats {
        // What nobody shows any more goes with the pins of others, and may be late.
        pin::collect();
        let mut found = store.segments();
        found.sort_by_key(|segment| (segment.first_seqno(), segment.place()));
        let segments: Vec<_> = found
            .iter()
            .map(|segment| SegmentStats {
                id: segment.id().0,
                file: segment.name(),
                archived: segment.archive().is_some(),
                file_bytes: segment.len(),
                used_bytes: segment.used_bytes(),
                live_bytes: segment.live_bytes(),
                needed_bytes: segment.needed_bytes(),
                live_records: segment.live_records(),
                active: segment.state() == State::Unsealed,
            })
            .collect();
        let sum = |bytes: fn(&SegmentStats) -> u64| segments.iter().map(bytes).sum::<u64>();
        let unused: u64 = found.iter().map(|segment| segment.unused_bytes()).sum();
        let alone: u64 = found
            .iter()
            .filter(|segment| segment.archive().is_none())
            .map(|segment| segment.tail().published() + segment.unused_bytes())
            .sum();
        let archived: u64 = store.archives().all().iter().map(|archive| archive.len).sum();
        let large = store.large();
        let (snapshots, oldest_snapshot) = store.versions().moments.count();
        let (used, live, needed) = (sum(|s| s.used_bytes), sum(|s| s.live_bytes), sum(|s| s.needed_bytes));
        Stats {
            live_keys: store.spaces().len(),
            live_bytes: live + large.live_bytes(),
            dead_bytes: used.saturating_sub(live + needed) + large.bytes().saturating_sub(large.live_bytes()),
            needed_bytes: needed,
            debt_bytes: compact::debt(store),
            disk_bytes: alone + archived + large.bytes() + store.pool().bytes(),
            archived_bytes: archived,
            preallocated_bytes: unused + store.pool().bytes(),
            pinned_bytes: store.pinned().get(),
            snapshots: snapshots as u64,
            oldest_snapshot,
            snapshot_bytes: store.versions().bytes(),
            index_bytes: store.spaces().bytes(),
            cursors: store.held().into_iter().map(CursorStats::of).collect(),
            segments,
            compaction,
            recovery: store.recovery().clone(),
        }
    }
}
