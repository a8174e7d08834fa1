#![doc = include_str!("../README.md")]
#![allow(dead_code, reason = "parts of archives, hints and checkpoints stand before those that use them")]

mod address;
mod commit;
mod compact;
mod db;
mod error;
mod format;
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
mod zipfile;

pub use crate::address::Seqno;
pub use crate::commit::durability::Durability;
pub use crate::compact::{CompactionReport, Decisions};
pub use crate::db::Db;
pub use crate::db::batch::Batch;
pub use crate::db::iter::Iter;
pub use crate::db::keyspace::Keyspace;
pub use crate::db::options::{Options, PutOptions};
pub use crate::db::reader::Reader;
pub use crate::db::stats::{ArchiveReport, SegmentStats, Stats};
pub use crate::db::writer::PutWriter;
pub use crate::error::{Error, ErrorKind, Result};
pub use crate::segment::ReadMode;
pub use crate::segment::trust::Verify;
pub use crate::segment::value::Value;
pub use crate::store::recovery::RecoveryReport;
pub use crate::store::verify::{Problem, VerifyReport};
pub use crate::store::{Phase, Progress};

/// The simulated disk and the bugs to plant, for the crash tests. Not part of the contract.
#[cfg(feature = "sim")]
#[doc(hidden)]
pub mod sim {
    pub use crate::platform::sim::Random;
    pub use crate::platform::sim::crash::{Images, Recording};
    pub use crate::platform::sim::disk::{FailedSync, SimDisk};
    pub use crate::platform::sim::fault::{Call, Fault, FaultDisk, Lasts, Written};
    pub use crate::platform::sim::file::SimFile;
    pub use crate::platform::{Access, Barrier, Clock, Disk, File, Lock, LockError, Mapping, PrivateMapping, Room};
    pub use crate::sabotage::{Sabotage, plant};

    use crate::sync::Arc;
    use crate::{Db, Options, Result};

    /// Opens a store on any disk, with segments of one small length.
    ///
    /// # Errors
    /// As [`Options::open`].
    pub fn open(options: Options, segment_bytes: u64, disk: Arc<dyn Disk>) -> Result<Db> {
        options.tiny_segments(segment_bytes).open_on(disk)
    }

    /// What the thread for spare segments does, here and now: makes one for the next segment, unless there is one. Whether
    /// there is one afterwards.
    pub fn make_spare(db: &Db) -> bool {
        db.make_spare()
    }
}
