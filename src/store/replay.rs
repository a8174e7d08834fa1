//! Records of the log on their way back into the index.
//!
//! Floor 3. Imports `address`, `error`, `format`, `index`, `segment`, `store`.

use std::ops::Range;

use crate::address::Location;
use crate::error::{Error, Result};
use crate::format::record::Kind;
use crate::index::table::Table;
use crate::segment::large::LargeFolder;
use crate::segment::registry::Registry;
use crate::segment::scan::Scanned;
use crate::store::read::{self, AHEAD, Change};
use crate::store::torn::End;

/// The records of one segment that were read and are not in the index yet.
pub(super) struct Replay<'a> {
    registry: &'a Registry,
    table: &'a Table,
    large: &'a LargeFolder,
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
    large_len: u64,
}

impl<'a> Replay<'a> {
    pub(super) fn new(registry: &'a Registry, table: &'a Table, large: &'a LargeFolder, place: u64) -> Replay<'a> {
        Replay { registry, table, large, place, keys: Vec::new(), members: Vec::new(), whole: 0 }
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// `Io` in positioned mode.
    pub(super) fn add(&mut self, record: &Scanned<'_>, hash: u64) -> Result<()> {
        let start = self.keys.len();
        self.keys.extend_from_slice(record.key());
        let (kind, offset, len) = (record.header.kind, record.offset, record.header.record_len());
        let large_len = record.large.map_or(0, |large| large.len);
        self.members.push(Member { kind, hash, key: start..self.keys.len(), offset, len, large_len });
        if !record.header.more_follows {
            self.whole = self.members.len();
        }
        if self.whole >= AHEAD { self.apply() } else { Ok(()) }
    }

    /// Brings what is left into the index.
    ///
    /// # Errors
    /// `Corruption` if the last batch has no end in the file at `path`; `Io` in positioned mode.
    pub(super) fn finish(mut self, path: &str, end: &End) -> Result<()> {
        self.apply()?;
        if self.members.is_empty() {
            return Ok(());
        }
        Err(Error::corruption(path, end.offset, "the last batch has no end"))
    }

    fn apply(&mut self) -> Result<()> {
        let hashes = self.members[..self.whole].iter().map(|member| member.hash);
        read::prefetch_all(self.registry, self.table, hashes);
        for Member { kind, hash, key, offset, len, large_len } in self.members.drain(..self.whole) {
            let location = Location::new(self.place, offset);
            let change = Change { hash, key: &self.keys[key], location, len, large_len };
            match kind {
                Kind::Put | Kind::PutLarge => read::index_put(self.registry, self.table, self.large, &change)?,
                Kind::Delete => read::index_delete(self.registry, self.table, self.large, &change)?,
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
