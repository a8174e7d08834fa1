//! What differs from system to system: one file each, with the same few verbs.
//!
//! Floor 1. Imports `platform`.
//!
//! | verb | what it does |
//! |---|---|
//! | `Dir` | a directory held open, and what is done with the names in it |
//! | `make_private_dir`, `sync_dir_at` | make a directory for its owner alone; make the names in one durable |
//! | `read_at`, `write_at` | one system call each: may be short, may be interrupted |
//! | `read_device_at` | what the device holds, as far as the system lets us ask |
//! | `allocate` | reserve room, where the file system can; may leave the length to the caller |
//! | `room` | how the file system writes: in place, or elsewhere |
//! | `read_ahead` | read what a mapping shows, where the system tells whether it could |
//! | `share` | have two files share room, where the file system can |
//! | `punch`, `taken` | give room back, where the system can; how much of it a file takes up |
//! | `open_files_max`, `page_bytes`, `mode` | limits, and who may do what with a directory, for people |
//! | `barrier`, `sync` | make contents durable; one call, never made again by itself |
//! | `word_wiped_on_fork` | a word of this process that is 0 in a forked child, where the system has such |

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;
#[cfg(target_vendor = "apple")]
mod macos;
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android", target_vendor = "apple"))))]
mod other;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(not(any(unix, windows)))]
compile_error!("zipcask needs positioned reads, mappings and file locks: a Unix, or Windows");

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use crate::platform::os::linux::{
    barrier, punch, read_ahead, read_device_at, room, share, sync, word_wiped_on_fork,
};
#[cfg(target_vendor = "apple")]
pub(crate) use crate::platform::os::macos::{
    barrier, punch, read_ahead, read_device_at, room, share, sync, word_wiped_on_fork,
};
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android", target_vendor = "apple"))))]
pub(crate) use crate::platform::os::other::{
    barrier, punch, read_ahead, read_device_at, room, share, sync, word_wiped_on_fork,
};
#[cfg(unix)]
pub(crate) use crate::platform::os::unix::{
    Dir, allocate, make_private_dir, mode, open_files_max, page_bytes, read_at, sync_dir_at, taken, write_at,
};
#[cfg(windows)]
pub(crate) use crate::platform::os::windows::{
    Dir, allocate, barrier, make_private_dir, mode, open_files_max, page_bytes, punch, read_ahead, read_at,
    read_device_at, share, sync, sync_dir_at, taken, word_wiped_on_fork, write_at,
};
