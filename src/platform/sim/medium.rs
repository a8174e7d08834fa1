//! What a simulated device holds, what still waits to be written to it, and what each call changes of that.
//!
//! Floor 1. Imports `sync`.

use std::collections::BTreeMap;

use crate::sync::Arc;

/// The unit that a power cut leaves whole.
pub(super) const SECTOR: usize = 512;

/// A file whatever its name, as an inode number is. Never given out twice on one disk and its images.
pub(super) type FileId = u32;

/// The bytes of one sector, shared by everything that has them.
pub(super) type Sector = Arc<[u8; SECTOR]>;

/// The bytes of one file; a clone shares all of them.
#[derive(Clone, Default, Debug)]
pub(super) struct Content {
    pub(super) size: u64,
    /// What was never written, or lies behind the end of this, is zeros.
    sectors: Arc<Vec<Option<Sector>>>,
}

impl Content {
    /// A file with these bytes.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let sectors = bytes.chunks(SECTOR).map(|part| {
            let mut sector = [0; SECTOR];
            sector[..part.len()].copy_from_slice(part);
            Some(Arc::new(sector))
        });
        Content { size: bytes.len() as u64, sectors: Arc::new(sectors.collect()) }
    }

    pub(super) fn sector(&self, index: u32) -> Option<&Sector> {
        self.sectors.get(index as usize)?.as_ref()
    }

    pub(super) fn set(&mut self, index: u32, sector: Option<Sector>) {
        let sectors = Arc::make_mut(&mut self.sectors);
        let index = index as usize;
        if sectors.len() <= index {
            sectors.resize(index + 1, None);
        }
        sectors[index] = sector;
    }

    /// The sectors below `end` that are not all zeros for want of a write.
    pub(super) fn written(&self, end: usize) -> impl Iterator<Item = (usize, &Sector)> {
        let sectors = self.sectors.iter().take(end.div_ceil(SECTOR)).enumerate();
        sectors.filter_map(|(index, sector)| Some((index, sector.as_ref()?)))
    }

    /// Reads what lies at `offset` into `bytes` and returns how much that was; `pick` gives a sector by its index.
    pub(super) fn read<'c>(&'c self, bytes: &mut [u8], offset: u64, pick: impl Fn(u32) -> Option<&'c Sector>) -> usize {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = bytes.len().min(left);
        for (index, within, range) in pieces(offset, len) {
            match pick(index) {
                Some(sector) => bytes[range.clone()].copy_from_slice(&sector[within..][..range.len()]),
                None => bytes[range].fill(0),
            }
        }
        len
    }

    /// Forgets what lies behind `size`: a file that grows shows zeros there.
    pub(super) fn trim(&mut self) {
        let whole = usize::try_from(self.size / SECTOR as u64).expect("sizes are bounded");
        let rest = usize::try_from(self.size % SECTOR as u64).expect("it is below 512");
        let end = whole + usize::from(rest > 0);
        if self.sectors.len() > end {
            Arc::make_mut(&mut self.sectors).truncate(end);
        }
        if let Some(Some(last)) = self.sectors.get(whole)
            && last[rest..].iter().any(|byte| *byte != 0)
        {
            let mut cut = **last;
            cut[rest..].fill(0);
            Arc::make_mut(&mut self.sectors)[whole] = Some(Arc::new(cut));
        }
    }
}

/// The sectors that `len` bytes at `offset` touch: index, where in the sector, which of the bytes.
pub(super) fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u32, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let within = usize::try_from(at % SECTOR as u64).expect("it is below 512");
        let index = u32::try_from(at / SECTOR as u64).expect("sizes are bounded");
        let range = done..len.min(done + SECTOR - within);
        done = range.end;
        Some((index, within, range))
    })
}

/// The names of a disk; `""` is the directory itself. A clone shares the names of each folder.
#[derive(Clone, Default, Debug)]
pub(super) struct Tree {
    folders: BTreeMap<Arc<str>, Folder>,
}

#[derive(Clone, Default, Debug)]
struct Folder {
    /// Whether the folder itself has a name. On the device names in it may be durable before its own is.
    named: bool,
    files: Arc<BTreeMap<Arc<str>, FileId>>,
}

impl Tree {
    pub(super) fn get(&self, folder: &str, name: &str) -> Option<FileId> {
        self.folders.get(folder)?.files.get(name).copied()
    }

    pub(super) fn has_folder(&self, folder: &str) -> bool {
        folder.is_empty() || self.folders.get(folder).is_some_and(|folder| folder.named)
    }

    /// Every folder but the directory itself.
    pub(super) fn folders(&self) -> impl Iterator<Item = &str> {
        self.folders.iter().filter(|(_, folder)| folder.named).map(|(name, _)| &**name)
    }

    pub(super) fn files(&self, folder: &str) -> impl Iterator<Item = (&str, FileId)> {
        let files = self.folders.get(folder).map(|folder| folder.files.iter());
        files.into_iter().flatten().map(|(name, file)| (&**name, *file))
    }

    /// Every file that a name leads to.
    pub(super) fn reachable(&self) -> impl Iterator<Item = FileId> {
        self.folders.values().flat_map(|folder| folder.files.values().copied())
    }

    /// Forgets the folders without a name, and with them what is in them.
    pub(super) fn forget_unnamed(&mut self) {
        self.folders.retain(|name, folder| folder.named || name.is_empty());
    }

    fn files_mut(&mut self, folder: &Arc<str>) -> &mut BTreeMap<Arc<str>, FileId> {
        Arc::make_mut(&mut self.folders.entry(Arc::clone(folder)).or_default().files)
    }
}

/// One change of the names.
#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Folder { folder: Arc<str> },
    Create { folder: Arc<str>, name: Arc<str>, file: FileId },
    Rename { folder: Arc<str>, from: Arc<str>, to: Arc<str> },
    Remove { folder: Arc<str>, name: Arc<str> },
}

impl NameChange {
    /// The folder whose sync makes this durable.
    pub(super) fn folder(&self) -> &str {
        match self {
            NameChange::Folder { .. } => "",
            NameChange::Create { folder, .. }
            | NameChange::Rename { folder, .. }
            | NameChange::Remove { folder, .. } => folder,
        }
    }

    /// The names it touches.
    pub(super) fn names(&self) -> [Option<&str>; 2] {
        match self {
            NameChange::Folder { folder } => [Some(folder), None],
            NameChange::Create { name, .. } | NameChange::Remove { name, .. } => [Some(name), None],
            NameChange::Rename { from, to, .. } => [Some(from), Some(to)],
        }
    }

    pub(super) fn apply(&self, tree: &mut Tree) {
        match self {
            NameChange::Folder { folder } => {
                tree.folders.entry(Arc::clone(folder)).or_default().named = true;
            }
            NameChange::Create { folder, name, file } => {
                tree.files_mut(folder).insert(Arc::clone(name), *file);
            }
            NameChange::Rename { folder, from, to } => {
                let files = tree.files_mut(folder);
                let file = files.remove(from).expect("a rename comes after what made the name");
                files.insert(Arc::clone(to), file);
            }
            NameChange::Remove { folder, name } => {
                tree.files_mut(folder).remove(name);
            }
        }
    }
}

/// Something that reaches the device by itself or not at all.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// The name of the directory itself, in its parent.
    Own,
    Name(NameChange),
    Size {
        file: FileId,
        size: u64,
    },
    /// A whole sector as it is after a write.
    Sector {
        file: FileId,
        index: u32,
        sector: Sector,
    },
}

/// One operation of the trace.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Change(Arc<[Item]>),
    /// A barrier or sync of a file.
    Sync(FileId),
    /// One that failed: of what waited, only the sectors in `reached` were written, and the rest never will be.
    FailedSync {
        file: FileId,
        reached: Arc<[u32]>,
    },
    SyncDir(Arc<str>),
    SyncParent,
    /// A file placed from outside, durable at once.
    Place {
        folder: Arc<str>,
        name: Arc<str>,
        file: FileId,
        content: Content,
    },
}

/// What survives any power cut. Files are here whether or not a name leads to them.
#[derive(Clone, Default, Debug)]
pub(super) struct Durable {
    pub(super) own_name: bool,
    pub(super) tree: Tree,
    pub(super) files: BTreeMap<FileId, Content>,
}

/// A device and what waits for it.
#[derive(Clone, Debug)]
pub(super) struct Medium {
    pub(super) durable: Durable,
    /// In order of issue.
    pub(super) pending: Vec<Item>,
}

impl Medium {
    /// A device on which nothing waits, but for the name of a directory that has none.
    pub(super) fn at_rest(durable: Durable) -> Self {
        let pending = if durable.own_name { Vec::new() } else { vec![Item::Own] };
        Medium { durable, pending }
    }

    pub(super) fn apply(&mut self, op: &Op) {
        match op {
            Op::Change(items) => self.pending.extend(items.iter().cloned()),
            Op::Sync(file) => self.sync(*file),
            Op::FailedSync { file, reached } => self.fail_sync(*file, reached),
            Op::SyncDir(folder) => {
                let tree = &mut self.durable.tree;
                self.pending.retain(|item| match item {
                    Item::Name(change) if change.folder() == &**folder => {
                        change.apply(tree);
                        false
                    }
                    _ => true,
                });
            }
            Op::SyncParent => {
                self.durable.own_name = true;
                self.pending.retain(|item| !matches!(item, Item::Own));
            }
            Op::Place { folder, name, file, content } => {
                let tree = &mut self.durable.tree;
                tree.files_mut(folder).insert(Arc::clone(name), *file);
                self.durable.files.insert(*file, content.clone());
            }
        }
    }

    fn sync(&mut self, synced: FileId) {
        let content = self.durable.files.entry(synced).or_default();
        self.pending.retain(|item| match item {
            Item::Sector { file, index, sector } if *file == synced => {
                content.set(*index, Some(Arc::clone(sector)));
                false
            }
            Item::Size { file, size } if *file == synced => {
                content.size = *size;
                false
            }
            _ => true,
        });
    }

    /// The size still waits: it goes with the metadata, which did not fail.
    fn fail_sync(&mut self, failed: FileId, reached: &[u32]) {
        let content = self.durable.files.entry(failed).or_default();
        self.pending.retain(|item| match item {
            Item::Sector { file, index, sector } if *file == failed => {
                if reached.contains(index) {
                    content.set(*index, Some(Arc::clone(sector)));
                }
                false
            }
            _ => true,
        });
        content.trim();
    }

    /// The sectors of `of` that wait, each once, sorted.
    pub(super) fn dirty(&self, of: FileId) -> Vec<u32> {
        let mut indices: Vec<u32> = (self.pending.iter())
            .filter_map(|item| match item {
                Item::Sector { file, index, .. } if *file == of => Some(*index),
                _ => None,
            })
            .collect();
        indices.sort_unstable();
        indices.dedup();
        indices
    }

    /// A sector as the device holds it.
    pub(super) fn sector(&self, file: FileId, index: u32) -> Option<&Sector> {
        self.durable.files.get(&file)?.sector(index)
    }
}
