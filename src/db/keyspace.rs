//! A keyspace: keys and values apart from those of others. The one that a `Db` itself is, is the default keyspace.
//!
//! Floor 6. Imports `address`, `commit`, `db`, `error`, `format`, `platform`, `reclaim`, `segment`, `store`, `sync`, `txn`.

use std::fmt;
use std::ops::{self, RangeBounds};

use crate::address::Seqno;
use crate::commit::batch::{Records, Rule, To};
use crate::commit::durability::Durability;
use crate::commit::group::Done;
use crate::commit::large;
use crate::db::Shared;
use crate::db::iter::Iter;
use crate::db::keyspaces::KeyspaceOptions;
use crate::db::options::{PutOptions, Ttl};
use crate::db::range::{self, Range};
use crate::db::reader::Reader;
use crate::db::writer::PutWriter;
use crate::error::{Error, ErrorKind, Result};
use crate::format::catalogue::CatalogueRecord;
use crate::platform::clock::{WallTime, ms_of, ms_up, time_of};
use crate::reclaim::pin::Pin;
use crate::segment::value::Value;
use crate::store::Store;
use crate::store::range::{ALL, Bounds};
use crate::store::space::Space;
use crate::sync::Arc;
use crate::txn::change::{self, Change};
use crate::txn::range::MomentRange;

/// A handle of a keyspace: keys and values apart from those of others. A [`Db`](crate::Db) is its store's default
/// keyspace, and has all of these methods; [`Db::keyspace`](crate::Db::keyspace) gives others.
///
/// Once it was dropped, by whichever handle, calls that can fail are `NotFound`, and there is nothing in it.
#[derive(Clone)]
pub struct Keyspace {
    pub(super) shared: Arc<Shared>,
    pub(super) space: Arc<Space>,
}

impl Keyspace {
    /// What it is called: "default" of that which a [`Db`](crate::Db) is itself.
    pub fn name(&self) -> &str {
        self.space.name()
    }

    /// What it was made with.
    pub fn options(&self) -> KeyspaceOptions {
        KeyspaceOptions::of(&self.space.options())
    }

    /// Writes `value` under `key`, replacing what was there.
    ///
    /// Keys have 0 to 65,535 bytes, values 0 to 4 GiB less one. Returns once the write is as durable as
    /// [`Options::durability`](crate::Options::durability) asks.
    ///
    /// A value of more than 1 MiB, or half a segment where that is less, is written from where it is to a file of its own,
    /// and that is made durable first, whatever durability is asked for: there is no moment at which the key has a part of it.
    ///
    /// # Errors
    /// `TooLarge` before anything is written. `NotFound` if the keyspace was dropped, `ReadOnly` of a store that is open for reading only.
    /// `NoSpace`, `ResourceLimit`: not written, and everything else is as it was.
    /// `Io`: unknown whether it is durable; the store is `Poisoned` for writes from then on, as it is if somebody removed
    /// the file LOCK. (If only the file of a large value could not be written or synced, the value is not in the store, and
    /// writing goes on.) `Closed`, `Forked`.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Seqno> {
        self.put_with(key, value, PutOptions::new())
    }

    /// Like [`Keyspace::put`], with options of its own.
    ///
    /// # Errors
    /// As `put`.
    pub fn put_with(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, options: PutOptions) -> Result<Seqno> {
        let store = self.writable_store()?;
        let durability = options.durability.unwrap_or(self.shared.durability);
        self.put_to(store, self.to(store, options), key.as_ref(), value.as_ref(), durability)
    }

    /// The same with a moment at which it is no more, in milliseconds since 1970, or with none: what the keyspace says does not count.
    pub(crate) fn put_until(&self, key: &[u8], value: &[u8], expiry: Option<u64>) -> Result<Seqno> {
        let to = To { keyspace: self.space.id(), expiry };
        self.put_to(self.writable_store()?, to, key, value, self.shared.durability)
    }

    fn put_to(&self, store: &Store, to: To, key: &[u8], value: &[u8], durability: Durability) -> Result<Seqno> {
        let mut records = Records::new();
        large::put(store, &mut records, to, key, value)?;
        self.shared.commit(records, Rule::Always, durability).map(|done| self.shared.seqno_of(done))
    }

    /// Writes a value of `len` bytes under `key` that comes in pieces: for what does not fit in memory. Nothing is in the
    /// store before [`PutWriter::finish`], which waits for what [`Options::durability`](crate::Options::durability) asks; it
    /// has no durability of its own.
    ///
    /// # Errors
    /// As [`Keyspace::put`].
    pub fn put_writer(&self, key: impl AsRef<[u8]>, len: u64) -> Result<PutWriter> {
        PutWriter::new(self, key.as_ref(), len, None)
    }

    /// The same, as [`Keyspace::put_until`] is of `put`.
    pub(crate) fn put_writer_until(&self, key: &[u8], len: u64, expiry: Option<u64>) -> Result<PutWriter> {
        PutWriter::new(self, key, len, Some(To { keyspace: self.space.id(), expiry }))
    }

    /// The value of `key`, without copying it where the store is mapped. It stays what it is, whatever happens to the
    /// key afterwards, and outlives the store.
    ///
    /// For a large value (see [`Keyspace::put`]) its file is opened, unless a value shows it still, or it is one of the sixteen that were opened last. With
    /// [`Verify::FirstTouch`](crate::Verify::FirstTouch) its checksum is looked at once each time that it is opened.
    ///
    /// # Errors
    /// `Corruption` if the bytes on disk are not what was written: for this key alone. `Io` with positioned reads, and of a
    /// large value; `ResourceLimit` without a descriptor or the memory to read either. `NotFound` if the keyspace was dropped. `Closed`, `Forked`.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.open_store()?.get(&self.space, key.as_ref())
    }

    /// The part of the value of `key` that lies in `bytes`: cut off at its end, and empty where it starts behind that, or
    /// ends before it starts. Its address is a multiple of nothing.
    ///
    /// Of a large value (see [`Keyspace::put`]) no more is read than that, so no checksum is looked at, unless it is all of it.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub fn get_range(&self, key: impl AsRef<[u8]>, bytes: ops::Range<u64>) -> Result<Option<Value>> {
        self.open_store()?.get_range(&self.space, key.as_ref(), &bytes)
    }

    /// Calls `f` with the value of `key`, for those who need it no longer than that.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub fn get_with<T>(&self, key: impl AsRef<[u8]>, f: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        Ok(self.get(key)?.map(|value| f(&value)))
    }

    /// Whether `key` is there. Its value is not looked at.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub fn contains_key(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let (store, key) = (self.open_store()?, key.as_ref());
        Ok(store.find_live(&self.space, store.hash(key), key, &Pin::new())?.is_some())
    }

    /// When `key` is no more; `None` if it is not there, or has no such time.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub fn expires_at(&self, key: impl AsRef<[u8]>) -> Result<Option<WallTime>> {
        let (store, key) = (self.open_store()?, key.as_ref());
        let pin = Pin::new();
        let found = store.find_live(&self.space, store.hash(key), key, &pin)?;
        let expiry = found.map(|at| at.expiry()).transpose()?.flatten();
        Ok(expiry.and_then(time_of))
    }

    /// Removes `key` and says whether it was there. Deleting nothing writes nothing.
    ///
    /// On a full disk deletes, and batches of nothing else, go on for a while after the first `NoSpace`: the segment that is written
    /// keeps a 64th of its length for them, 64 KiB at most. There is none before the first write of a session, nor where
    /// the file system cannot reserve room and a write has found none.
    ///
    /// # Errors
    /// As [`Keyspace::put`], and `Corruption` if the key's record, or one that might be its, is damaged.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.delete_with(key, self.shared.durability)
    }

    /// Like [`Keyspace::delete`], waiting for a durability of its own.
    ///
    /// # Errors
    /// As [`Keyspace::delete`].
    pub fn delete_with(&self, key: impl AsRef<[u8]>, durability: Durability) -> Result<bool> {
        let store = self.writable_store()?;
        let (key, mut records) = (key.as_ref(), Records::new());
        records.delete(self.space.id(), store.hash(key), key)?;
        self.shared.commit(records, Rule::IfPresent, durability).map(|done| done != Done::NotPresent)
    }

    /// Makes the value of `key` `new` if it is `expected` (`None`: it is not there), and says whether it was. What is to be
    /// there already is not written again. A time to live is as [`Keyspace::update`] has it.
    ///
    /// # Errors
    /// As [`Keyspace::get`] and [`Keyspace::put`].
    pub fn compare_and_swap(&self, key: impl AsRef<[u8]>, expected: Option<&[u8]>, new: Option<&[u8]>) -> Result<bool> {
        let mut swapped = false;
        self.change(key.as_ref(), |now| {
            swapped = now == expected;
            Ok(match new {
                _ if !swapped || now == new => Change::Nothing,
                Some(new) => Change::Put(new.to_vec()),
                None => Change::Delete,
            })
        })?;
        Ok(swapped)
    }

    /// Makes the value of `key` what `f` makes of it (`None`: not there), and returns that.
    ///
    /// A key that is there keeps the time at which it is no more, or none, if it has none; one that is not gets what the keyspace says
    /// ([`KeyspaceOptions::default_ttl`]). So it is with `compare_and_swap` and `increment`. To give it another, use `put_with`.
    ///
    /// Nothing is locked while `f` runs: if somebody else changes the key meanwhile, `f` is asked again with what it is then. A panic
    /// of `f` changes nothing.
    ///
    /// # Errors
    /// As [`Keyspace::get`] and [`Keyspace::put`].
    pub fn update(
        &self,
        key: impl AsRef<[u8]>,
        mut f: impl FnMut(Option<&[u8]>) -> Option<Vec<u8>>,
    ) -> Result<Option<Value>> {
        self.change(key.as_ref(), |now| Ok(f(now).map_or(Change::Delete, Change::Put)))
    }

    /// Adds `by` to the value of `key`, an `i64` in little endian and 0 where it is not there, and returns the sum. A time to live is as
    /// [`Keyspace::update`] has it.
    ///
    /// # Errors
    /// `Invalid`, and nothing is changed, if the value has another length than 8 bytes, or the sum does not fit. As
    /// [`Keyspace::get`] and [`Keyspace::put`].
    pub fn increment(&self, key: impl AsRef<[u8]>, by: i64) -> Result<i64> {
        let (mut sum, key) = (0, key.as_ref());
        self.change(key, |now| {
            let number = now.map_or(Ok([0; 8]), <[u8; 8]>::try_from).map_err(|_| {
                let len = now.unwrap_or_default().len();
                let text = format!(
                    "the value of \"{}\" is no number as increment keeps them, an i64 of 8 bytes in little endian: its length is {len}",
                    key.escape_ascii()
                );
                Error::new(ErrorKind::Invalid, text)
            })?;
            let number = i64::from_le_bytes(number);
            sum = number.checked_add(by).ok_or_else(|| {
                let text = format!(
                    "{number}, the value of \"{}\", and {by} make more than an i64 has room for",
                    key.escape_ascii()
                );
                Error::new(ErrorKind::Invalid, text)
            })?;
            Ok(Change::Put(sum.to_le_bytes().to_vec()))
        })?;
        Ok(sum)
    }

    fn change(&self, key: &[u8], f: impl FnMut(Option<&[u8]>) -> Result<Change>) -> Result<Option<Value>> {
        self.writable_store()?;
        change::change(self.shared.writing(self.shared.durability), &self.space, key, f)
    }

    /// A reader of this keyspace, for one thread: the fastest way to read.
    pub fn reader(&self) -> Reader {
        Reader::new(self)
    }

    /// How many keys there are.
    ///
    /// Keys whose time has come count until the next compaction, be it the background's, and again after an open. So
    /// [`Keyspace::is_empty`] may be false where [`Keyspace::iter`] shows nothing. On a handle for reading only they count until the writer's
    /// compaction has removed them, a day later, and it was refreshed.
    ///
    /// A key that has rotted in its record, so that it cannot be told whose that was, counts twice once it is put again: what cannot
    /// be recognised is neither replaced nor removed. So does one that was put again before its old record rotted, if the next open still
    /// reads of that put in the log. Through opens and compactions it stays an error of [`Keyspace::iter`], which shows as many
    /// pairs and errors as this counts, and of [`Db::verify`](crate::Db::verify), until the keyspace is cleared, or the store saved into a new one
    /// by [`inspect::salvage`](crate::inspect::salvage()). Any other rot of a record is replaced with it.
    pub fn len(&self) -> u64 {
        self.shared.figure(0, |_| self.space.len())
    }

    /// Whether [`Keyspace::len`] is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every key with its value, each once, as of this call: in the order of the keys if the keyspace is ordered, else in none.
    ///
    /// Without an order writers wait while the list of places (4 to 8 bytes a key) is taken; after that it disturbs nobody. With one it is
    /// [`Keyspace::range`] of everything.
    pub fn iter(&self) -> Iter {
        if self.is_ordered() {
            return Iter::ordered(self.scan(&ALL));
        }
        Iter::new(self.open_store().map(|store| &**store), &self.space)
    }

    /// Removes all keys at once, durably, whatever their number: it takes one record. The space that they take up comes back by
    /// compaction.
    ///
    /// # Errors
    /// As [`Keyspace::put`].
    pub fn clear(&self) -> Result<()> {
        self.writable_store()?;
        let mut records = Records::new();
        records.say(&CatalogueRecord::Clear(self.space.id()))?;
        self.shared.commit(records, Rule::Always, Durability::Sync).map(drop)
    }

    /// The store, if this process may use it, and the keyspace is there.
    ///
    /// # Errors
    /// `Closed`, `Forked`; `NotFound` once it was dropped.
    #[inline]
    pub(super) fn open_store(&self) -> Result<&Arc<Store>> {
        let store = self.shared.open_store()?;
        if self.space.is_dropped() {
            return Err(self.gone());
        }
        Ok(store)
    }

    /// The same, if it takes writes.
    ///
    /// # Errors
    /// As `open_store`; `ReadOnly`.
    #[inline]
    pub(super) fn writable_store(&self) -> Result<&Arc<Store>> {
        self.open_store()?;
        self.shared.writable_store()
    }

    /// Where a put with these options goes, and for how long.
    pub(super) fn to(&self, store: &Store, options: PutOptions) -> To {
        let expiry = match options.ttl {
            Ttl::OfKeyspace => store.default_expiry(&self.space),
            Ttl::Lasting => None,
            // Rounded up: it is there as long as was asked for. What is later than a record can say is never.
            Ttl::Of(ttl) => ms_up(ttl).and_then(|ttl_ms| store.now_ms().checked_add(ttl_ms)),
            Ttl::Until(time) => ms_of(time),
        };
        To { keyspace: self.space.id(), expiry }
    }

    #[cold]
    fn gone(&self) -> Error {
        Error::new(
            ErrorKind::NotFound,
            format!("the keyspace {:?} was dropped; open it anew to make another", self.space.name()),
        )
    }
}

impl Keyspace {
    /// The keys within bounds with their values, in the order of the keys' bytes, as of this call; none where the range is inverted. Only of an
    /// ordered keyspace ([`KeyspaceOptions::ordered`](crate::KeyspaceOptions::ordered)).
    ///
    /// The first scan sorts the keys of each segment, some 0.1 s a million, and the next one only what was written since. Kept in memory are 12.5 bytes
    /// a record of each segment, dead ones included, and one where records lie in the order of their keys anyway.
    ///
    /// What bounds do not tell of the keys' type has to be said: `..` has none, so that `range(..)` does not compile. [`Keyspace::iter`] is the same.
    ///
    /// ```
    /// # fn main() -> zipcask::Result<()> {
    /// use zipcask::{KeyspaceOptions, Options};
    ///
    /// let db = Options::new().default_keyspace(KeyspaceOptions::new().ordered(true)).open_in_memory()?;
    /// for key in ["a", "b", "c"] {
    ///     db.put(key, "value")?;
    /// }
    /// assert_eq!(db.range("b"..)?.count(), 2);
    /// assert_eq!(db.range::<&[u8]>(..)?.rev().count(), 3); // all of them, and from behind
    /// assert_eq!(db.iter().count(), 3); // all of them
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Invalid` if the keyspace is not ordered. `Io`, `ResourceLimit` with positioned reads. `NotFound` if the keyspace was dropped. `Closed`, `Forked`.
    pub fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<Range> {
        range::check_ordered(self)?;
        self.scan(&range::bounds_of(&range))
    }

    /// The keys that begin with `prefix`, as [`Keyspace::range`] has them.
    ///
    /// # Errors
    /// As [`Keyspace::range`].
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Result<Range> {
        range::check_ordered(self)?;
        self.scan(&range::bounds_of_prefix(prefix.as_ref()))
    }

    fn scan(&self, bounds: &Bounds) -> Result<Range> {
        MomentRange::now(self.open_store()?, &self.space, bounds).map(|scan| Range::new(scan, self))
    }

    pub(super) fn is_ordered(&self) -> bool {
        self.space.options().ordered
    }
}

impl AsRef<Keyspace> for Keyspace {
    fn as_ref(&self) -> &Keyspace {
        self
    }
}

impl fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyspace")
            .field("name", &self.space.name())
            .field("path", &self.shared.store.disk().path())
            .finish_non_exhaustive()
    }
}
