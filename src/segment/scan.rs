//! Walking the records of a segment by positioned reads, for recovery and verification.
//!
//! Floor 2. Imports `error`, `format`, `limits`, `platform`.
//!
//! Reads, not mappings: a bad sector is then an error, not a signal (O3). Lengths found on disk only ever bound how far
//! the walk goes; memory is a window of fixed size, and at most one record's head.

use crate::error::Result;
use crate::format::checksum::{self, Salt};
use crate::format::large::LargeValue;
use crate::format::record::{Flaw, Header, Kind};
use crate::limits::{EXTENSION_LEN, RECORD_ALIGN, RECORD_HEADER_LEN, RECORDS_START};
use crate::platform::File;
use crate::segment::source::Source;

const WINDOW_LEN: usize = 256 * 1024;
/// Bytes of a record's header and its horizon.
const HEAD_WITH_HORIZON: u64 = (RECORD_HEADER_LEN + EXTENSION_LEN) as u64;

/// How much of each value is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Values {
    /// Nothing: they are skipped.
    Skip,
    /// All of it, against its checksum.
    Check,
    /// The same, and the record is there as a whole.
    Bring,
}

/// The records of a file, one after the other.
pub(crate) struct Scan<'a> {
    file: &'a dyn File,
    path: &'a str,
    salt: Salt,
    source: Source,
    values: Values,
    /// Where the next record begins.
    offset: u64,
    /// No record reaches beyond.
    limit: u64,
    /// crc32c of the records passed, if their values were read.
    crc: u32,
    window: Vec<u8>,
    window_start: u64,
    window_len: usize,
}

/// One intact record (but for its value, of which `value` tells).
pub(crate) struct Scanned<'a> {
    pub(crate) offset: u64,
    pub(crate) header: Header,
    /// Header, extensions, key, padding.
    pub(crate) head: &'a [u8],
    /// All of its bytes, if values are brought; else its head.
    pub(crate) record: &'a [u8],
    /// The value's flaw, if values are checked and this one fails.
    pub(crate) value: Option<Flaw>,
    /// What a put of a large value says of it, checked; `None` of other records, and if it is damaged.
    pub(crate) large: Option<LargeValue>,
}

impl Scanned<'_> {
    pub(crate) fn key(&self) -> &[u8] {
        let at = self.header.key();
        &self.head[at.start as usize..at.end as usize]
    }
}

/// What stands where the next record is expected.
pub(crate) enum Step<'a> {
    Record(Scanned<'a>),
    /// No record: the walk ends here, at `Scan::offset`.
    Stop(Flaw),
}

impl<'a> Scan<'a> {
    /// Starts at the first record of a file; no record reaches beyond `limit`.
    pub(crate) fn new(
        file: &'a dyn File,
        path: &'a str,
        salt: Salt,
        limit: u64,
        source: Source,
        values: Values,
    ) -> Scan<'a> {
        Scan {
            file,
            path,
            salt,
            source,
            values,
            offset: RECORDS_START,
            limit,
            crc: 0,
            window: Vec::new(),
            window_start: 0,
            window_len: 0,
        }
    }

    /// The same, from the record at `offset` on.
    pub(crate) fn from(self, offset: u64) -> Scan<'a> {
        Scan { offset, ..self }
    }

    /// Where the next record begins; after a stop, where there is none.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// crc32c of all records passed. Only if values are checked: else they were not all read; and only before
    /// `horizon_beyond`, which looks at other bytes.
    pub(crate) fn crc(&self) -> u32 {
        debug_assert_ne!(self.values, Values::Skip);
        self.crc
    }

    /// The next record, or why there is none.
    ///
    /// # Errors
    /// `Io` if the device fails the read, `Corruption` if the file ends before `limit`.
    pub(crate) fn step(&mut self) -> Result<Step<'_>> {
        let (offset, header) = match self.head_at(self.offset)? {
            Ok(header) => (self.offset, header),
            Err(flaw) => return Ok(Step::Stop(flaw)),
        };
        let end = offset + header.record_len();
        let value = match self.values {
            Values::Skip => None,
            Values::Check | Values::Bring => self.check_value(offset, &header)?,
        };
        self.offset = end;
        let large = match header.kind {
            Kind::PutLarge => self.large(offset, &header)?,
            _ => Ok(None),
        };
        let value = value.or_else(|| large.as_ref().err().cloned().filter(|_| self.values != Values::Skip));
        let shown = if self.values == Values::Bring { header.record_len() } else { header.head_len() };
        self.load(offset, shown)?;
        let at = (offset - self.window_start) as usize;
        let record = &self.window[at..at + shown as usize];
        let head = &record[..header.head_len() as usize];
        Ok(Step::Record(Scanned { offset, header, head, record, value, large: large.ok().flatten() }))
    }

    /// What the put of a large value at `offset` says of it; its header was checked, so the record is a short one.
    fn large(&mut self, offset: u64, header: &Header) -> Result<Result<Option<LargeValue>, Flaw>> {
        self.load(offset, header.record_len())?;
        let at = (offset - self.window_start) as usize;
        let value = &self.window[at + header.value().start as usize..at + header.value().end as usize];
        Ok(header.check_value(value).and_then(|()| LargeValue::decode(value)).map(Some))
    }

    /// Whether an intact record with the flag `has_horizon` stands at or after `from`, whose horizon lies above it: then
    /// what is missing at `from` was durable once. `after` is the seqno before the first that can stand there.
    ///
    /// Looks at every unit of 8 bytes, but computes checksums over no more than some 64 times what it looks at: a value
    /// made to look like headers everywhere must not hold up an open for minutes. What lies beyond that is not believed.
    ///
    /// # Errors
    /// As `step`.
    pub(crate) fn horizon_beyond(&mut self, from: u64, after: u64) -> Result<Option<u64>> {
        let seqno_max = after.saturating_add((self.limit - from) / RECORD_HEADER_LEN as u64);
        let mut budget = (self.limit - from).saturating_mul(64).saturating_add(WINDOW_LEN as u64);
        let mut offset = from;
        while offset + HEAD_WITH_HORIZON <= self.limit {
            if let Some((horizon, head_len, seqno)) = self.plausible(offset, from)?
                && after < seqno
                && seqno <= seqno_max
            {
                budget = match budget.checked_sub(head_len) {
                    Some(left) => left,
                    None => return Ok(None),
                };
                if let Ok(header) = self.head_at(offset)?
                    && self.check_value(offset, &header)?.is_none()
                {
                    return Ok(Some(horizon));
                }
            }
            offset += RECORD_ALIGN;
        }
        Ok(None)
    }

    /// A cheap look before the checksums: most positions are zeros or the middle of something. Returns horizon, length of
    /// the head and seqno of what could be a record that vouches for bytes behind `from`.
    fn plausible(&mut self, offset: u64, from: u64) -> Result<Option<(u64, u64, u64)>> {
        self.load(offset, HEAD_WITH_HORIZON)?;
        let at = (offset - self.window_start) as usize;
        let bytes = &self.window[at..at + HEAD_WITH_HORIZON as usize];
        let Ok(header) = Header::decode(bytes) else { return Ok(None) };
        let fits = header.record_len() <= self.limit - offset;
        // A group knows no horizon behind its own start.
        let horizon = header.horizon(bytes).filter(|horizon| from < *horizon && *horizon <= offset);
        let horizon = horizon.filter(|horizon| fits && horizon.is_multiple_of(RECORD_ALIGN));
        Ok(horizon.map(|horizon| (horizon, header.head_len(), u64::from(header.seqno))))
    }

    /// Decodes and checks the head of the record at `offset`; the outer error is the device's.
    fn head_at(&mut self, offset: u64) -> Result<Result<Header, Flaw>> {
        if offset + RECORD_HEADER_LEN as u64 > self.limit {
            return Ok(Err(Flaw::NeverWritten));
        }
        self.load(offset, RECORD_HEADER_LEN as u64)?;
        let at = (offset - self.window_start) as usize;
        let header = match Header::decode(&self.window[at..at + RECORD_HEADER_LEN]) {
            Ok(header) => header,
            Err(flaw) => return Ok(Err(flaw)),
        };
        let len = header.record_len();
        if len > self.limit - offset {
            let what = format!("a record of {len} bytes crosses the end at {}", self.limit);
            return Ok(Err(Flaw::Damaged(what)));
        }
        self.load(offset, header.head_len())?;
        let at = (offset - self.window_start) as usize;
        let head = &self.window[at..at + header.head_len() as usize];
        Ok(header.check_head(head, self.salt, offset).map(|()| header))
    }

    /// Reads all of the record at `offset`, in windows; says whether its value is intact.
    fn check_value(&mut self, offset: u64, header: &Header) -> Result<Option<Flaw>> {
        let (value, end) = (header.value(), header.record_len());
        let mut crc = 0;
        let mut padding = Ok(());
        let mut at = 0;
        while at < end {
            let len = (end - at).min(WINDOW_LEN as u64);
            self.load(offset + at, len)?;
            let from = (offset + at - self.window_start) as usize;
            let bytes = &self.window[from..from + len as usize];
            self.crc = checksum::extend(self.crc, bytes);
            // The part of this piece that is value, and the part that is padding behind it.
            let cut = |position: u64| position.clamp(at, at + len).wrapping_sub(at) as usize;
            crc = checksum::extend(crc, &bytes[cut(value.start)..cut(value.end)]);
            if at + len == end {
                // Windows and records are whole units of 8 bytes, so the padding is never split.
                padding = header.check_padding(&bytes[cut(value.end)..]);
            }
            at += len;
        }
        let checked = header.check_value_crc(crc).and(padding);
        Ok(checked.err())
    }

    /// Makes `len` bytes from `offset` on lie in the window; the caller has seen that they end at or below `limit`.
    fn load(&mut self, offset: u64, len: u64) -> Result<()> {
        let have = self.window_start..self.window_start + self.window_len as u64;
        if have.start <= offset && offset + len <= have.end {
            return Ok(());
        }
        debug_assert!(offset + len <= self.limit);
        let want = (self.limit - offset).min(len.max(WINDOW_LEN as u64)) as usize;
        if self.window.len() < want {
            self.window.resize(want, 0);
        }
        self.window_len = 0;
        self.window_start = offset;
        self.source.read_exact(self.file, self.path, &mut self.window[..want], offset)?;
        self.window_len = want;
        Ok(())
    }
}
