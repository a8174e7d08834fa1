//! Following a writer: how a store that is opened for reading only learns what another process wrote.
//!
//! Floor 3. Imports `address`, `error`, `format`, `limits`, `platform`, `reclaim`, `segment`, `store`, `sync`.
//!
//! Nothing is locked and nothing is written, so every listing may be old when it is used: a file that is gone, or a gap, means
//! to list again. It is damage only if the names were the same before and after.
//!
//! - F1 the index is the log up to a seqno, the last that was followed: of each key it says the newest record up to there, but for
//!   records that jobs left out of files that were read since.
//! - F2 of a file that is new here, records up to that seqno are copies of what the index has, or had: it is pointed at them where it
//!   says the original, the record of the same seqno. A file that went may have what replaced that while it was copied. Later ones are
//!   replayed, in the order of the files, which is that of age. So an older record never takes the place of a newer one.
//! - F3 a file that is gone stays in the registry until everything else was read, and no key is missing meanwhile. What the index
//!   still says there then was overwritten or deleted later by something that jobs left out, too: it is removed.
//! - F4 a segment that went before it was read to its end is read to its end first, through the file that is still open: it was
//!   sealed before it went, and only its footer tells whether all that was followed of it is the log's.
//! - F5 where the log is not what was followed (a session that failed may leave less than it showed), all of it is replayed
//!   from the start, into the same index, with all files at new places.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::time::Duration;

use crate::address::{ArchiveId, Location, SegmentId, Seqno};
use crate::error::{Error, ErrorKind, Result};
use crate::format::identity::Identity;
use crate::format::names::{self, ArchivesEntry, SegmentsEntry};
use crate::format::record::{Header, Kind};
use crate::format::segment::SegmentKind;
use crate::limits::{RECORD_HEADER_LEN, RECORDS_START};
use crate::platform::{Access, Disk, File};
use crate::reclaim::hold::Hold;
use crate::reclaim::pin::Pin;
use crate::segment::home::Home;
use crate::segment::scan::Scanned;
use crate::segment::source::Source;
use crate::segment::{ReadMode, Reading, Segment, State};
use crate::store::apply::{self, AHEAD, Change};
use crate::store::archived::{self, Archive, Member};
use crate::store::archives::Adopted;
use crate::store::chain::{self, read_records};
use crate::store::hinted::{self, Seen};
use crate::store::inventory::{Found, Inventory, StoreFile};
use crate::store::past::Publication;
use crate::store::pending;
use crate::store::recovery::RecoveryReport;
use crate::store::replay::{Gathered, Rivals};
use crate::store::torn::{End, Unsealed};
use crate::store::written::{self, WrittenIndex};
use crate::store::{Phase, Progress, Store, failed};
use crate::sync::plain::PoisonError;
use crate::sync::{Arc, yield_now};

/// How often the files are listed anew before it is given up.
const TRIES_MAX: u32 = 1_000;

/// How far a writer has been followed.
#[derive(Debug, Default)]
pub(crate) struct Following {
    /// Segments in files of their own.
    alone: BTreeMap<SegmentId, Known>,
    /// The last write that the index has.
    last: Seqno,
    durable: Seqno,
    /// What was there when the files were read last.
    names: Option<Names>,
    /// Whether the log is not what was followed (F5).
    diverged: bool,
    report: RecoveryReport,
}

/// A segment in a file of its own, and how much of it is in the index: all, once it is sealed.
#[derive(Clone, Debug)]
struct Known {
    segment: Hold<Segment>,
    end: End,
}

/// The files of a directory.
#[derive(PartialEq, Eq, Debug)]
struct Names {
    segments: Vec<SegmentId>,
    archives: Vec<ArchiveId>,
    /// Of a copy: names that do not count.
    pending: BTreeSet<String>,
}

impl Names {
    fn list(disk: &dyn Disk, identity: &Identity) -> Result<Names> {
        let list = |folder| match disk.list(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed.map_err(failed(disk, "list", folder)),
        };
        let (segments, archives) = (list(names::SEGMENTS)?, list(names::ARCHIVES)?);
        let segment = |name: &String| match names::parse_segments_entry(name) {
            SegmentsEntry::Segment(id) => Some(id),
            _ => None,
        };
        let archive = |name: &String| match names::parse_archives_entry(name) {
            ArchivesEntry::Archive(id) => Some(id),
            _ => None,
        };
        Ok(Names {
            segments: segments.iter().filter_map(segment).collect(),
            archives: archives.iter().filter_map(archive).collect(),
            pending: pending::read(disk, identity)?,
        })
    }
}

impl Store {
    /// Whether it is open for reading only.
    pub(crate) fn is_read_only(&self) -> bool {
        self.following.is_some()
    }

    /// Follows the writer, where that is another process, and says how far; else just says.
    ///
    /// # Errors
    /// `Corruption`, naming file and offset; `FormatVersion`, `ResourceLimit`; `Io`. What was followed until then stays.
    pub(crate) fn refresh(&self) -> Result<Seqno> {
        if let Some(following) = &self.following {
            let mut known = following.lock().unwrap_or_else(PoisonError::into_inner);
            // What a pass lists is one moment.
            let _log = self.log();
            let publication = Some(self.begin_publication());
            let mut follower = Follower { store: self, known: &mut known, index: None, publication };
            let followed = follower.follow();
            // Before the publication ends: nobody opens a moment until then.
            self.set_between(followed.as_ref().err().cloned());
            followed?;
        }
        Ok(self.watermark().visible())
    }

    /// Begins with the index that was written down and what the files have beside it, before anybody reads. `false` if it is not of
    /// these files, or there is none.
    ///
    /// # Errors
    /// As `refresh`, or because the files changed meanwhile: then this store is good for nothing.
    pub(super) fn follow_index(&mut self) -> Result<bool> {
        let (disk, mode) = (Arc::clone(self.disk()), self.settings().reading.mode);
        if disk.open(names::IMAGE, Access::Read).is_err() {
            return Ok(false);
        }
        let names = Names::list(&*disk, self.identity())?;
        let inventory = Inventory::take(&*disk, self.identity())?;
        let members = archived::members(&*disk, mode, &inventory.files)?;
        let Some(mut index) = written::fitting(&*disk, self.identity(), false, &inventory.files, &members) else {
            return Ok(false);
        };
        self.registry().reserve_these(index.places());
        self.spaces = index.take_spaces();
        let Some(following) = &self.following else { return Ok(false) };
        let mut known = following.lock().unwrap_or_else(PoisonError::into_inner);
        let mut follower = Follower { store: self, known: &mut known, index: Some(&index), publication: None };
        follower.take(inventory)?;
        follower.known.names = Some(names);
        follower.show();
        Ok(follower.known.last >= index.until())
    }

    /// What following has read so far, taken for what an open found.
    pub(super) fn follow_report(&self, duration: Duration) -> RecoveryReport {
        let known = self.following.as_ref().map(|known| known.lock().unwrap_or_else(PoisonError::into_inner));
        RecoveryReport { duration, ..known.map(|known| known.report.clone()).unwrap_or_default() }
    }

    /// Whether files have come or gone since they were read last, so that one that is missing is no loss.
    pub(super) fn is_behind(&self) -> bool {
        self.following.as_ref().is_some_and(|known| {
            let known = known.lock().unwrap_or_else(PoisonError::into_inner);
            Names::list(&**self.disk(), self.identity()).ok() != known.names
        })
    }
}

/// One refresh.
struct Follower<'a> {
    store: &'a Store,
    known: &'a mut Following,
    /// What the index has already, if this is the first time, and it was written down.
    index: Option<&'a WrittenIndex>,
    /// Keeps what snapshots show; `None` while there can be none.
    publication: Option<Publication<'a>>,
}

impl Follower<'_> {
    fn follow(&mut self) -> Result<()> {
        let disk = &**self.store.disk();
        for _ in 0..TRIES_MAX {
            let (names, diverged) = (Names::list(disk, self.store.identity())?, self.known.diverged);
            let followed = if self.is_current(&names) { self.grow_newest() } else { self.catch_up() };
            let Err(error) = followed else {
                self.known.names = Some(names);
                self.show();
                return Ok(());
            };
            let starts_over = self.known.diverged && !diverged;
            if !starts_over && Names::list(disk, self.store.identity())? == names {
                return Err(error);
            }
            yield_now();
        }
        let dir = disk.path().display();
        let text = format!("the files of {dir} changed {TRIES_MAX} times while they were listed; try again");
        Err(Error::new(ErrorKind::Io, text))
    }

    /// Whether nothing but the newest segment can have changed.
    fn is_current(&self, names: &Names) -> bool {
        // The id of a segment without records may be given again.
        let empty = self.newest().is_some_and(|newest| newest.end.offset == RECORDS_START);
        self.known.names.as_ref() == Some(names) && !empty && !self.known.diverged
    }

    fn newest(&self) -> Option<&Known> {
        self.known.alone.values().next_back()
    }

    fn grow_newest(&mut self) -> Result<()> {
        match self.newest().map(|newest| newest.segment.id()) {
            Some(id) => self.grow(id, None),
            None => Ok(()),
        }
    }

    /// Makes what was read what readers see.
    fn show(&mut self) {
        let last = self.known.last;
        self.store.watermark().show(last);
        self.store.watermark().settle(self.known.durable.min(last));
    }

    /// Brings what is in files that came into the index, and lets go of files that went.
    fn catch_up(&mut self) -> Result<()> {
        let store = self.store;
        let inventory = Inventory::take(&**store.disk(), store.identity())?;
        if self.known.diverged {
            self.start_over();
        }
        self.take(inventory)
    }

    fn take(&mut self, Inventory { files, ignored, .. }: Inventory) -> Result<()> {
        let store = self.store;
        self.let_go(&files)?;
        let (sources, total) = (self.sources(&files), files.iter().map(StoreFile::len).sum());
        let (mut before, mut done) = (Seqno::default(), 0);
        for (i, file) in files.iter().enumerate() {
            if u64::from(file.first_seqno()) != u64::from(before) + 1 {
                let what = format!("the first record is {}, {} was the one before", file.first_seqno(), before);
                return Err(self.diverged(file.path(), what));
            }
            before = match file {
                StoreFile::Segment(found) => self.take_segment(found, files.get(i + 1).map(StoreFile::first_seqno))?,
                StoreFile::Archive(archive) => self.take_archive(archive, &sources)?,
            };
            done += file.len();
            if let (Some(report), None) = (&store.settings().on_progress, &self.known.names) {
                report(Progress { phase: Phase::Recovery, done, total });
            }
        }
        self.known.report.ignored = ignored;
        store.spaces().drop_unsaid(before, |id| {
            apply::forget_space(store.registry(), store.large(), id);
            None
        });
        self.retire();
        Ok(())
    }

    /// The log is not what was followed.
    fn diverged(&mut self, path: &str, what: impl std::fmt::Display) -> Error {
        self.known.diverged = true;
        Error::corruption(path, 0, what)
    }

    /// Forgets all files (F5): what the index says of them goes once they were read anew.
    fn start_over(&mut self) {
        self.store.begin_era();
        let report = std::mem::take(&mut self.known.report);
        *self.known = Following { report, ..Following::default() };
        self.store.archives().clear();
        self.store.spaces().start_over();
    }

    /// Forgets segments whose files are gone, once they were read to their end (F4).
    fn let_go(&mut self, files: &[StoreFile]) -> Result<()> {
        let there: HashSet<_> = files
            .iter()
            .filter_map(|file| match file {
                StoreFile::Segment(found) => Some(found.header.epoch),
                StoreFile::Archive(_) => None,
            })
            .collect();
        let gone = self.known.alone.iter().filter(|(_, known)| !there.contains(&known.segment.epoch()));
        for id in gone.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.grow(id, None)?;
            if let Some(Known { segment, end }) = self.known.alone.remove(&id) {
                // Without a record it was given up, and never sealed.
                if segment.state() == State::Unsealed && end.offset > RECORDS_START {
                    return Err(self.diverged(segment.path(), "it went before it was sealed"));
                }
            }
        }
        Ok(())
    }

    /// The segments that are known and lie in none of these files as they are known: their records are elsewhere, or dead.
    fn sources(&self, files: &[StoreFile]) -> Vec<Hold<Segment>> {
        let archives = self.store.archives().all();
        let known = files.iter().filter_map(|file| match file {
            StoreFile::Archive(archive) => archives.iter().find(|known| is_same(known, archive)),
            StoreFile::Segment(_) => None,
        });
        let kept: HashSet<u64> = known.flat_map(|known| known.places.iter().copied()).chain(self.places()).collect();
        let mut segments = self.store.segments();
        segments.retain(|segment| !kept.contains(&segment.place()));
        segments
    }

    /// Where the registry has the segments in files of their own.
    fn places(&self) -> impl Iterator<Item = u64> {
        self.known.alone.values().map(|known| known.segment.place())
    }

    /// Takes in a segment in a file of its own, or what is new in it. Returns its last seqno.
    fn take_segment(&mut self, found: &Found, successor: Option<Seqno>) -> Result<Seqno> {
        let (id, store) = (found.header.id, self.store);
        if self.known.alone.get(&id).is_none_or(|known| known.segment.epoch() != found.header.epoch) {
            let (name, header) = (&found.name, &found.header);
            let file = store.disk().open(name, Access::Read).map_err(failed(&**store.disk(), "open", name))?;
            // A mapping must not reach beyond the file.
            let mode = if found.len < header.len { ReadMode::Positioned } else { store.settings().reading.mode };
            let reading = Reading { mode, ..store.settings().reading };
            let place = self.index.and_then(|index| index.place(&header.epoch));
            let place = place.map_or_else(|| store.registry().reserve(header.len), Ok)?;
            let segment = Segment::new(store.disk(), Home::alone(&file, name), header, place, RECORDS_START, reading);
            let segment = store.registry().add(segment, place, header.len);
            self.index.map(|index| index.take(&segment, store.large()));
            self.known.alone.insert(id, Known { segment, end: End::before(header.first_seqno) });
            self.known.report.segments += 1;
        }
        self.grow(id, successor)?;
        Ok(self.known.alone.get(&id).map_or(self.known.last, |known| known.end.last_seqno))
    }

    /// Brings what was written to a segment since it was looked at last into the index.
    fn grow(&mut self, id: SegmentId, successor: Option<Seqno>) -> Result<()> {
        let Some(Known { segment, end: from }) = self.known.alone.get(&id).cloned() else { return Ok(()) };
        if segment.state() == State::Sealed {
            return Ok(());
        }
        let (file, header) = (segment.file()?, segment.header_facts(self.store.identity().database));
        let readable = file.len().map_err(|error| Error::io(format!("cannot look at {}", segment.path()), error))?;
        let unsealed = Unsealed {
            file: &*file,
            path: segment.path(),
            salt: segment.salt(),
            len: header.len,
            readable,
            first_seqno: header.first_seqno,
            expected: successor.map(|next| (u64::from(next) - 1).into()),
            source: Source::Cache,
        };
        let footer = chain::footer(&unsealed, &header)?;
        let (end, horizon) = match footer {
            Some(end) => (end, end.offset),
            None if from.offset == RECORDS_START => (first_end(&unsealed)?, 0),
            None if successor.is_none() && !has_more(&unsealed, from.offset)? => return Ok(()),
            None => unsealed.find_end_from(from)?,
        };
        let beyond = unsealed.expected.is_some_and(|expected| expected < end.last_seqno);
        if end.offset < segment.tail().published() || end.last_seqno < from.last_seqno || beyond {
            let what = format!("it ends with record {}; {} was there", end.last_seqno, from.last_seqno);
            return Err(self.diverged(segment.path(), what));
        }
        self.replay(&segment, &*file, &from, &end, horizon)?;
        if footer.is_some() || successor.is_some() {
            segment.set_state(State::Sealed);
            self.known.durable = self.known.durable.max(end.last_seqno);
        }
        Ok(())
    }

    /// Brings the records of a segment between two ends into the index. A replay that failed is repeated from its start.
    fn replay(&mut self, segment: &Hold<Segment>, file: &dyn File, from: &End, end: &End, horizon: u64) -> Result<()> {
        let store = self.store;
        if horizon >= from.offset {
            self.known.durable = self.known.durable.max(from.last_seqno);
        }
        let imaged = self.imaged(segment, end)?;
        segment.tail().publish(end.offset);
        let mut gathered = Gathered::new(segment.place(), Rivals::Older);
        // What an index leads to was durable when that was written.
        let (mut durable, mut records) = (self.known.durable.max(imaged.min(end.last_seqno)), 0);
        let mut index_record = |record: &Scanned<'_>| {
            if record.offset + record.header.record_len() <= horizon {
                durable = durable.max(record.header.seqno);
            }
            if record.header.seqno <= imaged {
                return Ok(());
            }
            records += 1;
            gathered.add(record, store.hash(record.key()));
            gathered.take(AHEAD).map_or(Ok(()), |whole| self.apply(&whole))
        };
        let read = match end.last_seqno > imaged {
            true => read_records(file, segment, Some(from), end, &mut index_record),
            false => Ok(()),
        };
        match read {
            Ok(()) => self.apply(&gathered.finish(segment.path(), end)?)?,
            Err(error) if from.offset == RECORDS_START && imaged < segment.first_seqno() => {
                self.take_hint(segment, end, error)?;
            }
            Err(error) => return Err(error),
        }
        self.known.durable = self.known.durable.max(durable);
        self.known.last = self.known.last.max(end.last_seqno);
        self.known.report.records += records;
        if let Some(known) = self.known.alone.get_mut(&segment.id()) {
            known.end = *end;
        }
        Ok(())
    }

    /// The last record of a segment that is in the written index, or a later one.
    ///
    /// # Errors
    /// `Corruption` if that leads to records behind this end: what it was written of is gone.
    fn imaged(&self, segment: &Segment, end: &End) -> Result<Seqno> {
        match self.index.filter(|index| index.place(&segment.epoch()).is_some()) {
            None => Ok(Seqno::default()),
            Some(index) if index.reaches(segment, end) => Ok(index.facts().from),
            Some(_) => Err(Error::corruption(segment.path(), end.offset, "the written index has more of it")),
        }
    }

    /// Takes in an archive, if it is new here. Returns the last seqno of what it stands for.
    fn take_archive(&mut self, archive: &Archive, sources: &[Hold<Segment>]) -> Result<Seqno> {
        let (store, (_, last)) = (self.store, archive.seqnos());
        let known = store.archives().all();
        if known.iter().any(|known| is_same(known, archive)) {
            return Ok(last);
        }
        let mut places = Vec::new();
        for member in archive.members(&**store.disk(), store.settings().reading.mode)? {
            places.push(self.take_member(member, sources)?);
        }
        let covered = |known: &&Arc<Adopted>| archive.covers.0 <= known.covers.0 && known.covers.1 <= archive.covers.1;
        let replaced: Vec<_> = known.iter().filter(covered).map(|known| known.id).collect();
        store.archives().replace(Arc::new(Adopted::new(archive, places)), &replaced);
        self.known.last = self.known.last.max(last);
        self.known.durable = self.known.durable.max(last);
        Ok(last)
    }

    /// Takes in a segment of an archive. Returns where the registry has it.
    fn take_member(&mut self, member: Member, sources: &[Hold<Segment>]) -> Result<u64> {
        let (store, last, end) = (self.store, self.known.last, member.end);
        let reading = store.settings().reading;
        let is_whole = end.last_seqno <= last && member.header.kind == SegmentKind::Log;
        let is_old = |old: &&Hold<Segment>| {
            let same = old.kind() == SegmentKind::Log && old.epoch() == member.header.epoch;
            same && old.tail().published() == end.offset
        };
        // Of two, the one that was read last: the other is from before the log had to be read anew.
        if let Some(old) = sources.iter().rev().find(is_old).filter(|_| is_whole) {
            // As it was: the index need not know.
            let new = member.open(store.disk(), old.place(), reading).in_place_of(old);
            store.registry().replace(new, old.place());
            return Ok(old.place());
        }
        let file = member.home.file();
        let place = self.index.and_then(|index| index.place(&member.header.epoch));
        let segment = archived::register(store.disk(), store.registry(), reading, member, place)?;
        let listed = self.index.is_some_and(|index| index.take(&segment, store.large()));
        let rivals = if self.index.is_none() || listed { Rivals::Older } else { Rivals::Newer };
        let (imaged, mut records) = (self.imaged(&segment, &end)?, 0);
        let mut gathered = Gathered::new(segment.place(), rivals);
        let mut index_record = |record: &Scanned<'_>| {
            if record.header.seqno <= imaged {
                return Ok(());
            }
            records += 1;
            let hash = store.hash(record.key());
            // F2.
            if record.header.seqno <= last {
                return move_here(store, &segment, sources, record, hash);
            }
            gathered.add(record, hash);
            gathered.take(AHEAD).map_or(Ok(()), |whole| self.apply(&whole))
        };
        let read = match end.last_seqno > imaged {
            true => read_records(&*file, &segment, None, &end, &mut index_record),
            false => Ok(()),
        };
        match read {
            Ok(()) => self.apply(&gathered.finish(segment.path(), &end)?)?,
            Err(error) if sources.is_empty() && rivals == Rivals::Older && imaged < segment.first_seqno() => {
                self.take_hint(&segment, &end, error)?;
            }
            Err(error) => return Err(error),
        }
        self.known.report.segments += 1;
        self.known.report.records += records;
        Ok(segment.place())
    }

    /// Takes what its hint lists for the records of a sealed segment whose chain is broken, of which the index has nothing.
    ///
    /// # Errors
    /// `error`, which says where, if there is no such hint, or snapshots would have to keep what these records replace: a hint does not tell
    /// when they were written.
    fn take_hint(&mut self, segment: &Hold<Segment>, end: &End, error: Error) -> Result<()> {
        let store = self.store;
        let is_its_own = error.damage().is_some_and(|(file, ..)| file == segment.path());
        let shown = self.publication.as_ref().is_some_and(Publication::keeps_any);
        let found = hinted::find(&**store.disk(), store.identity(), store.hasher(), segment, end);
        let Some(found) = found.filter(|_| is_its_own && !shown) else { return Err(error) };
        let Ok(hint) = found.hint() else { return Err(error) };
        let live = segment.live();
        hint.large().filter(|(id, len)| live.name(*id, *len)).for_each(|(_, len)| store.large().add(len));
        // What was read of it so far is indexed once more, with the same result.
        hinted::show_all(&hint, segment, AHEAD, &mut Seen::default(), |listing| {
            listing.apply(store.registry(), store.spaces(), store.large(), store.hasher())
        })?;
        self.known.report.damaged.push(segment.path().into());
        self.known.report.hinted += 1;
        Ok(())
    }

    /// Brings records into the index.
    fn apply(&self, gathered: &Gathered) -> Result<()> {
        let (registry, spaces, large) = (self.store.registry(), self.store.spaces(), self.store.large());
        let keep = |change: &Change<'_>, seqno| {
            self.publication.as_ref().map_or(Ok(()), |publication| publication.keep(change, seqno))
        };
        let shown = |_| self.publication.as_ref().and_then(Publication::shown);
        gathered.apply(registry, spaces, large, keep, shown)
    }

    /// Lets go of the files that are gone (F3).
    fn retire(&self) {
        let store = self.store;
        let archived = store.archives().all();
        let there: HashSet<u64> =
            archived.iter().flat_map(|archive| archive.places.clone()).chain(self.places()).collect();
        let mut gone = store.segments();
        gone.retain(|segment| !there.contains(&segment.place()));
        if gone.iter().any(|segment| segment.live_records() > 0) {
            let is_gone = |at: Location| {
                let found = gone.iter().find(|segment| segment.has_place(at.place()));
                if let (Some(segment), Some(publication)) = (found, &self.publication) {
                    publication.keep_gone(segment, at, self.known.last);
                }
                found.is_some()
            };
            for space in store.spaces().all() {
                apply::index_sweep(store.registry(), &space.whole_table(), store.large(), is_gone);
            }
        }
        gone.iter().for_each(|segment| store.registry().retire(segment.place()));
    }
}

/// Points the index at a copy, if it says the original.
fn move_here(store: &Store, copy: &Segment, sources: &[Hold<Segment>], record: &Scanned<'_>, hash: u64) -> Result<()> {
    if !matches!(record.header.kind, Kind::Put | Kind::PutLarge) {
        return Ok(());
    }
    let (location, len) = (Location::new(copy.place(), record.offset), record.header.record_len());
    let Some(space) = store.spaces().get(record.header.keyspace) else { return Ok(()) };
    let to = Change { space: &space, hash, key: record.key(), location, len, large: record.large };
    let is_source = |place| sources.iter().any(|source| source.has_place(place));
    apply::index_move(store, &to, record.header.seqno, is_source, &Pin::new())
}

fn is_same(known: &Adopted, archive: &Archive) -> bool {
    (known.id, known.covers, known.seqnos, known.len) == (archive.id, archive.covers, archive.seqnos(), archive.len)
}

/// Where a segment ends that is looked at for the first time. Beside a writer, what vouches for a place where no record stands may have
/// been written after that place was looked at: it is damage only if there is none at a second look.
fn first_end(unsealed: &Unsealed<'_>) -> Result<End> {
    let mut doubted = None;
    loop {
        match unsealed.find_end() {
            Err(error) if error.damage().map(|(_, at, _)| at) > doubted => {
                doubted = error.damage().map(|(_, at, _)| at);
            }
            ending => return ending.map(|ending| ending.end),
        }
    }
}

/// Whether something stands at `offset` that could be a record: most looks find nothing, and should cost little.
fn has_more(unsealed: &Unsealed<'_>, offset: u64) -> Result<bool> {
    let mut bytes = [0; RECORD_HEADER_LEN];
    if offset + bytes.len() as u64 > unsealed.readable {
        return Ok(false);
    }
    unsealed.source.read_exact(unsealed.file, unsealed.path, &mut bytes, offset)?;
    Ok(Header::decode(&bytes).is_ok())
}
