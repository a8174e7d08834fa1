//! Is there a store here? If not: making one, so that a crash at any step leaves either nothing or a whole store.
//!
//! Floor 3. Imports `error`, `format`, `platform`, `sabotage`, `store`.

use std::io;

use crate::error::{Error, ErrorKind, Result};
use crate::format::identity::{HashKind, Identity};
use crate::format::names;
use crate::platform::{Access, Disk};
use crate::sabotage::{Sabotage, planted};
use crate::store::failed;

/// Names that a creation cut short may leave, beside our own empty folders.
const OURS_BEFORE_IDENTITY: [&str; 3] = [names::LOCK, names::HOLDER, names::IDENTITY_NEW];

/// What stands in a directory.
pub(super) enum Found {
    /// Nothing, or what a crash during creation left.
    Nothing,
    Store(Identity),
}

/// Looks without touching anything; `create` says whether one may be made here.
///
/// # Errors
/// `Invalid` if something else lives there; what `Identity::decode` says of a damaged or newer one.
pub(super) fn look(disk: &dyn Disk, create: bool) -> Result<Found> {
    // Without the lock another process may be making a store just now: what looks foreign is looked at once more.
    look_once(disk, create).or_else(|_| look_once(disk, create))
}

fn look_once(disk: &dyn Disk, create: bool) -> Result<Found> {
    let entries = disk.list("").map_err(failed(disk, "list", ""))?;
    if entries.iter().any(|name| name == names::IDENTITY) {
        return read_identity(disk).map(Found::Store);
    }
    let segments = format!("{}/", names::SEGMENTS);
    if entries.contains(&segments) && !is_empty(disk, names::SEGMENTS)? {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!(
                "{} holds segments but no file {}; restore that from a backup",
                disk.path().display(),
                names::IDENTITY
            ),
        ));
    }
    for name in &entries {
        let ours = OURS_BEFORE_IDENTITY.contains(&name.as_str()) || *name == segments;
        if !ours {
            let advice = if create { "choose an empty directory for one" } else { "check the path" };
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "{} holds {name} but no file {}: not a zipcask store; {advice}",
                    disk.path().display(),
                    names::IDENTITY
                ),
            ));
        }
    }
    Ok(Found::Nothing)
}

fn is_empty(disk: &dyn Disk, folder: &str) -> Result<bool> {
    Ok(disk.list(folder).map_err(failed(disk, "list", folder))?.is_empty())
}

/// Which of the two copies is damaged is `verify`'s to report: one is enough to go on.
pub(crate) fn read_identity(disk: &dyn Disk) -> Result<Identity> {
    let file = disk.open(names::IDENTITY, Access::Read).map_err(failed(disk, "open", names::IDENTITY))?;
    let mut bytes = vec![0; Identity::LEN];
    let mut len = 0;
    while len < bytes.len() {
        match file.read_at(&mut bytes[len..], len as u64) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(error) => return Err(failed(disk, "read", names::IDENTITY)(error)),
        }
    }
    let path = disk.path().join(names::IDENTITY).display().to_string();
    let (identity, _damaged_copy) = Identity::decode(&bytes[..len], &path)?;
    Ok(identity)
}

/// Features that a newer version wrote and that forbid writing.
///
/// # Errors
/// `FormatVersion` if there are any.
pub(super) fn refuse_newer(disk: &dyn Disk, identity: &Identity) -> Result<()> {
    let path = disk.path().join(names::IDENTITY);
    match identity.ro_compat_unknown() {
        0 => Ok(()),
        bits => Err(Error::new(
            ErrorKind::FormatVersion,
            format!(
                "{} has features ({bits:#x}) that this version must not write beside; use a newer one, or open it for reading only",
                path.display()
            ),
        )),
    }
}

/// Makes an empty store; the caller holds the lock and has looked.
///
/// The identity gets its name last, once everything before it is durable: it is the proof that creation finished.
///
/// # Errors
/// As the system says; the next open starts over.
pub(super) fn create(disk: &dyn Disk, hash_kind: HashKind) -> Result<Identity> {
    let random = |bytes: &mut [u8; 16]| disk.random(bytes).map_err(failed(disk, "draw randomness for", ""));
    let (mut database, mut lineage, mut hash_seed) = ([0; 16], [0; 16], [0; 16]);
    random(&mut database)?;
    random(&mut lineage)?;
    random(&mut hash_seed)?;
    let identity = Identity { incompat: 0, ro_compat: 0, compat: 0, database, lineage, hash_kind, hash_seed };

    match disk.create_dir(names::SEGMENTS) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(failed(disk, "create", names::SEGMENTS)(error));
        }
        _ => {}
    }
    // BARRIER: the folder is there whenever the identity is.
    disk.sync_dir("").map_err(failed(disk, "sync", ""))?;
    write_identity(disk, &identity)?;
    // BARRIER: the store's directory is there after a power cut before `open` returns.
    disk.sync_parent().map_err(failed(disk, "sync the parent of", ""))?;
    Ok(identity)
}

/// Gives the directory this identity, in one step.
///
/// # Errors
/// As the system says; it has the one that it had, or none, or this one then.
pub(crate) fn write_identity(disk: &dyn Disk, identity: &Identity) -> Result<()> {
    match disk.remove(names::IDENTITY_NEW) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed(disk, "remove", names::IDENTITY_NEW)(error));
        }
        _ => {}
    }
    let file = disk.create(names::IDENTITY_NEW).map_err(failed(disk, "create", names::IDENTITY_NEW))?;
    if planted(Sabotage::IdentityNamedBeforeWritten) {
        disk.rename(names::IDENTITY_NEW, names::IDENTITY).map_err(failed(disk, "name", names::IDENTITY))?;
    }
    file.write_at(&identity.encode(), 0).map_err(failed(disk, "write", names::IDENTITY_NEW))?;
    // BARRIER: the identity's bytes are durable before it gets its name, so that a bad one is always damage.
    file.sync().map_err(failed(disk, "sync", names::IDENTITY_NEW))?;
    if !planted(Sabotage::IdentityNamedBeforeWritten) {
        disk.rename(names::IDENTITY_NEW, names::IDENTITY).map_err(failed(disk, "name", names::IDENTITY))?;
    }
    // BARRIER: the identity is there after a power cut before anybody rests on it.
    disk.sync_dir("").map_err(failed(disk, "sync", ""))
}
