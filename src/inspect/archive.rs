//! An archive without a store: what a user holds of one ZIP file.
//!
//! Floor 7. Imports `address`, `error`, `format`, `inspect`, `limits`, `platform`, `reclaim`, `segment`, `store`, `sync`.

use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use crate::address::Seqno;
use crate::error::{Error, ErrorKind, Result};
use crate::format::compression::Compression;
use crate::format::names;
use crate::inspect::newest::{self, Newest, Part};
use crate::limits::DEFAULT_KEYSPACE;
use crate::platform::clock::{WallTime, time_of};
use crate::platform::{Disk, File, real};
use crate::reclaim::hold::Owner;
use crate::segment::fetched::Fetched;
use crate::segment::lookup::Hit;
use crate::segment::scan::{Scan, Step, Values};
use crate::segment::source::Source;
use crate::segment::value::Value;
use crate::segment::{ReadMode, Reading, Segment};
use crate::store::verify::VerifyReport;
use crate::store::{DEFAULT_NAME, archived};
use crate::sync::Arc;
use crate::sync::plain::{Mutex, OnceLock, PoisonError};

/// One archive, opened without the store that it is of: a copy in another place will do.
///
/// It is mapped, unless it is compressed, and only read; nothing of it is written, and nothing is locked. The store may go on, and remove the file, too: what
/// is open stays readable. Cloning gives another handle of the same one, and any thread may use any of them.
///
/// An archive has what its store had when it was written, of a part of the store's life: of each key the newest
/// record in this archive. A newer one may be in another archive, or in the store; so may a delete. A key
/// that was deleted by a record of this archive is not there.
///
/// `open` reads no record. The first [`get`](Archive::get) or [`iter`](Archive::iter) walks all of them once, checks their headers and keys, and
/// keeps 16 bytes of memory a key; a value's checksum is checked when it is first read.
#[derive(Clone)]
pub struct Archive {
    inner: Arc<Inner>,
}

struct Inner {
    disk: Arc<dyn Disk>,
    archive: archived::Archive,
    /// In the order of their records' age.
    parts: Vec<Part>,
    newest: OnceLock<Newest>,
    /// Held by whoever makes `newest`.
    making: Mutex<()>,
}

/// What an archive says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Facts {
    /// Its number, as in the name that its store gave it.
    pub id: u64,
    /// Which store it is of: the same number in all of that store's archives.
    pub database: [u8; 16],
    /// Bytes of the file.
    pub file_bytes: u64,
    /// The numbers of the log's segments whose place it took.
    pub covers: RangeInclusive<u64>,
    /// The numbers of the archives whose place it took.
    pub replaces: Vec<u64>,
    /// Of all that was written to the segments that it covers, whether or not the records are still there.
    pub seqnos: RangeInclusive<Seqno>,
    /// How many records it has: superseded ones and deletes, too.
    pub records: u64,
    /// The keyspaces that the store had then, by their names, in order: for [`Archive::get_in`] and [`Archive::iter_in`]. It may have nothing of some.
    pub keyspaces: Vec<String>,
    /// What lies in it, in that order, but for the manifest, which says all this.
    pub entries: Vec<Entry>,
}

/// An entry of an archive.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// As in the ZIP's directory; there a chunk has behind it where it begins, "/0000065536".
    pub name: String,
    /// Where its bytes begin in the file; the first of its chunks, if it is compressed: those are entries of the ZIP.
    pub offset: u64,
    /// Bytes, once unpacked.
    pub len: u64,
    /// How it is packed.
    pub compression: Compression,
    /// Bytes that it takes in the file: `len`, unless it is compressed.
    pub packed_len: u64,
    /// How many records a segment has; `None` of a hint.
    pub records: Option<u64>,
}

impl Archive {
    /// Opens the archive that the file at `path` is, whatever its name.
    ///
    /// # Errors
    /// `NotFound` if there is no file, `Invalid` if it is something else than a file; `Corruption`, with file and offset, if it is no archive of ours, or
    /// a damaged one; `FormatVersion` if a newer version wrote it; `Io`.
    pub fn open(path: impl AsRef<Path>) -> Result<Archive> {
        let path = path.as_ref();
        let (disk, name, file) = real::open_alone(path).map_err(|error| cannot_open(path, error))?;
        Archive::over(Arc::new(disk), name, file)
    }

    /// The same of the open file `name` of a disk.
    pub(crate) fn over(disk: Arc<dyn Disk>, name: String, file: Arc<dyn File>) -> Result<Archive> {
        let path = disk.path().join(&name).display().to_string();
        let archive = archived::Archive::alone(file, name, path)?;
        let (mut parts, mut next) = (Vec::new(), 0);
        for member in archive.members(&*disk, ReadMode::Mmap)? {
            let (place, last) = (newest::places(&mut next, member.len())?, member.last());
            let segment = Owner::new(member.open_for_good(&disk, place, Reading::default()));
            parts.push(Part { segment, last });
        }
        let inner = Inner { disk, archive, parts, newest: OnceLock::new(), making: Mutex::new(()) };
        Ok(Archive { inner: Arc::new(inner) })
    }

    /// The file, in canonical form.
    pub fn path(&self) -> PathBuf {
        self.inner.disk.path().join(&self.inner.archive.name)
    }

    /// What it says of itself.
    pub fn facts(&self) -> Facts {
        let (archive, manifest) = (&self.inner.archive, self.inner.archive.manifest());
        let mut counts = self.inner.parts.iter().map(|part| part.last.1);
        // Each segment has its hint behind it.
        let entries = manifest.entries.iter().enumerate().map(|(at, entry)| Entry {
            name: entry.name.clone(),
            offset: entry.offset,
            len: entry.len,
            compression: entry.chunked.map_or(Compression::None, |chunked| chunked.method),
            packed_len: archive.packed_len(entry),
            records: if at % 2 == 0 { counts.next() } else { None },
        });
        let named = manifest.keyspaces.iter().map(|(_, name)| name.clone());
        let mut keyspaces: Vec<_> = named.chain([DEFAULT_NAME.to_owned()]).collect();
        keyspaces.sort();
        Facts {
            id: archive.id.0,
            database: manifest.database,
            file_bytes: archive.len,
            covers: archive.covers.0.0..=archive.covers.1.0,
            replaces: manifest.replaces.iter().map(|id| id.0).collect(),
            seqnos: manifest.first_seqno..=manifest.last_seqno,
            records: self.inner.parts.iter().map(|part| part.last.1).sum(),
            keyspaces,
            entries: entries.collect(),
        }
    }

    /// The value that the newest record of `key` in this archive gives it; `None` if there is no record of it, or that is a delete.
    ///
    /// # Errors
    /// `NotFound` if the value is a large one: that is in a file of its own beside the archives of the store, which the error names.
    /// `Corruption` if the record is damaged, or the chain of records is, so that nobody can tell which is the newest; `FormatVersion`; `Io`.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.find(DEFAULT_KEYSPACE, key.as_ref())
    }

    fn find(&self, keyspace: u16, key: &[u8]) -> Result<Option<Value>> {
        let Some((segment, offset, hit)) = self.inner.locate(keyspace, key)? else { return Ok(None) };
        if segment.has_expired(offset, self.inner.now_ms()) {
            return Ok(None);
        }
        match segment.value(&hit)? {
            Some(value) => Ok(Some(Value::mapped(segment.hold(), value))),
            None => self.inner.fetched(segment, offset).map(|(_, value)| Some(value)),
        }
    }

    /// As [`get`](Archive::get), in the keyspace of this name; `None` too if the archive has no such keyspace.
    ///
    /// The keyspace that a [`Db`](crate::Db) itself is has the name "default". Others have the names that they had when the archive was made.
    ///
    /// # Errors
    /// As `get`.
    pub fn get_in(&self, keyspace: &str, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.named(keyspace).map_or(Ok(None), |id| self.find(id, key.as_ref()))
    }

    /// When `key` of this keyspace is no more, as the record says that `get_in` finds, or would find had that time not come; `None` if there is no such
    /// record, or it has no such time.
    ///
    /// # Errors
    /// `Corruption` if the record is damaged, or the chain of records is; `FormatVersion`; `Io`.
    pub fn expires_at_in(&self, keyspace: &str, key: impl AsRef<[u8]>) -> Result<Option<WallTime>> {
        let Some(id) = self.named(keyspace) else { return Ok(None) };
        let Some((segment, offset, _)) = self.inner.locate(id, key.as_ref())? else { return Ok(None) };
        Ok(segment.expiry(offset)?.and_then(time_of))
    }

    /// The number of the keyspace of this name.
    fn named(&self, keyspace: &str) -> Option<u16> {
        if keyspace == DEFAULT_NAME {
            return Some(DEFAULT_KEYSPACE);
        }
        let mut named = self.inner.archive.manifest().keyspaces.iter();
        named.find(|(_, name)| name == keyspace).map(|(id, _)| *id)
    }

    /// The keys that [`get`](Archive::get) finds and their values, each once, in the order in which they were written.
    ///
    /// What `get` gives an error for is an `Err` in its place, and the rest goes on; where the chain of records is damaged, that error is all.
    pub fn iter(&self) -> impl Iterator<Item = Result<(Value, Value)>> + Send + 'static + use<> {
        self.pairs(Some(DEFAULT_KEYSPACE))
    }

    /// As [`iter`](Archive::iter), of the keyspace of this name; nothing if the archive has no such keyspace. [`Facts::keyspaces`] has the names.
    ///
    /// A record that rotted so that it cannot be told of which keyspace it was is an `Err` in each.
    pub fn iter_in(&self, keyspace: &str) -> impl Iterator<Item = Result<(Value, Value)>> + Send + 'static + use<> {
        self.pairs(self.named(keyspace))
    }

    fn pairs(&self, keyspace: Option<u16>) -> impl Iterator<Item = Result<(Value, Value)>> + Send + 'static + use<> {
        let inner = Arc::clone(&self.inner);
        let shown = keyspace.map(|keyspace| inner.newest().map(|newest| inner.shown(newest, keyspace)));
        let (units, broken) = match shown.transpose() {
            Ok(units) => (units.unwrap_or_default(), None),
            Err(error) => (Vec::new(), Some(Err(error))),
        };
        broken.into_iter().chain(units.into_iter().map(move |unit| {
            let (segment, offset) = inner.resolve(unit)?;
            match segment.pair(offset)? {
                Some((key, value)) => Ok((Value::mapped(segment.hold(), key), Value::mapped(segment.hold(), value))),
                None => inner.fetched(segment, offset),
            }
        }))
    }

    /// How many keys [`get`](Archive::get) finds.
    ///
    /// # Errors
    /// As `get`.
    pub fn keys(&self) -> Result<u64> {
        self.inner.newest().map(|newest| self.inner.shown(newest, DEFAULT_KEYSPACE).len() as u64)
    }

    /// Reads the whole file, from the device where the system lets us, and checks every checksum. Damage is in the report, not an error.
    /// Large values are not in the archive, so they are not looked at.
    ///
    /// # Errors
    /// `Io` if the device fails a read.
    pub fn verify(&self) -> Result<VerifyReport> {
        let (archive, mut report) = (&self.inner.archive, VerifyReport::default());
        report.files = 1;
        for (at, what) in report.note(archive.wrong_entries(), &archive.path, 0)?.unwrap_or_default() {
            report.add(&archive.path, at, what);
        }
        for Part { segment, .. } in &self.inner.parts {
            let read = verify_records(segment, &mut report);
            report.note(read, segment.path(), 0)?;
        }
        Ok(report)
    }
}

impl Inner {
    fn now_ms(&self) -> u64 {
        self.disk.clock().wall_ms()
    }

    /// The newest put of a key that no delete came after: its segment, where it is there, and what was seen of it.
    fn locate(&self, keyspace: u16, key: &[u8]) -> Result<Option<(&Owner<Segment>, u64, Hit<'_>)>> {
        for unit in self.newest()?.find(keyspace, key) {
            let (segment, offset) = self.resolve(unit)?;
            let hit = match segment.put_of(offset, keyspace, key) {
                Some(hit) => Some(hit),
                None => segment.locate(offset, keyspace, key)?,
            };
            if let Some(hit) = hit {
                return Ok(Some((segment, offset, hit)));
            }
        }
        Ok(None)
    }

    /// Where the keys of a keyspace are that have not expired; those that cannot be read are among them.
    fn shown(&self, newest: &Newest, keyspace: u16) -> Vec<u64> {
        let (mut units, now) = (newest.in_order(), self.now_ms());
        units.retain(|unit| {
            self.resolve(*unit).is_ok_and(|(segment, offset)| {
                let own = segment.record(offset).map_or(true, |header| header.keyspace == keyspace);
                own && !segment.has_expired(offset, now)
            })
        });
        units
    }

    /// Made when it is first asked for; what failed is tried again.
    fn newest(&self) -> Result<&Newest> {
        if let Some(newest) = self.newest.get() {
            return Ok(newest);
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(newest) = self.newest.get() {
            return Ok(newest);
        }
        let made = Newest::of(&*self.disk, &self.parts)?;
        Ok(self.newest.get_or_init(|| made))
    }

    fn resolve(&self, unit: u64) -> Result<(&Owner<Segment>, u64)> {
        let found = newest::resolve(&self.parts, unit);
        Ok(found.expect("a place that the walk gave"))
    }

    /// Key and value of a record that is not mapped, or has a large value.
    fn fetched(&self, segment: &Segment, offset: u64) -> Result<(Value, Value)> {
        let record = Fetched::read(segment, offset)?;
        match record.large() {
            None => Ok((Value::fetched(&record, Fetched::key), Value::fetched(&record, Fetched::value))),
            Some(large) => Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "the value of \"{}\" is not in {}: its {} bytes are in the file {} of the store",
                    record.key().escape_ascii(),
                    self.archive.path,
                    large.len,
                    names::large(large.id),
                ),
            )),
        }
    }
}

/// Checks all records of a segment.
fn verify_records(segment: &Segment, report: &mut VerifyReport) -> Result<()> {
    let (file, path, end) = (segment.file()?, segment.path(), segment.tail().published());
    let mut scan = Scan::new(&*file, path, segment.salt(), end, Source::Cache, Values::Check);
    while scan.offset() < end {
        match scan.step()? {
            Step::Record(record) => {
                report.records += 1;
                report.bytes += record.header.record_len();
                if let Some(flaw) = &record.value {
                    report.add(path, record.offset, flaw.to_string());
                }
            }
            Step::Stop(flaw) => {
                report.add(path, scan.offset(), flaw.to_string());
                return Ok(());
            }
        }
    }
    Ok(())
}

fn cannot_open(path: &Path, error: io::Error) -> Error {
    let what = format!("cannot open {}", path.display());
    match error.kind() {
        io::ErrorKind::NotFound => Error::io_as(ErrorKind::NotFound, what, error),
        io::ErrorKind::InvalidInput => Error::io_as(ErrorKind::Invalid, what, error),
        _ => Error::io(what, error),
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive").field("path", &self.path()).finish_non_exhaustive()
    }
}
