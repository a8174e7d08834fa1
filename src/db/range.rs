//! Keys and values in the order of the keys, within bounds.
//!
//! Floor 6. Imports `db`, `error`, `limits`, `segment`, `store`, `txn`.

use std::fmt;
use std::ops::{Bound, ControlFlow, RangeBounds};

use crate::db::keyspace::Keyspace;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::RECORD_ALIGN;
use crate::segment::value::Value;
use crate::store::merge::Side;
use crate::store::range::Bounds;
use crate::txn::pending_range::PendingRange;
use crate::txn::range::MomentRange;

/// Keys within bounds with their values, each once, in the order of the keys' bytes, as of the call that made it: from below, from
/// above, or from both ends by turns.
///
/// A damaged record is an `Err`, in its place where its key can be read, and the rest goes on. It owns what it needs, and outlives the
/// store's handles; while it is there, writers keep what they replace, as for a [`Snapshot`](crate::Snapshot).
pub struct Range {
    of: Of,
    /// What the address of each value is a multiple of.
    align: usize,
}

/// What is gone through.
enum Of {
    Moment(MomentRange),
    Transaction(PendingRange),
}

impl Range {
    pub(super) fn new(scan: MomentRange, keyspace: &Keyspace) -> Range {
        Range { of: Of::Moment(scan), align: keyspace.space.align() }
    }

    pub(super) fn pending(scan: PendingRange, keyspace: &Keyspace) -> Range {
        Range { of: Of::Transaction(scan), align: keyspace.space.align() }
    }

    /// Calls `each` with every key that is left and its value, from below, until it breaks: the fastest ordered pass. What it did not
    /// come to can be taken afterwards. Values are shown where they lie: their addresses are multiples of 8, whatever the keyspace asks for.
    ///
    /// # Errors
    /// Those of the first record that cannot be read; the pass ends there, and what is behind can be taken afterwards.
    pub fn visit(&mut self, mut each: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>) -> Result<()> {
        let scan = match &mut self.of {
            Of::Moment(scan) => return scan.visit(&mut each),
            Of::Transaction(scan) => scan,
        };
        while let Some(pair) = scan.next_pair(Side::Below) {
            let (key, value) = pair?;
            if each(&key, &value).is_break() {
                break;
            }
        }
        Ok(())
    }

    #[inline]
    fn next_from(&mut self, side: Side) -> Option<Result<(Value, Value)>> {
        let pair = match &mut self.of {
            Of::Moment(scan) => scan.next_pair(side),
            Of::Transaction(scan) => scan.next_pair(side),
        };
        if self.align <= RECORD_ALIGN as usize {
            return pair;
        }
        let align = self.align;
        pair.map(|pair| pair.map(|(key, value)| (key, value.aligned_to(align))))
    }
}

impl Iterator for Range {
    type Item = Result<(Value, Value)>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.next_from(Side::Below)
    }
}

impl DoubleEndedIterator for Range {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.next_from(Side::Above)
    }
}

impl fmt::Debug for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Range").finish_non_exhaustive()
    }
}

/// # Errors
/// `Invalid` if the keyspace has no order.
pub(super) fn check_ordered(keyspace: &Keyspace) -> Result<()> {
    if keyspace.is_ordered() {
        return Ok(());
    }
    let name = keyspace.name();
    let what = format!(
        "the keyspace {name:?} was not made with KeyspaceOptions::ordered, so it has no ranges; use iter, or another keyspace"
    );
    Err(Error::new(ErrorKind::Invalid, what))
}

/// Bounds of their own.
pub(super) fn bounds_of<K: AsRef<[u8]>>(range: &impl RangeBounds<K>) -> Bounds {
    let own = |bound: Bound<&K>| bound.map(|key| key.as_ref().to_vec());
    [own(range.start_bound()), own(range.end_bound())]
}

/// The bounds of all keys that begin with `prefix`.
pub(super) fn bounds_of_prefix(prefix: &[u8]) -> Bounds {
    // The first key behind them ends where the last byte that can be raised is.
    let end = match prefix.iter().rposition(|byte| *byte != u8::MAX) {
        None => Bound::Unbounded,
        Some(last) => {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            Bound::Excluded(end)
        }
    };
    [Bound::Included(prefix.to_vec()), end]
}
