//! Several writes that are in the store whole or not at all.
//!
//! Floor 6. Imports `address`, `commit`, `db`, `error`, `sync`.

use std::fmt;

use crate::address::Seqno;
use crate::commit::batch::{Records, Rule};
use crate::commit::durability::Durability;
use crate::commit::large;
use crate::db::Shared;
use crate::db::keyspace::Keyspace;
use crate::db::options::PutOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::sync::Arc;

/// Several writes that are in the store whole or not at all, whatever crashes; later ones win over earlier ones.
///
/// Reads of single keys are not isolated from one another: while a batch is being committed, one `get` may see what it
/// wrote already and the next not yet. [`Keyspace::iter`](crate::Keyspace::iter) shows batches whole.
///
/// Nothing is in the store before [`Batch::commit`]; dropping it forgets it. Large values are written to files of their own at
/// once, which go again if it is dropped.
pub struct Batch {
    records: Records,
    // After the records: while a file is removed, the store is still locked.
    shared: Arc<Shared>,
    /// The most demanding of its writes asked for it.
    durability: Option<Durability>,
    /// Why a write could not be taken, for `commit` to return: none is taken after it.
    refused: Option<Error>,
}

impl Batch {
    pub(super) fn new(shared: &Arc<Shared>) -> Batch {
        Batch { shared: Arc::clone(shared), records: Records::new(), durability: None, refused: None }
    }

    /// Adds a put. What fails, writing a large value for one, is an error of `commit`, and nothing is added after it.
    pub fn put(&mut self, keyspace: impl AsRef<Keyspace>, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &mut Self {
        self.put_with(keyspace, key, value, PutOptions::new())
    }

    /// Like [`Batch::put`], with options of its own. A batch is committed with the strongest durability that any of its writes asks for, and no
    /// less than `commit` does.
    pub fn put_with(
        &mut self,
        keyspace: impl AsRef<Keyspace>,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: PutOptions,
    ) -> &mut Self {
        let (keyspace, key) = (keyspace.as_ref(), key.as_ref());
        if self.refused.is_some() {
            return self;
        }
        let added = self.check(keyspace).and_then(|()| keyspace.writable_store());
        let added = added
            .and_then(|store| large::put(store, &mut self.records, keyspace.to(store, options), key, value.as_ref()));
        let asked = options.durability.filter(|asked| Some(asked.barrier()) > self.durability.map(Durability::barrier));
        self.durability = asked.or(self.durability);
        self.note(added)
    }

    /// Adds a delete. One of a key that is not there is no error.
    pub fn delete(&mut self, keyspace: impl AsRef<Keyspace>, key: impl AsRef<[u8]>) -> &mut Self {
        let (keyspace, key) = (keyspace.as_ref(), key.as_ref());
        if self.refused.is_some() {
            return self;
        }
        let (id, hash) = (keyspace.space.id(), self.shared.store.hash(key));
        let there = self.check(keyspace).and_then(|()| keyspace.open_store().map(drop));
        let added = there.and_then(|()| self.records.delete(id, hash, key));
        self.note(added)
    }

    /// How many writes it has.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes all of it. Returns the seqno of its last write; of an empty batch the last of the store, which
    /// is then as durable as was asked for.
    ///
    /// # Errors
    /// As [`Keyspace::put`]; `TooLarge` if any of its writes was, or all together are beyond 1 GiB less 8 KiB, and `Invalid`
    /// if one was for another store: nothing is written then. What counts is encoded bytes, headers included: 24 for each
    /// write, its key and its value, each rounded up to a multiple of 8, and 8 for the whole. A large value counts as 32.
    pub fn commit(self) -> Result<Seqno> {
        let durability = self.shared.durability;
        self.commit_with(durability)
    }

    /// Like [`Batch::commit`], waiting for a durability of its own.
    ///
    /// # Errors
    /// As [`Batch::commit`].
    pub fn commit_with(self, durability: Durability) -> Result<Seqno> {
        let Batch { shared, records, durability: asked, refused } = self;
        let durability = asked.filter(|asked| asked.barrier() > durability.barrier()).unwrap_or(durability);
        shared.writable_store()?;
        if let Some(error) = refused {
            return Err(error);
        }
        if records.len() == 0 && durability.barrier().is_none() {
            return Ok(shared.store.watermark().visible());
        }
        shared.commit(records, Rule::Always, durability).map(|done| shared.seqno_of(done))
    }

    /// # Errors
    /// `Invalid` if the keyspace is another store's.
    fn check(&self, keyspace: &Keyspace) -> Result<()> {
        if Arc::ptr_eq(&self.shared, &keyspace.shared) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Invalid, "the batch is of one store, the keyspace of another"))
    }

    fn note(&mut self, added: Result<()>) -> &mut Self {
        self.refused = added.err();
        self
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("len", &self.len()).finish_non_exhaustive()
    }
}
