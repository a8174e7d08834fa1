//! One job: some files become one archive, and are gone.
//!
//! Floor 4. Imports `address`, `compact`, `error`, `format`, `platform`, `reclaim`, `sabotage`, `segment`, `store`, `sync`, `zipfile`.
//!
//! ```text
//! write under a first name, sync          nothing has changed yet: what fails here costs time
//! sync the log                            what was taken for dead is replaced by something durable
//! read back
//! final name, sync of the folder          from here on an open counts the archive, and not its sources
//! register, swap                          readers move over, one record at a time
//! remove the sources, sync the folders    C1
//! retire them                             their memory goes with whoever shows it last
//! ```

use std::io;
use std::ops::RangeInclusive;

use crate::address::{ArchiveId, LargeId, Location, SegmentId, Seqno};
use crate::compact::older::Older;
use crate::compact::pace::Pace;
use crate::compact::pack;
use crate::compact::rewrite::{Rewriter, Rewritten};
use crate::compact::swap;
use crate::error::{Error, Result};
use crate::format::manifest::Manifest;
use crate::format::names;
use crate::format::segment::SegmentKind;
use crate::platform::Disk;
use crate::reclaim::hold::Hold;
use crate::sabotage::{Sabotage, planted};
use crate::segment::Segment;
use crate::segment::large::doomed::DoomedFiles;
use crate::store::Store;
use crate::store::archived::{self, Archive};
use crate::store::archives::Adopted;
use crate::store::superseded;
use crate::store::unit::Unit;
use crate::sync::Arc;
use crate::zipfile::write::Writer;

/// What a job did.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub(super) records: u64,
    pub(super) tombstones_dropped: u64,
    /// Bytes of the archive.
    pub(super) written: u64,
    /// Bytes of the files that are gone.
    pub(super) freed: u64,
    pub(super) segments: u64,
    /// Why the sources are still there, if they are: the next open removes them.
    pub(super) left: Option<io::ErrorKind>,
}

/// What a job is to do.
pub(super) struct Job<'a> {
    pub(super) store: &'a Store,
    pub(super) id: ArchiveId,
    /// All files, oldest first, and which of them it takes.
    pub(super) units: &'a [Unit],
    pub(super) first: usize,
    pub(super) end: usize,
    /// Whether live records are copied; else segments are packed as they are.
    pub(super) rewrite: bool,
    pub(super) pace: &'a Pace<'a>,
}

/// A segment of the archive, open.
enum Registered {
    InPlace(Box<Segment>),
    Packed(Hold<Segment>),
}

impl Registered {
    fn packed(&self) -> Option<&Hold<Segment>> {
        match self {
            Registered::InPlace(_) => None,
            Registered::Packed(packed) => Some(packed),
        }
    }
}

/// An error after which it is unknown which files an open would count: no job may follow.
pub(super) struct Stuck(pub(super) Error);

impl<'a> Job<'a> {
    fn sources(&self) -> &'a [Unit] {
        &self.units[self.first..self.end]
    }

    /// The segments that it takes, oldest first.
    fn segments(&self) -> Vec<Hold<Segment>> {
        self.sources().iter().flat_map(Unit::segments).cloned().collect()
    }

    /// Runs it.
    ///
    /// # Errors
    /// The inner one leaves everything as it was, but for the next archive's id. `Stuck` as it says.
    pub(super) fn run(self) -> Result<Result<Outcome>, Stuck> {
        let first_name = names::new_archive(self.id);
        let disk = &**self.store.disk();
        let name = names::archive(self.id);
        let path = disk.path().join(&name).display().to_string();
        let written = self.write(&first_name).and_then(|rewritten| {
            let mut archive = self.read_back(&first_name, &rewritten)?;
            (archive.name, archive.path) = (name.clone(), path.clone());
            self.store.check_poison()?;
            self.store.check_lock()?;
            let registered = self.register(&archive)?;
            Ok((rewritten, archive, registered))
        });
        let (rewritten, archive, registered) = match written {
            Ok(written) => written,
            Err(error) => {
                // Best effort: the next open removes it.
                let _ = disk.remove(&first_name);
                return Ok(Err(error));
            }
        };
        let unnamed = format!("cannot name {path}");
        if let Err(error) = disk.rename(&first_name, &name) {
            if disk.remove(&first_name).is_err() {
                return Err(Stuck(Error::io(unnamed, error)));
            }
            // It still had its first name, and so no other.
            self.unregister(&registered);
            return Ok(Err(Error::io(unnamed, error)));
        }
        if !planted(Sabotage::ArchiveNameUnsynced) {
            // BARRIER: C1. The archive has its name for good before anything rests on it.
            disk.sync_dir(names::ARCHIVES).map_err(|error| Stuck(Error::io(unnamed, error)))?;
        }
        self.take_over(&archive, registered, &rewritten).map(Ok)
    }

    /// Writes the archive under its first name, durably.
    fn write(&self, name: &str) -> Result<Rewritten> {
        let disk = &**self.store.disk();
        make_folder(disk).map_err(|error| Error::io(format!("cannot make {}", names::ARCHIVES), error))?;
        let path = disk.path().join(name).display().to_string();
        let failed = |error| Error::io(format!("cannot create {path}"), error);
        let file = match disk.create(name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                disk.remove(name).and_then(|()| disk.create(name)).map_err(failed)?
            }
            file => file.map_err(failed)?,
        };
        let segments = self.segments();
        let (first_seqno, last_seqno) = self.seqnos()?;
        let mut writer = Writer::new(file, path);
        let rewritten = match self.rewrite {
            true => {
                let older = Older::new(self.store, &self.units[..self.first]);
                let mut rewriter = Rewriter::new(self.store, &mut writer, &older, self.pace, &segments, first_seqno);
                rewriter.take_all(&segments)?;
                rewriter.finish()?
            }
            false => pack::pack(self.store, &mut writer, self.pace, &segments)?,
        };
        if planted(Sabotage::SourcesGoFirst) {
            let _ = superseded::remove(disk, &self.superseded());
        }
        let mut replaces = self.replaced();
        replaces.sort_unstable();
        // A record may have been left out for anything that is in the index by now, and nothing else is.
        let as_of = if self.rewrite { self.store.log().last_seqno } else { last_seqno };
        let manifest = Manifest {
            database: self.store.identity().database,
            archive: self.id,
            index: self.store.index_id(),
            covers: vec![self.covers()],
            replaces,
            first_seqno,
            last_seqno,
            as_of,
            keyspaces: self.store.spaces().names(),
            entries: rewritten.entries.clone(),
        };
        writer.finish(&manifest)?;
        if self.rewrite && !planted(Sabotage::DeadBeforeDurable) {
            // C2: a record that was left out has a newer one in its place, which no power cut may take back once it is gone.
            self.store.sync_log()?;
        }
        Ok(rewritten)
    }

    /// Reads the archive against what was written.
    fn read_back(&self, name: &str, rewritten: &Rewritten) -> Result<Archive> {
        let (disk, identity) = (&**self.store.disk(), self.store.identity());
        let archive = Archive::open(disk, name, self.id, identity)?;
        if !planted(Sabotage::ArchiveUnverified) {
            archive.verify(disk, rewritten.rotten)?;
        }
        Ok(archive)
    }

    /// Opens the archive's segments: packed ones at places of their own, where nothing leads to yet, and others for the places
    /// that they have. On an error the first are gone again.
    fn register(&self, archive: &Archive) -> Result<Vec<Registered>> {
        let (store, disk) = (self.store, self.store.disk());
        let reading = store.settings().reading;
        let (sources, mut registered) = (self.segments(), Vec::new());
        for member in archive.members(&**disk, reading.mode)? {
            let old = sources.iter().find(|old| old.kind() == SegmentKind::Log && old.epoch() == member.header.epoch);
            registered.push(match old {
                Some(old) => Registered::InPlace(Box::new(member.open(disk, old.place(), reading).in_place_of(old))),
                None => match archived::register(disk, store.registry(), reading, member, None) {
                    Ok(packed) => Registered::Packed(packed),
                    Err(error) => {
                        self.unregister(&registered);
                        return Err(error);
                    }
                },
            });
        }
        Ok(registered)
    }

    /// Takes back what `register` did.
    fn unregister(&self, registered: &[Registered]) {
        let packed = registered.iter().filter_map(Registered::packed);
        packed.for_each(|packed| self.store.registry().retire(packed.place()));
    }

    /// From sources to archive: the registry, the index, the directory.
    fn take_over(
        &self,
        archive: &Archive,
        registered: Vec<Registered>,
        rewritten: &Rewritten,
    ) -> Result<Outcome, Stuck> {
        let (store, disk) = (self.store, self.store.disk());
        let (segments, mut places) = (self.segments(), Vec::new());
        if planted(Sabotage::IndexBeforeSwap) {
            let _ = store.write_index();
        }
        let mut needed = rewritten.needed.iter();
        for segment in registered {
            match segment {
                // As it was: places stay, and the index need not know.
                Registered::InPlace(new) => {
                    let place = new.place();
                    store.registry().replace(*new, place);
                    places.push(place);
                }
                Registered::Packed(packed) => {
                    packed.note_needed(needed.next().copied().unwrap_or(0));
                    segments.iter().for_each(|source| packed.legacy().inherit(source.legacy()));
                    swap::swap(store, &packed, &segments).map_err(Stuck)?;
                    places.push(packed.place());
                }
            }
        }
        self.check_left(&segments, &places).map_err(Stuck)?;
        let adopted = Arc::new(Adopted::new(archive, places));
        let freed = self.freed();
        for unit in self.sources() {
            let pinned = store.pinned().file(unit.file_bytes());
            unit.segments().iter().for_each(|segment| segment.pin(&pinned));
        }
        // Nobody finds them any more before their files go: who looks through all files must not miss one.
        store.archives().replace(Arc::clone(&adopted), &self.replaced());
        for source in segments.iter().filter(|source| !adopted.places.contains(&source.place())) {
            store.registry().retire(source.place());
        }
        for source in &segments {
            // Best effort: who shows one that is read by position, and could not be kept open, gets an error (R3).
            let _ = source.keep_file();
        }
        let left = superseded::remove(&**disk, &self.superseded()).err().map(|error| error.kind());
        if left.is_none() {
            adopted.settle();
        }
        for id in self.sources().iter().filter(|unit| unit.archive().is_none()).map(|unit| unit.ids().0) {
            // Best effort: a hint without its segment means nothing.
            let _ = disk.remove(&names::hint(id));
        }
        doom(store, &segments, &rewritten.dead_large);
        Ok(Outcome {
            records: rewritten.records,
            tombstones_dropped: rewritten.tombstones_dropped,
            written: archive.len,
            freed,
            segments: segments.len() as u64,
            left,
        })
    }

    /// Whether the index says none of the sources any more, but those that stay at their places.
    ///
    /// # Errors
    /// `Corruption` if it does: a record that was copied could not be read when it was to be moved.
    fn check_left(&self, sources: &[Hold<Segment>], places: &[u64]) -> Result<()> {
        let leaving = || sources.iter().filter(|source| !places.contains(&source.place()));
        // A writer counts a record out when it has left the index already.
        if leaving().all(|source| source.live_records() == 0) {
            return Ok(());
        }
        let mut left = None;
        for space in self.store.spaces().all() {
            space.whole_table().walk(|locations, _| {
                let found = |at: &Location| leaving().find(|source| source.has_place(at.place()));
                left = left.take().or_else(|| locations.iter().find_map(found));
                true
            });
        }
        match left {
            None => Ok(()),
            Some(source) => Err(Error::corruption(source.path(), 0, "a record of it could not be moved")),
        }
    }

    /// The ids of the segments that the sources are or cover.
    fn covers(&self) -> RangeInclusive<SegmentId> {
        let (first, last) = (&self.sources()[0], &self.sources()[self.sources().len() - 1]);
        let alone = self.sources().iter().find(|unit| unit.archive().is_none());
        match alone.filter(|_| planted(Sabotage::CoversForgotten)) {
            Some(unit) => unit.ids().0..=last.ids().1,
            None => first.ids().0..=last.ids().1,
        }
    }

    /// The seqnos of all that was written to them.
    fn seqnos(&self) -> Result<(Seqno, Seqno)> {
        let first = |unit: &Unit| match unit {
            Unit::Segment([segment]) => segment.first_seqno(),
            Unit::Archive(archive, _) => archive.seqnos.0,
        };
        let last = match &self.sources()[self.sources().len() - 1] {
            Unit::Segment([segment]) => segment.footer()?.last_seqno,
            Unit::Archive(archive, _) => archive.seqnos.1,
        };
        Ok((first(&self.sources()[0]), last))
    }

    /// The archives that go, oldest records first.
    fn replaced(&self) -> Vec<ArchiveId> {
        self.sources().iter().filter_map(Unit::archive).map(|archive| archive.id).collect()
    }

    /// The names that go.
    fn superseded(&self) -> Vec<String> {
        let name = |unit: &Unit| match unit {
            Unit::Segment([segment]) => names::segment(segment.id()),
            Unit::Archive(archive, _) => archive.name.clone(),
        };
        self.sources().iter().map(name).collect()
    }

    /// Bytes of the files that go.
    fn freed(&self) -> u64 {
        self.sources().iter().map(Unit::file_bytes).sum()
    }
}

/// The files of large values that nobody names any more go with the last who shows one of the records that did.
fn doom(store: &Store, segments: &[Hold<Segment>], dead: &[(LargeId, u64)]) {
    if dead.is_empty() {
        return;
    }
    let doomed = Arc::new(DoomedFiles::new(store.large(), dead));
    segments.iter().for_each(|segment| segment.legacy().doom(&doomed));
}

/// Makes the folder of archives, if need be, for good.
fn make_folder(disk: &dyn Disk) -> io::Result<()> {
    match disk.create_dir(names::ARCHIVES) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // BARRIER: the folder has its name before an archive in it takes the place of anything: whoever made it may have been killed
    // before it could see to that.
    disk.sync_dir("")
}
