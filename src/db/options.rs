//! How a store is opened.
//!
//! Floor 6. Imports `commit`, `db`, `error`, `format`, `limits`, `platform`, `segment`, `store`, `sync`.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::commit::durability::Durability;
use crate::db::Db;
use crate::db::keyspaces::KeyspaceOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::format::compression::Compression;
use crate::limits::{
    COMPACT_WHEN_DEAD_MAX, COMPACT_WHEN_DEAD_MIN, SEGMENT_LEN_STEP, SEGMENT_SIZE_MAX, SEGMENT_SIZE_MIN,
};
use crate::platform::Disk;
use crate::platform::clock::WallTime;
use crate::platform::memory::MemoryDisk;
use crate::platform::real::RealDisk;
use crate::segment::ReadMode;
use crate::segment::trust::Verify;
use crate::store::{self, Progress, Settings};
use crate::sync::Arc;

/// How a store is opened: every setter takes and returns `Self`.
///
/// ```
/// # fn main() -> zipcask::Result<()> {
/// # let dir = std::env::temp_dir().join(format!("zipcask-options-{}", std::process::id()));
/// use zipcask::{Durability, Options};
///
/// let db = Options::new().durability(Durability::Os).segment_size(16 << 20).open(&dir)?;
/// # db.close()?;
/// # std::fs::remove_dir_all(&dir).expect("it is ours");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Options {
    durability: Durability,
    settings: Settings,
    default_keyspace: Option<KeyspaceOptions>,
}

impl Options {
    /// The defaults: made if missing, every write durable before it returns, segments of 64 MiB, mapped reads.
    pub fn new() -> Self {
        Options::default()
    }

    /// What writes wait for unless they say otherwise. Default: [`Durability::Sync`].
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Bytes of a segment, from 64 KiB to 1 GiB, rounded down to a multiple of 4096. Default: 64 MiB. Each session starts with smaller
    /// ones, of 1 MiB if this is more; while most of what is written replaces something, they have a sixteenth of what is live, or
    /// 8 MiB if that is more. A longer batch gets a longer one.
    pub fn segment_size(mut self, bytes: u64) -> Self {
        self.settings.segment_size = bytes;
        self
    }

    /// How values are read. Default: [`ReadMode::Mmap`].
    pub fn read_mode(mut self, mode: ReadMode) -> Self {
        self.settings.reading.mode = mode;
        self
    }

    /// When the checksums of what is read are checked. Default: [`Verify::FirstTouch`].
    pub fn verify_values(mut self, verify: Verify) -> Self {
        self.settings.reading.verify = verify;
        self
    }

    /// Whether the store may start threads of its own. Default: true. One makes the next segment ready while the last one fills; it is
    /// started by the first write that fills one by a quarter. Without it that is done when a segment is full, by whoever writes
    /// then, and not as well: each durable write costs more. The other gives the space of dead records back, once a segment was sealed;
    /// without it only [`Db::compact`] does.
    pub fn background(mut self, on: bool) -> Self {
        self.settings.background = on;
        self
    }

    /// How much of a file may be dead, overwritten or deleted, before the background rewrites it: from 0.05 to 0.95. Default: 0.3.
    pub fn compact_when_dead(mut self, share: f64) -> Self {
        self.settings.compact_when_dead = share;
        self
    }

    /// How many bytes of the log a [`Cursor`](crate::Cursor) may hold back from compaction, with the large values of it that are dead otherwise. Default: 1 GiB. Beyond
    /// that it holds none of them, so that a consumer that does not come back fills no disk.
    pub fn cursors_hold_max(mut self, bytes: u64) -> Self {
        self.settings.cursors_hold_max = bytes;
        self
    }

    /// How archives are packed that this session writes: those of [`Db::archive`], [`Db::compact`] and the background. Default:
    /// [`Compression::None`]. Any are read, as long as this crate was built with the features for it.
    pub fn archive_compression(mut self, compression: Compression) -> Self {
        self.settings.archive_compression = compression;
        self
    }

    /// Whether a missing store is made, with its directory and those above it that are missing. Default: true; otherwise
    /// opening one is `NotFound`, and nothing is made.
    pub fn create_if_missing(mut self, yes: bool) -> Self {
        self.settings.create_if_missing = yes;
        self
    }

    /// Whether keys come from people who would like the store to be slow: hashes with SipHash-1-3 then, a little slower.
    /// Chosen when the store is made, and kept. Default: false.
    pub fn untrusted_keys(mut self, yes: bool) -> Self {
        self.settings.untrusted_keys = yes;
        self
    }

    /// What the default keyspace, which the [`Db`] itself is, is made with. Of a store that is there already, what it has to be: others are
    /// `Invalid`. Default: whatever it was made with; of a store that is made by this, [`KeyspaceOptions::new`].
    ///
    /// So the default keyspace of a store that was opened without this is in no order, for good, once something was written, or a keyspace or cursor made: ask for
    /// [`KeyspaceOptions::ordered`] at the first open, or put what needs an order into another keyspace.
    pub fn default_keyspace(mut self, options: KeyspaceOptions) -> Self {
        self.default_keyspace = Some(options);
        self
    }

    /// Calls `f` from long jobs, on the thread that runs them.
    pub fn on_progress(mut self, f: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.settings.on_progress = Some(Arc::new(f));
        self
    }

    /// Opens the store in `dir`. Without [`Options::create_if_missing`] there must be one; with it, directories that are
    /// missing on the way to `dir` are made, too.
    ///
    /// # Errors
    /// `Invalid` for options out of range, for a default keyspace that has others, and for a directory that holds something else; `NotFound`; `Locked`, naming
    /// the process that has it, or saying that it is this one; `Corruption`, naming file and offset; `FormatVersion`; `ReadOnly` if the directory cannot be written,
    /// which opening needs; `NoSpace`; `Io`. Nothing of an existing store is changed then.
    pub fn open(self, dir: impl AsRef<Path>) -> Result<Db> {
        let checked = self.checked()?;
        let disk = disk_at(dir.as_ref(), checked.settings.create_if_missing)?;
        checked.open_on(disk)
    }

    /// Opens the store in `dir` for reading only: any number of processes may, beside one that writes it or without one, and on
    /// media that cannot be written. No lock is taken and nothing is written, made or removed: a tail that was torn by a crash
    /// is left alone, and not shown.
    ///
    /// It shows the store as it is now, writes included that are not durable yet, until [`Db::refresh`]. What values, readers
    /// and iterators show stays, though the writer removes files; of a large value (see [`Keyspace::put`](crate::Keyspace::put))
    /// the file may be gone before it is asked for: that is `NotFound`, and says to refresh. Everything that writes is `ReadOnly`.
    ///
    /// With [`ReadMode::Positioned`], each file takes a descriptor.
    ///
    /// # Errors
    /// `NotFound` if there is no store; else as [`Options::open`], but never `Locked`.
    pub fn open_read_only(self, dir: impl AsRef<Path>) -> Result<Db> {
        self.checked()?.open_read_only_on(disk_at(dir.as_ref(), false)?)
    }

    /// The same on any disk.
    pub(crate) fn open_read_only_on(self, disk: Arc<dyn Disk>) -> Result<Db> {
        Db::start_read_only(disk, self.settings, self.durability)?.with_default(self.default_keyspace)
    }

    /// Opens an empty store of the same engine on a disk that is memory: for tests and caches.
    ///
    /// # Errors
    /// `Invalid` for options out of range.
    pub fn open_in_memory(self) -> Result<Db> {
        self.checked()?.create_if_missing(true).open_on(Arc::new(MemoryDisk::new()))
    }

    /// Opens the store on any disk.
    pub(crate) fn open_on(self, disk: Arc<dyn Disk>) -> Result<Db> {
        Db::start(disk, self.settings, self.durability)?.with_default(self.default_keyspace)
    }

    /// For the crash tests: small segments of one length, whatever the bounds, and nothing that happens by itself.
    #[cfg(feature = "sim")]
    pub(crate) fn tiny_segments(mut self, bytes: u64) -> Self {
        self.settings.segment_size = bytes;
        self.settings.segment_size_first = bytes;
        self.background(false)
    }

    /// The same with lengths that segments can have. Every open asks here before it touches a disk: refused, it leaves nothing.
    fn checked(mut self) -> Result<Self> {
        self.default_keyspace.map(KeyspaceOptions::checked).transpose()?;
        let (size, share) = (self.settings.segment_size, self.settings.compact_when_dead);
        if !(COMPACT_WHEN_DEAD_MIN..=COMPACT_WHEN_DEAD_MAX).contains(&share) {
            let bounds = format!("from {COMPACT_WHEN_DEAD_MIN} to {COMPACT_WHEN_DEAD_MAX}");
            return Err(Error::new(ErrorKind::Invalid, format!("compact_when_dead is {share}; it must be {bounds}")));
        }
        let compression = self.settings.archive_compression;
        if !compression.is_built_in() {
            let name = compression.name();
            let what =
                format!("archive_compression is {compression:?}; build zipcask with its feature `{name}` for that");
            return Err(Error::new(ErrorKind::Invalid, what));
        }
        if (SEGMENT_SIZE_MIN..=SEGMENT_SIZE_MAX).contains(&size) {
            self.settings.segment_size = size / SEGMENT_LEN_STEP * SEGMENT_LEN_STEP;
            return Ok(self);
        }
        Err(Error::new(
            ErrorKind::Invalid,
            format!("segment_size is {size}; it must be from {SEGMENT_SIZE_MIN} to {SEGMENT_SIZE_MAX}"),
        ))
    }
}

/// The directory, which is made if need be and wanted.
pub(super) fn disk_at(dir: &Path, create: bool) -> Result<Arc<dyn Disk>> {
    let disk = RealDisk::open(dir, create).map_err(|error| {
        let what = format!("cannot open {}", dir.display());
        match error.kind() {
            std::io::ErrorKind::NotFound if !create => {
                Error::io_as(ErrorKind::NotFound, store::open::none_in(dir), error)
            }
            std::io::ErrorKind::NotADirectory => Error::io_as(ErrorKind::Invalid, what, error),
            _ => Error::io(what, error),
        }
    })?;
    Ok(Arc::new(disk))
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("durability", &self.durability)
            .field("segment_size", &self.settings.segment_size)
            .field("read_mode", &self.settings.reading.mode)
            .field("verify_values", &self.settings.reading.verify)
            .field("background", &self.settings.background)
            .field("archive_compression", &self.settings.archive_compression)
            .field("create_if_missing", &self.settings.create_if_missing)
            .finish_non_exhaustive()
    }
}

/// What one put asks for beyond the store's options.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PutOptions {
    pub(crate) durability: Option<Durability>,
    pub(crate) ttl: Ttl,
}

/// How long a key is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Ttl {
    /// As its keyspace says.
    #[default]
    OfKeyspace,
    Lasting,
    Of(Duration),
    Until(WallTime),
}

impl PutOptions {
    /// As the store's options say.
    pub fn new() -> Self {
        PutOptions::default()
    }

    /// What this write waits for.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// How long the key is there: after that it is as if it had been deleted. No time at all is allowed, too. In milliseconds, rounded up, by the
    /// machine's clock. Default: what the keyspace says ([`KeyspaceOptions::default_ttl`]).
    ///
    /// One that would end later than 500 million years from now, `Duration::MAX` for one, is none: the key stays, as with [`PutOptions::no_ttl`].
    ///
    /// A [`Snapshot`](crate::Snapshot) or transaction that began before still has it, since they show the store as it was then; and
    /// [`Keyspace::len`](crate::Keyspace::len) says when it counts one less.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Ttl::Of(ttl);
        self
    }

    /// The moment from which on the key is no more, as [`Keyspace::expires_at`](crate::Keyspace::expires_at) tells it: instead of a `ttl`, for what is
    /// copied from elsewhere. One that has come already is allowed, too; more than 500 million years after 1970 is never.
    pub fn expires_at(mut self, time: WallTime) -> Self {
        self.ttl = Ttl::Until(time);
        self
    }

    /// The key is there until it is deleted, whatever the keyspace says.
    pub fn no_ttl(mut self) -> Self {
        self.ttl = Ttl::Lasting;
        self
    }
}
