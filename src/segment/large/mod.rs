//! Large values: each has its bytes in a file of its own, which a record of the log names.
//!
//! Floor 2. Imports `address`, `error`, `format`, `platform`, `segment`, `sync`.
//!
//! A value that is longer than a part of a segment would be copied again each time that its segment is rewritten, and
//! passes through memory twice on its way into the log. In a file of its own it is written once, from where the caller
//! has it.

pub(crate) mod doomed;
pub(crate) mod file;
mod mapped;
pub(crate) mod new;

use std::collections::HashSet;
use std::io;
use std::ops::Range;

use crate::address::LargeId;
use crate::error::Result;
use crate::format::large::LargeValue;
use crate::format::names;
use crate::platform::Disk;
use crate::segment::Reading;
use crate::segment::fetched::Fetched;
use crate::segment::large::file::LargeFile;
use crate::segment::large::mapped::MappedFiles;
use crate::segment::value::{Value, clip};
use crate::sync::Arc;
use crate::sync::plain::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, PoisonError};

/// The folder `large/`.
///
/// Invariant L1: a record names a file only after its bytes, its name and the folder's are durable.
/// Invariant L2: a file that a record names stays, whatever became of its key; any other goes when its writing fails,
/// with the last segment shown that had such a record (`doomed`), or at the next open.
pub(crate) struct LargeFolder {
    disk: Arc<dyn Disk>,
    reading: Reading,
    /// A failed sync has made the page cache a liar (W4).
    distrusted: AtomicBool,
    /// Whether this session has made the folder's own name durable.
    named: AtomicBool,
    mapped: Mutex<MappedFiles>,
    bytes: AtomicU64,
    live_bytes: AtomicU64,
}

impl LargeFolder {
    pub(crate) fn new(disk: &Arc<dyn Disk>, reading: Reading) -> LargeFolder {
        LargeFolder {
            disk: Arc::clone(disk),
            reading,
            distrusted: AtomicBool::new(false),
            named: AtomicBool::new(false),
            mapped: Mutex::default(),
            bytes: AtomicU64::new(0),
            live_bytes: AtomicU64::new(0),
        }
    }

    /// The value of a record: a large one from its file.
    ///
    /// # Errors
    /// `Corruption` if the file is missing (`NotFound` beside a writer), has another length, or fails its checksum; `Io`, `ResourceLimit`.
    #[inline(never)]
    pub(crate) fn value(&self, record: &Fetched) -> Result<Value> {
        match record.large() {
            None => Ok(Value::fetched(record, Fetched::value)),
            Some(large) => self.whole(large, None).map(Value::large),
        }
    }

    /// A part of the value of a record. That of a large one is not checked, if it is not all of it.
    ///
    /// # Errors
    /// As `value`.
    pub(crate) fn part(&self, record: &Fetched, range: &Range<u64>) -> Result<Value> {
        match record.large() {
            None => Ok(Value::fetched(record, Fetched::value).part(range)),
            Some(large) if clip(range, large.len) == (0..large.len) => self.whole(large, None).map(Value::large),
            Some(large) => match self.mapped(large)? {
                Some(file) => Ok(Value::large(file).part(range)),
                None => LargeFile::read(&*self.disk, large, self.reading, clip(range, large.len))
                    .map(Arc::new)
                    .map(Value::large),
            },
        }
    }

    /// The file of a large value, all of it: `kept`, if the caller has it already.
    ///
    /// # Errors
    /// As `value`.
    pub(crate) fn whole(&self, large: &LargeValue, kept: Option<&Arc<LargeFile>>) -> Result<Arc<LargeFile>> {
        let file = match kept.cloned() {
            Some(kept) => kept,
            None => match self.mapped(large)? {
                Some(file) => file,
                None => Arc::new(LargeFile::read(&*self.disk, large, self.reading, 0..large.len)?),
            },
        };
        file.check(self.reading.verify, self.distrusted.load(Ordering::Relaxed))?;
        Ok(file)
    }

    /// The file, mapped; `None` where files are read by position, or this one cannot be mapped.
    fn mapped(&self, large: &LargeValue) -> Result<Option<Arc<LargeFile>>> {
        let known = enter(&self.mapped).find(large);
        if known.is_some() {
            return Ok(known);
        }
        let Some(file) = LargeFile::map(&*self.disk, large, self.reading)? else {
            return Ok(None);
        };
        let (file, not_wanted) = enter(&self.mapped).add(Arc::new(file));
        // Nobody waits for the lock meanwhile.
        drop(not_wanted);
        Ok(Some(file))
    }

    /// Reads a file against what a record says of it.
    ///
    /// # Errors
    /// As `value`.
    pub(crate) fn verify(&self, large: &LargeValue) -> Result<()> {
        LargeFile::verify(&*self.disk, large, self.reading)
    }

    /// From here on every read is checked in full (W4).
    pub(crate) fn distrust(&self) {
        self.distrusted.store(true, Ordering::Relaxed);
    }

    /// Makes the names of all files made so far durable (L1).
    ///
    /// # Errors
    /// As the system says: which names are durable is unknown then.
    pub(crate) fn sync_names(&self) -> io::Result<()> {
        // BARRIER: L1. The files keep their names.
        self.disk.sync_dir(names::LARGE)?;
        if !self.named.load(Ordering::Relaxed) {
            // BARRIER: L1. And so does the folder, whichever session made it.
            self.disk.sync_dir("")?;
            self.named.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Removes the file of a value that no record names; as far as possible: else the next open does.
    pub(crate) fn remove(&self, id: LargeId) {
        let _ = self.disk.remove(&names::large(id));
    }

    /// The files that are there.
    ///
    /// # Errors
    /// As the system says; none are there if there is no folder.
    pub(crate) fn list(&self) -> io::Result<HashSet<LargeId>> {
        match self.disk.list(names::LARGE) {
            Ok(names) => Ok(names.iter().filter_map(|name| names::parse_large(name)).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(HashSet::new()),
            Err(error) => Err(error),
        }
    }

    /// One more file, of `len` bytes, is named by a record.
    pub(crate) fn add(&self, len: u64) {
        self.bytes.fetch_add(len, Ordering::Relaxed);
    }

    /// Records that name files of `len` bytes have entered the index.
    pub(crate) fn add_live(&self, len: u64) {
        self.live_bytes.fetch_add(len, Ordering::Relaxed);
    }

    /// A record that names a file of `len` bytes has left the index.
    pub(crate) fn remove_live(&self, len: u64) {
        self.live_bytes.fetch_sub(len, Ordering::Relaxed);
    }

    /// No record of the log names a file of `len` bytes any more.
    fn forget(&self, len: u64) {
        self.bytes.fetch_sub(len, Ordering::Relaxed);
    }

    /// Bytes of the files that records name.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes of those that are the newest of their keys.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_bytes.load(Ordering::Relaxed)
    }
}

fn enter<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
