//! Places and moments: which segment, where in the log, when.
//!
//! Floor 0. Imports `limits`.

use std::fmt;

use crate::limits::{ADDRESS_BITS, PLACE_LEN, RECORD_ALIGN};

/// Names a segment: the files of the log are numbered without a gap, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct SegmentId(pub(crate) u64);

impl SegmentId {
    /// The id of a store's first segment.
    pub(crate) const FIRST: SegmentId = SegmentId(1);

    /// The id after this one; `None` past the last.
    pub(crate) fn next(self) -> Option<SegmentId> {
        self.0.checked_add(1).map(SegmentId)
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}", self.0)
    }
}

/// Names an archive. Ids of archives grow, and may have gaps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct ArchiveId(pub(crate) u64);

impl fmt::Display for ArchiveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}", self.0)
    }
}

/// Names the file of a large value: random, so that no name ever comes twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub(crate) struct LargeId(pub(crate) [u8; 16]);

impl fmt::Display for LargeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// The moment of a write: each record of the log has the next number, a batch has that of its last record.
///
/// 0 is before the first write.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Seqno(u64);

impl Seqno {
    /// The one after this: from there on [`Db::tail`](crate::Db::tail) goes on behind a batch with this seqno, or behind a snapshot of it.
    pub fn next(self) -> Seqno {
        Seqno(self.0.saturating_add(1))
    }
}

impl From<u64> for Seqno {
    fn from(number: u64) -> Self {
        Seqno(number)
    }
}

impl From<Seqno> for u64 {
    fn from(seqno: Seqno) -> Self {
        seqno.0
    }
}

impl fmt::Display for Seqno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a record lies: the number of an 8-byte unit in one linear space of 2^41 such units, in which each file has a
/// run of places of 1 MiB. Never 0: no record lies in the first 4 KiB of a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Location(u64);

impl Location {
    /// The record at `offset` of the file whose first place is `place`.
    ///
    /// Both come from the registry and from walks that checked them; a unit beyond the space is our bug.
    pub(crate) fn new(place: u64, offset: u64) -> Location {
        debug_assert!(offset.is_multiple_of(RECORD_ALIGN));
        let unit = (place * PLACE_LEN + offset) / RECORD_ALIGN;
        assert!(unit != 0 && unit >> ADDRESS_BITS == 0, "location {place}+{offset} is outside of the address space");
        Location(unit)
    }

    /// The word as an index slot holds it. `None` for 0.
    pub(crate) fn from_unit(unit: u64) -> Option<Location> {
        debug_assert!(unit >> ADDRESS_BITS == 0);
        (unit != 0).then_some(Location(unit))
    }

    /// The number of the unit, below 2^41.
    pub(crate) fn unit(self) -> u64 {
        self.0
    }

    /// The place of the registry that this location falls in.
    pub(crate) fn place(self) -> u64 {
        self.0 * RECORD_ALIGN / PLACE_LEN
    }

    /// Where a place begins, in bytes from the start of the linear space.
    pub(crate) fn start_of(place: u64) -> u64 {
        place * PLACE_LEN
    }

    /// Bytes from the start of the linear space.
    pub(crate) fn linear(self) -> u64 {
        self.0 * RECORD_ALIGN
    }
}
