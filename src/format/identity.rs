//! Who a store is: the file `ZIPCASK`.
//!
//! Floor 1. Imports `error`, `format`, `limits`.
//!
//! It is written whole under another name, made durable, and renamed: no power cut leaves a damaged one behind. The
//! second copy is for a medium that decays.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use crate::error::{Error, ErrorKind, Result};
use crate::format::VERSION;
use crate::format::fields::{Block, open};
use crate::format::record::Flaw;
use crate::limits::SECTOR;

const MAGIC: &[u8; 8] = b"ZIPCASK\n";

/// Feature bits that this version knows; a store with other incompatible ones cannot be read, with other read-only
/// compatible ones not be written.
const INCOMPAT_KNOWN: u64 = 0;
const RO_COMPAT_KNOWN: u64 = 0;
/// Of `compat`: the store is a copy that nobody has opened for writing.
const COMPAT_COPY: u64 = 1;

/// How keys are hashed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HashKind {
    /// rapidhash v3
    Rapid,
    /// SipHash-1-3, for hostile keys
    Sip,
}

impl HashKind {
    pub(super) fn to_byte(self) -> u8 {
        match self {
            HashKind::Rapid => 1,
            HashKind::Sip => 2,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Option<HashKind> {
        match byte {
            1 => Some(HashKind::Rapid),
            2 => Some(HashKind::Sip),
            _ => None,
        }
    }
}

/// The contents of `ZIPCASK`: twice this sector.
///
/// ```text
///  offset  bytes  field
///       0      8  magic      "ZIPCASK" and a newline
///       8      4  version    of the format
///      12      4  zero
///      16      8  incompat   feature bits: an unknown one means the store cannot be read
///      24      8  ro-compat  feature bits: an unknown one means it can only be read
///      32      8  compat     feature bits: unknown ones do not matter; bit 0: a copy that nobody has opened for writing
///      40     16  database   uuid, the same for all copies of the store
///      56     16  lineage    anew when a copy is first opened for writing
///      72      1  hash kind  1 rapidhash v3, 2 SipHash-1-3
///      73      7  zero
///      80     16  hash seed
///      96    412  zero
///     508      4  crc        crc32c of bytes 0..508
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Identity {
    pub(crate) incompat: u64,
    pub(crate) ro_compat: u64,
    pub(crate) compat: u64,
    pub(crate) database: [u8; 16],
    pub(crate) lineage: [u8; 16],
    pub(crate) hash_kind: HashKind,
    pub(crate) hash_seed: [u8; 16],
}

/// Why a sector is no identity that this version reads.
enum CopyFlaw {
    Newer { version: u32, incompat: u64 },
    Bad(Flaw),
}

impl From<Flaw> for CopyFlaw {
    fn from(flaw: Flaw) -> CopyFlaw {
        CopyFlaw::Bad(flaw)
    }
}

impl Identity {
    /// Bytes of the file.
    pub(crate) const LEN: usize = 2 * SECTOR;

    /// The bits of `ro_compat` that this version does not know: if any is set, the store is open for reading only.
    pub(crate) fn ro_compat_unknown(&self) -> u64 {
        self.ro_compat & !RO_COMPAT_KNOWN
    }

    /// Whether it is that of a copy that nobody has opened for writing: then `PENDING` counts.
    pub(crate) fn is_copy(&self) -> bool {
        self.compat & COMPAT_COPY != 0
    }

    /// That of a copy.
    pub(crate) fn of_copy(&self) -> Identity {
        Identity { compat: self.compat | COMPAT_COPY, ..self.clone() }
    }

    /// That of a copy that goes its own way from here on.
    pub(crate) fn with_lineage(&self, lineage: [u8; 16]) -> Identity {
        Identity { compat: self.compat & !COMPAT_COPY, lineage, ..self.clone() }
    }

    /// Both copies, each in a sector of its own.
    pub(crate) fn encode(&self) -> [u8; Identity::LEN] {
        let copy: [u8; SECTOR] = Block::new(MAGIC)
            .put(&VERSION.to_le_bytes())
            .put(&[0; 4])
            .put(&self.incompat.to_le_bytes())
            .put(&self.ro_compat.to_le_bytes())
            .put(&self.compat.to_le_bytes())
            .put(&self.database)
            .put(&self.lineage)
            .put(&[self.hash_kind.to_byte(), 0, 0, 0, 0, 0, 0, 0])
            .put(&self.hash_seed)
            .finish(0);
        let mut both = [0; Identity::LEN];
        both.as_chunks_mut().0.fill(copy);
        both
    }

    /// Decodes what `file` holds: the identity, and the offset of the copy that is damaged, if one is.
    ///
    /// # Errors
    ///
    /// `FormatVersion` if an undamaged copy is of a newer version or has incompatible features unknown to this one,
    /// `Corruption` if both copies are damaged, or differ; `Invalid` if the file is not ours: no copy begins as one.
    pub(crate) fn decode(bytes: &[u8], file: &str) -> Result<(Identity, Option<u64>)> {
        let (first, second) = bytes.split_at_checked(SECTOR).unwrap_or((bytes, &[]));
        match (Identity::from_copy(first), Identity::from_copy(second)) {
            (Err(CopyFlaw::Newer { version, incompat }), _) | (_, Err(CopyFlaw::Newer { version, incompat })) => {
                Err(newer(file, version, incompat))
            }
            (Ok(first), Ok(second)) if first == second => Ok((first, None)),
            (Ok(_), Ok(_)) => Err(Error::corruption(file, 0, "its two copies differ")),
            (Ok(first), Err(CopyFlaw::Bad(_))) => Ok((first, Some(SECTOR as u64))),
            (Err(CopyFlaw::Bad(_)), Ok(second)) => Ok((second, Some(0))),
            (Err(CopyFlaw::Bad(flaw)), Err(CopyFlaw::Bad(other))) => {
                if !first.starts_with(MAGIC) && !second.starts_with(MAGIC) {
                    return Err(Error::new(ErrorKind::Invalid, format!("{file} is not a zipcask store's identity")));
                }
                let what = format_args!("neither copy is whole: {flaw}; the second: {other}");
                Err(Error::corruption(file, 0, what))
            }
        }
    }

    fn from_copy(sector: &[u8]) -> Result<Identity, CopyFlaw> {
        let mut fields = open::<SECTOR>(sector, MAGIC, 0)?;
        let version = fields.u32()?;
        let reserved = fields.reserved(4);
        let incompat = fields.u64()?;
        if version > VERSION || incompat & !INCOMPAT_KNOWN != 0 {
            return Err(CopyFlaw::Newer { version, incompat });
        }
        reserved?;
        if version == 0 {
            return Err(Flaw::Damaged("version 0 is none".to_owned()).into());
        }
        let (ro_compat, compat) = (fields.u64()?, fields.u64()?);
        let (database, lineage) = (fields.array()?, fields.array()?);
        let kind = fields.u8()?;
        let hash_kind = HashKind::from_byte(kind).ok_or_else(|| Flaw::Damaged(format!("hash kind {kind} is none")))?;
        fields.reserved(7)?;
        let hash_seed = fields.array()?;
        fields.only_zeros_left()?;
        Ok(Identity { incompat, ro_compat, compat, database, lineage, hash_kind, hash_seed })
    }
}

fn newer(file: &str, version: u32, incompat: u64) -> Error {
    Error::new(
        ErrorKind::FormatVersion,
        format!(
            "{file} has format version {version} and incompatible features {incompat:#x}, \
             this program knows {VERSION} and {INCOMPAT_KNOWN:#x}: open it with a newer one"
        ),
    )
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::{HashKind, Identity};
    use crate::error::{Error, ErrorKind};
    use crate::format::{cases, checksum, edit, edits, hex};
    use proptest::prelude::*;

    fn identity() -> Identity {
        Identity {
            incompat: 0,
            ro_compat: 2,
            compat: 3,
            database: std::array::from_fn(|i| 0x10 + i as u8),
            lineage: std::array::from_fn(|i| 0xe0 + i as u8),
            hash_kind: HashKind::Rapid,
            hash_seed: std::array::from_fn(|i| 0x30 + i as u8),
        }
    }

    fn decode(bytes: &[u8]) -> Result<(Identity, Option<u64>), Error> {
        Identity::decode(bytes, "ZIPCASK")
    }

    fn kind_of(bytes: &[u8]) -> Option<ErrorKind> {
        decode(bytes).err().map(|error| error.kind())
    }

    /// The copy `copy` of `bytes` with `field` at `at` and its crc fixed up.
    fn alter(bytes: &mut [u8], copy: usize, at: usize, field: &[u8]) {
        let copy = &mut bytes[copy * 512..][..512];
        copy[at..at + field.len()].copy_from_slice(field);
        let crc = checksum::crc(&copy[..508]);
        copy[508..].copy_from_slice(&crc.to_le_bytes());
    }

    fn altered(at: usize, field: &[u8]) -> Vec<u8> {
        let mut bytes = identity().encode().to_vec();
        alter(&mut bytes, 0, at, field);
        alter(&mut bytes, 1, at, field);
        bytes
    }

    #[test]
    fn an_identity_has_the_documented_bytes_twice() {
        let mut copy = hex("
            5a49504341534b0a 01000000 00000000
            0000000000000000 0200000000000000 0300000000000000
            101112131415161718191a1b1c1d1e1f
            e0e1e2e3e4e5e6e7e8e9eaebecedeeef
            01 00000000000000
            303132333435363738393a3b3c3d3e3f");
        copy.resize(508, 0);
        copy.extend(hex("00878bcd"));
        assert_eq!(identity().encode().to_vec(), [&copy[..], &copy].concat());
        let sip = Identity { hash_kind: HashKind::Sip, ..identity() };
        assert_eq!(sip.encode()[72], 2);
    }

    #[test]
    fn a_flipped_bit_damages_one_copy_and_the_other_serves() {
        let bytes = identity().encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            let damaged = if bit < 512 * 8 { 0 } else { 512 };
            assert_eq!(decode(&flipped).unwrap(), (identity(), Some(damaged)), "bit {bit}");
        }
    }

    #[test]
    fn the_same_bit_flipped_in_both_copies_is_corruption() {
        let bytes = identity().encode();
        for bit in 0..512 * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            flipped[512 + bit / 8] ^= 1 << (bit % 8);
            let expected = if bit < 64 { ErrorKind::Invalid } else { ErrorKind::Corruption };
            assert_eq!(kind_of(&flipped), Some(expected), "bit {bit}");
        }
    }

    #[test]
    fn a_file_without_the_second_copy_is_served_by_the_first() {
        let bytes = identity().encode();
        assert_eq!(decode(&bytes[..512]).unwrap(), (identity(), Some(512)));
        assert_eq!(decode(&bytes[..1023]).unwrap(), (identity(), Some(512)));
        assert_eq!(kind_of(&bytes[..511]), Some(ErrorKind::Corruption));
        assert_eq!(kind_of(&bytes[..7]), Some(ErrorKind::Invalid));
    }

    #[test]
    fn a_store_is_a_copy_until_it_goes_its_own_way_and_other_features_stay() {
        for compat in [0, 2, 3, u64::MAX] {
            let identity = Identity { compat, ..identity() };
            assert_eq!(identity.is_copy(), compat % 2 == 1, "{compat}");
            let copy = identity.of_copy();
            assert_eq!(copy, Identity { compat: compat | 1, ..identity.clone() });
            assert!(copy.is_copy());
            let own = copy.with_lineage([9; 16]);
            assert_eq!(own, Identity { compat: compat & !1, lineage: [9; 16], ..identity });
            assert!(!own.is_copy());
        }
    }

    #[test]
    fn copies_that_differ_are_corruption() {
        let mut bytes = identity().encode();
        alter(&mut bytes, 1, 56, &[0xff]);
        assert_eq!(kind_of(&bytes), Some(ErrorKind::Corruption));
    }

    #[test]
    fn what_is_not_ours_is_invalid() {
        assert_eq!(kind_of(&altered(0, b"z")), Some(ErrorKind::Invalid));
        for bytes in [&b""[..], b"hello", &[0; 512], &[0; 1024], &[0xff; 1024]] {
            let error = decode(bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert_eq!(error.to_string(), "ZIPCASK is not a zipcask store's identity");
        }
    }

    #[test]
    fn a_newer_version_or_unknown_incompatible_feature_is_refused_as_such() {
        let version = decode(&altered(8, &[7])).unwrap_err();
        assert_eq!(version.kind(), ErrorKind::FormatVersion);
        let text = "ZIPCASK has format version 7 and incompatible features 0x0, \
                    this program knows 1 and 0x0: open it with a newer one";
        assert_eq!(version.to_string(), text);
        for bit in 0..64 {
            let incompat = (1_u64 << bit).to_le_bytes();
            assert_eq!(kind_of(&altered(16, &incompat)), Some(ErrorKind::FormatVersion));
        }
        let mut rotten = altered(8, &[7]);
        rotten[100] ^= 1;
        assert_eq!(kind_of(&rotten), Some(ErrorKind::FormatVersion), "one copy is damaged");
    }

    #[test]
    fn other_unknown_features_are_told_and_do_not_stop_a_reader() {
        let (identity, _) = decode(&altered(24, &[0x05])).unwrap();
        assert_eq!(identity.ro_compat_unknown(), 5);
        let (identity, _) = decode(&altered(32, &[0xff])).unwrap();
        assert_eq!(identity.compat, 0xff);
    }

    #[test]
    fn fields_that_make_no_sense_are_refused_whatever_the_crc_says() {
        for (at, field) in [(8, 0), (12, 1), (15, 1), (72, 0), (72, 3), (73, 1), (79, 1), (96, 1), (507, 1)] {
            assert_eq!(kind_of(&altered(at, &[field])), Some(ErrorKind::Corruption), "{field} at {at}");
        }
    }

    proptest! {
        #![proptest_config(cases(1024))]

        #[test]
        fn what_was_encoded_decodes(
            ro_compat: u64, compat: u64, database: [u8; 16], lineage: [u8; 16], sip: bool, hash_seed: [u8; 16],
        ) {
            let hash_kind = if sip { HashKind::Sip } else { HashKind::Rapid };
            let identity =
                Identity { incompat: 0, ro_compat, compat, database, lineage, hash_kind, hash_seed };
            prop_assert_eq!(decode(&identity.encode()).unwrap(), (identity, None));
        }

        #[test]
        fn nothing_is_accepted_that_is_never_written(
            edits in edits(), arbitrary in prop::collection::vec(any::<u8>(), 0..1200),
        ) {
            let mut fields = identity().encode()[..120].to_vec();
            edit(&mut fields, &edits);
            let bytes = altered(0, &fields);
            if let Ok((identity, None)) = decode(&bytes) {
                prop_assert_eq!(identity.encode().to_vec(), bytes);
            }
            prop_assert!(decode(&arbitrary).is_err());
        }
    }
}
