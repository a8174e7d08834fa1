//! Rebuilding the index from the log at open, and closing what a crash left open.
//!
//! Floor 3. Imports `address`, `error`, `format`, `index`, `limits`, `platform`, `sabotage`, `segment`, `store`, `sync`.
//!
//! Files are read in the order of their ids, which is the order of their records' age, so the newest record of a key is
//! simply the last one seen (O2).

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::address::{SegmentId, Seqno};
use crate::error::{Error, ErrorKind, Result};
use crate::format::identity::Identity;
use crate::format::names::{self, SegmentsEntry};
use crate::format::record::Kind;
use crate::format::segment::{Footer, SegmentHeader, SegmentKind};
use crate::index::hash::Hasher;
use crate::index::table::Table;
use crate::limits::{FOOTER_LEN, HEADER_COPY, RECORDS_START, SECTOR, SEGMENT_SIZE_MAX};
use crate::platform::{Access, Disk, File};
use crate::sabotage::{Sabotage, planted};
use crate::segment::active::Active;
use crate::segment::large::LargeFolder;
use crate::segment::pool;
use crate::segment::registry::Registry;
use crate::segment::scan::{Scan, Scanned, Step, Values};
use crate::segment::source::Source;
use crate::segment::{Segment, State};
use crate::store::replay::Replay;
use crate::store::torn::{self, End, Unsealed};
use crate::store::unnamed::UnnamedFiles;
use crate::store::{DEFAULT_KEYSPACE, Phase, Progress, Settings, failed};
use crate::sync::Arc;

/// What an open found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Segments read.
    pub segments: u64,
    /// Records read one by one.
    pub records: u64,
    /// Bytes dropped at the torn tail of the newest segment: writes that nobody had been told were durable.
    pub torn_bytes: u64,
    /// Where those bytes (the first 64 MiB of them) were kept for inspection; 16 such copies are kept. `None` also if
    /// the copy could not be written.
    pub torn_copy: Option<PathBuf>,
    /// The newest segment, if its footer was damaged: it was written anew.
    pub mended_footer: Option<PathBuf>,
    /// How long it took.
    pub duration: Duration,
    /// Names in `segments/` that are none of ours, left alone.
    pub ignored: Vec<String>,
}

/// What recovery hands over.
pub(super) struct Outcome {
    pub(super) last_seqno: Seqno,
    /// As far as is known to be on stable storage.
    pub(super) durable_seqno: Seqno,
    pub(super) next_id: SegmentId,
    pub(super) report: RecoveryReport,
    /// A segment to go on writing: only ever by sabotage.
    pub(super) resumed: Option<Active>,
    /// Why the torn segment could not be sealed (O6).
    pub(super) unsealed: Option<Error>,
}

/// One run of recovery.
pub(super) struct Recovery<'a> {
    disk: &'a Arc<dyn Disk>,
    settings: &'a Settings,
    identity: &'a Identity,
    hasher: &'a Hasher,
    registry: &'a Registry,
    large: &'a LargeFolder,
    table: &'a Table,
    unnamed: UnnamedFiles,
    outcome: Outcome,
}

/// A segment whose header was checked. Its file is not open: there may be more segments than descriptors.
struct Found {
    name: String,
    path: String,
    /// Bytes that the file has: fewer than its header says, if somebody cut it.
    len: u64,
    header: SegmentHeader,
}

impl<'a> Recovery<'a> {
    pub(super) fn new(
        disk: &'a Arc<dyn Disk>,
        settings: &'a Settings,
        identity: &'a Identity,
        hasher: &'a Hasher,
        registry: &'a Registry,
        large: &'a LargeFolder,
        table: &'a Table,
    ) -> Recovery<'a> {
        let outcome = Outcome {
            last_seqno: Seqno::default(),
            durable_seqno: Seqno::default(),
            next_id: SegmentId::FIRST,
            report: RecoveryReport::default(),
            resumed: None,
            unsealed: None,
        };
        let unnamed = UnnamedFiles::list(large);
        Recovery { disk, settings, identity, hasher, registry, large, table, unnamed, outcome }
    }

    /// Reads every segment, seals the newest if need be, and removes what never had a final name.
    ///
    /// # Errors
    /// `Corruption`, naming file and offset, if anything that was durable is not there; nothing is changed then.
    pub(super) fn run(mut self) -> Result<Outcome> {
        let start = self.disk.clock().monotonic_ns();
        let (segments, leftovers) = self.list()?;
        let mut found = Vec::with_capacity(segments.len());
        for id in segments {
            if let Some(segment) = self.look_at(id)? {
                found.push(segment);
            }
        }
        let total = found.iter().map(|segment| segment.header.len).sum();
        let mut done = 0;
        for (i, segment) in found.iter().enumerate() {
            self.recover(segment, found.get(i + 1))?;
            done += segment.header.len;
            if let Some(report) = &self.settings.on_progress {
                report(Progress { phase: Phase::Recovery, done, total });
            }
        }
        for id in leftovers {
            // Best effort: the name is in nobody's way but the next segment's, which removes it too.
            let _ = self.disk.remove(&names::new_segment(id));
        }
        pool::remove_leftovers(&**self.disk);
        if self.outcome.unsealed.is_none() {
            self.unnamed.remove(self.large);
        }
        let end = self.disk.clock().monotonic_ns();
        self.outcome.report.duration = Duration::from_nanos(end.saturating_sub(start));
        Ok(self.outcome)
    }

    /// The ids of the segments, without a gap, and those of temporaries.
    fn list(&mut self) -> Result<(Vec<SegmentId>, Vec<SegmentId>)> {
        let folder = self.disk.path().join(names::SEGMENTS);
        let entries = self.disk.list(names::SEGMENTS).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Error::corruption(folder.display(), 0, "the folder is missing; restore it from a backup")
            }
            _ => failed(&**self.disk, "list", names::SEGMENTS)(error),
        })?;
        let (mut segments, mut leftovers) = (Vec::new(), Vec::new());
        for name in entries {
            match names::parse_segments_entry(&name) {
                SegmentsEntry::Segment(id) => segments.push(id),
                SegmentsEntry::New(id) => leftovers.push(id),
                SegmentsEntry::Foreign if is_segment(name.trim_end_matches('/')) => {
                    let what = "it is a folder, where a segment should be; restore that from a backup";
                    return Err(Error::corruption(folder.join(name).display(), 0, what));
                }
                SegmentsEntry::Foreign => self.outcome.report.ignored.push(name),
            }
        }
        segments.sort_unstable();
        let mut expected = SegmentId::FIRST;
        for id in &segments {
            if *id != expected {
                let path = self.disk.path().join(names::segment(expected));
                let what = format_args!("the file is missing, though {id} is there; restore it from a backup");
                return Err(Error::corruption(path.display(), 0, what));
            }
            expected = id.next().ok_or_else(|| {
                let path = self.disk.path().join(names::segment(*id));
                Error::corruption(path.display(), 0, "no id is left after this one")
            })?;
        }
        self.outcome.next_id = expected;
        Ok((segments, leftovers))
    }

    /// Opens one segment and checks that it is whole, ours and the one that its name says.
    fn look_at(&mut self, id: SegmentId) -> Result<Option<Found>> {
        let name = names::segment(id);
        let path = self.disk.path().join(&name).display().to_string();
        let file = self.disk.open(&name, Access::Read).map_err(failed(&**self.disk, "open", &name))?;
        let len = file.len().map_err(failed(&**self.disk, "read the length of", &name))?;
        let header = match self.read_header(id, &*file, &path, len) {
            Err(error) if planted(Sabotage::BadHeaderIsLeftover) && error.kind() == ErrorKind::Corruption => {
                self.disk.remove(&name).map_err(failed(&**self.disk, "remove", &name))?;
                self.outcome.next_id = id;
                return Ok(None);
            }
            other => other?,
        };
        Ok(Some(Found { name, path, len, header }))
    }

    fn read_header(&self, id: SegmentId, file: &dyn File, path: &str, len: u64) -> Result<SegmentHeader> {
        if len < RECORDS_START {
            return Err(Error::corruption(path, len, "the file ends before its first record"));
        }
        let mut sector = [0; SECTOR];
        Source::Cache.read_exact(file, path, &mut sector, 0)?;
        let header = SegmentHeader::decode(&sector, path, 0).or_else(|first| {
            Source::Cache.read_exact(file, path, &mut sector, HEADER_COPY)?;
            SegmentHeader::decode(&sector, path, HEADER_COPY).map_err(|_| first)
        })?;
        if header.database != self.identity.database {
            return Err(Error::corruption(path, 0, "the file belongs to another store"));
        }
        if header.kind != SegmentKind::Log {
            return Err(Error::corruption(
                path,
                0,
                "the header is that of a packed segment, which does not belong here",
            ));
        }
        if header.id != id {
            let what = format_args!("the header says that this is segment {}", header.id);
            return Err(Error::corruption(path, 0, what));
        }
        if len > header.len {
            let what = format_args!("the file has {len} bytes, its header says {}", header.len);
            return Err(Error::corruption(path, header.len, what));
        }
        if header.len > SEGMENT_SIZE_MAX {
            let what = format!("{path} is of {} bytes; this version reads segments of 1 GiB at most", header.len);
            return Err(Error::new(ErrorKind::FormatVersion, what));
        }
        Ok(header)
    }

    /// Brings one segment's records into the index.
    fn recover(&mut self, found: &Found, successor: Option<&Found>) -> Result<()> {
        let Found { name, path, len, header } = found;
        // Only the newest is ever written: to be sealed.
        let access = if successor.is_some() { Access::Read } else { Access::ReadWrite };
        let file = self.disk.open(name, access).map_err(failed(&**self.disk, "open", name))?;
        let expected = u64::from(self.outcome.last_seqno) + 1;
        if u64::from(header.first_seqno) != expected {
            let what = format_args!("the first record is {}, {expected} is expected", header.first_seqno);
            return Err(Error::corruption(path, 0, what));
        }
        if *len < header.len && successor.is_some() {
            let what = format_args!("the file ends here, its header says {}", header.len);
            return Err(Error::corruption(path, *len, what));
        }
        let unsealed = Unsealed {
            file: &*file,
            path,
            salt: header.salt(),
            len: header.len,
            readable: *len,
            first_seqno: header.first_seqno,
            expected: successor.map(|next| (u64::from(next.header.first_seqno) - 1).into()),
            source: if successor.is_some() { Source::Cache } else { Source::Device },
        };
        let sealed = self.footer(&unsealed, header)?;
        let end = match sealed {
            Some(end) => end,
            None => unsealed.find_end()?,
        };
        if *len < header.len {
            self.check_all_known(&unsealed, &end)?;
            // What is missing was never durable, or only zeros: a mapping must not reach beyond the file.
            file.allocate(header.len).map_err(failed(&**self.disk, "restore the length of", name))?;
        }
        let place = self.registry.reserve(header.len)?;
        let reading = self.settings.reading;
        let segment = Segment::new(self.disk, name, Arc::clone(&file), header, place, end.offset, reading);
        let segment = self.registry.add(segment, place, header.len);
        if sealed.is_some() || successor.is_some() {
            segment.set_state(State::Sealed);
        }
        self.replay(&segment, &end)?;
        self.outcome.report.segments += 1;
        self.outcome.report.records += end.record_count;
        self.outcome.last_seqno = end.last_seqno;
        if sealed.is_some() || successor.is_some() {
            self.outcome.durable_seqno = end.last_seqno;
        } else {
            let active = Active::new(segment, Arc::clone(&file), end.last_seqno);
            self.close_torn(active.resume(end.offset, end.crc, end.record_count), &unsealed, &end)?;
        }
        Ok(())
    }

    /// Where a sealed segment ends, by its footer; `None` without a valid one.
    fn footer(&self, segment: &Unsealed<'_>, header: &SegmentHeader) -> Result<Option<End>> {
        if segment.readable < segment.len {
            return Ok(None);
        }
        let mut bytes = [0; FOOTER_LEN as usize];
        let offset = segment.len - FOOTER_LEN;
        segment.source.read_exact(segment.file, segment.path, &mut bytes, offset)?;
        let footer = Footer::decode(&bytes, segment.salt);
        footer.map(|footer| checked(&footer, header, segment.path)).transpose()
    }

    /// Replays the records below `end`, whose chain must be whole.
    fn replay(&mut self, segment: &Segment, end: &End) -> Result<()> {
        let (path, salt) = (segment.path(), segment.salt());
        let file = segment.file()?;
        let mut scan = Scan::new(&*file, path, salt, end.offset, Source::Cache, Values::Skip);
        let mut replay = Replay::new(self.registry, self.table, self.large, segment.place());
        let mut seqno = u64::from(end.last_seqno) - end.record_count;
        while scan.offset() < end.offset {
            match scan.step()? {
                Step::Record(record) => {
                    seqno += 1;
                    if u64::from(record.header.seqno) != seqno {
                        let what = format_args!("record {} where record {seqno} is expected", record.header.seqno);
                        return Err(Error::corruption(path, record.offset, what));
                    }
                    self.check_known(&record, path)?;
                    self.unnamed.note(&record);
                    replay.add(&record, self.hasher.hash(record.key()))?;
                }
                Step::Stop(flaw) => {
                    let what =
                        format_args!("{flaw}; what follows cannot be found without it; restore the file from a backup");
                    return Err(Error::corruption(path, scan.offset(), what));
                }
            }
        }
        let whole = replay.finish()?;
        if seqno != u64::from(end.last_seqno) || !whole {
            let what = format_args!("the records end with {seqno}, {} is expected", end.last_seqno);
            return Err(Error::corruption(path, end.offset, what));
        }
        Ok(())
    }

    /// Before anything of the store is changed.
    fn check_all_known(&self, segment: &Unsealed<'_>, end: &End) -> Result<()> {
        let (path, salt) = (segment.path, segment.salt);
        let mut scan = Scan::new(segment.file, path, salt, end.offset, segment.source, Values::Skip);
        while let Step::Record(record) = scan.step()? {
            self.check_known(&record, path)?;
        }
        Ok(())
    }

    fn check_known(&self, record: &Scanned<'_>, path: &str) -> Result<()> {
        let (kind, keyspace) = (record.header.kind, record.header.keyspace);
        let plain = matches!(kind, Kind::Put | Kind::PutLarge | Kind::Delete | Kind::Pad) && !record.header.has_expiry;
        if plain && keyspace == DEFAULT_KEYSPACE {
            return Ok(());
        }
        let what = format!(
            "{path} has at offset {} a record ({kind:?}, keyspace {keyspace}, or with an expiry) that this version \
             does not know; \
             open the store with a newer one",
            record.offset
        );
        Err(Error::new(ErrorKind::FormatVersion, what))
    }

    /// Seals the newest segment where its records end, having kept a copy of what is cut off.
    fn close_torn(&mut self, mut active: Active, unsealed: &Unsealed<'_>, end: &End) -> Result<()> {
        let segment = active.segment().clone();
        let torn_bytes = torn::torn_len(unsealed, end.offset)?;
        if torn_bytes > 0 {
            self.outcome.report.torn_bytes = torn_bytes;
            let copy = torn::keep_copy(&**self.disk, segment.id(), unsealed, end.offset, torn_bytes);
            self.outcome.report.torn_copy = copy.ok();
            active = active.soiled();
        }
        if unsealed.has_footer_bytes()? {
            self.outcome.report.mended_footer = Some(segment.path().into());
            active = active.soiled();
        }
        if planted(Sabotage::AppendAfterTornTail) {
            self.outcome.resumed = Some(active);
            return Ok(());
        }
        self.outcome.unsealed = active.seal().err();
        if self.outcome.unsealed.is_none() {
            self.outcome.durable_seqno = end.last_seqno;
        }
        Ok(())
    }
}

fn is_segment(name: &str) -> bool {
    matches!(names::parse_segments_entry(name), SegmentsEntry::Segment(_))
}

/// A footer's numbers, if they fit the segment that it stands in.
///
/// # Errors
/// `Corruption` if they do not: its checksum holds, so this is not a torn write.
fn checked(footer: &Footer, header: &SegmentHeader, path: &str) -> Result<End> {
    let records = u64::from(footer.last_seqno).checked_sub(u64::from(header.first_seqno) - 1);
    let in_range = (RECORDS_START..=header.len - FOOTER_LEN).contains(&footer.end);
    if !in_range || records != Some(footer.record_count) {
        let what = format_args!(
            "the footer says {} records up to {} and offset {}, which cannot be",
            footer.record_count, footer.last_seqno, footer.end
        );
        return Err(Error::corruption(path, header.len - FOOTER_LEN, what));
    }
    Ok(End { offset: footer.end, last_seqno: footer.last_seqno, record_count: footer.record_count, crc: footer.crc })
}
