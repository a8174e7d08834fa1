//! A moment of the store that somebody looks at.
//!
//! Floor 5. Imports `address`, `error`, `platform`, `segment`, `store`, `sync`.

use crate::address::Seqno;
use crate::error::{Error, ErrorKind, Result};
use crate::platform::fork::ForkGuard;
use crate::segment::value::Value;
use crate::store::Store;
use crate::store::past::PastPass;
use crate::store::space::Space;
use crate::store::versions::Was;
use crate::sync::Arc;

/// A moment, and the right to see it for as long as this lives.
pub(crate) struct Moment {
    store: Arc<Store>,
    seqno: Seqno,
    /// Of which log.
    era: u64,
    /// The time of day then, in milliseconds since 1970.
    time_ms: u64,
    fork: ForkGuard,
}

impl Moment {
    /// Now. O(1), and stops nobody.
    ///
    /// # Errors
    /// On a store that is open for reading only that of a refresh that failed, until another one succeeds.
    pub(crate) fn now(store: &Arc<Store>) -> Result<Moment> {
        loop {
            // Before the moment: if it is a new one already, the moment waits for the end of the refresh that has begun it.
            let (time_ms, era) = (store.now_ms(), store.era());
            let moment =
                Moment { store: Arc::clone(store), seqno: store.open_moment()?, era, time_ms, fork: ForkGuard::new() };
            // Else a refresh began it meanwhile, and the moment may be of either.
            if store.era() == era {
                return Ok(moment);
            }
        }
    }

    /// The last write that it has.
    pub(crate) fn seqno(&self) -> Seqno {
        self.seqno
    }

    /// The time of day then, in milliseconds since 1970.
    pub(crate) fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// Whether it is one of this store.
    pub(crate) fn is_of(&self, store: &Arc<Store>) -> bool {
        Arc::ptr_eq(&self.store, store)
    }

    /// The key's value, and when its record was written, also if that had expired.
    ///
    /// # Errors
    /// `Corruption` if the record, or one that might be it, is damaged, or was when it was replaced; `Io`, `ResourceLimit`; `Forked`; `NotFound` as
    /// `check_era`.
    pub(crate) fn get(&self, space: &Space, key: &[u8]) -> Result<(Option<Value>, Option<Seqno>)> {
        let Some((was, seqno)) = self.was(space, key)? else { return Ok((None, None)) };
        let expired = self.store.has_expired(&was, self.time_ms)?;
        let value = if expired { None } else { Some(self.store.value_of(&was)?) };
        Ok((value, Some(seqno)))
    }

    /// Whether the key was there, and when its record was written.
    ///
    /// # Errors
    /// As `get`.
    pub(crate) fn look(&self, space: &Space, key: &[u8]) -> Result<(bool, Option<Seqno>)> {
        let Some((was, seqno)) = self.was(space, key)? else { return Ok((false, None)) };
        Ok((!self.store.has_expired(&was, self.time_ms)?, Some(seqno)))
    }

    fn was(&self, space: &Space, key: &[u8]) -> Result<Option<(Was, Seqno)>> {
        let found = self.store()?.was_at(space, key, self.seqno);
        self.check_era()?;
        found
    }

    /// # Errors
    /// `Forked`; `NotFound` as `check_era`.
    pub(crate) fn pass(&self, space: &Space) -> Result<PastPass> {
        let pass = self.store()?.pass_at(space, self.seqno, self.time_ms);
        self.check_era().map(|()| pass)
    }

    /// # Errors
    /// `Forked`.
    #[inline]
    pub(super) fn store(&self) -> Result<&Store> {
        if self.fork.forked() {
            return Err(Error::new(ErrorKind::Forked, "the snapshot was made before this process was forked"));
        }
        Ok(&self.store)
    }

    /// To be asked after what was found in the index: only then it is certain to be of this moment's log.
    ///
    /// # Errors
    /// `NotFound` if a follower has begun anew since (F5).
    #[inline]
    pub(super) fn check_era(&self) -> Result<()> {
        if self.store.era() == self.era { Ok(()) } else { Err(gone()) }
    }
}

#[cold]
fn gone() -> Error {
    let text = "what this snapshot shows is no more: the writer failed and lost its last writes, and its log went on without them; take another snapshot";
    Error::new(ErrorKind::NotFound, text)
}

impl Drop for Moment {
    fn drop(&mut self) {
        // The parent's locks are nobody's here.
        if !self.fork.forked() {
            self.store.close_moment(self.seqno);
        }
    }
}
