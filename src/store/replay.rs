//! Records of the log on their way back into the index.
//!
//! Floor 3. Imports `address`, `error`, `format`, `index`, `reclaim`, `segment`, `store`.

use std::ops::Range;

use crate::address::{Location, Seqno};
use crate::error::{Error, Result};
use crate::format::catalogue::CatalogueRecord;
use crate::format::large::LargeValue;
use crate::format::record::Kind;
use crate::index::hash::Hasher;
use crate::reclaim::hold::Hold;
use crate::reclaim::pin::Pin;
use crate::segment::Segment;
use crate::segment::large::LargeFolder;
use crate::segment::registry::Registry;
use crate::segment::scan::Scanned;
use crate::store::apply::{self, AHEAD, Change};
use crate::store::hinted::Listing;
use crate::store::space::{Finder, Spaces};
use crate::store::torn::End;

/// What the index may say of the keys that are brought into it, compared to what is brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rivals {
    /// Something older, or something that is brought again behind it.
    Older,
    /// Something newer, too: that stays.
    Newer,
}

/// Records of one segment on their way into the index.
pub(super) enum Lot {
    Read(Gathered),
    Hinted(Listing),
}

impl Lot {
    /// Brings them into the index.
    ///
    /// # Errors
    /// `Io` in positioned mode.
    pub(super) fn apply(
        &self,
        registry: &Registry,
        spaces: &Spaces,
        large: &LargeFolder,
        hasher: &Hasher,
    ) -> Result<()> {
        match self {
            Lot::Read(gathered) => gathered.apply(registry, spaces, large, |_, _| Ok(()), |_| None),
            Lot::Hinted(listing) => listing.apply(registry, spaces, large, hasher),
        }
    }
}

/// Records of one segment that were read and are not in the index yet.
pub(super) struct Gathered {
    /// The segment's.
    place: u64,
    keys: Vec<u8>,
    members: Vec<Member>,
    rivals: Rivals,
    /// So many members are of batches that have ended. Those of the last batch count once it has.
    whole: usize,
}

struct Member {
    kind: Kind,
    keyspace: u16,
    hash: u64,
    /// Of `Gathered::keys`.
    key: Range<usize>,
    offset: u64,
    len: u64,
    seqno: Seqno,
    large: Option<LargeValue>,
    expires: bool,
    /// What a record of the catalogue says.
    catalogue: Option<Box<[u8]>>,
}

impl Gathered {
    pub(super) fn new(place: u64, rivals: Rivals) -> Gathered {
        Gathered { place, keys: Vec::new(), members: Vec::new(), rivals, whole: 0 }
    }

    /// Takes the next record.
    pub(super) fn add(&mut self, record: &Scanned<'_>, hash: u64) {
        let start = self.keys.len();
        self.keys.extend_from_slice(record.key());
        let (kind, offset, len) = (record.header.kind, record.offset, record.header.record_len());
        let (seqno, keyspace, large) = (record.header.seqno, record.header.keyspace, record.large);
        let catalogue = record.catalogue.map(Box::from);
        let key = start..self.keys.len();
        self.members.push(Member {
            kind,
            keyspace,
            hash,
            key,
            offset,
            len,
            seqno,
            large,
            expires: record.header.has_expiry,
            catalogue,
        });
        if !record.header.more_follows {
            self.whole = self.members.len();
        }
    }

    /// All of them, if there are so many, and none of a batch that goes on.
    pub(super) fn take(&mut self, count: usize) -> Option<Gathered> {
        let ends = self.whole == self.members.len();
        (ends && self.whole >= count).then(|| {
            // The next ones take about as much.
            let (keys, members) = (Vec::with_capacity(self.keys.len()), Vec::with_capacity(self.members.len()));
            std::mem::replace(self, Gathered { place: self.place, rivals: self.rivals, keys, members, whole: 0 })
        })
    }

    /// The last of them, after the last record of a segment.
    ///
    /// # Errors
    /// `Corruption` if the last batch has no end in the file at `path`.
    pub(super) fn finish(self, path: &str, end: &End) -> Result<Gathered> {
        if self.whole == self.members.len() {
            return Ok(self);
        }
        Err(Error::corruption(path, end.offset, "the last batch has no end"))
    }

    /// Brings them into the index, each after `before`. `shown` says what snapshots show of a keyspace that is cleared or dropped.
    ///
    /// # Errors
    /// `Io` in positioned mode; those of `before`.
    pub(super) fn apply(
        &self,
        registry: &Registry,
        spaces: &Spaces,
        large: &LargeFolder,
        mut before: impl FnMut(&Change<'_>, Seqno) -> Result<()>,
        mut shown: impl FnMut(u16) -> Option<Vec<Hold<Segment>>>,
    ) -> Result<()> {
        let mut finder = Finder::new(spaces);
        for members in self.members.chunks(AHEAD) {
            // Makes those of each change cheaper.
            let _pin = Pin::new();
            apply::prefetch_all(registry, spaces, members.iter().map(|member| (member.keyspace, member.hash)));
            for member in members {
                if let Some(payload) = &member.catalogue {
                    self.apply_catalogue(member, payload, registry, spaces, large, &mut shown);
                    continue;
                }
                let Member { kind, keyspace, hash, key, offset, len, seqno, large: named, .. } = member;
                let location = Location::new(self.place, *offset);
                // K1.
                let Some(space) = finder.get(*keyspace).filter(|space| *seqno > space.floor()) else {
                    apply::name_nobodys(registry, large, location, *named);
                    continue;
                };
                let key = &self.keys[key.clone()];
                let change = Change { space, hash: *hash, key, location, len: *len, large: *named };
                before(&change, *seqno)?;
                space.note_written(*seqno);
                if member.expires {
                    space.note_expiring();
                }
                match kind {
                    Kind::Put | Kind::PutLarge | Kind::Delete if self.rivals == Rivals::Newer => {
                        apply::index_unless_newer(registry, large, *kind, *seqno, &change)?;
                    }
                    Kind::Put | Kind::PutLarge => apply::index_put(registry, large, &change)?,
                    Kind::Delete => apply::index_delete(registry, large, &change)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn apply_catalogue(
        &self,
        member: &Member,
        payload: &[u8],
        registry: &Registry,
        spaces: &Spaces,
        large: &LargeFolder,
        shown: impl FnOnce(u16) -> Option<Vec<Hold<Segment>>>,
    ) {
        // What cannot be decoded was refused when it was read.
        if let Ok(record) = CatalogueRecord::of(member.kind, member.keyspace, payload) {
            spaces.apply(&record, member.seqno, |id| {
                apply::forget_space(registry, large, id);
                shown(id)
            });
        }
    }
}
