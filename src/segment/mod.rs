//! The log's files: appended to by positioned writes, mapped once, read in place.
//!
//! Floor 2. Imports `address`, `error`, `format`, `limits`, `platform`, `prefetch`, `sync`.

pub(crate) mod active;
pub(crate) mod blank;
pub(crate) mod descriptor;
pub(crate) mod fetched;
pub(crate) mod holds;
pub(crate) mod home;
pub(crate) mod kept;
pub(crate) mod large;
pub(crate) mod live;
pub(crate) mod lookup;
pub(crate) mod order;
pub(crate) mod part;
pub(crate) mod pinned;
pub(crate) mod places;
pub(crate) mod pool;
pub(crate) mod registry;
pub(crate) mod scan;
pub(crate) mod source;
pub(crate) mod tail;
pub(crate) mod trust;
pub(crate) mod value;
pub(crate) mod words;

use std::borrow::Cow;
use std::fmt;
use std::ptr::NonNull;

use crossbeam_utils::CachePadded;

use crate::address::{ArchiveId, SegmentId, Seqno};
use crate::error::{Error, Result};
use crate::format::checksum::Salt;
use crate::format::record::{Flaw, Header};
use crate::format::segment::{Footer, SegmentHeader, SegmentKind};
use crate::limits::{FILES_KEPT_MAX, FOOTER_LEN, PLACE_LEN, RECORD_HEADER_LEN, RECORDS_START};
use crate::platform::{Disk, File, Mapping};
use crate::prefetch::prefetch;
use crate::segment::descriptor::Descriptor;
use crate::segment::home::Home;
use crate::segment::large::doomed::Legacy;
use crate::segment::live::Live;
use crate::segment::order::Orders;
use crate::segment::pinned::Pinned;
use crate::segment::places::Lease;
use crate::segment::source::{Source, zeros};
use crate::segment::tail::Tail;
use crate::segment::trust::{Trust, Verify};
use crate::sync::Arc;
use crate::sync::plain::{AtomicU8, AtomicU64, OnceLock, Ordering};

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

/// How, and how carefully, a segment is read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    pub(crate) mode: ReadMode,
    pub(crate) verify: Verify,
    /// Whether another process may remove files that are in use here.
    pub(crate) beside_writer: bool,
}

/// The number of the next segment that is opened.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

/// How far a segment's life has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum State {
    /// Being written, or left without a footer by a failure.
    Unsealed,
    Sealed,
}

/// An open segment: read by anyone below its tail, written by its one `Active`.
///
/// Invariant R4: a `&[u8]` is formed only of ranges below the published tail, never of the whole mapping.
pub(crate) struct Segment {
    // What every read looks at, and nobody writes.
    base: Base,
    place: u64,
    trust: Trust,
    salt: Salt,
    /// Which of all segments that this process opened.
    number: u64,
    beside_writer: bool,
    id: SegmentId,
    kind: SegmentKind,
    epoch: [u8; 16],
    first_seqno: Seqno,
    len: u64,
    path: String,
    file: Descriptor,
    // Written at each commit: on lines of their own, for the sake of the readers of the others.
    tail: CachePadded<Tail>,
    live: Arc<CachePadded<Live>>,
    /// Its puts by key, as far as somebody asked.
    orders: Arc<Orders>,
    /// Bytes of the device that the file takes up.
    taken: AtomicU64,
    state: AtomicU8,
    /// What goes with it.
    legacy: Arc<Legacy>,
    /// Never looked at but to be shared: it is there to be dropped.
    lease: Option<Arc<Lease>>,
    /// Its file, once that is gone but for whoever still shows something of it.
    pinned: OnceLock<Pinned>,
}

/// Where a segment is mapped.
struct Base {
    /// `None` in positioned mode, and where the system has no mappings left.
    start: Option<NonNull<u8>>,
    /// Never looked at again: it is there to be dropped.
    _map: Option<Arc<dyn Mapping>>,
}

// SAFETY: the pointer is into the mapping beside it, which is Send and Sync, and only read through.
unsafe impl Send for Base {}
// SAFETY: as above.
unsafe impl Sync for Base {}

impl Segment {
    /// Takes an open file whose header is known; everything below `readable` may be read from here on.
    ///
    /// Falls back to positioned reads if the file cannot be mapped: mappings are a limited resource, and a store that
    /// is slow is better than one that does not open.
    pub(crate) fn new(
        disk: &Arc<dyn Disk>,
        home: Home,
        header: &SegmentHeader,
        place: u64,
        readable: u64,
        reading: Reading,
    ) -> Segment {
        let (map, start) = match (reading.mode, &home.entry) {
            (ReadMode::Mmap, None) => (map_all(&*home.file, header.len), 0),
            (ReadMode::Mmap, Some(entry)) => (entry.map.clone(), entry.start),
            (ReadMode::Positioned, _) => (None, 0),
        };
        let start = map.as_ref().and_then(|map| NonNull::new(map.as_ptr().cast_mut().wrapping_add(start as usize)));
        // What is read by position comes from the device each time.
        let verify = if start.is_some() { reading.verify } else { Verify::Always };
        let len = home.entry.as_ref().map_or(header.len, |entry| entry.len);
        let taken = if home.entry.is_some() { readable } else { taken(&*home.file, header.len) };
        Segment {
            base: Base { start, _map: map },
            place,
            trust: Trust::new(verify, len),
            salt: header.salt(),
            number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed),
            beside_writer: reading.beside_writer,
            id: header.id,
            kind: header.kind,
            epoch: header.epoch,
            first_seqno: header.first_seqno,
            len,
            path: home.path(&**disk),
            file: Descriptor::new(disk, home),
            tail: CachePadded::new(Tail::new(readable)),
            live: Arc::new(CachePadded::new(Live::default())),
            orders: Arc::default(),
            taken: AtomicU64::new(taken),
            state: AtomicU8::new(State::Unsealed as u8),
            legacy: Arc::default(),
            lease: None,
            pinned: OnceLock::new(),
        }
    }

    /// The same, owning its places.
    pub(crate) fn with_lease(self, lease: Arc<Lease>) -> Segment {
        Segment { lease: Some(lease), ..self }
    }

    /// The same, sharing with `other` its places, the counts of what is live, its puts by key, and what goes with it: both have the
    /// same records there.
    pub(crate) fn in_place_of(self, other: &Segment) -> Segment {
        let (live, orders, legacy) = (Arc::clone(&other.live), Arc::clone(&other.orders), Arc::clone(&other.legacy));
        Segment { live, orders, legacy, lease: other.lease.clone(), ..self }
    }

    /// What goes with it.
    pub(crate) fn legacy(&self) -> &Arc<Legacy> {
        &self.legacy
    }

    /// Tells it from every other segment that this process opened, at the same place before it, too.
    #[inline]
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether it is read in place.
    #[inline]
    pub(crate) fn is_mapped(&self) -> bool {
        self.base.start.is_some()
    }

    pub(crate) fn kind(&self) -> SegmentKind {
        self.kind
    }

    pub(crate) fn epoch(&self) -> [u8; 16] {
        self.epoch
    }

    /// The archive that it lies in, if it does.
    pub(crate) fn archive(&self) -> Option<ArchiveId> {
        self.file.archive()
    }

    pub(crate) fn id(&self) -> SegmentId {
        self.id
    }

    pub(crate) fn salt(&self) -> Salt {
        self.salt
    }

    /// Bytes of the file or the entry of an archive, fixed for life.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Its first place in the registry.
    pub(crate) fn place(&self) -> u64 {
        self.place
    }

    /// What its header says, in the store `database`.
    pub(crate) fn header_facts(&self, database: [u8; 16]) -> SegmentHeader {
        let (id, epoch, kind, first_seqno) = (self.id, self.epoch, self.kind, self.first_seqno);
        SegmentHeader { database, id, epoch, kind, first_seqno, len: self.len }
    }

    /// Whether a place of the registry is one of its own.
    pub(crate) fn has_place(&self, place: u64) -> bool {
        place.checked_sub(self.place).is_some_and(|beyond| beyond < self.len.div_ceil(PLACE_LEN))
    }

    /// The seqno that its first record has, or will have, or may have where records were rewritten.
    pub(crate) fn first_seqno(&self) -> Seqno {
        self.first_seqno
    }

    /// The file in the store's directory, and which part of it.
    pub(crate) fn name(&self) -> String {
        self.file.name()
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

    /// Bytes that the file takes up on the device and no record uses.
    pub(crate) fn unused_bytes(&self) -> u64 {
        self.taken.load(Ordering::Relaxed).saturating_sub(self.tail.published())
    }

    /// Notes how much of the device the file takes up now.
    pub(crate) fn note_taken(&self, file: &dyn File) {
        self.taken.store(taken(file, self.len), Ordering::Relaxed);
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
        self.live.get().bytes
    }

    /// How many records the index points at.
    pub(crate) fn live_records(&self) -> u64 {
        self.live.get().records
    }

    /// Encoded bytes of its tombstones that are known to be needed, since older files hold what they delete.
    pub(crate) fn needed_bytes(&self) -> u64 {
        self.live.needed.load(Ordering::Relaxed)
    }

    pub(crate) fn note_needed(&self, bytes: u64) {
        self.live.needed.store(bytes, Ordering::Relaxed);
    }

    /// Bytes of large values that its records name and nobody sees any more.
    pub(crate) fn dead_large_bytes(&self) -> u64 {
        self.live.dead_large()
    }

    /// The counts of what is live.
    pub(crate) fn live(&self) -> &Live {
        &self.live
    }

    pub(crate) fn state(&self) -> State {
        match self.state.load(Ordering::Relaxed) {
            state if state == State::Unsealed as u8 => State::Unsealed,
            _ => State::Sealed,
        }
    }

    /// Notes the state. What is no longer written gives its descriptor back where it can: mapped, it needs none; read by
    /// position, it is opened for each read once `FILES_KEPT_MAX` others are, unless its name may be gone by then.
    pub(crate) fn set_state(&self, state: State) {
        self.state.store(state as u8, Ordering::Relaxed);
        let order = self.archive().map_or(self.id.0, |archive| archive.0);
        let can_reopen = order > FILES_KEPT_MAX && !self.beside_writer;
        if state == State::Sealed && (self.base.start.is_some() || can_reopen) {
            self.file.release();
        }
    }

    /// The footer of a sealed segment.
    ///
    /// # Errors
    /// `Corruption` if it is damaged; as the system says.
    pub(crate) fn footer(&self) -> Result<Footer> {
        let (mut bytes, at) = ([0; FOOTER_LEN as usize], self.len - FOOTER_LEN);
        self.read(&mut bytes, at)?;
        let footer = Footer::decode(&bytes, self.salt).filter(|footer| footer.end == self.tail.published());
        footer.ok_or_else(|| Error::corruption(&self.path, at, "the footer is damaged"))
    }

    /// Keeps the file open from here on where it is read by position: its name is about to go, and somebody may show it.
    pub(crate) fn keep_file(&self) -> Result<()> {
        if self.base.start.is_some() { Ok(()) } else { self.file.keep() }
    }

    /// Its file is gone, but for whoever still shows something of it.
    pub(crate) fn pin(&self, file: &Pinned) {
        // A segment is compacted once.
        let _ = self.pinned.set(file.clone());
    }

    /// From here on every read of it is checked in full (W4).
    pub(crate) fn distrust(&self) {
        self.trust.lose();
    }

    /// Asks for the lines that a read of the record at `offset` will need: most records are no longer.
    #[inline]
    pub(crate) fn prefetch(&self, offset: u64) {
        if let Some(start) = self.base.start {
            let record = start.as_ptr().wrapping_add(offset as usize);
            prefetch(record);
            prefetch(record.wrapping_add(64));
            prefetch(record.wrapping_add(128));
            self.trust.prefetch(offset);
        }
    }

    /// Checks the mapped record at `offset`, and trusts it from here on.
    ///
    /// # Errors
    /// `Corruption` if a checksum does not match.
    #[inline(never)]
    fn check(&self, offset: u64) -> Result<()> {
        let header = self.header(offset)?;
        let record = self.bytes(offset, header.record_len())?;
        self.check_record(offset, &header, &record)?;
        self.trust.extend(offset);
        Ok(())
    }

    /// Checks header, key and value of the record whose bytes these are, from `offset` on.
    fn check_record(&self, offset: u64, header: &Header, record: &[u8]) -> Result<()> {
        let value = header.value();
        let checked = header.check_head(record, self.salt, offset).and_then(|()| {
            // The caller has brought the whole record.
            header.check_value(record.get(value.start as usize..value.end as usize).unwrap_or_default())
        });
        checked.map_err(|flaw| self.flawed(offset, &flaw))
    }

    /// The header of the record at `offset`, its checksum verified.
    ///
    /// # Errors
    /// `Corruption` if there is none; `Io` in positioned mode.
    pub(crate) fn record(&self, offset: u64) -> Result<Header> {
        let header = self.header(offset)?;
        let head = self.bytes(offset, header.head_len())?;
        header.check_head(&head, self.salt, offset).map_err(|flaw| self.flawed(offset, &flaw))?;
        Ok(header)
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
                let mut bytes = zeros(len, &self.path)?;
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
        let start = self.base.start?;
        // SAFETY: `check_range` saw offset + len at or below the published tail, which is at most the file's length,
        // for which `Segment::new` made the mapping; these bytes are written and never change (T1, W3), and the
        // mapping lives as long as `self`. The file shrinks only if somebody outside truncates it.
        Some(unsafe { std::slice::from_raw_parts(start.as_ptr().add(offset as usize), len as usize) })
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

/// A file of `len` bytes in memory, if it can be mapped.
fn map_all(file: &dyn File, len: u64) -> Option<Arc<dyn Mapping>> {
    let len = usize::try_from(len).ok()?;
    let map = file.map(len).ok().filter(|map| map.len() == len)?;
    Some(Arc::from(map))
}

/// Bytes of the device that the file of a segment takes up, as far as one can tell.
fn taken(file: &dyn File, len: u64) -> u64 {
    file.taken().unwrap_or(len).min(len)
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment").field("path", &self.path).field("tail", &self.tail).finish_non_exhaustive()
    }
}
