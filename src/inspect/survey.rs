//! What lies in a directory that nobody has open, whatever became of it: every file, and every segment that can be told.
//!
//! Floor 7. Imports `address`, `error`, `format`, `inspect`, `limits`, `platform`, `store`, `sync`.
//!
//! Nothing here gives up because of one file: what is wrong is noted, and the rest goes on.

use std::fmt::Display;
use std::io;
use std::path::Path;

use crate::address::{ArchiveId, SegmentId, Seqno};
use crate::error::{Error, ErrorKind, Result};
use crate::format::identity::Identity;
use crate::format::names::{self, ArchivesEntry, SegmentsEntry};
use crate::format::segment::{Footer, Horizon, SegmentHeader, SegmentKind};
use crate::inspect::archived::ArchiveFile;
use crate::inspect::bytes::Bytes;
use crate::inspect::walk::Walk;
use crate::limits::{FOOTER_LEN, HEADER_COPY, HORIZON_SLOT, RECORDS_START, SECTOR, SEGMENT_SIZE_MAX, SEQNO_MAX};
use crate::platform::real::RealDisk;
use crate::platform::{Access, Disk, File};
use crate::store::open::none_in;
use crate::store::verify::Problem;
use crate::sync::Arc;

/// What a directory holds.
pub(super) struct Survey {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) identity: Option<Identity>,
    /// Of the store, also where its identity is lost.
    pub(super) database: Option<[u8; 16]>,
    /// In the order of their records' age.
    pub(super) parts: Vec<Part>,
    pub(super) archives: Vec<ArchiveFile>,
    /// Files of segments without a header: (path, bytes).
    pub(super) headless: Vec<(String, u64)>,
    /// Files and names that were looked at, and what was wrong with them so far.
    pub(super) files: u64,
    pub(super) problems: Vec<Problem>,
}

/// Where a segment lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Home {
    /// In a file of its own.
    Alone,
    /// In an archive that is as it should be around its segments.
    Entry(ArchiveId),
    /// In what is left of an archive.
    Carved(ArchiveId),
}

/// A segment whose header is known.
pub(super) struct Part {
    pub(super) path: String,
    pub(super) file: Arc<dyn File>,
    pub(super) home: Home,
    pub(super) header: SegmentHeader,
    /// Bytes that are there.
    pub(super) len: u64,
    pub(super) footer: Option<Footer>,
    /// The higher of its horizon slots.
    pub(super) slots: Option<u64>,
    /// The first seqno of what follows.
    pub(super) next_seqno: Option<Seqno>,
    /// The archive that took its place, or that of the archive that it lies in.
    pub(super) superseded: Option<ArchiveId>,
}

impl Survey {
    /// Looks at everything in `dir`, without touching it.
    ///
    /// # Errors
    /// `NotFound` if there is no directory, or nothing in it; `Invalid` if something else lives there; as the system says if it cannot
    /// be listed.
    pub(super) fn take(dir: &Path) -> Result<Survey> {
        let disk = open(dir)?;
        let top = list(&*disk, "").map_err(|error| Error::io(format!("cannot list {}", dir.display()), error))?;
        refuse_strangers(&*disk, &top)?;
        let mut survey = Survey {
            disk,
            identity: None,
            database: None,
            parts: Vec::new(),
            archives: Vec::new(),
            headless: Vec::new(),
            files: 0,
            problems: Vec::new(),
        };
        survey.read_identity();
        let mut found = survey.segments();
        survey.archives(&mut found);
        survey.choose_database(&found);
        for part in found {
            if survey.database == Some(part.header.database) {
                survey.parts.push(part);
            } else {
                survey.add(&part.path, 0, "the segment belongs to another store; restore the file from a backup");
            }
        }
        survey.arrange();
        Ok(survey)
    }

    pub(super) fn add(&mut self, file: &str, offset: u64, what: impl Display) {
        self.problems.push(Problem { file: file.to_string(), offset, what: what.to_string() });
    }

    /// For messages.
    pub(super) fn path(&self, name: &str) -> String {
        self.disk.path().join(name).display().to_string()
    }

    /// The names in a folder; none if there is no such folder.
    pub(super) fn list(&mut self, folder: &str) -> Vec<String> {
        match list(&*self.disk, folder) {
            Ok(names) => names,
            Err(error) => {
                let path = self.path(folder);
                self.add(&path, 0, format_args!("the folder cannot be listed: {error}; mend what stands in its place"));
                Vec::new()
            }
        }
    }

    fn read_identity(&mut self) {
        let path = self.path(names::IDENTITY);
        self.files += 1;
        let (file, len) = match open_file(&*self.disk, names::IDENTITY) {
            Ok(opened) => opened,
            Err(error) => return self.add(&path, 0, format_args!("{error}; restore it from a backup")),
        };
        if len != Identity::LEN as u64 {
            self.add(&path, len.min(Identity::LEN as u64), format_args!("it has {len} bytes, not {}", Identity::LEN));
        }
        let bytes = Bytes::new(&file, len).at(0, Identity::LEN).to_vec();
        match Identity::decode(&bytes, &path) {
            Ok((identity, damaged)) => {
                if let Some(offset) = damaged {
                    self.add(
                        &path,
                        offset,
                        "one of the two copies is damaged; the other serves: restore the file from a backup",
                    );
                }
                self.identity = Some(identity);
            }
            Err(error) => match error.damage() {
                Some((file, offset, what)) => self.add(file, offset, what),
                None => self.add(&path, 0, &error),
            },
        }
    }

    /// The segments in files of their own.
    fn segments(&mut self) -> Vec<Part> {
        let mut parts = Vec::new();
        for name in self.list(names::SEGMENTS) {
            let SegmentsEntry::Segment(id) = names::parse_segments_entry(name.trim_end_matches('/')) else { continue };
            let (name, path) = (names::segment(id), self.path(&names::segment(id)));
            self.files += 1;
            let (file, len) = match open_file(&*self.disk, &name) {
                Ok(opened) => opened,
                Err(error) => {
                    self.headless.push((path.clone(), 0));
                    self.add(&path, 0, format_args!("{error}; restore it from a backup"));
                    continue;
                }
            };
            let Some(part) = self.part(&path, &file, Home::Alone, len) else {
                self.headless.push((path, len));
                continue;
            };
            self.check_own(&part, id, len);
            parts.push(part);
        }
        parts
    }

    /// Whether a segment is what the name of its file says.
    fn check_own(&mut self, part: &Part, id: SegmentId, len: u64) {
        let (path, header) = (&part.path, &part.header);
        if header.id != id {
            self.add(path, 0, format_args!("the header says that this is segment {}", header.id));
        }
        if header.kind != SegmentKind::Log {
            self.add(path, 0, "the header is that of a packed segment, which does not belong here");
        }
        if len < header.len {
            let what = format_args!("the file ends here, its header says {}; restore it from a backup", header.len);
            self.add(path, len, what);
        }
        if len > header.len {
            self.add(path, header.len, format_args!("the file has {len} bytes, its header says {}", header.len));
        }
        if header.len > SEGMENT_SIZE_MAX {
            self.add(path, 64, format_args!("it is of {} bytes; this version reads 1 GiB at most", header.len));
        }
    }

    /// The segment that begins `file`, and has `len` bytes of it, if one of its headers is intact.
    pub(super) fn part(&mut self, path: &str, file: &Arc<dyn File>, home: Home, len: u64) -> Option<Part> {
        let mut bytes = Bytes::new(file, len);
        let mut header: Option<SegmentHeader> = None;
        for at in [0, HEADER_COPY] {
            match SegmentHeader::decode(&bytes.array::<SECTOR>(at), path, at) {
                Ok(copy) if header.as_ref().is_none_or(|first| *first == copy) => header = Some(copy),
                Ok(_) => self.add(path, at, "the two copies of the header differ; restore the file from a backup"),
                Err(error) => {
                    let what = error.damage().map_or_else(|| error.to_string(), |(_, _, what)| what.to_owned());
                    self.add(path, at, format_args!("{what}; restore the file from a backup"));
                }
            }
        }
        let header = header?;
        let mut slots = None;
        for at in [HORIZON_SLOT, HORIZON_SLOT + SECTOR as u64] {
            let sector = bytes.array::<SECTOR>(at);
            let horizon = Horizon::decode(&sector, header.salt());
            // Zeros were never written: a crash during the seal may leave the footer without its slots.
            if horizon.is_none() && sector.iter().any(|byte| *byte != 0) {
                self.add(path, at, "a horizon slot is damaged; the records do not need it");
            }
            slots = slots.max(horizon.map(|horizon| horizon.offset));
        }
        let len = len.min(header.len).min(SEGMENT_SIZE_MAX);
        let at = len.checked_sub(FOOTER_LEN).filter(|at| *at >= RECORDS_START);
        let whole = home != Home::Alone || len == header.len;
        let footer = at.filter(|_| whole).and_then(|at| {
            let footer = Footer::decode(&bytes.array::<{ FOOTER_LEN as usize }>(at), header.salt());
            footer.filter(|footer| footer.end <= at)
        });
        let path = path.to_string();
        Some(Part {
            path,
            file: Arc::clone(file),
            home,
            header,
            len,
            footer,
            slots,
            next_seqno: None,
            superseded: None,
        })
    }

    fn archives(&mut self, parts: &mut Vec<Part>) {
        for name in self.list(names::ARCHIVES) {
            let ArchivesEntry::Archive(id) = names::parse_archives_entry(name.trim_end_matches('/')) else { continue };
            let path = self.path(&names::archive(id));
            self.files += 1;
            match open_file(&*self.disk, &names::archive(id)) {
                Ok((file, len)) => {
                    let archive = ArchiveFile::open(self, id, path, file, len, parts);
                    self.archives.push(archive);
                }
                Err(error) => {
                    self.headless.push((path.clone(), 0));
                    self.add(&path, 0, format_args!("{error}; restore it from a backup"));
                }
            }
        }
    }

    /// Whose files these are: as the identity says, or as most of them say.
    fn choose_database(&mut self, found: &[Part]) {
        let of = |database: &[u8; 16]| found.iter().filter(|part| part.header.database == *database).count();
        let most = found.iter().map(|part| part.header.database).max_by_key(of);
        self.database = self.identity.as_ref().map(|identity| identity.database).or(most);
    }

    /// Brings the parts into the order of their age, and finds out where each must end, and what took its place.
    fn arrange(&mut self) {
        let of_age = |part: &Part| (part.header.first_seqno, part.header.kind == SegmentKind::Packed, part.header.id);
        self.parts.sort_by_key(of_age);
        let replaced = |id: ArchiveId| {
            let mut others = self.archives.iter().filter(|other| other.id != id);
            others.find(|other| other.replaces().contains(&id)).map(|other| other.id)
        };
        for part in &mut self.parts {
            part.superseded = match part.home {
                Home::Alone => {
                    self.archives.iter().find(|archive| archive.covers(part.header.id)).map(|archive| archive.id)
                }
                Home::Entry(id) | Home::Carved(id) => replaced(id),
            };
        }
        let mut next = None;
        for part in self.parts.iter_mut().rev() {
            // Where files were superseded, seqnos overlap.
            part.next_seqno = next.filter(|next| *next > part.header.first_seqno);
            if part.header.kind == SegmentKind::Log && part.superseded.is_none() {
                next = Some(part.header.first_seqno);
            }
        }
    }

    /// Whether an archive took the place of this one.
    pub(super) fn is_replaced(&self, id: ArchiveId) -> bool {
        self.archives.iter().any(|other| other.id != id && other.replaces().contains(&id))
    }
}

impl Part {
    /// All its records.
    pub(super) fn walk(&self) -> Walk {
        let bytes = Bytes::new(&self.file, self.len);
        let kind = self.header.kind;
        let first = if kind == SegmentKind::Log { self.header.first_seqno.into() } else { 1 };
        let end = match (&self.footer, self.next_seqno) {
            (Some(footer), _) => u64::from(footer.last_seqno).saturating_add(1),
            (None, Some(next)) => next.into(),
            (None, None) => SEQNO_MAX,
        };
        Walk::new(bytes, self.header.salt(), self.limit(), kind, first..end)
    }

    /// No record reaches beyond.
    pub(super) fn limit(&self) -> u64 {
        match &self.footer {
            Some(footer) => footer.end,
            None if self.home == Home::Alone => self.len.min(self.header.len.saturating_sub(FOOTER_LEN)),
            None => self.len,
        }
    }
}

/// Opens `dir`, which must be there.
pub(super) fn open(dir: &Path) -> Result<Arc<dyn Disk>> {
    Ok(Arc::new(open_real(dir)?))
}

/// The same as the disk that it is.
pub(super) fn open_real(dir: &Path) -> Result<RealDisk> {
    RealDisk::open(dir, false).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::io_as(ErrorKind::NotFound, none_in(dir), error),
        io::ErrorKind::NotADirectory => {
            Error::io_as(ErrorKind::Invalid, format!("{} is no directory; check the path", dir.display()), error)
        }
        _ => Error::io(format!("cannot open {}", dir.display()), error),
    })
}

/// The names in a folder; none if there is no such folder.
pub(super) fn list(disk: &dyn Disk, folder: &str) -> io::Result<Vec<String>> {
    match disk.list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.is_empty() => Ok(Vec::new()),
        listed => listed,
    }
}

/// A file and its length.
///
/// # Errors
/// What to say of it.
pub(super) fn open_file(disk: &dyn Disk, name: &str) -> Result<(Arc<dyn File>, u64), String> {
    let opened = disk.open(name, Access::Read).and_then(|file| {
        let len = file.len()?;
        Ok((file, len))
    });
    opened.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "the file is missing".to_owned(),
        io::ErrorKind::InvalidInput => "no regular file is there".to_owned(),
        _ => format!("the file cannot be opened: {error}"),
    })
}

/// Whether a store is, or was, in the directory with these names.
fn refuse_strangers(disk: &dyn Disk, top: &[String]) -> Result<()> {
    let has = |name: &str| top.iter().any(|other| other == name);
    let folders = [names::SEGMENTS, names::ARCHIVES, names::LARGE];
    let holds = |folder: &&str| has(&format!("{folder}/")) && list(disk, folder).is_ok_and(|names| !names.is_empty());
    if has(names::IDENTITY) || folders.iter().any(holds) {
        return Ok(());
    }
    let ours = |name: &String| {
        let before = [names::LOCK, names::HOLDER, names::IDENTITY_NEW];
        before.contains(&name.as_str()) || folders.iter().any(|folder| *name == format!("{folder}/"))
    };
    match top.iter().find(|name| !ours(name)) {
        None => Err(Error::new(ErrorKind::NotFound, none_in(disk.path()))),
        Some(name) => {
            let (dir, identity) = (disk.path().display(), names::IDENTITY);
            let what = format!("{dir} holds {name} but no file {identity}: not a zipcask store; check the path");
            Err(Error::new(ErrorKind::Invalid, what))
        }
    }
}
