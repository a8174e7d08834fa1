//! An entry that is cut in chunks, read as what it unpacks to.
//!
//! Floor 2. Imports `error`, `format`, `platform`, `sync`, `zipfile`.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::io;

use crate::error::Error;
use crate::format::compression::Compression;
use crate::platform::File;
use crate::platform::real::read_through;
use crate::sync::Arc;
use crate::sync::plain::{AtomicU64, Ordering};
use crate::zipfile::codec::unpack;
use crate::zipfile::opened;

/// Where the chunks of an entry are; each is as long as its headers say, which was checked against the file's length.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Chunks {
    pub(super) method: Compression,
    /// Of all, unpacked.
    pub(super) len: u64,
    /// As they lie, without a gap.
    pub(super) list: Vec<Chunk>,
}

/// One chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Chunk {
    /// Where in the entry it begins, unpacked, and how long it is then.
    pub(super) at: u64,
    pub(super) len: u32,
    /// Where in the archive it begins, and how long it is there.
    pub(super) start: u64,
    pub(super) packed_len: u32,
    /// Unpacked.
    pub(super) crc32: u32,
}

impl Chunks {
    /// Bytes of the archive that they take, without their headers.
    pub(crate) fn packed_len(&self) -> u64 {
        self.list.iter().map(|chunk| u64::from(chunk.packed_len)).fold(0, u64::saturating_add)
    }
}

impl Chunk {
    /// Unpacks what was read of it, and checks that.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn open(&self, method: Compression, packed: &[u8]) -> Result<Vec<u8>, String> {
        let bytes = unpack(method, packed, self.len as usize)?;
        let crc32 = crc32fast::hash(&bytes);
        if crc32 != self.crc32 {
            return Err(format!("its crc32 is {crc32:#010x}, the archive says {:#010x}", self.crc32));
        }
        Ok(bytes)
    }
}

/// Reads a file at an offset: through the page cache, or from the device.
type ReadAt = fn(&dyn File, &mut [u8], u64) -> io::Result<usize>;

/// The number of the next reader.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

/// Reads an entry's chunks.
#[derive(Debug)]
pub(crate) struct Reader {
    chunks: Arc<Chunks>,
    /// For messages.
    path: String,
    number: u64,
}

impl Reader {
    pub(crate) fn new(chunks: &Arc<Chunks>, path: String) -> Reader {
        let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
        Reader { chunks: Arc::clone(chunks), path, number }
    }

    /// As `File::read_at`, of what the entry unpacks to.
    ///
    /// # Errors
    /// With a `Corruption` inside if a chunk is damaged; as the system says.
    pub(crate) fn read_at(&self, archive: &dyn File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        read_through(bytes, offset, |bytes, offset| {
            let Some((index, chunk)) = self.find(offset) else { return Ok(0) };
            let whole = offset == chunk.at && bytes.len() >= chunk.len as usize;
            if let Some(opened) = opened::find((self.number, index)) {
                return Ok(copy(&opened, bytes, offset, chunk));
            }
            let opened = Arc::new(self.open(archive, chunk, |file, bytes, offset| file.read_at(bytes, offset))?);
            if !whole {
                // Who takes all of it does not come again: a walk, mostly.
                opened::keep((self.number, index), &opened);
            }
            Ok(copy(&opened, bytes, offset, chunk))
        })
    }

    /// The same, of what the device holds.
    pub(crate) fn read_device_at(&self, archive: &dyn File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        read_through(bytes, offset, |bytes, offset| {
            let Some((_, chunk)) = self.find(offset) else { return Ok(0) };
            let opened = self.open(archive, chunk, |file, bytes, offset| file.read_device_at(bytes, offset))?;
            Ok(copy(&opened, bytes, offset, chunk))
        })
    }

    /// The chunk that has the byte at `offset`.
    fn find(&self, offset: u64) -> Option<(usize, &Chunk)> {
        let index = self.chunks.list.partition_point(|chunk| chunk.at <= offset).checked_sub(1)?;
        let chunk = self.chunks.list.get(index)?;
        (offset < self.chunks.len).then_some((index, chunk))
    }

    fn open(&self, archive: &dyn File, chunk: &Chunk, read_at: ReadAt) -> io::Result<Vec<u8>> {
        let mut packed = vec![0; chunk.packed_len as usize];
        let count = read_through(&mut packed, chunk.start, |bytes, offset| read_at(archive, bytes, offset))?;
        let opened = match count == packed.len() {
            true => chunk.open(self.chunks.method, &packed),
            false => Err("the file ends in it".to_owned()),
        };
        opened.map_err(|what| {
            let Chunk { at, len, start, packed_len, .. } = chunk;
            let place =
                format_args!("the chunk of {len} bytes that lies in {packed_len} at offset {start} of the archive");
            let what = format!("{place} is damaged: {what}; restore the file from a backup");
            io::Error::new(io::ErrorKind::InvalidData, Error::corruption(&self.path, *at, what))
        })
    }
}

/// Copies from a chunk what of it is wanted, and says how much that was.
fn copy(opened: &[u8], bytes: &mut [u8], offset: u64, chunk: &Chunk) -> usize {
    let from = opened.get(offset.saturating_sub(chunk.at) as usize..).unwrap_or_default();
    let len = from.len().min(bytes.len());
    if let (Some(to), Some(from)) = (bytes.get_mut(..len), from.get(..len)) {
        to.copy_from_slice(from);
    }
    len
}

impl Drop for Reader {
    fn drop(&mut self) {
        opened::forget(self.number);
    }
}
