//! How a store that has an order is read in it by one thread: one text for every engine, as in `view`.

use std::ops::ControlFlow;

use zipcask::{Db, Keyspace};

use crate::common::data::{Key, check, mix};
use crate::view::{Tally, first_word};

/// What one thread reads through: made before the clock starts.
pub(crate) trait Ordered {
    /// Shows so many keys and values in the order of the keys, from the first that is not below `from` on.
    fn range(&self, from: &[u8], most: usize, each: impl FnMut(&[u8], &[u8]));
}

/// Reads everything in order.
pub(crate) fn in_order(view: &impl Ordered, all: Tally) {
    let (mut seen, mut before) = (Tally::default(), None);
    view.range(&[0], usize::MAX, |key, value| seen.add(in_turn(key, value, &mut before), key.len()));
    assert_eq!(seen, all, "a pass shows each key once");
}

/// Reads `most` pairs from a key on that is there. Where fewer come, there are no more.
pub(crate) fn range(view: &impl Ordered, from: &Key, most: usize) {
    let (mut count, mut before) = (0, None);
    view.range(from.as_bytes(), most, |key, value| {
        let id = in_turn(key, value, &mut before);
        assert!(count > 0 || id == from.id, "the range begins with another key");
        count += 1;
    });
    assert!((1..=most).contains(&count));
}

/// The id of a pair that is whole, and behind the one before.
#[inline]
fn in_turn(key: &[u8], value: &[u8], before: &mut Option<u64>) -> u64 {
    let (id, word) = (first_word(value), u64::from_be_bytes(key[..8].try_into().expect("eight bytes")));
    check(id, value);
    assert_eq!(word.swap_bytes(), mix(id), "a key with the value of another");
    assert!(before.replace(word) < Some(word), "keys come in their order");
    id
}

impl Ordered for &Db {
    fn range(&self, from: &[u8], most: usize, mut each: impl FnMut(&[u8], &[u8])) {
        for pair in Keyspace::range(self, from..).expect("it is ordered").take(most) {
            let (key, value) = pair.expect("zipcask iterates");
            each(&key, &value);
        }
    }
}

/// Ranges of zipcask without a handle for each key and value.
pub(crate) struct Visit<'a>(pub(crate) &'a Db);

impl Ordered for Visit<'_> {
    fn range(&self, from: &[u8], most: usize, mut each: impl FnMut(&[u8], &[u8])) {
        let mut left = most;
        let shown = Keyspace::range(self.0, from..).expect("it is ordered").visit(|key, value| {
            each(key, value);
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        shown.expect("zipcask shows all");
    }
}
