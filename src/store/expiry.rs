//! Keys whose time has come: counted, and taken out of the index once nobody can ask for them any more.
//!
//! Floor 3. Imports `address`, `index`, `limits`, `reclaim`, `store`.
//!
//! E1: whether a key has expired is said by its record and the time of day, whenever it is looked for; nothing is written for it. The time goes back only where the clock was
//! ahead by more than a minute, and is set right. E2: what
//! expired leaves the index, and with that its room comes back, only after a grace: a clock that was ahead for less than that, and is set right
//! again, leaves no trace. A snapshot keeps its time: nothing leaves while one is open.

use crate::address::Location;
use crate::index::table::Probe;
use crate::limits::{EXPIRY_GRACE_MS, INDEXED_AT_ONCE};
use crate::reclaim::pin::Pin;
use crate::store::space::Space;
use crate::store::{Store, apply, read};

impl Store {
    /// When what is put without a time of its own is no more, in milliseconds since 1970; never, where that is later than a record can say.
    pub(crate) fn default_expiry(&self, space: &Space) -> Option<u64> {
        space.options().default_ttl_ms.and_then(|ttl| self.now_ms().checked_add(ttl))
    }

    /// Looks through all keyspaces whose keys may expire.
    pub(crate) fn sweep_expired(&self) {
        for space in self.spaces().all() {
            if space.may_expire() {
                self.sweep(&space);
            }
        }
    }

    fn sweep(&self, space: &Space) {
        let now = self.now_ms();
        let (mut expired, mut expiring, mut gone) = (0, false, Vec::new());
        space.whole_table().walk(|locations, pin| {
            for location in locations {
                let Some((segment, offset)) = read::resolve(self.registry(), *location, pin) else { continue };
                let Ok(Some(expiry)) = segment.expiry(offset) else { continue };
                expiring = true;
                expired += u64::from(expiry <= now);
                if expiry.saturating_add(EXPIRY_GRACE_MS) <= now {
                    gone.push(*location);
                }
            }
            true
        });
        space.note_expired(expired, now, expiring);
        for some in gone.chunks(INDEXED_AT_ONCE) {
            self.remove_expired(space, some);
        }
    }

    /// Takes what lies at these places out of the index, where that says them still, unless a snapshot may show it.
    fn remove_expired(&self, space: &Space, places: &[Location]) {
        // Nobody else inserts or removes meanwhile, and no snapshot is at a moment of before.
        let _log = self.log();
        let publication = self.begin_publication();
        if self.is_read_only() || publication.shown().is_some() {
            return;
        }
        for at in places {
            let pin = Pin::new();
            let Some((segment, offset)) = read::resolve(self.registry(), *at, &pin) else { continue };
            let Ok(key) = segment.key(offset) else { continue };
            let same = |found| if found == *at { Probe::Same(()) } else { Probe::Other };
            apply::index_delete_by(self.registry(), self.large(), space, self.hash(&key), same);
        }
    }
}
