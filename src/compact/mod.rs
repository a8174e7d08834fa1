//! Getting space back: segments and archives become archives without their dead records.
//!
//! Floor 4. Imports `address`, `compact`, `error`, `format`, `limits`, `segment`, `store`, `sync`.
//!
//! - C1 a source goes once its copy is durable, was read back, has its name and is in the index; pins delay only the
//!   unmapping. `compact::job`, `store::superseded`
//! - C2 no key changes its meaning: what is left out has something newer and durable in its place. `compact::job`
//! - C3 a record moves if the index still says the old place, and keeps its seqno. `compact::swap`
//! - C4 a tombstone stays while an older file outside of the job may hold what it deletes. `compact::older`
//! - C5 memory is bounded, whatever the store's size; the segment that is being written is left alone. `compact::rewrite`
//! - C6 writers are never stopped, and the background rests as long as it works. `compact::pace`
//! - C7 each decision, not to run too, is counted with its reason. `compact::policy`
//! - C8 a job takes files that are neighbours in age, so that files' seqnos never interleave. `compact::policy`

mod job;
mod older;
pub(crate) mod pace;
mod pack;
pub(crate) mod policy;
mod rewrite;
mod swap;
pub(crate) mod worker;

use crate::address::{ArchiveId, SegmentId};
use crate::compact::job::{Job, Stuck};
use crate::compact::pace::Pace;
use crate::compact::policy::{Candidate, Goal, Reason, decide};
use crate::error::{Error, ErrorKind, Result};
use crate::format::segment::SegmentKind;
use crate::limits::{JOB_LEN_MAX, LIVE_PARTS, PACKED_LEN_MAX, PART_LEN_MIN};
use crate::segment::Segment;
use crate::store::unit::Unit;
use crate::store::{Store, hints};
use crate::sync::yield_now;

/// What jobs did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct CompactionReport {
    /// Archives written.
    pub archives: u64,
    /// Segments, in files of their own or in archives, whose place they took.
    pub segments: u64,
    /// Records in the archives.
    pub records: u64,
    /// Tombstones that went, since nothing is left that they delete.
    pub tombstones_dropped: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Bytes of the files that are gone.
    pub freed_bytes: u64,
    /// Files that were left alone because they are damaged: `verify` tells more.
    pub damaged: u64,
    /// Jobs by why they ran, and how often there was nothing to do.
    pub decisions: Decisions,
}

/// Decisions by their reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Decisions {
    /// Files with too many dead records.
    pub dead: u64,
    /// Many small files.
    pub small: u64,
    /// Segments that were in no archive.
    pub unpacked: u64,
    /// Nothing to do.
    pub nothing: u64,
    /// Jobs that failed, and left everything as it was.
    pub failed: u64,
}

impl Decisions {
    fn count(&mut self, reason: Reason) {
        *match reason {
            Reason::Dead => &mut self.dead,
            Reason::Small => &mut self.small,
            Reason::Unpacked => &mut self.unpacked,
            Reason::Nothing => &mut self.nothing,
        } += 1;
    }
}

impl CompactionReport {
    /// Counts another report in.
    pub(crate) fn add(&mut self, other: &CompactionReport) {
        self.archives += other.archives;
        self.segments += other.segments;
        self.records += other.records;
        self.tombstones_dropped += other.tombstones_dropped;
        self.written_bytes += other.written_bytes;
        self.freed_bytes += other.freed_bytes;
        self.damaged += other.damaged;
        self.decisions.dead += other.decisions.dead;
        self.decisions.small += other.decisions.small;
        self.decisions.unpacked += other.decisions.unpacked;
        self.decisions.nothing += other.decisions.nothing;
        self.decisions.failed += other.decisions.failed;
    }
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Task {
    /// Every sealed segment is to be in an archive.
    Archive,
    /// The same, and files with a larger share of dead records than this are rewritten.
    Compact(f64),
    /// Files with a larger share of dead records than this are rewritten, and many small ones merged.
    Background(f64),
}

impl Task {
    /// Up to which segment records of ordered keyspaces are to be sorted: what is sealed meanwhile is not, or there might be no end to it.
    fn sorts(self, store: &Store) -> Option<SegmentId> {
        let sorts = matches!(self, Task::Compact(_)) && !store.spaces().ordered().is_empty();
        store.units().last().map(|unit| unit.ids().1).filter(|_| sorts)
    }

    fn goal(self, store: &Store, candidates: &[Candidate]) -> Goal {
        let (rewrite, pack, dead_share) = match self {
            Task::Archive => (false, true, 1.0),
            Task::Compact(share) => (true, true, share),
            Task::Background(share) => (true, false, share),
        };
        let sort = matches!(self, Task::Compact(_)) && !store.spaces().ordered().is_empty();
        let segment = store.settings().segment_size;
        let part = (candidates.iter().map(|file| file.live).sum::<u64>() / LIVE_PARTS).max(PART_LEN_MIN);
        Goal {
            dead_share,
            small: segment.min(part) / 4,
            // The more is sorted at once, the fewer places a scan goes back and forth between.
            most: JOB_LEN_MAX.min(segment.saturating_mul(4)).min(if sort { u64::MAX } else { part }),
            lean: false,
            rewrite,
            pack,
            sort,
        }
    }
}

/// The background writes the index down once so many records are behind the last time.
const CHECKPOINT_BEHIND: u64 = 1 << 20;

const _: () = assert!(JOB_LEN_MAX >= PACKED_LEN_MAX);

/// Runs jobs until there is nothing more to do, one after the other; waits for those of others. Counts in `report` what was
/// done, whatever comes of it.
///
/// # Errors
/// `NoSpace`, `Closed`, `Poisoned`; `Io`. The store is as it was, but for the jobs that were done before.
pub(crate) fn run(store: &Store, task: Task, pace: &Pace<'_>, report: &mut CompactionReport) -> Result<()> {
    loop {
        let mut next = store.archives().jobs();
        store.sweep_expired();
        if run_all(store, task, pace, report, &mut next).inspect_err(|_| keep_index_up(store))? == Ran::All {
            keep_index_up(store);
            return Ok(());
        }
        drop(next);
        while store.archives().is_wanted() {
            yield_now();
        }
    }
}

/// What was copied, an open would have to read. Best effort: without it the next open takes longer.
fn keep_index_up(store: &Store) {
    if store.index_id() != [0; 16] {
        let _ = store.write_index_if_worth(store.spaces().len() / 8);
    }
}

/// Whether jobs ran as long as there was anything to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ran {
    All,
    /// Somebody else is to have the right to run jobs first.
    UntilWanted,
}

fn run_all(
    store: &Store,
    task: Task,
    pace: &Pace<'_>,
    report: &mut CompactionReport,
    next: &mut Option<ArchiveId>,
) -> Result<Ran> {
    let (mut lean, sorted) = (false, task.sorts(store));
    // Those that could not be read, by their first id: they stay as they are.
    let mut damaged = Vec::new();
    loop {
        pace.check()?;
        store.check_poison()?;
        if store.archives().is_wanted() {
            return Ok(Ran::UntilWanted);
        }
        let Some(id) = *next else { return Err(stuck(store)) };
        let units = store.units();
        let candidates = candidates(store, &units, &damaged, sorted);
        let decision = decide(&candidates, &Goal { lean, ..task.goal(store, &candidates) });
        pace.rest(rest(task, &candidates));
        report.decisions.count(decision.reason);
        if decision.files.is_empty() {
            return Ok(Ran::All);
        }
        let (first, end, rewrite) = (decision.files.start, decision.files.end, decision.rewrite);
        let job = Job { store, id, units: &units, first, end, rewrite, pace };
        *next = id.0.checked_add(1).map(ArchiveId);
        match job.run() {
            Ok(Ok(done)) => {
                report.archives += 1;
                store.note_moved(if rewrite { done.records } else { 0 });
                report.segments += done.segments;
                report.records += done.records;
                report.tombstones_dropped += done.tombstones_dropped;
                report.written_bytes += done.written;
                report.freed_bytes += if done.left.is_none() { done.freed } else { 0 };
                lean = false;
            }
            // A spare segment is room that a job may need more; and with less to write, one may do, and make room for the rest.
            Ok(Err(error)) if error.kind() == ErrorKind::NoSpace && (store.pool().give_up() || !lean) => {
                report.decisions.failed += 1;
                lean = true;
            }
            Ok(Err(error)) => {
                report.decisions.failed += 1;
                if error.damage().is_none() {
                    return Err(error);
                }
                let found = damaged.len();
                damaged
                    .extend(units[first..end].iter().filter(|unit| unit.is_damaged(&error)).map(|unit| unit.ids().0));
                if damaged.len() == found {
                    // What was damaged is the copy.
                    return Err(error);
                }
                report.damaged += (damaged.len() - found) as u64;
            }
            Err(Stuck(error)) => {
                report.decisions.failed += 1;
                *next = None;
                store.archives().get_stuck();
                return Err(for_good(error));
            }
        }
    }
}

/// An error that trying again does not help against.
fn for_good(error: Error) -> Error {
    match error.kind() {
        ErrorKind::NoSpace | ErrorKind::ResourceLimit => error.of_kind(ErrorKind::Io),
        _ => error,
    }
}

/// Writes the index down, once no job runs.
///
/// # Errors
/// `NoSpace`, `Io`, `Poisoned`.
pub(crate) fn checkpoint(store: &Store) -> Result<()> {
    let _jobs = store.archives().jobs();
    store.write_index().map(drop)
}

/// The same, once an open would have to read so many records that writing the index down is little beside them.
fn checkpoint_now_and_then(store: &Store) -> Result<()> {
    let _jobs = store.archives().jobs();
    store.write_index_if_worth(store.spaces().len().max(CHECKPOINT_BEHIND)).map(drop)
}

/// Writes the hints of what was sealed since the segment `seen` and that the written index does not have: those spare the next open
/// reading it. Never on a writer's way, and ended by a close as jobs are.
///
/// # Errors
/// As `hints::make`; what follows is left for the next call.
pub(crate) fn hint_sealed(store: &Store, pace: &Pace<'_>, seen: &mut SegmentId) -> Result<()> {
    let _jobs = store.archives().jobs();
    for unit in store.units() {
        let Unit::Segment([segment]) = &unit else { continue };
        if segment.id() <= *seen {
            continue;
        }
        *seen = segment.id();
        if !store.is_in_written_index(segment) {
            hints::make(store, segment, |len| pace.work(len))?;
        }
    }
    Ok(())
}

/// How long the background rests for the time that it works: as long, unless so much is dead that it falls behind.
fn rest(task: Task, files: &[Candidate]) -> f64 {
    let Task::Background(share) = task else { return 0.0 };
    let (used, live) = files.iter().fold((0, 0), |(used, live), file| (used + file.used, live + file.live));
    let dead = used.saturating_sub(live) as f64 / used.max(1) as f64;
    // All files together are less dead than the one that is worth a job, as long as jobs keep up.
    (2.0 - 2.0 * dead / share).clamp(0.0, 1.0)
}

/// The files as the policy sees them; whether those up to the segment `sorted` are, if that matters.
fn candidates(store: &Store, units: &[Unit], damaged: &[SegmentId], sorted: Option<SegmentId>) -> Vec<Candidate> {
    let ordered = store.spaces().ordered();
    let held_from = store.held_from();
    let is_sorted = |segment: &Segment| ordered.iter().all(|space| segment.is_sorted(space.id()));
    let candidate = |unit: &Unit| {
        let sum = |bytes: fn(&Segment) -> u64| unit.segments().iter().map(|s| bytes(s)).sum::<u64>();
        let archive = unit.archive();
        let is_held = |segment: &Segment| {
            segment.kind() == SegmentKind::Log && held_from.is_some_and(|from| segment.first_seqno() >= from)
        };
        Candidate {
            held: unit.segments().iter().any(|segment| is_held(segment)),
            packed: archive.is_some(),
            fixed: damaged.contains(&unit.ids().0) || archive.is_some_and(|archive| !archive.is_settled()),
            used: sum(|segment| segment.used_bytes()),
            live: sum(|segment| segment.live_bytes() + segment.needed_bytes()),
            dead_large: sum(|segment| segment.dead_large_bytes()),
            unsorted: sorted.is_some_and(|last| unit.ids().0 <= last)
                && !unit.segments().iter().all(|segment| is_sorted(segment)),
        }
    };
    units.iter().map(candidate).collect()
}

/// Dead bytes of the files that the background would rewrite.
pub(crate) fn debt(store: &Store) -> u64 {
    let task = Task::Background(store.settings().compact_when_dead);
    let candidates = candidates(store, &store.units(), &[], None);
    policy::debt(&candidates, &task.goal(store, &candidates))
}

/// Why no job may run any more.
fn stuck(store: &Store) -> Error {
    let dir = store.disk().path().display();
    let text = format!("a job failed while it gave an archive in {dir} its name; close the store and open it again");
    Error::new(ErrorKind::Io, text)
}
