//! Files of large values that no record names: what writes leave that were never committed.
//!
//! Floor 3. Imports `address`, `format`, `segment`.

use std::collections::HashSet;

use crate::address::LargeId;
use crate::format::record::Kind;
use crate::segment::large::LargeFolder;
use crate::segment::live::Live;
use crate::segment::scan::Scanned;

/// The files in `large/` that no record has named so far.
pub(super) struct UnnamedFiles(HashSet<LargeId>);

impl UnnamedFiles {
    /// All there are; none if they cannot be listed, so that none is removed.
    pub(super) fn list(large: &LargeFolder) -> UnnamedFiles {
        UnnamedFiles(large.list().unwrap_or_default())
    }

    /// A record of the log, whatever became of its key since.
    pub(super) fn note(&mut self, record: &Scanned<'_>, live: &Live) {
        if record.header.kind != Kind::PutLarge {
            return;
        }
        match record.large {
            Some(large) => drop(self.0.remove(&large.id)),
            // A rotten record may name any of them.
            None => {
                live.name_unknown();
                self.0.clear();
            }
        }
    }

    /// What is known of all records of a segment.
    pub(super) fn note_all(&mut self, live: &Live) {
        self.0.retain(|id| !live.names(*id));
        if !live.names_all() {
            self.0.clear();
        }
    }

    /// Removes those that are left: the log has been read, and is durable as it was read (L2).
    pub(super) fn remove(self, large: &LargeFolder) {
        self.0.into_iter().for_each(|id| large.remove(id));
    }
}
