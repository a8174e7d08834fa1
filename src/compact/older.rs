//! Whether files older than those of a job may hold what a tombstone deletes (C4).
//!
//! Floor 4. Imports `sabotage`, `store`, `sync`.

use crate::sabotage::{Sabotage, planted};
use crate::store::Store;
use crate::store::hints::{self, FoundHint};
use crate::store::unit::Unit;
use crate::sync::plain::OnceLock;

/// The files older than those of a job: what their hints say, once somebody asks.
pub(super) struct Older<'a> {
    store: &'a Store,
    files: &'a [Unit],
    /// `None` where one of them could not be had.
    hints: OnceLock<Option<Vec<FoundHint>>>,
}

impl<'a> Older<'a> {
    pub(super) fn new(store: &'a Store, files: &'a [Unit]) -> Older<'a> {
        Older { store, files, hints: OnceLock::new() }
    }

    /// Whether one of them may put a key of this hash. In doubt, yes.
    pub(super) fn may_hold(&self, hash: u64, keyspace: u16) -> bool {
        if planted(Sabotage::TombstoneDropped) {
            return false;
        }
        let hints = self.hints.get_or_init(|| {
            let segments = self.files.iter().flat_map(Unit::segments).filter(|segment| segment.used_bytes() > 0);
            segments.map(|segment| hints::of(self.store, segment)).collect()
        });
        let Some(hints) = hints else { return true };
        let puts = |found: &FoundHint| found.hint().and_then(|hint| hint.puts(hash, keyspace)).unwrap_or(true);
        hints.iter().any(puts)
    }
}
