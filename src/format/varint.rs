//! Numbers in as few bytes as they need: seven bits a byte, the low ones first, and a top bit where more follow.
//!
//! Floor 1. Imports nothing.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

const MORE: u8 = 0x80;

/// Appends `number`.
#[inline]
pub(crate) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= u64::from(MORE) {
        out.push(number as u8 | MORE);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number off the front of `bytes`; `None` if none stands there that `put` would have written.
#[inline]
pub(crate) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let Some(word) = bytes.first_chunk().map(|word| u64::from_le_bytes(*word)) else {
        return take_slowly(bytes);
    };
    // The top bits of bytes that no other follows.
    let lasts = !word & 0x8080_8080_8080_8080;
    if lasts == 0 {
        return take_slowly(bytes);
    }
    let top_bit = lasts.trailing_zeros();
    let groups = word & (u64::MAX >> 63_u32.wrapping_sub(top_bit));
    let needless = top_bit > 7 && groups >> top_bit.wrapping_sub(7) == 0;
    *bytes = bytes.get((top_bit / 8) as usize..)?.split_first()?.1;
    (!needless).then(|| joined(groups & 0x7f7f_7f7f_7f7f_7f7f))
}

/// Eight groups of seven bits, one a byte, next to each other: in pairs, then pairs of pairs, then both halves.
#[inline]
fn joined(groups: u64) -> u64 {
    let pairs = groups & 0x007f_007f_007f_007f | (groups & 0x7f00_7f00_7f00_7f00) >> 1;
    let fours = pairs & 0x0000_3fff_0000_3fff | (pairs & 0x3fff_0000_3fff_0000) >> 2;
    fours & 0x0fff_ffff | (fours & 0x0fff_ffff_0000_0000) >> 4
}

/// The same byte by byte: near the end of `bytes`, and for numbers of more than 56 bits.
fn take_slowly(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for (shift, byte) in (0..u64::BITS).step_by(7).zip(bytes.iter()) {
        number |= u64::from(byte & !MORE) << shift;
        if byte & MORE == 0 {
            // A last byte of 0 adds nothing, and in the tenth there is room for one bit.
            let needless = *byte == 0 && shift > 0;
            let beyond = u64::from(*byte) << shift >> shift != u64::from(*byte);
            let len = (shift / 7) as usize;
            *bytes = bytes.get(len..)?.split_first()?.1;
            return (!needless && !beyond).then_some(number);
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::{put, take};
    use crate::format::{cases, hex};
    use proptest::prelude::*;

    fn bytes_of(number: u64) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, number);
        out
    }

    #[test]
    fn a_number_has_the_documented_bytes() {
        for (number, bytes) in [
            (0, "00"),
            (1, "01"),
            (0x7f, "7f"),
            (0x80, "8001"),
            (300, "ac02"),
            (0x3fff, "ff7f"),
            (u64::MAX, "ffffffffffffffffff01"),
        ] {
            assert_eq!(bytes_of(number), hex(bytes), "{number}");
        }
        assert_eq!(bytes_of(u64::MAX).len(), 10);
    }

    #[test]
    fn what_is_cut_short_too_long_or_needlessly_long_is_no_number() {
        for bytes in [
            "",
            "80",
            "ffff",
            "8000",
            "ffffffffffffffffff02",
            "ffffffffffffffffffff01",
            "80808080808080808000",
            "80000000000000000000",
            "ffffffffffffff000000",
        ] {
            assert_eq!(take(&mut &hex(bytes)[..]), None, "{bytes}");
        }
    }

    proptest! {
        #![proptest_config(cases(1024))]

        #[test]
        fn what_was_put_is_taken_and_the_rest_stays(number: u64, shift in 0..64_u32, rest: Vec<u8>) {
            let number = number >> shift;
            let bytes = [bytes_of(number), rest.clone()].concat();
            let mut left = &bytes[..];
            prop_assert_eq!(take(&mut left), Some(number));
            prop_assert_eq!(left, &rest[..]);
        }

        #[test]
        fn whatever_is_taken_is_put_so(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let mut left = &bytes[..];
            if let Some(number) = take(&mut left) {
                prop_assert_eq!([&bytes_of(number), left].concat(), bytes);
            }
        }
    }
}
