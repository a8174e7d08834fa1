//! Rebuilding the index from the log at open, and closing what a crash left open.
//!
//! Floor 3. Imports `address`, `error`, `format`, `index`, `platform`, `reclaim`, `sabotage`, `segment`, `store`, `sync`.
//!
//! Files are read in the order of their ids, which is the order of their records' age, so the newest record of a key is
//! simply the last one seen (O2).

use std::path::PathBuf;
use std::time::Duration;

use crate::address::{ArchiveId, SegmentId, Seqno};
use crate::error::{Error, ErrorKind, Result};
use crate::format::hint::Hint;
use crate::format::identity::Identity;
use crate::format::segment::{SegmentHeader, SegmentKind};
use crate::index::hash::Hasher;
use crate::platform::{Access, Disk, File};
use crate::reclaim::hold::Hold;
use crate::sabotage::{Sabotage, planted};
use crate::segment::active::Active;
use crate::segment::home::Home;
use crate::segment::large::LargeFolder;
use crate::segment::pool;
use crate::segment::registry::Registry;
use crate::segment::scan::{Scan, Step, Values};
use crate::segment::source::Source;
use crate::segment::{Segment, State};
use crate::store::apply::AHEAD;
use crate::store::archived::{self, Archive, Member};
use crate::store::archives::Adopted;
use crate::store::chain::{check_catalogue, footer, read_records};
use crate::store::checkpoint::IndexFile;
use crate::store::hinted::{self, Seen};
use crate::store::hints;
use crate::store::image;
use crate::store::inventory::{Found, Inventory, StoreFile};
use crate::store::replay::{Gathered, Lot, Rivals};
use crate::store::space::Spaces;
use crate::store::superseded;
use crate::store::torn::{self, End, Ending, Unsealed};
use crate::store::unnamed::UnnamedFiles;
use crate::store::written::{self, WrittenIndex};
use crate::store::{Phase, Progress, Settings, failed};
use crate::sync::Arc;
use crate::sync::plain::{mpsc, thread};

/// Records that are handed on together, and how many such lots may wait.
const GATHERED: usize = 16 * AHEAD;
const READ_AHEAD: usize = 8;
/// Bytes of records that are worth a thread.
const READ_BESIDE_MIN: u64 = 4 << 20;

/// What an open found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Segments read.
    pub segments: u64,
    /// Records read one by one.
    pub records: u64,
    /// Segments whose records were taken from their hints instead.
    pub hinted: u64,
    /// Sealed segments that are damaged between their records: what they hold was found by their hints, and only the damaged
    /// records' own keys are lost (`len` counts one twice once it is written again). `verify` tells more; restore them from a backup.
    pub damaged: Vec<PathBuf>,
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
    pub(super) next_archive: ArchiveId,
    /// Oldest first.
    pub(super) archives: Vec<Adopted>,
    pub(super) spaces: Spaces,
    /// The index that was written down, if it was taken.
    pub(super) index: Option<IndexFile>,
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
    unnamed: UnnamedFiles,
    /// How many segments, the first, are in the index, and how many bytes of them were read for that.
    indexed: usize,
    done: u64,
    seen: Seen,
    outcome: Outcome,
}

/// A segment that was opened, and cannot be found yet.
struct Opened<'f> {
    found: &'f Found,
    file: Arc<dyn File>,
    /// The first seqno of the next file.
    successor: Option<Seqno>,
    /// Where it ends, if it has a footer.
    sealed: Option<End>,
}

/// A segment that can be found, and is not in the index yet.
struct Part {
    segment: Hold<Segment>,
    end: End,
    /// Whether the written index has it, but for what was written since.
    listed: bool,
    /// The newest, if it has no footer.
    torn: Option<Torn>,
}

struct Torn {
    file: Arc<dyn File>,
    /// Of the file as it was found.
    len: u64,
    /// Bytes behind the records.
    torn_len: u64,
}

impl<'a> Recovery<'a> {
    pub(super) fn new(
        disk: &'a Arc<dyn Disk>,
        settings: &'a Settings,
        identity: &'a Identity,
        hasher: &'a Hasher,
        registry: &'a Registry,
        large: &'a LargeFolder,
    ) -> Recovery<'a> {
        let outcome = Outcome {
            last_seqno: Seqno::default(),
            durable_seqno: Seqno::default(),
            next_id: SegmentId::FIRST,
            next_archive: ArchiveId(1),
            archives: Vec::new(),
            spaces: Spaces::new(),
            index: None,
            report: RecoveryReport::default(),
            resumed: None,
            unsealed: None,
        };
        let unnamed = UnnamedFiles::list(large);
        let seen = Seen::default();
        Recovery { disk, settings, identity, hasher, registry, large, unnamed, indexed: 0, done: 0, seen, outcome }
    }

    /// Reads every segment, seals the newest if need be, and removes what never had a final name.
    ///
    /// # Errors
    /// `Corruption`, naming file and offset, if anything that was durable is not there; nothing is changed then.
    pub(super) fn run(mut self) -> Result<Outcome> {
        let start = self.disk.clock().monotonic_ns();
        let Inventory { files, next_id, next_archive, leftovers, superseded, ignored, .. } =
            Inventory::take(&**self.disk, self.identity)?;
        self.outcome.next_id = next_id;
        self.outcome.next_archive = next_archive;
        self.outcome.report.ignored = ignored;
        let mut members = archived::members(&**self.disk, self.settings.reading.mode, &files)?;
        let background = self.settings.background;
        let image = written::fitting(&**self.disk, self.identity, background, &files, &members);
        if let Some(image) = &image {
            self.registry.reserve_these(image.places());
        }
        let (mut parts, mut newest) = (Vec::new(), None);
        for (i, file) in files.iter().enumerate() {
            let last = match file {
                StoreFile::Segment(found) => {
                    let opened = self.open(found, files.get(i + 1).map(StoreFile::first_seqno))?;
                    if opened.is_unsealed() {
                        newest = Some(opened);
                        break;
                    }
                    parts.push(self.place(opened, image.as_ref())?);
                    parts[parts.len() - 1].end.last_seqno
                }
                StoreFile::Archive(archive) => {
                    let members = std::mem::take(&mut members[i]);
                    self.open_archive(archive, members, image.as_ref(), &mut parts)?;
                    archive.seqnos().1
                }
            };
            self.outcome.last_seqno = last;
        }
        self.index_all(parts, newest, image)?;
        for name in leftovers {
            // Best effort: the name is in nobody's way but the next file's, which removes it too.
            let _ = self.disk.remove(&name);
        }
        if self.outcome.unsealed.is_none() {
            // Best effort: it is in nobody's way, but what took its place must not be replaced before it is gone.
            if superseded::remove(&**self.disk, &superseded).is_ok() {
                self.outcome.archives.iter().for_each(Adopted::settle);
            }
        }
        let is_segment = |id| files.iter().any(|file| file.is_segment(id));
        hints::remove_strangers(&**self.disk, is_segment);
        pool::remove_leftovers(&**self.disk);
        image::remove_leftover(&**self.disk);
        if self.outcome.unsealed.is_none() {
            self.unnamed.remove(self.large);
        }
        let end = self.disk.clock().monotonic_ns();
        self.outcome.report.duration = Duration::from_nanos(end.saturating_sub(start));
        Ok(self.outcome)
    }

    /// Opens a segment; `successor` is the first seqno of the next file.
    fn open<'f>(&self, found: &'f Found, successor: Option<Seqno>) -> Result<Opened<'f>> {
        let Found { name, path, len, header } = found;
        // Only the newest is ever written: to be sealed.
        let access = if successor.is_some() { Access::Read } else { Access::ReadWrite };
        let file = self.disk.open(name, access).map_err(failed(&**self.disk, "open", name))?;
        self.check_first(header.first_seqno, path)?;
        if *len < header.len && successor.is_some() {
            let what = format_args!("the file ends here, its header says {}", header.len);
            return Err(Error::corruption(path, *len, what));
        }
        let sealed = footer(&unsealed(&*file, path, *len, header, successor), header)?;
        Ok(Opened { found, file, successor, sealed })
    }

    /// Makes a segment findable that has a footer, or a successor.
    fn place(&self, opened: Opened<'_>, image: Option<&WrittenIndex>) -> Result<Part> {
        let ending = match opened.sealed {
            Some(end) => Ending { end, torn_len: 0 },
            None => opened.unsealed().find_end()?,
        };
        self.place_until(opened, &ending, image)
    }

    /// Makes a segment findable, where the written index has it if that does.
    fn place_until(&self, opened: Opened<'_>, ending: &Ending, image: Option<&WrittenIndex>) -> Result<Part> {
        let (is_unsealed, Ending { end, torn_len }) = (opened.is_unsealed(), *ending);
        let Found { name, len, header, .. } = opened.found;
        if *len < header.len {
            self.check_all_known(&opened.unsealed(), &end)?;
            // What is missing was never durable, or only zeros: a mapping must not reach beyond the file.
            opened.file.allocate(header.len).map_err(failed(&**self.disk, "restore the length of", name))?;
        }
        let file = opened.file;
        let place = image.and_then(|image| image.place(&header.epoch));
        let place = place.map_or_else(|| self.registry.reserve(header.len), Ok)?;
        let reading = self.settings.reading;
        let segment = Segment::new(self.disk, Home::alone(&file, name), header, place, end.offset, reading);
        let segment = segment.with_lease(self.registry.lease(place, header.len));
        let segment = self.registry.add(segment, place, header.len);
        if !is_unsealed {
            segment.set_state(State::Sealed);
        }
        Ok(Part { segment, end, listed: false, torn: is_unsealed.then_some(Torn { file, len: *len, torn_len }) })
    }

    /// Makes the segments of an archive findable.
    fn open_archive(
        &mut self,
        archive: &Archive,
        members: Vec<Member>,
        image: Option<&WrittenIndex>,
        parts: &mut Vec<Part>,
    ) -> Result<()> {
        self.check_first(archive.seqnos().0, &archive.path)?;
        let mut places = Vec::new();
        for member in members {
            let (end, place) = (member.end, image.and_then(|image| image.place(&member.header.epoch)));
            let segment = archived::register(self.disk, self.registry, self.settings.reading, member, place)?;
            places.push(segment.place());
            parts.push(Part { segment, end, listed: false, torn: None });
        }
        self.outcome.archives.push(Adopted::new(archive, places));
        Ok(())
    }

    /// Whether the next file begins where the last one ended.
    fn check_first(&self, first: Seqno, path: &str) -> Result<()> {
        let expected = u64::from(self.outcome.last_seqno) + 1;
        if u64::from(first) == expected {
            return Ok(());
        }
        let what = format_args!("the first record is {first}, {expected} is expected");
        Err(Error::corruption(path, 0, what))
    }

    /// Brings all records into the index, and closes the newest segment, whose end is still to be found.
    fn index_all(
        &mut self,
        mut parts: Vec<Part>,
        newest: Option<Opened<'_>>,
        mut image: Option<WrittenIndex>,
    ) -> Result<()> {
        if let Some(newest) = newest {
            let ending = self.find_end(&newest, &mut parts, &mut image)?;
            self.outcome.last_seqno = ending.end.last_seqno;
            parts.push(self.place_until(newest, &ending, image.as_ref())?);
        }
        self.take_index(&mut image, &mut parts);
        self.replay(&parts, 0)?;
        for part in parts {
            match &part.torn {
                None => self.outcome.durable_seqno = self.outcome.durable_seqno.max(part.end.last_seqno),
                Some(torn) => self.close_torn(&part, torn)?,
            }
        }
        Ok(())
    }

    /// Finds the end of the newest segment. Where threads may be started, and what is written down is of older files only,
    /// these are indexed meanwhile: nothing of that is shown before this has succeeded.
    fn find_end(
        &mut self,
        newest: &Opened<'_>,
        older: &mut [Part],
        image: &mut Option<WrittenIndex>,
    ) -> Result<Ending> {
        let has_newest = |image: &WrittenIndex| image.place(&newest.found.header.epoch).is_some();
        let needs_end = image.as_ref().is_some_and(|image| has_newest(image) || self.has_lost(image));
        if needs_end || !self.settings.background || newest.found.len < READ_BESIDE_MIN {
            return newest.unsealed().find_end();
        }
        self.take_index(image, older);
        thread::scope(|scope| {
            let ending = thread::Builder::new().spawn_scoped(scope, || newest.unsealed().find_end());
            let replayed = self.replay(older, newest.found.header.len);
            let ending = match ending {
                Ok(ending) => ending.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?,
                // There is no thread to be had.
                Err(_) => newest.unsealed().find_end()?,
            };
            replayed.map(|()| ending)
        })
    }

    /// Whether an index points at records that the log has lost.
    fn has_lost(&self, image: &WrittenIndex) -> bool {
        image.until() > self.outcome.last_seqno
    }

    /// Takes the index that was written down, if there is one that leads to nothing that the log has lost.
    fn take_index(&mut self, image: &mut Option<WrittenIndex>, parts: &mut [Part]) {
        let reaches = |image: &WrittenIndex| parts.iter().all(|part| image.reaches(&part.segment, &part.end));
        let Some(mut image) = image.take().filter(|image| !self.has_lost(image) && reaches(image)) else { return };
        for part in parts {
            part.listed = image.take(&part.segment, self.large);
            if part.listed {
                self.unnamed.note_all(part.segment.live());
            }
        }
        self.outcome.index = Some(image.facts());
        self.outcome.spaces = image.take_spaces();
    }

    /// Brings all records of these segments into the index that are not in it yet; the others to come have `more` bytes.
    ///
    /// Where there are many and threads may be started, one reads them while this one indexes them.
    fn replay(&mut self, parts: &[Part], more: u64) -> Result<()> {
        let (registry, large, hasher) = (self.registry, self.large, self.hasher);
        let spaces = std::mem::replace(&mut self.outcome.spaces, Spaces::new());
        let indexed = std::mem::replace(&mut self.indexed, parts.len());
        let parts: Vec<_> = self.behind(&parts[indexed..]).collect();
        let total = self.done + more + parts.iter().map(|part| part.segment.len()).sum::<u64>();
        let len: u64 = parts.iter().map(|part| part.segment.used_bytes()).sum();
        let indexed = if self.settings.background && len >= READ_BESIDE_MIN {
            self.read_beside(&parts, total, &spaces, |lot| lot.apply(registry, &spaces, large, hasher))
        } else {
            self.read_all(&parts, total, &spaces, &mut |lot| lot.apply(registry, &spaces, large, hasher))
        };
        self.outcome.spaces = spaces;
        indexed
    }

    /// Reads all that is to be indexed on a thread of its own, if there is one to be had, a little ahead of `apply`.
    fn read_beside(
        &mut self,
        parts: &[&Part],
        total: u64,
        spaces: &Spaces,
        mut apply: impl FnMut(Lot) -> Result<()>,
    ) -> Result<()> {
        let beside = &mut *self;
        let outcome = thread::scope(|scope| {
            let (sender, receiver) = mpsc::sync_channel(READ_AHEAD);
            // Nobody takes it when indexing has failed: then that error counts, and not this one.
            let closed = |_| Error::new(ErrorKind::Closed, "the index takes no more records");
            let read = move || beside.read_all(parts, total, spaces, &mut |some| sender.send(some).map_err(closed));
            let reader = thread::Builder::new().spawn_scoped(scope, read).ok()?;
            let indexed = receiver.into_iter().try_for_each(&mut apply);
            let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Some(indexed.and(read))
        });
        // There may be no thread to be had.
        outcome.unwrap_or_else(|| self.read_all(parts, total, spaces, &mut apply))
    }

    /// What is in the index of the files that it lists.
    fn imaged(&self) -> Seqno {
        self.outcome.index.map_or(Seqno::default(), |index| index.from)
    }

    /// The segments with records that are not in the index.
    fn behind<'p>(&self, parts: &'p [Part]) -> impl Iterator<Item = &'p Part> + use<'p> {
        let imaged = self.imaged();
        parts.iter().filter(move |part| !part.listed || part.end.last_seqno > imaged)
    }

    /// Reads all that is to be indexed, oldest first.
    fn read_all(
        &mut self,
        parts: &[&Part],
        total: u64,
        spaces: &Spaces,
        show: &mut dyn FnMut(Lot) -> Result<()>,
    ) -> Result<()> {
        for part in parts {
            self.read_or_hint(part, spaces, show)?;
            self.done += part.segment.len();
            if let Some(report) = &self.settings.on_progress {
                report(Progress { phase: Phase::Recovery, done: self.done, total });
            }
        }
        Ok(())
    }

    /// Reads a segment, or what its hint says of it: where that takes less, and where its chain is damaged.
    fn read_or_hint(&mut self, part: &Part, spaces: &Spaces, show: &mut dyn FnMut(Lot) -> Result<()>) -> Result<()> {
        let Part { segment, end, listed, torn } = part;
        // Of one that the index has in part, a hint does not say which part; nor does it say what is older than what is there.
        let has_part = *listed && segment.first_seqno() <= self.imaged();
        let whole = !has_part && self.rivals(part) == Rivals::Older;
        let found = || {
            let found = hinted::find(&**self.disk, self.identity, self.hasher, segment, end);
            found.filter(|_| whole && torn.is_none())
        };
        if segment.used_bytes() >= hints::WORTH_MIN
            && let Some(found) = found()
            && let Ok(hint) = found.hint()
            && hinted::is_worth(&hint, segment, spaces, &self.seen)
        {
            return self.take_hint(&hint, segment, show);
        }
        let read = self.read(part, show);
        let is_its_own = |error: &Error| error.damage().is_some_and(|(file, ..)| file == segment.path());
        if read.as_ref().is_err_and(is_its_own)
            && let Some(found) = found()
            && let Ok(hint) = found.hint()
        {
            // What was read of it so far is indexed once more, with the same result.
            self.outcome.report.damaged.push(segment.path().into());
            return self.take_hint(&hint, segment, show);
        }
        read
    }

    /// Takes what a hint lists for the records of its segment.
    fn take_hint(
        &mut self,
        hint: &Hint<'_>,
        segment: &Hold<Segment>,
        show: &mut dyn FnMut(Lot) -> Result<()>,
    ) -> Result<()> {
        let live = segment.live();
        hint.large().filter(|(id, len)| live.name(*id, *len)).for_each(|(_, len)| self.large.add(len));
        self.unnamed.note_all(live);
        hinted::show_all(hint, segment, GATHERED, &mut self.seen, |listing| show(Lot::Hinted(listing)))?;
        self.outcome.report.hinted += 1;
        Ok(())
    }

    /// What a segment that is about to be brought into the index may meet there.
    fn rivals(&self, part: &Part) -> Rivals {
        // One of the log that the written index does not list was begun when that was complete.
        let since = part.segment.kind() == SegmentKind::Log && part.segment.first_seqno() > self.imaged();
        // What a job copied may be older than what it says of its key.
        if self.outcome.index.is_none() || part.listed || since { Rivals::Older } else { Rivals::Newer }
    }

    /// Reads the records below `end` that are not in the index; the chain of all must be whole.
    fn read(&mut self, part: &Part, show: &mut dyn FnMut(Lot) -> Result<()>) -> Result<()> {
        let (segment, end, mut records) = (&part.segment, &part.end, 0);
        let imaged = if part.listed { self.imaged() } else { Seqno::default() };
        let mut gathered = Gathered::new(segment.place(), self.rivals(part));
        read_records(&*segment.file()?, segment, None, end, |record| {
            if record.header.seqno <= imaged {
                return Ok(());
            }
            records += 1;
            self.unnamed.note(record, segment.live());
            let hash = self.hasher.hash(record.key());
            self.seen.note(hash);
            gathered.add(record, hash);
            gathered.take(GATHERED).map_or(Ok(()), |lot| show(Lot::Read(lot)))
        })?;
        show(Lot::Read(gathered.finish(segment.path(), end)?))?;
        self.outcome.report.segments += 1;
        self.outcome.report.records += records;
        if let Some(index) = self.outcome.index.as_mut().filter(|_| segment.kind() == SegmentKind::Packed) {
            index.moved += records;
        }
        Ok(())
    }

    /// Before anything of the store is changed.
    fn check_all_known(&self, segment: &Unsealed<'_>, end: &End) -> Result<()> {
        let (path, salt) = (segment.path, segment.salt);
        let mut scan = Scan::new(segment.file, path, salt, end.offset, segment.source, Values::Skip);
        while let Step::Record(record) = scan.step()? {
            check_catalogue(&record, path)?;
        }
        Ok(())
    }

    /// Seals the newest segment where its records end, having kept a copy of what is cut off.
    fn close_torn(&mut self, part: &Part, torn: &Torn) -> Result<()> {
        let (segment, end, torn_bytes) = (part.segment.clone(), &part.end, torn.torn_len);
        let active = Active::new(segment.clone(), Arc::clone(&torn.file), end.last_seqno);
        let mut active = active.resume(end.offset, end.crc, end.record_count);
        let header = segment.header_facts(self.identity.database);
        let unsealed = &unsealed(&*torn.file, segment.path(), torn.len, &header, None);
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

impl Opened<'_> {
    /// Whether it is the newest, and was never sealed.
    fn is_unsealed(&self) -> bool {
        self.sealed.is_none() && self.successor.is_none()
    }

    fn unsealed(&self) -> Unsealed<'_> {
        let Found { path, len, header, .. } = self.found;
        unsealed(&*self.file, path, *len, header, self.successor)
    }
}

/// A segment before its records are read; `successor` is the first seqno of the next file.
fn unsealed<'f>(
    file: &'f dyn File,
    path: &'f str,
    readable: u64,
    header: &SegmentHeader,
    successor: Option<Seqno>,
) -> Unsealed<'f> {
    Unsealed {
        file,
        path,
        salt: header.salt(),
        len: header.len,
        readable,
        first_seqno: header.first_seqno,
        expected: successor.map(|next| (u64::from(next) - 1).into()),
        source: if successor.is_some() { Source::Cache } else { Source::Device },
    }
}
