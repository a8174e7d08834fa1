//! What a segment holds beside its records: header, horizon slots, footer.
//!
//! Floor 1. Imports `address`, `error`, `format`, `limits`.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use crate::address::{SegmentId, Seqno};
use crate::error::{Error, ErrorKind, Result};
use crate::format::VERSION;
use crate::format::checksum::Salt;
use crate::format::fields::{Block, open};
use crate::format::record::Flaw;
use crate::limits::{ADDRESS_BITS, FOOTER_LEN, RECORD_ALIGN, RECORD_HEADER_LEN, RECORDS_START, SECTOR, SEQNO_MAX};

const HEADER_MAGIC: &[u8; 8] = b"ZCSEGMNT";
const HORIZON_MAGIC: &[u8; 8] = b"ZCHORIZN";
const FOOTER_MAGIC: &[u8; 8] = b"ZCFOOTER";

/// What the records of a segment are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SegmentKind {
    /// A piece of the log, in the order of writing.
    Log,
    /// Live records of older segments, rewritten.
    Packed,
}

impl SegmentKind {
    pub(super) fn to_byte(self) -> u8 {
        match self {
            SegmentKind::Log => 1,
            SegmentKind::Packed => 2,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Option<SegmentKind> {
        match byte {
            1 => Some(SegmentKind::Log),
            2 => Some(SegmentKind::Packed),
            _ => None,
        }
    }
}

/// Sector 0 and, again, sector 7 of a segment.
///
/// ```text
///  offset  bytes  field
///       0      8  magic        "ZCSEGMNT"
///       8      4  version      of the format
///      12      1  kind         1 log, 2 packed
///      13      3  zero
///      16     16  database     uuid of the store
///      32      8  id           from 1
///      40     16  epoch        random, of this life of the file
///      56      8  first seqno  of the first record, or that it will have; below 2^48
///      64      8  len          of the file, footer included; a multiple of 8
///      72    436  zero
///     508      4  crc          crc32c of bytes 0..508
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SegmentHeader {
    pub(crate) database: [u8; 16],
    pub(crate) id: SegmentId,
    pub(crate) epoch: [u8; 16],
    pub(crate) kind: SegmentKind,
    pub(crate) first_seqno: Seqno,
    /// the file's length, fixed for life
    pub(crate) len: u64,
}

/// Why a sector is no header that this version reads.
enum HeaderFlaw {
    Newer(u32),
    Bad(Flaw),
}

impl From<Flaw> for HeaderFlaw {
    fn from(flaw: Flaw) -> HeaderFlaw {
        HeaderFlaw::Bad(flaw)
    }
}

impl SegmentHeader {
    /// The sector that holds this header.
    pub(crate) fn encode(&self) -> [u8; SECTOR] {
        Block::new(HEADER_MAGIC)
            .put(&VERSION.to_le_bytes())
            .put(&[self.kind.to_byte(), 0, 0, 0])
            .put(&self.database)
            .put(&self.id.0.to_le_bytes())
            .put(&self.epoch)
            .put(&u64::from(self.first_seqno).to_le_bytes())
            .put(&self.len.to_le_bytes())
            .finish(0)
    }

    /// `sector` is 512 bytes read at `offset` of `file`.
    ///
    /// # Errors
    ///
    /// `Corruption` names file, offset and what is wrong; `FormatVersion` if a newer version wrote it, undamaged.
    pub(crate) fn decode(sector: &[u8], file: &str, offset: u64) -> Result<SegmentHeader> {
        SegmentHeader::from_sector(sector).map_err(|flaw| match flaw {
            HeaderFlaw::Bad(flaw) => Error::corruption(file, offset, format_args!("no segment header: {flaw}")),
            HeaderFlaw::Newer(version) => Error::new(
                ErrorKind::FormatVersion,
                format!("{file} has format version {version}, this program knows {VERSION}: open it with a newer one"),
            ),
        })
    }

    fn from_sector(sector: &[u8]) -> Result<SegmentHeader, HeaderFlaw> {
        let mut fields = open::<SECTOR>(sector, HEADER_MAGIC, 0)?;
        let version = fields.u32()?;
        if version > VERSION {
            return Err(HeaderFlaw::Newer(version));
        }
        let kind = fields.u8()?;
        fields.reserved(3)?;
        let header = SegmentHeader {
            kind: SegmentKind::from_byte(kind).ok_or_else(|| damaged(format!("kind {kind} is none")))?,
            database: fields.array()?,
            id: SegmentId(fields.u64()?),
            epoch: fields.array()?,
            first_seqno: seqno(fields.u64()?)?,
            len: fields.u64()?,
        };
        fields.only_zeros_left()?;
        if version == 0 || header.id.0 == 0 || header.first_seqno == Seqno::from(0) {
            return Err(damaged("version, id and first seqno are from 1".to_owned()).into());
        }
        let lens = RECORDS_START + FOOTER_LEN..=RECORD_ALIGN << ADDRESS_BITS;
        if !lens.contains(&header.len) || !header.len.is_multiple_of(RECORD_ALIGN) {
            let len = header.len;
            return Err(damaged(format!("a segment is never {len} bytes long")).into());
        }
        Ok(header)
    }

    /// What the checksums of this segment's records, horizons and footer begin with.
    pub(crate) fn salt(&self) -> Salt {
        Salt::new(&self.database, self.id, &self.epoch)
    }
}

/// A horizon slot (sectors 1 and 2): everything before `offset` is known durable; `seqno` is the last record's there.
///
/// ```text
///  offset  bytes  field
///       0      8  magic   "ZCHORIZN"
///       8      8  offset  a multiple of 8, not below 4096
///      16      8  seqno   below 2^48
///      24    484  zero
///     508      4  crc     crc32c of database, id and epoch of the segment and bytes 0..508
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Horizon {
    pub(crate) offset: u64,
    pub(crate) seqno: Seqno,
}

impl Horizon {
    /// The sector that holds this horizon in the segment of `salt`.
    pub(crate) fn encode(&self, salt: Salt) -> [u8; SECTOR] {
        Block::new(HORIZON_MAGIC)
            .put(&self.offset.to_le_bytes())
            .put(&u64::from(self.seqno).to_le_bytes())
            .finish(salt.0)
    }

    /// None: never written, or not valid (a slot torn by a power cut is no damage).
    pub(crate) fn decode(sector: &[u8], salt: Salt) -> Option<Horizon> {
        Horizon::from_sector(sector, salt).ok()
    }

    fn from_sector(sector: &[u8], salt: Salt) -> Result<Horizon, Flaw> {
        let mut fields = open::<SECTOR>(sector, HORIZON_MAGIC, salt.0)?;
        let horizon = Horizon { offset: place(fields.u64()?)?, seqno: seqno(fields.u64()?)? };
        fields.only_zeros_left()?;
        Ok(horizon)
    }
}

/// The last 64 bytes of a sealed segment.
///
/// ```text
///  offset  bytes  field
///       0      8  magic         "ZCFOOTER"
///       8      8  end           a multiple of 8, not below 4096
///      16      8  last seqno    below 2^48
///      24      8  record count  at most as many as fit before `end`
///      32      4  records' crc
///      36     24  zero
///      60      4  crc           crc32c of database, id and epoch of the segment and bytes 0..60
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Footer {
    /// where the records end (exclusive)
    pub(crate) end: u64,
    pub(crate) last_seqno: Seqno,
    pub(crate) record_count: u64,
    /// crc32c of the bytes from RECORDS_START to `end`
    pub(crate) crc: u32,
}

/// `FOOTER_LEN` as the length of an array.
const FOOTER_BYTES: usize = FOOTER_LEN as usize;

impl Footer {
    /// The bytes of this footer in the segment of `salt`.
    pub(crate) fn encode(&self, salt: Salt) -> [u8; FOOTER_BYTES] {
        Block::new(FOOTER_MAGIC)
            .put(&self.end.to_le_bytes())
            .put(&u64::from(self.last_seqno).to_le_bytes())
            .put(&self.record_count.to_le_bytes())
            .put(&self.crc.to_le_bytes())
            .finish(salt.0)
    }

    /// None: never written, or not valid. `bytes` are the last 64 of the file.
    pub(crate) fn decode(bytes: &[u8], salt: Salt) -> Option<Footer> {
        Footer::from_bytes(bytes, salt).ok()
    }

    fn from_bytes(bytes: &[u8], salt: Salt) -> Result<Footer, Flaw> {
        let mut fields = open::<FOOTER_BYTES>(bytes, FOOTER_MAGIC, salt.0)?;
        let footer = Footer {
            end: place(fields.u64()?)?,
            last_seqno: seqno(fields.u64()?)?,
            record_count: fields.u64()?,
            crc: fields.u32()?,
        };
        fields.only_zeros_left()?;
        let len_min = footer.record_count.checked_mul(RECORD_HEADER_LEN as u64);
        let len = footer.end.saturating_sub(RECORDS_START);
        if len_min.is_none_or(|len_min| len_min > len) {
            let count = footer.record_count;
            return Err(damaged(format!("{count} records do not fit before {}", footer.end)));
        }
        Ok(footer)
    }
}

fn damaged(what: String) -> Flaw {
    Flaw::Damaged(what)
}

/// Where records may begin or end.
fn place(offset: u64) -> Result<u64, Flaw> {
    if offset < RECORDS_START || !offset.is_multiple_of(RECORD_ALIGN) {
        return Err(damaged(format!("no record begins or ends at {offset}")));
    }
    Ok(offset)
}

fn seqno(number: u64) -> Result<Seqno, Flaw> {
    if number > SEQNO_MAX {
        return Err(damaged(format!("seqno {number} has more than 48 bits")));
    }
    Ok(Seqno::from(number))
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::{Footer, Horizon, SegmentHeader, SegmentKind};
    use crate::address::{SegmentId, Seqno};
    use crate::error::ErrorKind;
    use crate::format::checksum::{self, Salt};
    use crate::format::{cases, edit, edits, hex};
    use crate::limits::{RECORDS_START, SEQNO_MAX};
    use proptest::prelude::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            database: std::array::from_fn(|i| 0x10 + i as u8),
            id: SegmentId(42),
            epoch: std::array::from_fn(|i| 0xe0 + i as u8),
            kind: SegmentKind::Log,
            first_seqno: Seqno::from(0x0605_0403_0201),
            len: 1 << 20,
        }
    }

    fn horizon() -> Horizon {
        Horizon { offset: 0x12340, seqno: Seqno::from(77) }
    }

    fn footer() -> Footer {
        Footer { end: 0x12340, last_seqno: Seqno::from(77), record_count: 70, crc: 0xa1b2_c3d4 }
    }

    /// `bytes` with its last four made the crc of the others.
    fn fixed_up(mut bytes: Vec<u8>, seed: u32) -> Vec<u8> {
        let body = bytes.len() - 4;
        let crc = checksum::extend(seed, &bytes[..body]);
        bytes[body..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `bytes` with `field` at `at`, its crc fixed up.
    fn with(bytes: &[u8], at: usize, field: &[u8], seed: u32) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        bytes[at..at + field.len()].copy_from_slice(field);
        fixed_up(bytes, seed)
    }

    fn flipped(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        (0..bytes.len() * 8).map(|bit| {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            flipped
        })
    }

    fn kind_of(sector: &[u8]) -> Result<SegmentHeader, ErrorKind> {
        SegmentHeader::decode(sector, "0000000042.seg", 3584).map_err(|error| error.kind())
    }

    #[test]
    fn a_header_has_the_documented_bytes() {
        let mut expected = hex("
            5a435345474d4e54 01000000 01 000000
            101112131415161718191a1b1c1d1e1f
            2a00000000000000
            e0e1e2e3e4e5e6e7e8e9eaebecedeeef
            0102030405060000  0000100000000000");
        expected.resize(508, 0);
        expected.extend(hex("5854970e"));
        assert_eq!(header().encode().to_vec(), expected);
        let packed = SegmentHeader { kind: SegmentKind::Packed, ..header() };
        assert_eq!(packed.encode()[12], 2);
    }

    #[test]
    fn a_horizon_has_the_documented_bytes() {
        let mut expected = hex("5a43484f52495a4e 4023010000000000 4d00000000000000");
        expected.resize(508, 0);
        expected.extend(hex("63afd5b9"));
        assert_eq!(horizon().encode(header().salt()).to_vec(), expected);
    }

    #[test]
    fn a_footer_has_the_documented_bytes() {
        let expected = hex("
            5a43464f4f544552 4023010000000000 4d00000000000000 4600000000000000
            d4c3b2a1
            000000000000000000000000000000000000000000000000
            d363cffc");
        assert_eq!(footer().encode(header().salt()).to_vec(), expected);
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_corruption() {
        for (bit, sector) in flipped(&header().encode()).enumerate() {
            assert_eq!(kind_of(&sector), Err(ErrorKind::Corruption), "bit {bit}");
        }
    }

    #[test]
    fn every_flipped_bit_of_a_horizon_or_footer_is_refused() {
        let salt = header().salt();
        for (bit, sector) in flipped(&horizon().encode(salt)).enumerate() {
            assert_eq!(Horizon::decode(&sector, salt), None, "bit {bit}");
        }
        for (bit, bytes) in flipped(&footer().encode(salt)).enumerate() {
            assert_eq!(Footer::decode(&bytes, salt), None, "bit {bit}");
        }
    }

    #[test]
    fn zeros_and_bytes_cut_short_are_nothing() {
        let salt = header().salt();
        for len in 0..=512 {
            assert_eq!(kind_of(&vec![0; len]), Err(ErrorKind::Corruption));
            assert_eq!(Horizon::decode(&vec![0; len], salt), None);
            assert_eq!(Footer::decode(&vec![0; len], salt), None);
        }
        assert_eq!(kind_of(&header().encode()[..511]), Err(ErrorKind::Corruption));
        assert_eq!(Horizon::decode(&horizon().encode(salt)[..511], salt), None);
        assert_eq!(Footer::decode(&footer().encode(salt)[..63], salt), None);
    }

    #[test]
    fn a_horizon_or_footer_of_another_segment_or_life_is_refused() {
        let salt = header().salt();
        for other in [
            SegmentHeader { id: SegmentId(43), ..header() },
            SegmentHeader { epoch: [1; 16], ..header() },
            SegmentHeader { database: [1; 16], ..header() },
        ] {
            assert_eq!(Horizon::decode(&horizon().encode(other.salt()), salt), None);
            assert_eq!(Footer::decode(&footer().encode(other.salt()), salt), None);
        }
    }

    #[test]
    fn a_newer_version_is_not_taken_for_damage() {
        let newer = with(&header().encode(), 8, &2_u32.to_le_bytes(), 0);
        let error = SegmentHeader::decode(&newer, "0000000042.seg", 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FormatVersion);
        let text = "0000000042.seg has format version 2, this program knows 1: open it with a newer one";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn damage_is_reported_with_file_offset_and_what() {
        let error = SegmentHeader::decode(&[0; 512], "0000000042.seg", 3584).unwrap_err();
        let text = "0000000042.seg is damaged at offset 3584: no segment header: nothing but zeros is there";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn fields_that_make_no_sense_are_refused_whatever_the_crc_says() {
        let sector = header().encode();
        assert!(kind_of(&with(&sector, 64, &4160_u64.to_le_bytes(), 0)).is_ok());
        for (at, field) in [
            (0, 0_u64),           // the magic number
            (8, 0),               // version 0
            (12, 0),              // kind 0
            (12, 3),              // kind 3
            (12, 0x0100_0001),    // a reserved byte
            (32, 0),              // id 0
            (56, SEQNO_MAX + 1),  // first seqno
            (64, 4152),           // shorter than header and footer
            (64, (1 << 20) + 4),  // not a multiple of 8
            (64, (16 << 40) + 8), // beyond the address space
            (64, u64::MAX),
            (72, 1), // reserved bytes
            (500, 1 << 56),
        ] {
            let width = if at < 16 { 4 } else { 8 };
            let sector = with(&sector, at, &field.to_le_bytes()[..width], 0);
            assert_eq!(kind_of(&sector), Err(ErrorKind::Corruption), "{field} at {at}");
        }
        let salt = header().salt();
        for (at, field) in [(0, 0), (8, 4088), (8, 4100), (8, u64::MAX), (16, SEQNO_MAX + 1), (24, 1), (500, 1 << 56)] {
            let sector = with(&horizon().encode(salt), at, &field.to_le_bytes(), salt.0);
            assert_eq!(Horizon::decode(&sector, salt), None, "{field} at {at}");
        }
        let count_max = (0x12340 - 4096) / 24;
        for (at, field) in [
            (0, 0),
            (8, 4088),
            (8, 4100),
            (16, SEQNO_MAX + 1),
            (24, count_max + 1),
            (24, u64::MAX),
            (36, 1),
            (52, 1 << 56),
        ] {
            let bytes = with(&footer().encode(salt), at, &field.to_le_bytes(), salt.0);
            assert_eq!(Footer::decode(&bytes, salt), None, "{field} at {at}");
        }
    }

    #[test]
    fn records_may_end_where_they_begin_and_have_the_last_seqno_of_all() {
        let (salt, offset, last) = (header().salt(), RECORDS_START, Seqno::from(SEQNO_MAX));
        let horizon = Horizon { offset, seqno: last };
        assert_eq!(Horizon::decode(&horizon.encode(salt), salt), Some(horizon));
        let footer = Footer { end: offset, last_seqno: last, record_count: 0, crc: 0 };
        assert_eq!(Footer::decode(&footer.encode(salt), salt), Some(footer));
    }

    proptest! {
        #![proptest_config(cases(1024))]

        #[test]
        fn what_was_encoded_decodes(
            database: [u8; 16], id in 1..=u64::MAX, epoch: [u8; 16], packed: bool,
            seqno in 1..=SEQNO_MAX, words in 520..=1_u64 << 41, crc: u32, share: u32,
        ) {
            let kind = if packed { SegmentKind::Packed } else { SegmentKind::Log };
            let (len, seqno) = (words * 8, Seqno::from(seqno));
            let header =
                SegmentHeader { database, id: SegmentId(id), epoch, kind, first_seqno: seqno, len };
            prop_assert_eq!(kind_of(&header.encode()), Ok(header.clone()));
            let salt = header.salt();
            let horizon = Horizon { offset: len, seqno };
            prop_assert_eq!(Horizon::decode(&horizon.encode(salt), salt), Some(horizon));
            let record_count = u64::from(share).min((len - 4096) / 24);
            let footer = Footer { end: len, last_seqno: seqno, record_count, crc };
            prop_assert_eq!(Footer::decode(&footer.encode(salt), salt), Some(footer));
        }

        #[test]
        fn arbitrary_bytes_are_refused_without_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..600), salt: u32,
        ) {
            prop_assert!(kind_of(&bytes).is_err());
            prop_assert_eq!(Horizon::decode(&bytes, Salt(salt)), None);
            prop_assert_eq!(Footer::decode(&bytes, Salt(salt)), None);
        }

        /// With its checksum fixed up, what is accepted is exactly what the encoder would have written.
        #[test]
        fn nothing_is_accepted_that_is_never_written(
            header_edits in edits(), slot_edits in edits(), footer_edits in edits(), salt: u32,
        ) {
            // The fields lie within the first 80 bytes.
            let mut sector = header().encode().to_vec();
            edit(&mut sector[..80], &header_edits);
            let mut slot = horizon().encode(Salt(salt)).to_vec();
            edit(&mut slot[..32], &slot_edits);
            let mut bytes = footer().encode(Salt(salt)).to_vec();
            edit(&mut bytes, &footer_edits);
            let sector = fixed_up(sector, 0);
            if let Ok(header) = kind_of(&sector) {
                prop_assert_eq!(header.encode().to_vec(), sector);
            }
            let slot = fixed_up(slot, salt);
            if let Some(horizon) = Horizon::decode(&slot, Salt(salt)) {
                prop_assert_eq!(horizon.encode(Salt(salt)).to_vec(), slot);
            }
            let footer = fixed_up(bytes, salt);
            if let Some(decoded) = Footer::decode(&footer, Salt(salt)) {
                prop_assert_eq!(decoded.encode(Salt(salt)).to_vec(), footer);
            }
        }
    }
}
