//! An archive of the store, open: the segments in it, which are read like those in files of their own.
//!
//! Floor 3. Imports `address`, `error`, `format`, `limits`, `platform`, `reclaim`, `segment`, `store`, `sync`, `zipfile`.

use std::io;

use crate::address::{ArchiveId, SegmentId, Seqno};
use crate::error::{Error, Result};
use crate::format::identity::Identity;
use crate::format::manifest::{Manifest, ManifestEntry};
use crate::format::names::{self, SegmentEntry};
use crate::format::segment::{Footer, SegmentHeader, SegmentKind};
use crate::limits::{FOOTER_LEN, HEADER_COPY, RECORDS_START, SECTOR};
use crate::platform::{Access, Disk, File, Mapping};
use crate::reclaim::hold::Hold;
use crate::segment::home;
use crate::segment::home::{Entry, Home, Unpack};
use crate::segment::registry::Registry;
use crate::segment::scan::{Scan, Scanned, Step, Values};
use crate::segment::source::Source;
use crate::segment::{ReadMode, Reading, Segment, State};
use crate::store::failed;
use crate::store::inventory::StoreFile;
use crate::store::torn::End;
use crate::sync::Arc;
use crate::zipfile::chunked::Reader;
use crate::zipfile::read::Contents;

/// An archive whose manifest and directory were read and found right.
#[derive(Debug)]
pub(crate) struct Archive {
    pub(crate) id: ArchiveId,
    /// Bytes of the file.
    pub(crate) len: u64,
    /// The ids of the segments whose place it takes, first and last.
    pub(crate) covers: (SegmentId, SegmentId),
    contents: Contents,
    /// In the store's directory.
    pub(crate) name: String,
    /// For messages.
    pub(crate) path: String,
    pub(crate) file: Arc<dyn File>,
}

impl Unpack for Reader {
    fn read_at(&self, archive: &dyn File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_at(archive, bytes, offset)
    }

    fn read_device_at(&self, archive: &dyn File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_device_at(archive, bytes, offset)
    }
}

/// A segment in an archive.
pub(crate) struct Member {
    pub(crate) home: Home,
    pub(crate) path: String,
    pub(crate) header: SegmentHeader,
    /// Where its records end, and which is the last.
    pub(super) end: End,
}

impl Member {
    /// The seqno of its last record, and how many it has, as its footer says.
    pub(crate) fn last(&self) -> (Seqno, u64) {
        (self.end.last_seqno, self.end.record_count)
    }

    /// Its bytes, unpacked.
    pub(crate) fn len(&self) -> u64 {
        self.home.entry.as_ref().map_or(self.header.len, |entry| entry.len)
    }

    /// The segment, to be found at `place`.
    pub(crate) fn open(self, disk: &Arc<dyn Disk>, place: u64, reading: Reading) -> Segment {
        let segment = self.open_for_good(disk, place, reading);
        segment.set_state(State::Sealed);
        segment
    }

    /// The same, whose file stays open: it need not be found again.
    pub(crate) fn open_for_good(self, disk: &Arc<dyn Disk>, place: u64, reading: Reading) -> Segment {
        Segment::new(disk, self.home, &self.header, place, self.end.offset, reading)
    }
}

impl Archive {
    /// Opens the file `name` as the archive `id`.
    ///
    /// # Errors
    /// `Corruption`, `FormatVersion`; as the system says.
    pub(crate) fn open(disk: &dyn Disk, name: &str, id: ArchiveId, identity: &Identity) -> Result<Archive> {
        let path = disk.path().join(name).display().to_string();
        let file = disk.open(name, Access::Read).map_err(failed(disk, "open", name))?;
        Archive::of(file, name.to_string(), path, Some(&identity.database), Some(id))
    }

    /// Takes the file as an archive, of whatever store and number.
    ///
    /// # Errors
    /// As `open`.
    pub(crate) fn alone(file: Arc<dyn File>, name: String, path: String) -> Result<Archive> {
        Archive::of(file, name, path, None, None)
    }

    fn of(
        file: Arc<dyn File>,
        name: String,
        path: String,
        database: Option<&[u8; 16]>,
        id: Option<ArchiveId>,
    ) -> Result<Archive> {
        let len = file.len().map_err(|error| Error::io(format!("cannot read the length of {path}"), error))?;
        let contents = Contents::read(&*file, &path, database, id)?;
        let [covers] = contents.manifest.covers.as_slice() else {
            return Err(Error::corruption(&path, 0, "it covers segments that are no neighbours"));
        };
        let covers = (*covers.start(), *covers.end());
        Ok(Archive { id: contents.manifest.archive, len, covers, contents, name, path, file })
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.contents.manifest
    }

    /// Bytes of the file that an entry of it takes, but for headers.
    pub(crate) fn packed_len(&self, entry: &ManifestEntry) -> u64 {
        self.contents.chunks(entry).map_or(entry.len, |chunks| chunks.packed_len())
    }

    /// Reads every byte against the archive's checksums: where entries with wrong ones begin, and what is wrong.
    ///
    /// # Errors
    /// `Corruption` if what is around them is wrong; as the system says.
    pub(crate) fn wrong_entries(&self) -> Result<Vec<(u64, String)>> {
        self.contents.verify(&*self.file, &self.path)
    }

    /// Reads every byte against its checksums, and every record but `rotten` of them, which may have a bad value.
    ///
    /// # Errors
    /// `Corruption`; as the system says.
    pub(crate) fn verify(&self, disk: &dyn Disk, rotten: u64) -> Result<()> {
        if let Some((at, what)) = self.wrong_entries()?.into_iter().next() {
            return Err(Error::corruption(&self.path, at, what));
        }
        let mut left = rotten;
        for Member { home, path, header, end } in self.members(disk, ReadMode::Positioned)? {
            let file = home.file();
            let mut scan = Scan::new(&*file, &path, header.salt(), end.offset, Source::Cache, Values::Check);
            while scan.offset() < end.offset {
                let offset = scan.offset();
                match scan.step()? {
                    Step::Record(Scanned { value: Some(flaw), .. }) => {
                        let less = left.checked_sub(1);
                        left = less.ok_or_else(|| Error::corruption(&path, offset, flaw))?;
                    }
                    Step::Record(_) => {}
                    Step::Stop(flaw) => return Err(Error::corruption(&path, offset, flaw)),
                }
            }
        }
        Ok(())
    }

    /// The whole file in memory, if it can be mapped and is to be.
    pub(crate) fn map(&self, mode: ReadMode) -> Option<Arc<dyn Mapping>> {
        let len = usize::try_from(self.len).ok().filter(|_| mode == ReadMode::Mmap)?;
        let map = self.file.map(len).ok().filter(|map| map.len() == len)?;
        Some(Arc::from(map))
    }

    /// Its segments, oldest first.
    ///
    /// # Errors
    /// `Corruption` if one has no valid header or footer, or is not the one that its name says.
    pub(crate) fn members(&self, disk: &dyn Disk, mode: ReadMode) -> Result<Vec<Member>> {
        let map = self.map(mode);
        let entries = self.contents.manifest.entries.iter();
        let member = |entry: &ManifestEntry| {
            let (kind, id) = match names::parse_segment_entry(&entry.name)? {
                SegmentEntry::Log(id) => (SegmentKind::Log, id),
                SegmentEntry::Packed(id) => (SegmentKind::Packed, id),
            };
            Some(self.member(disk, entry, kind, id, map.clone()))
        };
        entries.filter_map(member).collect()
    }

    fn member(
        &self,
        disk: &dyn Disk,
        entry: &ManifestEntry,
        kind: SegmentKind,
        id: SegmentId,
        map: Option<Arc<dyn Mapping>>,
    ) -> Result<Member> {
        let (archive, name) = (self.id, entry.name.clone());
        let mut place = Entry { archive, name, start: entry.offset, len: entry.len, map, unpack: None };
        if let Some(chunks) = self.contents.chunks(entry) {
            let unpack = Reader::new(chunks, home::shown(&self.path, Some(&place)));
            place.map = None;
            place.unpack = Some(Arc::new(unpack));
        }
        let home = Home { file: Arc::clone(&self.file), name: self.name.clone(), entry: Some(place) };
        let (file, path) = (home.file(), home.path(disk));
        let damaged = |at: u64, what: &str| Err(Error::corruption(&path, at, what));
        if entry.len < RECORDS_START + FOOTER_LEN {
            return damaged(0, "the entry is too short for a segment");
        }
        let header = read_header(&*file, &path)?;
        if header.database != self.manifest().database || header.kind != kind || header.id != id {
            return damaged(0, "the header is that of another segment; restore the file from a backup");
        }
        if entry.len > header.len {
            return damaged(0, "the entry is longer than its header says");
        }
        let mut bytes = [0; FOOTER_LEN as usize];
        let at = entry.len - FOOTER_LEN;
        Source::Cache.read_exact(&*file, &path, &mut bytes, at)?;
        let Some(footer) = Footer::decode(&bytes, header.salt()) else {
            return damaged(at, "the footer is damaged; restore the file from a backup");
        };
        let before = u64::from(header.first_seqno) - 1;
        let span = u64::from(footer.last_seqno).checked_sub(before);
        let fits = match kind {
            SegmentKind::Log => span == Some(footer.record_count),
            SegmentKind::Packed => span.is_some_and(|span| footer.record_count <= span),
        };
        if footer.end != at || !fits {
            return damaged(at, "the footer says what cannot be; restore the file from a backup");
        }
        let (last_seqno, record_count) = (footer.last_seqno, footer.record_count);
        let end = End { offset: footer.end, last_seqno, record_count, crc: footer.crc };
        Ok(Member { home, path, header, end })
    }

    /// Seqnos of all that was written to the segments it covers.
    pub(crate) fn seqnos(&self) -> (Seqno, Seqno) {
        (self.contents.manifest.first_seqno, self.contents.manifest.last_seqno)
    }
}

/// The segments of each file that is an archive.
///
/// # Errors
/// As `Archive::members`.
pub(super) fn members(disk: &dyn Disk, mode: ReadMode, files: &[StoreFile]) -> Result<Vec<Vec<Member>>> {
    let members = |file: &StoreFile| file.archive().map_or(Ok(Vec::new()), |archive| archive.members(disk, mode));
    files.iter().map(members).collect()
}

/// The header of a segment, from either copy.
///
/// # Errors
/// `Corruption` if both are damaged; `FormatVersion`; as the system says.
pub(crate) fn read_header(file: &dyn File, path: &str) -> Result<SegmentHeader> {
    let mut sector = [0; SECTOR];
    Source::Cache.read_exact(file, path, &mut sector, 0)?;
    SegmentHeader::decode(&sector, path, 0).or_else(|first| {
        Source::Cache.read_exact(file, path, &mut sector, HEADER_COPY)?;
        SegmentHeader::decode(&sector, path, HEADER_COPY).map_err(|_| first)
    })
}

/// Makes a segment of an archive findable: at `place`, which is set aside, or wherever there is room.
///
/// # Errors
/// As `Registry::reserve`.
pub(crate) fn register(
    disk: &Arc<dyn Disk>,
    registry: &Registry,
    reading: Reading,
    member: Member,
    place: Option<u64>,
) -> Result<Hold<Segment>> {
    let len = member.len();
    let place = place.map_or_else(|| registry.reserve(len), Ok)?;
    let segment = member.open(disk, place, reading).with_lease(registry.lease(place, len));
    Ok(registry.add(segment, place, len))
}
