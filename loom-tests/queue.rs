//! Leader election, the hand-over between groups, failure and close, under every interleaving.
//!
//! The disk is a cell that only a leader may touch: two leaders at once (Q1) are a race that loom reports.

use crate::commit::batch::{Member, Records, Rule};
use crate::commit::group::Done;
use crate::commit::queue::{Queue, Work};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{self, Flaw};
use crate::sync::Arc;
use loom::{cell::UnsafeCell, thread};

/// How many members were written.
type Disk = UnsafeCell<u64>;

fn member() -> Member {
    Member { records: Records::new(), rule: Rule::Always, barrier: None, seal: false }
}

/// Writes a group: numbers its members in their order.
fn write(disk: &Disk, work: &mut Work) -> Vec<Result<Done>> {
    // SAFETY: only the leader comes here, and there is one at a time (Q1), which is what loom checks here.
    disk.with_mut(|written| unsafe {
        work.members
            .iter()
            .map(|_| {
                *written += 1;
                Ok(Done::Written(*written))
            })
            .collect()
    })
}

fn put(shared: &(Queue, Disk)) -> Result<Done> {
    let ticket = shared.0.submit(&member())?;
    shared.0.wait(&ticket, || (), |work| write(&shared.1, work))
}

fn shared() -> Arc<(Queue, Disk)> {
    Arc::new((Queue::new(), UnsafeCell::new(0)))
}

/// Q1, Q2: three writers are told their own numbers, and nobody sleeps on.
fn own_numbers(planted: Option<Flaw>) {
    model::plant(planted);
    loom::model(|| {
        let shared = shared();
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || put(&shared).unwrap())
            })
            .collect();
        let mut told = vec![put(&shared).unwrap()];
        told.extend(writers.into_iter().map(|writer| writer.join().unwrap()));
        told.sort_by_key(|done| matches!(done, Done::Written(number) if *number > 0).then_some(format!("{done:?}")));
        assert_eq!(told, [Done::Written(1), Done::Written(2), Done::Written(3)]);
    });
}

#[test]
fn every_writer_is_told_its_own_number_and_nobody_sleeps_on() {
    own_numbers(None);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_second_leader_is_caught() {
    own_numbers(Some(Flaw::SecondLeader));
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_leader_that_is_not_woken_is_caught() {
    own_numbers(Some(Flaw::LeaderNotWoken));
}

#[test]
#[should_panic]
fn joining_a_group_whose_buffer_is_gone_is_caught() {
    own_numbers(Some(Flaw::GroupNotSwapped));
}

/// No waiter is told Ok after its leader failed, and the next group has a leader of its own.
fn failed_group(planted: Option<Flaw>) {
    model::plant(planted);
    loom::model(|| {
        let shared = shared();
        let writer = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || fail_first(&shared))
        };
        let outcomes = [fail_first(&shared), writer.join().unwrap()];
        let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        assert!(failed >= 1, "the first group failed");
        for outcome in outcomes.into_iter().flatten() {
            assert!(matches!(outcome, Done::Written(number) if number > 1), "{outcome:?} was in the failed group");
        }
    });
}

#[test]
fn a_failed_group_fails_every_member_of_it() {
    failed_group(None);
}

#[test]
#[should_panic(expected = "was in the failed group")]
fn being_told_before_the_write_is_caught() {
    failed_group(Some(Flaw::ToldBeforeWritten));
}

/// Like `put`, but the first group that anyone writes fails.
fn fail_first(shared: &(Queue, Disk)) -> Result<Done> {
    let ticket = shared.0.submit(&member())?;
    shared.0.wait(
        &ticket,
        || (),
        |work| {
            let outcomes = write(&shared.1, work);
            if matches!(outcomes[0], Ok(Done::Written(1))) {
                let error = Error::new(ErrorKind::Io, "no barrier");
                return vec![Err(error); outcomes.len()];
            }
            outcomes
        },
    )
}

/// `close` returns only once what was taken in is written, and takes nothing in afterwards.
fn closed(planted: Option<Flaw>) {
    model::plant(planted);
    loom::model(|| {
        let shared = shared();
        let writer = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || put(&shared).is_ok())
        };
        assert!(shared.0.close());
        // SAFETY: after `close` nobody leads, which is what loom checks here.
        let written = shared.1.with(|written| unsafe { *written });
        assert_eq!(put(&shared).unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(writer.join().unwrap(), written == 1);
    });
}

#[test]
fn close_waits_for_writers_and_refuses_later_ones() {
    closed(None);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn closing_beside_a_leader_is_caught() {
    closed(Some(Flaw::ClosedBesideLeader));
}
