//! All keys and values, as of one moment.
//!
//! Floor 6. Imports `db`, `error`, `limits`, `segment`, `store`, `txn`.

use std::fmt;

use crate::db::range::Range;
use crate::error::{Error, Result};
use crate::limits::RECORD_ALIGN;
use crate::segment::value::Value;
use crate::store::Store;
use crate::store::pass::Pass;
use crate::store::past::PastPass;
use crate::store::space::Space;
use crate::txn::pending::PendingPass;

/// Every key with its value, each once, as of the call that made it: in the order of the keys where the keyspace is ordered, else in none.
///
/// A damaged record is an `Err` in its place, and the rest goes on. It owns what it needs, and outlives the store's
/// handles.
pub struct Iter {
    /// Or why there is nothing to show.
    of: std::result::Result<Of, Option<Error>>,
    /// What the address of each value is a multiple of.
    align: usize,
}

/// What is gone through.
enum Of {
    Now(Pass),
    Moment(PastPass),
    Transaction(PendingPass),
    Ordered(Box<Range>),
}

impl Iter {
    pub(super) fn new(store: Result<&Store>, space: &Space) -> Iter {
        let pass = store.map(|store| {
            // Nobody publishes while the log is held, so this is one moment.
            let _log = store.log();
            Pass::new(store, space)
        });
        Iter { of: pass.map(Of::Now).map_err(Some), align: space.align() }
    }

    pub(super) fn ordered(range: Result<Range>) -> Iter {
        // The range sees to it.
        Iter { of: range.map(Box::new).map(Of::Ordered).map_err(Some), align: 1 }
    }

    pub(super) fn past(pass: Result<PastPass>, space: &Space) -> Iter {
        Iter { of: pass.map(Of::Moment).map_err(Some), align: space.align() }
    }

    pub(super) fn pending(pass: Result<PendingPass>, space: &Space) -> Iter {
        Iter { of: pass.map(Of::Transaction).map_err(Some), align: space.align() }
    }
}

impl Iterator for Iter {
    type Item = Result<(Value, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        let pair = match &mut self.of {
            // They lie at multiples of so many bytes anyway.
            Ok(Of::Now(pass)) if self.align <= RECORD_ALIGN as usize => return pass.next_pair(),
            Ok(Of::Now(pass)) => pass.next_pair(),
            Ok(Of::Moment(pass)) => pass.next_pair(),
            Ok(Of::Transaction(pass)) => pass.next_pair(),
            Ok(Of::Ordered(range)) => range.next(),
            Err(refused) => refused.take().map(Err),
        };
        let align = self.align;
        pair.map(|pair| pair.map(|(key, value)| (key, value.aligned_to(align))))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.of {
            Ok(Of::Now(pass)) => (pass.len(), Some(pass.len())),
            Ok(Of::Moment(pass)) => (0, Some(pass.len_max())),
            Ok(Of::Transaction(pass)) => (0, Some(pass.len_max())),
            Ok(Of::Ordered(range)) => range.size_hint(),
            Err(refused) => (usize::from(refused.is_some()), Some(usize::from(refused.is_some()))),
        }
    }
}

impl fmt::Debug for Iter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").field("left", &self.size_hint().1).finish_non_exhaustive()
    }
}
