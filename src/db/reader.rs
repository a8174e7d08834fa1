//! The fastest way to read: one a thread, nothing to let go of until it is refreshed.
//!
//! Floor 6. Imports `db`, `error`, `segment`, `sync`.

use std::cell::RefCell;
use std::fmt;
use std::ops::ControlFlow;

use crate::db::Shared;
use crate::db::iter::Iter;
use crate::error::Result;
use crate::segment::value::Value;
use crate::sync::Arc;

/// Reads a keyspace from one thread: sees the newest published state, and keeps the bytes that it handed out where they
/// are until [`Reader::refresh`], or until it is dropped.
pub struct Reader {
    shared: Arc<Shared>,
    shown: RefCell<Vec<Value>>,
}

impl Reader {
    pub(super) fn new(shared: &Arc<Shared>) -> Reader {
        Reader { shared: Arc::clone(shared), shown: RefCell::new(Vec::new()) }
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// As [`Keyspace::get`](crate::Keyspace::get).
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<&[u8]>> {
        let Some(value) = self.shared.open_store()?.get(key.as_ref())? else { return Ok(None) };
        let bytes = std::ptr::from_ref::<[u8]>(&value);
        self.shown.borrow_mut().push(value);
        // SAFETY: the value, which keeps them, is dropped by `refresh` or with the reader, when nobody borrows it.
        Ok(Some(unsafe { &*bytes }))
    }

    /// Calls `each` with the position and the value of every one of `keys`, in any order.
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K], mut each: impl FnMut(usize, Result<Option<&[u8]>>)) {
        keys.iter().enumerate().for_each(|(at, key)| each(at, self.get(key)));
    }

    /// Calls `each` with every key and its value, in no order, until it breaks.
    ///
    /// # Errors
    /// As [`Keyspace::get`](crate::Keyspace::get).
    pub fn for_each(&self, mut each: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>) -> Result<()> {
        for pair in Iter::new(&self.shared.store, self.shared.open_store().err()) {
            let (key, value) = pair?;
            if each(&key, &value).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Lets go of all that was handed out.
    pub fn refresh(&mut self) {
        self.shown.get_mut().clear();
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}
