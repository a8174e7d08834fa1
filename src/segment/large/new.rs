//! The file of a large value on its way: written and synced before any record names it.
//!
//! Floor 2. Imports `address`, `error`, `format`, `platform`, `sabotage`, `segment`, `sync`.

use std::{fmt, io};

use crate::address::LargeId;
use crate::error::{Error, Result};
use crate::format::checksum;
use crate::format::large::LargeValue;
use crate::format::names;
use crate::platform::File;
use crate::platform::fork::ForkGuard;
use crate::sabotage::{Sabotage, planted};
use crate::segment::large::LargeFolder;
use crate::sync::Arc;

/// Bytes that are checksummed and written at a time: few enough to lie in a cache in between.
const PIECE_LEN: usize = 256 * 1024;

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct NewLargeFile {
    // Closed before its name goes.
    file: Arc<dyn File>,
    unnamed: Unnamed,
    len: u64,
    crc: u32,
}

/// A file that no record names. Dropped, it goes, but not in a forked child, whose parent may need it.
pub(crate) struct Unnamed {
    folder: Arc<LargeFolder>,
    id: LargeId,
    fork: ForkGuard,
    named: bool,
}

impl NewLargeFile {
    /// Makes a file, with room for `len` bytes.
    ///
    /// # Errors
    /// `NoSpace` if there is less; `ResourceLimit`, `Io`. Nothing is left of it then.
    pub(crate) fn create(folder: &Arc<LargeFolder>, len: u64) -> Result<NewLargeFile> {
        let disk = &folder.disk;
        let mut id = [0; 16];
        disk.random(&mut id).map_err(|error| Error::io("cannot draw the name of a large value", error))?;
        let id = LargeId(id);
        let name = names::large(id);
        let file = disk.create(&name).or_else(|error| match error.kind() {
            // The first of a store.
            io::ErrorKind::NotFound => make_folder(folder).and_then(|()| disk.create(&name)),
            _ => Err(error),
        });
        let file = file.map_err(failed(folder, id, "create"))?;
        let unnamed = Unnamed { folder: Arc::clone(folder), id, fork: ForkGuard::new(), named: false };
        let new = NewLargeFile { file, unnamed, len: 0, crc: 0 };
        new.file.allocate(len).map_err(new.unnamed.failed("make room in"))?;
        Ok(new)
    }

    /// Writes `bytes` behind those before.
    ///
    /// # Errors
    /// `NoSpace`, `Io`; all of these bytes may be given again then.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let (mut len, mut crc) = (self.len, self.crc);
        for piece in bytes.chunks(PIECE_LEN) {
            crc = checksum::extend(crc, piece);
            self.file.write_at(piece, len).map_err(|error| self.unnamed.failed("write")(error))?;
            len += piece.len() as u64;
        }
        (self.len, self.crc) = (len, crc);
        Ok(())
    }

    /// Makes the bytes durable. The name is not before `LargeFolder::sync_names`.
    ///
    /// # Errors
    /// `NoSpace`, `Io`: no record names the file, so that nothing of the store is in doubt.
    pub(crate) fn finish(self) -> Result<(Unnamed, LargeValue)> {
        let NewLargeFile { file, unnamed, len, crc } = self;
        if !planted(Sabotage::LargeValueUnsynced) {
            // BARRIER: L1. The bytes and their length are durable before a record names the file.
            file.sync().map_err(unnamed.failed("sync"))?;
        }
        let large = LargeValue { id: unnamed.id, len, crc };
        Ok((unnamed, large))
    }
}

impl Unnamed {
    /// A record may name it from here on.
    pub(crate) fn name(mut self) -> LargeId {
        self.named = true;
        self.id
    }

    fn failed(&self, what: &str) -> impl FnOnce(io::Error) -> Error {
        failed(&self.folder, self.id, what)
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if !self.named && !self.fork.forked() {
            self.folder.remove(self.id);
        }
    }
}

impl fmt::Debug for Unnamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unnamed").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Names the file in an error.
fn failed(folder: &LargeFolder, id: LargeId, what: &str) -> impl FnOnce(io::Error) -> Error {
    let text = format!("cannot {what} {}", folder.disk.path().join(names::large(id)).display());
    move |error| Error::io(text, error)
}

fn make_folder(folder: &LargeFolder) -> io::Result<()> {
    match folder.disk.create_dir(names::LARGE) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
