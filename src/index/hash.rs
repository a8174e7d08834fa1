//! The hash function of a store, with its seed: the same key has the same hash in each version, on every platform.
//!
//! Floor 2. Imports nothing.

use rapidhash::v3::{RapidSecrets, rapidhash_v3_nano_inline, rapidhash_v3_seeded};
use siphasher::sip::SipHasher13;

/// The store's hash function with its seed; its output is stable across versions and platforms.
#[derive(Clone, Debug)]
pub(crate) enum Hasher {
    /// rapidhash v3 with secrets made from the first half of the seed, its output xored with the second half.
    Rapid { secrets: RapidSecrets, mask: u64 },
    /// SipHash-1-3 keyed with the seed, against keys chosen to collide.
    Sip(SipHasher13),
}

/// Up to here, rapidhash's nano variant gives the same as v3, in fewer instructions.
const NANO_LEN_MAX: usize = 48;

impl Hasher {
    pub(crate) fn rapid(seed: [u8; 16]) -> Hasher {
        let seed = u128::from_le_bytes(seed);
        Hasher::Rapid { secrets: RapidSecrets::seed(seed as u64), mask: (seed >> 64) as u64 }
    }

    pub(crate) fn sip(seed: [u8; 16]) -> Hasher {
        Hasher::Sip(SipHasher13::new_with_key(&seed))
    }

    #[inline(always)]
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        match self {
            Hasher::Rapid { secrets, mask } if key.len() <= NANO_LEN_MAX => {
                rapidhash_v3_nano_inline::<true, false>(key, secrets) ^ mask
            }
            Hasher::Rapid { secrets, mask } => rapidhash_v3_seeded(key, secrets) ^ mask,
            Hasher::Sip(hasher) => sip(hasher, key),
        }
    }
}

/// Out of line: inlined it would push apart what the other function's users run.
#[inline(never)]
fn sip(hasher: &SipHasher13, key: &[u8]) -> u64 {
    hasher.hash(key)
}

#[cfg(test)]
mod tests {
    use super::{Hasher, NANO_LEN_MAX, RapidSecrets, rapidhash_v3_nano_inline, rapidhash_v3_seeded};

    const SEED: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

    /// The hashes of the first bytes of 0, 1, 2 .. of these lengths, which are on both sides of each branch by length.
    fn hashes(hasher: &Hasher) -> Vec<u64> {
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        [0, 1, 3, 4, 7, 8, 16, 17, 48, 49, 112, 113, 1000].map(|len| hasher.hash(&bytes[..len])).into()
    }

    #[test]
    fn rapidhash_gives_what_stores_were_written_with() {
        let written = [
            0xf676_5803_c980_cd31,
            0x62ed_be88_223b_4c80,
            0xf555_494c_4a71_f456,
            0x9b90_059d_2380_773d,
            0xdb93_1869_1f71_3b0a,
            0xf189_0ed0_5d30_67ef,
            0xa166_d83b_1fd0_c06e,
            0xeee5_14c2_94dc_c0b8,
            0x3b69_606e_1608_3dbd,
            0x4b44_3662_3409_5e89,
            0x8b05_3e8e_dd93_a7bc,
            0x3381_43f8_6d2b_dd85,
            0x5b49_21e1_73b1_a561,
        ];
        assert_eq!(hashes(&Hasher::rapid(SEED)), written);
    }

    #[test]
    fn the_nano_variant_gives_the_same_hashes_for_short_keys() {
        let bytes: Vec<u8> = (0..=255).map(|byte: u8| byte.wrapping_mul(0x9d)).collect();
        let secrets = RapidSecrets::seed(7);
        let same =
            |key: &[u8]| rapidhash_v3_nano_inline::<true, false>(key, &secrets) == rapidhash_v3_seeded(key, &secrets);
        for len in 0..=NANO_LEN_MAX {
            assert!((0..200).all(|start| same(&bytes[start..start + len])), "{len} bytes");
        }
        assert!(!same(&bytes[..=NANO_LEN_MAX]), "the limit is the highest there is");
    }

    #[test]
    fn siphash_gives_what_stores_were_written_with() {
        let written = [
            0xabac_0158_050f_c4dc,
            0xc9f4_9bf3_7d57_ca93,
            0x8bf8_0ab8_e7dd_f7fb,
            0xcf75_5760_88d3_8328,
            0xd392_7d98_9bb1_1140,
            0x3690_9511_8d29_9a8e,
            0xcc4f_dd1a_7d90_8b66,
            0x9cf2_6890_63db_d80c,
            0x9f31_43f8_df07_4c46,
            0xc6fd_af24_12cc_86b3,
            0xad5a_75bd_734e_758c,
            0x3b5b_fc88_a390_08b6,
            0x2cf8_d9d4_f270_cadf,
        ];
        assert_eq!(hashes(&Hasher::sip(SEED)), written);
    }

    /// From the vectors that come with Rust's own SipHash-1-3: key 0 .. 15, inputs of 0, 1, 2 .. bytes.
    #[test]
    fn siphash_gives_the_published_vectors() {
        let published: [[u8; 8]; 4] = [
            [0xdc, 0xc4, 0x0f, 0x05, 0x58, 0x01, 0xac, 0xab],
            [0x93, 0xca, 0x57, 0x7d, 0xf3, 0x9b, 0xf4, 0xc9],
            [0x4d, 0xd4, 0xc7, 0x4d, 0x02, 0x9b, 0xcb, 0x82],
            [0xfb, 0xf7, 0xdd, 0xe7, 0xb8, 0x0a, 0xf8, 0x8b],
        ];
        for (len, published) in published.into_iter().enumerate() {
            let input: Vec<u8> = (0..len as u8).collect();
            assert_eq!(Hasher::sip(SEED).hash(&input), u64::from_le_bytes(published), "{len} bytes");
        }
    }

    #[test]
    fn each_half_of_the_seed_changes_every_hash() {
        for byte in [0, 15] {
            let mut seed = SEED;
            seed[byte] ^= 1;
            for (one, other) in [(Hasher::rapid(SEED), Hasher::rapid(seed)), (Hasher::sip(SEED), Hasher::sip(seed))] {
                let pairs = hashes(&one).into_iter().zip(hashes(&other));
                assert!(pairs.into_iter().all(|(one, other)| one != other), "byte {byte}");
            }
        }
    }
}
