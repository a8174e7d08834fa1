//! What a record says of a large value, whose bytes have a file of their own.
//!
//! Floor 1. Imports `address`, `format`, `limits`.
//!
//! ```text
//!  offset  bytes  field
//!       0     16  file      in the file's name: 32 hexadecimal digits
//!      16      8  length    of the file, 1..=4,294,967,295
//!      24      4  crc       crc32c of the file
//!      28      4  zero
//! ```
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use crate::address::LargeId;
use crate::format::record::Flaw;
use crate::limits::{LARGE_VALUE_LEN, VALUE_LEN_MAX};

/// The value of a record of kind `PutLarge`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct LargeValue {
    pub(crate) id: LargeId,
    /// From 1 to `VALUE_LEN_MAX`.
    pub(crate) len: u64,
    pub(crate) crc: u32,
}

impl LargeValue {
    pub(crate) fn encode(&self) -> [u8; LARGE_VALUE_LEN] {
        let mut bytes = [0; LARGE_VALUE_LEN];
        let (id, rest) = bytes.split_at_mut(self.id.0.len());
        id.copy_from_slice(&self.id.0);
        rest.copy_from_slice(&(u128::from(self.len) | u128::from(self.crc) << 64).to_le_bytes());
        bytes
    }

    /// Decodes a record's value; its checksum is the caller's to check.
    ///
    /// # Errors
    /// `Damaged` if it is of another length, or says what cannot be.
    pub(crate) fn decode(bytes: &[u8]) -> Result<LargeValue, Flaw> {
        let Ok::<&[u8; LARGE_VALUE_LEN], _>(fields) = bytes.try_into() else {
            return Err(Flaw::Damaged(format!("a large value is told of in {} bytes", bytes.len())));
        };
        let ([id, rest], _) = fields.as_chunks::<16>() else {
            return Err(Flaw::Damaged("two halves are expected".to_owned()));
        };
        let rest = u128::from_le_bytes(*rest);
        let (len, crc, zero) = (rest as u64, (rest >> 64) as u32, (rest >> 96) as u32);
        if zero != 0 || len == 0 || len > VALUE_LEN_MAX {
            return Err(Flaw::Damaged(format!("no large value has {len} bytes with {zero:#x} behind its crc")));
        }
        Ok(LargeValue { id: LargeId(*id), len, crc })
    }
}

#[cfg(test)]
mod tests {
    use super::LargeValue;
    use crate::address::LargeId;
    use crate::format::{cases, edit, edits, hex};
    use proptest::prelude::*;

    #[test]
    fn a_large_value_is_told_of_as_documented() {
        let large = LargeValue { id: LargeId(*b"0123456789abcdef"), len: 0x0102_0304, crc: 0x0506_0708 };
        let bytes = hex("30313233343536373839616263646566 0403020100000000 08070605 00000000");
        assert_eq!(large.encode(), *bytes);
        assert_eq!(LargeValue::decode(&bytes), Ok(large));
    }

    #[test]
    fn lengths_that_no_value_has_are_refused() {
        let of = |len| LargeValue { id: LargeId([1; 16]), len, crc: 1 }.encode();
        assert!(LargeValue::decode(&of(0)).is_err());
        assert!(LargeValue::decode(&of(1)).is_ok() && LargeValue::decode(&of(u64::from(u32::MAX))).is_ok());
        assert!(LargeValue::decode(&of(1 << 32)).is_err() && LargeValue::decode(&of(u64::MAX)).is_err());
        assert!(LargeValue::decode(&of(1)[1..]).is_err() && LargeValue::decode(&[]).is_err());
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn whatever_decodes_encodes_to_the_same_bytes(id: [u8; 16], len: u32, crc: u32, edits in edits()) {
            let mut bytes = LargeValue { id: LargeId(id), len: u64::from(len), crc }.encode();
            edit(&mut bytes, &edits);
            if let Ok(large) = LargeValue::decode(&bytes) {
                prop_assert_eq!(large.encode(), bytes);
            }
        }
    }
}
