//! Those who wait for one write, until they are told what became of it.
//!
//! Floor 4. Imports `error`, `model`, `sync`.

use crate::error::Result;
use crate::model::{self, Flaw};
use crate::sync::plain::{AtomicBool, Ordering};
use crate::sync::{Arc, Condvar, Mutex, MutexGuard};

/// How often one who expects news soon looks for them before sleeping: a few microseconds, less than it takes to be woken.
const LOOKS: u32 = if cfg!(any(zipcask_loom, zipcask_shuttle)) { 0 } else { 100 };

/// What became of a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Done {
    /// Written, the last of its records as this seqno; without records, the last seqno that its barrier covered.
    Written(u64),
    /// Its rule did not hold, and nothing was written.
    NotPresent,
    /// One of its conditions did not hold, and nothing was written.
    Conflict,
}

/// Those who wait for one write.
#[derive(Debug)]
pub(super) struct Group {
    progress: Mutex<Progress>,
    wake: Condvar,
    /// Only a hint: that it pays to look at `progress`.
    news: AtomicBool,
}

#[derive(Debug)]
struct Progress {
    stage: Stage,
    /// Members that sleep: a wake is a system call, even where nobody does.
    sleepers: usize,
}

#[derive(Debug)]
enum Stage {
    Waiting,
    /// One of its members is to lead it.
    Lead,
    /// By member.
    Done(Vec<Result<Done>>),
}

impl Group {
    pub(super) fn new() -> Arc<Group> {
        let progress = Progress { stage: Stage::Waiting, sleepers: 0 };
        Arc::new(Group { progress: Mutex::new(progress), wake: Condvar::new(), news: AtomicBool::new(false) })
    }

    /// Waits until the group is written (false) or needs this member to lead it (true). Stays awake for a moment if that
    /// is expected `soon`.
    pub(super) fn outlast(&self, soon: bool) -> bool {
        let mut looks = if soon { LOOKS } else { 0 };
        while looks > 0 && !self.news.load(Ordering::Relaxed) {
            std::hint::spin_loop();
            looks -= 1;
        }
        let mut progress = self.lock();
        loop {
            match &progress.stage {
                Stage::Done(_) => return false,
                Stage::Lead => {
                    progress.stage = Stage::Waiting;
                    self.news.store(false, Ordering::Relaxed);
                    return true;
                }
                Stage::Waiting => {
                    progress.sleepers += 1;
                    progress = self.wake.wait(progress).unwrap_or_else(|poisoned| poisoned.into_inner());
                    progress.sleepers -= 1;
                }
            }
        }
    }

    /// Has one of those who wait lead.
    pub(super) fn pass_lead(&self) {
        let mut progress = self.lock();
        progress.stage = Stage::Lead;
        self.news.store(true, Ordering::Relaxed);
        let wake = progress.sleepers > 0 && !model::planted(Flaw::LeaderNotWoken);
        drop(progress);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Tells all members what became of them.
    pub(super) fn finish(&self, outcomes: Vec<Result<Done>>) {
        let mut progress = self.lock();
        progress.stage = Stage::Done(outcomes);
        self.news.store(true, Ordering::Relaxed);
        let wake = progress.sleepers > 0;
        drop(progress);
        if wake {
            self.wake.notify_all();
        }
    }

    /// What became of a member; the group was written.
    ///
    /// # Errors
    /// What the leader said of it.
    pub(super) fn outcome(&self, member: usize) -> Result<Done> {
        match &self.lock().stage {
            Stage::Done(outcomes) => outcomes[member].clone(),
            _ => unreachable!("Q2: the group was written before `outlast` or `lead` returned"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
mod tests {
    use super::{Done, Group};

    #[test]
    fn a_member_leads_where_it_is_asked_to_and_else_hears_what_became_of_it() {
        let group = Group::new();
        group.pass_lead();
        assert!(group.outlast(false));
        group.pass_lead();
        assert!(group.outlast(true), "soon");
        group.finish(vec![Ok(Done::Written(7)), Ok(Done::Conflict)]);
        assert!(!group.outlast(false) && !group.outlast(true));
        assert_eq!([0, 1].map(|member| group.outcome(member).unwrap()), [Done::Written(7), Done::Conflict]);
    }
}
