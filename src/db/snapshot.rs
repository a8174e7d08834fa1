//! One moment of the store, for as long as one likes.
//!
//! Floor 6. Imports `address`, `db`, `error`, `segment`, `store`, `sync`, `txn`.

use std::fmt;
use std::ops::RangeBounds;

use crate::address::Seqno;
use crate::db::Shared;
use crate::db::iter::Iter;
use crate::db::keyspace::Keyspace;
use crate::db::range::{self, Range};
use crate::error::{Error, ErrorKind, Result};
use crate::segment::value::Value;
use crate::store::range::{ALL, Bounds};
use crate::sync::Arc;
use crate::txn::moment::Moment;
use crate::txn::range::MomentRange;

/// The store as it was when [`Db::snapshot`](crate::Db::snapshot) was called, whatever is written, removed or compacted afterwards.
///
/// It is always the end of a batch or transaction, never its middle. A key whose time comes later stays in it. Making one takes no longer however large the store is, and holds nobody up;
/// while it is open a writer keeps what it replaces: memory for each key that is changed, not for the store, and the files that
/// what it shows lies in. It may outlive the store's handles.
///
/// On a handle for reading only the writer knows nothing of it: what it shows stays, but for large values (see [`Keyspace::put`]), whose files may go. If
/// the writer failed, and its next session has less than was shown, all of the snapshot goes with the first [`Db::refresh`](crate::Db::refresh) that
/// finds it. Both are `NotFound`. After a `refresh` that failed there is no one moment to show: the methods of a new snapshot say why, until another
/// refresh succeeds.
///
/// ```
/// # fn main() -> zipcask::Result<()> {
/// let db = zipcask::Options::new().open_in_memory()?;
/// db.put("apple", "red")?;
/// let before = db.snapshot();
/// db.put("apple", "green")?;
/// assert_eq!(before.get(&db, "apple")?.as_deref(), Some(&b"red"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Snapshot {
    /// Or why there is nothing to see.
    moment: std::result::Result<Arc<Moment>, Error>,
}

impl Snapshot {
    pub(super) fn new(shared: &Shared) -> Snapshot {
        Snapshot { moment: shared.open_store().and_then(Moment::now).map(Arc::new) }
    }

    /// The value that `key` had.
    ///
    /// # Errors
    /// As [`Keyspace::get`], and `Corruption` also if the record was damaged already when it was replaced. `Invalid` if the keyspace is of another store.
    pub fn get(&self, keyspace: impl AsRef<Keyspace>, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        let keyspace = keyspace.as_ref();
        Ok(self
            .moment(keyspace)?
            .get(&keyspace.space, key.as_ref())?
            .0
            .map(|value| value.aligned_to(keyspace.space.align())))
    }

    /// Whether `key` was there.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn contains_key(&self, keyspace: impl AsRef<Keyspace>, key: impl AsRef<[u8]>) -> Result<bool> {
        let keyspace = keyspace.as_ref();
        Ok(self.moment(keyspace)?.look(&keyspace.space, key.as_ref())?.0)
    }

    /// Every key with the value that it had, each once: in the order of the keys if the keyspace is ordered, else in none.
    ///
    /// Without an order writers wait while the list of places (4 to 8 bytes a key) is taken.
    pub fn iter(&self, keyspace: impl AsRef<Keyspace>) -> Iter {
        let keyspace = keyspace.as_ref();
        if keyspace.is_ordered() {
            return Iter::ordered(self.scan(keyspace, &ALL));
        }
        Iter::past(self.moment(keyspace).and_then(|moment| moment.pass(&keyspace.space)), &keyspace.space)
    }

    /// The keys within bounds with the values that they had, as [`Keyspace::range`] has them.
    ///
    /// # Errors
    /// `Invalid` if the keyspace is not ordered, or of another store; else as [`Snapshot::get`].
    pub fn range<K: AsRef<[u8]>>(&self, keyspace: impl AsRef<Keyspace>, range: impl RangeBounds<K>) -> Result<Range> {
        range::check_ordered(keyspace.as_ref())?;
        self.scan(keyspace.as_ref(), &range::bounds_of(&range))
    }

    /// The keys that begin with `prefix`, as [`Snapshot::range`] has them.
    ///
    /// # Errors
    /// As [`Snapshot::range`].
    pub fn prefix(&self, keyspace: impl AsRef<Keyspace>, prefix: impl AsRef<[u8]>) -> Result<Range> {
        range::check_ordered(keyspace.as_ref())?;
        self.scan(keyspace.as_ref(), &range::bounds_of_prefix(prefix.as_ref()))
    }

    fn scan(&self, keyspace: &Keyspace, bounds: &Bounds) -> Result<Range> {
        let scan = MomentRange::at(self.moment(keyspace)?, &keyspace.space, bounds)?;
        Ok(Range::new(scan, keyspace))
    }

    /// The last write that it shows.
    pub fn seqno(&self) -> Seqno {
        self.moment.as_ref().map_or(Seqno::default(), |moment| moment.seqno())
    }

    fn moment(&self, keyspace: &Keyspace) -> Result<&Arc<Moment>> {
        let moment = self.moment.as_ref().map_err(Error::clone)?;
        if moment.is_of(&keyspace.shared.store) {
            return Ok(moment);
        }
        Err(Error::new(ErrorKind::Invalid, "the snapshot is of one store, the keyspace of another"))
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("seqno", &self.seqno()).finish_non_exhaustive()
    }
}
