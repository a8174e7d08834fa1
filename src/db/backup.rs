//! Backup and restore.
//!
//! Floor 6. Imports `address`, `backup`, `compact`, `db`, `error`, `platform`, `store`, `sync`.

use std::path::Path;

use crate::address::Seqno;
use crate::backup::{self, BackupReport, RestoreReport};
use crate::compact::pace::Pace;
use crate::db::Db;
use crate::db::options::disk_at;
use crate::error::Result;
use crate::platform::Disk;
use crate::store::Settings;
use crate::store::open::open_read_only;
use crate::sync::Arc;

impl Db {
    /// Makes a copy of the store in `dir`, or brings the one that an earlier backup left there up to date. Reads and writes go on meanwhile;
    /// compactions wait.
    ///
    /// The copy is a store as of one moment: all that was acknowledged before the call, and each batch whole. It can be opened for reading
    /// beside later backups into it; once it was opened for writing it goes its own way, and takes no backup any more.
    ///
    /// Where `dir` is on the same file system, sealed segments, archives and large values, which never change, get a second name there instead of
    /// a copy: that takes no room and hardly any time, and saves nobody from a failing disk. Elsewhere their bytes are copied, as they
    /// are: [`Db::verify`] on the copy tells of damage.
    ///
    /// The log is sealed first, as by [`Db::seal`]. At any moment the copy opens as what it was before or as what it is to be; a
    /// first one that was cut short is no store, and another backup into the same directory finishes it.
    ///
    /// # Errors
    /// `Invalid` if `dir` holds anything but a backup of this store: nothing was touched then, and an empty directory will do. `Locked` if
    /// somebody has the copy open for writing. `NoSpace`, `Io`: the copy is as it was. As [`Db::seal`].
    pub fn backup(&self, dir: impl AsRef<Path>) -> Result<BackupReport> {
        self.default.shared.writable_store()?;
        self.backup_on(&disk_at(dir.as_ref(), true)?)
    }

    /// The same onto any disk.
    pub(crate) fn backup_on(&self, target: &Arc<dyn Disk>) -> Result<BackupReport> {
        let shared = &self.default.shared;
        let store = shared.writable_store()?;
        let pace = Pace::new(store.disk().clock(), shared.compactor.stop());
        backup::run(store, target, || self.seal(), &|bytes| pace.work(bytes))
    }

    /// Copies the store in `backup`, which may be any that nobody writes, into the directory `dir`, which is empty or is made.
    ///
    /// With `at` it is the store as it was once that write was done, or the last batch that ended before: the log is copied that far. Of
    /// what a compaction has rewritten, older states are gone.
    ///
    /// The restored store shares no file with the backup. Opened for writing, it goes its own way: a backup of it needs a directory of its own.
    ///
    /// # Errors
    /// `Invalid`, and nothing was written, if `dir` is not empty, or if the store cannot be had as of `at`: the error says of which
    /// writes it can. `NotFound` if there is no store; `Corruption` if it cannot be read; `NoSpace`, `Io`: `dir` holds no store then.
    pub fn restore(backup: impl AsRef<Path>, dir: impl AsRef<Path>, at: Option<Seqno>) -> Result<RestoreReport> {
        let source = disk_at(backup.as_ref(), false)?;
        Db::restore_from(source, || disk_at(dir.as_ref(), true), at)
    }

    /// The same on any disks.
    #[cfg(feature = "sim")]
    pub(crate) fn restore_on(
        backup: Arc<dyn Disk>,
        target: &Arc<dyn Disk>,
        at: Option<Seqno>,
    ) -> Result<RestoreReport> {
        Db::restore_from(backup, || Ok(Arc::clone(target)), at)
    }

    fn restore_from(
        backup: Arc<dyn Disk>,
        target: impl FnOnce() -> Result<Arc<dyn Disk>>,
        at: Option<Seqno>,
    ) -> Result<RestoreReport> {
        let store = open_read_only(backup, Settings::default())?;
        backup::restore(&store, target, at)
    }
}
