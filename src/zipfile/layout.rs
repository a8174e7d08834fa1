//! Every byte of an archive that is not in an entry's data, from the few numbers that it follows from.
//!
//! Floor 2. Imports `format`, `limits`.
//!
//! The crate `zip` writes the same bytes; the reader refuses others. Fields are little endian; those without a meaning here
//! have one value. Large entries, those that were announced with 4 GiB - 1 or more, have their length in an extra field. Chunks, the
//! entries that are compressed, are never large, and not aligned.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use crate::format::compression::Compression;
use crate::limits::ENTRY_ALIGN;

/// Permissions of an entry, for tools that unpack it.
pub(super) const MODE: u32 = 0o600;

const LOCAL_HEADER: u32 = 0x0403_4b50;
const CENTRAL_HEADER: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END64: u32 = 0x0606_4b50;
const END64_LOCATOR: u32 = 0x0706_4b50;
/// Extra fields: lengths and offsets of 64 bits; zeros that align what follows.
const ZIP64: u16 = 0x0001;
const PADDING: u16 = 0xa11e;
/// 1980-01-01, the earliest.
const DATE: u16 = 1 << 5 | 1;
/// Unix.
const SYSTEM: u16 = 3;
const REGULAR_FILE: u32 = 0o100_000;

/// Bytes of a header before the name.
const LOCAL_LEN: usize = 30;
const CENTRAL_LEN: usize = 46;
/// Bytes of the end of an archive, and of what is before it where its numbers do not fit.
pub(super) const END_LEN: usize = 22;
pub(super) const END64_LEN: usize = 56 + 20;
/// Bytes of the longest name; ours have 38 at most.
const NAME_LEN_MAX: usize = 64;

/// Whether an entry of up to so many bytes is a large one.
pub(super) fn needs_zip64(len: u64) -> bool {
    len >= u64::from(u32::MAX)
}

/// Bytes that must be just so, and the names of their fields.
pub(super) struct Pinned {
    pub(super) bytes: Vec<u8>,
    /// Where each begins.
    fields: Vec<(usize, &'static str)>,
}

impl Pinned {
    fn new() -> Pinned {
        Pinned { bytes: Vec::new(), fields: Vec::new() }
    }

    fn put(mut self, field: &'static str, bytes: &[u8]) -> Pinned {
        self.fields.push((self.bytes.len(), field));
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn u16(self, field: &'static str, number: u16) -> Pinned {
        self.put(field, &number.to_le_bytes())
    }

    fn u32(self, field: &'static str, number: u32) -> Pinned {
        self.put(field, &number.to_le_bytes())
    }

    fn u64(self, field: &'static str, number: u64) -> Pinned {
        self.put(field, &number.to_le_bytes())
    }

    /// Where the bytes that `found` begins with differ first, and in which field.
    pub(super) fn differs(&self, found: &[u8]) -> Option<(u64, &'static str)> {
        let same = self.bytes.iter().zip(found).take_while(|(ours, found)| ours == found).count();
        let field = self.fields.iter().rev().find(|(start, _)| *start <= same).map_or("bytes", |(_, name)| name);
        (same < self.bytes.len()).then_some((same as u64, field))
    }
}

/// What the directory says of an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Where its local header begins.
    pub(super) header: u64,
    /// Of its data in the archive, and of what that unpacks to.
    pub(super) packed_len: u64,
    pub(super) len: u64,
    /// Of what it unpacks to.
    pub(super) crc32: u32,
    pub(super) large: bool,
    pub(super) method: Compression,
}

impl Entry {
    /// The entry whose header in the directory begins `bytes`, and the length of that: as it says, to be held against
    /// `central`. Its method is not looked at: the manifest says it.
    pub(super) fn parse(bytes: &[u8]) -> Option<(Entry, usize)> {
        let crc32 = u32_at(bytes, 16)?;
        let (packed_len, len, header) = (u32_at(bytes, 20)?, u32_at(bytes, 24)?, u32_at(bytes, 42)?);
        let (name_len, extra_len) = (usize::from(u16_at(bytes, 28)?), usize::from(u16_at(bytes, 30)?));
        let extra = CENTRAL_LEN.checked_add(name_len)?;
        let end = extra.checked_add(extra_len)?;
        let name = bytes.get(CENTRAL_LEN..extra).filter(|name| name.len() <= NAME_LEN_MAX)?;
        let name = str::from_utf8(name).ok()?.to_owned();
        let (large, far) = (len == u32::MAX, header == u32::MAX);
        let wide = |skip: usize| u64_at(bytes.get(..end)?, extra.checked_add(skip)?);
        let len = if large { wide(4)? } else { len.into() };
        let entry = Entry {
            name,
            header: if far { wide(if large { 20 } else { 4 })? } else { header.into() },
            packed_len: if large { len } else { packed_len.into() },
            len,
            crc32,
            large,
            method: Compression::None,
        };
        bytes.get(..end)?;
        Some((entry, end))
    }

    /// The version of the ZIP format that its header asks for.
    pub(super) fn version(&self) -> u16 {
        match self.method {
            Compression::Deflate => 20,
            Compression::None if !self.large => 10,
            Compression::None | Compression::Zstd => 45,
        }
    }

    /// A length, where it is not in an extra field.
    fn narrow(&self, len: u64) -> u32 {
        u32::try_from(len).ok().filter(|_| !self.large).unwrap_or(u32::MAX)
    }

    /// Bytes of its data, as its method says.
    fn data_len(&self) -> u64 {
        if self.method == Compression::None { self.len } else { self.packed_len }
    }

    /// What both headers have, from the version on.
    fn common(&self, header: Pinned, extra_len: usize) -> Pinned {
        header
            .u16("version needed", self.version())
            .u16("flags", 0)
            .u16("method", number(self.method))
            .u16("time", 0)
            .u16("date", DATE)
            .u32("crc32", self.crc32)
            .u32("compressed size", self.narrow(self.data_len()))
            .u32("size", self.narrow(self.len))
            .u16("name length", self.name.len() as u16)
            .u16("extra length", extra_len as u16)
    }

    /// The header before its data; what follows is where the data begins.
    ///
    /// ```text
    ///  offset  bytes  field
    ///       0      4  signature        0x04034b50
    ///       4      2  version needed   10; 20 if its method is 8; 45 if that is 93, and if it is large
    ///       6      2  flags            0
    ///       8      2  method           0: stored; of chunks 8: Deflate, or 93: Zstandard
    ///      10      2  time             0
    ///      12      2  date             0x0021: 1980-01-01
    ///      14      4  crc32            of what the data unpacks to
    ///      18      4  compressed size  of the data; 0xffffffff if it is large
    ///      22      4  size             of what that unpacks to; the same where it is stored
    ///      26      2  name length
    ///      28      2  extra length
    ///      30         name
    ///              20  zip64           if it is large: 0x0001, 16, size (8), compressed size (8)
    ///                 padding          of what is stored, if the data would not be aligned: 0xa11e, length, 4096, zeros: 6 bytes or more
    /// ```
    pub(super) fn local(&self) -> Pinned {
        let zip64_len = if self.large { 20 } else { 0 };
        let padding = self.padding();
        let header = self.common(Pinned::new().u32("signature", LOCAL_HEADER), padding.saturating_add(zip64_len));
        let mut header = header.put("name", self.name.as_bytes());
        if self.large {
            header = header.u16("zip64 field", ZIP64).u16("zip64 length", 16);
            header = header.u64("zip64 size", self.len).u64("zip64 compressed size", self.len);
        }
        if padding > 0 {
            header = header.u16("padding field", PADDING).u16("padding length", padding.saturating_sub(4) as u16);
            header = header.u16("padding alignment", ENTRY_ALIGN as u16);
            header = header.put("padding", &vec![0; padding.saturating_sub(6)]);
        }
        header
    }

    /// Bytes of the extra field that aligns the data.
    fn padding(&self) -> usize {
        const ALIGN: usize = ENTRY_ALIGN as usize;
        if self.method != Compression::None {
            return 0;
        }
        let before = LOCAL_LEN.saturating_add(self.name.len()).saturating_add(if self.large { 20 } else { 0 });
        let in_page = (self.header & (ENTRY_ALIGN.wrapping_sub(1))) as usize;
        match in_page.saturating_add(before) & ALIGN.wrapping_sub(1) {
            0 => 0,
            // The field takes 6 bytes at least.
            end if end > ALIGN.wrapping_sub(6) => ALIGN.saturating_mul(2).saturating_sub(end),
            end => ALIGN.saturating_sub(end),
        }
    }

    /// The header in the directory.
    ///
    /// ```text
    ///  offset  bytes  field
    ///       0      4  signature            0x02014b50
    ///       4      2  version made by      3 (Unix) * 256 + version needed
    ///       6     26                       as in the local header from its offset 4 on, but for the extra length
    ///      32      2  comment length       0
    ///      34      2  disk                 0
    ///      36      2  internal attributes  0
    ///      38      4  external attributes  0x81800000: a regular file, 0600
    ///      42      4  offset               of the local header, or 0xffffffff
    ///      46         name
    ///                 zip64                if any does not fit: 0x0001, length, size and compressed size (8 each, if it is
    ///                                      large), offset (8, if it is not below 0xffffffff)
    /// ```
    pub(super) fn central(&self) -> Pinned {
        let far = self.header >= u64::from(u32::MAX);
        let wide = if self.large { 16_usize } else { 0 }.saturating_add(if far { 8 } else { 0 });
        let extra_len = if wide > 0 { wide.saturating_add(4) } else { 0 };
        let header =
            Pinned::new().u32("signature", CENTRAL_HEADER).u16("version made by", SYSTEM << 8 | self.version());
        let mut header = self
            .common(header, extra_len)
            .u16("comment length", 0)
            .u16("disk", 0)
            .u16("internal attributes", 0)
            .u32("external attributes", (REGULAR_FILE | MODE) << 16)
            .u32("offset", u32::try_from(self.header).unwrap_or(u32::MAX))
            .put("name", self.name.as_bytes());
        if wide > 0 {
            header = header.u16("zip64 field", ZIP64).u16("zip64 length", wide as u16);
        }
        if self.large {
            header = header.u64("zip64 size", self.len).u64("zip64 compressed size", self.len);
        }
        if far {
            header = header.u64("zip64 offset", self.header);
        }
        header
    }
}

/// A method's number in headers.
fn number(method: Compression) -> u16 {
    match method {
        Compression::None => 0,
        Compression::Deflate => 8,
        Compression::Zstd => 93,
    }
}

/// The end of an archive: where its directory lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct End {
    /// Entries, the manifest among them.
    pub(super) count: u64,
    /// Bytes of the directory.
    pub(super) len: u64,
    /// Where the directory begins.
    pub(super) offset: u64,
}

impl End {
    /// As the last bytes of a file say; `None` if the numbers are in what is before.
    pub(super) fn parse(bytes: &[u8]) -> Option<End> {
        let (count, len, offset) = (u16_at(bytes, 10)?, u32_at(bytes, 12)?, u32_at(bytes, 16)?);
        (len != u32::MAX).then_some(End { count: count.into(), len: len.into(), offset: offset.into() })
    }

    /// As the 76 bytes before those say.
    pub(super) fn parse64(bytes: &[u8]) -> Option<End> {
        Some(End { count: u64_at(bytes, 32)?, len: u64_at(bytes, 40)?, offset: u64_at(bytes, 48)? })
    }

    /// What follows the directory; `version` is the highest that an entry asks for.
    ///
    /// ```text
    ///  offset  bytes  field
    ///       0      4  signature            0x06054b50
    ///       4      2  disk                 0
    ///       6      2  directory's disk     0
    ///       8      2  count                of entries, 65,535 at most
    ///      10      2  count on all disks   the same
    ///      12      4  directory length
    ///      16      4  directory offset
    ///      20      2  comment length       0
    /// ```
    ///
    /// With more than 65,535 entries, or a directory that begins behind 0xffffffff, the directory's length there is
    /// 0xffffffff, its offset too if it does not fit, and this is before it:
    ///
    /// ```text
    ///  offset  bytes  field
    ///       0      4  signature            0x06064b50
    ///       4      8  length               44: what follows of these 56 bytes
    ///      12      2  version made by      the highest of the entries
    ///      14      2  version needed       the same
    ///      16      4  disk                 0
    ///      20      4  directory's disk     0
    ///      24      8  count
    ///      32      8  count on all disks
    ///      40      8  directory length
    ///      48      8  directory offset
    ///      56      4  locator's signature  0x07064b50
    ///      60      4  end's disk           0
    ///      64      8  end's offset         of these 76 bytes
    ///      72      4  disks                1
    /// ```
    pub(super) fn pinned(&self, version: u16) -> Pinned {
        let End { count, len, offset } = *self;
        let wide = count > u64::from(u16::MAX) || offset > u64::from(u32::MAX);
        let mut end = Pinned::new();
        if wide {
            end = end.u32("zip64 end's signature", END64).u64("zip64 end's length", 44);
            end = end.u16("zip64 end's version made by", version).u16("zip64 end's version needed", version);
            end = end.u32("zip64 end's disk", 0).u32("zip64 end's directory's disk", 0);
            end = end.u64("zip64 end's count", count).u64("zip64 end's count on all disks", count);
            end = end.u64("zip64 end's directory length", len).u64("zip64 end's directory offset", offset);
            end = end.u32("locator's signature", END64_LOCATOR).u32("locator's disk", 0);
            end = end.u64("locator's offset", offset.saturating_add(len)).u32("locator's disks", 1);
        }
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        end.u32("end's signature", END)
            .u16("end's disk", 0)
            .u16("end's directory's disk", 0)
            .u16("end's count", count)
            .u16("end's count on all disks", count)
            .u32("end's directory length", u32::try_from(len).ok().filter(|_| !wide).unwrap_or(u32::MAX))
            .u32("end's directory offset", u32::try_from(offset).unwrap_or(u32::MAX))
            .u16("end's comment length", 0)
    }
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..)?.first_chunk().map(|field| u16::from_le_bytes(*field))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|field| u32::from_le_bytes(*field))
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes.get(offset..)?.first_chunk().map(|field| u64::from_le_bytes(*field))
}
