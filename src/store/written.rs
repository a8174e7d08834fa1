//! Whether the index that was written down is that of the files that are there.
//!
//! Floor 3. Imports `address`, `format`, `index`, `limits`, `platform`, `store`.

use std::collections::HashMap;

use crate::address::{LargeId, Seqno};
use crate::format::checkpoint::ListedFile;
use crate::format::identity::Identity;
use crate::format::segment::{SegmentHeader, SegmentKind};
use crate::index::table::Table;
use crate::limits::PLACE_LEN;
use crate::platform::Disk;
use crate::store::archived::Member;
use crate::store::image::{self, Opened};
use crate::store::inventory::StoreFile;

/// An index that fits the files of the store.
pub(super) struct WrittenIndex {
    opened: Opened,
    /// By their epochs.
    files: HashMap<[u8; 16], ListedFile>,
}

/// The index that was written down, if it was of just these files, and of none that is gone: whatever else there is was written
/// to the log behind it. Segments that were packed as they are since are the same.
pub(super) fn fitting(
    disk: &dyn Disk,
    identity: &Identity,
    files: &[StoreFile],
    members: &[Vec<Member>],
) -> Option<WrittenIndex> {
    let opened = image::open(disk, identity)?;
    let listed: HashMap<_, _> = opened.lists.files.iter().map(|file| (file.epoch, *file)).collect();
    let alone = files.iter().filter_map(StoreFile::segment).map(|found| (&found.header, found.header.len));
    let packed = members.iter().flatten().map(|member| (&member.header, member.len()));
    let mut found = 0;
    let fits = alone.chain(packed).all(|(header, len): (&SegmentHeader, u64)| match listed.get(&header.epoch) {
        Some(file) => {
            found += 1;
            let same = (file.kind, file.id) == (header.kind, header.id);
            same && len.div_ceil(PLACE_LEN) <= u64::from(file.places)
        }
        None => header.kind == SegmentKind::Log && header.first_seqno > opened.from,
    });
    (fits && found == opened.lists.files.len()).then_some(WrittenIndex { opened, files: listed })
}

impl WrittenIndex {
    /// The runs of places that it leads to, each a first place and how many, in their order.
    pub(super) fn places(&self) -> impl Iterator<Item = (u64, u64)> {
        self.opened.lists.files.iter().map(|file| (file.place, file.places.into()))
    }

    /// Where it has the segment with this epoch.
    pub(super) fn place(&self, epoch: &[u8; 16]) -> Option<u64> {
        self.files.get(epoch).map(|file| file.place)
    }

    /// Bytes of the records of that segment that it points at, and how many.
    pub(super) fn live(&self, epoch: &[u8; 16]) -> Option<(u64, u64)> {
        self.files.get(epoch).map(|file| (file.live_bytes, file.live_records))
    }

    /// What the records up to this one say is in it.
    pub(super) fn from(&self) -> Seqno {
        self.opened.from
    }

    /// It points at no record of a higher seqno.
    pub(super) fn until(&self) -> Seqno {
        self.opened.until
    }

    /// The files of large values that records name.
    pub(super) fn large(&self) -> impl Iterator<Item = LargeId> {
        self.opened.lists.large.iter().map(|large| large.id)
    }

    pub(super) fn large_bytes(&self) -> u64 {
        self.opened.lists.large.iter().map(|large| large.len).sum()
    }

    pub(super) fn large_live_bytes(&self) -> u64 {
        self.opened.large_live_bytes
    }

    pub(super) fn into_table(self) -> Table {
        self.opened.table
    }
}
