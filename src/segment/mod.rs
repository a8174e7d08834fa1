//! The log's files: appended to by positioned writes, mapped once, read in place.
//!
//! Floor 2. Imports `address`, `error`, `format`, `limits`, `platform`, `sync`.

pub(crate) mod active;
pub(crate) mod descriptor;
pub(crate) mod registry;
pub(crate) mod scan;
pub(crate) mod source;
pub(crate) mod tail;
pub(crate) mod value;

use std::borrow::Cow;
use std::fmt;

use crate::address::SegmentId;
use crate::error::{Error, Result};
use crate::format::checksum::Salt;
use crate::format::record::{Flaw, Header};
use crate::format::segment::SegmentHeader;
use crate::limits::{FILES_KEPT_MAX, RECORD_HEADER_LEN, RECORDS_START};
use crate::platform::{Disk, File, Mapping};
use crate::segment::descriptor::Descriptor;
use crate::segment::source::Source;
use crate::segment::tail::Tail;
use crate::sync::Arc;
use crate::sync::plain::{AtomicU8, AtomicU64, Ordering};

/// How values are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum ReadMode {
    /// From mapped files, without copying. A file that somebody truncates, or a device that fails a read, kills the
    /// process (SIGBUS), as it does with every mapped store.
    #[default]
    Mmap,
    /// By positioned reads into memory of their own: about ten times slower on cached data, and each fault is an error.
    Positioned,
}

/// How far a segment's life has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum State {
    /// Being written, or left without a footer by a failure.
    Unsealed,
    Sealed,
    /// Its file was removed, empty; its id belongs to another.
    Discarded,
}

/// An open segment: read by anyone below its tail, written by its one `Active`.
///
/// Invariant R4: a `&[u8]` is formed only of ranges below the published tail, never of the whole mapping.
pub(crate) struct Segment {
    id: SegmentId,
    salt: Salt,
    len: u64,
    place: u64,
    path: String,
    file: Descriptor,
    /// `None` in positioned mode, and where the system has no mappings left.
    map: Option<Box<dyn Mapping>>,
    tail: Tail,
    /// Encoded bytes of the records that the index points at.
    live_bytes: AtomicU64,
    live_records: AtomicU64,
    state: AtomicU8,
}

/// A record in place, its header checksum verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) header: Header,
    offset: u64,
}

impl Segment {
    /// Takes an open file whose header is known; everything below `readable` may be read from here on.
    ///
    /// Falls back to positioned reads if the file cannot be mapped: mappings are a limited resource, and a store that
    /// is slow is better than one that does not open.
    pub(crate) fn new(
        disk: &Arc<dyn Disk>,
        name: &str,
        file: Arc<dyn File>,
        header: &SegmentHeader,
        place: u64,
        readable: u64,
        mode: ReadMode,
    ) -> Segment {
        let map = match (mode, usize::try_from(header.len)) {
            (ReadMode::Mmap, Ok(len)) => file.map(len).ok().filter(|map| map.len() == len),
            _ => None,
        };
        let file = Descriptor::new(disk, name, file);
        Segment {
            id: header.id,
            salt: header.salt(),
            len: header.len,
            place,
            path: file.directory().join(name).display().to_string(),
            file,
            map,
            tail: Tail::new(readable),
            live_bytes: AtomicU64::new(0),
            live_records: AtomicU64::new(0),
            state: AtomicU8::new(State::Unsealed as u8),
        }
    }

    pub(crate) fn id(&self) -> SegmentId {
        self.id
    }

    pub(crate) fn salt(&self) -> Salt {
        self.salt
    }

    /// Bytes of the file, fixed for life.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Its first place in the registry.
    pub(crate) fn place(&self) -> u64 {
        self.place
    }

    /// For messages.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The file, for those who do not read in place.
    ///
    /// # Errors
    /// As `Descriptor::file`.
    pub(crate) fn file(&self) -> Result<Arc<dyn File>> {
        self.file.file()
    }

    pub(crate) fn tail(&self) -> &Tail {
        &self.tail
    }

    /// Encoded bytes of all its records.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.tail.published() - RECORDS_START
    }

    /// Encoded bytes of the records that the index points at.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_bytes.load(Ordering::Relaxed)
    }

    /// How many records the index points at.
    pub(crate) fn live_records(&self) -> u64 {
        self.live_records.load(Ordering::Relaxed)
    }

    /// The index points at one more record of `len` bytes.
    pub(crate) fn add_live(&self, len: u64) {
        self.live_bytes.fetch_add(len, Ordering::Relaxed);
        self.live_records.fetch_add(1, Ordering::Relaxed);
    }

    /// The index no longer points at a record of `len` bytes.
    pub(crate) fn remove_live(&self, len: u64) {
        self.live_bytes.fetch_sub(len, Ordering::Relaxed);
        self.live_records.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn state(&self) -> State {
        match self.state.load(Ordering::Relaxed) {
            state if state == State::Unsealed as u8 => State::Unsealed,
            state if state == State::Sealed as u8 => State::Sealed,
            _ => State::Discarded,
        }
    }

    /// Notes the state. What is no longer written gives its descriptor back where it can: mapped, it needs none; read by
    /// position, it is opened for each read once `FILES_KEPT_MAX` others are.
    pub(crate) fn set_state(&self, state: State) {
        self.state.store(state as u8, Ordering::Relaxed);
        if state != State::Unsealed && (self.map.is_some() || self.id.0 > FILES_KEPT_MAX) {
            self.file.release();
        }
    }

    /// The record at `offset`, its header checksum verified, its value not yet.
    ///
    /// # Errors
    /// `Corruption` if there is none; `Io` in positioned mode.
    #[inline]
    pub(crate) fn record(&self, offset: u64) -> Result<Record> {
        let header = self.header(offset)?;
        let head = self.bytes(offset, header.head_len())?;
        header.check_head(&head, self.salt, offset).map_err(|flaw| self.flawed(offset, &flaw))?;
        Ok(Record { header, offset })
    }

    /// Whether the record at `offset` is of `keyspace` and `key`: without checking its checksum where it is.
    ///
    /// # Errors
    /// `Corruption` if it is not, and not an intact record of another key either (R5); `Io` in positioned mode.
    #[inline]
    pub(crate) fn has_key(&self, offset: u64, keyspace: u16, key: &[u8]) -> Result<bool> {
        let header = self.header(offset)?;
        let head = self.bytes(offset, header.head_len())?;
        // `bytes` gave `head_len` bytes, and the key lies within them.
        let at = header.key();
        let found = head.get(at.start as usize..at.end as usize);
        if header.keyspace == keyspace && found == Some(key) {
            return Ok(true);
        }
        header.check_head(&head, self.salt, offset).map_err(|flaw| self.flawed(offset, &flaw))?;
        Ok(false)
    }

    #[inline]
    fn header(&self, offset: u64) -> Result<Header> {
        let bytes = self.bytes(offset, RECORD_HEADER_LEN as u64)?;
        Header::decode(&bytes).map_err(|flaw| self.flawed(offset, &flaw))
    }

    /// `len` published bytes from `offset` on: borrowed where the file is mapped.
    #[inline]
    fn bytes(&self, offset: u64, len: u64) -> Result<Cow<'_, [u8]>> {
        self.check_range(offset, len)?;
        match self.mapped(offset, len) {
            Some(bytes) => Ok(Cow::Borrowed(bytes)),
            None => {
                let mut bytes = vec![0; len as usize];
                self.read(&mut bytes, offset)?;
                Ok(Cow::Owned(bytes))
            }
        }
    }

    /// # Errors
    /// `Corruption` if the range is not wholly published: a length in a rotten header, most likely.
    #[inline]
    fn check_range(&self, offset: u64, len: u64) -> Result<()> {
        let tail = self.tail.published();
        if offset.checked_add(len).is_some_and(|end| end <= tail) {
            return Ok(());
        }
        Err(Error::corruption(&self.path, offset, format_args!("a record of {len} bytes crosses the end at {tail}")))
    }

    /// A published range of the mapping. The caller has checked it by `check_range`.
    #[inline]
    fn mapped(&self, offset: u64, len: u64) -> Option<&[u8]> {
        let map = self.map.as_ref()?;
        // SAFETY: `check_range` saw offset + len at or below the published tail, which is at most the file's length,
        // for which `Segment::new` made the mapping; these bytes are written and never change (T1, W3), and the
        // mapping lives as long as `self`. The file shrinks only if somebody outside truncates it.
        Some(unsafe { std::slice::from_raw_parts(map.as_ptr().add(offset as usize), len as usize) })
    }

    fn read(&self, bytes: &mut [u8], offset: u64) -> Result<()> {
        Source::Cache.read_exact(&*self.file()?, &self.path, bytes, offset)
    }

    /// Says where the damage is.
    pub(crate) fn flawed(&self, offset: u64, flaw: &Flaw) -> Error {
        match flaw {
            Flaw::NeverWritten => Error::corruption(&self.path, offset, "a record is expected, zeros are there"),
            Flaw::Damaged(what) => Error::corruption(&self.path, offset, what),
        }
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment").field("path", &self.path).field("tail", &self.tail).finish_non_exhaustive()
    }
}
