//! The segment that is written: made, appended to, sealed.
//!
//! Floor 2. Imports `address`, `error`, `format`, `limits`, `platform`, `reclaim`, `segment`, `sync`.

use std::io;

use crate::address::{SegmentId, Seqno};
use crate::error::{Error, ErrorKind, Result};
use crate::format::checksum;
use crate::format::names;
use crate::format::segment::{Footer, Horizon, SegmentHeader};
use crate::limits::{FOOTER_LEN, HEADER_COPY, HORIZON_SLOT, RECORD_HEADER_LEN, RECORDS_START, SECTOR};
use crate::platform::{Barrier, Disk, File};
use crate::reclaim::hold::Hold;
use crate::segment::source::Source;
use crate::segment::{Segment, State};
use crate::sync::Arc;

/// The one writer of a segment; readers see what the segment's tail publishes.
///
/// Invariant A1: `durable <= ordered <= end`; each was covered by a successful barrier of its level.
/// Invariant A2: bytes are written once, at `end`, in order: no offset is ever written twice but horizon and footer.
#[derive(Debug)]
pub(crate) struct Active {
    segment: Hold<Segment>,
    file: Arc<dyn File>,
    /// Where the next record goes.
    end: u64,
    /// A barrier of any level covered everything below.
    ordered: u64,
    durable: u64,
    /// Nothing more may be appended: it waits to be sealed.
    ended: bool,
    /// crc32c of all records so far, for the footer.
    crc: u32,
    record_count: u64,
    last_seqno: Seqno,
}

/// Makes the file of a new segment under its temporary name, header written and durable, but not yet named.
///
/// # Errors
/// As the system says; what was made is removed again as far as possible. `NoSpace` if `header.len` bytes cannot be had.
pub(crate) fn create(disk: &dyn Disk, header: &SegmentHeader) -> Result<Arc<dyn File>> {
    let name = names::new_segment(header.id);
    let failed =
        |what: &str, error: io::Error| Error::io(format!("cannot {what} {}", disk.path().join(&name).display()), error);
    let file = match disk.create(&name) {
        // A leftover of a write that failed earlier; it never had a final name, so nothing in it counts.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(&name).and_then(|()| disk.create(&name))
        }
        other => other,
    }
    .map_err(|error| failed("create", error))?;
    let sector = header.encode();
    let made = file
        .allocate(header.len)
        .map_err(|error| failed("allocate", error))
        .and_then(|()| {
            file.write_at(&sector, 0)
                .and_then(|()| file.write_at(&sector, HEADER_COPY))
                .map_err(|error| failed("write", error))
        })
        .and_then(|()| {
            // BARRIER: length and header are durable before the final name is given, so that a bad header under a
            // final name is always damage, never a leftover.
            file.sync().map_err(|error| failed("sync", error))
        });
    match made {
        Ok(()) => Ok(file),
        Err(error) => {
            // Best effort: the next attempt removes it too.
            let _ = disk.remove(&name);
            Err(error)
        }
    }
}

/// Gives the file that `create` made its final name, durably.
///
/// # Errors
/// `ResourceLimit` if the name was not even tried. Else `Io`: whether it is there after a power cut is unknown (W4).
pub(crate) fn name(disk: &dyn Disk, id: SegmentId) -> Result<()> {
    let (from, to) = (names::new_segment(id), names::segment(id));
    let failed = |error| Error::io_as(ErrorKind::Io, format!("cannot name {}", disk.path().join(&to).display()), error);
    disk.rename(&from, &to).map_err(|error| {
        let error = Error::io(format!("cannot name {}", disk.path().join(&to).display()), error);
        match error.kind() {
            ErrorKind::ResourceLimit => error,
            _ => error.of_kind(ErrorKind::Io),
        }
    })?;
    // BARRIER: the name is durable before any record in the file may be acknowledged.
    disk.sync_dir(names::SEGMENTS).map_err(failed)
}

impl Active {
    /// Starts writing an empty segment.
    pub(crate) fn new(segment: Hold<Segment>, file: Arc<dyn File>, last_seqno: Seqno) -> Active {
        Active {
            segment,
            file,
            end: RECORDS_START,
            ordered: RECORDS_START,
            durable: RECORDS_START,
            ended: false,
            crc: 0,
            record_count: 0,
            last_seqno,
        }
    }

    /// The same of a segment that has records already, up to `end`, with this checksum: in order to seal it.
    pub(crate) fn resume(self, end: u64, crc: u32, record_count: u64) -> Active {
        Active { end, crc, record_count, ..self }
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

    /// Writes stamped records at the end, `count` of them, the last of which is `last_seqno`. Not yet durable, and not
    /// yet published.
    ///
    /// # Errors
    /// `NoSpace`, or else `Io`. `end` stays, but bytes above it may have been written: nothing may be appended after that.
    pub(crate) fn append(&mut self, bytes: &[u8], count: u64, last_seqno: Seqno) -> Result<()> {
        debug_assert!(bytes.len() as u64 <= self.room());
        let what = || format!("append {} bytes at offset {} of", bytes.len(), self.end);
        self.file.write_at(bytes, self.end).map_err(|error| self.unwritten(&what(), error))?;
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
        // BARRIER: W1. The records reach the device before anyone is told that they did.
        let reached = self.file.barrier(level).map_err(|error| self.lost("sync", error))?;
        self.ordered = self.end;
        if reached == Barrier::Durable {
            self.durable = self.end;
        }
        Ok(())
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
        self.segment.set_state(State::Sealed);
        Ok(())
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
