//! Which files a store has, and which of them count.
//!
//! Floor 3. Imports `address`, `error`, `format`, `limits`, `platform`, `sabotage`, `store`.
//!
//! The directory describes itself. Every id of a segment, from 1 on, is that of a file in `segments/` or covered by one
//! archive; what an archive covers or replaces, though it is still there, is what a job left half done.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::address::{ArchiveId, SegmentId, Seqno};
use crate::error::{Error, ErrorKind, Result};
use crate::format::identity::Identity;
use crate::format::names::{self, ArchivesEntry, SegmentsEntry};
use crate::format::segment::{SegmentHeader, SegmentKind};
use crate::limits::{RECORDS_START, SEGMENT_SIZE_MAX};
use crate::platform::{Access, Disk, File};
use crate::sabotage::{Sabotage, planted};
use crate::store::archived::{Archive, read_header};
use crate::store::{failed, pending};

/// The files of a store.
pub(super) struct Inventory {
    /// Those that count, in the order of their records' age.
    pub(super) files: Vec<StoreFile>,
    /// The id of the next segment.
    pub(super) next_id: SegmentId,
    pub(super) next_archive: ArchiveId,
    /// Names that never became final.
    pub(super) leftovers: Vec<String>,
    /// What an archive took the place of.
    pub(super) superseded: Vec<String>,
    /// Names that are none of ours, left alone.
    pub(super) ignored: Vec<String>,
    /// Of a copy: names that do not count.
    pending: BTreeSet<String>,
}

/// A file with records.
pub(super) enum StoreFile {
    Segment(Found),
    Archive(Archive),
}

/// A segment in a file of its own.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) path: String,
    /// Of the file; that of the segment is in the header.
    pub(super) len: u64,
    pub(super) header: SegmentHeader,
}

impl StoreFile {
    /// The segments' ids that it stands for, first and last.
    fn ids(&self) -> (SegmentId, SegmentId) {
        match self {
            StoreFile::Segment(found) => (found.header.id, found.header.id),
            StoreFile::Archive(archive) => archive.covers,
        }
    }

    /// Whether it is this segment, in a file of its own.
    pub(super) fn is_segment(&self, id: SegmentId) -> bool {
        matches!(self, StoreFile::Segment(found) if found.header.id == id)
    }

    pub(super) fn path(&self) -> &str {
        match self {
            StoreFile::Segment(found) => &found.path,
            StoreFile::Archive(archive) => &archive.path,
        }
    }

    pub(super) fn archive(&self) -> Option<&Archive> {
        match self {
            StoreFile::Segment(_) => None,
            StoreFile::Archive(archive) => Some(archive),
        }
    }

    pub(super) fn first_seqno(&self) -> Seqno {
        match self {
            StoreFile::Segment(found) => found.header.first_seqno,
            StoreFile::Archive(archive) => archive.seqnos().0,
        }
    }

    /// Bytes to look at.
    pub(super) fn len(&self) -> u64 {
        match self {
            StoreFile::Segment(found) => found.header.len,
            StoreFile::Archive(archive) => archive.len,
        }
    }
}

impl Inventory {
    /// Lists the directory, reads what every archive says of itself and the header of every segment, and checks that nothing
    /// is missing.
    ///
    /// # Errors
    /// `Corruption`, naming the file; `FormatVersion`; as the system says.
    pub(super) fn take(disk: &dyn Disk, identity: &Identity) -> Result<Inventory> {
        let mut inventory = Inventory {
            files: Vec::new(),
            next_id: SegmentId::FIRST,
            next_archive: ArchiveId(1),
            leftovers: Vec::new(),
            superseded: Vec::new(),
            ignored: Vec::new(),
            pending: pending::read(disk, identity)?,
        };
        // Segments first: one that a job packs between the two listings is there twice, and not missing.
        let mut segments = inventory.list_segments(disk)?;
        inventory.take_archives(disk, identity)?;
        // Beside a writer: what a job left out of an archive is replaced by something in a segment that may be newer than
        // the first listing.
        let last = segments.last().copied();
        let newer = segment_names(disk)?.into_iter().filter_map(|name| match names::parse_segments_entry(&name) {
            SegmentsEntry::Segment(id) => {
                Some(id).filter(|id| Some(*id) > last && inventory.counts(&names::segment(*id)))
            }
            _ => None,
        });
        segments.extend(newer.collect::<Vec<_>>());
        let covered = |id: SegmentId| inventory.files.iter().any(|file| file.ids().0 <= id && id <= file.ids().1);
        let (old, counting): (Vec<_>, Vec<_>) = segments.into_iter().partition(|id| covered(*id));
        inventory.superseded.extend(old.into_iter().map(names::segment));
        for id in counting {
            if let Some(found) = look_at(disk, identity, id)? {
                inventory.files.push(StoreFile::Segment(found));
            }
        }
        inventory.check_chain(disk)?;
        Ok(inventory)
    }

    /// Whether a file of this name is part of the store.
    fn counts(&self, name: &str) -> bool {
        !self.pending.contains(name)
    }

    /// The ids of the segments in files of their own.
    fn list_segments(&mut self, disk: &dyn Disk) -> Result<BTreeSet<SegmentId>> {
        let folder = disk.path().join(names::SEGMENTS);
        let mut segments = BTreeSet::new();
        for name in segment_names(disk)? {
            match names::parse_segments_entry(&name) {
                SegmentsEntry::Segment(id) if self.counts(&names::segment(id)) => drop(segments.insert(id)),
                SegmentsEntry::Segment(_) => {}
                SegmentsEntry::New(id) => self.leftovers.push(names::new_segment(id)),
                SegmentsEntry::Foreign if is_segment(name.trim_end_matches('/')) => {
                    let what = "it is a folder, where a segment should be; restore that from a backup";
                    return Err(Error::corruption(folder.join(name).display(), 0, what));
                }
                SegmentsEntry::Foreign => self.ignored.push(name),
            }
        }
        Ok(segments)
    }

    fn take_archives(&mut self, disk: &dyn Disk, identity: &Identity) -> Result<()> {
        let entries = match disk.list(names::ARCHIVES) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(disk, "list", names::ARCHIVES)(error)),
        };
        let mut archives = BTreeMap::new();
        for name in entries {
            match names::parse_archives_entry(&name) {
                ArchivesEntry::Archive(id) if !self.counts(&names::archive(id)) => {}
                ArchivesEntry::Archive(id) => {
                    archives.insert(id, Archive::open(disk, &names::archive(id), id, identity));
                }
                ArchivesEntry::New(id) => self.leftovers.push(names::new_archive(id)),
                ArchivesEntry::Foreign => self.ignored.push(name),
            }
        }
        if let Some(last) = archives.keys().next_back() {
            let path = disk.path().join(names::archive(*last));
            let next = last.0.checked_add(1).map(ArchiveId);
            self.next_archive =
                next.ok_or_else(|| Error::corruption(path.display(), 0, "no id is left after this one"))?;
        }
        let known = archives.values().filter_map(|archive| archive.as_ref().ok());
        let replaced: BTreeSet<ArchiveId> = match planted(Sabotage::IgnoreReplaces) {
            true => BTreeSet::new(),
            false => known.flat_map(|archive| archive.manifest().replaces.iter().copied()).collect(),
        };
        for (id, archive) in archives {
            // One that was replaced may be damaged: it is in nobody's way.
            if replaced.contains(&id) {
                self.superseded.push(names::archive(id));
            } else {
                self.files.push(StoreFile::Archive(archive?));
            }
        }
        Ok(())
    }

    /// Brings the files into their order, and sees to it that they are all there.
    fn check_chain(&mut self, disk: &dyn Disk) -> Result<()> {
        self.files.sort_by_key(StoreFile::ids);
        let mut expected = SegmentId::FIRST;
        for file in &self.files {
            let (first, last) = file.ids();
            if first > expected {
                let path = disk.path().join(names::segment(expected));
                let what = format_args!("the file is missing, though {first} is there; restore it from a backup");
                return Err(Error::corruption(path.display(), 0, what));
            }
            if first < expected {
                let what = format_args!("it has segment {first}, which another archive has, too; remove one of them");
                return Err(Error::corruption(file.path(), 0, what));
            }
            expected = last.next().ok_or_else(|| Error::corruption(file.path(), 0, "no id is left after this one"))?;
        }
        self.next_id = expected;
        Ok(())
    }
}

/// What lies in `segments/`.
fn segment_names(disk: &dyn Disk) -> Result<Vec<String>> {
    disk.list(names::SEGMENTS).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            let folder = disk.path().join(names::SEGMENTS);
            Error::corruption(folder.display(), 0, "the folder is missing; restore it from a backup")
        }
        _ => failed(disk, "list", names::SEGMENTS)(error),
    })
}

/// Opens one segment and checks that it is whole, ours and the one that its name says.
fn look_at(disk: &dyn Disk, identity: &Identity, id: SegmentId) -> Result<Option<Found>> {
    let name = names::segment(id);
    let path = disk.path().join(&name).display().to_string();
    let file = disk.open(&name, Access::Read).map_err(failed(disk, "open", &name))?;
    let len = file.len().map_err(failed(disk, "read the length of", &name))?;
    let header = match check_header(identity, id, &*file, &path, len) {
        Err(error) if planted(Sabotage::BadHeaderIsLeftover) && error.kind() == ErrorKind::Corruption => {
            disk.remove(&name).map_err(failed(disk, "remove", &name))?;
            return Ok(None);
        }
        other => other?,
    };
    Ok(Some(Found { name, path, len, header }))
}

fn check_header(identity: &Identity, id: SegmentId, file: &dyn File, path: &str, len: u64) -> Result<SegmentHeader> {
    if len < RECORDS_START {
        return Err(Error::corruption(path, len, "the file ends before its first record"));
    }
    let header = read_header(file, path)?;
    if header.database != identity.database {
        return Err(Error::corruption(path, 0, "the file belongs to another store"));
    }
    if header.kind != SegmentKind::Log {
        return Err(Error::corruption(path, 0, "the header is that of a packed segment, which does not belong here"));
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

fn is_segment(name: &str) -> bool {
    matches!(names::parse_segments_entry(name), SegmentsEntry::Segment(_))
}
