//! A disk in memory, for stores that are gone when they are closed.
//!
//! Floor 1. Imports `platform`, `sync`.
//!
//! Nothing here is durable: barriers and syncs do nothing. A file is one buffer of untouched, zeroed pages, so that
//! reserving room costs nothing until it is used; a mapping is a second handle to that buffer.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::ptr::NonNull;
use std::{fmt, io, ptr};

use memmap2::{MmapOptions, MmapRaw};

use crate::platform::clock::SystemClock;
use crate::platform::name;
use crate::platform::random;
use crate::platform::{Access, Barrier, Clock, Disk, File, Lock, LockError, Mapping, PrivateMapping, Room};
use crate::sync::Arc;
use crate::sync::plain::{Mutex, MutexGuard, PoisonError};

/// Bytes that a new file has room for: address space, not memory.
const CAPACITY_MIN: usize = 64 << 10;

/// A directory that exists in this process only, and as long as this value.
#[derive(Debug)]
pub(crate) struct MemoryDisk {
    tree: Mutex<Tree>,
    locked: Arc<Mutex<bool>>,
    clock: SystemClock,
}

#[derive(Debug, Default)]
struct Tree {
    folders: BTreeSet<String>,
    /// By whole name.
    files: BTreeMap<String, Arc<Mutex<Contents>>>,
}

impl MemoryDisk {
    /// An empty directory.
    pub(crate) fn new() -> MemoryDisk {
        MemoryDisk { tree: Mutex::default(), locked: Arc::default(), clock: SystemClock::new() }
    }
}

impl Tree {
    fn check_folder(&self, folder: &str) -> io::Result<()> {
        let there = folder.is_empty() || self.folders.contains(folder);
        there.then_some(()).ok_or_else(not_found)
    }

    /// Checks that `name` may be given to something new.
    fn check_free(&self, name: &str) -> io::Result<()> {
        let free = !self.folders.contains(name) && !self.files.contains_key(name);
        free.then_some(()).ok_or_else(|| io::ErrorKind::AlreadyExists.into())
    }
}

impl Disk for MemoryDisk {
    fn path(&self) -> &Path {
        Path::new("(memory)")
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let tree = enter(&self.tree);
        tree.check_folder(name::folder(folder)?)?;
        let mut names = Vec::new();
        for name in tree.files.keys() {
            let (its_folder, file) = name::split(name)?;
            if its_folder == folder {
                names.push(file.to_string());
            }
        }
        if folder.is_empty() {
            names.extend(tree.folders.iter().map(|name| format!("{name}/")));
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir(&self, folder: &str) -> io::Result<()> {
        let mut tree = enter(&self.tree);
        tree.check_free(name::top(folder)?)?;
        tree.folders.insert(folder.to_string());
        Ok(())
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        let tree = enter(&self.tree);
        name::split(name)?;
        let contents = tree.files.get(name).ok_or_else(not_found)?;
        Ok(Arc::new(MemoryFile { contents: Arc::clone(contents), access }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut tree = enter(&self.tree);
        let (folder, _) = name::split(name)?;
        tree.check_folder(folder)?;
        tree.check_free(name)?;
        let contents = Arc::new(Mutex::new(Contents::new()?));
        tree.files.insert(name.to_string(), Arc::clone(&contents));
        Ok(Arc::new(MemoryFile { contents, access: Access::ReadWrite }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut tree = enter(&self.tree);
        name::split(from)?;
        let (folder, _) = name::split(to)?;
        tree.check_folder(folder)?;
        if tree.folders.contains(to) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let contents = tree.files.remove(from).ok_or_else(not_found)?;
        tree.files.insert(to.to_string(), contents);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut tree = enter(&self.tree);
        name::split(name)?;
        tree.files.remove(name).map(drop).ok_or_else(not_found)
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        enter(&self.tree).check_folder(name::folder(folder)?)
    }

    fn sync_parent(&self) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self) -> Result<Box<dyn Lock>, LockError> {
        match self.create("LOCK") {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
        let mut locked = enter(&self.locked);
        if *locked {
            return Err(LockError::HeldHere);
        }
        *locked = true;
        Ok(Box::new(MemoryLock(Arc::clone(&self.locked))))
    }

    fn room(&self) -> Room {
        Room::Memory
    }

    fn random(&self, bytes: &mut [u8]) -> io::Result<()> {
        random::fill(bytes)
    }

    fn clock(&self) -> &dyn Clock {
        &self.clock
    }
}

#[derive(Debug)]
struct MemoryLock(Arc<Mutex<bool>>);

impl Lock for MemoryLock {
    fn still_ours(&self) -> io::Result<bool> {
        Ok(true)
    }
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        *enter(&self.0) = false;
    }
}

/// The bytes of a file.
///
/// Invariant B1: bytes of the buffer from `len` on are zero.
/// Invariant B2: the buffer is written only under the file's mutex, and replaced only while no mapping shares it.
#[derive(Debug)]
struct Contents {
    buffer: Arc<Buffer>,
    len: usize,
}

impl Contents {
    fn new() -> io::Result<Contents> {
        let buffer = Arc::new(Buffer::zeroed(CAPACITY_MIN)?);
        Ok(Contents { buffer, len: 0 })
    }

    /// Makes the file at least `len` long, with room for `capacity` if it must move.
    fn grow(&mut self, len: usize, capacity: usize) -> io::Result<()> {
        if len > self.buffer.capacity() {
            if Arc::strong_count(&self.buffer) > 1 {
                let text = "a file in memory cannot outgrow its room while it is mapped";
                return Err(io::Error::new(io::ErrorKind::Unsupported, text));
            }
            let buffer = Buffer::zeroed(capacity.max(len))?;
            // SAFETY: `len` bytes lie in either buffer, which do not overlap; nobody else knows the new one, and the
            // old one is not written meanwhile (B2).
            unsafe { ptr::copy_nonoverlapping(self.buffer.start(), buffer.start(), self.len) };
            self.buffer = Arc::new(buffer);
        }
        self.len = self.len.max(len);
        Ok(())
    }
}

/// Zeroed pages at an address that stays.
///
/// Only raw pointers to them exist here. Mappings of a file that is still written share them: their readers form a
/// `&[u8]` only over bytes that are written and will not change again, as with a mapping of a real file, so that no
/// reference ever covers a byte that is being written.
struct Buffer(MmapRaw);

impl Buffer {
    fn zeroed(capacity: usize) -> io::Result<Buffer> {
        let map = MmapOptions::new().len(capacity).no_reserve_swap().map_anon()?;
        Ok(Buffer(MmapRaw::from(map)))
    }

    fn start(&self) -> *mut u8 {
        self.0.as_mut_ptr()
    }

    fn capacity(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({:?}, {})", self.start(), self.capacity())
    }
}

#[derive(Debug)]
struct MemoryFile {
    contents: Arc<Mutex<Contents>>,
    access: Access,
}

impl MemoryFile {
    fn writable(&self) -> io::Result<MutexGuard<'_, Contents>> {
        match self.access {
            Access::Read => Err(io::ErrorKind::PermissionDenied.into()),
            Access::ReadWrite => Ok(enter(&self.contents)),
        }
    }
}

impl File for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(enter(&self.contents).len as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let contents = enter(&self.contents);
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let count = bytes.len().min(contents.len.saturating_sub(offset));
        if count > 0 {
            // SAFETY: `count` bytes from `offset` on lie below `len`, and so in the buffer, which is not written while
            // the mutex is held (B2). `bytes` is exclusively ours, so that it cannot overlap with the buffer.
            unsafe {
                let from = contents.buffer.start().add(offset);
                ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), count);
            }
        }
        Ok(count)
    }

    /// There is no device: the same as `read_at`.
    fn read_device_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut contents = self.writable()?;
        if bytes.is_empty() {
            return Ok(());
        }
        let offset = usize::try_from(offset).map_err(|_| too_large())?;
        let end = offset.checked_add(bytes.len()).ok_or_else(too_large)?;
        let doubled = contents.buffer.capacity().saturating_mul(2);
        contents.grow(end, doubled)?;
        // SAFETY: the range lies below `end`, and so in the buffer, and the mutex keeps other writers out (B2). Readers
        // of mappings hold references to bytes that are not written again, see `Buffer`; `copy` allows that `bytes` is
        // such a reference itself.
        unsafe {
            let to = contents.buffer.start().add(offset);
            ptr::copy(bytes.as_ptr(), to, bytes.len());
        }
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| too_large())?;
        self.writable()?.grow(len, len)
    }

    /// Pages that were never written take up nothing anyway; those that were stay.
    fn punch(&self, _offset: u64, _len: u64) -> io::Result<()> {
        self.writable().map(drop)
    }

    fn taken(&self) -> io::Result<u64> {
        self.len()
    }

    fn barrier(&self, _level: Barrier) -> io::Result<Barrier> {
        Ok(Barrier::Durable)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn map(&self, len: usize) -> io::Result<Box<dyn Mapping>> {
        let contents = enter(&self.contents);
        if contents.len < len {
            let text = format!("cannot map {len} bytes of a file of {}", contents.len);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        let buffer = Arc::clone(&contents.buffer);
        Ok(Box::new(MemoryMapping { buffer, len }))
    }

    fn map_private(&self, len: usize) -> io::Result<Box<dyn PrivateMapping>> {
        let shared = self.map(len)?;
        let buffer = Buffer::zeroed(len.max(1))?;
        // SAFETY: `len` bytes lie in either, and nobody else knows the new one. The file is not written meanwhile
        // (`File::map_private`).
        unsafe { ptr::copy_nonoverlapping(shared.as_ptr(), buffer.start(), len) };
        Ok(Box::new(MemoryCopy { buffer, len }))
    }
}

/// A copy of a file's first bytes.
#[derive(Debug)]
struct MemoryCopy {
    buffer: Buffer,
    len: usize,
}

// SAFETY: the buffer begins at a page, is this value's alone and stays where it is as long as this lives.
unsafe impl PrivateMapping for MemoryCopy {
    fn start(&self) -> NonNull<u8> {
        NonNull::new(self.buffer.start()).expect("nothing is mapped at address 0")
    }

    fn len(&self) -> usize {
        self.len
    }

    /// It is in memory.
    fn read_ahead(&self, _range: Range<usize>) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryMapping {
    buffer: Arc<Buffer>,
    len: usize,
}

// SAFETY: the buffer begins at a page, stays where it is while this holds on to it, and is not replaced as that of its
// file before this is dropped (B2), so that later writes appear here. It is written by `write_at` only.
unsafe impl Mapping for MemoryMapping {
    fn as_ptr(&self) -> *const u8 {
        self.buffer.start()
    }

    fn len(&self) -> usize {
        self.len
    }
}

/// Nothing here panics half way through a change, so that a poisoned mutex means nothing.
fn enter<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn too_large() -> io::Error {
    io::ErrorKind::FileTooLarge.into()
}

#[cfg(test)]
mod tests {
    use crate::platform::Disk;
    use crate::platform::conformance;
    use crate::platform::memory::MemoryDisk;
    use std::io;

    #[test]
    fn memory_keeps_the_contract_of_a_disk() {
        conformance::check(&MemoryDisk::new());
    }

    #[test]
    fn a_file_grows_and_keeps_its_bytes() {
        let disk = MemoryDisk::new();
        let file = disk.create("a").unwrap();
        file.write_at(b"first", 0).unwrap();
        file.write_at(b"last", 1 << 20).unwrap();
        let mut bytes = vec![1; (1 << 20) + 4];
        assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
        assert_eq!(&bytes[..5], b"first");
        assert_eq!(&bytes[1 << 20..], b"last");
        assert!(bytes[5..1 << 20].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_mapped_file_does_not_move() {
        let disk = MemoryDisk::new();
        let file = disk.create("a").unwrap();
        file.allocate(4096).unwrap();
        let map = file.map(4096).unwrap();
        let error = file.write_at(&[1], 1 << 20).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert_eq!(file.len().unwrap(), 4096, "a refused write changes nothing");
        drop(map);
        file.write_at(&[1], 1 << 20).unwrap();
    }

    #[test]
    fn reserving_a_gigabyte_costs_nothing() {
        let disk = MemoryDisk::new();
        let file = disk.create("a").unwrap();
        file.allocate(1 << 30).unwrap();
        let mut last = [1];
        assert_eq!(file.read_at(&mut last, (1 << 30) - 1).unwrap(), 1);
        assert_eq!(last, [0]);
    }

    #[test]
    fn offsets_beyond_memory_are_errors() {
        let file = MemoryDisk::new().create("a").unwrap();
        let error = file.write_at(&[1], u64::MAX).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(file.read_at(&mut [0], u64::MAX).unwrap(), 0);
    }

    #[test]
    fn each_disk_is_its_own() {
        let (one, other) = (MemoryDisk::new(), MemoryDisk::new());
        one.create("a").unwrap();
        assert_eq!(other.list("").unwrap(), Vec::<String>::new());
        let _held = one.lock().unwrap();
        other.lock().unwrap();
    }
}
