//! A record: its header, extensions, key and value, and what makes sure that they are the ones that were written here.
//!
//! Floor 1. Imports `address`, `format`, `limits`, `sabotage`.
//!
//! Everything here is on the way of each write and read: nothing is allocated but the text of a flaw.
//!
//! ```text
//!  offset  bytes  field
//!       0      4  header crc    crc32c of the segment's database, id and epoch, the record's offset in
//!                               the file (8 bytes), and bytes 4.. to the end of the key
//!       4      4  value crc     crc32c of the value
//!       8      6  seqno
//!      14      2  key length
//!      16      4  value length
//!      20      2  keyspace
//!      22      1  kind          1 put, 2 put large, 3 delete, 4 keyspace create, 5 keyspace drop,
//!                               6 keyspace clear, 7 cursor, 8 pad
//!      23      1  flags         1 more of this batch follows, 2 has expiry, 4 has horizon; others zero
//!                               (8 compressed and 16 sealed by crypto are reserved)
//!      24      8  horizon       only if flagged: all before this offset of the file was durable before
//!              8  expiry        only if flagged: milliseconds since 1970
//!              .  key
//!              .  zeros         up to a multiple of 8
//!              .  value
//!              .  zeros         up to a multiple of 8
//! ```

use std::fmt;
use std::ops::Range;

use crate::address::Seqno;
use crate::format::checksum::{self, Salt};
use crate::limits::{EXTENSION_LEN, LARGE_VALUE_LEN, RECORD_ALIGN, RECORD_HEADER_LEN, SEQNO_BITS, SEQNO_MAX};
use crate::sabotage::{Sabotage, planted};

const MORE_FOLLOWS: u8 = 1;
const HAS_EXPIRY: u8 = 2;
const HAS_HORIZON: u8 = 4;

/// Where fields of the header lie that are written when the others stand already.
const HEADER_CRC: Range<usize> = 0..4;
const SEQNO: Range<usize> = 8..14;
const KEY_LEN: Range<usize> = 14..16;
const FLAGS: usize = 23;

const _: () = assert!(SEQNO_BITS == 48 && RECORD_ALIGN == 8 && EXTENSION_LEN == 8);

/// What a record does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    Put = 1,
    PutLarge = 2,
    Delete = 3,
    KeyspaceCreate = 4,
    KeyspaceDrop = 5,
    KeyspaceClear = 6,
    Cursor = 7,
    Pad = 8,
}

impl Kind {
    #[inline]
    fn from_byte(byte: u8) -> Option<Kind> {
        Some(match byte {
            1 => Kind::Put,
            2 => Kind::PutLarge,
            3 => Kind::Delete,
            4 => Kind::KeyspaceCreate,
            5 => Kind::KeyspaceDrop,
            6 => Kind::KeyspaceClear,
            7 => Kind::Cursor,
            8 => Kind::Pad,
            _ => return None,
        })
    }

    /// Whether it says something of keyspaces or cursors.
    pub(crate) fn is_catalogue(self) -> bool {
        matches!(self, Kind::KeyspaceCreate | Kind::KeyspaceDrop | Kind::KeyspaceClear | Kind::Cursor)
    }

    /// Whether a record of this kind gives a key a value.
    #[inline]
    pub(crate) fn is_put(self) -> bool {
        matches!(self, Kind::Put | Kind::PutLarge)
    }

    /// Whether a record of this kind may be so: only puts have all, a large one has a value of `format::large`, a delete
    /// has none, others have no key.
    #[inline]
    fn allows(self, key_len: usize, value_len: usize, has_expiry: bool) -> bool {
        match self {
            Kind::Put => true,
            Kind::PutLarge => value_len == LARGE_VALUE_LEN,
            Kind::Delete => value_len == 0 && !has_expiry,
            _ => key_len == 0 && !has_expiry,
        }
    }
}

/// What a writer knows of a record before the leader gives it its place.
///
/// Only puts have an expiry; deletes have no value; catalogue records and pads have no key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) kind: Kind,
    pub(crate) keyspace: u16,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    /// milliseconds since 1970
    pub(crate) expiry: Option<u64>,
}

impl Draft<'_> {
    /// Encoded length, padding included. The caller has checked key and value against their limits.
    #[inline]
    pub(crate) fn encoded_len(&self) -> usize {
        let extensions = if self.expiry.is_some() { EXTENSION_LEN } else { 0 };
        let (key, value) = (self.key.len(), self.value.len());
        RECORD_HEADER_LEN + extensions + key + padding(key) + value + padding(value)
    }

    /// Appends the record; seqno, header crc and the flag "more of this batch follows" are left zero.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let key_len = u16::try_from(self.key.len()).expect("the caller has checked the key");
        let value_len = u32::try_from(self.value.len()).expect("the caller has checked the value");
        assert!(
            self.kind.allows(self.key.len(), self.value.len(), self.expiry.is_some()),
            "a {:?} has a key, value or expiry that its kind does not have",
            self.kind
        );
        let mut header = [0; RECORD_HEADER_LEN];
        header[4..8].copy_from_slice(&checksum::crc(self.value).to_le_bytes());
        header[KEY_LEN].copy_from_slice(&key_len.to_le_bytes());
        header[16..20].copy_from_slice(&value_len.to_le_bytes());
        header[20..22].copy_from_slice(&self.keyspace.to_le_bytes());
        header[22] = self.kind as u8;
        header[FLAGS] = if self.expiry.is_some() { HAS_EXPIRY } else { 0 };

        out.reserve(self.encoded_len());
        out.extend_from_slice(&header);
        if let Some(expiry) = self.expiry {
            out.extend_from_slice(&expiry.to_le_bytes());
        }
        for bytes in [self.key, self.value] {
            out.extend_from_slice(bytes);
            out.extend_from_slice(&[0; RECORD_ALIGN as usize][..padding(bytes.len())]);
        }
    }
}

/// Zeros that bring `len` bytes up to a multiple of 8.
#[inline]
fn padding(len: usize) -> usize {
    len.wrapping_neg() % RECORD_ALIGN as usize
}

/// Marks an encoded record as followed by another of its batch (call before `stamp`).
#[inline]
pub(crate) fn set_more_follows(record: &mut [u8]) {
    record[FLAGS] |= MORE_FOLLOWS;
}

/// Moves the header of the encoded record at `at` in `buffer` 8 bytes towards the front and puts a horizon extension
/// behind it, so that the record begins at `at - 8` and no other byte moves. Bytes at-8..at are free for it.
/// Call before `stamp`.
pub(crate) fn insert_horizon(buffer: &mut [u8], at: usize, horizon: u64) {
    assert_eq!(buffer[at + FLAGS] & HAS_HORIZON, 0, "the record has a horizon already");
    buffer[at + FLAGS] |= HAS_HORIZON;
    buffer.copy_within(at..at + RECORD_HEADER_LEN, at - EXTENSION_LEN);
    let extension = at - EXTENSION_LEN + RECORD_HEADER_LEN;
    buffer[extension..extension + EXTENSION_LEN].copy_from_slice(&horizon.to_le_bytes());
}

/// Gives an encoded record its seqno and, from its place, its header crc. `record` starts with the record and may be
/// longer.
#[inline]
pub(crate) fn stamp(record: &mut [u8], seqno: Seqno, salt: Salt, offset: u64) {
    let seqno = u64::from(seqno);
    assert!(seqno <= SEQNO_MAX, "seqno {seqno} does not fit a record");
    record[SEQNO].copy_from_slice(&seqno.to_le_bytes()[..SEQNO.len()]);
    let key_len = u16::from_le_bytes([record[KEY_LEN.start], record[KEY_LEN.start + 1]]);
    let extensions = (record[FLAGS] & (HAS_EXPIRY | HAS_HORIZON)).count_ones() as usize;
    let key_end = RECORD_HEADER_LEN + extensions * EXTENSION_LEN + usize::from(key_len);
    let crc = checksum::extend(seed(salt, offset), &record[HEADER_CRC.end..key_end]);
    record[HEADER_CRC].copy_from_slice(&crc.to_le_bytes());
}

/// Appends a whole record to `out` as it is to stand at `offset` of the segment of `salt`: alone, out of its batch and its
/// group. Seqno, key, value and expiry stay.
pub(crate) fn transplant(record: &[u8], header: &Header, salt: Salt, offset: u64, out: &mut Vec<u8>) {
    let start = out.len();
    let (fixed, rest) = record.split_at(RECORD_HEADER_LEN);
    out.extend_from_slice(fixed);
    out.extend_from_slice(&rest[if header.has_horizon { EXTENSION_LEN } else { 0 }..]);
    out[start + FLAGS] &= !(MORE_FOLLOWS | HAS_HORIZON);
    stamp(&mut out[start..], header.seqno, salt, offset);
}

/// Appends the delete that hides as much as a put did, and gives its header; for `transplant`.
pub(crate) fn delete_in_place_of(record: &[u8], header: &Header, out: &mut Vec<u8>) -> Header {
    let Range { start, end } = header.key();
    let key = &record[start as usize..end as usize];
    Draft { kind: Kind::Delete, keyspace: header.keyspace, key, value: &[], expiry: None }.encode(out);
    Header {
        kind: Kind::Delete,
        value_crc: checksum::crc(&[]),
        value_len: 0,
        more_follows: false,
        has_expiry: false,
        has_horizon: false,
        ..*header
    }
}

/// What the header crc of the record at `offset` begins with.
#[inline]
fn seed(salt: Salt, offset: u64) -> u32 {
    if planted(Sabotage::NoSalt) { 0 } else { salt.at(offset) }
}

/// A decoded header: all of a record but its key's and value's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) header_crc: u32,
    pub(crate) value_crc: u32,
    pub(crate) seqno: Seqno,
    pub(crate) keyspace: u16,
    pub(crate) kind: Kind,
    pub(crate) more_follows: bool,
    pub(crate) has_expiry: bool,
    pub(crate) has_horizon: bool,
    key_len: u16,
    value_len: u32,
}

/// Where key and value of a put lie, in bytes from its start: what a lookup needs of a header, in registers.
///
/// Nothing is checked but that this is the header of a put, with flags that are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shape {
    pub(crate) keyspace: u16,
    pub(crate) key_len: u16,
    pub(crate) key: u32,
    pub(crate) value: u32,
    pub(crate) value_len: u32,
}

// Lengths of a header and a key are far from the end of a u32.
#[deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
impl Shape {
    /// Of any put.
    #[inline]
    pub(crate) fn of_put(header: &[u8; RECORD_HEADER_LEN]) -> Option<Shape> {
        Shape::of(header, MORE_FOLLOWS | HAS_EXPIRY | HAS_HORIZON)
    }

    /// Of a put that never expires: most do not, and whoever reads them has nothing else to look at.
    #[inline(always)]
    pub(crate) fn of_lasting_put(header: &[u8; RECORD_HEADER_LEN]) -> Option<Shape> {
        Shape::of(header, MORE_FOLLOWS | HAS_HORIZON)
    }

    /// Of a put with none but these flags.
    #[inline(always)]
    fn of(header: &[u8; RECORD_HEADER_LEN], known: u8) -> Option<Shape> {
        let ([_, seqno_and_key, rest], _) = header.as_chunks::<8>() else {
            return None;
        };
        let (seqno_and_key, rest) = (u64::from_le_bytes(*seqno_and_key), u64::from_le_bytes(*rest));
        let [.., kind, flags] = rest.to_le_bytes();
        if kind != Kind::Put as u8 || flags & !known != 0 {
            return None;
        }
        let extensions = (flags & known & (HAS_EXPIRY | HAS_HORIZON)).count_ones();
        let key_len = (seqno_and_key >> SEQNO_BITS) as u16;
        let key = (RECORD_HEADER_LEN as u32).saturating_add(extensions.saturating_mul(EXTENSION_LEN as u32));
        let value = key.saturating_add(u32::from(key_len)).next_multiple_of(RECORD_ALIGN as u32);
        Some(Shape { keyspace: (rest >> 32) as u16, key_len, key, value, value_len: rest as u32 })
    }

    /// Where the value ends.
    #[inline]
    pub(crate) fn end(&self) -> u64 {
        u64::from(self.value).saturating_add(u64::from(self.value_len))
    }
}

/// Why bytes are not what they should be. `None`-like: `NeverWritten`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Flaw {
    /// the 24 header bytes are all zero
    NeverWritten,
    /// with the facts, for the error text
    Damaged(String),
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::NeverWritten => f.write_str("nothing but zeros is there"),
            Flaw::Damaged(what) => f.write_str(what),
        }
    }
}

// Sums of lengths: a u16, a u32 and some constants are far from the end of a u64, so nothing saturates.
#[deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
impl Header {
    /// Decodes the first 24 bytes WITHOUT any checksum: kind, flags and reserved bits are checked, and that the kind
    /// may have them; lengths are only arithmetic.
    ///
    /// # Errors
    ///
    /// `NeverWritten` if all 24 are zero, otherwise `Damaged`.
    #[inline]
    pub(crate) fn decode(bytes: &[u8]) -> Result<Header, Flaw> {
        let ([crcs, seqno_and_key, rest, ..], _) = bytes.as_chunks() else {
            return Err(cut_short("header", bytes.len(), RECORD_HEADER_LEN as u64));
        };
        let crcs = u64::from_le_bytes(*crcs);
        let seqno_and_key = u64::from_le_bytes(*seqno_and_key);
        let rest = u64::from_le_bytes(*rest);
        let [.., kind_byte, flags] = rest.to_le_bytes();
        let Some(kind) = Kind::from_byte(kind_byte) else {
            let zero = crcs | seqno_and_key | rest == 0;
            return Err(if zero { Flaw::NeverWritten } else { not_of_ours(kind_byte, flags) });
        };
        let header = Header {
            header_crc: crcs as u32,
            value_crc: (crcs >> 32) as u32,
            seqno: Seqno::from(seqno_and_key & SEQNO_MAX),
            key_len: (seqno_and_key >> SEQNO_BITS) as u16,
            value_len: rest as u32,
            keyspace: (rest >> 32) as u16,
            kind,
            more_follows: flags & MORE_FOLLOWS != 0,
            has_expiry: flags & HAS_EXPIRY != 0,
            has_horizon: flags & HAS_HORIZON != 0,
        };
        let reserved = flags & !(MORE_FOLLOWS | HAS_EXPIRY | HAS_HORIZON);
        let (key_len, value_len) = (usize::from(header.key_len), header.value_len as usize);
        if reserved != 0 || !kind.allows(key_len, value_len, header.has_expiry) {
            return Err(not_of_ours(kind_byte, flags));
        }
        Ok(header)
    }

    /// Whether these 24 bytes say that a time follows from which on the record is no more; nothing is checked.
    #[inline]
    pub(crate) fn has_expiry_in(bytes: &[u8; RECORD_HEADER_LEN]) -> bool {
        bytes[FLAGS] & HAS_EXPIRY != 0
    }

    /// The seqno that these 24 bytes say; nothing is checked.
    #[inline]
    pub(crate) fn seqno_in(bytes: &[u8; RECORD_HEADER_LEN]) -> Seqno {
        let ([_, seqno_and_key, ..], _) = bytes.as_chunks::<8>() else {
            return Seqno::default();
        };
        Seqno::from(u64::from_le_bytes(*seqno_and_key) & SEQNO_MAX)
    }

    /// Offsets are from the record's start; u64 so that they cannot overflow.
    #[inline]
    pub(crate) fn key(&self) -> Range<u64> {
        let horizon = if self.has_horizon { EXTENSION_LEN as u64 } else { 0 };
        let expiry = if self.has_expiry { EXTENSION_LEN as u64 } else { 0 };
        let start = (RECORD_HEADER_LEN as u64).saturating_add(horizon).saturating_add(expiry);
        start..start.saturating_add(u64::from(self.key_len))
    }

    #[inline]
    pub(crate) fn value(&self) -> Range<u64> {
        let start = self.head_len();
        start..start.saturating_add(u64::from(self.value_len))
    }

    /// Up to where header crc and key padding reach: header, extensions, key, key padding (= value().start).
    #[inline]
    pub(crate) fn head_len(&self) -> u64 {
        self.key().end.next_multiple_of(RECORD_ALIGN)
    }

    /// The whole record, value padding included.
    #[inline]
    pub(crate) fn record_len(&self) -> u64 {
        self.value().end.next_multiple_of(RECORD_ALIGN)
    }

    /// Checks header crc and zero key padding; `head` is the record's first `head_len` bytes (or more).
    #[inline]
    pub(crate) fn check_head(&self, head: &[u8], salt: Salt, offset: u64) -> Result<(), Flaw> {
        let crc_end = HEADER_CRC.end;
        let (Some(covered), Some(padding)) =
            (head.get(crc_end..self.key().end as usize), head.get(self.key().end as usize..self.head_len() as usize))
        else {
            return Err(cut_short("head", head.len(), self.head_len()));
        };
        let crc = checksum::extend(seed(salt, offset), covered);
        if crc != self.header_crc {
            return Err(other_crc("header", self.header_crc, crc));
        }
        only_zeros("key", padding)
    }

    /// Checks the value's crc; `value` is exactly its bytes.
    #[inline]
    pub(crate) fn check_value(&self, value: &[u8]) -> Result<(), Flaw> {
        self.check_value_crc(checksum::crc(value))
    }

    /// Checks the crc of the value, for who read it in pieces.
    #[inline]
    pub(crate) fn check_value_crc(&self, crc: u32) -> Result<(), Flaw> {
        if crc != self.value_crc && !planted(Sabotage::NoValueCrc) {
            return Err(other_crc("value", self.value_crc, crc));
        }
        Ok(())
    }

    /// Checks the zeros behind the value; `tail` is exactly the record's bytes from `value().end` on.
    #[inline]
    pub(crate) fn check_padding(&self, tail: &[u8]) -> Result<(), Flaw> {
        let len = self.record_len().saturating_sub(self.value().end);
        if tail.len() as u64 != len {
            return Err(cut_short("padding", tail.len(), len));
        }
        only_zeros("value", tail)
    }

    /// When the record's value expires, from its head. `None` also for a head that is cut short, which `check_head`
    /// refuses.
    #[inline]
    pub(crate) fn expiry(&self, head: &[u8]) -> Option<u64> {
        let at = if self.has_horizon { RECORD_HEADER_LEN + EXTENSION_LEN } else { RECORD_HEADER_LEN };
        if self.has_expiry { extension(head, at) } else { None }
    }

    /// The horizon that the record carries, from its head; `None` as for `expiry`.
    #[inline]
    pub(crate) fn horizon(&self, head: &[u8]) -> Option<u64> {
        if self.has_horizon { extension(head, RECORD_HEADER_LEN) } else { None }
    }
}

#[inline]
fn extension(head: &[u8], at: usize) -> Option<u64> {
    head.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

/// Refuses padding behind a record's `part` that is not zero.
#[inline]
fn only_zeros(part: &str, padding: &[u8]) -> Result<(), Flaw> {
    if padding.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(dirty(part, padding)) }
}

#[cold]
fn dirty(part: &str, padding: &[u8]) -> Flaw {
    Flaw::Damaged(format!("the padding of the record's {part} is {padding:02x?}, not zeros"))
}

#[cold]
fn cut_short(part: &str, found: usize, expected: u64) -> Flaw {
    Flaw::Damaged(format!("the record's {part} has {expected} bytes, {found} are there"))
}

#[cold]
fn not_of_ours(kind: u8, flags: u8) -> Flaw {
    Flaw::Damaged(format!("no record has kind {kind} with flags {flags:#04x} and these lengths"))
}

#[cold]
fn other_crc(part: &str, stored: u32, computed: u32) -> Flaw {
    Flaw::Damaged(format!("the crc of the record's {part} is {stored:#010x}, its bytes have {computed:#010x}"))
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
