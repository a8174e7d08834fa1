//! How much the index that was written down says of the files that are there.
//!
//! Floor 3. Imports `address`, `format`, `limits`, `platform`, `sabotage`, `segment`, `store`.
//!
//! O1. No job runs while an index is written down, so a file of a job that it does not list was made when it was complete. So:
//!
//! - what it says of files that are gone is cleared: whatever of it was live was copied to such a file, or replaced since;
//! - files that it does not list are read whole, oldest first, and of those that it lists, what was written since. A record in them is
//!   brought in unless the index has something newer of its key: a delete that a job kept may be older than what was there.
//!
//! That holds for files that came from those listed, and from what was written since, and for no others: each archive says which
//! index was the store's when it was made. Files of a backup that were put back, or of a copy that went another way, are not of
//! this one, and then all of them are read.

use std::collections::HashMap;

use crate::address::{LargeId, Location, SegmentId, Seqno};
use crate::format::checkpoint::{ListedAmount, ListedFile};
use crate::format::identity::Identity;
use crate::format::segment::{SegmentHeader, SegmentKind};
use crate::limits::PLACE_LEN;
use crate::platform::Disk;
use crate::sabotage::{Sabotage, planted};
use crate::segment::Segment;
use crate::segment::large::LargeFolder;
use crate::segment::live::Amount;
use crate::store::archived::{Archive, Member};
use crate::store::checkpoint::IndexFile;
use crate::store::image::{self, Opened};
use crate::store::inventory::StoreFile;
use crate::store::space::Spaces;
use crate::store::torn::End;

/// An index that says something of the files of the store.
pub(super) struct WrittenIndex {
    opened: Opened,
    /// Those of its files that are there, by their epochs.
    files: HashMap<[u8; 16], ListedFile>,
    /// The large values that records of its files name, each with its length, by the files' places.
    named: HashMap<u64, Vec<(LargeId, u64)>>,
    /// What is live of keyspaces that are not the default one, by the files' places.
    others: HashMap<u64, HashMap<u16, Amount>>,
}

/// The index that was written down, if all files that it does not list came from those that it does, or from what was written since.
/// Segments that were packed as they are since are the same. `members` are those of each file.
pub(super) fn fitting(
    disk: &dyn Disk,
    identity: &Identity,
    background: bool,
    files: &[StoreFile],
    members: &[Vec<Member>],
) -> Option<WrittenIndex> {
    let opened = image::open(disk, identity, background)?;
    let listed: HashMap<_, _> = opened.lists.files.iter().map(|file| (file.epoch, *file)).collect();
    let mut there = HashMap::new();
    // Whether this one is listed; `None` if it cannot be what is.
    let mut find = |header: &SegmentHeader, len: u64| {
        let Some(file) = listed.get(&header.epoch) else { return Some(false) };
        there.insert(header.epoch, *file);
        let same = (file.kind, file.id) == (header.kind, header.id);
        (same && len.div_ceil(PLACE_LEN) <= u64::from(file.places)).then_some(true)
    };
    for (file, members) in files.iter().zip(members) {
        match file {
            StoreFile::Segment(found) => {
                let known = find(&found.header, found.header.len)? || found.header.first_seqno > opened.from;
                known.then_some(())?;
            }
            StoreFile::Archive(archive) => {
                for member in members {
                    let known = find(&member.header, member.len())? || is_since(archive, &opened);
                    known.then_some(())?;
                }
            }
        }
    }
    let replaced = |id: SegmentId| {
        let mut since = files.iter().filter_map(StoreFile::archive).filter(|archive| is_since(archive, &opened));
        since.any(|archive| archive.covers.0 <= id && id <= archive.covers.1)
    };
    // The segments of an archive that went are covered by another: the files have no gaps, and no segment as old came back.
    let mut gone = opened.lists.files.iter().filter(|file| !there.contains_key(&file.epoch));
    let follows = gone.all(|file| file.kind == SegmentKind::Packed || replaced(file.id));
    let worth = there.values().any(|file| file.live_records > 0);
    let mut named: HashMap<_, Vec<_>> = HashMap::new();
    for large in &opened.lists.large {
        let place = opened.lists.files.get(large.segment as usize)?.place;
        named.entry(place).or_default().push((large.id, large.len.into()));
    }
    let mut others: HashMap<_, HashMap<_, _>> = HashMap::new();
    for &ListedAmount { file, keyspace, bytes, records, large } in &opened.lists.amounts {
        let place = opened.lists.files.get(file as usize)?.place;
        others.entry(place).or_default().insert(keyspace, Amount { bytes, records, large });
    }
    (follows && worth).then_some(WrittenIndex { opened, files: there, named, others })
}

/// Whether a job made the archive when this index was the store's.
fn is_since(archive: &Archive, index: &Opened) -> bool {
    archive.manifest().index == index.id || planted(Sabotage::IndexBeforeSwap)
}

impl WrittenIndex {
    /// The runs of places that it has files at that are there, each a first place and how many, in their order.
    pub(super) fn places(&self) -> impl Iterator<Item = (u64, u64)> {
        let listed = self.opened.lists.files.iter().filter(|file| self.files.contains_key(&file.epoch));
        listed.map(|file| (file.place, file.places.into()))
    }

    /// Where it has the segment with this epoch; `None` if it does not list it.
    pub(super) fn place(&self, epoch: &[u8; 16]) -> Option<u64> {
        self.files.get(epoch).map(|file| file.place)
    }

    /// Whether the segment has all that it may lead to there, or is none of its.
    pub(super) fn reaches(&self, segment: &Segment, end: &End) -> bool {
        self.files.get(&segment.epoch()).is_none_or(|file| file.end <= end.offset)
    }

    /// Gives the segment the counts of what it leads to there, and the large values that its records name. `false` if it is none of
    /// its files.
    pub(super) fn take(&self, segment: &Segment, large: &LargeFolder) -> bool {
        let Some(file) = self.files.get(&segment.epoch()) else { return false };
        let live = segment.live();
        let others = self.others.get(&file.place).cloned().unwrap_or_default();
        live.set(Amount { bytes: file.live_bytes, records: file.live_records, large: file.live_large }, others);
        large.add_live(file.live_large);
        for (id, len) in self.named.get(&file.place).into_iter().flatten() {
            if live.name(*id, *len) {
                large.add(*len);
            }
        }
        if !file.names_all {
            live.name_unknown();
        }
        true
    }

    /// It points at no record of a higher seqno.
    pub(super) fn until(&self) -> Seqno {
        self.opened.until
    }

    /// What an open knows of it from here on.
    pub(super) fn facts(&self) -> IndexFile {
        IndexFile { id: self.opened.id, from: self.opened.from, moved: 0 }
    }

    /// The keyspaces and their index, of the files that are there; once.
    pub(super) fn take_spaces(&mut self) -> Spaces {
        let gone = self.opened.lists.files.iter().filter(|file| !self.files.contains_key(&file.epoch));
        if gone.map(|file| file.live_records).sum::<u64>() > 0 && !planted(Sabotage::GoneFilesKept) {
            let there: Vec<_> = self.places().collect();
            let mut is_gone = |at: Location| {
                let before = there.partition_point(|(first, _)| *first <= at.place());
                before.checked_sub(1).is_none_or(|run| at.place() - there[run].0 >= there[run].1)
            };
            self.opened.spaces.iter().for_each(|space| space.whole_table().sweep(&mut is_gone));
        }
        let mut spaces = Spaces::new();
        self.opened.spaces.drain(..).for_each(|space| spaces.adopt(space));
        spaces.adopt_cursors(std::mem::take(&mut self.opened.cursors));
        spaces
    }
}
