//! Writing: batches, the queue that groups them, the leader that writes a group, rotation.
//!
//! Floor 4. Imports `commit`, `error`, `reclaim`, `store`.

pub(crate) mod batch;
mod company;
pub(crate) mod durability;
pub(crate) mod group;
pub(crate) mod large;
mod leader;
pub(crate) mod queue;
mod rotate;
mod validate;

use crate::commit::batch::Member;
use crate::commit::group::Done;
use crate::commit::queue::{Queue, Work};
use crate::error::Result;
use crate::reclaim::pin::Pin;
use crate::store::Store;
use crate::store::space::Finder;

/// Writes one member's records, together with whatever others bring meanwhile, and waits for what it asked for.
///
/// # Errors
/// `Closed`, `Poisoned`; `NoSpace` and `ResourceLimit` with the store as it was; `Io` after which it is poisoned.
pub(crate) fn commit(store: &Store, queue: &Queue, mut member: Member) -> Result<Done> {
    let files = large::name_files(store, &mut member.records)?;
    let done = write(store, queue, &member);
    if !matches!(done, Ok(Done::Written(_))) {
        large::take_back(store, &files);
    }
    done
}

/// `commit`, once the files are named that the records name.
fn write(store: &Store, queue: &Queue, member: &Member) -> Result<Done> {
    if let [entry] = member.records.entries() {
        // By the time that it leads, the place that it will change has come near.
        let pin = Pin::new();
        if let Some(space) = Finder::new(store.spaces()).get(entry.keyspace) {
            space.table(&pin).prefetch(entry.hash, &pin);
        }
    }
    let (ticket, clock) = (queue.submit(member)?, store.disk().clock());
    let gather = || {
        if queue.filling().barrier.is_some() {
            queue.company.gather(clock, || queue.filling().members);
        }
    };
    let write = |work: &mut Work| {
        let begun = work.level().map(|_| (work.members.len(), clock.monotonic_ns()));
        let outcomes = leader::write(store, work);
        if let Some((members, start)) = begun {
            queue.company.remember(members + queue.filling().members, clock.monotonic_ns().saturating_sub(start));
        }
        outcomes
    };
    queue.wait(&ticket, gather, write)
}

/// Ends all writing: waits for those under way, seals the log and unlocks the store. The second call does nothing.
///
/// # Errors
/// `Poisoned` after a failed write: then nothing is sealed, and the next open recovers. As the system says.
pub(crate) fn close(store: &Store, queue: &Queue) -> Result<()> {
    if !queue.close() {
        return Ok(());
    }
    let writable = store.check_poison().and_then(|()| store.check_lock());
    let sealed = writable.and_then(|()| rotate::seal(store, &mut store.log()));
    if sealed.is_ok() && store.archives().may_run() {
        // O5. Best effort: without it the next open takes longer.
        let _ = store.write_index_if_worth(0);
    }
    store.pool().close();
    store.news().end();
    store.unlock();
    sealed
}
