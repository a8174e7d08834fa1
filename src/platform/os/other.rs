//! Unixes that have no file of their own: what POSIX promises and no more.
//!
//! Floor 1. Imports `platform`, `sync`.

use std::ops::Range;
use std::os::fd::AsFd;
use std::{fs, io};

use memmap2::MmapRaw;

use crate::platform::os;
use crate::platform::real::read_through;
use crate::platform::{Barrier, Room};
use crate::sync::plain::AtomicU64;

/// fsync at either level: not all of them have fdatasync.
pub(crate) fn barrier(file: &fs::File, _level: Barrier) -> io::Result<Barrier> {
    sync(file)?;
    Ok(Barrier::Durable)
}

/// Makes a file or the names in a folder durable.
pub(crate) fn sync(fd: &impl AsFd) -> io::Result<()> {
    Ok(rustix::fs::fsync(fd)?)
}

/// UFS and ZFS differ, and nobody has measured either.
pub(crate) fn room(_dir: &impl AsFd) -> Room {
    Room::Elsewhere
}

/// Shares nothing: no call that all of them have.
pub(crate) fn share(_source: &fs::File, _from: u64, _file: &fs::File, _offset: u64, _len: u64) -> u64 {
    0
}

/// Keeps the room: no call that all of them share.
pub(crate) fn punch(_file: &fs::File, _offset: u64, _len: u64) -> io::Result<()> {
    Ok(())
}

/// Reads as ever: after a failed sync this may show bytes that the device does not hold.
pub(crate) fn read_device_at(file: &fs::File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    read_through(bytes, offset, |bytes, offset| os::read_at(file, bytes, offset))
}

/// None that all of them share.
pub(crate) fn word_wiped_on_fork() -> Option<&'static AtomicU64> {
    None
}

/// Left to the system: it has no call that would tell of an error.
pub(crate) fn read_ahead(_map: &MmapRaw, _range: Range<usize>) -> io::Result<()> {
    Ok(())
}
