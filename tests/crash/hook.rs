//! A simulated disk that asks before each call, and whose lock need not hold.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use zipcask::sim::{
    Access, Barrier, Clock, Disk, File, Lock, LockError, Mapping, PrivateMapping, Random, Room, SimDisk,
};

/// Asked with the call's name and the file's before each call; an error is what the call returns.
pub(crate) type Hook = Arc<dyn Fn(&str, &str) -> io::Result<()> + Send + Sync>;

#[derive(Clone)]
pub(crate) struct HookDisk {
    inside: SimDisk,
    hook: Hook,
    /// Whether whoever holds the lock was killed, and it is free again.
    killed: bool,
}

impl HookDisk {
    pub(crate) fn new(inside: SimDisk, hook: Hook) -> HookDisk {
        HookDisk { inside, hook, killed: false }
    }

    /// A disk whose processes are killed, again and again: a forgotten handle holds no lock.
    pub(crate) fn of_killed(inside: SimDisk, hook: Hook) -> HookDisk {
        HookDisk { inside, hook, killed: true }
    }

    fn wrap(&self, inside: Arc<dyn File>, name: &str) -> Arc<dyn File> {
        Arc::new(HookFile { inside, name: name.into(), hook: self.hook.clone() })
    }
}

/// A hook that lets everything pass.
pub(crate) fn nothing() -> Hook {
    Arc::new(|_, _| Ok(()))
}

/// What a power cut may leave of `disk` now: a good many images.
pub(crate) fn cut(disk: &SimDisk, count: usize) -> Vec<SimDisk> {
    let point = disk.position();
    disk.recording().images(point, count, &mut Random::new(1)).collect()
}

impl fmt::Debug for HookDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookDisk")
    }
}

#[derive(Debug)]
struct NoLock;

impl Lock for NoLock {
    fn still_ours(&self) -> io::Result<bool> {
        Ok(true)
    }
}

impl Disk for HookDisk {
    fn path(&self) -> &Path {
        self.inside.path()
    }
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        (self.hook)("list", folder)?;
        self.inside.list(folder)
    }
    fn create_dir(&self, folder: &str) -> io::Result<()> {
        (self.hook)("create_dir", folder)?;
        self.inside.create_dir(folder)
    }
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        (self.hook)("open", name)?;
        Ok(self.wrap(self.inside.open(name, access)?, name))
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        (self.hook)("create", name)?;
        Ok(self.wrap(self.inside.create(name)?, name))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        (self.hook)("rename", to)?;
        self.inside.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        (self.hook)("remove", name)?;
        self.inside.remove(name)
    }
    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        (self.hook)("sync_dir", folder)?;
        self.inside.sync_dir(folder)
    }
    fn sync_parent(&self) -> io::Result<()> {
        (self.hook)("sync_parent", "")?;
        self.inside.sync_parent()
    }
    fn lock(&self) -> Result<Box<dyn Lock>, LockError> {
        (self.hook)("lock", "").map_err(LockError::Io)?;
        if self.killed {
            return Ok(Box::new(NoLock));
        }
        self.inside.lock()
    }
    fn room(&self) -> Room {
        self.inside.room()
    }
    fn random(&self, bytes: &mut [u8]) -> io::Result<()> {
        self.inside.random(bytes)
    }
    fn clock(&self) -> &dyn Clock {
        self.inside.clock()
    }
}

struct HookFile {
    inside: Arc<dyn File>,
    name: String,
    hook: Hook,
}

impl fmt::Debug for HookFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookFile")
    }
}

impl File for HookFile {
    fn len(&self) -> io::Result<u64> {
        self.inside.len()
    }
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        (self.hook)("read_at", &self.name)?;
        self.inside.read_at(bytes, offset)
    }
    fn read_device_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inside.read_device_at(bytes, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        (self.hook)("write_at", &self.name)?;
        self.inside.write_at(bytes, offset)
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        (self.hook)("allocate", &self.name)?;
        self.inside.allocate(len)
    }
    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        (self.hook)("punch", &self.name)?;
        self.inside.punch(offset, len)
    }
    fn taken(&self) -> io::Result<u64> {
        self.inside.taken()
    }
    fn barrier(&self, level: Barrier) -> io::Result<Barrier> {
        (self.hook)("barrier", &self.name)?;
        self.inside.barrier(level)
    }
    fn sync(&self) -> io::Result<()> {
        (self.hook)("sync", &self.name)?;
        self.inside.sync()
    }
    fn map(&self, len: usize) -> io::Result<Box<dyn Mapping>> {
        self.inside.map(len)
    }
    fn map_private(&self, len: usize) -> io::Result<Box<dyn PrivateMapping>> {
        self.inside.map_private(len)
    }
}
