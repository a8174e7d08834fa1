#![doc = include_str!("../README.md")]
#![cfg_attr(any(zipcask_loom, zipcask_shuttle), allow(dead_code, reason = "models look at parts"))]

mod address;
mod backup;
mod commit;
mod compact;
mod db;
mod error;
mod format;
#[cfg(feature = "sim")]
mod fuzz;
mod index;
mod limits;
mod model;
mod platform;
mod prefetch;
mod reclaim;
mod sabotage;
mod segment;
mod store;
mod sync;
mod txn;
mod zipfile;

pub use crate::address::Seqno;
pub use crate::backup::{BackupReport, RestoreReport};
pub use crate::commit::durability::Durability;
pub use crate::compact::{CompactionReport, Decisions};
pub use crate::db::Db;
pub use crate::db::batch::Batch;
pub use crate::db::cursor::Cursor;
pub use crate::db::iter::Iter;
pub use crate::db::keyspace::Keyspace;
pub use crate::db::keyspaces::KeyspaceOptions;
pub use crate::db::options::{Options, PutOptions};
pub use crate::db::range::Range;
pub use crate::db::reader::Reader;
pub use crate::db::snapshot::Snapshot;
pub use crate::db::stats::{ArchiveReport, CursorStats, SegmentStats, Stats};
pub use crate::db::tail::{Change, Tail, TailBatch};
pub use crate::db::transaction::Transaction;
pub use crate::db::writer::PutWriter;
pub use crate::error::{Error, ErrorKind, Result};
pub use crate::format::compression::Compression;
pub use crate::segment::ReadMode;
pub use crate::segment::trust::Verify;
pub use crate::segment::value::Value;
pub use crate::store::recovery::RecoveryReport;
pub use crate::store::verify::{Problem, VerifyReport};
pub use crate::store::{Phase, Progress};

/// Archives without a store: what is in one ZIP file that a store has written.
///
/// ```
/// use zipcask::{Db, archive::Archive};
///
/// # fn main() -> zipcask::Result<()> {
/// # let dir = std::env::temp_dir().join(format!("zipcask-archive-{}", std::process::id()));
/// let db = Db::open(&dir)?;
/// db.put("apple", "red")?;
/// db.compact()?;
/// db.close()?;
///
/// let archive = Archive::open(dir.join("archives/0000000001.zip"))?;
/// assert_eq!(archive.get("apple")?.as_deref(), Some(&b"red"[..]));
/// assert_eq!(archive.iter().count(), 1);
/// assert!(archive.verify()?.is_clean());
/// # std::fs::remove_dir_all(dir).expect("nobody else has it");
/// # Ok(())
/// # }
/// ```
pub mod archive {
    pub use crate::inspect::archive::{Archive, Entry, Facts};
}

/// Tools for a directory that nobody has open, whatever became of it. They only read it.
///
/// ```
/// use zipcask::{Db, inspect};
///
/// # fn main() -> zipcask::Result<()> {
/// # let dir = std::env::temp_dir().join(format!("zipcask-inspect-{}", std::process::id()));
/// # let out = dir.with_extension("saved");
/// let db = Db::open(&dir)?;
/// db.put("apple", "red")?;
/// db.close()?;
///
/// assert!(inspect::verify(&dir)?.is_clean());
/// let report = inspect::salvage(&dir, &out)?;
/// assert!(report.is_complete());
/// assert_eq!(Db::open(&out)?.get("apple")?.unwrap(), b"red");
/// # std::fs::remove_dir_all(dir).expect("nobody else has it");
/// # std::fs::remove_dir_all(out).expect("nobody else has it");
/// # Ok(())
/// # }
/// ```
pub mod inspect {
    pub(crate) mod archive;
    mod archived;
    mod bytes;
    mod doctor;
    mod dump;
    mod newest;
    mod salvage;
    mod survey;
    mod verify;
    mod walk;

    pub use crate::inspect::doctor::{DoctorReport, doctor};
    pub use crate::inspect::dump::{Dump, Item, Record, What, dump};
    pub use crate::inspect::salvage::{DamagedKey, LostRange, SalvageReport, salvage};
    pub use crate::inspect::verify::verify;
}

/// The simulated disk and the bugs to plant, for the crash tests. Not part of the contract.
#[cfg(feature = "sim")]
#[doc(hidden)]
pub mod sim {
    /// What fuzzers look at.
    pub mod fuzz {
        pub use crate::fuzz::{checkpoint, hint, identity, manifest, name, open_archive, payload, records, sector};
    }

    pub use crate::platform::sim::Random;
    pub use crate::platform::sim::crash::{Images, Recording};
    pub use crate::platform::sim::disk::{FailedSync, SimDisk};
    pub use crate::platform::sim::fault::{Call, Fault, FaultDisk, Lasts, Written};
    pub use crate::platform::sim::file::SimFile;
    pub use crate::platform::{Access, Barrier, Clock, Disk, File, Lock, LockError, Mapping, PrivateMapping, Room};
    pub use crate::sabotage::{Sabotage, plant};

    use crate::sync::Arc;
    use crate::{BackupReport, Db, Options, RestoreReport, Result, Seqno};

    /// Opens a store on any disk, with segments of one small length.
    ///
    /// # Errors
    /// As [`Options::open`].
    pub fn open(options: Options, segment_bytes: u64, disk: Arc<dyn Disk>) -> Result<Db> {
        options.tiny_segments(segment_bytes).open_on(disk)
    }

    /// Opens a store on any disk for reading only.
    ///
    /// # Errors
    /// As [`Options::open_read_only`].
    pub fn open_read_only(options: Options, disk: Arc<dyn Disk>) -> Result<Db> {
        options.open_read_only_on(disk)
    }

    /// As [`Db::backup`], onto any disk.
    ///
    /// # Errors
    /// As [`Db::backup`].
    pub fn backup(db: &Db, target: &Arc<dyn Disk>) -> Result<BackupReport> {
        db.backup_on(target)
    }

    /// As [`Db::restore`], from and onto any disk.
    ///
    /// # Errors
    /// As [`Db::restore`].
    pub fn restore(backup: Arc<dyn Disk>, target: &Arc<dyn Disk>, at: Option<Seqno>) -> Result<RestoreReport> {
        Db::restore_on(backup, target, at)
    }

    /// What the thread for spare segments does, here and now: makes one for the next segment, unless there is one. Whether
    /// there is one afterwards.
    pub fn make_spare(db: &Db) -> bool {
        db.make_spare()
    }

    /// What the background does for the next open, here and now: gives hints to what was sealed.
    ///
    /// # Errors
    /// As the system says. Nothing is lost but a hint.
    pub fn make_hints(db: &Db) -> Result<()> {
        db.make_hints()
    }
}
