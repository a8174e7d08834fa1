//! Makes checksums right, by the format's description and not by the library's code.

use crate::{put, u32_at};

const HEADER_COPY: usize = 3584;
const RECORDS: usize = 4096;
const FOOTER: usize = 64;

/// What is made right, by bits.
pub const HEADERS: u8 = 1;
pub const COPY: u8 = 2;
pub const SLOTS: u8 = 4;
pub const RECORD_HEADS: u8 = 8;
pub const VALUES: u8 = 16;
pub const FOOTERS: u8 = 32;
/// What the footer says of the records, too.
pub const SUMS: u8 = 64;
/// Takes database, id and epoch from the store that it is put in.
pub const OWNER: u8 = 128;

fn crc(parts: &[&[u8]]) -> u32 {
    parts.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part))
}

/// The last four of the `len` bytes at `at`.
fn block(bytes: &mut [u8], at: usize, len: usize, salt: &[u8]) {
    if let Some(block) = bytes.get(at..at + len) {
        let sum = crc(&[salt, &block[..len - 4]]);
        put(bytes, at + len - 4, &sum.to_le_bytes());
    }
}

/// A record of a segment.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    pub at: usize,
    pub kind: u8,
    pub flags: u8,
    pub keyspace: u16,
    pub key: (usize, usize),
    pub value: (usize, usize),
}

impl Record {
    pub fn key<'a>(&self, segment: &'a [u8]) -> &'a [u8] {
        &segment[self.key.0..self.key.1]
    }

    pub fn value<'a>(&self, segment: &'a [u8]) -> &'a [u8] {
        &segment[self.value.0..self.value.1]
    }
}

/// The records of a segment, as far as they lie within it, whatever their checksums.
pub fn records(segment: &[u8]) -> Vec<Record> {
    let (mut at, mut found) = (RECORDS, Vec::new());
    while let Some(header) = segment.get(at..at + 24).filter(|header| header.iter().any(|byte| *byte != 0)) {
        let extensions = 8 * usize::from(header[23] >> 1 & 1) + 8 * usize::from(header[23] >> 2 & 1);
        let key = at + 24 + extensions;
        let key_end = key + usize::from(u16::from_le_bytes([header[14], header[15]]));
        let value = key_end.next_multiple_of(8);
        let value_end = value + u32_at(header, 16).unwrap_or_default() as usize;
        if value_end > segment.len() {
            break;
        }
        let keyspace = u16::from_le_bytes([header[20], header[21]]);
        let (key, value) = ((key, key_end), (value, value_end));
        found.push(Record { at, kind: header[22], flags: header[23], keyspace, key, value });
        at = value_end.next_multiple_of(8);
    }
    found
}

/// Makes right what `what` says of a segment; `owner` is a header of the store.
pub fn segment(bytes: &mut [u8], what: u8, owner: Option<&[u8]>) {
    if let Some(owner) = owner.filter(|_| what & OWNER != 0) {
        put(bytes, 0, &owner[..72]);
    }
    if what & HEADERS != 0 {
        block(bytes, 0, 512, &[]);
    }
    if what & COPY != 0 && bytes.len() >= RECORDS {
        bytes.copy_within(..512, HEADER_COPY);
    }
    let salt = bytes.get(16..56).unwrap_or_default().to_vec();
    if what & SLOTS != 0 {
        block(bytes, 512, 512, &salt);
        block(bytes, 1024, 512, &salt);
    }
    let records = records(bytes);
    for record in &records {
        if what & VALUES != 0 {
            let sum = crc(&[record.value(bytes)]);
            put(bytes, record.at + 4, &sum.to_le_bytes());
        }
        if what & RECORD_HEADS != 0 {
            let sum = crc(&[&salt, &(record.at as u64).to_le_bytes(), &bytes[record.at + 4..record.key.1]]);
            put(bytes, record.at, &sum.to_le_bytes());
        }
    }
    let Some(footer) = bytes.len().checked_sub(FOOTER).filter(|at| *at >= RECORDS) else { return };
    if what & SUMS != 0 {
        let end = records.last().map_or(RECORDS, |record| record.value.1.next_multiple_of(8)).min(footer);
        let last = records.last().map(|record| bytes[record.at + 8..record.at + 14].to_vec());
        let sum = crc(&[&bytes[RECORDS..end]]);
        put(bytes, footer, b"ZCFOOTER");
        put(bytes, footer + 8, &(end as u64).to_le_bytes());
        put(bytes, footer + 16, &last.unwrap_or_default());
        put(bytes, footer + 24, &(records.len() as u64).to_le_bytes());
        put(bytes, footer + 32, &sum.to_le_bytes());
    }
    if what & FOOTERS != 0 {
        block(bytes, footer, FOOTER, &salt);
    }
}

/// Each copy of an identity, or any other block of a sector without a salt.
pub fn sectors(bytes: &mut [u8], salt: &[u8]) {
    for at in (0..bytes.len()).step_by(512) {
        block(bytes, at, 512, salt);
    }
}

/// The block of a footer.
pub fn footer(bytes: &mut [u8], salt: &[u8]) {
    block(bytes, 0, FOOTER, salt);
}

/// The checksums of a hint, as far as its counts say where they lie.
pub fn hint(bytes: &mut [u8], length: bool) {
    if length {
        let len = bytes.len() as u64;
        put(bytes, 88, &len.to_le_bytes());
    }
    let count = |bytes: &[u8], at| crate::u64_at(bytes, at).and_then(|count| usize::try_from(count).ok());
    let places = || {
        let blocks = count(bytes, 72)?.div_ceil(64);
        let larges = count(bytes, 80)?;
        let lists = blocks.checked_mul(20)?.checked_add(larges.checked_mul(24)?)?;
        (lists <= bytes.len().checked_sub(128)?).then_some((blocks, lists))
    };
    if let Some((blocks, lists)) = places() {
        let start = 128 + lists;
        let (mut from, mut sums) = (0, Vec::new());
        for at in 0..blocks {
            let end = count(bytes, 128 + 8 * blocks + 8 * at).unwrap_or(0);
            sums.push(bytes.get(start..).and_then(|all| all.get(from..end)).map_or(0, |block| crc(&[block])));
            from = end;
        }
        for (at, sum) in sums.into_iter().enumerate() {
            put(bytes, 128 + 16 * blocks + 4 * at, &sum.to_le_bytes());
        }
        let sum = crc(&[&bytes[128..start]]);
        put(bytes, 96, &sum.to_le_bytes());
    }
    block(bytes, 0, 128, &[]);
}

/// The checksums of a written index.
pub fn checkpoint(bytes: &mut [u8]) {
    let count = |at| u32_at(bytes, at).unwrap_or_default() as usize;
    let (files, larges, units) = (count(64), count(68), count(72));
    let lists = units.checked_mul(16_448).and_then(|len| len.checked_add(4096)).filter(|start| *start <= bytes.len());
    if let Some(start) = lists {
        let first = start.saturating_add(files.saturating_mul(80)).saturating_add(larges.saturating_mul(24));
        for unit in 0..units {
            let at = 4096 + unit * 16_448;
            let sum = crc(&[&bytes[at..at + 16_448]]);
            put(bytes, first.saturating_add(unit * 16 + 12), &sum.to_le_bytes());
        }
        let sum = crc(&[&bytes[start..]]);
        put(bytes, 76, &sum.to_le_bytes());
    }
    block(bytes, 0, 512, &[]);
}
