//! Linux: fdatasync, reads past the page cache, a page that forks wipe.
//!
//! Floor 1. Imports `platform`, `sync`.

use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::{fs, io, ptr};

use memmap2::MmapRaw;
use rustix::fs::{Advice, FallocateFlags, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::mm::{MapFlags, ProtFlags};

use crate::platform::os;
use crate::platform::real::read_through;
use crate::platform::{Barrier, Room};
use crate::sync::plain::{AtomicU64, OnceLock};

/// What direct reads are aligned to, in memory and in the file: no device has larger sectors.
const DIRECT_ALIGN: usize = 4096;
/// Bytes of one direct read.
const DIRECT_LEN_MAX: usize = 1 << 20;
/// The largest page of the page cache that is worth dropping whole.
const CACHE_ALIGN: u64 = 64 << 10;

/// `f_type` of the file systems that write elsewhere each time, or to memory, from their headers: bcachefs, btrfs, ramfs,
/// tmpfs, ZFS.
const ELSEWHERE: [u32; 5] = [0xca45_1a4e, 0x9123_683e, 0x8584_58f6, 0x0102_1994, 0x2fc1_2fc1];

/// Those that can share extents between files: btrfs, XFS.
const SHARING: [u32; 2] = [0x9123_683e, 0x5846_5342];

/// Linux knows one level: fdatasync flushes the device.
pub(crate) fn barrier(file: &fs::File, _level: Barrier) -> io::Result<Barrier> {
    rustix::fs::fdatasync(file)?;
    Ok(Barrier::Durable)
}

/// Makes a file or the names in a folder durable.
pub(crate) fn sync(fd: &impl AsFd) -> io::Result<()> {
    Ok(rustix::fs::fsync(fd)?)
}

/// Reads what a mapping shows, if it is not in memory: an error here would be SIGBUS later.
///
/// # Errors
///
/// As the system says; none from a kernel before 5.14, which cannot.
pub(crate) fn read_ahead(map: &MmapRaw, range: Range<usize>) -> io::Result<()> {
    match map.advise_range(memmap2::Advice::PopulateRead, range.start, range.len()) {
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(()),
        done => done,
    }
}

/// How the file system writes. One that nobody knows is taken for the usual kind.
pub(crate) fn room(dir: &impl AsFd) -> Room {
    match rustix::fs::fstatfs(dir) {
        Ok(stat) if ELSEWHERE.contains(&(stat.f_type as u32)) => Room::Elsewhere,
        _ => Room::InPlace,
    }
}

/// Has `file` share with `source` the room of `len` bytes, where the file system can, and says of how many it does so, or they were
/// copied at least. Elsewhere nothing is done: to copy within the kernel takes longer than to write what was read anyway. Whatever
/// fails is left to whoever writes the bytes then.
pub(crate) fn share(source: &fs::File, from: u64, file: &fs::File, offset: u64, len: u64) -> u64 {
    let shares = |stat: rustix::fs::StatFs| SHARING.contains(&(stat.f_type as u32));
    if !rustix::fs::fstatfs(file).is_ok_and(shares) {
        return 0;
    }
    let (mut at, mut to, mut left) = (from, offset, len);
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(usize::MAX);
        match retry_on_intr(|| rustix::fs::copy_file_range(source, Some(&mut at), file, Some(&mut to), count)) {
            Ok(count) if count > 0 => left = left.saturating_sub(count as u64),
            _ => break,
        }
    }
    len - left
}

/// Makes a hole, where the file system has such.
pub(crate) fn punch(file: &fs::File, offset: u64, len: u64) -> io::Result<()> {
    let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match retry_on_intr(|| rustix::fs::fallocate(file, mode, offset, len)) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        done => Ok(done?),
    }
}

/// Reads directly from the device, behind the back of the page cache.
///
/// Where the file system has no direct reads, or /proc is not there to open the file a second time, drops the pages
/// from the cache and reads again; that leaves pages that a mapping shows just now.
pub(crate) fn read_device_at(file: &fs::File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    match read_direct(file, bytes, offset) {
        Err(error) if is_no_direct(&error) => read_dropped(file, bytes, offset),
        read => read,
    }
}

/// Whether direct reads are not to be had here, as opposed to having failed.
fn is_no_direct(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::INVAL | Errno::OPNOTSUPP | Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS | Errno::PERM
        )
    )
}

fn read_direct(file: &fs::File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let direct = open_direct(file)?;
    let len_max = bytes.len().saturating_add(2 * DIRECT_ALIGN);
    let len = DIRECT_LEN_MAX.min(len_max.next_multiple_of(DIRECT_ALIGN));
    let mut memory = vec![0; len + DIRECT_ALIGN];
    let start = memory.as_ptr().align_offset(DIRECT_ALIGN);
    let bounce = &mut memory[start..start + len];
    read_through(bytes, offset, |bytes, offset| {
        let skip = (offset % DIRECT_ALIGN as u64) as usize;
        let wanted = (skip + bytes.len()).next_multiple_of(DIRECT_ALIGN);
        let bounce = &mut bounce[..wanted.min(len)];
        let count = os::read_at(&direct, bounce, offset - skip as u64)?;
        let count = count.saturating_sub(skip).min(bytes.len());
        bytes[..count].copy_from_slice(&bounce[skip..skip + count]);
        Ok(count)
    })
}

/// Opens the same file again, for direct reads: the flag belongs to the description, which writers share.
fn open_direct(file: &fs::File) -> io::Result<fs::File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC;
    let direct = rustix::fs::open(path, flags, Mode::empty())?;
    let (ours, there) = (rustix::fs::fstat(file)?, rustix::fs::fstat(&direct)?);
    if (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino) {
        return Err(Errno::NOENT.into());
    }
    Ok(fs::File::from(direct))
}

fn read_dropped(file: &fs::File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let start = offset / CACHE_ALIGN * CACHE_ALIGN;
    let end = (offset.saturating_add(bytes.len() as u64)).next_multiple_of(CACHE_ALIGN);
    rustix::fs::fadvise(file, start, NonZeroU64::new(end - start), Advice::DontNeed)?;
    read_through(bytes, offset, |bytes, offset| os::read_at(file, bytes, offset))
}

/// A word that is 0 in every forked child until that writes it, or `None` before Linux 4.14.
pub(crate) fn word_wiped_on_fork() -> Option<&'static AtomicU64> {
    static WORD: OnceLock<Option<&'static AtomicU64>> = OnceLock::new();
    *WORD.get_or_init(|| map_wiped_page().ok())
}

fn map_wiped_page() -> io::Result<&'static AtomicU64> {
    let len = 4096;
    let prot = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new private mapping at a place of the kernel's choice touches no memory that is in use.
    let page = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, prot, MapFlags::PRIVATE) }?;
    let advice = rustix::mm::Advice::LinuxWipeOnFork;
    // SAFETY: the page is ours and holds nothing yet; wiping it in children concerns nobody.
    if let Err(error) = unsafe { rustix::mm::madvise(page, len, advice) } {
        // SAFETY: nobody was given the page.
        unsafe { rustix::mm::munmap(page, len) }?;
        return Err(error.into());
    }
    // SAFETY: the page is zeroed, aligned, readable and writable, and is never unmapped; a wiped word is a valid
    // `AtomicU64` too, and in the child nothing else runs while the kernel wipes it.
    Ok(unsafe { &*page.cast::<AtomicU64>() })
}

#[cfg(test)]
mod tests {
    use crate::platform::fork::ForkGuard;
    use crate::platform::os::linux::{open_direct, read_direct, read_dropped};
    use crate::platform::real::RealDisk;
    use crate::platform::{Disk, LockError};
    use rustix::fs::{FallocateFlags, fallocate};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// Runs `child` in a forked child, and returns what it returned.
    fn in_forked_child(child: impl FnOnce() -> u8) -> u8 {
        // SAFETY: the child runs `child` and leaves by `_exit`; it takes no lock that another thread may have held.
        unsafe {
            let pid = libc::fork();
            assert_ne!(pid, -1);
            if pid == 0 {
                libc::_exit(i32::from(child()));
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid);
            assert!(libc::WIFEXITED(status), "the child died: {status}");
            libc::WEXITSTATUS(status) as u8
        }
    }

    #[test]
    fn a_forked_child_knows_that_it_is_one() {
        let guard = ForkGuard::new();
        let bits = in_forked_child(|| {
            let inherited = guard.forked();
            let own = ForkGuard::new();
            // Making one of its own must not make the inherited one look like its own.
            let still = guard.forked();
            let grandchild = in_forked_child(|| u8::from(own.forked() && guard.forked()));
            u8::from(inherited) | u8::from(!own.forked()) << 1 | u8::from(still) << 2 | grandchild << 3
        });
        assert_eq!(bits, 0b1111);
        assert!(!guard.forked(), "the parent is unaffected");
    }

    #[test]
    fn a_forked_child_does_not_release_its_parents_lock() {
        let temp = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(temp.path(), false).unwrap();
        let mut lock = Some(disk.lock().unwrap());
        in_forked_child(|| {
            drop(lock.take());
            0
        });
        assert!(matches!(disk.lock(), Err(LockError::HeldHere)));
        assert!(lock.unwrap().still_ours().unwrap());
        disk.lock().expect("the parent released it");
    }

    #[test]
    fn a_lock_is_released_though_a_forked_child_keeps_its_descriptor() {
        let temp = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(temp.path(), false).unwrap();
        let lock = disk.lock().unwrap();
        let (wait, go) = std::io::pipe().unwrap();
        // SAFETY: the child only reads a pipe and leaves by `_exit`.
        let pid = unsafe { libc::fork() };
        assert_ne!(pid, -1);
        if pid == 0 {
            drop(go);
            let _ = std::io::Read::read(&mut &wait, &mut [0]);
            // SAFETY: nothing of the child's is left to clean up.
            unsafe { libc::_exit(0) };
        }
        drop(lock);
        let again = disk.lock();
        drop(go);
        // SAFETY: the child is ours and was not waited for.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        again.expect("dropping the lock releases it");
    }

    #[test]
    fn direct_reads_and_dropped_ones_agree() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a");
        let bytes: Vec<u8> = (0..200_003_u32).map(|at| (at % 251) as u8).collect();
        fs::write(&path, &bytes).unwrap();
        let file = fs::File::open(&path).unwrap();
        // A file system without direct reads (tmpfs of old) has only the second way.
        let direct = open_direct(&file).is_ok();
        for (offset, len) in [(0, 200_003), (1, 4096), (4096, 4096), (199_000, 5000)] {
            let expected = &bytes[offset..(offset + len).min(bytes.len())];
            let mut part = vec![0; len];
            let count = read_dropped(&file, &mut part, offset as u64).unwrap();
            assert_eq!(&part[..count], expected);
            if direct {
                let mut part = vec![0; len];
                let count = read_direct(&file, &mut part, offset as u64).unwrap();
                assert_eq!(&part[..count], expected);
            }
        }
    }

    #[test]
    fn room_that_was_reserved_before_does_not_hide_a_short_file() {
        let temp = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(temp.path(), false).unwrap();
        let file = disk.create("a").unwrap();
        let same = fs::OpenOptions::new().write(true).open(temp.path().join("a"));
        fallocate(same.unwrap(), FallocateFlags::KEEP_SIZE, 0, 1 << 16).unwrap();
        assert_eq!(file.len().unwrap(), 0);
        file.allocate(1 << 16).unwrap();
        assert_eq!(file.len().unwrap(), 1 << 16);
    }

    #[test]
    fn a_lock_file_that_may_not_be_written_is_an_error_with_its_errno() {
        let temp = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(temp.path(), false).unwrap();
        disk.create("LOCK").unwrap();
        let allow = |path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        allow(temp.path().join("LOCK"), 0o444).unwrap();
        allow(temp.path().to_path_buf(), 0o755).unwrap();
        let errno = in_forked_child(|| {
            // SAFETY: changes the user of the child only, where it is root, whom no mode stops.
            unsafe { libc::setuid(65_534) };
            match disk.lock() {
                Err(LockError::Io(error)) => error.raw_os_error().unwrap_or(0) as u8,
                _ => 0,
            }
        });
        assert_eq!(i32::from(errno), libc::EACCES);
    }
}
