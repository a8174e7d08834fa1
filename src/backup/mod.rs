//! Copies of a store: made while it is open, brought up to date, put back.
//!
//! Floor 4. Imports `address`, `backup`, `error`, `platform`, `store`, `sync`.
//!
//! Every file of a store but the segment that is being written never changes again. So the log is sealed first, and then a
//! copy is the same files, by whatever means they get there.
//!
//! - B1 all that was acknowledged before is in the copy: the log is sealed behind it. A batch is in it whole: none spans
//!   segments. No job runs meanwhile, and none ran between the seal and the list of files, so that nothing was left out of an
//!   archive for a write that the copy lacks. `backup::plan`
//! - B2 at any moment the target opens as the last backup that was finished, or as this one, or not at all if there was none:
//!   what is brought does not count before one rename, and what goes does not count behind it. `store::pending`
//! - B3 a file has its final name only once it is durable; nothing is removed before the copy that does without it is durable.
//!   `backup::target`
//! - B4 nothing is touched in a directory that has anything but a copy of this store that nobody has written. `backup::there`
//!
//! Since the log is sealed first, no file of a copy is ever replaced by a longer one of the same name, and each can be a second name of the
//! store's. `PENDING` is there because no order of renames does: an archive may stand for segments that the copy never had, and lack
//! what newer ones replaced, so that many names must appear in one step. A copy gets a lineage of its own when it is opened for
//! writing, and not before: so a backup knows those that nobody has written. An archive says up to which write anything was left out
//! of it (`as_of`): as of an earlier one the store cannot be restored. Jobs give way between two of them, since they may go on for as long as
//! there is something to do.

mod plan;
mod target;
mod there;

use crate::address::Seqno;
use crate::backup::plan::Plan;
use crate::backup::target::Target;
use crate::backup::there::{Judged, LOCK_NAMES, There};
use crate::error::{Error, ErrorKind, Result};
use crate::platform::Disk;
use crate::store::{Store, failed, take_lock};
use crate::sync::Arc;

/// What a backup did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct BackupReport {
    /// The last write that is in the copy.
    pub seqno: Seqno,
    /// Files that the copy shares with the store: each is one file with two names, which takes no further room.
    pub linked_files: u64,
    /// Their bytes.
    pub linked_bytes: u64,
    /// Files whose bytes were copied.
    pub copied_files: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Files that were there already.
    pub kept_files: u64,
    /// Their bytes.
    pub kept_bytes: u64,
    /// Files of earlier backups whose place others have taken.
    pub removed_files: u64,
    /// Their bytes.
    pub removed_bytes: u64,
}

/// What a restore did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct RestoreReport {
    /// The last write that is in the restored store.
    pub seqno: Seqno,
    /// Files written.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Who is told of each piece that was copied, and may end the copying.
pub(crate) type Step<'a> = &'a dyn Fn(u64) -> Result<()>;

/// Brings `target` up to date with the store, whose log `seal` seals.
///
/// # Errors
/// `Invalid`, and nothing was touched, if `target` has anything but a copy of this store that nobody has written. `Locked` if somebody has
/// it open. As the system says; what was there before counts then, or else all of what was to come.
pub(crate) fn run(
    store: &Store,
    target: &Arc<dyn Disk>,
    seal: impl FnOnce() -> Result<()>,
    step: Step<'_>,
) -> Result<BackupReport> {
    There::look(&**target, store.identity())?;
    let _lock = take_lock(&**target)?;
    let there = There::look(&**target, store.identity())?;
    let jobs = store.archives().jobs_first();
    if jobs.is_none() {
        let text = format!(
            "a job of {} failed half-way, or the store was closed; open it again first",
            store.disk().path().display()
        );
        return Err(Error::new(ErrorKind::Io, text));
    }
    // B1. Under the right to run jobs: what one leaves out for something newer must not be newer than the seal.
    seal()?;
    let plan = Plan::of_sealed(store)?;
    let judged = there.judge(store, &**target, &plan)?;
    Target::new(store, &**target, &plan, step).update(&there, &judged)
}

/// Copies the store, which is open for reading only, into `target`, which is empty; as it was at `until`, if that is given.
///
/// # Errors
/// `Invalid`, and nothing was touched, if `target` is not empty, or the store cannot be had as of then. As the system says.
pub(crate) fn restore(
    store: &Store,
    target: impl FnOnce() -> Result<Arc<dyn Disk>>,
    until: Option<Seqno>,
) -> Result<RestoreReport> {
    let plan = Plan::until(store, until)?;
    let target = &*target()?;
    check_empty(target)?;
    let _lock = take_lock(target)?;
    check_empty(target)?;
    let there = There::look(target, store.identity())?;
    let done = Target::new(store, target, &plan, &|_| Ok(())).without_links().update(&there, &Judged::default())?;
    Ok(RestoreReport { seqno: plan.seqno, files: done.copied_files, bytes: done.copied_bytes })
}

/// # Errors
/// `Invalid` if there is anything but what a lock leaves.
fn check_empty(disk: &dyn Disk) -> Result<()> {
    let names = disk.list("").map_err(failed(disk, "list", ""))?;
    match names.iter().find(|name| !LOCK_NAMES.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let dir = disk.path().display();
            let text = format!("{dir} holds {name}: a store is restored into an empty directory");
            Err(Error::new(ErrorKind::Invalid, text))
        }
    }
}
