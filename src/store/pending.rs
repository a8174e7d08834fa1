//! What lies in a copy and does not count, and how a copy becomes a store of its own.
//!
//! Floor 3. Imports `error`, `format`, `limits`, `platform`, `segment`, `store`.

use std::collections::BTreeSet;
use std::io;

use crate::error::{Error, Result};
use crate::format::identity::Identity;
use crate::format::names;
use crate::format::pending;
use crate::limits::PENDING_LEN_MAX;
use crate::platform::{Access, Disk};
use crate::segment::source::Source;
use crate::store::{failed, init};

/// The folders that names of files that do not count are in.
const FOLDERS: [&str; 2] = [names::SEGMENTS, names::ARCHIVES];

/// The names that do not count; none where the store is no copy.
///
/// # Errors
/// `Corruption`, `FormatVersion`; as the system says.
pub(crate) fn read(disk: &dyn Disk, identity: &Identity) -> Result<BTreeSet<String>> {
    if !identity.is_copy() {
        return Ok(BTreeSet::new());
    }
    let file = match disk.open(names::PENDING, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        opened => opened.map_err(failed(disk, "open", names::PENDING))?,
    };
    let path = disk.path().join(names::PENDING).display().to_string();
    let len = file.len().map_err(failed(disk, "read the length of", names::PENDING))?;
    let len = usize::try_from(len).ok().filter(|len| *len <= PENDING_LEN_MAX);
    let Some(len) = len else {
        return Err(Error::corruption(path, 0, "it is too long; make another backup into an empty directory"));
    };
    let mut bytes = vec![0; len];
    Source::Cache.read_exact(&*file, &path, &mut bytes, 0)?;
    pending::decode(&bytes, &path)
}

/// Has these names not count from here on, and all others count; in one step, and for good.
///
/// # Errors
/// As the system says; then it is as it was, or as it was to be.
pub(crate) fn write(disk: &dyn Disk, names: &BTreeSet<String>) -> Result<()> {
    if names.is_empty() {
        remove_if_there(disk, names::PENDING)?;
    } else {
        write_new(disk, names::PENDING_NEW, &pending::encode(names))?;
        disk.rename(names::PENDING_NEW, names::PENDING).map_err(failed(disk, "name", names::PENDING))?;
    }
    // BARRIER: what counts is the same after a power cut, before anything else is done that rests on it.
    disk.sync_dir("").map_err(failed(disk, "sync", ""))
}

/// Makes the copy in `disk` a store of its own, that is going to be written, if it is one: what does not count goes, and it gets
/// another lineage. Returns its identity.
///
/// # Errors
/// As the system says; it is still a copy then, or a store with another lineage than anyone was told.
pub(super) fn adopt(disk: &dyn Disk, identity: Identity) -> Result<Identity> {
    if !identity.is_copy() {
        return Ok(identity);
    }
    let names = read(disk, &identity)?;
    names.iter().try_for_each(|name| remove_if_there(disk, name))?;
    for folder in FOLDERS.iter().filter(|folder| names.iter().any(|name| name.starts_with(**folder))) {
        // BARRIER: the files have gone for good before `PENDING` counts no more.
        disk.sync_dir(folder).map_err(failed(disk, "sync", folder))?;
    }
    let mut lineage = [0; 16];
    disk.random(&mut lineage).map_err(failed(disk, "draw randomness for", ""))?;
    let identity = identity.with_lineage(lineage);
    init::write_identity(disk, &identity)?;
    // Best effort: it means nothing in a store that is no copy.
    let _ = disk.remove(names::PENDING);
    Ok(identity)
}

/// Removes the file, if it is there.
///
/// # Errors
/// As the system says.
pub(crate) fn remove_if_there(disk: &dyn Disk, name: &str) -> Result<()> {
    match disk.remove(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(failed(disk, "remove", name)),
    }
}

/// Writes a file, durable but for its name, in the place of any that has it.
///
/// # Errors
/// As the system says.
pub(crate) fn write_new(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<()> {
    remove_if_there(disk, name)?;
    let file = disk.create(name).map_err(failed(disk, "create", name))?;
    file.write_at(bytes, 0).map_err(failed(disk, "write", name))?;
    // BARRIER: its bytes are durable before it gets another name, so that bad ones are always damage.
    file.sync().map_err(failed(disk, "sync", name))
}
