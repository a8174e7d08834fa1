//! Where an unsealed segment ends: the torn-tail rule, and the copy of what it cuts off.
//!
//! Floor 3. Imports `address`, `error`, `format`, `limits`, `platform`, `segment`.
//!
//! A power cut leaves any subset of the sectors that no barrier covered. So the first place where no record stands is
//! the end of the log, unless something that was written later says that bytes behind it were durable once: a horizon
//! slot, or the horizon that a later record carries. Then it is damage, and nothing may be cut.

use std::io;
use std::path::PathBuf;

use crate::address::{SegmentId, Seqno};
use crate::error::{Error, Result};
use crate::format::checksum::Salt;
use crate::format::names;
use crate::format::record::Flaw;
use crate::format::segment::Horizon;
use crate::limits::{FOOTER_LEN, HORIZON_SLOT, RECORD_ALIGN, RECORD_HEADER_LEN, RECORDS_START, SECTOR};
use crate::platform::{Disk, File};
use crate::segment::scan::{Scan, Scanned, Step, Values};
use crate::segment::source::Source;

/// Copies kept in `torn/`, the oldest going first.
const COPIES_MAX: usize = 16;
/// Longest copy, in bytes.
const COPY_LEN_MAX: u64 = 64 << 20;

/// The valid records of an unsealed segment, in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct End {
    /// Where the last whole batch ends.
    pub(super) offset: u64,
    pub(super) last_seqno: Seqno,
    pub(super) record_count: u64,
    pub(super) crc: u32,
}

impl End {
    /// Before the first record of a segment of the log.
    pub(super) fn before(first_seqno: Seqno) -> End {
        let last_seqno = (u64::from(first_seqno) - 1).into();
        End { offset: RECORDS_START, last_seqno, record_count: 0, crc: 0 }
    }
}

/// The same, and what lies behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ending {
    pub(super) end: End,
    /// How many bytes, up to the last that is not zero; 0 of a segment that was sealed once, of which nobody asks.
    pub(super) torn_len: u64,
}

/// What is known of an unsealed segment before its records are read.
pub(super) struct Unsealed<'a> {
    pub(super) file: &'a dyn File,
    pub(super) path: &'a str,
    pub(super) salt: Salt,
    /// Of the file as its header says, and as it is: less, if somebody cut it.
    pub(super) len: u64,
    pub(super) readable: u64,
    pub(super) first_seqno: Seqno,
    /// The last seqno it must hold, if a successor says so: then it was sealed once and lost its footer.
    pub(super) expected: Option<Seqno>,
    pub(super) source: Source,
}

impl Unsealed<'_> {
    /// Finds the end.
    ///
    /// # Errors
    /// `Corruption` if the records stop before something that vouches for more; `Io` as the system says.
    pub(super) fn find_end(&self) -> Result<Ending> {
        let mut scan = self.scan();
        let slots = self.slots()?;
        let (end, flaw) = match self.walk(&mut scan, Walk::new(End::before(self.first_seqno)), slots)? {
            (walk, None) => return Ok(Ending { end: walk.end, torn_len: 0 }),
            (walk, Some(flaw)) => (walk.finish(), flaw),
        };
        let behind = scan.behind(end.offset, end.last_seqno.into())?;
        let vouched = behind.horizon.or_else(|| slots.filter(|horizon| *horizon > end.offset));
        self.check_vouched(&flaw, vouched)?;
        Ok(Ending { end, torn_len: behind.len })
    }

    /// Finds the end that a writer has reached since it was at `from`, and the highest horizon on the way there. What is no
    /// record is the end for now, though something behind it may be one by the time that it is looked at.
    ///
    /// # Errors
    /// As `find_end`.
    pub(super) fn find_end_from(&self, from: End) -> Result<(End, u64)> {
        // Before the records: what they vouch for was there then.
        let slots = self.slots()?;
        let (walk, flaw) = self.walk(&mut self.scan().from(from.offset), Walk::new(from), slots)?;
        let (Some(flaw), horizon) = (flaw, walk.horizon) else { return Ok((walk.end, walk.horizon)) };
        let end = walk.finish();
        self.check_vouched(&flaw, slots.filter(|horizon| *horizon > end.offset))?;
        Ok((end, horizon))
    }

    fn scan(&self) -> Scan<'_> {
        Scan::new(self.file, self.path, self.salt, self.limit(), self.source, Values::Check)
    }

    /// Goes on until the last record that is expected, or until there is none: says where and why then.
    fn walk(&self, scan: &mut Scan<'_>, mut walk: Walk, slots: Option<u64>) -> Result<(Walk, Option<(u64, Flaw)>)> {
        loop {
            if self.expected == Some(walk.end.last_seqno) {
                return Ok((walk, None));
            }
            let step = match scan.step()? {
                Step::Record(record) => walk.see(&record, slots),
                Step::Stop(flaw) => return Ok((walk, Some((scan.offset(), flaw)))),
            };
            match step {
                Seen::InBatch => {}
                Seen::BatchEnds => walk.close(scan.offset(), scan.crc()),
                Seen::OutOfOrder(at, flaw) => return Ok((walk, Some((at, flaw)))),
            }
        }
    }

    /// # Errors
    /// `Corruption` if the records stop, because of this flaw, before something that vouches for more.
    fn check_vouched(&self, flaw: &(u64, Flaw), horizon: Option<u64>) -> Result<()> {
        if let Some(horizon) = horizon {
            return Err(self.cut_short(flaw, format_args!("everything before offset {horizon} was durable")));
        }
        if let Some(expected) = self.expected {
            return Err(self.cut_short(flaw, format_args!("the next segment begins after record {expected}")));
        }
        Ok(())
    }

    /// No record reaches beyond.
    fn limit(&self) -> u64 {
        (self.len - FOOTER_LEN).min(self.readable / RECORD_ALIGN * RECORD_ALIGN)
    }

    /// Whether something stands where the footer goes, though it is none: it was one, and rotted.
    ///
    /// # Errors
    /// As the system says.
    pub(super) fn has_footer_bytes(&self) -> Result<bool> {
        if self.readable < self.len {
            return Ok(false);
        }
        let mut bytes = [0; FOOTER_LEN as usize];
        self.source.read_exact(self.file, self.path, &mut bytes, self.len - FOOTER_LEN)?;
        Ok(bytes.iter().any(|byte| *byte != 0))
    }

    /// The higher of the two horizon slots.
    fn slots(&self) -> Result<Option<u64>> {
        let mut highest = None;
        for slot in [HORIZON_SLOT, HORIZON_SLOT + SECTOR as u64] {
            let mut sector = [0; SECTOR];
            self.source.read_exact(self.file, self.path, &mut sector, slot)?;
            let horizon = Horizon::decode(&sector, self.salt).map(|horizon| horizon.offset);
            highest = highest.max(horizon);
        }
        Ok(highest)
    }

    fn cut_short(&self, (offset, flaw): &(u64, Flaw), vouches: std::fmt::Arguments<'_>) -> Error {
        let what = match flaw {
            _ if *offset + RECORD_HEADER_LEN as u64 > self.readable => "the file ends here",
            Flaw::NeverWritten => "zeros",
            Flaw::Damaged(what) => what,
        };
        let text = format!("{what}, but {vouches}; restore the file from a backup");
        Error::corruption(self.path, *offset, text)
    }
}

/// The state of a walk over records that may be torn.
struct Walk {
    /// After the last whole batch.
    end: End,
    /// Where a value failed its checksum in bytes that nothing has vouched for yet: the end, if nothing does later.
    doubt: Option<(u64, End)>,
    last_seqno: u64,
    record_count: u64,
    /// The highest that a record had.
    horizon: u64,
}

enum Seen {
    InBatch,
    BatchEnds,
    OutOfOrder(u64, Flaw),
}

impl Walk {
    fn new(end: End) -> Walk {
        Walk { end, doubt: None, last_seqno: end.last_seqno.into(), record_count: end.record_count, horizon: 0 }
    }

    fn see(&mut self, record: &Scanned<'_>, slots: Option<u64>) -> Seen {
        let seqno = u64::from(record.header.seqno);
        if seqno != self.last_seqno + 1 {
            let what = format!("record {seqno} where record {} is expected", self.last_seqno + 1);
            return Seen::OutOfOrder(record.offset, Flaw::Damaged(what));
        }
        self.last_seqno = seqno;
        self.record_count += 1;
        let horizon = record.header.horizon(record.head);
        self.horizon = self.horizon.max(horizon.unwrap_or(0));
        let vouched = slots.max(horizon);
        if self.doubt.is_some_and(|(doubtful, _)| vouched >= Some(doubtful)) {
            // What failed was durable once: it rotted, and costs that key alone.
            self.doubt = None;
        }
        let end = record.offset + record.header.record_len();
        if record.value.is_some() && self.doubt.is_none() && vouched < Some(end) {
            self.doubt = Some((end, self.end));
        }
        if record.header.more_follows { Seen::InBatch } else { Seen::BatchEnds }
    }

    fn close(&mut self, offset: u64, crc: u32) {
        let (last_seqno, record_count) = (self.last_seqno.into(), self.record_count);
        self.end = End { offset, last_seqno, record_count, crc };
    }

    fn finish(self) -> End {
        self.doubt.map_or(self.end, |(_, end)| end)
    }
}

/// Keeps a copy of `len` torn bytes behind `end` for whoever wants to look, and drops the oldest copies.
///
/// # Errors
/// As the system says. Nothing depends on the copy: the bytes stay in the segment, too, behind its footer's end.
pub(super) fn keep_copy(
    disk: &dyn Disk,
    id: SegmentId,
    segment: &Unsealed<'_>,
    end: u64,
    len: u64,
) -> io::Result<PathBuf> {
    match disk.create_dir(names::TORN) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let mut copies: Vec<_> = disk.list(names::TORN)?.iter().filter_map(|name| names::parse_torn(name)).collect();
    copies.sort_unstable();
    let surplus = (copies.len() + 1).saturating_sub(COPIES_MAX);
    for (id, offset) in copies.drain(..surplus) {
        disk.remove(&names::torn(id, offset))?;
    }
    let name = names::torn(id, end);
    if copies.contains(&(id, end)) {
        // An open that was cut short began it; it may be incomplete.
        disk.remove(&name)?;
    }
    let copy = disk.create(&name)?;
    let len = len.min(COPY_LEN_MAX);
    let mut piece = vec![0; (256 * 1024).min(len) as usize];
    let mut done = 0;
    while done < len {
        let part = (piece.len() as u64).min(len - done) as usize;
        let read = segment.file.read_device_at(&mut piece[..part], end + done)?;
        if read == 0 {
            break;
        }
        copy.write_at(&piece[..read], done)?;
        done += read as u64;
    }
    Ok(disk.path().join(name))
}

#[cfg(test)]
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
#[path = "torn_tests.rs"]
mod tests;
