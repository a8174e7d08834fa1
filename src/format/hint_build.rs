//! Making a hint: the records of a segment are collected in any order, and sorted at the end.
//!
//! Floor 1. Imports `address`, `format`, `limits`.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use crate::address::LargeId;
use crate::format::checksum;
use crate::format::hint::{HAS_KEYSPACE, KIND_SHIFT, Listed, ListedKind};
use crate::format::hint_header::{BLOCK_RECORDS, HINT_HEADER_LEN, HintHeader, Shape};
use crate::format::varint;
use crate::limits::{ADDRESS_BITS, RECORD_ALIGN, RECORDS_START, VALUE_LEN_MAX};

/// A record as it is kept: offset, kind and keyspace in one word, in this order, so that words sort as offsets do.
const KEYSPACE_BITS: u32 = u16::BITS;
const KIND_BITS: u32 = 2;
const _: () = assert!(ADDRESS_BITS + KIND_BITS + KEYSPACE_BITS <= u64::BITS);

/// A hint being made: 24 bytes a record.
#[derive(Default)]
pub(crate) struct Builder {
    /// (hash, word, length in units)
    records: Vec<(u64, u64, u32)>,
    large: Vec<(LargeId, u64)>,
}

impl Builder {
    /// Lists a record, which is no put of a large value.
    pub(crate) fn add(&mut self, listed: Listed) {
        assert_ne!(listed.kind, ListedKind::PutLarge, "the file of a large value is named with its record");
        self.push(listed);
    }

    /// Lists the put of a large value, and the file of `len` bytes that it names.
    pub(crate) fn add_large(&mut self, listed: Listed, (id, len): (LargeId, u64)) {
        assert!(len != 0 && len <= VALUE_LEN_MAX, "the caller has decoded the length");
        assert_eq!(listed.kind, ListedKind::PutLarge, "no other record names a file");
        self.push(listed);
        self.large.push((id, len));
    }

    fn push(&mut self, listed: Listed) {
        let unit = listed.offset / RECORD_ALIGN;
        let placed = listed.offset.is_multiple_of(RECORD_ALIGN) && listed.offset >= RECORDS_START;
        assert!(placed && unit >> ADDRESS_BITS == 0, "no record begins at {}", listed.offset);
        let word = (unit << KIND_BITS | listed.kind as u64) << KEYSPACE_BITS | u64::from(listed.keyspace);
        let len = u32::try_from(listed.len / RECORD_ALIGN).expect("a record is no longer than its value and some more");
        self.records.push((listed.hash, word, len));
    }

    /// The hint of these records, which are all of the segment that `header` names.
    pub(crate) fn finish(mut self, header: &HintHeader) -> Vec<u8> {
        self.records.sort_unstable();
        let blocks = self.records.chunks(BLOCK_RECORDS);
        let (mut ends, mut crcs, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        for block in blocks.clone() {
            let start = bytes.len();
            encode_block(block, &mut bytes);
            ends.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            let block = bytes.get(start..).expect("it was appended to");
            crcs.extend_from_slice(&checksum::crc(block).to_le_bytes());
        }
        let mut lists: Vec<u8> =
            blocks.filter_map(|block| block.first()).flat_map(|(hash, ..)| hash.to_le_bytes()).collect();
        lists.append(&mut ends);
        lists.append(&mut crcs);
        lists.extend(self.large.iter().flat_map(|(id, _)| id.0));
        lists.extend(self.large.iter().flat_map(|(_, len)| len.to_le_bytes()));
        let shape = Shape {
            record_count: self.records.len() as u64,
            large_count: self.large.len() as u64,
            lists_crc: checksum::crc(&lists),
        };
        let len = HINT_HEADER_LEN.saturating_add(lists.len()).saturating_add(bytes.len());
        let mut hint = Vec::with_capacity(len);
        hint.extend_from_slice(&header.encode(shape, len as u64));
        hint.append(&mut lists);
        hint.append(&mut bytes);
        hint
    }
}

/// Appends the records of a block.
fn encode_block(records: &[(u64, u64, u32)], out: &mut Vec<u8>) {
    let mut before = records.first().map_or(0, |(hash, ..)| *hash);
    for (hash, word, len) in records {
        let keyspace = u64::from(*word as u16);
        let kind = ListedKind::from_bits(word >> KEYSPACE_BITS);
        let offset = (word >> KEYSPACE_BITS >> KIND_BITS).saturating_mul(RECORD_ALIGN);
        let flag = if keyspace == 0 { 0 } else { HAS_KEYSPACE };
        varint::put(out, hash.wrapping_sub(before));
        varint::put(out, offset | (kind as u64) << KIND_SHIFT | flag);
        if keyspace != 0 {
            varint::put(out, keyspace);
        }
        varint::put(out, u64::from(*len));
        before = *hash;
    }
}
