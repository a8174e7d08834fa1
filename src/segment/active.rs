//! The segment that is written: appended to, sealed.
//!
//! Floor 2. Imports `address`, `error`, `format`, `limits`, `platform`, `reclaim`, `sabotage`, `segment`, `sync`.

use std::io;

use crate::address::Seqno;
use crate::error::{Error, ErrorKind, Result};
use crate::format::checksum;
use crate::format::segment::{Footer, Horizon};
use crate::limits::{
    BLOCK, FOOTER_LEN, HORIZON_SLOT, RECORD_HEADER_LEN, RECORDS_START, RESERVE_LEN_MAX, RESERVE_PART, SECTOR,
    ZEROS_AHEAD,
};
use crate::platform::{Barrier, File};
use crate::reclaim::hold::Hold;
use crate::sabotage::{Sabotage, planted};
use crate::segment::blank::write_zeros;
use crate::segment::source::Source;
use crate::segment::{Segment, State};
use crate::sync::Arc;

/// The one writer of a segment; readers see what the segment's tail publishes.
///
/// Invariant A1: `durable <= ordered <= end`; each was covered by a successful barrier of its level.
/// Invariant A2: bytes are written once, at `end`, in order: no offset is ever written twice but horizon and footer, and
/// after zeros.
#[derive(Debug)]
pub(crate) struct Active {
    segment: Hold<Segment>,
    file: Arc<dyn File>,
    /// Where the next record goes.
    end: u64,
    /// Below, each block was written once, if only with zeros; `u64::MAX` where that does not matter.
    zeroed: u64,
    /// A barrier of any level covered everything below.
    ordered: u64,
    durable: u64,
    /// Nothing more may be appended: it waits to be sealed.
    ended: bool,
    /// What lies behind the end may be more than zeros: a write that failed, or that was torn.
    soiled: bool,
    /// crc32c of all records so far, for the footer.
    crc: u32,
    record_count: u64,
    last_seqno: Seqno,
}

impl Active {
    /// Starts writing an empty segment.
    pub(crate) fn new(segment: Hold<Segment>, file: Arc<dyn File>, last_seqno: Seqno) -> Active {
        Active {
            zeroed: u64::MAX,
            segment,
            file,
            end: RECORDS_START,
            ordered: RECORDS_START,
            durable: RECORDS_START,
            ended: false,
            soiled: false,
            crc: 0,
            record_count: 0,
            last_seqno,
        }
    }

    /// The same of a segment that has records already, up to `end`, with this checksum: in order to seal it.
    pub(crate) fn resume(self, end: u64, crc: u32, record_count: u64) -> Active {
        Active { end, crc, record_count, ..self }
    }

    /// The same where blocks were never written: zeros go ahead of the records then.
    pub(crate) fn with_zeros(self) -> Active {
        Active { zeroed: RECORDS_START, ..self }
    }

    /// The same where something lies behind the end, which is kept.
    pub(crate) fn soiled(self) -> Active {
        Active { soiled: true, ..self }
    }

    pub(crate) fn segment(&self) -> &Hold<Segment> {
        &self.segment
    }

    /// Where the next record goes.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Everything below is on stable storage.
    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.end == RECORDS_START
    }

    /// Bytes that still fit.
    pub(crate) fn room(&self) -> u64 {
        if self.ended { 0 } else { self.segment.len() - FOOTER_LEN - self.end }
    }

    /// How many of them are kept for deletes in a store that finds no space for another segment (W8). They need none: room is
    /// reserved for the whole file, where the file system can.
    pub(crate) fn reserve(&self) -> u64 {
        (self.segment.len() / RESERVE_PART).min(RESERVE_LEN_MAX)
    }

    /// Writes stamped records at the end, `count` of them, the last of which is `last_seqno`. Not yet durable, and not
    /// yet published.
    ///
    /// # Errors
    /// `NoSpace`, or else `Io`. `end` stays, but bytes above it may have been written: nothing may be appended after that.
    pub(crate) fn append(&mut self, bytes: &[u8], count: u64, last_seqno: Seqno) -> Result<()> {
        debug_assert!(bytes.len() as u64 <= self.room());
        let what = || format!("append {} bytes at offset {} of", bytes.len(), self.end);
        if let Err(error) = self.file.write_at(bytes, self.end) {
            self.soiled = true;
            return Err(self.unwritten(&what(), error));
        }
        self.end += bytes.len() as u64;
        self.crc = checksum::extend(self.crc, bytes);
        self.record_count += count;
        self.last_seqno = last_seqno;
        Ok(())
    }

    /// Makes everything appended so far ordered or durable.
    ///
    /// # Errors
    /// Whatever the errno, `Io`: what is durable is unknown, and asking again proves nothing (W4).
    pub(crate) fn barrier(&mut self, level: Barrier) -> Result<()> {
        let covered = match level {
            Barrier::Ordered => self.ordered,
            Barrier::Durable => self.durable,
        };
        if covered == self.end {
            return Ok(());
        }
        self.write_zeros_ahead();
        // BARRIER: W1. The records reach the device before anyone is told that they did.
        let reached = self.file.barrier(level).map_err(|error| self.lost("sync", error))?;
        self.ordered = self.end;
        if reached == Barrier::Durable {
            self.durable = self.end;
        }
        Ok(())
    }

    /// Where this barrier has to pay for a block that was never written, lets it pay for those to come as well: writes zeros
    /// behind the end, so that the next barriers find them written. A barrier over many blocks is worth its price as it is.
    /// Best effort: without zeros everything is as it was, and only slower.
    fn write_zeros_ahead(&mut self) {
        let covered = self.end - self.durable;
        if self.end <= self.zeroed || self.ended || covered >= ZEROS_AHEAD {
            return;
        }
        self.zeroed = (self.end + ZEROS_AHEAD).next_multiple_of(BLOCK).min(self.segment.len() - FOOTER_LEN);
        let _ = write_zeros(&*self.file, self.end..self.zeroed, &mut || true);
    }

    /// Closes the segment at its end: data durable, then horizon slots and footer written and durable. Nothing may be
    /// appended afterwards, whatever comes of it.
    ///
    /// # Errors
    /// As `barrier`. `NoSpace` if slots or footer find none, where room is not reserved: the data is durable, and the
    /// sealing may be tried again.
    pub(crate) fn seal(&mut self) -> Result<()> {
        self.ended = true;
        // BARRIER: W5. The data is durable before the footer says where it ends.
        self.barrier(Barrier::Durable)?;
        let salt = self.segment.salt();
        let horizon = Horizon { offset: self.end, seqno: self.last_seqno };
        let footer =
            Footer { end: self.end, last_seqno: self.last_seqno, record_count: self.record_count, crc: self.crc };
        let file = &self.file;
        file.write_at(&horizon.encode(salt), HORIZON_SLOT)
            .and_then(|()| file.write_at(&horizon.encode(salt), HORIZON_SLOT + SECTOR as u64))
            .and_then(|()| file.write_at(&footer.encode(salt), self.segment.len() - FOOTER_LEN))
            .map_err(|error| self.unwritten("seal", error))?;
        // BARRIER: W5. The footer is durable before the next segment gets its name.
        file.barrier(Barrier::Durable).map_err(|error| self.lost("seal", error))?;
        self.give_back();
        self.segment.set_state(State::Sealed);
        Ok(())
    }

    /// Gives the room between end and footer back, which holds zeros and will never be written. A tail that was torn stays,
    /// for whoever wants to look. Best effort: room that stays taken is only that.
    fn give_back(&self) {
        let start = match planted(Sabotage::HoleBelowEnd) {
            true => self.end / BLOCK * BLOCK,
            false => self.end.next_multiple_of(BLOCK),
        };
        let stop = (self.segment.len() - FOOTER_LEN) / BLOCK * BLOCK;
        if !self.soiled && start < stop {
            let _ = self.file.punch(start, stop - start);
            self.segment.note_taken(&*self.file);
        }
    }

    /// Makes sure that what a failed append left behind the end is no record: for where the segment could not be sealed,
    /// and a crash would have recovery find it.
    ///
    /// # Errors
    /// As the system says: a record that failed may then come back.
    pub(crate) fn disown(&mut self) -> Result<()> {
        let mut header = [0; RECORD_HEADER_LEN];
        let path = self.segment.path();
        Source::Cache.read_exact(&*self.file, path, &mut header, self.end)?;
        if header == [0; RECORD_HEADER_LEN] {
            return Ok(());
        }
        self.file
            .write_at(&[0; RECORD_HEADER_LEN], self.end)
            .map_err(|error| self.lost("take back a write to", error))?;
        // BARRIER: the record is gone from the device before its writer is told that it is not in the store.
        let done = self.file.barrier(Barrier::Durable);
        done.map(drop).map_err(|error| self.lost("sync", error))
    }

    /// A lack of space leaves no doubt about what was written before; any other failed write does.
    fn unwritten(&self, what: &str, error: io::Error) -> Error {
        let error = Error::io(format!("cannot {what} {}", self.segment.path()), error);
        match error.kind() {
            ErrorKind::NoSpace => error,
            _ => error.of_kind(ErrorKind::Io),
        }
    }

    fn lost(&self, what: &str, error: io::Error) -> Error {
        Error::io_as(ErrorKind::Io, format!("cannot {what} {}", self.segment.path()), error)
    }
}
