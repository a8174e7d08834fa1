//! Mappings of files: read-only ones, and private ones.
//!
//! Floor 1. Imports `platform`.
//!
//! A file is mapped raw: what it shows changes under it, so that a `&[u8]` over the whole must never exist.

use std::ops::Range;
use std::ptr::NonNull;
use std::{fs, io};

use memmap2::{MmapOptions, MmapRaw};

use crate::platform::{Mapping, PrivateMapping, os};

/// The first bytes of a file in memory.
#[derive(Debug)]
pub(crate) struct Map(MmapRaw);

impl Map {
    /// Maps the first `len` bytes of `file`.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the file is shorter: loads from beyond its end would be SIGBUS. Else as the system says;
    /// `OutOfMemory` where the process has too many mappings.
    pub(crate) fn new(file: &fs::File, len: usize) -> io::Result<Map> {
        check_len(file, len)?;
        Ok(Map(MmapOptions::new().len(len).map_raw_read_only(file)?))
    }
}

// SAFETY: the system maps at page boundaries, pages are 4096 bytes or a multiple, and the mapping stays in place until
// `MmapRaw` is dropped. It is shared, so that it shows what `write_at` writes, and nothing here writes through it.
// Loads stay defined while nobody truncates the file: the engine never does, and other processes are kept off by the
// lock and by the mode 0600; whoever does it all the same gets the process a SIGBUS.
unsafe impl Mapping for Map {
    fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// The first bytes of a file in memory of which each page is the file's until it is written.
#[derive(Debug)]
pub(crate) struct PrivateMap(MmapRaw);

impl PrivateMap {
    /// Maps the first `len` bytes of `file`.
    ///
    /// # Errors
    ///
    /// As `Map::new`.
    pub(crate) fn new(file: &fs::File, len: usize) -> io::Result<PrivateMap> {
        check_len(file, len)?;
        // SAFETY: the bytes are those of the file only until they are written, and nobody writes the file meanwhile
        // (`File::map_private`); of the reference that this makes nothing is left after the next line.
        let map = unsafe { MmapOptions::new().len(len).map_copy(file) }?;
        Ok(PrivateMap(MmapRaw::from(map)))
    }
}

// SAFETY: as for `Map`. What is written goes to pages of this process, which only this mapping has.
unsafe impl PrivateMapping for PrivateMap {
    fn start(&self) -> NonNull<u8> {
        NonNull::new(self.0.as_mut_ptr()).expect("nothing is mapped at address 0")
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn read_ahead(&self, range: Range<usize>) -> io::Result<()> {
        os::read_ahead(&self.0, range)
    }
}

/// # Errors
///
/// `UnexpectedEof` if the file is shorter than `len`.
fn check_len(file: &fs::File, len: usize) -> io::Result<()> {
    let there = file.metadata()?.len();
    if there < len as u64 {
        let text = format!("cannot map {len} bytes of a file of {there}");
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
    }
    Ok(())
}
