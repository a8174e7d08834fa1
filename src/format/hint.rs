//! A hint: the records of one segment, sorted by the hashes of their keys, searched and walked in place.
//!
//! Floor 1. Imports `address`, `format`, `limits`.
//!
//! A hint is never authority: who finds none, or one that is damaged, reads the segment. Nothing here allocates, but for
//! messages. `open` checks all but the blocks; each block is checked whenever it is looked at.
//!
//! ```text
//!    bytes       part
//!      128       header         see `hint_header`
//!      8 a block       first hash     of each block, ascending
//!      8 a block       end            where each block ends, counted from the start of the blocks
//!      4 a block       crc            crc32c of each block
//!     16 a large value file           its name in `large/`
//!      8 a large value length         of that file
//!                blocks, each of 64 records but the last
//! ```
//!
//! A record in a block:
//!
//! ```text
//!  varint  what its hash exceeds that of the record before by, or in a block's first that of the block: 0
//!  varint  offset in the segment, a multiple of 8; in its low bits: 1 a keyspace follows; 2 put large, 4 delete, 6 other
//!  varint  keyspace, if flagged: not 0
//!  varint  length of the record in units of 8: 3 at least
//! ```
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::ops::{Range, RangeInclusive};

use crate::address::LargeId;
use crate::format::checksum;
use crate::format::fields::Fields;
use crate::format::hint_header::{BLOCK_RECORDS, HINT_HEADER_LEN, HintHeader};
use crate::format::record::{Flaw, Kind};
use crate::format::varint;
use crate::limits::{ADDRESS_BITS, RECORD_ALIGN, RECORD_HEADER_LEN, RECORDS_START, VALUE_LEN_MAX};

/// In the low bits of an offset.
pub(super) const HAS_KEYSPACE: u64 = 1;
pub(super) const KIND_SHIFT: u32 = 1;
const _: () = assert!((ListedKind::Other as u64) << KIND_SHIFT < RECORD_ALIGN);

/// Where records begin.
const OFFSETS: Range<u64> = RECORDS_START..RECORD_ALIGN << ADDRESS_BITS;

/// Lengths of records, in units.
const LEN_UNITS: RangeInclusive<u64> = RECORD_HEADER_LEN as u64 / RECORD_ALIGN..=u32::MAX as u64;

/// What a listed record does, as far as a hint tells.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(crate) enum ListedKind {
    Put = 0,
    PutLarge = 1,
    Delete = 2,
    /// A catalogue record: its key, which is hashed, is empty.
    Other = 3,
}

impl ListedKind {
    /// `None` for pads, which no hint lists.
    pub(crate) fn of(kind: Kind) -> Option<ListedKind> {
        Some(match kind {
            Kind::Put => ListedKind::Put,
            Kind::PutLarge => ListedKind::PutLarge,
            Kind::Delete => ListedKind::Delete,
            Kind::KeyspaceCreate | Kind::KeyspaceDrop | Kind::KeyspaceClear | Kind::Cursor => ListedKind::Other,
            Kind::Pad => return None,
        })
    }

    /// From its number, of which only the low two bits count.
    pub(super) fn from_bits(bits: u64) -> ListedKind {
        match bits & 3 {
            0 => ListedKind::Put,
            1 => ListedKind::PutLarge,
            2 => ListedKind::Delete,
            _ => ListedKind::Other,
        }
    }
}

/// One record of the segment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Listed {
    /// Of its key.
    pub(crate) hash: u64,
    pub(crate) offset: u64,
    pub(crate) kind: ListedKind,
    pub(crate) keyspace: u16,
    /// Encoded bytes.
    pub(crate) len: u64,
}

/// A hint in memory, or mapped.
#[derive(Clone, Copy)]
pub(crate) struct Hint<'a> {
    header: HintHeader,
    record_count: u64,
    /// Of each block: its first hash, where it ends, its crc.
    first_hashes: &'a [[u8; 8]],
    ends: &'a [[u8; 8]],
    crcs: &'a [[u8; 4]],
    large_ids: &'a [[u8; 16]],
    large_lens: &'a [[u8; 8]],
    blocks: &'a [u8],
}

impl<'a> Hint<'a> {
    /// Checks everything but the blocks: header, lists, and that `bytes` are all of the hint and no more.
    ///
    /// # Errors
    /// Says what is wrong. There is no telling damage from a newer version, and no need to.
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Hint<'a>, Flaw> {
        let (header, shape) = HintHeader::decode(bytes)?;
        let Some(lens) = shape.lists() else {
            return Err(damaged(format!("there is no room for {} records", shape.record_count)));
        };
        let mut fields = Fields::new(bytes);
        fields.bytes(HINT_HEADER_LEN)?;
        let lists = fields.bytes(lens.sum)?;
        let blocks = fields.rest();
        let crc = checksum::crc(lists);
        if crc != shape.lists_crc {
            return Err(damaged(format!("the crc of its lists is {:#010x}, they have {crc:#010x}", shape.lists_crc)));
        }
        let mut fields = Fields::new(lists);
        let [hashes, ends, crcs, ids, lens] = lens.each;
        let hint = Hint {
            header,
            record_count: shape.record_count,
            first_hashes: fields.bytes(hashes)?.as_chunks().0,
            ends: fields.bytes(ends)?.as_chunks().0,
            crcs: fields.bytes(crcs)?.as_chunks().0,
            large_ids: fields.bytes(ids)?.as_chunks().0,
            large_lens: fields.bytes(lens)?.as_chunks().0,
            blocks,
        };
        hint.check_lists()?;
        Ok(hint)
    }

    fn check_lists(&self) -> Result<(), Flaw> {
        let ends = self.ends.iter().map(number);
        let last = ends.clone().next_back().unwrap_or(0);
        if !ends.is_sorted_by(|a, b| a < b) || last != self.blocks.len() as u64 {
            return Err(damaged(format!("its blocks end at {last} of {} bytes, or out of order", self.blocks.len())));
        }
        if !self.first_hashes.iter().map(number).is_sorted() {
            return Err(damaged("the first hashes of its blocks are out of order".to_owned()));
        }
        match self.large().find(|(_, len)| *len == 0 || *len > VALUE_LEN_MAX) {
            Some((id, len)) => Err(damaged(format!("the large value {id} is never {len} bytes long"))),
            None => Ok(()),
        }
    }

    /// Which segment it is of.
    pub(crate) fn header(&self) -> &HintHeader {
        &self.header
    }

    /// How many records it lists.
    #[cfg(test)]
    pub(crate) fn len(&self) -> u64 {
        self.record_count
    }

    /// Bytes of all of it, but for the header.
    pub(crate) fn bytes(&self) -> u64 {
        let lists = self.first_hashes.len().saturating_mul(20).saturating_add(self.large_ids.len().saturating_mul(24));
        lists.saturating_add(self.blocks.len()) as u64
    }

    /// The files of large values that its records name, with their lengths, in the order of the segment.
    pub(crate) fn large(&self) -> impl Iterator<Item = (LargeId, u64)> + use<'a> {
        self.large_ids.iter().map(|id| LargeId(*id)).zip(self.large_lens.iter().map(number))
    }

    /// All records, by hash; those of one hash by offset.
    pub(crate) fn records(&self) -> Records<'a> {
        self.range(0..=u64::MAX)
    }

    /// The records whose keys have this hash, by offset.
    pub(crate) fn find(&self, hash: u64) -> Records<'a> {
        self.range(hash..=hash)
    }

    /// The records whose keys have hashes in this range, by hash. Only blocks that may hold one are looked at.
    pub(crate) fn range(&self, hashes: RangeInclusive<u64>) -> Records<'a> {
        let below = self.first_hashes.partition_point(|first| number(first) < *hashes.start());
        let reached = self.first_hashes.partition_point(|first| number(first) <= *hashes.end());
        // A run of equal hashes may begin in the block before, and the range in the middle of it.
        let next_block = below.saturating_sub(1);
        let none = BlockRecords { rest: &[], left: 0, hash: 0, offset: 0 };
        Records { hint: *self, next_block, blocks_end: reached, block: none, hashes }
    }

    /// Whether a key of this hash is put in this keyspace by a record of the segment: what deletes of that key are kept
    /// for in younger ones (C4).
    ///
    /// # Errors
    /// As `Records`.
    pub(crate) fn puts(&self, hash: u64, keyspace: u16) -> Result<bool, Flaw> {
        for listed in self.find(hash) {
            let listed = listed?;
            if listed.keyspace == keyspace && matches!(listed.kind, ListedKind::Put | ListedKind::PutLarge) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The records of the block at `at`, its checksum verified.
    fn block(&self, at: usize) -> Result<BlockRecords<'a>, Flaw> {
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, number);
        let facts = self.first_hashes.get(at).zip(self.ends.get(at)).zip(self.crcs.get(at));
        // `open` has seen that the ends ascend up to the last byte.
        let block = facts.and_then(|((hash, end), crc)| {
            let bytes = self.blocks.get(start as usize..number(end) as usize)?;
            Some((bytes, number(hash), u32::from_le_bytes(*crc)))
        });
        let Some((bytes, hash, crc)) = block else {
            return Err(damaged(format!("there is no block {at}")));
        };
        let computed = checksum::crc(bytes);
        if crc != computed {
            return Err(damaged(format!("the crc of block {at} is {crc:#010x}, its bytes have {computed:#010x}")));
        }
        let before = (at as u64).saturating_mul(BLOCK_RECORDS as u64);
        let left = self.record_count.saturating_sub(before).min(BLOCK_RECORDS as u64) as usize;
        Ok(BlockRecords { rest: bytes, left, hash, offset: 0 })
    }
}

/// Records of a hint, by hash. After a flaw there are no more.
///
/// # Errors
/// A block whose checksum is wrong, or that holds what is never written. The hint is to be treated as missing.
pub(crate) struct Records<'a> {
    hint: Hint<'a>,
    next_block: usize,
    blocks_end: usize,
    block: BlockRecords<'a>,
    hashes: RangeInclusive<u64>,
}

impl Records<'_> {
    fn step(&mut self) -> Result<Option<Listed>, Flaw> {
        loop {
            while let Some(listed) = self.block.step()? {
                if self.hashes.contains(&listed.hash) {
                    return Ok(Some(listed));
                }
                if listed.hash > *self.hashes.end() {
                    return Ok(None);
                }
            }
            if self.next_block >= self.blocks_end {
                return Ok(None);
            }
            self.block = self.hint.block(self.next_block)?;
            self.next_block = self.next_block.saturating_add(1);
        }
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Listed, Flaw>;

    #[inline]
    fn next(&mut self) -> Option<Result<Listed, Flaw>> {
        let step = self.step();
        if !matches!(step, Ok(Some(_))) {
            (self.block.rest, self.block.left, self.next_block) = (&[], 0, self.blocks_end);
        }
        step.transpose()
    }
}

/// What is left of a block.
struct BlockRecords<'a> {
    rest: &'a [u8],
    left: usize,
    /// Of the record before; of a block's first record: its own, and 0.
    hash: u64,
    offset: u64,
}

impl BlockRecords<'_> {
    #[inline]
    fn step(&mut self) -> Result<Option<Listed>, Flaw> {
        let Some(left) = self.left.checked_sub(1) else {
            return if self.rest.is_empty() { Ok(None) } else { Err(no_record()) };
        };
        let listed = self.decode().ok_or_else(no_record)?;
        (self.left, self.hash, self.offset) = (left, listed.hash, listed.offset);
        Ok(Some(listed))
    }

    /// The next record; `None` if there is none that a hint may hold here.
    #[inline]
    fn decode(&mut self) -> Option<Listed> {
        let above = varint::take(&mut self.rest)?;
        let word = varint::take(&mut self.rest)?;
        let keyspace = match word & HAS_KEYSPACE {
            0 => 0,
            _ => varint::take(&mut self.rest).filter(|id| *id != 0)?,
        };
        let len = varint::take(&mut self.rest).filter(|units| LEN_UNITS.contains(units))?;
        let offset = word & !RECORD_ALIGN.wrapping_sub(1);
        let ordered = match self.offset {
            0 => above == 0,
            before => above > 0 || before < offset,
        };
        if !ordered || !OFFSETS.contains(&offset) {
            return None;
        }
        Some(Listed {
            hash: self.hash.checked_add(above)?,
            offset,
            kind: ListedKind::from_bits(word >> KIND_SHIFT),
            keyspace: u16::try_from(keyspace).ok()?,
            len: len.checked_mul(RECORD_ALIGN)?,
        })
    }
}

fn number(bytes: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*bytes)
}

fn damaged(what: String) -> Flaw {
    Flaw::Damaged(what)
}

#[cold]
fn no_record() -> Flaw {
    damaged("a block holds something else than its records".to_owned())
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
#[path = "hint_tests.rs"]
mod tests;
