//! Keys and values in order as a transaction sees them: those of its moment, and what it is to write in their place.
//!
//! Floor 5. Imports `error`, `segment`, `store`, `txn`.

use std::cmp::Ordering;
use std::collections::VecDeque;

use crate::error::Result;
use crate::segment::value::Value;
use crate::store::merge::Side;
use crate::txn::range::MomentRange;

/// A scan of the moment with what is to be written merged in, from both ends.
pub(crate) struct PendingRange {
    scan: MomentRange,
    /// What is to be written within the bounds, by key; `None` deletes the key.
    own: VecDeque<(Vec<u8>, Option<Value>)>,
    /// What the scan gave and was not shown yet, by side.
    ahead: [Option<(Value, Value)>; 2],
}

impl PendingRange {
    pub(crate) fn new(scan: MomentRange, own: VecDeque<(Vec<u8>, Option<Value>)>) -> PendingRange {
        PendingRange { scan, own, ahead: [None, None] }
    }

    /// The next from a side; nothing once both have met.
    pub(crate) fn next_pair(&mut self, side: Side) -> Option<Result<(Value, Value)>> {
        loop {
            let scanned = match self.scanned(side) {
                Some(Err(error)) => return Some(Err(error)),
                scanned => scanned.and_then(Result::ok),
            };
            let order = match (&scanned, self.own_key(side)) {
                (None, None) => return None,
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
                (Some((key, _)), Some(own)) if side == Side::Below => (**key).cmp(own),
                (Some((key, _)), Some(own)) => own.cmp(key),
            };
            if order == Ordering::Less {
                return scanned.map(Ok);
            }
            if order == Ordering::Greater {
                self.ahead[side as usize] = scanned;
            }
            let own = if side == Side::Below { self.own.pop_front() } else { self.own.pop_back() };
            if let Some((key, Some(value))) = own {
                return Some(Ok((Value::copied(&key), value)));
            }
        }
    }

    /// The next of the moment from a side.
    fn scanned(&mut self, side: Side) -> Option<Result<(Value, Value)>> {
        if let Some(pair) = self.ahead[side as usize].take() {
            return Some(Ok(pair));
        }
        // Once they have met, what the other side has looked ahead for is the last.
        self.scan.next_pair(side).or_else(|| self.ahead[side.other() as usize].take().map(Ok))
    }

    fn own_key(&self, side: Side) -> Option<&[u8]> {
        let next = if side == Side::Below { self.own.front() } else { self.own.back() };
        next.map(|(key, _)| &key[..])
    }
}
