//! Large values on their way: their files first, then the records that name them.
//!
//! Floor 4. Imports `address`, `commit`, `error`, `format`, `reclaim`, `sabotage`, `segment`, `store`.

use crate::address::LargeId;
use crate::commit::batch::{Records, To, check_lens};
use crate::error::{Error, ErrorKind, Result};
use crate::format::names;
use crate::reclaim::pin::Pin;
use crate::sabotage::{Sabotage, planted};
use crate::segment::large::new::{NewLargeFile, Unnamed};
use crate::store::Store;

/// Adds a put: of the value itself, or of what names it, after writing it to a file of its own.
///
/// # Errors
/// `TooLarge` before anything is written; of a large value as `create`, `NewLargeFile::append` and its `finish`.
pub(crate) fn put(store: &Store, records: &mut Records, to: To, key: &[u8], value: &[u8]) -> Result<()> {
    let len = value.len() as u64;
    if len <= store.settings().inline_value_len_max() {
        return records.put(to, store.hash(key), key, value);
    }
    match put_in_file(store, records, to, key, value) {
        Err(error) if error.kind() == ErrorKind::NoSpace && store.pool().give_up() => {
            put_in_file(store, records, to, key, value)
        }
        done => done,
    }
}

fn put_in_file(store: &Store, records: &mut Records, to: To, key: &[u8], value: &[u8]) -> Result<()> {
    let mut file = create(store, key, value.len() as u64)?;
    file.append(value)?;
    finish(store, records, to, key, file)
}

/// Makes the file of a large value of `len` bytes.
///
/// # Errors
/// `TooLarge`, `Poisoned` before anything is written; as `NewLargeFile::create`.
pub(crate) fn create(store: &Store, key: &[u8], len: u64) -> Result<NewLargeFile> {
    check_lens(key, len)?;
    store.check_poison()?;
    NewLargeFile::create(store.large(), len)
}

/// Adds a put of a large value whose bytes have all been written.
///
/// # Errors
/// As `NewLargeFile::finish`, and `TooLarge` if the records have no room for one more.
pub(crate) fn finish(store: &Store, records: &mut Records, to: To, key: &[u8], file: NewLargeFile) -> Result<()> {
    let (file, large) = file.finish()?;
    records.put_large(to, store.hash(key), key, file, &large)
}

/// Makes the names of the files durable that the records are to name (L1): they stay from here on, unless they are taken
/// back.
///
/// # Errors
/// `Poisoned` and `ResourceLimit` if it was not even tried; else as the system says, and the store is poisoned (W4).
pub(super) fn name_files(store: &Store, records: &mut Records) -> Result<Vec<LargeId>> {
    if records.files.is_empty() {
        return Ok(Vec::new());
    }
    // Unnamed still, the files go with the records.
    store.check_poison()?;
    store.large().sync_names().map_err(|error| {
        // For want of memory a sync may have been tried, for want of a descriptor none was.
        let tried = error.kind() == std::io::ErrorKind::OutOfMemory;
        let error = Error::io(format!("cannot sync {}", store.disk().path().join(names::LARGE).display()), error);
        if error.kind() == ErrorKind::ResourceLimit && !tried {
            return error;
        }
        let error = error.of_kind(ErrorKind::Io);
        store.poison(error.clone());
        error
    })?;
    if planted(Sabotage::LargeValueGoesFirst) {
        remove_superseded(store, records)?;
    }
    Ok(records.files.drain(..).map(Unnamed::name).collect())
}

/// Removes the files again that failed records were to name. After a failure that leaves open what was written they
/// stay: the next open knows.
pub(super) fn take_back(store: &Store, files: &[LargeId]) {
    if store.check_poison().is_ok() {
        files.iter().for_each(|id| store.large().remove(*id));
    }
}

/// The bug: the large values go that the records are about to replace.
fn remove_superseded(store: &Store, records: &Records) -> Result<()> {
    for (keyspace, hash, key) in records.keys() {
        let pin = Pin::new();
        let Some(space) = store.spaces().get(keyspace) else { continue };
        if let Some(at) = store.find(&space, hash, key, &pin)?
            && let Some(large) = at.fetch()?.large()
        {
            store.large().remove(large.id);
        }
    }
    Ok(())
}
