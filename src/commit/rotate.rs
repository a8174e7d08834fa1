//! From one segment to the next.
//!
//! Floor 4. Imports `address`, `error`, `format`, `limits`, `sabotage`, `segment`, `store`, `sync`.

use std::io;

use crate::address::SegmentId;
use crate::error::{Error, ErrorKind, Result};
use crate::format::names;
use crate::format::segment::{SegmentHeader, SegmentKind};
use crate::limits::{FOOTER_LEN, PLACE_LEN, RECORDS_START};
use crate::sabotage::{Sabotage, planted};
use crate::segment::Segment;
use crate::segment::active::{self, Active};
use crate::store::{Log, Store};
use crate::sync::Arc;

/// Makes a segment in which `len` bytes of records fit the active one, having sealed the old one.
///
/// The new file is made first: a lack of space or of descriptors leaves everything as it was. Then the old segment is
/// sealed, and only then the new one gets its name (W5).
///
/// # Errors
/// `NoSpace` and `ResourceLimit` leave the store as it was; everything else poisons it (W4).
pub(super) fn next(store: &Store, log: &mut Log, len: u64) -> Result<()> {
    store.check_lock().map_err(|error| poisoned(store, error))?;
    if log.active.as_ref().is_some_and(Active::is_empty) {
        seal(store, log)?;
    }
    let id = log.next_id;
    let next_id = id.next().ok_or_else(|| {
        Error::new(ErrorKind::ResourceLimit, "no segment ids are left; copy the store into a new one")
    })?;
    sync_names(store, log).map_err(|error| match error.kind() {
        // No sync was tried; the next write tries again.
        ErrorKind::ResourceLimit => error,
        _ => poisoned(store, error),
    })?;
    let header = new_header(store, log, id, len)?;
    let file = active::create(&**store.disk(), &header).map_err(|error| match error.kind() {
        ErrorKind::NoSpace | ErrorKind::ResourceLimit => error,
        _ => poisoned(store, error),
    })?;
    let place = store.registry().reserve(header.len)?;
    if planted(Sabotage::NameBeforeOldIsDurable) {
        active::name(&**store.disk(), id)?;
    }
    seal(store, log)?;
    if !planted(Sabotage::NameBeforeOldIsDurable) {
        active::name(&**store.disk(), id).map_err(|error| match error.kind() {
            // It was not even tried; the next write makes another file.
            ErrorKind::ResourceLimit => error,
            _ => poisoned(store, error),
        })?;
    }
    let name = names::segment(id);
    let reading = store.settings().reading;
    let segment = Segment::new(store.disk(), &name, Arc::clone(&file), &header, place, RECORDS_START, reading);
    let segment = store.registry().add(segment, place, header.len);
    log.active = Some(Active::new(segment, file, log.last_seqno));
    log.next_id = next_id;
    log.next_len = (header.len * 2).min(store.settings().segment_size).max(log.next_len);
    Ok(())
}

/// Makes the names durable that this session found: identity, folder, segments. Whoever made them may have been killed
/// before it could.
fn sync_names(store: &Store, log: &mut Log) -> Result<()> {
    if log.names_synced {
        return Ok(());
    }
    let disk = store.disk();
    // BARRIER: what was found in the folder is there after a power cut, before a segment with a higher id is.
    let synced = disk.sync_dir(names::SEGMENTS);
    // BARRIER: and the store itself, before anything in it is acknowledged.
    let synced = synced.and_then(|()| disk.sync_dir(""));
    // BARRIER: and its directory.
    let synced = synced.and_then(|()| disk.sync_parent());
    synced.map_err(|error| {
        // Without a descriptor for the parent nothing was tried; for want of memory a sync may have been.
        let tried = error.kind() == io::ErrorKind::OutOfMemory;
        let error = Error::io(format!("cannot sync {}", disk.path().display()), error);
        match error.kind() {
            ErrorKind::ResourceLimit if !tried => error,
            _ => error.of_kind(ErrorKind::Io),
        }
    })?;
    log.names_synced = true;
    Ok(())
}

fn new_header(store: &Store, log: &Log, id: SegmentId, len: u64) -> Result<SegmentHeader> {
    let mut epoch = [0; 16];
    store
        .disk()
        .random(&mut epoch)
        .map_err(|error| Error::io(format!("cannot draw randomness for segment {id}"), error))?;
    // A batch that is longer than a segment gets one of its own length, in whole places.
    let needed = RECORDS_START + len + FOOTER_LEN;
    let len = if needed <= log.next_len { log.next_len } else { needed.next_multiple_of(PLACE_LEN) };
    Ok(SegmentHeader {
        database: store.identity().database,
        id,
        epoch,
        kind: SegmentKind::Log,
        first_seqno: (u64::from(log.last_seqno) + 1).into(),
        len,
    })
}

/// Closes the active segment, if there is one: durable, with its footer. The next write starts another.
///
/// A segment in which nothing was ever written leaves no trace: its id is given again.
///
/// # Errors
/// `NoSpace` if the footer finds none: the segment is not written any more, and the sealing is tried again later. Else as
/// the system says; the store is poisoned then (W4).
pub(super) fn seal(store: &Store, log: &mut Log) -> Result<()> {
    let Some(active) = log.active.as_mut() else { return Ok(()) };
    if active.is_empty() {
        let segment = active.segment().clone();
        log.active = None;
        return discard(store, log, &segment);
    }
    match active.seal() {
        Ok(()) => {
            log.active = None;
            store.watermark().settle(log.last_seqno);
            Ok(())
        }
        // What is written is durable. The next write, seal or close tries again.
        Err(error) if error.kind() == ErrorKind::NoSpace => {
            store.watermark().settle(log.last_seqno);
            Err(error)
        }
        Err(error) => Err(poisoned(store, error)),
    }
}

/// Removes a segment in which nothing was ever written.
fn discard(store: &Store, log: &mut Log, segment: &Segment) -> Result<()> {
    let name = names::segment(segment.id());
    log.next_id = segment.id();
    store.registry().retire(segment.place());
    let removed = store.disk().remove(&name).and_then(|()| {
        // BARRIER: the name is gone before another file gets it.
        store.disk().sync_dir(names::SEGMENTS)
    });
    removed
        .map_err(|error| poisoned(store, Error::io_as(ErrorKind::Io, format!("cannot remove the empty {name}"), error)))
}

fn poisoned(store: &Store, error: Error) -> Error {
    store.poison(error.clone());
    error
}
