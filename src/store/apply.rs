//! What was written comes into the index, and what it replaces is no longer counted as live.
//!
//! Floor 3. Imports `address`, `error`, `format`, `index`, `reclaim`, `sabotage`, `segment`, `store`.

use crate::address::{Location, Seqno};
use crate::error::{Error, ErrorKind, Result};
use crate::format::large::LargeValue;
use crate::format::record::Kind;
use crate::index::table::{Changed, Probe, Table};
use crate::reclaim::pin::Pin;
use crate::sabotage::{Sabotage, planted};
use crate::segment::Segment;
use crate::segment::fetched::Fetched;
use crate::segment::large::LargeFolder;
use crate::segment::live::Extent;
use crate::segment::registry::Registry;
use crate::store::Store;
use crate::store::read::{prefetch_record, resolve, unknown};
use crate::store::space::{Finder, Space, Spaces};

/// One record on its way into the index; its bytes are published.
pub(crate) struct Change<'a> {
    pub(crate) space: &'a Space,
    pub(crate) hash: u64,
    pub(crate) key: &'a [u8],
    pub(crate) location: Location,
    /// Encoded bytes.
    pub(crate) len: u64,
    /// The large value that it names.
    pub(crate) large: Option<LargeValue>,
}

impl<'a> Change<'a> {
    /// With the keyspace that it is of.
    pub(crate) fn full_key(&self) -> (u16, &'a [u8]) {
        (self.space.id(), self.key)
    }

    fn extent(&self) -> Extent {
        Extent { keyspace: self.space.id(), len: self.len, large: self.large.map_or(0, |large| large.len) }
    }
}

/// Hashes that are looked up together, so that their cache misses overlap, before a batch of changes of that many.
pub(crate) const AHEAD: usize = 64;

/// Asks for all that indexing changes of these hashes, each of a keyspace, will look at.
pub(crate) fn prefetch_all(registry: &Registry, spaces: &Spaces, hashes: impl Iterator<Item = (u16, u64)> + Clone) {
    let (pin, mut finder) = (Pin::new(), Finder::new(spaces));
    for (keyspace, hash) in hashes.clone() {
        if let Some(space) = finder.get(keyspace) {
            space.table(&pin).prefetch(hash, &pin);
        }
    }
    for (keyspace, hash) in hashes {
        if let Some(space) = finder.get(keyspace) {
            prefetch_record(registry, space.table(&pin), hash, &pin);
        }
    }
}

/// Whether every record that may be in the way of this change can be read.
///
/// # Errors
/// `Io` in positioned mode, if one could not.
pub(crate) fn check_readable(registry: &Registry, change: &Change<'_>) -> Result<()> {
    let (pin, mut failure) = (Pin::new(), None);
    let table = change.space.table(&pin);
    table.get(change.hash, &pin, |at| probe_or_note(registry, at, change.full_key(), &mut failure));
    failure.map_or(Ok(()), Err)
}

/// Makes the index point at a put, and keeps the count of what is live.
///
/// # Errors
/// `Io` in positioned mode, if a candidate could not be read: the index may then have the key twice, so nothing may be
/// written any more.
pub(crate) fn index_put(registry: &Registry, large: &LargeFolder, put: &Change<'_>) -> Result<()> {
    let mut failure = None;
    let probe = |at| probe_or_note(registry, at, put.full_key(), &mut failure);
    index_put_by(registry, large, put, probe)?;
    failure.map_or(Ok(()), Err)
}

/// The same, where `probe` says whether the record at a place has the key, and nobody looks at `Change::key`.
///
/// # Errors
/// `Corruption` if the put lies in no file.
pub(crate) fn index_put_by(
    registry: &Registry,
    large: &LargeFolder,
    put: &Change<'_>,
    probe: impl FnMut(Location) -> Probe,
) -> Result<()> {
    let pin = Pin::new();
    let changed = put.space.table(&pin).insert(put.hash, put.location, probe);
    let (segment, _) = resolve(registry, put.location, &pin).ok_or_else(|| unknown(put.location))?;
    segment.live().add(put.extent(), changed.imaged);
    large.add_live(put.extent().large);
    name_large(segment, large, put.large);
    forget(registry, large, Some(put.space), changed, &pin);
    Ok(())
}

/// Counts the large value that the put at a place names, though its key is nobody's: its keyspace was cleared or dropped. The file stays as
/// long as the record.
pub(crate) fn name_nobodys(registry: &Registry, large: &LargeFolder, at: Location, value: Option<LargeValue>) {
    if let Some((segment, _)) = resolve(registry, at, &Pin::new()) {
        name_large(segment, large, value);
    }
}

/// Counts the large value that a put names, whatever becomes of its key.
fn name_large(segment: &Segment, large: &LargeFolder, value: Option<LargeValue>) {
    if let Some(value) = value
        && segment.live().name(value.id, value.len)
    {
        large.add(value.len);
    }
}

/// Brings a record into the index, if that has nothing newer of its key.
///
/// # Errors
/// As `index_put`.
pub(crate) fn index_unless_newer(
    registry: &Registry,
    large: &LargeFolder,
    kind: Kind,
    seqno: Seqno,
    change: &Change<'_>,
) -> Result<()> {
    let (pin, mut failure, mut newer) = (Pin::new(), None, false);
    change.space.table(&pin).get(change.hash, &pin, |at| {
        let probe = probe_or_note(registry, at, change.full_key(), &mut failure);
        if probe == Probe::Same(()) {
            let (segment, offset) = resolve(registry, at, &pin).map_or((None, 0), |(segment, at)| (Some(segment), at));
            // One that is damaged is no rival.
            newer = segment.is_some_and(|segment| segment.record(offset).is_ok_and(|header| header.seqno >= seqno));
        }
        probe
    });
    failure.map_or(Ok(()), Err)?;
    match kind {
        Kind::Delete if newer && !planted(Sabotage::OldDeleteWins) => Ok(()),
        Kind::Delete => index_delete(registry, large, change),
        _ if newer => {
            let (segment, _) = resolve(registry, change.location, &pin).ok_or_else(|| unknown(change.location))?;
            name_large(segment, large, change.large);
            Ok(())
        }
        _ => index_put(registry, large, change),
    }
}

/// Makes the index point at the copy of a record, which is of this seqno, where it points at the original: at a place that `is_source`. The
/// live counts move along. What is newer stays, also where it lies at such a place.
///
/// # Errors
/// `Io` in positioned mode, if a candidate could not be read: the key may point at the original still.
pub(crate) fn index_move(
    store: &Store,
    to: &Change<'_>,
    seqno: Seqno,
    is_source: impl Fn(u64) -> bool,
    pin: &Pin,
) -> Result<()> {
    let (registry, table, mut failure) = (store.registry(), to.space.table(pin), None);
    let mut from = None;
    table.get(to.hash, pin, |at| {
        // The pin is the caller's; what it leads to is there as long as the job is.
        match is_source(at.place()).then(|| probe_or_note(registry, at, to.full_key(), &mut failure)) {
            Some(Probe::Same(())) => {
                from = Some(at);
                Probe::Same(())
            }
            _ => Probe::Other,
        }
    });
    if let Some(error) = failure {
        return Err(error);
    }
    let (copy, _) = resolve(registry, to.location, pin).ok_or_else(|| unknown(to.location))?;
    if let Some(large) = to.large {
        // The file itself is counted already.
        copy.live().name(large.id, large.len);
    }
    let Some(from) = from else { return Ok(()) };
    let (source, offset) = resolve(registry, from, pin).ok_or_else(|| unknown(from))?;
    let header = source.record(offset)?;
    if header.seqno != seqno {
        return Ok(());
    }
    let original = Extent { len: header.record_len(), ..to.extent() };
    // Counted before it is there, since whoever replaces it next counts it out.
    copy.live().add(to.extent(), false);
    match table.replace(to.hash, from, to.location) {
        true => source.live().remove(original, false),
        false => copy.live().remove(to.extent(), false),
    }
    Ok(())
}

/// Takes the key of a tombstone out of the index.
///
/// # Errors
/// As `index_put`.
pub(crate) fn index_delete(registry: &Registry, large: &LargeFolder, delete: &Change<'_>) -> Result<()> {
    let mut failure = None;
    let probe = |at| probe_or_note(registry, at, delete.full_key(), &mut failure);
    index_delete_by(registry, large, delete.space, delete.hash, probe);
    failure.map_or(Ok(()), Err)
}

/// The same, where `probe` says whether the record at a place has the key.
pub(crate) fn index_delete_by(
    registry: &Registry,
    large: &LargeFolder,
    space: &Space,
    hash: u64,
    probe: impl FnMut(Location) -> Probe,
) {
    let pin = Pin::new();
    let changed = space.table(&pin).remove(hash, probe);
    forget(registry, large, Some(space), changed, &pin);
}

/// Takes every location that `goes` out of the index.
pub(crate) fn index_sweep(registry: &Registry, table: &Table, large: &LargeFolder, goes: impl Fn(Location) -> bool) {
    let pin = Pin::new();
    table.sweep(|location| {
        let gone = goes(location);
        if gone {
            forget(registry, large, None, Changed { old: Some(location), imaged: false }, &pin);
        }
        gone
    });
}

/// As `probe`; a candidate that the device would not give is noted: it may have the key, and may be readable later. A
/// damaged one stays damaged, and is no rival.
pub(crate) fn probe_or_note(
    registry: &Registry,
    location: Location,
    (keyspace, key): (u16, &[u8]),
    failure: &mut Option<Error>,
) -> Probe {
    let pin = Pin::new();
    let Some((segment, offset)) = resolve(registry, location, &pin) else {
        return Probe::Gone;
    };
    let same = match segment.put_of(offset, keyspace, key) {
        Some(_) => Ok(true),
        None => segment.header_of(offset, keyspace, key).map(|header| header.is_some()),
    };
    match same {
        Ok(true) => Probe::Same(()),
        Ok(false) => Probe::Other,
        Err(error) => {
            if error.kind() != ErrorKind::Corruption {
                *failure = Some(error);
            }
            Probe::Unreadable
        }
    }
}

/// No record of the keyspace is live any more.
pub(crate) fn forget_space(registry: &Registry, large: &LargeFolder, keyspace: u16) {
    for segment in registry.files() {
        large.remove_live(segment.live().forget(keyspace).large);
    }
}

/// The record that was at `location` is no longer live.
fn forget(registry: &Registry, large: &LargeFolder, space: Option<&Space>, changed: Changed, pin: &Pin) {
    if let Some(location) = changed.old
        && let Some((segment, offset)) = resolve(registry, location, pin)
        && let Ok(header) = segment.record(offset)
    {
        let named = match header.kind {
            Kind::PutLarge => Fetched::read(segment, offset).ok().and_then(|record| record.large().copied()),
            _ => None,
        };
        if let Some(space) = space.filter(|_| header.has_expiry) {
            space.note_replaced(segment.expiry(offset).ok().flatten());
        }
        let len = named.map_or(0, |large| large.len);
        segment
            .live()
            .remove(Extent { keyspace: header.keyspace, len: header.record_len(), large: len }, changed.imaged);
        large.remove_live(len);
    }
}
