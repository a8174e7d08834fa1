//! The header of a hint: which segment it is of, and how much of everything follows.
//!
//! Floor 1. Imports `address`, `format`, `limits`.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use crate::address::{SegmentId, Seqno};
use crate::format::VERSION;
use crate::format::fields::{Block, open};
use crate::format::identity::HashKind;
use crate::format::record::Flaw;
use crate::format::segment::SegmentKind;
use crate::limits::{RECORDS_START, SEQNO_MAX};

const MAGIC: &[u8; 8] = b"ZCHINTS\n";
pub(super) const HINT_HEADER_LEN: usize = 128;
/// Records of a block.
pub(super) const BLOCK_RECORDS: usize = 64;

/// Which segment a hint is of, and how its keys were hashed.
///
/// ```text
///  offset  bytes  field
///       0      8  magic         "ZCHINTS" and a newline
///       8      4  version       of the format
///      12      1  kind          of the segment: 1 log, 2 packed
///      13      1  hash kind     1 rapidhash v3, 2 SipHash-1-3
///      14      2  zero
///      16     16  database      uuid of the store
///      32      8  id            of the segment
///      40     16  epoch         of the segment
///      56      8  first seqno   of the segment
///      64      8  last seqno    of its last record, or the one before the first seqno
///      72      8  record count  of those listed
///      80      8  large count   of the large values that the listed records name
///      88      8  length        of the hint
///      96      4  lists' crc    crc32c of all between header and blocks
///     100      4  zero
///     104      8  end           of the segment's records
///     112      8  all records   of the segment, with those that are not listed
///     120      4  zero
///     124      4  crc           crc32c of bytes 0..124
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HintHeader {
    pub(crate) kind: SegmentKind,
    pub(crate) hash_kind: HashKind,
    pub(crate) database: [u8; 16],
    pub(crate) id: SegmentId,
    pub(crate) epoch: [u8; 16],
    pub(crate) first_seqno: Seqno,
    pub(crate) last_seqno: Seqno,
    /// Of the segment's records: where they end, and how many they are, with those that are not listed.
    pub(crate) end: u64,
    pub(crate) all_records: u64,
}

/// What the header says of the rest.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) record_count: u64,
    pub(super) large_count: u64,
    pub(super) lists_crc: u32,
}

impl Shape {
    /// How long the lists before the blocks are; `None` if longer than memory.
    pub(super) fn lists(&self) -> Option<ListLens> {
        let blocks = usize::try_from(self.record_count.div_ceil(BLOCK_RECORDS as u64)).ok()?;
        let larges = usize::try_from(self.large_count).ok()?;
        let each = [
            blocks.checked_mul(8)?,
            blocks.checked_mul(8)?,
            blocks.checked_mul(4)?,
            larges.checked_mul(16)?,
            larges.checked_mul(8)?,
        ];
        let sum = each.iter().try_fold(0_usize, |sum, len| sum.checked_add(*len))?;
        Some(ListLens { each, sum })
    }
}

/// Bytes of the lists before the blocks, in their order, and of all of them.
pub(super) struct ListLens {
    pub(super) each: [usize; 5],
    pub(super) sum: usize,
}

impl HintHeader {
    pub(super) fn encode(&self, shape: Shape, len: u64) -> [u8; HINT_HEADER_LEN] {
        Block::new(MAGIC)
            .put(&VERSION.to_le_bytes())
            .put(&[self.kind.to_byte(), self.hash_kind.to_byte(), 0, 0])
            .put(&self.database)
            .put(&self.id.0.to_le_bytes())
            .put(&self.epoch)
            .put(&u64::from(self.first_seqno).to_le_bytes())
            .put(&u64::from(self.last_seqno).to_le_bytes())
            .put(&shape.record_count.to_le_bytes())
            .put(&shape.large_count.to_le_bytes())
            .put(&len.to_le_bytes())
            .put(&shape.lists_crc.to_le_bytes())
            .put(&[0; 4])
            .put(&self.end.to_le_bytes())
            .put(&self.all_records.to_le_bytes())
            .finish(0)
    }

    /// Decodes the header of the hint that `bytes` are, all of it and no more.
    pub(super) fn decode(bytes: &[u8]) -> Result<(HintHeader, Shape), Flaw> {
        let mut fields = open::<HINT_HEADER_LEN>(bytes, MAGIC, 0)?;
        let version = fields.u32()?;
        if version != VERSION {
            return Err(damaged(format!("version {version} is not {VERSION}")));
        }
        let (kind, hash_kind) = (fields.u8()?, fields.u8()?);
        let (Some(kind), Some(hash_kind)) = (SegmentKind::from_byte(kind), HashKind::from_byte(hash_kind)) else {
            return Err(damaged(format!("kind {kind} with hash kind {hash_kind} is none")));
        };
        fields.reserved(2)?;
        let mut header = HintHeader {
            kind,
            hash_kind,
            database: fields.array()?,
            id: SegmentId(fields.u64()?),
            epoch: fields.array()?,
            first_seqno: Seqno::from(fields.u64()?),
            last_seqno: Seqno::from(fields.u64()?),
            end: 0,
            all_records: 0,
        };
        let (record_count, large_count, said) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let shape = Shape { record_count, large_count, lists_crc: fields.u32()? };
        fields.reserved(4)?;
        (header.end, header.all_records) = (fields.u64()?, fields.u64()?);
        fields.only_zeros_left()?;
        let (first, last) = (u64::from(header.first_seqno), u64::from(header.last_seqno));
        let seqnos = last.saturating_add(1).checked_sub(first);
        let all = header.all_records;
        let counts = large_count <= record_count && record_count <= all && seqnos.is_some_and(|seqnos| all <= seqnos);
        if header.id.0 == 0 || first == 0 || last > SEQNO_MAX || header.end < RECORDS_START || !counts {
            let what = format!(
                "seqnos {first} to {last}, {record_count} of {all} records up to {}, {large_count} of them large, do not fit",
                header.end
            );
            return Err(damaged(what));
        }
        if said != bytes.len() as u64 {
            return Err(damaged(format!("it is {} bytes long, its header says {said}", bytes.len())));
        }
        Ok((header, shape))
    }
}

fn damaged(what: String) -> Flaw {
    Flaw::Damaged(what)
}
