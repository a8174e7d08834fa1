//! Opening: lock, identity, recovery, and what that leaves to be sealed.
//!
//! Floor 3. Imports `address`, `error`, `format`, `index`, `platform`, `segment`, `store`, `sync`.

use std::path::Path;
use std::time::Duration;

use crate::address::{ArchiveId, SegmentId, Seqno};
use crate::error::{Error, ErrorKind, Result};
use crate::format::identity::{HashKind, Identity};
use crate::index::hash::Hasher;
use crate::platform::Disk;
use crate::segment::Reading;
use crate::segment::large::LargeFolder;
use crate::segment::pinned::PinnedBytes;
use crate::segment::pool::Pool;
use crate::segment::registry::Registry;
use crate::store::archives::Archives;
use crate::store::init::{self, Found};
use crate::store::news::News;
use crate::store::pending;
use crate::store::recovery::{Recovery, RecoveryReport};
use crate::store::space::Spaces;
use crate::store::versions::Versions;
use crate::store::watermark::Watermark;
use crate::store::{Log, Settings, Store, take_lock};
use crate::sync::Arc;
use crate::sync::plain::{AtomicU64, Mutex, OnceLock};

/// Opens the store in `disk`, making it if there is none and the settings allow it.
///
/// Before the lock is held nothing is touched, so that a directory that is not ours stays as it was. Opening a store
/// that was closed cleanly writes nothing.
///
/// # Errors
/// `NotFound`, `Invalid`, `FormatVersion`, `Locked`, `Corruption`, `ReadOnly`, or as the system says.
pub(crate) fn open(disk: Arc<dyn Disk>, settings: Settings) -> Result<Store> {
    let look = || init::look(&*disk, settings.create_if_missing);
    refuse(&*disk, &settings, &look()?)?;
    let lock = take_lock(&*disk)?;
    // Again under the lock: another process may have made it meanwhile.
    let found = look()?;
    refuse(&*disk, &settings, &found)?;
    let identity = match found {
        Found::Store(identity) => identity,
        Found::Nothing if settings.untrusted_keys => init::create(&*disk, HashKind::Sip)?,
        Found::Nothing => init::create(&*disk, HashKind::Rapid)?,
    };
    let hasher = hasher_of(&identity);
    let registry = Registry::new();
    let large = Arc::new(LargeFolder::new(&disk, settings.reading));
    let outcome = Recovery::new(&disk, &settings, &identity, &hasher, &registry, &large).run()?;
    let identity = pending::adopt(&*disk, identity)?;
    let store = Store {
        versions: Versions::new(),
        news: News::new(),
        watermark: Watermark::new(outcome.last_seqno, outcome.durable_seqno),
        log: Mutex::new(Log {
            active: outcome.resumed,
            next_id: outcome.next_id,
            next_len: settings.segment_size_first.min(settings.segment_size),
            live_bytes: 0,
            sealed_bytes: 0,
            spare_asked: false,
            large_bytes: 0,
            names_synced: false,
            last_seqno: outcome.last_seqno,
        }),
        latest_ms: AtomicU64::new(0),
        poison: OnceLock::new(),
        recovery: outcome.report,
        index: Mutex::new(outcome.index),
        lock: Mutex::new(Some(lock)),
        on_sealed: OnceLock::new(),
        following: None,
        between: Mutex::default(),
        era: Mutex::default(),
        archives: Archives::new(outcome.archives, outcome.next_archive),
        pinned: PinnedBytes::default(),
        pool: Pool::new(&disk, settings.barrier, settings.background),
        disk,
        settings,
        identity,
        hasher,
        registry,
        large,
        spaces: outcome.spaces,
    };
    if let Some(cause) = outcome.unsealed {
        // O6: everything can be read; nothing may be written behind a tail that could not be closed.
        store.poison(cause);
    }
    Ok(store)
}

/// Opens the store in `disk` for reading only: takes no lock, and writes nothing.
///
/// # Errors
/// `NotFound`, `Invalid`, `FormatVersion`, `Corruption`, or as the system says.
pub(crate) fn open_read_only(disk: Arc<dyn Disk>, settings: Settings) -> Result<Store> {
    let start = disk.clock().monotonic_ns();
    let reading = Reading { beside_writer: true, ..settings.reading };
    let settings = Settings { create_if_missing: false, background: false, reading, ..settings };
    let identity = match init::look(&*disk, false)? {
        Found::Store(identity) => identity,
        Found::Nothing => return Err(Error::new(ErrorKind::NotFound, none_in(disk.path()))),
    };
    let begin = || Store {
        versions: Versions::new(),
        news: News::new(),
        watermark: Watermark::new(Seqno::default(), Seqno::default()),
        log: Mutex::new(Log {
            active: None,
            next_id: SegmentId::FIRST,
            next_len: settings.segment_size,
            live_bytes: 0,
            sealed_bytes: 0,
            spare_asked: false,
            large_bytes: 0,
            names_synced: false,
            last_seqno: Seqno::default(),
        }),
        latest_ms: AtomicU64::new(0),
        poison: OnceLock::new(),
        recovery: RecoveryReport::default(),
        index: Mutex::new(None),
        lock: Mutex::new(None),
        on_sealed: OnceLock::new(),
        following: Some(Mutex::default()),
        between: Mutex::default(),
        era: Mutex::default(),
        archives: Archives::new(Vec::new(), ArchiveId(1)),
        pinned: PinnedBytes::default(),
        pool: Pool::new(&disk, None, false),
        hasher: hasher_of(&identity),
        registry: Registry::new(),
        large: Arc::new(LargeFolder::new(&disk, settings.reading)),
        spaces: Spaces::new(),
        disk: Arc::clone(&disk),
        settings: settings.clone(),
        identity: identity.clone(),
    };
    let mut store = begin();
    if !store.follow_index().unwrap_or(false) {
        // Whatever is in the way of the written index: all of the log is read.
        store = begin();
    }
    store.refresh()?;
    let end = store.disk.clock().monotonic_ns();
    store.recovery = store.follow_report(Duration::from_nanos(end.saturating_sub(start)));
    Ok(store)
}

fn hasher_of(identity: &Identity) -> Hasher {
    match identity.hash_kind {
        HashKind::Rapid => Hasher::rapid(identity.hash_seed),
        HashKind::Sip => Hasher::sip(identity.hash_seed),
    }
}

fn refuse(disk: &dyn Disk, settings: &Settings, found: &Found) -> Result<()> {
    match found {
        Found::Store(identity) => init::refuse_newer(disk, identity),
        Found::Nothing if !settings.create_if_missing => Err(Error::new(ErrorKind::NotFound, none_in(disk.path()))),
        _ => Ok(()),
    }
}

/// Says that there is no store in `dir`, where none is to be made.
pub(crate) fn none_in(dir: &Path) -> String {
    format!(
        "there is no store in {}; check the path, or have it made by whoever writes (create_if_missing)",
        dir.display()
    )
}
