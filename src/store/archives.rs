//! The archives of an open store, and the right to run a job on its files.
//!
//! Floor 3. Imports `address`, `store`, `sync`.

use crate::address::{ArchiveId, SegmentId, Seqno};
use crate::store::archived::Archive;
use crate::sync::Arc;
use crate::sync::plain::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, PoisonError};

/// An archive whose segments the registry has.
#[derive(Debug)]
pub(crate) struct Adopted {
    pub(crate) id: ArchiveId,
    /// In the store's directory.
    pub(crate) name: String,
    /// Bytes of the file.
    pub(crate) len: u64,
    /// The ids of the segments whose place it takes, first and last, and the seqnos of what was written to them.
    pub(crate) covers: (SegmentId, SegmentId),
    pub(crate) seqnos: (Seqno, Seqno),
    /// Where the registry has its segments.
    pub(crate) places: Vec<u64>,
    /// Whether what it replaced is gone for good: before that it must not be replaced itself.
    settled: AtomicBool,
}

impl Adopted {
    pub(crate) fn new(archive: &Archive, places: Vec<u64>) -> Adopted {
        Adopted {
            id: archive.id,
            name: archive.name.clone(),
            len: archive.len,
            covers: archive.covers,
            seqnos: archive.seqnos(),
            places,
            settled: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
    }

    pub(crate) fn settle(&self) {
        self.settled.store(true, Ordering::Relaxed);
    }
}

/// All archives of a store.
#[derive(Debug)]
pub(crate) struct Archives {
    all: Mutex<Vec<Arc<Adopted>>>,
    /// Held by whoever runs a job: one at a time. The id of the next archive; `None` once no job may run any more.
    jobs: Mutex<Option<ArchiveId>>,
    /// How many wait for it who are to have it before the next job.
    wanted: AtomicU64,
    stuck: AtomicBool,
    /// How often these have changed.
    changes: AtomicU64,
}

impl Archives {
    pub(crate) fn new(all: Vec<Adopted>, next: ArchiveId) -> Archives {
        Archives {
            all: Mutex::new(all.into_iter().map(Arc::new).collect()),
            jobs: Mutex::new(Some(next)),
            wanted: AtomicU64::new(0),
            stuck: AtomicBool::new(false),
            changes: AtomicU64::new(0),
        }
    }

    /// How often the archives have changed: no file with records has gone while this stays what it is.
    pub(crate) fn changes(&self) -> u64 {
        let _all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        self.changes.load(Ordering::Relaxed)
    }

    /// The right to run jobs, and the id that the next archive gets.
    pub(crate) fn jobs(&self) -> MutexGuard<'_, Option<ArchiveId>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, ahead of jobs that are to follow the one under way: those may go on as long as there is something to do.
    pub(crate) fn jobs_first(&self) -> MutexGuard<'_, Option<ArchiveId>> {
        self.wanted.fetch_add(1, Ordering::Relaxed);
        let jobs = self.jobs();
        self.wanted.fetch_sub(1, Ordering::Relaxed);
        jobs
    }

    /// Whether somebody waits for the right who is to have it before the next job.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) > 0
    }

    /// Whether jobs may still run, or could until nobody else may: then the files are what they should be.
    pub(crate) fn may_run(&self) -> bool {
        !self.stuck.load(Ordering::Relaxed)
    }

    /// Ends all jobs, since it is unknown which files an open would count.
    pub(crate) fn get_stuck(&self) {
        self.stuck.store(true, Ordering::Relaxed);
    }

    /// In the order of their records' age.
    pub(crate) fn all(&self) -> Vec<Arc<Adopted>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether this one still counts.
    pub(crate) fn has(&self, id: ArchiveId) -> bool {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|archive| archive.id == id)
    }

    /// Forgets them all: they are to be found anew.
    pub(crate) fn clear(&self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        self.changes.fetch_add(1, Ordering::Relaxed);
        all.clear();
    }

    /// Puts `new` in the place of the archives that it replaces.
    pub(crate) fn replace(&self, new: Arc<Adopted>, replaced: &[ArchiveId]) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        self.changes.fetch_add(1, Ordering::Relaxed);
        all.retain(|archive| !replaced.contains(&archive.id));
        let at = all.partition_point(|archive| archive.covers < new.covers);
        all.insert(at, new);
    }
}
