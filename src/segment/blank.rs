//! The file of a segment to be: made, given its header, named.
//!
//! Floor 2. Imports `address`, `error`, `format`, `limits`, `platform`, `sync`.

use std::io;
use std::ops::Range;

use crate::address::SegmentId;
use crate::error::{Error, ErrorKind, Result};
use crate::format::names;
use crate::format::segment::SegmentHeader;
use crate::limits::{HEADER_COPY, ZEROS_LEN};
use crate::platform::{Access, Disk, File};
use crate::sync::Arc;

/// A new file of a segment's length, all zeros, that has no final name yet. Nothing in it counts before it has.
#[derive(Debug)]
pub(crate) struct Blank {
    file: Arc<dyn File>,
    name: String,
    len: u64,
    /// Whether appends may come as they are, or are better off with zeros written before them.
    wants_zeros: bool,
}

impl Blank {
    /// Makes the file, with room for `len` bytes. A file that has the name, which is none of the final ones, is removed.
    ///
    /// # Errors
    /// As the system says; what was made is removed again as far as possible. `NoSpace` if `len` bytes cannot be had.
    pub(crate) fn create(disk: &dyn Disk, name: String, len: u64) -> Result<Blank> {
        let file = match disk.create(&name) {
            // A leftover of a write that failed earlier; it never had a final name, so nothing in it counts.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                disk.remove(&name).and_then(|()| disk.create(&name))
            }
            other => other,
        }
        .map_err(|error| failed(disk, "create", &name, error))?;
        let blank = Blank { file, name, len, wants_zeros: true };
        let made = blank.file.allocate(len);
        made.map_err(|error| {
            blank.remove(disk);
            failed(disk, "allocate", &blank.name, error)
        })?;
        Ok(blank)
    }

    /// The file that has this name, to be used once more: only ever by sabotage.
    pub(crate) fn reuse(disk: &dyn Disk, name: String, len: u64) -> io::Result<Blank> {
        let file = disk.open(&name, Access::ReadWrite)?;
        file.allocate(len)?;
        Ok(Blank { file, name, len, wants_zeros: false })
    }

    /// The same, but appends come as they are: it will be filled now, or zeros would not pay.
    pub(crate) fn good_as_it_is(self) -> Blank {
        Blank { wants_zeros: false, ..self }
    }

    /// Whether appends are better off with zeros written before them.
    pub(crate) fn wants_zeros(&self) -> bool {
        self.wants_zeros
    }

    /// The segment's length.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// Writes zeros over all of it, piece by piece, as long as `go_on` says so: what was written once takes a later write
    /// without a change of metadata.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn fill(&self, disk: &dyn Disk, mut go_on: impl FnMut() -> bool) -> Result<()> {
        let written = write_zeros(&*self.file, 0..self.len, &mut go_on);
        written.map_err(|error| failed(disk, "fill", &self.name, error))
    }

    /// Makes length and contents durable, but not the name.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn sync(&self, disk: &dyn Disk) -> Result<()> {
        // BARRIER: what the caller wrote, before whatever the caller does next.
        self.file.sync().map_err(|error| failed(disk, "sync", &self.name, error))
    }

    /// Writes the header, twice, and makes it durable.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn begin(&self, disk: &dyn Disk, header: &SegmentHeader) -> Result<()> {
        debug_assert_eq!(header.len, self.len);
        let sector = header.encode();
        let written = self.file.write_at(&sector, 0).and_then(|()| self.file.write_at(&sector, HEADER_COPY));
        written.map_err(|error| failed(disk, "write", &self.name, error))?;
        // BARRIER: length and header are durable before the final name is given, so that a bad header under a
        // final name is always damage, never a leftover.
        self.sync(disk)
    }

    /// Gives the file its final name, durably.
    ///
    /// # Errors
    /// `ResourceLimit` if the name was not even tried, `NoSpace` if the folder has none for it: it was not given. Else `Io`: whether
    /// it is there after a power cut is unknown (W4).
    pub(crate) fn name(&self, disk: &dyn Disk, id: SegmentId) -> Result<()> {
        let to = names::segment(id);
        disk.rename(&self.name, &to).map_err(|error| {
            let error = failed(disk, "name", &to, error);
            match error.kind() {
                ErrorKind::ResourceLimit | ErrorKind::NoSpace => error,
                _ => error.of_kind(ErrorKind::Io),
            }
        })?;
        // BARRIER: the name is durable before any record in the file may be acknowledged.
        disk.sync_dir(names::SEGMENTS).map_err(|error| failed(disk, "name", &to, error).of_kind(ErrorKind::Io))
    }

    /// Removes the file, if it has its first name still. Best effort: nobody looks at what is left, and the next open, or the next
    /// segment, removes it.
    pub(crate) fn remove(&self, disk: &dyn Disk) {
        let _ = disk.remove(&self.name);
    }
}

/// Writes zeros over a range, piece by piece, as long as `go_on` says so.
///
/// # Errors
/// As the system says; some of the range may have been written.
pub(crate) fn write_zeros(file: &dyn File, range: Range<u64>, go_on: &mut dyn FnMut() -> bool) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end && go_on() {
        let end = (at + 1).next_multiple_of(ZEROS_LEN).min(range.end);
        file.write_at(&[0; ZEROS_LEN as usize][..(end - at) as usize], at)?;
        at = end;
    }
    Ok(())
}

fn failed(disk: &dyn Disk, what: &str, name: &str, error: io::Error) -> Error {
    Error::io(format!("cannot {what} {}", disk.path().join(name).display()), error)
}
