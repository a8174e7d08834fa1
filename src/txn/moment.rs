//! A moment of the store that somebody looks at.
//!
//! Floor 5. Imports `address`, `error`, `platform`, `segment`, `store`, `sync`.

use crate::address::Seqno;
use crate::error::{Error, ErrorKind, Result};
use crate::platform::fork::ForkGuard;
use crate::segment::value::Value;
use crate::store::Store;
use crate::store::past::PastPass;
use crate::sync::Arc;

/// A moment, and the right to see it for as long as this lives.
pub(crate) struct Moment {
    store: Arc<Store>,
    seqno: Seqno,
    fork: ForkGuard,
}

impl Moment {
    /// Now. O(1), and stops nobody.
    ///
    /// # Errors
    /// On a store that is open for reading only that of a refresh that failed, until another one succeeds.
    pub(crate) fn now(store: &Arc<Store>) -> Result<Moment> {
        Ok(Moment { store: Arc::clone(store), seqno: store.open_moment()?, fork: ForkGuard::new() })
    }

    /// The last write that it has.
    pub(crate) fn seqno(&self) -> Seqno {
        self.seqno
    }

    /// Whether it is one of this store.
    pub(crate) fn is_of(&self, store: &Arc<Store>) -> bool {
        Arc::ptr_eq(&self.store, store)
    }

    /// # Errors
    /// `Corruption` if the record, or one that might be it, is damaged, or was when it was replaced; `Io`, `ResourceLimit`; `Forked`.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<(Value, Seqno)>> {
        let found = self.store()?.was_at(key, self.seqno)?;
        found.map(|(was, seqno)| Ok((self.store.value_of(&was)?, seqno))).transpose()
    }

    /// When the key was written.
    ///
    /// # Errors
    /// As `get`.
    pub(crate) fn seqno_of(&self, key: &[u8]) -> Result<Option<Seqno>> {
        Ok(self.store()?.was_at(key, self.seqno)?.map(|(_, seqno)| seqno))
    }

    /// # Errors
    /// `Forked`.
    pub(crate) fn pass(&self) -> Result<PastPass> {
        Ok(self.store()?.pass_at(self.seqno))
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
}

impl Drop for Moment {
    fn drop(&mut self) {
        // The parent's locks are nobody's here.
        if !self.fork.forked() {
            self.store.close_moment(self.seqno);
        }
    }
}
