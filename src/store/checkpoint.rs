//! Writing the index down, so that the next open need not rebuild it.
//!
//! Floor 3. Imports `address`, `error`, `format`, `limits`, `segment`, `store`, `sync`.
//!
//! What is written may be of several moments: writers go on. The log behind the first of them is replayed at open, and whatever the
//! units point at is durable before the file has its name. No job runs meanwhile, so that no record moves.

use crate::address::Seqno;
use crate::error::{Error, Result};
use crate::format::checkpoint::{ListedAmount, ListedCursor, ListedFile, ListedLarge, Lists};
use crate::limits::PLACE_LEN;
use crate::segment::Segment;
use crate::segment::live::Amount;
use crate::store::Store;
use crate::store::image::{self, Facts, ImagedSpace};
use crate::sync::plain::{MutexGuard, PoisonError};

/// Behind the written index there may be so many records: an open reads them in less time than it takes to tell.
const BEHIND_MAX: u64 = 64 << 10;

/// The index that was written down last, as an open finds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct IndexFile {
    pub(super) id: [u8; 16],
    /// The records up to this one are in it.
    pub(super) from: Seqno,
    /// So many of them have moved to other files since.
    pub(super) moved: u64,
}

impl Store {
    /// Writes the index down. Only for whoever has the right to run jobs; `false` if none may run, or keys are too hostile.
    ///
    /// # Errors
    /// `NoSpace`, `Io`: what was written down before stays. `Poisoned`, if the log cannot be made durable.
    pub(crate) fn write_index(&self) -> Result<bool> {
        if self.is_read_only() || !self.archives().may_run() {
            return Ok(false);
        }
        let mut id = [0; 16];
        self.disk().random(&mut id).map_err(|error| Error::io("the system gives no random numbers", error))?;
        let log = self.log();
        self.check_poison()?;
        let spaces = self.spaces().all();
        let tables: Vec<_> = spaces.iter().map(|space| space.whole_table()).collect();
        let images = spaces.iter().zip(&tables).map(|(space, table)| ImagedSpace {
            space: image::listed_space(space),
            // One without keys has nothing to write down, and stays small.
            image: (table.len() > 0).then(|| table.image()),
        });
        let images = images.collect();
        let cursors = self.spaces().cursors().listed();
        self.segments().iter().for_each(|segment| segment.live().begin_image());
        let from = log.last_seqno;
        drop(log);
        let written = image::write(&**self.disk(), self.identity(), (id, from), images, || self.facts(cursors))?;
        if written {
            *self.index() = Some(IndexFile { id, from, moved: 0 });
        }
        Ok(written)
    }

    /// The same, if an open would be faster for it: where there are many records behind what was written down last.
    pub(crate) fn write_index_if_worth(&self, behind_max: u64) -> Result<bool> {
        let last = u64::from(self.watermark().visible());
        let behind = self.index().map_or(last, |index| last.saturating_sub(index.from.into()) + index.moved);
        if behind <= behind_max.max(BEHIND_MAX) { Ok(false) } else { self.write_index() }
    }

    /// Names the index that was written down last; zeros if there is none, or if it is unknown which there is.
    pub(crate) fn index_id(&self) -> [u8; 16] {
        self.index().map_or([0; 16], |index| index.id)
    }

    /// Whether the index that was written down has at least a part of the segment.
    pub(crate) fn is_in_written_index(&self, segment: &Segment) -> bool {
        self.index().is_some_and(|index| segment.first_seqno() <= index.from)
    }

    /// A job has copied so many records, which an open has to read for that.
    pub(crate) fn note_moved(&self, records: u64) {
        if let Some(index) = self.index().as_mut() {
            index.moved += records;
        }
    }

    fn index(&self) -> MutexGuard<'_, Option<IndexFile>> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the units point at, all of which is durable.
    fn facts(&self, cursors: Vec<ListedCursor>) -> Result<Facts> {
        let mut log = self.log();
        self.sync_written(&mut log)?;
        let segments = self.segments();
        // One without records may yet be discarded.
        let mut used: Vec<_> = segments.iter().filter(|segment| segment.used_bytes() > 0).collect();
        used.sort_by_key(|segment| segment.place());
        let files = used.iter().map(|segment| listed(segment)).collect();
        let amounts = used.iter().zip(0..).flat_map(|(segment, number)| amounts(segment, number)).collect();
        let mut large: Vec<_> = used.iter().zip(0..).flat_map(|(segment, number)| named(segment, number)).collect();
        large.sort_unstable_by_key(|large| large.id.0);
        // From here on it is unknown which one an open finds, until this one is done.
        *self.index() = None;
        let lists = Lists { files, large, amounts, cursors, ..Lists::default() };
        Ok(Facts { lists, until: log.last_seqno })
    }
}

/// The large values that records of a segment name.
fn named(segment: &Segment, number: u32) -> Vec<ListedLarge> {
    let listed = |(id, len)| Some(ListedLarge { id, len: u32::try_from(len).ok()?, segment: number });
    segment.live().named().into_iter().filter_map(listed).collect()
}

/// What is live of a segment, by keyspace.
fn amounts(segment: &Segment, file: u32) -> Vec<ListedAmount> {
    let mut others: Vec<_> = segment.live().imaged_others().into_iter().collect();
    others.retain(|(_, amount)| amount.records > 0);
    others.sort_unstable_by_key(|(keyspace, _)| *keyspace);
    let listed = |(keyspace, Amount { bytes, records, large })| ListedAmount { file, keyspace, bytes, records, large };
    others.into_iter().map(listed).collect()
}

fn listed(segment: &Segment) -> ListedFile {
    let live = segment.live().imaged();
    ListedFile {
        kind: segment.kind(),
        id: segment.id(),
        archive: segment.archive(),
        epoch: segment.epoch(),
        place: segment.place(),
        places: u32::try_from(segment.len().div_ceil(PLACE_LEN)).unwrap_or(u32::MAX),
        end: segment.tail().published(),
        live_bytes: live.bytes,
        live_records: live.records,
        live_large: live.large,
        names_all: segment.live().names_all(),
    }
}
