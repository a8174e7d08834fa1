//! Records of the log on their way back into the index.
//!
//! Floor 3. Imports `address`, `error`, `format`, `index`, `segment`, `store`.

use std::ops::Range;

use crate::address::Location;
use crate::error::Result;
use crate::format::record::Kind;
use crate::index::table::Table;
use crate::segment::registry::Registry;
use crate::segment::scan::Scanned;
use crate::store::read::{self, AHEAD, Change};

/// The records of one segment that were read and are not in the index yet.
pub(super) struct Replay<'a> {
    registry: &'a Registry,
    table: &'a Table,
    /// The segment's.
    place: u64,
    keys: Vec<u8>,
    members: Vec<Member>,
    /// So many members are of batches that have ended. Those of the last batch count once it has.
    whole: usize,
}

struct Member {
    kind: Kind,
    hash: u64,
    /// Of `Replay::keys`.
    key: Range<usize>,
    offset: u64,
    len: u64,
}

impl<'a> Replay<'a> {
    pub(super) fn new(registry: &'a Registry, table: &'a Table, place: u64) -> Replay<'a> {
        Replay { registry, table, place, keys: Vec::new(), members: Vec::new(), whole: 0 }
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// `Io` in positioned mode.
    pub(super) fn add(&mut self, record: &Scanned<'_>, hash: u64) -> Result<()> {
        let start = self.keys.len();
        self.keys.extend_from_slice(record.key());
        let (kind, offset, len) = (record.header.kind, record.offset, record.header.record_len());
        self.members.push(Member { kind, hash, key: start..self.keys.len(), offset, len });
        if !record.header.more_follows {
            self.whole = self.members.len();
        }
        if self.whole >= AHEAD { self.apply() } else { Ok(()) }
    }

    /// Brings what is left into the index; `false` if the last batch has no end.
    ///
    /// # Errors
    /// `Io` in positioned mode.
    pub(super) fn finish(mut self) -> Result<bool> {
        self.apply()?;
        Ok(self.members.is_empty())
    }

    fn apply(&mut self) -> Result<()> {
        let hashes = self.members[..self.whole].iter().map(|member| member.hash);
        read::prefetch_all(self.registry, self.table, hashes);
        for Member { kind, hash, key, offset, len } in self.members.drain(..self.whole) {
            let location = Location::new(self.place, offset);
            let change = Change { hash, key: &self.keys[key], location, len };
            match kind {
                Kind::Put => read::index_put(self.registry, self.table, &change)?,
                Kind::Delete => read::index_delete(self.registry, self.table, &change)?,
                _ => {}
            }
        }
        self.whole = 0;
        if self.members.is_empty() {
            self.keys.clear();
        }
        Ok(())
    }
}
