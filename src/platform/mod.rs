//! The seam between the engine and the machine: directories, files, mappings, barriers, locks, time, randomness.
//!
//! Floor 1. Imports `sync`.
//!
//! Every access of the engine to a file goes through these traits; the crash tests stand on that. They are used as
//! `dyn`: each call is a system call on a real disk, beside which a virtual call is nothing. Reads of records do not
//! pass here: they follow the pointer that a `Mapping` gave once.

#![cfg_attr(not(feature = "sim"), allow(unreachable_pub, reason = "public for the crash tests alone"))]

pub(crate) mod clock;
#[cfg(test)]
pub(crate) mod conformance;
pub(crate) mod facts;
pub(crate) mod fork;
pub(crate) mod lock;
mod map;
pub(crate) mod memory;
mod name;
mod os;
mod random;
pub(crate) mod real;
#[cfg(feature = "sim")]
#[allow(unreachable_pub, reason = "lib.rs opens it to the crash tests")]
pub mod sim;

use std::{fmt, io, ops::Range, path::Path, ptr::NonNull};

use crate::sync::Arc;

/// The directory of one store. Names are relative, of the form `name` or `folder/name`, and never leave the directory.
///
/// What a power cut leaves of calls that no sync covers is up to the disk: any subset of the sectors written, of the
/// sizes set, of the names made, changed or removed.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Where the directory is, for messages and `Db::path`.
    fn path(&self) -> &Path;

    /// The names in `folder` (`""` is the directory itself), sorted; folders' names end in `/`.
    ///
    /// # Errors
    /// `NotFound` if there is no such folder.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;

    /// Makes a folder. Its own name is durable after `sync_dir("")`.
    ///
    /// # Errors
    /// `AlreadyExists` if anything has that name.
    fn create_dir(&self, folder: &str) -> io::Result<()>;

    /// Opens an existing file. Symbolic links are refused.
    ///
    /// # Errors
    /// `NotFound` if there is none, `InvalidInput` if something has the name that is no regular file.
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>>;

    /// Makes a new, empty file, open for reading and writing. Its name is durable after `sync_dir` of its folder.
    ///
    /// # Errors
    /// `AlreadyExists` if anything has that name.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Gives `from` the name `to`, replacing what had it. Durable after `sync_dir` of the folder of `to`; of two folders the
    /// other may bring the old name back after a power cut, beside the new one, until it is synced too.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Gives `source`, which lies at `path`, the name `name`, too: one file, two names. `false`, and nothing is done, where that is
    /// not to be had: on another file system, say, or where the file has gone from there. Durable after `sync_dir`.
    ///
    /// # Errors
    /// `AlreadyExists` if anything has that name.
    fn link(&self, source: &dyn File, path: &Path, name: &str) -> io::Result<bool> {
        let _ = (source, path, name);
        Ok(false)
    }

    /// Removes a file's name; open files and mappings of it live on. Durable after `sync_dir`.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes every name made, changed or removed in `folder` so far durable, but not the contents of the files.
    fn sync_dir(&self, folder: &str) -> io::Result<()>;

    /// Makes the name of the directory itself durable in its parent.
    fn sync_parent(&self) -> io::Result<()>;

    /// Takes the store's lock, which other processes and other handles of this one see; dropping it releases it.
    ///
    /// Makes the file `LOCK` if there is none, and never removes it.
    ///
    /// # Errors
    /// [`LockError::HeldHere`], or [`LockError::Held`] with what is known of the holder, at once.
    fn lock(&self) -> Result<Box<dyn Lock>, LockError>;

    /// Where a file's bytes go when they are written, which decides how room is made for them ahead.
    fn room(&self) -> Room;

    /// Fills `bytes` with unpredictable ones.
    fn random(&self, bytes: &mut [u8]) -> io::Result<()>;

    /// The time.
    fn clock(&self) -> &dyn Clock;
}

/// How a disk writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(dead_code, reason = "no system but Linux has disks of both of the first two kinds")]
pub enum Room {
    /// To where the same bytes lay before: what was written once is written again without a change of metadata.
    InPlace,
    /// Elsewhere each time, or nobody has measured: room is worth reserving, but not worth writing.
    Elsewhere,
    /// To memory: nothing is to be had ahead.
    Memory,
}

/// What a file is opened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// An open file. Calls take `&self` and positions; there is no cursor. Closed on drop.
#[allow(clippy::len_without_is_empty, reason = "a length in bytes, not a collection")]
pub trait File: Send + Sync + fmt::Debug {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Reads up to `bytes.len()` bytes at `offset`; less only at the file's end. Through the page cache.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Like `read_at`, but of what the device holds (and what is still waiting to be written to it), not of what the
    /// page cache remembers: after a failed sync those differ, and only this one tells the truth.
    fn read_device_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`, growing the file as needed; retries short writes and `Interrupted`.
    ///
    /// # Errors
    /// As the system says, or `WriteZero`. Any part of the range may have been written then.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// As `write_at` of `bytes`, which are those of `source` from `from` on: where the file system can, both files share the room of
    /// those that lie alike in blocks of both.
    fn write_from(&self, source: &dyn File, from: u64, bytes: &[u8], offset: u64) -> io::Result<()> {
        let _ = (source, from);
        self.write_at(bytes, offset)
    }

    /// The system's own, if it is a file of the system: what `write_from` shares with.
    fn os_file(&self) -> Option<&std::fs::File> {
        None
    }

    /// Sets the length of a new file to `len`, all of it zeros, with room on the device reserved where that can be had.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Gives the device back the room of `len` bytes at `offset`, which are zeros from then on, where the system can; else
    /// does nothing. Nothing of it is durable before the next sync, and until then each part may be as it was.
    fn punch(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Bytes of the device that it takes up, as far as the system tells; else its length.
    fn taken(&self) -> io::Result<u64>;

    /// Makes every byte written so far durable, and as much of the length as reading them needs (fdatasync). Returns what
    /// was reached: `level`, or `Durable` where the system knows nothing less.
    ///
    /// # Errors
    /// As the system says, `Interrupted` included: what was written since the last barrier is in an unknown state then,
    /// and calling this again proves nothing.
    fn barrier(&self, level: Barrier) -> io::Result<Barrier>;

    /// Makes bytes, length and all else of the file durable (fsync), but not its name.
    fn sync(&self) -> io::Result<()>;

    /// Maps the first `len` bytes for reading. The file is at least that long and never shrinks.
    fn map(&self, len: usize) -> io::Result<Box<dyn Mapping>>;

    /// The first `len` bytes in memory that can be written, which never reaches the file. The file is at least that long,
    /// and nobody writes it meanwhile.
    fn map_private(&self, len: usize) -> io::Result<Box<dyn PrivateMapping>>;
}

/// How much a barrier promises.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Barrier {
    /// Before anything written later, on devices that know order; else as `Durable`.
    Ordered,
    /// On stable storage.
    Durable,
}

/// A file's bytes in memory, read-only.
///
/// # Safety
/// `as_ptr` is aligned to 4096 and stays valid for reads of `len` bytes, at the same address, until the mapping is
/// dropped. Bytes change only where `write_at` changes them.
#[allow(clippy::len_without_is_empty, reason = "a length in bytes, not a collection")]
pub unsafe trait Mapping: Send + Sync + fmt::Debug {
    /// The first byte.
    fn as_ptr(&self) -> *const u8;
    /// How many bytes.
    fn len(&self) -> usize;
}

/// Bytes in memory that were a file's, and are their holder's own from then on.
///
/// # Safety
/// `start` is aligned to 4096 and stays valid for reads and writes of `len` bytes, at the same address, until the mapping
/// is dropped. Nothing else writes them.
#[allow(clippy::len_without_is_empty, reason = "a length in bytes, not a collection")]
pub unsafe trait PrivateMapping: Send + Sync + fmt::Debug {
    /// The first byte.
    fn start(&self) -> NonNull<u8>;
    /// How many bytes.
    fn len(&self) -> usize;
    /// Reads these bytes from the device, if they are not in memory.
    ///
    /// # Errors
    /// As the system says, if they cannot be read and it tells. Where it does not, to look at them is SIGBUS.
    fn read_ahead(&self, range: Range<usize>) -> io::Result<()>;
}

/// The time: injected, so that tests own it.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Milliseconds since 1970.
    fn wall_ms(&self) -> u64;
    /// Nanoseconds since some moment; never goes back.
    fn monotonic_ns(&self) -> u64;
}

/// The store's lock, held until dropped.
pub trait Lock: Send + Sync + fmt::Debug {
    /// Whether `LOCK` is still the file that was locked, by its name; if not, somebody removed it and another process
    /// may hold "the" lock too.
    fn still_ours(&self) -> io::Result<bool>;
}

/// Why the lock could not be taken.
#[derive(Debug)]
pub enum LockError {
    /// Another handle of this process has it.
    HeldHere,
    /// Another process has it; which, as far as known ("process 4711, zipcask 0.1.0").
    Held(Option<String>),
    /// The lock file cannot be made, opened or locked.
    Io(io::Error),
}

impl From<io::Error> for LockError {
    fn from(error: io::Error) -> Self {
        LockError::Io(error)
    }
}
