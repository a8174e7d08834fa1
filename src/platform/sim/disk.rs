//! The simulated disk itself: names, page cache, lock, clock and the trace of what was done.
//!
//! Floor 1. Imports `sabotage`, `sync`.

use std::collections::{BTreeMap, BTreeSet};
use std::{fmt, io, path::Path};

use crate::platform::sim::Random;
use crate::platform::sim::crash::{Images, Recording};
use crate::platform::sim::file::{Node, SimFile};
use crate::platform::sim::medium::{Content, Durable, FileId, Item, Medium, NameChange, Op, SECTOR, Tree};
use crate::platform::{Access, Clock, Disk, File, Lock, LockError, Room};
use crate::sabotage::{Sabotage, planted};
use crate::sync::Arc;
use crate::sync::plain::{AtomicU64, Mutex, MutexGuard, Ordering, PoisonError};

const LOCK: &str = "LOCK";

/// How far the clock goes with every look at it.
const TICK_NS: u64 = 1_000;

/// The clock of a new disk, 2024-01-01.
const WALL_START_MS: u64 = 1_704_067_200_000;

/// A directory in memory that knows what a power cut would leave of it. A clone is the same disk.
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Shared>,
}

struct Shared {
    inner: Mutex<Inner>,
    clock: SimClock,
}

/// How much of what waited has reached the device when a sync fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailedSync {
    /// None of it.
    NothingWritten,
    /// Each sector or not, by the disk's random stream.
    PartWritten,
}

pub(super) struct Inner {
    pub(super) medium: Medium,
    /// Files in use; one that is not here is as the device has it.
    pub(super) nodes: BTreeMap<FileId, Node>,
    pub(super) random: Random,
    pub(super) failed_sync: FailedSync,
    names: Tree,
    next_file: FileId,
    locked: BTreeSet<FileId>,
    trace: Option<Trace>,
}

/// Everything done since `start`.
struct Trace {
    start: Medium,
    ops: Arc<Vec<Op>>,
}

impl Inner {
    /// Does to the device's state what `op` says, and records it.
    pub(super) fn apply(&mut self, op: Op) {
        self.medium.apply(&op);
        if let Some(trace) = &mut self.trace {
            Arc::make_mut(&mut trace.ops).push(op);
        }
    }

    pub(super) fn node(&mut self, file: FileId) -> &mut Node {
        let durable = &self.medium.durable.files;
        self.nodes.entry(file).or_insert_with(|| Node::new(durable.get(&file).cloned().unwrap_or_default()))
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.apply(Op::Change(Arc::new([Item::Name(change)])));
    }

    fn find(&self, name: &str) -> io::Result<FileId> {
        let (folder, last) = split(name)?;
        if let Some(file) = self.names.get(folder, last) {
            return Ok(file);
        }
        let is_folder = folder.is_empty() && self.names.has_folder(last);
        Err(io::Error::from(match is_folder {
            true => io::ErrorKind::IsADirectory,
            false => io::ErrorKind::NotFound,
        }))
    }

    fn create(&mut self, name: &str) -> io::Result<FileId> {
        let (folder, last) = split(name)?;
        if !self.names.has_folder(folder) {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        match self.find(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ => return Err(io::Error::from(io::ErrorKind::AlreadyExists)),
        }
        let file = self.new_file();
        self.change(NameChange::Create { folder: folder.into(), name: last.into(), file });
        Ok(file)
    }

    fn new_file(&mut self) -> FileId {
        let file = self.next_file;
        self.next_file += 1;
        file
    }
}

/// Folder and last part of a name.
fn split(name: &str) -> io::Result<(&str, &str)> {
    let (folder, last) = name.split_once('/').unwrap_or(("", name));
    let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['/', '\0']);
    match plain(last) && (plain(folder) || folder.is_empty() && last.len() == name.len()) {
        true => Ok((folder, last)),
        false => Err(io::Error::from(io::ErrorKind::InvalidInput)),
    }
}

impl SimDisk {
    /// An empty directory whose own name is not durable yet. It records nothing before [`SimDisk::record`].
    pub fn new(seed: u64) -> Self {
        SimDisk::image(Durable::default(), 0, WALL_START_MS, seed)
    }

    pub(super) fn image(durable: Durable, next_file: FileId, wall_ms: u64, seed: u64) -> Self {
        let inner = Inner {
            names: durable.tree.clone(),
            medium: Medium::at_rest(durable),
            nodes: BTreeMap::new(),
            random: Random::new(seed),
            failed_sync: FailedSync::NothingWritten,
            next_file,
            locked: BTreeSet::new(),
            trace: None,
        };
        let clock = SimClock { wall_ms: AtomicU64::new(wall_ms), ns: AtomicU64::new(0) };
        SimDisk { shared: Arc::new(Shared { inner: Mutex::new(inner), clock }) }
    }

    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the trace, or starts it over: position 0 is now. What waits to be written goes on waiting.
    pub fn record(&self) {
        let mut inner = self.inner();
        inner.trace = Some(Trace { start: inner.medium.clone(), ops: Arc::default() });
    }

    /// How many operations the trace has. What is acknowledged when this is `p` must survive a cut at any point from
    /// `p` on; what is issued when this is `p` cannot be seen after a cut at any point up to `p`.
    pub fn position(&self) -> usize {
        self.inner().trace.as_ref().map_or(0, |trace| trace.ops.len())
    }

    /// The trace so far, to make images from. The disk may go on.
    ///
    /// # Panics
    /// Without [`SimDisk::record`] before.
    pub fn recording(&self) -> Recording {
        let inner = self.inner();
        let trace = inner.trace.as_ref().expect("a trace is there after `record`");
        let wall_ms = self.shared.clock.wall();
        Recording::new(trace.start.clone(), Arc::clone(&trace.ops), inner.next_file, wall_ms)
    }

    /// What a power cut at `point` may leave; see [`Recording::images`], which is faster for many points.
    pub fn images<'r>(&self, point: usize, budget: usize, random: &'r mut Random) -> Images<'r> {
        self.recording().images(point, budget, random)
    }

    /// Sets what failing syncs do from here on.
    pub fn set_failed_sync(&self, mode: FailedSync) {
        self.inner().failed_sync = mode;
    }

    /// Drops clean pages from the page cache, as a kernel may at any time: what failed syncs left unwritten vanishes
    /// from files and mappings, and the device's bytes show. The caller holds no slice of a mapping meanwhile.
    pub fn drop_clean(&self) {
        let mut inner = self.inner();
        let Inner { medium, nodes, .. } = &mut *inner;
        for (file, node) in nodes {
            for index in std::mem::take(&mut node.lost) {
                let device = medium.sector(*file, index).cloned();
                let bytes = device.as_ref().map_or(&[0; SECTOR], |sector| sector);
                node.show(bytes, u64::from(index) * SECTOR as u64);
                node.cache.set(index, device);
            }
        }
    }

    /// The names of all files, sorted, with their folders.
    pub fn files(&self) -> Vec<String> {
        let inner = self.inner();
        let mut names: Vec<String> = inner.names.files("").map(|(name, _)| name.to_owned()).collect();
        for folder in inner.names.folders() {
            names.extend(inner.names.files(folder).map(|(name, _)| format!("{folder}/{name}")));
        }
        names.sort_unstable();
        names
    }

    /// All bytes of a file, as the page cache has them.
    pub fn read_file(&self, name: &str) -> Option<Vec<u8>> {
        let mut inner = self.inner();
        let file = inner.find(name).ok()?;
        let cache = &inner.node(file).cache;
        let mut bytes = vec![0; usize::try_from(cache.size).ok()?];
        cache.read(&mut bytes, 0, |index| cache.sector(index));
        Some(bytes)
    }

    /// Puts a file with these bytes in place of what had the name, durable at once and with everything else that
    /// waited in its folder. Open files and mappings stay with the old one.
    ///
    /// # Panics
    /// If there is no such folder, or the name is none.
    pub fn write_file(&self, name: &str, bytes: &[u8]) {
        let (folder, last) = split(name).expect("the name of a file");
        let mut inner = self.inner();
        assert!(inner.names.has_folder(folder), "there is no folder {folder}");
        inner.apply(Op::SyncParent);
        inner.apply(Op::SyncDir("".into()));
        inner.apply(Op::SyncDir(folder.into()));
        let (folder, name, file) = (Arc::from(folder), Arc::from(last), inner.new_file());
        let create = NameChange::Create { folder: Arc::clone(&folder), name: Arc::clone(&name), file };
        create.apply(&mut inner.names);
        inner.apply(Op::Place { folder, name, file, content: Content::of(bytes) });
    }

    /// Sets the wall clock; it goes on from there.
    pub fn set_wall_ms(&self, wall_ms: u64) {
        self.shared.clock.wall_ms.store(wall_ms, Ordering::Relaxed);
    }

    /// Lets time pass, on both clocks.
    pub fn advance_ms(&self, ms: u64) {
        self.shared.clock.wall_ms.fetch_add(ms, Ordering::Relaxed);
        self.shared.clock.ns.fetch_add(ms * 1_000_000, Ordering::Relaxed);
    }

    pub(super) fn open_file(&self, name: &str, access: Access) -> io::Result<SimFile> {
        let file = self.inner().find(name)?;
        Ok(SimFile::new(self.clone(), file, access))
    }

    pub(super) fn create_file(&self, name: &str) -> io::Result<SimFile> {
        let file = self.inner().create(name)?;
        Ok(SimFile::new(self.clone(), file, Access::ReadWrite))
    }
}

impl Disk for SimDisk {
    fn path(&self) -> &Path {
        Path::new("simulated")
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let inner = self.inner();
        if !inner.names.has_folder(folder) {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        let mut names: Vec<String> = inner.names.files(folder).map(|(name, _)| name.to_owned()).collect();
        if folder.is_empty() {
            names.extend(inner.names.folders().map(|name| format!("{name}/")));
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir(&self, folder: &str) -> io::Result<()> {
        let mut inner = self.inner();
        if !split(folder)?.0.is_empty() {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        match inner.find(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ => return Err(io::Error::from(io::ErrorKind::AlreadyExists)),
        }
        inner.change(NameChange::Folder { folder: folder.into() });
        Ok(())
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(self.open_file(name, access)?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(self.create_file(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.inner();
        let file = inner.find(from)?;
        let ((old_folder, from), (folder, to)) = (split(from)?, split(to)?);
        if !inner.names.has_folder(folder) {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        match inner.names.get(folder, to) {
            Some(same) if same == file => return Ok(()),
            None if folder.is_empty() && inner.names.has_folder(to) => {
                return Err(io::Error::from(io::ErrorKind::IsADirectory));
            }
            _ => {}
        }
        if folder == old_folder {
            inner.change(NameChange::Rename { folder: folder.into(), from: from.into(), to: to.into() });
            return Ok(());
        }
        // Two folders, two syncs: a power cut may leave both names, either, or none.
        inner.change(NameChange::Create { folder: folder.into(), name: to.into(), file });
        inner.change(NameChange::Remove { folder: old_folder.into(), name: from.into() });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.find(name)?;
        let (folder, name) = split(name)?;
        inner.change(NameChange::Remove { folder: folder.into(), name: name.into() });
        Ok(())
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        let mut inner = self.inner();
        if !inner.names.has_folder(folder) {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        if !planted(Sabotage::NoDirectorySync) {
            inner.apply(Op::SyncDir(folder.into()));
        }
        Ok(())
    }

    fn sync_parent(&self) -> io::Result<()> {
        self.inner().apply(Op::SyncParent);
        Ok(())
    }

    fn lock(&self) -> Result<Box<dyn Lock>, LockError> {
        let mut inner = self.inner();
        let file = match inner.find(LOCK) {
            Ok(file) => file,
            Err(_) => inner.create(LOCK)?,
        };
        match inner.locked.insert(file) {
            true => Ok(Box::new(SimLock { disk: self.clone(), file })),
            false => Err(LockError::Held(None)),
        }
    }

    fn room(&self) -> Room {
        Room::InPlace
    }

    fn random(&self, bytes: &mut [u8]) -> io::Result<()> {
        self.inner().random.fill(bytes);
        Ok(())
    }

    fn clock(&self) -> &dyn Clock {
        &self.shared.clock
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (files, position) = (self.files(), self.position());
        f.debug_struct("SimDisk").field("files", &files).field("position", &position).finish()
    }
}

/// The lock is on the file, as `flock` has it: whoever removes the name lets another in beside the holder.
#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    file: FileId,
}

impl Lock for SimLock {
    fn still_ours(&self) -> io::Result<bool> {
        Ok(self.disk.inner().names.get("", LOCK) == Some(self.file))
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.inner().locked.remove(&self.file);
    }
}

/// Time that passes only by being looked at, or by order.
#[derive(Debug)]
struct SimClock {
    wall_ms: AtomicU64,
    ns: AtomicU64,
}

impl SimClock {
    fn wall(&self) -> u64 {
        self.wall_ms.load(Ordering::Relaxed)
    }
}

impl Clock for SimClock {
    fn wall_ms(&self) -> u64 {
        self.wall_ms.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn monotonic_ns(&self) -> u64 {
        self.ns.fetch_add(TICK_NS, Ordering::Relaxed) + TICK_NS
    }
}
