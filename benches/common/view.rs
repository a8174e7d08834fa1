//! How a store is read by one thread, and the loops that read: one text for every engine, compiled for each, so that what
//! is made, called and checked a key costs the same everywhere.

use std::hint::black_box;

use crate::common::data::{Key, check, mix};

/// What one thread reads through: made before the clock starts.
pub(crate) trait View {
    /// Shows `f` the value of `key`.
    fn get<R>(&self, key: &[u8], f: impl FnOnce(Option<&[u8]>) -> R) -> R;

    /// Shows `each` the value of every key, in any order.
    #[inline]
    fn get_all(&self, keys: &[Key], mut each: impl FnMut(&Key, Option<&[u8]>)) {
        for key in keys {
            self.get(key.as_bytes(), |found| each(key, found));
        }
    }

    /// Shows every key and its value.
    fn pass(&self, each: impl FnMut(&[u8], &[u8]));

    /// Lets go of what was shown.
    fn refresh(&mut self) {}
}

/// Gets keys that are there.
pub(crate) fn found(view: &impl View, keys: &[Key]) {
    view.get_all(keys, |key, found| {
        check(key.id, found.expect("a key that was loaded"));
    });
}

/// Gets keys that nobody wrote.
pub(crate) fn absent(view: &impl View, keys: &[Key]) {
    view.get_all(keys, |key, found| assert!(found.is_none(), "key {} was never written", key.id));
}

/// Gets one key after the other of ids `0..ids`: which is next stands in the value that was found.
pub(crate) fn dependent(view: &impl View, from: u64, steps: usize, ids: u64) {
    let mut key = Key::new(from);
    for _ in 0..steps {
        let id = view.get(key.as_bytes(), |found| {
            let found = found.expect("a key that was loaded");
            // Hidden from the compiler, which would else take the id that it is about to be compared with.
            let id = black_box(first_word(found));
            check(key.id, found);
            id
        });
        key = Key::new(next(id, ids));
    }
}

/// Reads everything. Each value must be whole and belong to the first word of its key, and sums tell that there is one of
/// each.
pub(crate) fn pass(view: &impl View, all: Tally) {
    let mut seen = Tally::default();
    view.pass(|key, value| {
        let id = first_word(value);
        check(id, value);
        assert_eq!(first_word(key), mix(id), "a key with the value of another");
        seen.add(id, key.len());
    });
    assert_eq!(seen, all, "a pass shows each key once");
}

/// The id after `id` on one round trip through all of `0..ids`: a full-period congruence, its steps beyond `ids` left out.
#[inline]
fn next(id: u64, ids: u64) -> u64 {
    let mask = ids.next_power_of_two() - 1;
    let mut id = id;
    loop {
        id = id.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f) & mask;
        if id < ids {
            return id;
        }
    }
}

/// What tells a full pass over some keys from one that left some out or showed some twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    count: u64,
    ids: u64,
    key_bytes: u64,
}

impl Tally {
    /// That of ids `0..ids`.
    pub(crate) fn of(ids: u64) -> Tally {
        let mut tally = Tally::default();
        (0..ids).for_each(|id| tally.add(id, Key::new(id).as_bytes().len()));
        tally
    }

    #[inline]
    pub(crate) fn add(&mut self, id: u64, key_len: usize) {
        self.count += 1;
        self.ids ^= mix(id);
        self.key_bytes += key_len as u64;
    }
}

#[inline]
pub(crate) fn first_word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"))
}
