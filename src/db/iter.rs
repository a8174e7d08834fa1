//! All keys and values, as of one moment.
//!
//! Floor 6. Imports `address`, `error`, `segment`, `store`, `sync`.

use std::{fmt, vec};

use crate::address::Location;
use crate::error::{Error, Result};
use crate::segment::value::Value;
use crate::store::Store;
use crate::sync::Arc;

/// Every key with its value, each once, as of the call that made it, in no order.
///
/// A damaged record is an `Err` in its place, and the rest goes on. It owns what it needs, and outlives the store's
/// handles.
pub struct Iter {
    store: Arc<Store>,
    locations: vec::IntoIter<Location>,
    /// Why there is nothing to show.
    refused: Option<Error>,
}

impl Iter {
    pub(super) fn new(store: &Arc<Store>, refused: Option<Error>) -> Iter {
        let mut locations = Vec::new();
        if refused.is_none() {
            // Nobody publishes while the log is held, so this is one moment.
            let _log = store.log();
            locations.reserve(usize::try_from(store.table().len()).unwrap_or(0));
            store.table().walk(|location| locations.push(location));
        }
        // In the order of the log: reading goes forward through the files.
        locations.sort_unstable_by_key(|location| location.unit());
        Iter { store: Arc::clone(store), locations: locations.into_iter(), refused }
    }
}

impl Iterator for Iter {
    type Item = Result<(Value, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.refused.take() {
            return Some(Err(error));
        }
        self.locations.next().map(|location| self.store.pair(location))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.locations.len() + usize::from(self.refused.is_some());
        (len, Some(len))
    }
}

impl fmt::Debug for Iter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").field("left", &self.locations.len()).finish_non_exhaustive()
    }
}
