//! The records of a segment, one after the other, also behind places where the chain is broken.
//!
//! Floor 7. Imports `address`, `format`, `inspect`, `limits`.
//!
//! Behind damage the next record is searched for at each multiple of 8. What is found there is one of this segment: its checksum
//! begins with the segment's salt and its own offset. So neither copies of records inside of values are taken for some, nor what older
//! files left in the same blocks.

use std::ops::Range;

use crate::address::Seqno;
use crate::format::checksum::{self, Salt};
use crate::format::large::LargeValue;
use crate::format::record::{Flaw, Header, Kind};
use crate::format::segment::SegmentKind;
use crate::inspect::bytes::{Bytes, WINDOW_LEN};
use crate::limits::{RECORD_ALIGN, RECORD_HEADER_LEN, RECORDS_START};

/// Bytes of heads whose checksums are computed in a search, for each byte that is searched: what was made to look like headers
/// everywhere must not take hours.
const SEARCH_COST: u64 = 64;
/// Longest value of a record of the catalogue.
const CATALOGUE_LEN_MAX: u64 = 66_000;

/// What is next in a segment.
pub(super) enum Piece {
    Record(Found),
    Lost(Lost),
}

/// A record whose header and key are intact.
pub(super) struct Found {
    pub(super) offset: u64,
    pub(super) header: Header,
    pub(super) key: Vec<u8>,
    /// All before was durable before it was written.
    pub(super) horizon: Option<u64>,
    /// What is wrong with its value.
    pub(super) flaw: Option<Flaw>,
    /// What a put of a large value says of it, if that is intact.
    pub(super) large: Option<LargeValue>,
    /// The value of a record of the catalogue.
    pub(super) payload: Vec<u8>,
}

impl Found {
    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.header.record_len())
    }

    pub(super) fn seqno(&self) -> Seqno {
        self.header.seqno
    }
}

/// What an intact record says.
pub(super) struct Intact {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    /// When it is no more, in milliseconds since 1970.
    pub(super) expiry: Option<u64>,
}

/// A range without an intact record.
pub(super) struct Lost {
    pub(super) offset: u64,
    pub(super) len: u64,
    /// Up to the last byte that is not zero. 0: nothing was ever written there, or it was given back.
    pub(super) written: u64,
    /// What stands where the first record should be.
    pub(super) flaw: Flaw,
}

/// A walk over a segment.
pub(super) struct Walk {
    bytes: Bytes,
    salt: Salt,
    at: u64,
    /// No record reaches beyond.
    limit: u64,
    /// Seqnos that records of this segment may still have.
    seqnos: Range<u64>,
    /// Whether each has a higher one than those before: not where a job has rewritten them, in the order of their keys as often as not.
    rises: bool,
    /// crc32c of all bytes so far.
    crc: u32,
    budget: u64,
}

impl Walk {
    /// From the first record on; no record reaches beyond `limit`, or has other seqnos than those.
    pub(super) fn new(bytes: Bytes, salt: Salt, limit: u64, kind: SegmentKind, seqnos: Range<u64>) -> Walk {
        let rises = kind == SegmentKind::Log;
        let limit = limit.min(bytes.len()) / RECORD_ALIGN * RECORD_ALIGN;
        let budget = limit.saturating_mul(SEARCH_COST).saturating_add(WINDOW_LEN as u64);
        Walk { bytes, salt, at: RECORDS_START, limit, seqnos, rises, crc: 0, budget }
    }

    /// Where the next piece begins.
    pub(super) fn offset(&self) -> u64 {
        self.at
    }

    /// crc32c of all records so far, if none was lost.
    pub(super) fn crc(&self) -> u32 {
        self.crc
    }

    /// What could not be read so far.
    pub(super) fn take_unread(&mut self) -> Vec<(u64, String)> {
        self.bytes.take_unread()
    }

    /// The next piece; `None` at the end.
    pub(super) fn step(&mut self) -> Option<Piece> {
        if self.at >= self.limit {
            return None;
        }
        Some(match self.head_at(self.at) {
            Ok(header) => Piece::Record(self.take(header)),
            Err(flaw) => Piece::Lost(self.search(flaw)),
        })
    }

    /// The record at `offset`, if key and value are intact.
    pub(super) fn intact_at(&mut self, offset: u64) -> Option<Intact> {
        let header = self.head_at(offset).ok()?;
        let expiry = header.expiry(self.bytes.at(offset, header.head_len() as usize));
        let key = self.part(offset, header.key())?;
        let value = self.part(offset, header.value())?;
        header.check_value(&value).ok()?;
        Some(Intact { key, value, expiry })
    }

    /// A part of the record at `offset`, which lies below the limit.
    fn part(&mut self, offset: u64, range: Range<u64>) -> Option<Vec<u8>> {
        let len = usize::try_from(range.end.checked_sub(range.start)?).ok()?;
        let mut part = Vec::new();
        part.try_reserve_exact(len).ok()?;
        let mut at = offset.saturating_add(range.start);
        while part.len() < len {
            let piece = self.bytes.at(at, len - part.len());
            if piece.is_empty() {
                return None;
            }
            part.extend_from_slice(piece);
            at = at.saturating_add(piece.len() as u64);
        }
        Some(part)
    }

    /// The header of the record at `offset`, if header and key are intact, and it can be one of this segment.
    fn head_at(&mut self, offset: u64) -> Result<Header, Flaw> {
        let salt = self.salt;
        let header = Header::decode(self.bytes.at(offset, RECORD_HEADER_LEN))?;
        let (len, left) = (header.record_len(), self.limit.saturating_sub(offset));
        if len > left {
            return Err(Flaw::Damaged(format!("a record of {len} bytes crosses the end at {}", self.limit)));
        }
        let head_len = header.head_len();
        self.budget = self.budget.saturating_sub(head_len);
        header.check_head(self.bytes.at(offset, head_len as usize), salt, offset)?;
        let seqno = u64::from(header.seqno);
        if !self.seqnos.contains(&seqno) {
            let Range { start, end } = self.seqnos;
            return Err(Flaw::Damaged(format!("record {seqno} where one from {start} to before {end} is expected")));
        }
        Ok(header)
    }

    fn take(&mut self, header: Header) -> Found {
        let offset = self.at;
        let head = self.bytes.at(offset, header.head_len() as usize);
        let horizon = header.horizon(head);
        let at = header.key();
        let key = head.get(at.start as usize..at.end as usize).unwrap_or_default().to_vec();
        let mut flaw = self.check_value(offset, &header);
        let value = header.value();
        let mut large = None;
        if header.kind == Kind::PutLarge && flaw.is_none() {
            match self.part(offset, value.clone()).map(|value| LargeValue::decode(&value)) {
                Some(Ok(told)) => large = Some(told),
                Some(Err(other)) => flaw = Some(other),
                None => {}
            }
        }
        let is_catalogue =
            matches!(header.kind, Kind::KeyspaceCreate | Kind::KeyspaceDrop | Kind::KeyspaceClear | Kind::Cursor);
        let wanted = is_catalogue && flaw.is_none() && value.end.saturating_sub(value.start) <= CATALOGUE_LEN_MAX;
        let payload = if wanted { self.part(offset, value) } else { None };
        self.at = offset.saturating_add(header.record_len());
        if self.rises {
            self.seqnos.start = u64::from(header.seqno).saturating_add(1);
        }
        Found { offset, header, key, horizon, flaw, large, payload: payload.unwrap_or_default() }
    }

    /// Reads all of a record, and says what is wrong with its value.
    fn check_value(&mut self, offset: u64, header: &Header) -> Option<Flaw> {
        let (value, end) = (header.value(), header.record_len());
        let (mut crc, mut padding, mut at) = (0, Ok(()), 0);
        while at < end {
            let len = (end - at).min(WINDOW_LEN as u64);
            let piece = self.bytes.at(offset.saturating_add(at), len as usize);
            self.crc = checksum::extend(self.crc, piece);
            // The part of this piece that is value, and the part that is padding behind it.
            let cut = |position: u64| (position.clamp(at, at + len) - at) as usize;
            crc = checksum::extend(crc, piece.get(cut(value.start)..cut(value.end)).unwrap_or_default());
            if at + len == end {
                padding = header.check_padding(piece.get(cut(value.end)..).unwrap_or_default());
            }
            at += len;
        }
        header.check_value_crc(crc).and(padding).err()
    }

    /// Looks for the next record behind a place where none stands because of `flaw`, and goes there, or to the end.
    fn search(&mut self, flaw: Flaw) -> Lost {
        let start = self.at;
        let (mut at, mut written) = (start, start);
        'windows: while at < self.limit {
            // A whole number of words, and each with the header that may begin there.
            let wanted = (self.limit - at).min(WINDOW_LEN as u64) as usize;
            let window = self.bytes.at(at, wanted).to_vec();
            if let Some(last) = window.iter().rposition(|byte| *byte != 0) {
                written = written.max(at.saturating_add(last as u64 + 1));
            }
            let behind = window.len().saturating_sub(RECORD_HEADER_LEN - RECORD_ALIGN as usize);
            for skip in (0..behind).step_by(RECORD_ALIGN as usize) {
                let offset = at.saturating_add(skip as u64);
                let plausible = window.get(skip..).is_some_and(may_be_header);
                if plausible && offset > start && self.budget > 0 && self.head_at(offset).is_ok() {
                    self.at = offset;
                    break 'windows;
                }
            }
            at = at.saturating_add((behind as u64).next_multiple_of(RECORD_ALIGN).max(RECORD_ALIGN));
            self.at = self.limit;
        }
        let len = self.at.saturating_sub(start);
        Lost { offset: start, len, written: written.saturating_sub(start).min(len), flaw }
    }
}

/// A cheap look before the checksums: kind and flags.
fn may_be_header(bytes: &[u8]) -> bool {
    bytes.get(22..24).is_some_and(|bytes| matches!(bytes, [1..=8, 0..=7]))
}
