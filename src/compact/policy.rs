//! Which files are worth a job, and why.
//!
//! Floor 4. Imports nothing.
//!
//! Pure: figures in, a decision out.

use std::ops::Range;

/// Adjacent files that are small are merged once there are so many.
const MERGED_MIN: usize = 8;

/// What a decision rests on: one file of the store that is not being written. All of them, oldest first, make the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Candidate {
    /// Whether it is an archive.
    pub(crate) packed: bool,
    /// Whether it must stay: what it replaced is not gone for good, or it cannot be read.
    pub(crate) fixed: bool,
    /// Whether its records must stay as they are, for a consumer of the feed: it may be packed, and not rewritten.
    pub(crate) held: bool,
    /// Bytes of its records.
    pub(crate) used: u64,
    /// Bytes of those that the index points at, and of tombstones that are known to be needed.
    pub(crate) live: u64,
    /// Bytes of large values that only dead records name.
    pub(crate) dead_large: u64,
    /// Whether it has puts of an ordered keyspace that do not lie in the order of their keys.
    pub(crate) unsorted: bool,
}

/// What jobs are for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Goal {
    /// A file is rewritten if a larger share of its records is dead.
    pub(crate) dead_share: f64,
    /// A file with fewer bytes of records is small.
    pub(crate) small: u64,
    /// No job writes more, unless one file alone makes it.
    pub(crate) most: u64,
    /// Whether there was no space for a job: then the next writes as little as any can.
    pub(crate) lean: bool,
    /// Whether files are rewritten at all.
    pub(crate) rewrite: bool,
    /// Whether every segment is to be in an archive.
    pub(crate) pack: bool,
    /// Whether what is not sorted is rewritten.
    pub(crate) sort: bool,
}

/// Why a job runs, or none does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reason {
    /// So much of the files is dead, or they are not sorted.
    Dead,
    /// Many small files become one.
    Small,
    /// A segment is not in an archive yet, and was to be.
    Unpacked,
    /// Nothing is dead enough, and nothing else to be done.
    Nothing,
}

/// A job, or none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Decision {
    /// Of the candidates: adjacent ones. Empty for none.
    pub(crate) files: Range<usize>,
    /// Whether their live records are rewritten; else they are packed as they are.
    pub(crate) rewrite: bool,
    pub(crate) reason: Reason,
}

impl Candidate {
    fn dead(&self) -> u64 {
        self.used.saturating_sub(self.live).saturating_add(self.dead_large)
    }

    fn is_dirty(&self, goal: &Goal) -> bool {
        let is_dead = self.dead() as f64 > goal.dead_share * (self.used + self.dead_large) as f64;
        !self.fixed && !self.held && (is_dead || goal.sort && self.unsorted)
    }

    fn is_small(&self, goal: &Goal) -> bool {
        !self.fixed && !self.held && self.used < goal.small
    }
}

/// The next job. The oldest files come first: tombstones go once what they delete is gone.
pub(crate) fn decide(files: &[Candidate], goal: &Goal) -> Decision {
    let rewritten = |reason| move |files| Decision { files, rewrite: true, reason };
    let dirty = || {
        let run = if goal.lean { leanest(files, goal) } else { dirty_run(files, goal) };
        run.map(rewritten(Reason::Dead))
    };
    let small = || small_run(files, goal).map(rewritten(Reason::Small));
    let unpacked = || {
        let files = unpacked_run(files, goal)?;
        Some(Decision { files, rewrite: false, reason: Reason::Unpacked })
    };
    let chosen = match (goal.rewrite, goal.pack) {
        (true, true) => dirty().or_else(small).or_else(unpacked),
        (true, false) => dirty().or_else(small),
        (false, true) => unpacked(),
        (false, false) => None,
    };
    chosen.unwrap_or(Decision { files: 0..0, rewrite: false, reason: Reason::Nothing })
}

/// Dead bytes of the files that are dirty.
pub(crate) fn debt(files: &[Candidate], goal: &Goal) -> u64 {
    files.iter().filter(|file| file.is_dirty(goal)).map(Candidate::dead).sum()
}

/// The first dirty file, with the dirty and small ones around it.
fn dirty_run(files: &[Candidate], goal: &Goal) -> Option<Range<usize>> {
    let first = files.iter().position(|file| file.is_dirty(goal))?;
    let before = files[..first].iter().rev().take_while(|file| file.is_small(goal)).count();
    let joins = |file: &Candidate| file.is_dirty(goal) || file.is_small(goal);
    let run = extend(files, first - before, goal, joins);
    // A run of small files may be full before it gets there.
    Some(if run.contains(&first) { run } else { extend(files, first, goal, joins) })
}

/// The dirty file that leaves least to be written, alone.
fn leanest(files: &[Candidate], goal: &Goal) -> Option<Range<usize>> {
    let dirty = files.iter().enumerate().filter(|(_, file)| file.is_dirty(goal));
    let (at, _) = dirty.min_by_key(|(_, file)| file.live)?;
    Some(at..at + 1)
}

/// The first run of small files that is long enough.
fn small_run(files: &[Candidate], goal: &Goal) -> Option<Range<usize>> {
    let mut first = 0;
    while first < files.len() {
        let run = extend(files, first, goal, |file| file.is_small(goal));
        if run.len() >= MERGED_MIN {
            return Some(run);
        }
        first = run.end.max(first + 1);
    }
    None
}

/// The first segments that are in no archive.
fn unpacked_run(files: &[Candidate], goal: &Goal) -> Option<Range<usize>> {
    let first = files.iter().position(|file| !file.packed && !file.fixed)?;
    Some(extend(files, first, goal, |file| !file.packed && !file.fixed))
}

/// From `first` on, while `joins` says so and the job is not too large.
fn extend(files: &[Candidate], first: usize, goal: &Goal, joins: impl Fn(&Candidate) -> bool) -> Range<usize> {
    let mut sum = 0_u64;
    let count = files[first..].iter().take_while(|file| {
        let bytes = if goal.rewrite { file.live.min(file.used) } else { file.used };
        let fits = sum == 0 || sum.saturating_add(bytes) <= goal.most;
        sum = sum.saturating_add(bytes);
        joins(file) && fits
    });
    first..first + count.count()
}

#[cfg(test)]
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
mod tests {
    use super::{Candidate, Decision, Goal, Reason, debt, decide};

    const BACKGROUND: Goal =
        Goal { dead_share: 0.3, small: 100, most: 4000, lean: false, rewrite: true, pack: false, sort: false };
    const BY_HAND: Goal = Goal { dead_share: 0.05, pack: true, ..BACKGROUND };
    const PACK: Goal = Goal { rewrite: false, pack: true, ..BACKGROUND };

    fn segment(used: u64, live: u64) -> Candidate {
        Candidate { used, live, ..Candidate::default() }
    }

    fn archive(used: u64, live: u64) -> Candidate {
        Candidate { packed: true, ..segment(used, live) }
    }

    fn none() -> Decision {
        Decision { files: 0..0, rewrite: false, reason: Reason::Nothing }
    }

    #[test]
    fn nothing_is_done_without_a_reason() {
        assert_eq!(decide(&[], &BACKGROUND), none());
        assert_eq!(decide(&[segment(1000, 1000), archive(1000, 701)], &BACKGROUND), none());
        assert_eq!(decide(&[archive(1000, 960)], &BY_HAND), none());
        assert_eq!(decide(&[archive(1000, 0)], &PACK), none());
    }

    #[test]
    fn a_dirty_file_is_rewritten_with_its_dirty_and_small_neighbours() {
        let files = [segment(1000, 1000), segment(50, 50), segment(1000, 600), archive(1000, 0), archive(1000, 900)];
        let decision = Decision { files: 1..4, rewrite: true, reason: Reason::Dead };
        assert_eq!(decide(&files, &BACKGROUND), decision);
    }

    #[test]
    fn a_job_is_no_larger_than_it_may_be_but_for_a_single_file() {
        let files = [segment(3000, 2000); 5];
        assert_eq!(decide(&files, &BACKGROUND).files, 0..2);
        assert_eq!(decide(&[segment(90_000, 50_000), segment(3000, 2000)], &BACKGROUND).files, 0..1);
        assert_eq!(decide(&[segment(3000, 3000); 5], &PACK).files, 0..1);
    }

    #[test]
    fn a_dirty_file_behind_more_small_ones_than_fit_is_still_reached() {
        let mut files = vec![segment(99, 99); 60];
        files.push(segment(1000, 0));
        assert!(decide(&files, &Goal { most: 500, ..BACKGROUND }).files.contains(&60));
    }

    #[test]
    fn what_is_just_at_a_bound_is_not_beyond_it() {
        let large = |dead_large| Candidate { dead_large, ..segment(1000, 1000) };
        assert_eq!(decide(&[large(400)], &BACKGROUND), none(), "400 of 1400 are less than the share");
        assert_eq!(decide(&[large(500)], &BACKGROUND).files, 0..1, "500 of 1500 are more");
        assert_eq!((debt(&[large(400)], &BACKGROUND), debt(&[large(500)], &BACKGROUND)), (0, 500));
        assert_eq!(decide(&[segment(100, 100); 9], &BACKGROUND), none(), "a file of that size is not small");
        assert_eq!(decide(&[segment(99, 99); 8], &BACKGROUND).files, 0..8);
        assert_eq!(decide(&[segment(2000, 2000); 3], &PACK).files, 0..2, "a job may be as large as it may be");
        assert_eq!(decide(&[segment(2001, 2001); 3], &PACK).files, 0..1);
    }

    #[test]
    fn no_more_than_is_there_is_written_of_a_file_that_says_that_more_of_it_is_live() {
        let odd = Candidate { unsorted: true, ..segment(2000, u64::MAX) };
        let sort = Goal { sort: true, ..BACKGROUND };
        assert_eq!(decide(&[odd; 3], &sort).files, 0..2);
        assert_eq!(debt(&[odd], &sort), 0);
    }

    #[test]
    fn small_files_behind_ones_that_are_not_are_found_wherever_they_lie() {
        let mut files = vec![segment(1000, 1000), segment(10, 10), segment(1000, 1000), segment(1000, 1000)];
        files.extend([segment(10, 10); 8]);
        assert_eq!(decide(&files, &BACKGROUND), Decision { files: 4..12, rewrite: true, reason: Reason::Small });
    }

    #[test]
    fn many_small_files_become_one_and_few_do_not() {
        let mut files = vec![segment(1000, 1000)];
        files.resize(8, segment(10, 10));
        assert_eq!(decide(&files, &BACKGROUND), none());
        files.push(archive(10, 10));
        assert_eq!(decide(&files, &BACKGROUND), Decision { files: 1..9, rewrite: true, reason: Reason::Small });
    }

    #[test]
    fn by_hand_every_segment_ends_in_an_archive() {
        let files = [archive(1000, 1000), segment(1000, 1000), segment(1000, 990), archive(1000, 1000)];
        let decision = Decision { files: 1..3, rewrite: false, reason: Reason::Unpacked };
        assert_eq!(decide(&files, &BY_HAND), decision);
        assert_eq!(decide(&files, &PACK), decision);
    }

    #[test]
    fn where_there_is_no_space_what_takes_least_comes_first_and_alone() {
        let files = [segment(1000, 600), segment(1000, 10), segment(1000, 0), segment(1000, 20)];
        assert_eq!(decide(&files, &Goal { lean: true, ..BACKGROUND }).files, 2..3);
        assert_eq!(decide(&[segment(1000, 1000)], &Goal { lean: true, ..BACKGROUND }), none());
    }

    #[test]
    fn what_is_not_sorted_is_rewritten_where_that_is_asked_for() {
        let files = [archive(1000, 1000), Candidate { unsorted: true, ..segment(1000, 1000) }, segment(1000, 1000)];
        let sort = Goal { sort: true, ..BY_HAND };
        assert_eq!(decide(&files, &sort), Decision { files: 1..2, rewrite: true, reason: Reason::Dead });
        assert_eq!(decide(&files, &BY_HAND), Decision { files: 1..3, rewrite: false, reason: Reason::Unpacked });
    }

    #[test]
    fn debt_is_what_is_dead_in_files_that_a_job_would_take() {
        let fixed = Candidate { fixed: true, ..archive(1000, 0) };
        let files = [segment(1000, 1000), segment(1000, 700), archive(1000, 600), segment(1000, 0), fixed];
        assert_eq!(debt(&files, &BACKGROUND), 1400);
        assert_eq!(debt(&files, &BY_HAND), 1700);
    }

    #[test]
    fn what_is_held_is_packed_and_not_rewritten() {
        let held = Candidate { held: true, ..segment(1000, 0) };
        assert_eq!(decide(&[held], &BACKGROUND), none());
        assert_eq!(decide(&[held; 9], &Goal { small: 2000, ..BACKGROUND }), none());
        assert_eq!(decide(&[held], &BY_HAND), Decision { files: 0..1, rewrite: false, reason: Reason::Unpacked });
        assert_eq!(decide(&[segment(1000, 0), held, segment(1000, 0)], &BACKGROUND).files, 0..1);
        assert_eq!(debt(&[held], &BACKGROUND), 0);
    }

    #[test]
    fn what_must_stay_is_in_no_job() {
        let fixed = Candidate { fixed: true, ..archive(1000, 0) };
        assert_eq!(decide(&[fixed], &BACKGROUND), none());
        let files = [segment(1000, 0), fixed, segment(1000, 0)];
        assert_eq!(decide(&files, &BACKGROUND).files, 0..1);
    }
}
