//! What the Unixes share: a directory held open, its names resolved relative to it, never through a link.
//!
//! Floor 1. Imports `platform`, `sync`.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Resource, getrlimit};

use crate::platform::name;
use crate::platform::os;
use crate::platform::{Access, Room};
use crate::sync::Arc;
use crate::sync::plain::{Mutex, PoisonError};

/// What every descriptor of ours is opened with. `NONBLOCK` means nothing to a regular file, but opening a pipe that
/// somebody put in its place does not wait for a writer.
const FLAGS: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
const FOLDER_FLAGS: OFlags = FLAGS.union(OFlags::RDONLY).union(OFlags::DIRECTORY);
/// What `st_blocks` counts, whatever the file system's blocks are.
const BLOCK_UNIT: u64 = 512;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// A directory held open: what is done here happens in it, wherever it is moved to.
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
    path: PathBuf,
    /// Folders in it that were used: held open, so that a rename or a sync never lacks a descriptor.
    folders: Mutex<BTreeMap<String, Arc<OwnedFd>>>,
}

/// The directory itself, or a folder in it.
enum Folder<'a> {
    Top(BorrowedFd<'a>),
    Below(Arc<OwnedFd>),
}

impl AsFd for Folder<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Folder::Top(fd) => *fd,
            Folder::Below(fd) => fd.as_fd(),
        }
    }
}

impl Dir {
    /// Opens the directory at `path`, which may be a link to one.
    pub(crate) fn open_at(path: &Path) -> io::Result<Dir> {
        let path = fs::canonicalize(path)?;
        let fd = retry_on_intr(|| rustix::fs::open(&path, FOLDER_FLAGS, Mode::empty()))?;
        Ok(Dir { fd, path, folders: Mutex::default() })
    }

    /// Its path without links, as it was when it was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The names in `folder`, in no order; folders' names end in `/`.
    pub(crate) fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let folder = self.folder(name::folder(folder)?)?;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => kind_of(&folder, name)?,
                kind => Some(kind),
            };
            let mark = if kind == Some(FileType::Directory) { "/" } else { "" };
            names.push(format!("{}{mark}", name.to_string_lossy()));
        }
        Ok(names)
    }

    /// Makes a folder for its owner alone.
    pub(crate) fn create_dir(&self, folder: &str) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.fd, name::top(folder)?, Mode::RWXU)?)
    }

    /// Opens an existing regular file.
    pub(crate) fn open(&self, name: &str, access: Access) -> io::Result<fs::File> {
        self.open_with(
            name,
            match access {
                Access::Read => OFlags::RDONLY,
                Access::ReadWrite => OFlags::RDWR,
            },
        )
    }

    /// Makes a new file for its owner alone.
    pub(crate) fn create(&self, name: &str) -> io::Result<fs::File> {
        self.open_with(name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)
    }

    /// Opens a regular file for reading and writing; makes it, for its owner alone, if there is none.
    pub(crate) fn open_or_create(&self, name: &str) -> io::Result<fs::File> {
        self.open_with(name, OFlags::RDWR | OFlags::CREATE)
    }

    /// Gives `from` the name `to`.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let ((old_folder, from), (folder, to)) = (name::split(from)?, name::split(to)?);
        let (old_folder, folder) = (self.folder(old_folder)?, self.folder(folder)?);
        Ok(rustix::fs::renameat(&old_folder, from, &folder, to)?)
    }

    /// Gives `file`, which lies at `path`, a second name here, where the system does that.
    pub(crate) fn link(&self, file: &fs::File, path: &Path, name: &str) -> io::Result<bool> {
        let (folder, to) = name::split(name)?;
        let folder = self.folder(folder)?;
        match rustix::fs::linkat(rustix::fs::CWD, path, &folder, to, AtFlags::empty()) {
            Ok(()) => {}
            Err(error @ (Errno::EXIST | Errno::IO | Errno::NOSPC | Errno::DQUOT | Errno::ROFS)) => {
                return Err(error.into());
            }
            Err(_) => return Ok(false),
        }
        if self.is_named(file, name)? {
            return Ok(true);
        }
        // Another file lies there by now.
        self.remove(name)?;
        Ok(false)
    }

    /// How its file system writes.
    pub(crate) fn room(&self) -> Room {
        os::room(&self.fd)
    }

    /// Removes the name of a file.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        let (folder, file) = name::split(name)?;
        let folder = self.folder(folder)?;
        Ok(rustix::fs::unlinkat(&folder, file, AtFlags::empty())?)
    }

    /// Makes the names in `folder` durable.
    pub(crate) fn sync_dir(&self, folder: &str) -> io::Result<()> {
        os::sync(&self.folder(name::folder(folder)?)?)
    }

    /// Whether `name` leads to the open `file`.
    pub(crate) fn is_named(&self, file: &fs::File, name: &str) -> io::Result<bool> {
        let ours = rustix::fs::fstat(file)?;
        let (folder, name) = name::split(name)?;
        let folder = self.folder(folder)?;
        match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) => Ok(ours.st_nlink > 0 && (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn open_with(&self, name: &str, flags: OFlags) -> io::Result<fs::File> {
        let (folder, file) = name::split(name)?;
        let folder = self.folder(folder)?;
        let open = || rustix::fs::openat(&folder, file, flags | FLAGS, FILE_MODE);
        let not_regular = || io::Error::new(io::ErrorKind::InvalidInput, format!("{name} is not a regular file"));
        let opened = match retry_on_intr(open) {
            // A link (MLINK on FreeBSD), or a socket (NXIO on Linux).
            Err(Errno::LOOP | Errno::MLINK | Errno::NXIO | Errno::OPNOTSUPP) => return Err(not_regular()),
            opened => fs::File::from(opened?),
        };
        if !opened.metadata()?.is_file() {
            return Err(not_regular());
        }
        Ok(opened)
    }

    fn folder(&self, folder: &str) -> io::Result<Folder<'_>> {
        if folder.is_empty() {
            return Ok(Folder::Top(self.fd.as_fd()));
        }
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fd) = folders.get(folder) {
            return Ok(Folder::Below(Arc::clone(fd)));
        }
        let open = || rustix::fs::openat(&self.fd, folder, FOLDER_FLAGS, Mode::empty());
        let fd = Arc::new(retry_on_intr(open)?);
        folders.insert(folder.to_string(), Arc::clone(&fd));
        Ok(Folder::Below(fd))
    }
}

/// The kind of a file, for file systems whose listings do not tell; `None` if it has gone meanwhile.
fn kind_of(folder: &Folder<'_>, name: &std::ffi::CStr) -> io::Result<Option<FileType>> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes a directory that only its owner may enter, from the start.
pub(crate) fn make_private_dir(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::mkdir(path, Mode::RWXU)?)
}

/// Makes the names in the directory at `path` durable.
pub(crate) fn sync_dir_at(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    os::sync(&retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))?)
}

/// Reads what one call gives.
pub(crate) fn read_at(file: &fs::File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    FileExt::read_at(file, bytes, offset)
}

/// Writes what one call takes.
pub(crate) fn write_at(file: &fs::File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    FileExt::write_at(file, bytes, offset)
}

/// Reserves room for `len` bytes, or does nothing where the file system cannot.
pub(crate) fn allocate(file: &fs::File, len: u64) -> io::Result<()> {
    // The system would say the same, but by a signal that ends the process, and spares are made unasked.
    if getrlimit(Resource::Fsize).current.is_some_and(|longest| longest < len) {
        return Err(Errno::FBIG.into());
    }
    // FreeBSD says EINVAL for file systems that cannot (ZFS); Linux says it for no bytes at all.
    let cannot = [Errno::OPNOTSUPP, Errno::NOTSUP, Errno::NOSYS, Errno::INVAL];
    loop {
        let done = fs4::FileExt::allocate(file, len);
        match done.as_ref().err().and_then(Errno::from_io_error) {
            Some(Errno::INTR) => {}
            Some(errno) if cannot.contains(&errno) => return Ok(()),
            _ => return done,
        }
    }
}

/// Bytes of the blocks that the file has.
pub(crate) fn taken(file: &fs::File) -> io::Result<u64> {
    Ok(file.metadata()?.blocks() * BLOCK_UNIT)
}

/// Files that this process may have open, if there is a limit.
pub(crate) fn open_files_max() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Bytes of a page of memory.
pub(crate) fn page_bytes() -> Option<u64> {
    Some(rustix::param::page_size() as u64)
}

/// The permissions of the directory at `path`, as `chmod` has them.
pub(crate) fn mode(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|metadata| metadata.mode() & 0o7777)
}

#[cfg(test)]
mod tests {
    use crate::platform::os::Dir;
    use crate::platform::real::RealDisk;
    use crate::platform::{Access, Disk};
    use rustix::fs::Mode;
    use rustix::io::{FdFlags, fcntl_getfd};
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::{fs, io};

    #[test]
    fn a_link_is_refused_under_any_name() {
        let (temp, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let disk = RealDisk::open(temp.path(), false).unwrap();
        let victim = elsewhere.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let folder = elsewhere.path().join("folder");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("a"), "precious").unwrap();

        symlink(&victim, temp.path().join("LOCK")).unwrap();
        symlink(elsewhere.path().join("nothing"), temp.path().join("dangling")).unwrap();
        symlink(&folder, temp.path().join("segments")).unwrap();

        let refused = |name| disk.open(name, Access::ReadWrite).unwrap_err().kind();
        assert_eq!(refused("LOCK"), io::ErrorKind::InvalidInput);
        assert_eq!(refused("dangling"), io::ErrorKind::InvalidInput);
        let create = disk.create("dangling").unwrap_err();
        assert_eq!(create.kind(), io::ErrorKind::AlreadyExists);
        assert!(disk.lock().is_err(), "LOCK is opened like any other file");

        assert!(disk.open("segments/a", Access::Read).is_err());
        assert!(disk.create("segments/b").is_err());
        assert!(disk.list("segments").is_err());
        assert!(disk.rename("segments/a", "segments/b").is_err());
        assert!(disk.remove("segments/a").is_err());
        assert!(disk.sync_dir("segments").is_err());
        let names = disk.list("").unwrap();
        assert_eq!(names, ["LOCK", "dangling", "segments"], "a link is no folder");
        assert_eq!(fs::read_to_string(victim).unwrap(), "precious");
        assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
    }

    #[test]
    fn a_pipe_in_the_place_of_a_file_is_refused_and_does_not_hang() {
        let temp = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(temp.path(), false).unwrap();
        let pipe = temp.path().join("ZIPCASK");
        let name = CString::new(pipe.as_os_str().as_bytes()).unwrap();
        // SAFETY: the name is a string that ends in a zero.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        let error = disk.open("ZIPCASK", Access::Read).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn what_is_made_is_for_its_owner_alone_even_without_a_umask() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("store");
        let before = rustix::process::umask(Mode::empty());
        let disk = RealDisk::open(&path, true).unwrap();
        disk.create_dir("segments").unwrap();
        disk.create("segments/a").unwrap();
        let lock = disk.lock().unwrap();
        rustix::process::umask(before);

        let mode = |name: &str| fs::metadata(path.join(name)).unwrap().mode() & 0o7777;
        assert_eq!(mode(""), 0o700);
        assert_eq!(mode("segments"), 0o700);
        assert_eq!(mode("segments/a"), 0o600);
        assert_eq!(mode("LOCK"), 0o600);
        assert_eq!(mode("HOLDER"), 0o600);
        drop(lock);
    }

    #[test]
    fn the_directory_is_followed_when_it_moves() {
        let temp = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(&temp.path().join("here"), true).unwrap();
        fs::rename(temp.path().join("here"), temp.path().join("there")).unwrap();
        disk.create("a").unwrap();
        assert!(temp.path().join("there/a").exists());
    }

    #[test]
    fn descriptors_are_not_handed_to_other_programs() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open_at(temp.path()).unwrap();
        let file = dir.create("a").unwrap();
        assert_eq!(fcntl_getfd(&file).unwrap(), FdFlags::CLOEXEC);
        assert_eq!(fcntl_getfd(&dir.fd).unwrap(), FdFlags::CLOEXEC);
    }
}
