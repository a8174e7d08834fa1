//! What looks before it writes: snapshots, transactions, changes that rest on what a key was.
//!
//! Floor 5. Imports `commit`, `error`, `platform`, `store`.
//!
//! Nobody is locked out meanwhile. What was seen goes along with the writes, and the leader of their group, behind everybody else's
//! writes, finds it unchanged, or refuses them (`commit::validate`).

pub(crate) mod change;
pub(crate) mod moment;
pub(crate) mod pending;
pub(crate) mod pending_range;
pub(crate) mod range;

use crate::commit;
use crate::commit::batch::{Member, Records, Rule};
use crate::commit::group::Done;
use crate::commit::queue::Queue;
use crate::error::Result;
use crate::platform::Barrier;
use crate::store::Store;

/// Where writes go, and what they wait for.
#[derive(Clone, Copy)]
pub(crate) struct Writing<'a> {
    pub(crate) store: &'a Store,
    pub(crate) queue: &'a Queue,
    pub(crate) barrier: Option<Barrier>,
}

impl Writing<'_> {
    /// Writes the records, if all that they require holds.
    fn commit(self, records: Records) -> Result<Done> {
        let member = Member { records, rule: Rule::Always, barrier: self.barrier, seal: false };
        commit::commit(self.store, self.queue, member)
    }

    /// An answer that has nothing to write rests on writes of others, which are made as durable as was asked for.
    fn rest(self) -> Result<()> {
        match self.barrier {
            Some(_) => self.commit(Records::new()).map(drop),
            None => Ok(()),
        }
    }
}
