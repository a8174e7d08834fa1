//! crc32c, and what binds bytes to their place.
//!
//! Floor 1. Imports `address`.

use crate::address::SegmentId;

/// crc32c of `bytes`.
#[inline]
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// crc32c of what `crc` was computed of, followed by `bytes`.
#[inline]
pub(crate) fn extend(crc: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc, bytes)
}

/// The seed of every checksum within one file: of the database's uuid, the segment's id and its random epoch. Bytes of
/// another life of the same blocks, of another file or of another store never check out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Salt(pub(crate) u32);

impl Salt {
    /// The salt of the segment `id` of `database` in the life that `epoch` names.
    pub(crate) fn new(database: &[u8; 16], id: SegmentId, epoch: &[u8; 16]) -> Salt {
        Salt(extend(extend(crc(database), &id.0.to_le_bytes()), epoch))
    }

    /// The seed for what lies at `offset` of the file.
    #[inline]
    pub(crate) fn at(self, offset: u64) -> u32 {
        extend(self.0, &offset.to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::{Salt, crc, extend};
    use crate::address::SegmentId;

    #[test]
    fn the_checksum_is_crc32c_of_castagnoli() {
        // The check value of the catalogue of parametrised CRC algorithms, and the vectors of RFC 3720, B.4.
        assert_eq!(crc(b"123456789"), 0xe306_9283);
        assert_eq!(crc(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(extend(crc(b"1234"), b"56789"), 0xe306_9283, "in two parts");
    }

    #[test]
    fn a_salt_is_the_crc_of_uuid_id_and_epoch_and_a_seed_adds_the_offset() {
        let database: [u8; 16] = std::array::from_fn(|i| i as u8);
        let epoch: [u8; 16] = std::array::from_fn(|i| 0xf0 + i as u8);
        let salt = Salt::new(&database, SegmentId(42), &epoch);
        let mut whole = [&database[..], &42_u64.to_le_bytes(), &epoch].concat();
        assert_eq!(salt.0, crc(&whole));
        whole.extend(4096_u64.to_le_bytes());
        assert_eq!(salt.at(4096), crc(&whole));
    }

    #[test]
    fn another_database_segment_life_or_place_has_another_seed() {
        let seed = |database, id, epoch, offset| Salt::new(&[database; 16], SegmentId(id), &[epoch; 16]).at(offset);
        let one = seed(1, 1, 1, 4096);
        assert_ne!(one, seed(2, 1, 1, 4096));
        assert_ne!(one, seed(1, 2, 1, 4096));
        assert_ne!(one, seed(1, 1, 2, 4096));
        assert_ne!(one, seed(1, 1, 1, 4104));
    }
}
