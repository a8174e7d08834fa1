//! Walking the records of a segment by positioned reads, for recovery and verification.
//!
//! Floor 2. Imports `error`, `format`, `limits`, `platform`.
//!
//! Reads, not mappings: a bad sector is then an error, not a signal (O3). Lengths found on disk only ever bound how far
//! the walk goes; memory is a window of fixed size, and at most one record's head.

use crate::error::Result;
use crate::format::catalogue::PAYLOAD_LEN_MAX;
use crate::format::checksum::{self, Salt};
use crate::format::large::LargeValue;
use crate::format::record::{Flaw, Header, Kind};
use crate::limits::{EXTENSION_LEN, RECORD_ALIGN, RECORD_HEADER_LEN, RECORDS_START};
use crate::platform::File;
use crate::segment::source::Source;

const WINDOW_LEN: usize = 256 << 10;
/// What comes from the device has no cache that reads ahead: in pieces of 1 MiB it comes twice as fast as in those above.
const DEVICE_WINDOW_LEN: usize = 1 << 20;
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
    /// What a record of the catalogue says, checked; `None` of other records, and if it is damaged.
    pub(crate) catalogue: Option<&'a [u8]>,
}

impl Scanned<'_> {
    pub(crate) fn key(&self) -> &[u8] {
        let at = self.header.key();
        &self.head[at.start as usize..at.end as usize]
    }
}

/// What stands behind the last record of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Behind {
    /// How many bytes, up to the last that is not zero.
    pub(crate) len: u64,
    /// Of an intact record among them, if it lies above where they begin: what is missing there was durable once. `len` is
    /// not the whole length then.
    pub(crate) horizon: Option<u64>,
}

/// A unit of 8 bytes that is not zeros.
struct Word {
    end: u64,
    /// Bytes of it, the last, that are.
    zeros: u32,
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
    /// `behind`, which looks at other bytes.
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
        let value_len = header.value().end - header.value().start;
        let is_catalogue = header.kind.is_catalogue() && value_len <= PAYLOAD_LEN_MAX;
        let whole = self.values == Values::Bring || is_catalogue;
        let shown = if whole { header.record_len() } else { header.head_len() };
        self.load(offset, shown)?;
        let at = (offset - self.window_start) as usize;
        let record = &self.window[at..at + shown as usize];
        let head = &record[..header.head_len() as usize];
        let catalogue = is_catalogue.then(|| &record[header.value().start as usize..header.value().end as usize]);
        let catalogue = catalogue.filter(|said| header.check_value(said).is_ok());
        Ok(Step::Record(Scanned { offset, header, head, record, value, large: large.ok().flatten(), catalogue }))
    }

    /// What the put of a large value at `offset` says of it; its header was checked, so the record is a short one.
    fn large(&mut self, offset: u64, header: &Header) -> Result<Result<Option<LargeValue>, Flaw>> {
        self.load(offset, header.record_len())?;
        let at = (offset - self.window_start) as usize;
        let value = &self.window[at + header.value().start as usize..at + header.value().end as usize];
        Ok(header.check_value(value).and_then(|()| LargeValue::decode(value)).map(Some))
    }

    /// What stands behind the last record, which ends at `from` and has the seqno `last`.
    ///
    /// Looks at every unit of 8 bytes, but computes checksums over no more than some 64 times what it looks at: a value
    /// made to look like headers everywhere must not hold up an open for minutes. What lies beyond that is not believed.
    ///
    /// # Errors
    /// As `step`.
    pub(crate) fn behind(&mut self, from: u64, last: u64) -> Result<Behind> {
        let seqno_max = last.saturating_add((self.limit - from) / RECORD_HEADER_LEN as u64);
        let mut budget = (self.limit - from).saturating_mul(64).saturating_add(WINDOW_LEN as u64);
        let (mut len, mut at) = (0, from);
        while let Some(word) = self.next_word(at)? {
            at = word.end;
            len = at - u64::from(word.zeros) - from;
            // The last word of a header has the kind, which is not 0.
            let Some(offset) = at.checked_sub(RECORD_HEADER_LEN as u64).filter(|offset| from <= *offset) else {
                continue;
            };
            let Some((horizon, head_len, seqno)) = self.plausible(offset, from)? else { continue };
            if seqno <= last || seqno_max < seqno || budget < head_len {
                continue;
            }
            budget -= head_len;
            if let Ok(header) = self.head_at(offset)?
                && self.check_value(offset, &header)?.is_none()
            {
                return Ok(Behind { len, horizon: Some(horizon) });
            }
        }
        Ok(Behind { len, horizon: None })
    }

    /// The first unit of 8 bytes at or after `at` that is not zeros.
    fn next_word(&mut self, mut at: u64) -> Result<Option<Word>> {
        while at < self.limit {
            self.load(at, RECORD_ALIGN)?;
            let bytes = &self.window[(at - self.window_start) as usize..self.window_len];
            let (blocks, _) = bytes.as_chunks::<64>();
            let zeros = 64 * blocks.iter().take_while(|block| **block == [0; 64]).count();
            let (words, _) = bytes[zeros..].as_chunks();
            let found = words.iter().map(|word| u64::from_le_bytes(*word)).enumerate().find(|(_, word)| *word != 0);
            if let Some((number, word)) = found {
                let end = at + zeros as u64 + (number as u64 + 1) * RECORD_ALIGN;
                return Ok(Some(Word { end, zeros: word.leading_zeros() / u8::BITS }));
            }
            at += bytes.len() as u64;
        }
        Ok(None)
    }

    /// A cheap look before the checksums: most positions are zeros or the middle of something. Returns horizon, length of
    /// the head and seqno of what could be a record that vouches for bytes behind `from`.
    fn plausible(&mut self, offset: u64, from: u64) -> Result<Option<(u64, u64, u64)>> {
        if self.limit - offset < HEAD_WITH_HORIZON {
            return Ok(None);
        }
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
        let window_len = match self.source {
            Source::Cache => WINDOW_LEN,
            Source::Device => DEVICE_WINDOW_LEN,
        };
        let want = (self.limit - offset).min(len.max(window_len as u64)) as usize;
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

#[cfg(test)]
mod tests {
    use crate::format::checksum::Salt;
    use crate::limits::RECORDS_START;
    use crate::platform::memory::MemoryDisk;
    use crate::platform::{Disk, File};
    use crate::segment::scan::{Behind, DEVICE_WINDOW_LEN, Scan, Values, WINDOW_LEN};
    use crate::segment::source::Source;
    use crate::sync::Arc;

    #[test]
    fn what_stands_behind_the_records_ends_with_the_last_byte_that_is_not_zero() {
        const LEN: u64 = RECORDS_START + 2 * DEVICE_WINDOW_LEN as u64 + 24;
        let disk = MemoryDisk::new();
        let edges = [WINDOW_LEN as u64, DEVICE_WINDOW_LEN as u64, LEN - RECORDS_START];
        let near = edges.iter().flat_map(|edge| edge - 34..*edge).chain(0..80);
        for (number, at) in near.enumerate() {
            let file: Arc<dyn File> = disk.create(&number.to_string()).unwrap();
            file.allocate(LEN).unwrap();
            file.write_at(&[1], RECORDS_START + at).unwrap();
            for source in [Source::Cache, Source::Device] {
                let mut scan = Scan::new(&*file, "file", Salt(0), LEN, source, Values::Check);
                let behind = |len| Behind { len, horizon: None };
                assert_eq!(scan.behind(RECORDS_START, 0).unwrap(), behind(at + 1), "{source:?}");
                assert_eq!(scan.behind(LEN, 0).unwrap(), behind(0), "nothing is there");
            }
            disk.remove(&number.to_string()).unwrap();
        }
    }
}
