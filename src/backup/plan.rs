//! Which files a copy of a store has.
//!
//! Floor 4. Imports `address`, `error`, `format`, `limits`, `platform`, `reclaim`, `segment`, `store`.

use std::collections::{BTreeMap, BTreeSet};

use crate::address::{ArchiveId, LargeId, SegmentId, Seqno};
use crate::error::{Error, ErrorKind, Result};
use crate::format::manifest::Manifest;
use crate::format::names::{self, SegmentEntry};
use crate::format::segment::{Footer, SegmentHeader, SegmentKind};
use crate::limits::{FOOTER_LEN, RECORDS_START};
use crate::platform::Disk;
use crate::reclaim::hold::Hold;
use crate::segment::scan::{Scan, Step, Values};
use crate::segment::source::Source;
use crate::segment::{Segment, State};
use crate::store::Store;
use crate::store::archived::{Archive, read_header};
use crate::store::unit::Unit;

/// The files of a copy.
#[derive(Default)]
pub(crate) struct Plan {
    /// The last write in them.
    pub(super) seqno: Seqno,
    pub(super) segments: BTreeMap<SegmentId, PlannedSegment>,
    pub(super) archives: BTreeMap<ArchiveId, PlannedArchive>,
    /// Those that records name, whether or not they are there.
    pub(super) large: BTreeSet<LargeId>,
}

/// A segment in a file of its own.
pub(super) struct PlannedSegment {
    pub(super) header: SegmentHeader,
    pub(super) footer: Footer,
    pub(super) source: Hold<Segment>,
    /// Whether the source's file is what the copy is to be.
    pub(super) as_it_is: bool,
}

impl PlannedSegment {
    /// Bytes that mean something.
    pub(super) fn bytes(&self) -> u64 {
        self.footer.end + FOOTER_LEN
    }
}

/// An archive.
pub(super) struct PlannedArchive {
    pub(super) len: u64,
    pub(super) manifest: Manifest,
}

impl PlannedArchive {
    /// Whether it takes the place of the segments `first` to `last`.
    pub(super) fn covers(&self, (first, last): (SegmentId, SegmentId)) -> bool {
        self.manifest.covers.iter().any(|ids| ids.contains(&first) && ids.contains(&last))
    }

    /// Whether it has all segments that it covers, each as it was.
    fn is_log(&self) -> bool {
        let is_log = |name: &str| matches!(names::parse_segment_entry(name), Some(SegmentEntry::Log(_)));
        let count = self.manifest.entries.iter().filter(|entry| is_log(&entry.name)).count() as u64;
        let covered: u64 = self.manifest.covers.iter().map(|ids| ids.end().0 - ids.start().0 + 1).sum();
        // Each segment has its hint beside it.
        count == covered && 2 * count == self.manifest.entries.len() as u64
    }
}

impl Plan {
    /// All that is sealed; the caller has the right to run jobs.
    ///
    /// # Errors
    /// `Corruption` if a segment is so damaged that it cannot be walked; as the system says.
    pub(super) fn of_sealed(store: &Store) -> Result<Plan> {
        let units = {
            // No segment begins or ends meanwhile.
            let _log = store.log();
            store.units()
        };
        let mut plan = Plan::default();
        units.into_iter().try_for_each(|unit| plan.add(store, unit, None))?;
        Ok(plan)
    }

    /// All that can be read, up to the last batch that ends at or before `until`.
    ///
    /// # Errors
    /// `Invalid`, saying what can be had, if the store as of then cannot. Else as `of_sealed`.
    pub(super) fn until(store: &Store, until: Option<Seqno>) -> Result<Plan> {
        let mut units = store.units();
        let unsealed = |segment: &Hold<Segment>| segment.archive().is_none() && segment.state() == State::Unsealed;
        units.extend(store.segments().into_iter().filter(unsealed).map(|segment| Unit::Segment([segment])));
        units.sort_by_key(Unit::ids);
        if let Some(until) = until {
            check_kept(store, &units, until)?;
        }
        let mut plan = Plan::default();
        units.into_iter().try_for_each(|unit| plan.add(store, unit, until))?;
        Ok(plan)
    }

    fn add(&mut self, store: &Store, unit: Unit, until: Option<Seqno>) -> Result<()> {
        match &unit {
            Unit::Segment([segment]) => self.add_segment(store, segment, until),
            Unit::Archive(adopted, segments) => {
                let archive = planned(store, adopted.id)?;
                if until.is_some_and(|until| until < archive.manifest.last_seqno) {
                    // As it was, or else `check_kept` would have refused.
                    return segments.iter().try_for_each(|segment| self.add_segment(store, segment, until));
                }
                self.seqno = archive.manifest.last_seqno;
                self.archives.insert(adopted.id, archive);
                segments.iter().for_each(|segment| self.add_large(segment));
                Ok(())
            }
        }
    }

    fn add_segment(&mut self, store: &Store, segment: &Hold<Segment>, until: Option<Seqno>) -> Result<()> {
        if segment.kind() != SegmentKind::Log || until.is_some_and(|until| until < segment.first_seqno()) {
            return Ok(());
        }
        let file = segment.file()?;
        let header = read_header(&*file, segment.path())?;
        let sealed = segment.state() == State::Sealed;
        let whole =
            segment.footer().ok().filter(|footer| sealed && until.is_none_or(|until| footer.last_seqno <= until));
        let (footer, as_it_is) = match whole {
            Some(footer) => {
                self.add_large(segment);
                (footer, segment.archive().is_none())
            }
            None => (self.cut(segment, until)?, false),
        };
        if footer.record_count > 0 {
            self.seqno = footer.last_seqno;
            debug_assert_eq!(header.database, store.identity().database);
            let planned = PlannedSegment { header, footer, source: segment.clone(), as_it_is };
            self.segments.insert(segment.id(), planned);
        }
        Ok(())
    }

    fn add_large(&mut self, segment: &Segment) {
        self.large.extend(segment.live().named().into_iter().map(|(id, _)| id));
    }

    /// The footer of the batches of a segment that end at or before `until`, whatever its own says.
    fn cut(&mut self, segment: &Segment, until: Option<Seqno>) -> Result<Footer> {
        let (file, end) = (segment.file()?, segment.tail().published());
        let mut scan = Scan::new(&*file, segment.path(), segment.salt(), end, Source::Cache, Values::Check);
        let last_seqno = Seqno::from(u64::from(segment.first_seqno()) - 1);
        let mut footer = Footer { end: RECORDS_START, last_seqno, record_count: 0, crc: 0 };
        let (mut count, mut named) = (0, Vec::new());
        while scan.offset() < end {
            let header = match scan.step()? {
                Step::Record(record) => {
                    named.extend(record.large.map(|large| large.id));
                    record.header
                }
                Step::Stop(flaw) => return Err(segment.flawed(scan.offset(), &flaw)),
            };
            if until.is_some_and(|until| until < header.seqno) {
                break;
            }
            count += 1;
            if !header.more_follows {
                footer = Footer { end: scan.offset(), last_seqno: header.seqno, record_count: count, crc: scan.crc() };
                self.large.extend(named.drain(..));
            }
        }
        Ok(footer)
    }
}

/// What the archive says of itself.
fn planned(store: &Store, id: ArchiveId) -> Result<PlannedArchive> {
    let disk: &dyn Disk = &**store.disk();
    let archive = Archive::open(disk, &names::archive(id), id, store.identity())?;
    Ok(PlannedArchive { len: archive.len, manifest: archive.manifest().clone() })
}

/// Whether the store as of `until` can be had.
///
/// A file that a compaction has rewritten lacks what was overwritten or deleted by then: it serves from then on, and as of a time before
/// its first write.
///
/// # Errors
/// `Invalid`, saying what can be had.
fn check_kept(store: &Store, units: &[Unit], until: Seqno) -> Result<()> {
    let (until, mut next, mut kept, mut had) = (u64::from(until), 0, Vec::new(), false);
    let last = u64::from(store.watermark().visible());
    let mut lost = Vec::new();
    for archive in units.iter().filter_map(Unit::archive) {
        let archive = planned(store, archive.id)?;
        if !archive.is_log() {
            lost.push((u64::from(archive.manifest.first_seqno), u64::from(archive.manifest.as_of)));
        }
    }
    // In the order of their first seqnos, as their files are.
    for (first, as_of) in lost.into_iter().chain([(last + 1, last + 1)]) {
        if next < first {
            had |= (next..first).contains(&until);
            kept.push(if next + 1 == first { next.to_string() } else { format!("{next} to {}", first - 1) });
        }
        next = next.max(as_of);
    }
    if had {
        return Ok(());
    }
    let (dir, kept) = (store.disk().path().display(), kept.join(", "));
    let text =
        format!("{dir} cannot be restored as of write {until}: of the writes 0 to {last}, it can be as of {kept}");
    Err(Error::new(ErrorKind::Invalid, text))
}
