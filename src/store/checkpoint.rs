//! Writing the index down, so that the next open need not rebuild it.
//!
//! Floor 3. Imports `address`, `error`, `format`, `limits`, `platform`, `segment`, `store`, `sync`.
//!
//! What is written may be of several moments: writers go on. The log behind the first of them is replayed at open, and whatever the
//! units point at is durable before the file has its name. No job runs meanwhile, so that no record moves.

use crate::address::Seqno;
use crate::error::{Error, Result};
use crate::format::checkpoint::{ListedFile, ListedLarge, Lists};
use crate::format::names;
use crate::limits::{PLACE_LEN, VALUE_LEN_MAX};
use crate::platform::Access;
use crate::segment::Segment;
use crate::store::Store;
use crate::store::image::{self, Facts};
use crate::sync::plain::Ordering;

/// Behind the written index there may be so many records: an open reads them in less time than it takes to tell.
const BEHIND_MAX: u64 = 64 << 10;

impl Store {
    /// Writes the index down. Only for whoever has the right to run jobs; `false` if there is too little to be written down, or keys
    /// are too hostile.
    ///
    /// # Errors
    /// `NoSpace`, `Io`: what was written down before stays. `Poisoned`, if the log cannot be made durable.
    pub(crate) fn write_index(&self) -> Result<bool> {
        if self.is_read_only() {
            return Ok(false);
        }
        let log = self.log();
        self.check_poison()?;
        let Some(image) = self.table().image() else { return Ok(false) };
        self.segments().iter().for_each(|segment| segment.begin_image());
        self.large().begin_image();
        let from = log.last_seqno;
        drop(log);
        let written = image::write(&**self.disk(), self.identity(), from, image, || self.facts())?;
        if written {
            self.imaged.store(from.into(), Ordering::Relaxed);
        }
        Ok(written)
    }

    /// The same, if an open would be faster for it: where there are many records behind what was written down last.
    pub(crate) fn write_index_if_worth(&self, behind_max: u64) -> Result<bool> {
        let last = u64::from(self.watermark().visible());
        let behind = last.saturating_sub(self.imaged.load(Ordering::Relaxed));
        if behind <= behind_max.max(BEHIND_MAX) { Ok(false) } else { self.write_index() }
    }

    /// What was written down last is of files that are gone: an open will do without it.
    pub(crate) fn forget_index(&self) {
        self.imaged.store(0, Ordering::Relaxed);
    }

    /// What the units point at, all of which is durable.
    fn facts(&self) -> Result<Facts> {
        let mut log = self.log();
        self.sync_written(&mut log)?;
        let segments = self.segments();
        // One without records may yet be discarded.
        let used = segments.iter().filter(|segment| segment.used_bytes() > 0);
        let mut files: Vec<_> = used.map(|segment| listed(segment)).collect();
        files.sort_by_key(|file| file.place);
        let lists = Lists { files, large: self.large_files()?, units: Vec::new() };
        Ok(Facts { lists, large_live_bytes: self.large().imaged_bytes(), until: log.last_seqno })
    }

    /// The files of large values: those that a record may name.
    fn large_files(&self) -> Result<Vec<ListedLarge>> {
        let failed = |error| Error::io(format!("cannot list {}", names::LARGE), error);
        let mut ids: Vec<_> = self.large().list().map_err(failed)?.into_iter().collect();
        ids.sort_unstable_by_key(|id| id.0);
        let listed = |id| {
            let file = self.disk().open(&names::large(id), Access::Read).ok()?;
            let len = file.len().ok().filter(|len| (1..=VALUE_LEN_MAX).contains(len))?;
            Some(ListedLarge { id, len })
        };
        // One that has gone, or is empty, is no record's.
        Ok(ids.into_iter().filter_map(listed).collect())
    }

    /// As far as the index was written down; 0 if it was not.
    pub(crate) fn imaged(&self) -> Seqno {
        self.imaged.load(Ordering::Relaxed).into()
    }
}

fn listed(segment: &Segment) -> ListedFile {
    let (live_bytes, live_records) = segment.imaged();
    ListedFile {
        kind: segment.kind(),
        id: segment.id(),
        archive: segment.archive(),
        epoch: segment.epoch(),
        place: segment.place(),
        places: u32::try_from(segment.len().div_ceil(PLACE_LEN)).unwrap_or(u32::MAX),
        live_bytes,
        live_records,
    }
}
