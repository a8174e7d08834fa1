//! The table that a keyspace has now, which another takes the place of when all keys go at once.
//!
//! Floor 2. Imports `index`, `reclaim`, `sync`.

use crate::index::published::Published;
use crate::index::table::Table;
use crate::reclaim::pin::Pin;
use crate::sync::Arc;
use crate::sync::plain::{Mutex, MutexGuard, PoisonError};

/// A table that may be replaced while it is read.
#[derive(Debug)]
pub(crate) struct Current {
    /// Leads to what `whole` keeps.
    now: Published<Table>,
    whole: Mutex<Arc<Table>>,
}

impl Current {
    pub(crate) fn new(table: Table) -> Current {
        let table = Arc::new(table);
        Current { now: Published::new(Arc::as_ptr(&table).cast_mut()), whole: Mutex::new(table) }
    }

    /// The table, for as long as the pin lives.
    #[inline]
    pub(crate) fn get<'p>(&'p self, _pin: &'p Pin) -> &'p Table {
        // SAFETY: what `now` leads to is kept by `whole`, and after `replace` until every pin has gone that could have found it.
        unsafe { &*self.now.load() }
    }

    /// The table, for as long as one likes.
    pub(crate) fn whole(&self) -> Arc<Table> {
        Arc::clone(&self.lock())
    }

    /// Puts `table` in its place. The old one stays what it was until nobody has it any more.
    pub(crate) fn replace(&self, table: Table) -> Arc<Table> {
        let table = Arc::new(table);
        let mut whole = self.lock();
        self.now.store(Arc::as_ptr(&table).cast_mut());
        let old = std::mem::replace(&mut *whole, table);
        drop(whole);
        let kept = Arc::clone(&old);
        // SAFETY: pins from here on find the new one; the count of the old one is given back once.
        unsafe { Pin::new().retire(move || drop(kept)) };
        old
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Table>> {
        self.whole.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
