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

    /// Whether there are such files.
    pub(super) fn is_any(&self) -> bool {
        !self.files.is_empty()
    }

    /// Which of these, each a hash and a keyspace, one of them may put. In doubt, all.
    pub(super) fn may_hold(&self, keys: &[(u64, u16)]) -> Vec<bool> {
        if planted(Sabotage::TombstoneDropped) || keys.is_empty() {
            return vec![false; keys.len()];
        }
        let hints = self.hints.get_or_init(|| {
            let segments = self.files.iter().flat_map(Unit::segments).filter(|segment| segment.used_bytes() > 0);
            segments.map(|segment| hints::of(self.store, segment)).collect()
        });
        let Some(hints) = hints else { return vec![true; keys.len()] };
        let mut held = vec![false; keys.len()];
        for found in hints {
            let Ok(hint) = found.hint() else { return vec![true; keys.len()] };
            for (held, (hash, keyspace)) in held.iter_mut().zip(keys).filter(|(held, _)| !**held) {
                *held = hint.puts(*hash, *keyspace).unwrap_or(true);
            }
        }
        held
    }
}
