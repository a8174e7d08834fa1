//! The one owner of a store's state: directory, segments, index, watermarks.
//!
//! Floor 3. Imports `address`, `error`, `format`, `index`, `limits`, `platform`, `reclaim`, `segment`, `sync`.

pub(crate) mod apply;
pub(crate) mod archived;
pub(crate) mod archives;
pub(crate) mod chain;
mod checkpoint;
mod contest;
pub(crate) mod cursors;
mod expiry;
pub(crate) mod feed;
mod follow;
mod hinted;
pub(crate) mod hints;
mod image;
pub(crate) mod init;
mod inventory;
pub(crate) mod kept;
pub(crate) mod merge;
pub(crate) mod moments;
pub(crate) mod news;
pub(crate) mod open;
pub(crate) mod pass;
pub(crate) mod past;
pub(crate) mod pending;
pub(crate) mod range;
pub(crate) mod read;
pub(crate) mod recovery;
mod replay;
pub(crate) mod space;
pub(crate) mod superseded;
mod torn;
pub(crate) mod unit;
mod unnamed;
pub(crate) mod verify;
pub(crate) mod versions;
pub(crate) mod watermark;
mod written;

use std::io;

use crate::address::{SegmentId, Seqno};
use crate::error::{Error, ErrorKind, Result};
use crate::format::compression::Compression;
use crate::format::identity::Identity;
use crate::index::hash::Hasher;
use crate::limits::{
    CLOCK_STEP_MS, COMPACT_WHEN_DEAD_DEFAULT, CURSORS_HOLD_DEFAULT, INLINE_VALUE_LEN_MAX, SEGMENT_SIZE_DEFAULT,
    SEGMENT_SIZE_FIRST,
};
use crate::platform::{Barrier, Disk, Lock, LockError};
use crate::reclaim::hold::Hold;
use crate::segment::active::Active;
use crate::segment::large::LargeFolder;
use crate::segment::pinned::PinnedBytes;
use crate::segment::pool::Pool;
use crate::segment::registry::Registry;
use crate::segment::{Reading, Segment};
use crate::store::archives::Archives;
use crate::store::checkpoint::IndexFile;
use crate::store::follow::Following;
use crate::store::news::News;
use crate::store::recovery::RecoveryReport;
use crate::store::space::Spaces;
use crate::store::versions::Versions;
use crate::store::watermark::Watermark;
use crate::sync::Arc;
use crate::sync::plain::{AtomicU64, Mutex, MutexGuard, OnceLock, Ordering, PoisonError};

/// What the keyspace that a `Db` itself is, is called.
pub(crate) const DEFAULT_NAME: &str = "default";

/// How far a long job has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Bytes looked at so far.
    pub done: u64,
    /// Bytes to look at.
    pub total: u64,
}

/// A long job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Phase {
    /// Open reads the log.
    Recovery,
    /// `verify` reads everything.
    Verify,
}

/// What the user's options come down to.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) segment_size: u64,
    /// Length of a session's first segment.
    pub(crate) segment_size_first: u64,
    pub(crate) reading: Reading,
    /// What writes wait for unless they say otherwise.
    pub(crate) barrier: Option<Barrier>,
    /// Whether threads may be started.
    pub(crate) background: bool,
    /// The background rewrites a file of which a larger share is dead.
    pub(crate) compact_when_dead: f64,
    /// No cursor holds more bytes of the log.
    pub(crate) cursors_hold_max: u64,
    /// How archives that are written are packed.
    pub(crate) archive_compression: Compression,
    pub(crate) create_if_missing: bool,
    /// For a new store only; an old one keeps the hash it was made with.
    pub(crate) untrusted_keys: bool,
    pub(crate) on_progress: Option<Arc<dyn Fn(Progress) + Send + Sync>>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            segment_size: SEGMENT_SIZE_DEFAULT,
            segment_size_first: SEGMENT_SIZE_FIRST,
            reading: Reading::default(),
            barrier: Some(Barrier::Durable),
            background: true,
            compact_when_dead: COMPACT_WHEN_DEAD_DEFAULT,
            cursors_hold_max: CURSORS_HOLD_DEFAULT,
            archive_compression: Compression::None,
            create_if_missing: true,
            untrusted_keys: false,
            on_progress: None,
        }
    }
}

impl Settings {
    /// Longer values have files of their own: two of this length still share a segment.
    pub(crate) fn inline_value_len_max(&self) -> u64 {
        INLINE_VALUE_LEN_MAX.min(self.segment_size / 2)
    }
}

/// An open store. Readers use it freely; whoever holds `log` may write.
pub(crate) struct Store {
    disk: Arc<dyn Disk>,
    settings: Settings,
    identity: Identity,
    hasher: Hasher,
    registry: Registry,
    archives: Archives,
    pinned: PinnedBytes,
    pool: Pool,
    large: Arc<LargeFolder>,
    spaces: Spaces,
    watermark: Watermark,
    versions: Versions,
    news: News,
    log: Mutex<Log>,
    /// The time of day that was asked for last.
    latest_ms: AtomicU64,
    /// The failure after which no write is taken any more (W4).
    poison: OnceLock<Error>,
    recovery: RecoveryReport,
    /// The index that was written down last.
    index: Mutex<Option<IndexFile>>,
    lock: Mutex<Option<Box<dyn Lock>>>,
    /// Whom to tell that a segment was sealed.
    on_sealed: OnceLock<Box<dyn Fn() + Send + Sync>>,
    /// How far the writer has been followed; `None` of a store that takes writes itself.
    following: Option<Mutex<Following>>,
    /// Why what is in the index is of no one moment, if it is not: a refresh, or a group, that failed half-way.
    between: Mutex<Option<Error>>,
    /// How often a follower has found another log than it had followed: moments of before are of one that is no more (F5).
    era: Mutex<u64>,
}

/// What only the one writer of the log touches.
#[derive(Debug)]
pub(crate) struct Log {
    /// `None` until the first write after an open or a seal.
    pub(crate) active: Option<Active>,
    pub(crate) next_id: SegmentId,
    pub(crate) next_len: u64,
    /// Bytes of what was live when the last segment began, and of the records of those that were sealed since.
    pub(crate) live_bytes: u64,
    pub(crate) sealed_bytes: u64,
    /// Whether a spare for the next segment was asked for.
    pub(crate) spare_asked: bool,
    /// Whether the names that this session found are known to be durable: a process that was killed may have left names
    /// that nobody synced.
    pub(crate) names_synced: bool,
    /// Bytes of the large values that records of the active segment name.
    pub(crate) large_bytes: u64,
    /// The last seqno written: W7, a failed group leaves it where it was.
    pub(crate) last_seqno: Seqno,
}

impl Store {
    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn archives(&self) -> &Archives {
        &self.archives
    }

    /// Bytes of files that jobs removed, and that somebody still shows something of.
    pub(crate) fn pinned(&self) -> &PinnedBytes {
        &self.pinned
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The values that are too large for the log.
    pub(crate) fn large(&self) -> &Arc<LargeFolder> {
        &self.large
    }

    /// All segments, those of archives among them, oldest first.
    pub(crate) fn segments(&self) -> Vec<Hold<Segment>> {
        let mut segments = self.registry.files();
        segments.sort_by_key(|segment| (segment.first_seqno(), segment.id()));
        segments
    }

    /// Bytes of the records that the index points at.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.registry.files().iter().map(|segment| segment.live_bytes()).sum()
    }

    /// The keyspaces, with the index of each.
    pub(crate) fn spaces(&self) -> &Spaces {
        &self.spaces
    }

    pub(crate) fn news(&self) -> &News {
        &self.news
    }

    pub(crate) fn versions(&self) -> &Versions {
        &self.versions
    }

    pub(crate) fn watermark(&self) -> &Watermark {
        &self.watermark
    }

    pub(crate) fn recovery(&self) -> &RecoveryReport {
        &self.recovery
    }

    pub(crate) fn hasher(&self) -> &Hasher {
        &self.hasher
    }

    #[inline(always)]
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash(key)
    }

    /// Milliseconds since 1970. A clock that is set back by a little, as clocks are all day, stands still instead, so that nothing that has expired
    /// comes back; one that was far ahead was wrong, and leaves no trace once it is set right.
    pub(crate) fn now_ms(&self) -> u64 {
        let now = self.disk.clock().wall_ms();
        let latest = self.latest_ms.fetch_max(now, Ordering::Relaxed);
        if latest.saturating_sub(now) > CLOCK_STEP_MS {
            self.latest_ms.store(now, Ordering::Relaxed);
            return now;
        }
        now.max(latest)
    }

    /// The right to write to the log. Held by the commit leader for a group, and by `close`.
    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `f` called each time that a segment was sealed, while the log is held. Once a store.
    pub(crate) fn on_sealed(&self, f: impl Fn() + Send + Sync + 'static) {
        let _ = self.on_sealed.set(Box::new(f));
    }

    /// A segment was sealed.
    pub(crate) fn tell_sealed(&self) {
        if let Some(tell) = self.on_sealed.get() {
            tell();
        }
    }

    /// Makes all that was written to the log durable.
    ///
    /// # Errors
    /// `Poisoned`; `Io`, and the store is poisoned then (W4).
    pub(crate) fn sync_log(&self) -> Result<()> {
        self.sync_written(&mut self.log())
    }

    /// The same, for whoever has the log.
    fn sync_written(&self, log: &mut Log) -> Result<()> {
        self.check_poison()?;
        if let Some(active) = log.active.as_mut() {
            // BARRIER: whatever was seen in the index is on the device.
            active.barrier(Barrier::Durable).inspect_err(|error| self.poison(error.clone()))?;
        }
        self.watermark.settle(log.last_seqno);
        Ok(())
    }

    /// Refuses writes from here on, for good; the first cause stays (W4).
    pub(crate) fn poison(&self, cause: Error) {
        let _ = self.poison.set(cause);
        // The page cache may hold what the device does not: from here on no record is trusted without its checksums.
        self.segments().iter().for_each(|segment| segment.distrust());
        self.large.distrust();
    }

    /// # Errors
    /// `Poisoned` after a failed write or sync.
    pub(crate) fn check_poison(&self) -> Result<()> {
        match self.poison.get() {
            None => Ok(()),
            Some(cause) => Err(Error::because(
                ErrorKind::Poisoned,
                format!(
                    "{} takes no more writes after a failure; close it and open it again",
                    self.disk.path().display()
                ),
                cause.clone(),
            )),
        }
    }

    /// # Errors
    /// `Poisoned` if somebody removed or replaced the file LOCK: another process may be writing.
    pub(crate) fn check_lock(&self) -> Result<()> {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = lock.as_ref().is_none_or(|lock| lock.still_ours().unwrap_or(false));
        if ours {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Poisoned,
            format!("the file LOCK in {} was removed or replaced while it was held", self.disk.path().display()),
        ))
    }

    /// Lets other processes open the store.
    pub(crate) fn unlock(&self) {
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Names the file in an error of the seam.
pub(crate) fn failed(disk: &dyn Disk, what: &str, name: &str) -> impl FnOnce(io::Error) -> Error {
    let text = format!("cannot {what} {}", disk.path().join(name).display());
    move |error| Error::io(text, error)
}

/// Takes the lock.
///
/// # Errors
/// `Locked`, naming the holder where that is another process; `ReadOnly` if the lock file may not be written.
pub(crate) fn take_lock(disk: &dyn Disk) -> Result<Box<dyn Lock>> {
    disk.lock().map_err(|error| match error {
        LockError::HeldHere => {
            let dir = disk.path().display();
            let text = format!("{dir} is open in this process already; clone that handle, or close it");
            Error::new(ErrorKind::Locked, text)
        }
        LockError::Held(holder) => {
            let holder = holder.unwrap_or_else(|| "another process".to_string());
            Error::new(ErrorKind::Locked, format!("{} is open in {holder}; close it there", disk.path().display()))
        }
        LockError::Io(error) => {
            let what = format!("cannot lock {}", disk.path().display());
            match error.kind() {
                io::ErrorKind::PermissionDenied => Error::io_as(ErrorKind::ReadOnly, what, error),
                _ => Error::io(what, error),
            }
        }
    })
}
