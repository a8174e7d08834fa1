//! The disk of the machine.
//!
//! Floor 1. Imports `platform`, `sync`.

use std::path::Path;
use std::{fs, io};

use crate::platform::clock::SystemClock;
use crate::platform::lock::{self, Holder, RealLock};
use crate::platform::map::{Map, PrivateMap};
use crate::platform::os;
use crate::platform::random;
use crate::platform::{Access, Barrier, Clock, Disk, File, Lock, LockError, Mapping, PrivateMapping, Room};
use crate::sync::Arc;

/// A directory of the file system.
#[derive(Debug)]
pub(crate) struct RealDisk {
    dir: Arc<os::Dir>,
    clock: SystemClock,
}

impl RealDisk {
    /// Opens the directory at `path`; with `create`, makes it and those above it if they are missing.
    ///
    /// The name of the directory itself is durable after `sync_parent`, those of directories made above it at once.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is none and `create` is off; `NotADirectory` if something else has the name.
    pub(crate) fn open(path: &Path, create: bool) -> io::Result<RealDisk> {
        let dir = match os::Dir::open_at(path) {
            Err(error) if create && error.kind() == io::ErrorKind::NotFound => {
                make_parents(path)?;
                or_exists(os::make_private_dir(path))?;
                os::Dir::open_at(path)?
            }
            opened => opened?,
        };
        Ok(RealDisk { dir: Arc::new(dir), clock: SystemClock::new() })
    }
}

impl RealDisk {
    /// Who has the store's lock.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn holder(&self) -> io::Result<Holder> {
        lock::look(&self.dir)
    }
}

impl Disk for RealDisk {
    /// The canonical path.
    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Names that are not UTF-8, which are none of ours, come with replacement characters.
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut names = self.dir.list(folder)?;
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir(&self, folder: &str) -> io::Result<()> {
        self.dir.create_dir(folder)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(RealFile(self.dir.open(name, access)?)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(RealFile(self.dir.create(name)?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.dir.rename(from, to)
    }

    fn link(&self, source: &dyn File, path: &Path, name: &str) -> io::Result<bool> {
        source.os_file().map_or(Ok(false), |source| self.dir.link(source, path, name))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.dir.remove(name)
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        self.dir.sync_dir(folder)
    }

    fn sync_parent(&self) -> io::Result<()> {
        match self.dir.path().parent() {
            Some(parent) => os::sync_dir_at(parent),
            None => Ok(()),
        }
    }

    fn lock(&self) -> Result<Box<dyn Lock>, LockError> {
        Ok(Box::new(RealLock::take(&self.dir)?))
    }

    fn room(&self) -> Room {
        self.dir.room()
    }

    fn random(&self, bytes: &mut [u8]) -> io::Result<()> {
        random::fill(bytes)
    }

    fn clock(&self) -> &dyn Clock {
        &self.clock
    }
}

/// Opens a regular file anywhere, to be read: gives the disk that is its directory, its name there, and itself.
///
/// # Errors
///
/// `InvalidInput` if something else has the name; as the system says.
pub(crate) fn open_alone(path: &Path) -> io::Result<(RealDisk, String, Arc<dyn File>)> {
    let path = fs::canonicalize(path)?;
    // Asked first: opening a pipe waits for whoever writes to it.
    let parts = parent_of(&path).zip(path.file_name()).filter(|_| path.is_file());
    let Some((folder, name)) = parts else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    };
    let file = fs::File::open(&path)?;
    Ok((RealDisk::open(folder, false)?, name.to_string_lossy().into_owned(), Arc::new(RealFile(file))))
}

/// Makes what is missing above `path`, with the modes that the process gives any directory.
fn make_parents(path: &Path) -> io::Result<()> {
    let Some(parent) = parent_of(path).filter(|parent| !parent.is_dir()) else {
        return Ok(());
    };
    make_parents(parent)?;
    or_exists(fs::create_dir(parent))?;
    match parent_of(parent) {
        // BARRIER: `parent` keeps its name, so that the store can be reached by it once `sync_parent` has been.
        Some(above) => os::sync_dir_at(above),
        None => Ok(()),
    }
}

/// The directory that `path` lies in; none of `/` and of the empty path.
fn parent_of(path: &Path) -> Option<&Path> {
    let parent = path.parent()?;
    let here = parent.as_os_str().is_empty();
    Some(if here { Path::new(".") } else { parent })
}

/// Takes a directory that somebody else made first for made.
fn or_exists(made: io::Result<()>) -> io::Result<()> {
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// An open file of the file system.
#[derive(Debug)]
struct RealFile(fs::File);

impl File for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        read_through(bytes, offset, |bytes, offset| os::read_at(&self.0, bytes, offset))
    }

    fn read_device_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        os::read_device_at(&self.0, bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        write_through(bytes, offset, |bytes, offset| os::write_at(&self.0, bytes, offset))
    }

    fn write_from(&self, source: &dyn File, from: u64, bytes: &[u8], offset: u64) -> io::Result<()> {
        let len = bytes.len() as u64;
        let shared = source.os_file().map_or(0, |source| os::share(source, from, &self.0, offset, len)).min(len);
        self.write_at(&bytes[shared as usize..], offset + shared)
    }

    fn os_file(&self) -> Option<&fs::File> {
        Some(&self.0)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        os::allocate(&self.0, len)?;
        // Not every system's allocation moves the end, and some leave it where enough happens to be allocated.
        if self.len()? < len {
            self.0.set_len(len)?;
        }
        Ok(())
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        os::punch(&self.0, offset, len)
    }

    fn taken(&self) -> io::Result<u64> {
        os::taken(&self.0)
    }

    fn barrier(&self, level: Barrier) -> io::Result<Barrier> {
        os::barrier(&self.0, level)
    }

    fn sync(&self) -> io::Result<()> {
        os::sync(&self.0)
    }

    fn map(&self, len: usize) -> io::Result<Box<dyn Mapping>> {
        Ok(Box::new(Map::new(&self.0, len)?))
    }

    fn map_private(&self, len: usize) -> io::Result<Box<dyn PrivateMapping>> {
        Ok(Box::new(PrivateMap::new(&self.0, len)?))
    }
}

/// Calls `read` until `bytes` are full or it returns 0; interrupted calls are made again.
pub(crate) fn read_through(
    bytes: &mut [u8],
    offset: u64,
    mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match read(&mut bytes[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Calls `write` until all of `bytes` are written; interrupted calls are made again.
fn write_through(bytes: &[u8], offset: u64, mut write: impl FnMut(&[u8], u64) -> io::Result<usize>) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match write(&bytes[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::platform::Disk;
    use crate::platform::conformance;
    use crate::platform::real::{RealDisk, read_through, write_through};
    use std::path::Path;
    use std::{fs, io};

    #[test]
    fn the_real_disk_keeps_the_contract_of_a_disk() {
        let temp = tempfile::tempdir().unwrap();
        conformance::check(&RealDisk::open(temp.path(), false).unwrap());
    }

    #[test]
    fn a_directory_is_made_only_when_asked_to() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a/b/store");
        let error = RealDisk::open(&path, false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(!temp.path().join("a").exists());

        let disk = RealDisk::open(&path, true).unwrap();
        assert_eq!(disk.path(), fs::canonicalize(&path).unwrap());
        disk.sync_parent().unwrap();
        disk.create("mine").unwrap();
        let again = RealDisk::open(&path, true).unwrap();
        assert_eq!(again.list("").unwrap(), ["mine"], "what is there is left alone");
    }

    #[test]
    fn a_file_in_the_place_of_the_directory_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("store");
        fs::write(&path, "a file").unwrap();
        for create in [false, true] {
            let error = RealDisk::open(&path, create).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
        }
        assert!(RealDisk::open(&path.join("below"), true).is_err());
        assert!(RealDisk::open(Path::new(""), true).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "a file");
    }

    #[test]
    fn no_name_leads_out_of_the_directory() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("outside"), "precious").unwrap();
        let disk = RealDisk::open(&temp.path().join("store"), true).unwrap();
        for name in ["../outside", "/etc/passwd", "a/../../outside", "", ".."] {
            let refused = disk.remove(name).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{name}");
            assert!(disk.create(name).is_err(), "{name}");
        }
        assert!(disk.list("..").is_err());
        assert!(disk.create_dir("../new").is_err());
        assert!(temp.path().join("outside").exists());
    }

    /// A call that is interrupted three times in a row, then takes one byte, the next time all but one.
    fn halting(calls: &mut u32, len: usize) -> io::Result<usize> {
        *calls += 1;
        match *calls % 8 {
            4 => Ok(len.min(1)),
            0 => Ok(len.saturating_sub(1).max(1).min(len)),
            _ => Err(io::ErrorKind::Interrupted.into()),
        }
    }

    #[test]
    fn short_and_interrupted_writes_are_completed() {
        let (mut calls, mut written) = (0, vec![0; 12]);
        let bytes: Vec<u8> = (1..=10).collect();
        write_through(&bytes, 2, |bytes, offset| {
            let count = halting(&mut calls, bytes.len())?;
            let offset = offset as usize;
            written[offset..offset + count].copy_from_slice(&bytes[..count]);
            Ok(count)
        })
        .unwrap();
        assert_eq!(written, [0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    }

    #[test]
    fn a_write_that_takes_nothing_is_an_error() {
        let error = write_through(&[1], 0, |_, _| Ok(0)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
        let full = |_: &[u8], _| Err(io::ErrorKind::StorageFull.into());
        let error = write_through(&[1], 0, full).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn short_and_interrupted_reads_are_completed() {
        let (mut calls, mut bytes) = (0, [0; 10]);
        let source: Vec<u8> = (1..=8).collect();
        let count = read_through(&mut bytes, 1, |bytes, offset| {
            let left = &source[offset as usize..];
            let count = halting(&mut calls, bytes.len().min(left.len()))?;
            bytes[..count].copy_from_slice(&left[..count]);
            Ok(count)
        })
        .unwrap();
        assert_eq!(bytes[..count], [2, 3, 4, 5, 6, 7, 8]);
    }
}
