//! macOS and its kin: fsync alone leaves data in the drive's cache, so that the barriers are fcntls.
//!
//! Floor 1. Imports `platform`, `sync`.

use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::{fs, io};

use rustix::io::Errno;

use memmap2::MmapRaw;

use crate::platform::os;
use crate::platform::real::read_through;
use crate::platform::{Barrier, Room};
use crate::sync::plain::AtomicU64;

/// `F_BARRIERFSYNC` orders what was written before what comes after; `F_FULLFSYNC` empties the drive's cache.
pub(crate) fn barrier(file: &fs::File, level: Barrier) -> io::Result<Barrier> {
    if level == Barrier::Ordered {
        match barrier_fsync(file) {
            Err(error) if is_unsupported(error) => {}
            done => return Ok(done.map(|()| Barrier::Ordered)?),
        }
    }
    sync(file)?;
    Ok(Barrier::Durable)
}

/// Makes a file or the names in a folder durable; as durable as fsync can where the file system knows no better.
pub(crate) fn sync(fd: &impl AsFd) -> io::Result<()> {
    match rustix::fs::fcntl_fullfsync(fd) {
        Err(error) if is_unsupported(error) => Ok(rustix::fs::fsync(fd)?),
        done => Ok(done?),
    }
}

fn barrier_fsync(file: &fs::File) -> Result<(), Errno> {
    // SAFETY: the descriptor is open while `file` is borrowed; this command takes no argument and touches no memory.
    let done = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_BARRIERFSYNC) };
    if done == -1 {
        let error = io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO));
    }
    Ok(())
}

/// Whether the file system does not know the command, as opposed to having failed at it.
fn is_unsupported(error: Errno) -> bool {
    matches!(error, Errno::NOTSUP | Errno::OPNOTSUPP | Errno::NOTTY | Errno::INVAL)
}

/// Nobody has measured APFS, which copies on write as it sees fit.
pub(crate) fn room(_dir: &impl AsFd) -> Room {
    Room::Elsewhere
}

/// Shares nothing: clones of parts are not to be had.
pub(crate) fn share(_source: &fs::File, _from: u64, _file: &fs::File, _offset: u64, _len: u64) -> u64 {
    0
}

/// Keeps the room: holes are left to Linux, where they are tested.
pub(crate) fn punch(_file: &fs::File, _offset: u64, _len: u64) -> io::Result<()> {
    Ok(())
}

/// Reads as ever: Apple documents no way around pages that are in its one cache (`F_NOCACHE` only keeps it from taking
/// new ones), so that after a failed sync this may show bytes that the device does not hold.
pub(crate) fn read_device_at(file: &fs::File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    read_through(bytes, offset, |bytes, offset| os::read_at(file, bytes, offset))
}

/// Apple has no such memory (`VM_INHERIT_NONE` would make looking a fault).
pub(crate) fn word_wiped_on_fork() -> Option<&'static AtomicU64> {
    None
}

/// Left to the system: it has no call that would tell of an error.
pub(crate) fn read_ahead(_map: &MmapRaw, _range: Range<usize>) -> io::Result<()> {
    Ok(())
}
