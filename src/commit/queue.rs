//! Where writers meet: they fill a shared group while its predecessor is written, and one of them leads.
//!
//! Floor 4. Imports `commit`, `error`, `limits`, `model`, `platform`, `sync`.
//!
//! There is no thread of the store's own. Whoever brings work and finds no leader leads: takes the group, writes it,
//! and hands the lead to a writer of the next group, if one has come together meanwhile. A lone writer waits for nobody.
//!
//! What a group costs and does is the `write` closure's; the queue knows nothing of disks, so that its models are small.

use crate::commit::batch::{Condition, Entry, Member, Rule};
use crate::commit::company::Company;
use crate::commit::group::{Done, Group};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::EXTENSION_LEN;
use crate::model::{self, Flaw};
use crate::platform::Barrier;
use crate::sync::{Arc, Condvar, Mutex, MutexGuard};

/// A buffer longer than this is not kept for the next group.
const KEPT_LEN_MAX: usize = 1 << 20;

/// Members one after the other, in the order of their tickets.
#[derive(Debug)]
pub(super) struct Work {
    /// All records, behind room for the horizon that the first one gets.
    pub(super) bytes: Vec<u8>,
    pub(super) entries: Vec<Entry>,
    pub(super) members: Vec<Share>,
    pub(super) conditions: Vec<Condition>,
}

/// The group that is being filled, so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filling {
    pub(super) members: usize,
    /// The most demanding of theirs.
    pub(super) barrier: Option<Barrier>,
}

/// A member's share of the group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) entry_count: usize,
    pub(super) len: usize,
    /// Whether one record at least is more than a delete.
    pub(super) puts: bool,
    pub(super) rule: Rule,
    /// Of the group's conditions: the first, and how many.
    pub(super) conditions: (usize, usize),
    pub(super) barrier: Option<Barrier>,
    pub(super) seal: bool,
}

impl Default for Work {
    fn default() -> Self {
        Work { bytes: vec![0; EXTENSION_LEN], entries: Vec::new(), members: Vec::new(), conditions: Vec::new() }
    }
}

impl Share {
    /// Whether its records are written whatever there is.
    pub(super) fn always(&self) -> bool {
        self.rule == Rule::Always && self.conditions.1 == 0
    }
}

impl Work {
    pub(super) fn push(&mut self, member: &Member) {
        self.bytes.extend_from_slice(member.records.bytes());
        self.entries.extend_from_slice(member.records.entries());
        self.members.push(Share {
            entry_count: member.records.entries().len(),
            len: member.records.bytes().len(),
            puts: member.records.puts(),
            rule: member.rule,
            conditions: (self.conditions.len(), member.records.conditions().len()),
            barrier: member.barrier,
            seal: member.seal,
        });
        self.conditions.extend_from_slice(member.records.conditions());
    }

    /// What the most demanding member asked for.
    pub(super) fn level(&self) -> Option<Barrier> {
        self.members.iter().filter_map(|share| share.barrier).max()
    }

    /// Empties it, and gives back memory that only an unusual group needed.
    fn reset(&mut self) {
        if self.bytes.capacity() > KEPT_LEN_MAX {
            *self = Work::default();
        }
        self.bytes.truncate(EXTENSION_LEN);
        self.entries.clear();
        self.members.clear();
        self.conditions.clear();
    }
}

/// The queue of a store's writers.
///
/// Invariant Q1: at most one thread leads, so groups are written one after the other, in the order of their tickets.
/// Invariant Q2: a group's outcome is set once, by its leader, after `write` returned: nobody is told Ok before that.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Signalled when the queue is closed and nobody leads any more.
    idle: Condvar,
    pub(super) company: Company,
}

#[derive(Debug)]
struct State {
    /// The group that is being filled.
    filling: Work,
    group: Arc<Group>,
    /// The buffers of the group before, for the next one.
    spare: Option<Work>,
    leading: bool,
    /// What the group that is being written waits for.
    barrier: Option<Barrier>,
    closed: bool,
}

/// A member's place in its group: what it waits on, or asks.
#[derive(Debug)]
pub(crate) struct Ticket {
    group: Arc<Group>,
    member: usize,
    leads: bool,
    /// Neither it nor who leads now asks for a barrier.
    soon: bool,
}

impl Queue {
    pub(crate) fn new() -> Queue {
        Queue {
            state: Mutex::new(State {
                filling: Work::default(),
                group: Group::new(),
                spare: None,
                leading: false,
                barrier: None,
                closed: false,
            }),
            idle: Condvar::new(),
            company: Company::default(),
        }
    }

    /// Takes a member in. Whoever does has to `wait` for the ticket: it may have to lead.
    ///
    /// # Errors
    /// `Closed` after `close`.
    pub(crate) fn submit(&self, member: &Member) -> Result<Ticket> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(Error::new(ErrorKind::Closed, "the store was closed"));
        }
        let leads = !state.leading || model::planted(Flaw::SecondLeader);
        let soon = state.barrier.or(member.barrier).is_none();
        let ticket = Ticket { group: Arc::clone(&state.group), member: state.filling.members.len(), leads, soon };
        state.filling.push(member);
        state.leading = true;
        Ok(ticket)
    }

    /// Waits until the ticket's group was written, or leads it: by `gather` while it is being filled, then by `write`.
    ///
    /// # Errors
    /// What `write` said of this member.
    pub(super) fn wait(
        &self,
        ticket: &Ticket,
        gather: impl FnOnce(),
        write: impl FnOnce(&mut Work) -> Vec<Result<Done>>,
    ) -> Result<Done> {
        if ticket.leads || ticket.group.outlast(ticket.soon) {
            gather();
            self.lead(write);
        }
        ticket.group.outcome(ticket.member)
    }

    pub(super) fn filling(&self) -> Filling {
        let filling = &lock(&self.state).filling;
        Filling { members: filling.members.len(), barrier: filling.level() }
    }

    /// Writes the group that is being filled, which is the caller's, and passes the lead on.
    fn lead(&self, write: impl FnOnce(&mut Work) -> Vec<Result<Done>>) {
        let (mut work, group) = {
            let mut state = lock(&self.state);
            let spare = state.spare.take().unwrap_or_default();
            state.barrier = state.filling.level();
            let next = if model::planted(Flaw::GroupNotSwapped) { Arc::clone(&state.group) } else { Group::new() };
            (std::mem::replace(&mut state.filling, spare), std::mem::replace(&mut state.group, next))
        };
        let relay = Relay { queue: self, group: &group, members: work.members.len() };
        if model::planted(Flaw::ToldBeforeWritten) {
            relay.finish(vec![Ok(Done::Written(0)); relay.members]);
        }
        let outcomes = write(&mut work);
        relay.finish(outcomes);
        std::mem::forget(relay);
        work.reset();
        self.pass_on(Some(work));
    }

    /// Hands the lead to a member of the next group, or lays it down.
    fn pass_on(&self, spare: Option<Work>) {
        let mut state = lock(&self.state);
        state.spare = spare;
        state.barrier = None;
        if state.filling.members.is_empty() {
            state.leading = false;
            if state.closed {
                self.idle.notify_all();
            }
            return;
        }
        let next = Arc::clone(&state.group);
        drop(state);
        next.pass_lead();
    }

    /// Refuses new members and waits until those taken in are done.
    ///
    /// Returns whether this call was the one that closed it.
    pub(crate) fn close(&self) -> bool {
        let mut state = lock(&self.state);
        let first = !state.closed;
        state.closed = true;
        while state.leading && !model::planted(Flaw::ClosedBesideLeader) {
            state = wait(&self.idle, state);
        }
        first
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }
}

/// Sees to it that a leader that panics leaves nobody waiting: its group gets an error, and the lead is passed on.
struct Relay<'a> {
    queue: &'a Queue,
    group: &'a Group,
    members: usize,
}

impl Relay<'_> {
    fn finish(&self, outcomes: Vec<Result<Done>>) {
        debug_assert_eq!(outcomes.len(), self.members);
        self.group.finish(outcomes);
    }
}

impl Drop for Relay<'_> {
    fn drop(&mut self) {
        let error = Error::new(ErrorKind::Poisoned, "the writer that led this group panicked");
        self.finish(vec![Err(error); self.members]);
        self.queue.pass_on(None);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(all(test, zipcask_loom))]
#[path = "../../loom-tests/queue.rs"]
mod loom_models;

#[cfg(test)]
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::{Queue, lock};
    use crate::commit::batch::{Member, Records, Rule};
    use crate::commit::group::Done;
    use crate::error::ErrorKind;
    use crate::platform::Barrier;
    use crate::sync::plain::{AtomicBool, Ordering, thread};

    fn member(barrier: Option<Barrier>) -> Member {
        Member { records: Records::new(), rule: Rule::Always, barrier, seal: false }
    }

    #[test]
    fn a_leader_that_panics_fails_its_group_and_leaves_nobody_waiting() {
        let queue = Queue::new();
        let [first, beside] = [(); 2].map(|()| queue.submit(&member(None)).unwrap());
        let mut next = None;
        let bug = |_: &mut _| {
            next = Some(queue.submit(&member(None)).unwrap());
            panic!("a bug of ours")
        };
        let led = catch_unwind(AssertUnwindSafe(|| queue.wait(&first, || (), bug)));
        assert!(led.is_err());
        assert_eq!(beside.group.outcome(beside.member).unwrap_err().kind(), ErrorKind::Poisoned);
        let next = queue.wait(&next.unwrap(), || (), |_| vec![Ok(Done::Written(1))]);
        assert_eq!(next.unwrap(), Done::Written(1), "one of the next group leads it");
        assert!(!lock(&queue.state).leading, "and then nobody does");
    }

    #[test]
    fn a_closed_queue_takes_nobody_in_and_only_one_has_closed_it() {
        let queue = Queue::new();
        assert!(!queue.is_closed() && queue.close());
        assert!(queue.is_closed() && !queue.close());
        assert_eq!(queue.submit(&member(None)).unwrap_err().kind(), ErrorKind::Closed);
    }

    #[test]
    fn a_group_that_is_filled_has_the_barrier_of_its_most_demanding_member() {
        let queue = Queue::new();
        let mut tickets = Vec::new();
        for (barrier, expected) in [
            (None, None),
            (Some(Barrier::Durable), Some(Barrier::Durable)),
            (Some(Barrier::Ordered), Some(Barrier::Durable)),
        ] {
            tickets.push(queue.submit(&member(barrier)).unwrap());
            let filling = queue.filling();
            assert_eq!((filling.members, filling.barrier), (tickets.len(), expected));
        }
        let members = |work: &mut super::Work| (1..=work.members.len() as u64).map(|n| Ok(Done::Written(n))).collect();
        assert_eq!(queue.wait(&tickets[0], || (), members).unwrap(), Done::Written(1));
        assert_eq!(tickets[2].group.outcome(2).unwrap(), Done::Written(3));
        assert_eq!((queue.filling().members, queue.filling().barrier), (0, None));
    }

    /// That it waits where it should is seen by the models for certain, and here mostly.
    #[test]
    fn who_closes_it_waits_until_nobody_leads() {
        let (queue, returned) = (Queue::new(), AtomicBool::new(false));
        thread::scope(|scope| {
            let ticket = queue.submit(&member(None)).unwrap();
            let write = |_: &mut _| {
                scope.spawn(|| {
                    assert!(queue.close());
                    returned.store(true, Ordering::Relaxed);
                });
                while !queue.is_closed() {
                    thread::yield_now();
                }
                for _ in 0..100 {
                    thread::yield_now();
                    assert!(!returned.load(Ordering::Relaxed), "beside a leader");
                }
                vec![Ok(Done::Written(1))]
            };
            assert_eq!(queue.wait(&ticket, || (), write).unwrap(), Done::Written(1));
        });
        assert!(returned.into_inner());
    }
}
