//! Where a segment's bytes are: in a file of their own, or in an entry of an archive.
//!
//! Floor 2. Imports `address`, `platform`, `sync`.

use std::{fmt, io};

use crate::address::ArchiveId;
use crate::platform::{Barrier, Disk, File, Mapping, PrivateMapping};
use crate::sync::Arc;

/// The file that a segment lies in.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) file: Arc<dyn File>,
    /// Of the file, in the store's directory.
    pub(crate) name: String,
    /// `None` where the file is the segment.
    pub(crate) entry: Option<Entry>,
}

/// The part of an archive that is a segment.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) archive: ArchiveId,
    pub(crate) name: String,
    /// Where in the archive it begins.
    pub(crate) start: u64,
    /// Its length, unpacked.
    pub(crate) len: u64,
    /// The archive in memory, which all its entries share. `None` also where the segment is packed.
    pub(crate) map: Option<Arc<dyn Mapping>>,
    /// What unpacks it, if it is packed; `start` means nothing then.
    pub(crate) unpack: Option<Arc<dyn Unpack>>,
}

/// What unpacks a segment of an archive.
pub(crate) trait Unpack: Send + Sync + fmt::Debug {
    /// As `File::read_at`, of the segment in `archive`. Damage is an error with a `Corruption` inside.
    fn read_at(&self, archive: &dyn File, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The same of what the device holds.
    fn read_device_at(&self, archive: &dyn File, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl Home {
    /// A file of its own.
    pub(crate) fn alone(file: &Arc<dyn File>, name: &str) -> Home {
        Home { file: Arc::clone(file), name: name.to_string(), entry: None }
    }

    /// For messages.
    pub(crate) fn path(&self, disk: &dyn Disk) -> String {
        shown(&disk.path().join(&self.name).display().to_string(), self.entry.as_ref())
    }

    /// The segment alone, to be read.
    pub(crate) fn file(&self) -> Arc<dyn File> {
        within(Arc::clone(&self.file), self.entry.as_ref())
    }
}

/// The file, and which part of it.
pub(crate) fn shown(file: &str, entry: Option<&Entry>) -> String {
    entry.map_or(file.to_string(), |entry| format!("{file} ({})", entry.name))
}

/// The part of `file` that is the entry, or all of it.
pub(crate) fn within(file: Arc<dyn File>, entry: Option<&Entry>) -> Arc<dyn File> {
    match entry {
        None => file,
        Some(Entry { start, len, unpack, .. }) => {
            Arc::new(Window { file, start: *start, len: *len, unpack: unpack.clone() })
        }
    }
}

/// A part of a file, as if it were a file: to be read, and nothing else.
#[derive(Debug)]
struct Window {
    file: Arc<dyn File>,
    start: u64,
    len: u64,
    unpack: Option<Arc<dyn Unpack>>,
}

impl Window {
    /// How much of a read of `len` bytes at `offset` lies within.
    fn clip(&self, len: usize, offset: u64) -> usize {
        let left = self.len.saturating_sub(offset);
        usize::try_from(left).map_or(len, |left| left.min(len))
    }
}

fn read_only<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "an entry of an archive is only read"))
}

impl File for Window {
    fn len(&self) -> io::Result<u64> {
        Ok(self.len)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        if let Some(unpack) = &self.unpack {
            return unpack.read_at(&*self.file, bytes, offset);
        }
        let len = self.clip(bytes.len(), offset);
        self.file.read_at(&mut bytes[..len], self.start + offset.min(self.len))
    }

    fn read_device_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        if let Some(unpack) = &self.unpack {
            return unpack.read_device_at(&*self.file, bytes, offset);
        }
        let len = self.clip(bytes.len(), offset);
        self.file.read_device_at(&mut bytes[..len], self.start + offset.min(self.len))
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        read_only()
    }

    fn allocate(&self, _len: u64) -> io::Result<()> {
        read_only()
    }

    fn punch(&self, _offset: u64, _len: u64) -> io::Result<()> {
        read_only()
    }

    fn taken(&self) -> io::Result<u64> {
        Ok(self.len)
    }

    fn barrier(&self, _level: Barrier) -> io::Result<Barrier> {
        read_only()
    }

    fn sync(&self) -> io::Result<()> {
        read_only()
    }

    fn map(&self, _len: usize) -> io::Result<Box<dyn Mapping>> {
        read_only()
    }

    fn map_private(&self, _len: usize) -> io::Result<Box<dyn PrivateMapping>> {
        read_only()
    }
}
