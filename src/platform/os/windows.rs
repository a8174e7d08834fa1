//! Windows: names by path, links refused by looking at what was opened.
//!
//! Floor 1. Imports `platform`, `sync`.
//!
//! Access is whatever the directory passes on to what is made in it. A file cannot be removed or replaced while a
//! mapping of it exists.

use std::fs::OpenOptions;
use std::ops::Range;
use std::os::windows::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::{fs, io};

use memmap2::MmapRaw;

use crate::platform::name;
use crate::platform::os;
use crate::platform::real::read_through;
use crate::platform::{Access, Barrier, Room};
use crate::sync::plain::AtomicU64;

// From the Windows SDK: winnt.h and winbase.h.
const GENERIC_READ: u32 = 0x8000_0000;
const GENERIC_WRITE: u32 = 0x4000_0000;
const FILE_SHARE_READ: u32 = 1;
const FILE_SHARE_WRITE: u32 = 2;
const FILE_FLAG_BACKUP_SEMANTICS: u32 = 0x0200_0000;
const FILE_FLAG_OPEN_REPARSE_POINT: u32 = 0x0020_0000;

/// A directory, by its path.
#[derive(Debug)]
pub(crate) struct Dir {
    path: PathBuf,
}

impl Dir {
    /// Finds the directory at `path`, which may be a link to one.
    pub(crate) fn open_at(path: &Path) -> io::Result<Dir> {
        let path = fs::canonicalize(path)?;
        if !fs::metadata(&path)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Dir { path })
    }

    /// Its path without links, as it was when it was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The names in `folder`, in no order; folders' names end in `/`.
    pub(crate) fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.folder(name::folder(folder)?)?)? {
            let entry = entry?;
            let mark = if entry.file_type()?.is_dir() { "/" } else { "" };
            names.push(format!("{}{mark}", entry.file_name().to_string_lossy()));
        }
        Ok(names)
    }

    /// Makes a folder.
    pub(crate) fn create_dir(&self, folder: &str) -> io::Result<()> {
        fs::create_dir(self.path.join(name::top(folder)?))
    }

    /// Opens an existing regular file.
    pub(crate) fn open(&self, name: &str, access: Access) -> io::Result<fs::File> {
        let mut options = OpenOptions::new();
        options.read(true).write(access == Access::ReadWrite);
        self.open_with(name, &mut options)
    }

    /// Makes a new file.
    pub(crate) fn create(&self, name: &str) -> io::Result<fs::File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        self.open_with(name, &mut options)
    }

    /// Opens a regular file for reading and writing; makes it if there is none. While it is open nobody can remove it.
    pub(crate) fn open_or_create(&self, name: &str) -> io::Result<fs::File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        options.share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE);
        self.open_with(name, &mut options)
    }

    /// Gives `from` the name `to`.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let ((old_folder, from), (folder, to)) = (name::split(from)?, name::split(to)?);
        fs::rename(self.folder(old_folder)?.join(from), self.folder(folder)?.join(to))
    }

    /// NTFS keeps how far a file was ever written, and writing beyond changes that, which a flush then has to write, too.
    pub(crate) fn room(&self) -> Room {
        Room::InPlace
    }

    /// Nothing: what is linked here could not be removed while the other name is in use.
    pub(crate) fn link(&self, _file: &fs::File, _path: &Path, _name: &str) -> io::Result<bool> {
        Ok(false)
    }

    /// Removes the name of a file.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        let (folder, file) = name::split(name)?;
        fs::remove_file(self.folder(folder)?.join(file))
    }

    /// Makes the names in `folder` durable.
    pub(crate) fn sync_dir(&self, folder: &str) -> io::Result<()> {
        sync_dir_at(&self.folder(name::folder(folder)?)?)
    }

    /// Whether `name` leads to the open `file`: always, since `open_or_create` does not share the right to remove it.
    pub(crate) fn is_named(&self, _file: &fs::File, _name: &str) -> io::Result<bool> {
        Ok(true)
    }

    fn open_with(&self, name: &str, options: &mut OpenOptions) -> io::Result<fs::File> {
        let (folder, file) = name::split(name)?;
        let path = self.folder(folder)?.join(file);
        // A link is opened as such, not followed, and found out below.
        options.custom_flags(FILE_FLAG_OPEN_REPARSE_POINT);
        let opened = options.open(path)?;
        if !opened.metadata()?.is_file() {
            let text = format!("{name} is not a regular file");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(opened)
    }

    /// The path of a folder, which is not a link when we look.
    fn folder(&self, folder: &str) -> io::Result<PathBuf> {
        if folder.is_empty() {
            return Ok(self.path.clone());
        }
        let path = self.path.join(folder);
        if !fs::symlink_metadata(&path)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(path)
    }
}

/// Makes a directory, with the access that the one above passes on.
pub(crate) fn make_private_dir(path: &Path) -> io::Result<()> {
    fs::create_dir(path)
}

/// Flushes the directory at `path`, where Windows lets us: no call is documented to make a name durable.
pub(crate) fn sync_dir_at(path: &Path) -> io::Result<()> {
    let opened = OpenOptions::new()
        .access_mode(GENERIC_READ | GENERIC_WRITE)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS)
        .open(path);
    let flushed = opened.and_then(|dir| dir.sync_all());
    match flushed.as_ref().map_err(io::Error::kind) {
        Err(io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => Ok(()),
        _ => flushed,
    }
}

/// Reads what one call gives.
pub(crate) fn read_at(file: &fs::File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    file.seek_read(bytes, offset)
}

/// Writes what one call takes.
pub(crate) fn write_at(file: &fs::File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    file.seek_write(bytes, offset)
}

/// Reads as ever: after a failed flush this may show bytes that the device does not hold.
pub(crate) fn read_device_at(file: &fs::File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    read_through(bytes, offset, |bytes, offset| os::read_at(file, bytes, offset))
}

/// Reserves room for `len` bytes.
pub(crate) fn allocate(file: &fs::File, len: u64) -> io::Result<()> {
    fs4::FileExt::allocate(file, len)
}

/// Shares nothing: ReFS could, and nobody has measured it.
pub(crate) fn share(_source: &fs::File, _from: u64, _file: &fs::File, _offset: u64, _len: u64) -> u64 {
    0
}

/// Keeps the room: a hole needs a file that was made sparse.
pub(crate) fn punch(_file: &fs::File, _offset: u64, _len: u64) -> io::Result<()> {
    Ok(())
}

/// Its length: nothing is ever given back.
pub(crate) fn taken(file: &fs::File) -> io::Result<u64> {
    Ok(file.metadata()?.len())
}

/// Windows knows one level: `FlushFileBuffers`.
pub(crate) fn barrier(file: &fs::File, _level: Barrier) -> io::Result<Barrier> {
    file.sync_data()?;
    Ok(Barrier::Durable)
}

/// Makes all of a file durable.
pub(crate) fn sync(file: &fs::File) -> io::Result<()> {
    file.sync_all()
}

/// Windows does not fork.
pub(crate) fn word_wiped_on_fork() -> Option<&'static AtomicU64> {
    None
}

/// Left to the system: it has no call that would tell of an error.
pub(crate) fn read_ahead(_map: &MmapRaw, _range: Range<usize>) -> io::Result<()> {
    Ok(())
}

/// Not asked for: handles are limited by memory.
pub(crate) fn open_files_max() -> Option<u64> {
    None
}

/// Not asked for: no call of the standard library tells.
pub(crate) fn page_bytes() -> Option<u64> {
    None
}

/// Not asked for: there are lists of who may do what instead.
pub(crate) fn mode(_path: &Path) -> Option<u32> {
    None
}
