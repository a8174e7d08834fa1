//! Opening: lock, identity, recovery, and what that leaves to be sealed.
//!
//! Floor 3. Imports `error`, `format`, `index`, `platform`, `segment`, `store`, `sync`.

use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::format::identity::HashKind;
use crate::index::hash::Hasher;
use crate::index::table::Table;
use crate::platform::Disk;
use crate::segment::large::LargeFolder;
use crate::segment::pool::Pool;
use crate::segment::registry::Registry;
use crate::store::archives::Archives;
use crate::store::init::{self, Found};
use crate::store::recovery::Recovery;
use crate::store::watermark::Watermark;
use crate::store::{Log, Settings, Store, take_lock};
use crate::sync::Arc;
use crate::sync::plain::{Mutex, OnceLock};

/// Opens the store in `disk`, making it if there is none and the settings allow it.
///
/// Before the lock is held nothing is touched, so that a directory that is not ours stays as it was. Opening a store
/// that was closed cleanly writes nothing.
///
/// # Errors
/// `NotFound`, `Invalid`, `FormatVersion`, `Locked`, `Corruption`, `ReadOnly`, or as the system says.
pub(crate) fn open(disk: Arc<dyn Disk>, settings: Settings) -> Result<Store> {
    let look = || init::look(&*disk, settings.create_if_missing);
    refuse_missing(&*disk, &settings, &look()?)?;
    let lock = take_lock(&*disk)?;
    // Again under the lock: another process may have made it meanwhile.
    let found = look()?;
    refuse_missing(&*disk, &settings, &found)?;
    let identity = match found {
        Found::Store(identity) => identity,
        Found::Nothing if settings.untrusted_keys => init::create(&*disk, HashKind::Sip)?,
        Found::Nothing => init::create(&*disk, HashKind::Rapid)?,
    };
    let hasher = match identity.hash_kind {
        HashKind::Rapid => Hasher::rapid(identity.hash_seed),
        HashKind::Sip => Hasher::sip(identity.hash_seed),
    };
    let (registry, table) = (Registry::new(), Table::new());
    let large = Arc::new(LargeFolder::new(&disk, settings.reading));
    let outcome = Recovery::new(&disk, &settings, &identity, &hasher, &registry, &large, &table).run()?;
    let store = Store {
        watermark: Watermark::new(outcome.last_seqno, outcome.durable_seqno),
        log: Mutex::new(Log {
            active: outcome.resumed,
            next_id: outcome.next_id,
            next_len: settings.segment_size_first.min(settings.segment_size),
            spare_asked: false,
            names_synced: false,
            last_seqno: outcome.last_seqno,
        }),
        poison: OnceLock::new(),
        recovery: outcome.report,
        lock: Mutex::new(Some(lock)),
        on_sealed: OnceLock::new(),
        archives: Archives::new(outcome.archives, outcome.next_archive),
        pool: Pool::new(&disk, settings.barrier, settings.background),
        disk,
        settings,
        identity,
        hasher,
        registry,
        large,
        table,
    };
    if let Some(cause) = outcome.unsealed {
        // O6: everything can be read; nothing may be written behind a tail that could not be closed.
        store.poison(cause);
    }
    Ok(store)
}

fn refuse_missing(disk: &dyn Disk, settings: &Settings, found: &Found) -> Result<()> {
    match found {
        Found::Nothing if !settings.create_if_missing => Err(Error::new(ErrorKind::NotFound, none_in(disk.path()))),
        _ => Ok(()),
    }
}

/// Says that there is no store in `dir`, where none is to be made.
pub(crate) fn none_in(dir: &Path) -> String {
    format!("there is no store in {}; check the path, or let it be made (create_if_missing)", dir.display())
}
