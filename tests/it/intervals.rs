//! Bounds of ranges, for tests that hold them against sorted maps.

use std::ops::Bound;

use zipcask::sim::Random;

pub(crate) type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);
pub(crate) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Of any kind, at a key that `key` makes.
pub(crate) fn bound(random: &mut Random, key: fn(&mut Random) -> Vec<u8>) -> Bound<Vec<u8>> {
    match random.below(5) {
        0 => Bound::Unbounded,
        1 | 2 => Bound::Excluded(key(random)),
        _ => Bound::Included(key(random)),
    }
}

/// Whether a map would panic for them.
pub(crate) fn is_inverted(bounds: &Bounds) -> bool {
    match bounds {
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) => start >= end,
        _ => false,
    }
}

pub(crate) fn pairs<'m>(model: impl Iterator<Item = (&'m Vec<u8>, &'m Vec<u8>)>) -> Pairs {
    model.map(|(key, value)| (key.clone(), value.clone())).collect()
}
