//! From a key to its record: hash, index, record in place.
//!
//! Floor 3. Imports `address`, `error`, `index`, `segment`, `store`, `sync`.

use crate::address::Location;
use crate::error::{Error, ErrorKind, Result};
use crate::index::table::{Found, Probe, Table};
use crate::segment::registry::Registry;
use crate::segment::value::Value;
use crate::segment::{Record, Segment};
use crate::store::{DEFAULT_KEYSPACE, Store};
use crate::sync::Arc;

impl Store {
    /// The place of the key's record (R1: no lock, no system call where the store is mapped).
    ///
    /// # Errors
    /// `Corruption` if the key is not found, but a record that might be its cannot be read.
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Result<Option<Location>> {
        loop {
            match self.table().get(hash, |location| probe(self.registry(), location, key)) {
                Found::At(location) => return Ok(Some(location)),
                Found::Absent => return Ok(None),
                Found::Unreadable(location) => {
                    // Once more, for its error. If it can be read this time, the device had a bad moment.
                    let (segment, offset) = resolve(self.registry(), location)?;
                    if segment.has_key(offset, DEFAULT_KEYSPACE, key)? {
                        return Ok(Some(location));
                    }
                }
            }
        }
    }

    /// The key's value.
    ///
    /// # Errors
    /// `Corruption` if its record, or one that might be its, is damaged; `Io` in positioned mode.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        let Some(location) = self.find(self.hash(key), key)? else {
            return Ok(None);
        };
        self.with_record(location, Value::of).map(Some)
    }

    /// Key and value of the record at `location`, which came from the index.
    ///
    /// # Errors
    /// As `get`.
    pub(crate) fn pair(&self, location: Location) -> Result<(Value, Value)> {
        self.with_record(location, |segment, record| {
            Ok((Value::key_of(Arc::clone(&segment), record)?, Value::of(segment, record)?))
        })
    }

    fn with_record<T>(&self, location: Location, f: impl FnOnce(Arc<Segment>, &Record) -> Result<T>) -> Result<T> {
        let segment = self.registry().pin(location).ok_or_else(|| unknown(location))?;
        let offset = offset_in(&segment, location);
        let record = segment.record(offset)?;
        f(segment, &record)
    }
}

/// Whether the record at `location` has the key, in the words of the index.
#[inline]
fn probe(registry: &Registry, location: Location, key: &[u8]) -> Probe {
    match resolve(registry, location).and_then(|(segment, offset)| segment.has_key(offset, DEFAULT_KEYSPACE, key)) {
        Ok(true) => Probe::Same,
        Ok(false) => Probe::Other,
        Err(_) => Probe::Unreadable,
    }
}

#[inline]
fn resolve(registry: &Registry, location: Location) -> Result<(&Segment, u64)> {
    let segment = registry.find(location).ok_or_else(|| unknown(location))?;
    Ok((segment, offset_in(segment, location)))
}

#[inline]
fn offset_in(segment: &Segment, location: Location) -> u64 {
    location.linear() - Location::start_of(segment.place())
}

/// A location that no file was ever given: memory damage, since locations never come from disk.
fn unknown(location: Location) -> Error {
    Error::corruption("the index", location.linear(), "it points at no segment")
}

/// One record on its way into the index; its bytes are published.
pub(crate) struct Change<'a> {
    pub(crate) hash: u64,
    pub(crate) key: &'a [u8],
    pub(crate) location: Location,
    /// Encoded bytes.
    pub(crate) len: u64,
}

/// Whether every record that may be in the way of this change can be read.
///
/// # Errors
/// `Io` in positioned mode, if one could not.
pub(crate) fn check_readable(registry: &Registry, table: &Table, change: &Change<'_>) -> Result<()> {
    let mut failure = None;
    table.get(change.hash, |at| probe_or_note(registry, at, change.key, &mut failure));
    failure.map_or(Ok(()), Err)
}

/// Makes the index point at a put, and keeps the count of what is live.
///
/// # Errors
/// `Io` in positioned mode, if a candidate could not be read: the index may then have the key twice, so nothing may be
/// written any more.
pub(crate) fn index_put(registry: &Registry, table: &Table, put: &Change<'_>) -> Result<()> {
    let mut failure = None;
    let old = table.insert(put.hash, put.location, |at| probe_or_note(registry, at, put.key, &mut failure));
    resolve(registry, put.location)?.0.add_live(put.len);
    forget(registry, old);
    failure.map_or(Ok(()), Err)
}

/// Takes the key of a tombstone out of the index.
///
/// # Errors
/// As `index_put`.
pub(crate) fn index_delete(registry: &Registry, table: &Table, delete: &Change<'_>) -> Result<()> {
    let mut failure = None;
    let old = table.remove(delete.hash, |at| probe_or_note(registry, at, delete.key, &mut failure));
    forget(registry, old);
    failure.map_or(Ok(()), Err)
}

/// As `probe`; a candidate that the device would not give is noted: it may have the key, and may be readable later. A
/// damaged one stays damaged, and is no rival.
fn probe_or_note(registry: &Registry, location: Location, key: &[u8], failure: &mut Option<Error>) -> Probe {
    match resolve(registry, location).and_then(|(segment, offset)| segment.has_key(offset, DEFAULT_KEYSPACE, key)) {
        Ok(true) => Probe::Same,
        Ok(false) => Probe::Other,
        Err(error) => {
            if error.kind() != ErrorKind::Corruption {
                *failure = Some(error);
            }
            Probe::Unreadable
        }
    }
}

/// The record that was at `location` is no longer live.
fn forget(registry: &Registry, location: Option<Location>) {
    if let Some(location) = location
        && let Ok((segment, offset)) = resolve(registry, location)
        && let Ok(record) = segment.record(offset)
    {
        segment.remove_live(record.header.record_len());
    }
}
