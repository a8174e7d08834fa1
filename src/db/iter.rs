//! All keys and values, as of one moment.
//!
//! Floor 6. Imports `error`, `segment`, `store`.

use std::fmt;

use crate::error::{Error, Result};
use crate::segment::value::Value;
use crate::store::Store;
use crate::store::pass::Pass;

/// Every key with its value, each once, as of the call that made it, in no order.
///
/// A damaged record is an `Err` in its place, and the rest goes on. It owns what it needs, and outlives the store's
/// handles.
pub struct Iter {
    /// Or why there is nothing to show.
    pass: std::result::Result<Pass, Option<Error>>,
}

impl Iter {
    pub(super) fn new(store: Result<&Store>) -> Iter {
        let pass = store.map(|store| {
            // Nobody publishes while the log is held, so this is one moment.
            let _log = store.log();
            Pass::new(store)
        });
        Iter { pass: pass.map_err(Some) }
    }
}

impl Iterator for Iter {
    type Item = Result<(Value, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.pass {
            Ok(pass) => pass.next_pair(),
            Err(refused) => refused.take().map(Err),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = match &self.pass {
            Ok(pass) => pass.len(),
            Err(refused) => usize::from(refused.is_some()),
        };
        (len, Some(len))
    }
}

impl fmt::Debug for Iter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").field("left", &self.size_hint().0).finish_non_exhaustive()
    }
}
