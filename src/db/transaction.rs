//! Reads and writes that count as one step.
//!
//! Floor 6. Imports `address`, `commit`, `db`, `error`, `segment`, `store`, `sync`, `txn`.

use std::fmt;
use std::ops::RangeBounds;

use crate::address::Seqno;
use crate::commit::durability::Durability;
use crate::db::Shared;
use crate::db::iter::Iter;
use crate::db::keyspace::Keyspace;
use crate::db::options::PutOptions;
use crate::db::range::{self, Range};
use crate::error::{Error, ErrorKind, Result};
use crate::segment::value::Value;
use crate::store::range::{ALL, Bounds};
use crate::sync::Arc;
use crate::txn::pending::Pending;

/// Reads and writes that count as one step: [`Db::begin`](crate::Db::begin), [`Db::transaction`](crate::Db::transaction).
///
/// It sees the store as it was when it began, keys included whose time has come since, and its own writes. Nothing is locked: [`Transaction::commit`] writes all of it or, if
/// anything that it read was changed meanwhile, nothing, and says `Conflict`. So transactions are serializable: what they did is what they would have
/// done one after the other. A key that it looked for and did not find, and everything that [`Transaction::iter`] could have shown, was read, too.
/// [`Db::transaction`](crate::Db::transaction) tries again by itself.
///
/// What it is to write is kept in memory. Dropping it rolls it back.
///
/// ```
/// # fn main() -> zipcask::Result<()> {
/// let db = zipcask::Options::new().open_in_memory()?;
/// db.put("stock", "1")?;
/// let mut transaction = db.begin();
/// if transaction.get(&db, "stock")?.is_some() {
///     transaction.delete(&db, "stock")?;
///     transaction.put(&db, "sold", "1")?;
/// }
/// transaction.commit()?;
/// assert!(!db.contains_key("stock")?);
/// # Ok(())
/// # }
/// ```
pub struct Transaction {
    /// Or why there is none.
    pending: std::result::Result<Pending, Error>,
    /// The most demanding of its writes asked for it.
    durability: Durability,
    // After what is pending: while that goes, the store is still locked.
    shared: Arc<Shared>,
}

impl Transaction {
    pub(super) fn new(shared: &Arc<Shared>) -> Transaction {
        let pending = shared.writable_store().and_then(Pending::begin);
        Transaction { pending, durability: shared.durability, shared: Arc::clone(shared) }
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// As [`Snapshot::get`](crate::Snapshot::get).
    pub fn get(&self, keyspace: impl AsRef<Keyspace>, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        let keyspace = keyspace.as_ref();
        let found = self.pending(keyspace)?.get(&keyspace.space, key.as_ref())?;
        Ok(found.map(|value| value.aligned_to(keyspace.space.align())))
    }

    /// Whether `key` is there.
    ///
    /// # Errors
    /// As [`Snapshot::get`](crate::Snapshot::get).
    pub fn contains_key(&self, keyspace: impl AsRef<Keyspace>, key: impl AsRef<[u8]>) -> Result<bool> {
        let keyspace = keyspace.as_ref();
        self.pending(keyspace)?.contains_key(&keyspace.space, key.as_ref())
    }

    /// Has `value` written under `key`.
    ///
    /// # Errors
    /// `TooLarge`; `Invalid` if the keyspace is of another store, `NotFound` if it was dropped; `ReadOnly`, `Closed`, `Forked`.
    pub fn put(
        &mut self,
        keyspace: impl AsRef<Keyspace>,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<()> {
        self.put_with(keyspace, key, value, PutOptions::new())
    }

    /// Like [`Transaction::put`], with options of its own. A transaction is committed with the strongest durability that
    /// any of its writes asks for, and no less than the store's.
    ///
    /// # Errors
    /// As [`Transaction::put`].
    pub fn put_with(
        &mut self,
        keyspace: impl AsRef<Keyspace>,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: PutOptions,
    ) -> Result<()> {
        let keyspace = keyspace.as_ref();
        let expiry = keyspace.to(&self.shared.store, options).expiry;
        self.pending_mut(keyspace)?.put(&keyspace.space, key.as_ref(), value.as_ref(), expiry)?;
        if let Some(asked) = options.durability
            && asked.barrier() > self.durability.barrier()
        {
            self.durability = asked;
        }
        Ok(())
    }

    /// Has `key` removed, and says whether it is there.
    ///
    /// # Errors
    /// As [`Transaction::put`] and [`Transaction::get`].
    pub fn delete(&mut self, keyspace: impl AsRef<Keyspace>, key: impl AsRef<[u8]>) -> Result<bool> {
        let keyspace = keyspace.as_ref();
        self.pending_mut(keyspace)?.delete(&keyspace.space, key.as_ref())
    }

    /// Every key with its value, each once, as of this call: in the order of the keys if the keyspace is ordered, else in none.
    ///
    /// Whatever is written to the keyspace after the transaction began is a conflict from here on.
    pub fn iter(&self, keyspace: impl AsRef<Keyspace>) -> Iter {
        let keyspace = keyspace.as_ref();
        if keyspace.is_ordered() {
            return Iter::ordered(self.scan(keyspace, &ALL));
        }
        Iter::pending(self.pending(keyspace).and_then(|pending| pending.pass(&keyspace.space)), &keyspace.space)
    }

    /// The keys within bounds with their values, as [`Keyspace::range`] has them, and its own writes among them.
    ///
    /// Whatever is written within the bounds after the transaction began is a conflict from here on, whether the range was read to its end or not.
    ///
    /// # Errors
    /// `Invalid` if the keyspace is not ordered, or of another store; else as [`Transaction::get`].
    pub fn range<K: AsRef<[u8]>>(&self, keyspace: impl AsRef<Keyspace>, range: impl RangeBounds<K>) -> Result<Range> {
        range::check_ordered(keyspace.as_ref())?;
        self.scan(keyspace.as_ref(), &range::bounds_of(&range))
    }

    /// The keys that begin with `prefix`, as [`Transaction::range`] has them.
    ///
    /// # Errors
    /// As [`Transaction::range`].
    pub fn prefix(&self, keyspace: impl AsRef<Keyspace>, prefix: impl AsRef<[u8]>) -> Result<Range> {
        range::check_ordered(keyspace.as_ref())?;
        self.scan(keyspace.as_ref(), &range::bounds_of_prefix(prefix.as_ref()))
    }

    fn scan(&self, keyspace: &Keyspace, bounds: &Bounds) -> Result<Range> {
        let scan = self.pending(keyspace)?.range(&keyspace.space, bounds)?;
        Ok(Range::pending(scan, keyspace))
    }

    /// Writes all of it, or nothing. Without writes there is nothing to do, and the answer is the last write that it saw.
    ///
    /// # Errors
    /// `Conflict`: something that it read was changed after it began; begin another. Else as [`Batch::commit`](crate::Batch::commit).
    pub fn commit(self) -> Result<Seqno> {
        let Transaction { pending, durability, shared } = self;
        shared.writable_store()?;
        pending?.commit(shared.writing(durability))
    }

    fn pending(&self, keyspace: &Keyspace) -> Result<&Pending> {
        keyspace.open_store()?;
        let pending = self.pending.as_ref().map_err(Error::clone)?;
        same_store(pending, keyspace).map(|()| pending)
    }

    fn pending_mut(&mut self, keyspace: &Keyspace) -> Result<&mut Pending> {
        keyspace.open_store()?;
        let pending = self.pending.as_mut().map_err(|error| error.clone())?;
        same_store(pending, keyspace).map(|()| pending)
    }
}

fn same_store(pending: &Pending, keyspace: &Keyspace) -> Result<()> {
    if pending.moment().is_of(&keyspace.shared.store) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Invalid, "the transaction is of one store, the keyspace of another"))
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").finish_non_exhaustive()
    }
}
