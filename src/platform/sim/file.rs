//! An open file of a simulated disk, and its mappings.
//!
//! Floor 1. Imports `sabotage`, `sync`.
//!
//! Reads are served from the shared sectors. Only `map` makes a buffer; from then on every write goes there as well,
//! byte for byte what was written and no byte more, because its neighbours may be lent out as slices.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::collections::BTreeSet;
use std::{fmt, io, ops::Range, ptr::NonNull};

use crate::platform::sim::disk::{FailedSync, Inner, SimDisk};
use crate::platform::sim::medium::{Content, FileId, Item, Op, SECTOR, pieces};
use crate::platform::{Access, Barrier, File, Mapping, PrivateMapping};
use crate::sabotage::{Sabotage, planted};
use crate::sync::Arc;

const PAGE: usize = 4096;

/// No file is longer: its sectors are counted with 32 bits.
const SIZE_MAX: u64 = 1 << 40;

/// An open file of a [`SimDisk`].
#[derive(Clone)]
pub struct SimFile {
    disk: SimDisk,
    file: FileId,
    access: Access,
}

/// What the page cache knows of a file.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) cache: Content,
    /// Sectors that a failed sync left clean although the device has other bytes.
    pub(super) lost: BTreeSet<u32>,
    buffers: Vec<Arc<Buffer>>,
}

impl Node {
    pub(super) fn new(cache: Content) -> Self {
        Node { cache, lost: BTreeSet::new(), buffers: Vec::new() }
    }

    /// Puts `bytes` into every buffer that reaches as far as `offset`.
    pub(super) fn show(&self, bytes: &[u8], offset: u64) {
        for buffer in &self.buffers {
            buffer.put(bytes, offset);
        }
    }

    fn buffer(&mut self, len: usize) -> Arc<Buffer> {
        // The mappings of a buffer are all gone once only this list has it; it may serve again if it is long enough.
        self.buffers.retain(|buffer| Arc::strong_count(buffer) > 1 || buffer.len >= len);
        if let Some(buffer) = self.buffers.iter().find(|buffer| buffer.len >= len) {
            return Arc::clone(buffer);
        }
        let buffer = Arc::new(Buffer::new(len));
        for (index, sector) in self.cache.written(len) {
            buffer.put(&sector[..], (index * SECTOR) as u64);
        }
        self.buffers.push(Arc::clone(&buffer));
        buffer
    }
}

impl SimFile {
    pub(super) fn new(disk: SimDisk, file: FileId, access: Access) -> Self {
        SimFile { disk, file, access }
    }

    /// A barrier or sync that fails, as kernels do it: what waited counts as clean from here on, stays readable and is
    /// not written by any later barrier. How much of it reached the device is up to [`SimDisk::set_failed_sync`].
    pub fn fail_sync(&self) {
        let mut inner = self.disk.inner();
        let dirty = inner.medium.dirty(self.file);
        let reached: Vec<u32> = match inner.failed_sync {
            FailedSync::NothingWritten => Vec::new(),
            FailedSync::PartWritten => dirty.iter().copied().filter(|_| inner.random.next_u64() & 1 == 1).collect(),
        };
        inner.apply(Op::FailedSync { file: self.file, reached: reached.into() });
        for index in dirty {
            let Inner { medium, nodes, .. } = &mut *inner;
            let node = nodes.get_mut(&self.file).expect("it was written through its node");
            let device = medium.sector(self.file, index).map_or(&[0; SECTOR], |sector| sector);
            if node.cache.sector(index).is_some_and(|sector| **sector != *device) {
                node.lost.insert(index);
            }
        }
    }

    fn writable(&self) -> io::Result<()> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::Read => Err(io::Error::from(io::ErrorKind::PermissionDenied)),
        }
    }
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.inner().node(self.file).cache.size)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut inner = self.disk.inner();
        let cache = &inner.node(self.file).cache;
        Ok(cache.read(bytes, offset, |index| cache.sector(index)))
    }

    fn read_device_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut inner = self.disk.inner();
        inner.node(self.file);
        let Inner { medium, nodes, .. } = &*inner;
        let node = &nodes[&self.file];
        Ok(node.cache.read(bytes, offset, |index| match node.lost.contains(&index) {
            true => medium.sector(self.file, index),
            false => node.cache.sector(index),
        }))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.writable()?;
        if bytes.is_empty() {
            return Ok(());
        }
        let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= SIZE_MAX);
        let end = end.ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let mut inner = self.disk.inner();
        let node = inner.node(self.file);
        let mut items = Vec::new();
        if end > node.cache.size {
            node.cache.size = end;
            items.push(Item::Size { file: self.file, size: end });
        }
        for (index, within, range) in pieces(offset, bytes.len()) {
            let mut whole = node.cache.sector(index).map_or([0; SECTOR], |sector| **sector);
            whole[within..][..range.len()].copy_from_slice(&bytes[range]);
            let sector = Arc::new(whole);
            node.cache.set(index, Some(Arc::clone(&sector)));
            node.lost.remove(&index);
            items.push(Item::Sector { file: self.file, index, sector });
        }
        node.show(bytes, offset);
        inner.apply(Op::Change(items.into()));
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.writable()?;
        if len > SIZE_MAX {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        let mut inner = self.disk.inner();
        let node = inner.node(self.file);
        if len > node.cache.size {
            node.cache.size = len;
            inner.apply(Op::Change(Arc::new([Item::Size { file: self.file, size: len }])));
        }
        Ok(())
    }

    /// Each sector of the range becomes zeros by itself, or not, until a sync.
    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.writable()?;
        let size = self.len()?;
        let zeros = vec![0; usize::try_from(len.min(size.saturating_sub(offset))).unwrap_or(0)];
        self.write_at(&zeros, offset)
    }

    /// Its length: how much of it the device holds matters to nobody here.
    fn taken(&self) -> io::Result<u64> {
        self.len()
    }

    /// Both levels make everything durable, as on a device that does not know order.
    fn barrier(&self, _level: Barrier) -> io::Result<Barrier> {
        if !planted(Sabotage::AcknowledgeBeforeSync) {
            self.sync()?;
        }
        Ok(Barrier::Durable)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.inner().apply(Op::Sync(self.file));
        Ok(())
    }

    fn map(&self, len: usize) -> io::Result<Box<dyn Mapping>> {
        let mut inner = self.disk.inner();
        let node = inner.node(self.file);
        if len as u64 > node.cache.size {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        Ok(Box::new(SimMapping { buffer: node.buffer(len), len }))
    }

    fn map_private(&self, len: usize) -> io::Result<Box<dyn PrivateMapping>> {
        let mut bytes = vec![0; len];
        if self.read_at(&mut bytes, 0)? < len {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let buffer = Buffer::new(len);
        buffer.put(&bytes, 0);
        Ok(Box::new(SimCopy { buffer, len }))
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile").field("file", &self.file).field("access", &self.access).finish()
    }
}

/// Bytes at a fixed, page-aligned address. Whoever holds it may read them; only the disk writes, under its lock.
struct Buffer {
    block: NonNull<u8>,
    layout: Layout,
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory belongs to this value alone and lives as long as it does. Writers take turns under the disk's
// lock, and readers keep off the bytes that are being written, which is the contract of `Mapping`.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Zeros, whose memory is touched only where somebody writes: a block of alignment 1 comes from calloc, one of
    /// alignment 4096 would be cleared byte by byte.
    fn new(len: usize) -> Self {
        let len = len.next_multiple_of(PAGE).max(PAGE);
        let layout = Layout::array::<u8>(len + PAGE).expect("no file is that long");
        // SAFETY: the layout is not empty.
        let block = unsafe { alloc_zeroed(layout) };
        let Some(block) = NonNull::new(block) else { handle_alloc_error(layout) };
        let gap = block.as_ptr().addr().next_multiple_of(PAGE) - block.as_ptr().addr();
        // SAFETY: the gap is below PAGE, and the block is PAGE longer than `len`.
        let start = unsafe { block.add(gap) };
        Buffer { block, layout, start, len }
    }

    fn put(&self, bytes: &[u8], offset: u64) {
        let Ok(offset) = usize::try_from(offset) else {
            return;
        };
        let Some(room) = self.len.checked_sub(offset) else {
            return;
        };
        let count = bytes.len().min(room);
        // SAFETY: `offset + count <= len`, and `bytes` is never a part of a buffer: it is a sector or a caller's
        // slice, and callers may not form slices over bytes still being written.
        unsafe { self.start.as_ptr().add(offset).copy_from_nonoverlapping(bytes.as_ptr(), count) };
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and freed nowhere else.
        unsafe { dealloc(self.block.as_ptr(), self.layout) };
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("len", &self.len).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct SimMapping {
    buffer: Arc<Buffer>,
    len: usize,
}

// SAFETY: a buffer starts at a multiple of 4096, is at least `len` long, never moves and lives as long as this. The
// disk writes into it what `write_at` writes, and else only in `drop_clean`, whose callers hold no slice.
unsafe impl Mapping for SimMapping {
    fn as_ptr(&self) -> *const u8 {
        self.buffer.start.as_ptr()
    }

    fn len(&self) -> usize {
        self.len
    }
}

/// A copy of a file's first bytes.
#[derive(Debug)]
struct SimCopy {
    buffer: Buffer,
    len: usize,
}

// SAFETY: a buffer starts at a multiple of 4096, is at least `len` long and never moves. The disk does not know this one.
unsafe impl PrivateMapping for SimCopy {
    fn start(&self) -> NonNull<u8> {
        self.buffer.start
    }

    fn len(&self) -> usize {
        self.len
    }

    /// It is in memory.
    fn read_ahead(&self, _range: Range<usize>) -> io::Result<()> {
        Ok(())
    }
}
