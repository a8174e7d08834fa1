//! From one segment to the next.
//!
//! Floor 4. Imports `address`, `error`, `format`, `limits`, `sabotage`, `segment`, `store`, `sync`.

use std::io;

use crate::address::SegmentId;
use crate::error::{Error, ErrorKind, Result};
use crate::format::names;
use crate::format::segment::{SegmentHeader, SegmentKind};
use crate::limits::{
    FOOTER_LEN, LIVE_PARTS, PART_LEN_MIN, PLACE_LEN, RECORDS_START, SEGMENT_LEN_STEP, SEGMENT_SIZE_MIN,
    SPARE_ASKED_PART,
};
use crate::sabotage::{Sabotage, planted};
use crate::segment::Segment;
use crate::segment::active::Active;
use crate::segment::blank::Blank;
use crate::segment::home::Home;
use crate::store::{Log, Store};
use crate::sync::Arc;

/// Makes a segment in which `len` bytes of records fit the active one, having sealed the old one.
///
/// The new file is there first, a spare one or one made now: a lack of space or of descriptors leaves everything as it was.
/// Then the old segment is sealed, and only then the new one gets its name (W5).
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
    let epoch = draw_epoch(store, id)?;
    let needed = RECORDS_START + len + FOOTER_LEN;
    let spare = store.pool().take(needed);
    let early = spare.is_some() && planted(Sabotage::SpareNamedBeforeHeader);
    let blank = match spare {
        Some(spare) => spare,
        None => make_now(store, log, needed).map_err(|error| unless_harmless(store, error))?,
    };
    if early {
        blank.name(&**store.disk(), id)?;
    }
    let header = SegmentHeader {
        database: store.identity().database,
        id,
        epoch,
        kind: SegmentKind::Log,
        first_seqno: (u64::from(log.last_seqno) + 1).into(),
        len: blank.len(),
    };
    let begun = begin(store, log, &blank, &header, early);
    let place = begun.inspect_err(|_| blank.remove(&**store.disk()))?;
    let name = names::segment(id);
    let (file, reading) = (blank.file(), store.settings().reading);
    let segment = Segment::new(store.disk(), Home::alone(file, &name), &header, place, RECORDS_START, reading);
    let segment = segment.with_lease(store.registry().lease(place, header.len));
    let segment = store.registry().add(segment, place, header.len);
    let active = Active::new(segment, Arc::clone(file), log.last_seqno);
    log.active = Some(if blank.wants_zeros() { active.with_zeros() } else { active });
    log.next_id = next_id;
    log.next_len = next_len(store, log, header.len);
    log.spare_asked = false;
    log.large_bytes = 0;
    // A session may be over before it seals anything: what earlier ones left is looked at now.
    store.tell_sealed();
    Ok(())
}

/// How long the segment behind one of `len` bytes is to be. Twice as long while half of what is written is new; else what is
/// written takes the place of something, and the room for it is to be little beside what there is.
fn next_len(store: &Store, log: &mut Log, len: u64) -> u64 {
    let (live, sealed) = (store.live_bytes(), std::mem::take(&mut log.sealed_bytes));
    let grown = live.saturating_sub(std::mem::replace(&mut log.live_bytes, live));
    let longest = store.settings().segment_size;
    let enough = match 2 * grown >= sealed {
        true => longest,
        false => (live / LIVE_PARTS).max(PART_LEN_MIN).next_multiple_of(PLACE_LEN).min(longest),
    };
    (2 * len.max(log.next_len)).min(enough)
}

/// A file for the next segment, of `needed` bytes at least. Where there is no space for it, a spare that is too
/// short makes room; then a shorter one will do.
///
/// # Errors
/// As `Pool::make_now`.
fn make_now(store: &Store, log: &Log, needed: u64) -> Result<Blank> {
    // A batch that is longer than a segment gets one of its own length, in whole places.
    let mut len = if needed <= log.next_len { log.next_len } else { needed.next_multiple_of(PLACE_LEN) };
    loop {
        let shorter = len / 2 / SEGMENT_LEN_STEP * SEGMENT_LEN_STEP;
        match store.pool().make_now(log.next_id, len) {
            Err(error) if error.kind() == ErrorKind::NoSpace && store.pool().give_up() => {}
            Err(error) if error.kind() == ErrorKind::NoSpace && shorter >= needed.max(SEGMENT_SIZE_MIN) => {
                len = shorter
            }
            made => return made,
        }
    }
}

/// Header, seal of the segment before, name, in this order. Returns the segment's place.
fn begin(store: &Store, log: &mut Log, blank: &Blank, header: &SegmentHeader, named: bool) -> Result<u64> {
    let (disk, id) = (&**store.disk(), header.id);
    blank.begin(disk, header).map_err(|error| unless_harmless(store, error))?;
    let place = store.registry().reserve(header.len)?;
    let named = named || planted(Sabotage::NameBeforeOldIsDurable) && blank.name(disk, id).is_ok();
    seal(store, log)?;
    if !named {
        // Where it was not given, the next write makes another file.
        blank.name(disk, id).map_err(|error| unless_harmless(store, error))?;
    }
    Ok(place)
}

/// Asks for a spare once the active segment is full enough to expect that one is needed, once a segment. Seals it once its
/// records name so many large values that those would have filled it: what is being written is not compacted, and their files
/// would stay. Best effort: the next write tries again, or tells what went wrong.
pub(super) fn look_ahead(store: &Store, log: &mut Log) {
    if store.settings().background && log.large_bytes >= store.settings().segment_size {
        log.large_bytes = 0;
        let _ = seal(store, log);
    }
    let Some(active) = &log.active else { return };
    if log.spare_asked || active.end() < active.segment().len() / SPARE_ASKED_PART {
        return;
    }
    log.spare_asked = true;
    store.pool().ask(log.next_len);
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

fn draw_epoch(store: &Store, id: SegmentId) -> Result<[u8; 16]> {
    let mut epoch = [0; 16];
    let drawn = store.disk().random(&mut epoch);
    drawn.map_err(|error| Error::io(format!("cannot draw randomness for segment {id}"), error))?;
    Ok(epoch)
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
            log.sealed_bytes += active.segment().used_bytes();
            log.active = None;
            store.watermark().settle(log.last_seqno);
            store.tell_sealed();
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

/// What a lack of space or of descriptors does not: poisons the store.
fn unless_harmless(store: &Store, error: Error) -> Error {
    match error.kind() {
        ErrorKind::NoSpace | ErrorKind::ResourceLimit => error,
        _ => poisoned(store, error),
    }
}

fn poisoned(store: &Store, error: Error) -> Error {
    store.poison(error.clone());
    error
}
