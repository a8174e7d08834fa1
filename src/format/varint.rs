//! Numbers in as few bytes as they need: seven bits a byte, the low ones first, and a top bit where more follow.
//!
//! Floor 1. Imports nothing.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

/// Bytes of the longest.
pub(crate) const VARINT_LEN_MAX: usize = 10;

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
    use super::{VARINT_LEN_MAX, put, take};
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
        assert_eq!(bytes_of(u64::MAX).len(), VARINT_LEN_MAX);
    }

    #[test]
    fn what_is_cut_short_too_long_or_needlessly_long_is_no_number() {
        for bytes in
            ["", "80", "ffff", "8000", "ffffffffffffffffff02", "ffffffffffffffffffff01", "80808080808080808000"]
        {
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
