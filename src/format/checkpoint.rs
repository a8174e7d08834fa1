//! The index, written down: what the file `checkpoint/index` holds beside the units of the index.
//!
//! Floor 1. Imports `address`, `format`, `limits`.
//!
//! ```text
//!            offset  bytes            what
//!                 0  512              header
//!               512  3584             not used
//!              4096  16,448 each      the units, as they are in memory
//!  end of the units  80, 24, 16 each  the lists: files, large values, units
//! ```
//!
//! It is never authority: whatever is wrong with it, the index is rebuilt from the log.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::ops::Range;

use crate::address::{ArchiveId, LargeId, SegmentId, Seqno};
use crate::format::fields::{Block, Fields, open};
use crate::format::identity::HashKind;
use crate::format::record::Flaw;
use crate::format::segment::SegmentKind;
use crate::format::{VERSION, checksum};
use crate::limits::{INDEX_UNIT_LEN, PLACE_COUNT, PLACE_LEN, RECORD_HEADER_LEN, RECORDS_START, SECTOR, SEQNO_MAX};

const MAGIC: &[u8; 8] = b"ZCINDEX\n";
const FILE_LEN: u64 = 80;
const LARGE_LEN: u64 = 24;
const UNIT_LEN: u64 = 16;

/// Where the units begin.
pub(crate) const UNITS_START: u64 = RECORDS_START;

/// The header: whose index it is, and how much of everything there is.
///
/// ```text
///  offset  bytes  field
///       0      8  magic        "ZCINDEX" and a newline
///       8      4  version      of the format
///      12      1  hash kind    1 rapidhash v3, 2 SipHash-1-3
///      13      3  zero
///      16     16  database     uuid of the store
///      32     16  hash seed
///      48      8  from         seqno: of the records up to this one each is in the units, or a newer one of its key; below 2^48
///      56      8  key count    in the units
///      64      4  file count
///      68      4  large count
///      72      4  unit count
///      76      4  lists' crc   crc32c of the lists
///      80      8  until        seqno: no unit leads to a record of a higher one; below 2^48, not below `from`
///      88     16  id           of this index: archives that were made since have it; not zero
///     104    404  zero
///     508      4  crc          crc32c of bytes 0..508
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) hash_kind: HashKind,
    pub(crate) database: [u8; 16],
    pub(crate) hash_seed: [u8; 16],
    pub(crate) from: Seqno,
    pub(crate) until: Seqno,
    pub(crate) key_count: u64,
    pub(crate) id: [u8; 16],
    file_count: u32,
    large_count: u32,
    unit_count: u32,
    lists_crc: u32,
}

/// A segment that the units' places lie in, and what of it is live by them.
///
/// ```text
///  offset  bytes  field
///       0      1  kind          of the segment: 1 log, 2 packed
///       1      1  names         1 if all large values are listed that records of it name, 0 if what some say of theirs is damaged
///       2      2  zero
///       4      4  places        how many it takes, from 1
///       8      8  id            of the segment
///      16      8  archive       that it lies in; 0: in a file of its own
///      24     16  epoch         of the segment
///      40      8  place         the first
///      48      8  end           of its records, when the units were written: an offset, from 4096
///      56      8  live bytes    of the records that the units point at
///      64      8  live records
///      72      8  live large    bytes of the large values that those records name
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ListedFile {
    pub(crate) kind: SegmentKind,
    pub(crate) id: SegmentId,
    pub(crate) archive: Option<ArchiveId>,
    pub(crate) epoch: [u8; 16],
    /// From here on it has `places` places of the registry, which no other file has.
    pub(crate) place: u64,
    pub(crate) places: u32,
    /// Where its records ended; it may have more since.
    pub(crate) end: u64,
    pub(crate) live_bytes: u64,
    pub(crate) live_records: u64,
    pub(crate) live_large: u64,
    /// Whether all large values are listed that its records name.
    pub(crate) names_all: bool,
}

/// A file of a large value that a record names, whatever became of its key.
///
/// ```text
///  offset  bytes  field
///       0     16  id       in the file's name
///      16      4  length   of the file, from 1
///      20      4  segment  that the record is in: which of the list of files, from 0
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ListedLarge {
    pub(crate) id: LargeId,
    pub(crate) len: u32,
    pub(crate) segment: u32,
}

/// A unit, in the order of the units.
///
/// ```text
///  offset  bytes  field
///       0      8  first hash  the lowest of its hashes
///       8      4  depth       bits that its hashes have in common
///      12      4  crc         crc32c of the unit
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ListedUnit {
    pub(crate) first: u64,
    pub(crate) depth: u32,
    pub(crate) crc: u32,
}

/// All that stands behind the units. Files are in the order of their places, large values in that of their names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Lists {
    pub(crate) files: Vec<ListedFile>,
    pub(crate) large: Vec<ListedLarge>,
    pub(crate) units: Vec<ListedUnit>,
}

impl Header {
    /// The header of a file that ends with `lists`, whose bytes are `encoded`; what it counts is the caller's to say.
    ///
    /// `None` if there are more of anything than a file can list.
    pub(crate) fn of(
        lists: &Lists,
        encoded: &[u8],
        (hash_kind, hash_seed): (HashKind, [u8; 16]),
        database: [u8; 16],
        from: Seqno,
    ) -> Option<Header> {
        let file_count = u32::try_from(lists.files.len()).ok()?;
        let large_count = u32::try_from(lists.large.len()).ok()?;
        let unit_count = u32::try_from(lists.units.len()).ok()?;
        let lists_crc = checksum::crc(encoded);
        Some(Header {
            hash_kind,
            database,
            hash_seed,
            from,
            until: from,
            key_count: 0,
            id: [0; 16],
            file_count,
            large_count,
            unit_count,
            lists_crc,
        })
    }

    /// The first sector of the file.
    pub(crate) fn encode(&self) -> [u8; SECTOR] {
        Block::new(MAGIC)
            .put(&VERSION.to_le_bytes())
            .put(&[self.hash_kind.to_byte(), 0, 0, 0])
            .put(&self.database)
            .put(&self.hash_seed)
            .put(&u64::from(self.from).to_le_bytes())
            .put(&self.key_count.to_le_bytes())
            .put(&self.file_count.to_le_bytes())
            .put(&self.large_count.to_le_bytes())
            .put(&self.unit_count.to_le_bytes())
            .put(&self.lists_crc.to_le_bytes())
            .put(&u64::from(self.until).to_le_bytes())
            .put(&self.id)
            .finish(0)
    }

    /// # Errors
    ///
    /// `Damaged` if it is not what this version writes.
    pub(crate) fn decode(sector: &[u8]) -> Result<Header, Flaw> {
        let mut fields = open::<SECTOR>(sector, MAGIC, 0)?;
        let (version, hash_kind) = (fields.u32()?, fields.u8()?);
        fields.reserved(3)?;
        let Some(hash_kind) = HashKind::from_byte(hash_kind).filter(|_| version == VERSION) else {
            return Err(damaged(format!("version {version} with hash kind {hash_kind} is none")));
        };
        let mut header = Header {
            hash_kind,
            database: fields.array()?,
            hash_seed: fields.array()?,
            from: Seqno::from(fields.u64()?),
            until: Seqno::default(),
            key_count: fields.u64()?,
            id: [0; 16],
            file_count: fields.u32()?,
            large_count: fields.u32()?,
            unit_count: fields.u32()?,
            lists_crc: fields.u32()?,
        };
        header.until = Seqno::from(fields.u64()?);
        header.id = fields.array()?;
        fields.only_zeros_left()?;
        if u64::from(header.until) > SEQNO_MAX || header.from > header.until || header.id == [0; 16] {
            return Err(damaged(format!("no index is written down from {} to {}", header.from, header.until)));
        }
        Ok(header)
    }

    /// Where the units lie in the file.
    pub(crate) fn units(&self) -> Range<u64> {
        // 2^32 units are less than 2^47 bytes.
        let len = u64::from(self.unit_count).saturating_mul(INDEX_UNIT_LEN);
        UNITS_START..UNITS_START.saturating_add(len)
    }

    /// Where the lists lie in the file, which ends with them.
    pub(crate) fn lists(&self) -> Range<u64> {
        let lens = [(self.file_count, FILE_LEN), (self.large_count, LARGE_LEN), (self.unit_count, UNIT_LEN)];
        let len =
            lens.iter().fold(0_u64, |len, (count, each)| len.saturating_add(u64::from(*count).saturating_mul(*each)));
        let start = self.units().end;
        start..start.saturating_add(len)
    }
}

impl Lists {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for file in &self.files {
            bytes.extend([file.kind.to_byte(), file.names_all.into(), 0, 0]);
            bytes.extend(file.places.to_le_bytes());
            bytes.extend(file.id.0.to_le_bytes());
            bytes.extend(file.archive.map_or(0, |archive| archive.0).to_le_bytes());
            bytes.extend(file.epoch);
            for number in [file.place, file.end, file.live_bytes, file.live_records, file.live_large] {
                bytes.extend(number.to_le_bytes());
            }
        }
        for large in &self.large {
            bytes.extend(large.id.0);
            bytes.extend(large.len.to_le_bytes());
            bytes.extend(large.segment.to_le_bytes());
        }
        for unit in &self.units {
            bytes.extend(unit.first.to_le_bytes());
            bytes.extend(unit.depth.to_le_bytes());
            bytes.extend(unit.crc.to_le_bytes());
        }
        bytes
    }

    /// `bytes` lie in the file at `Header::lists`.
    ///
    /// # Errors
    ///
    /// `Damaged` if they are not those that the header was made for, or say what cannot be. Whether the units are those of
    /// a whole index is the index's to say.
    pub(crate) fn decode(header: &Header, bytes: &[u8]) -> Result<Lists, Flaw> {
        let Range { start, end } = header.lists();
        if end.checked_sub(start) != Some(bytes.len() as u64) {
            return Err(damaged(format!("{} bytes are no lists of {start}..{end}", bytes.len())));
        }
        let crc = checksum::crc(bytes);
        if crc != header.lists_crc {
            return Err(damaged(format!("the lists have crc {crc:#010x}, the header says {:#010x}", header.lists_crc)));
        }
        let mut fields = Fields::new(bytes);
        let files: Vec<_> = (0..header.file_count).map(|_| decode_file(&mut fields)).collect::<Result<_, _>>()?;
        let large: Vec<_> = (0..header.large_count).map(|_| decode_large(&mut fields)).collect::<Result<_, _>>()?;
        let units = (0..header.unit_count).map(|_| decode_unit(&mut fields)).collect::<Result<_, _>>()?;
        fields.nothing_left()?;
        // Sums of what `decode_file` has bounded.
        let mut pairs = files.iter().zip(files.iter().skip(1));
        let apart = pairs.all(|(one, next)| one.place.saturating_add(one.places.into()) <= next.place);
        let sorted = large.iter().zip(large.iter().skip(1)).all(|(one, next)| one.id.0 < next.id.0);
        if !apart || !sorted {
            return Err(damaged("the lists are in no order".to_owned()));
        }
        check_named(&files, &large)?;
        Ok(Lists { files, large, units })
    }
}

/// Whether each large value is named in one of the files, and none of these has more of them live than it names.
fn check_named(files: &[ListedFile], large: &[ListedLarge]) -> Result<(), Flaw> {
    let mut named = vec![0_u64; files.len()];
    for large in large {
        let Some(named) = named.get_mut(large.segment as usize) else {
            return Err(damaged(format!("a large value is of file {}, of {}", large.segment, files.len())));
        };
        *named = named.saturating_add(large.len.into());
    }
    match files.iter().zip(named).find(|(file, named)| file.live_large > *named) {
        Some((file, named)) => Err(damaged(format!("{} bytes of {named} in large values are live", file.live_large))),
        None => Ok(()),
    }
}

fn decode_file(fields: &mut Fields<'_>) -> Result<ListedFile, Flaw> {
    let (kind, names_all) = (fields.u8()?, fields.u8()?);
    fields.reserved(2)?;
    let Some(kind) = SegmentKind::from_byte(kind) else {
        return Err(damaged(format!("kind {kind} is none")));
    };
    let places = fields.u32()?;
    let (id, archive) = (SegmentId(fields.u64()?), fields.u64()?);
    let epoch = fields.array()?;
    let (place, end) = (fields.u64()?, fields.u64()?);
    let (live_bytes, live_records, live_large) = (fields.u64()?, fields.u64()?, fields.u64()?);
    let archive = (archive != 0).then_some(ArchiveId(archive));
    let last = place.checked_add(places.into());
    let has_places = places > 0 && last.is_some_and(|last| last <= PLACE_COUNT);
    let live_bytes_min = live_records.checked_mul(RECORD_HEADER_LEN as u64);
    let live_fits = live_bytes_min.is_some_and(|min| min <= live_bytes)
        && end <= PLACE_LEN.saturating_mul(places.into())
        && end.checked_sub(RECORDS_START).is_some_and(|used| live_bytes <= used)
        && (live_records > 0 || live_bytes == 0);
    let has_home = kind == SegmentKind::Log || archive.is_some();
    if id.0 == 0 || names_all > 1 || !has_places || !live_fits || !has_home {
        return Err(damaged(format!(
            "no {kind:?} segment {id} has {places} places from {place}, and {live_records} live records of {live_bytes} bytes"
        )));
    }
    let names_all = names_all == 1;
    Ok(ListedFile { kind, id, archive, epoch, place, places, end, live_bytes, live_records, live_large, names_all })
}

fn decode_large(fields: &mut Fields<'_>) -> Result<ListedLarge, Flaw> {
    let large = ListedLarge { id: LargeId(fields.array()?), len: fields.u32()?, segment: fields.u32()? };
    if large.len == 0 {
        return Err(damaged("no large value is empty".to_owned()));
    }
    Ok(large)
}

fn decode_unit(fields: &mut Fields<'_>) -> Result<ListedUnit, Flaw> {
    Ok(ListedUnit { first: fields.u64()?, depth: fields.u32()?, crc: fields.u32()? })
}

fn damaged(what: String) -> Flaw {
    Flaw::Damaged(what)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::{Header, ListedFile, ListedLarge, ListedUnit, Lists, UNITS_START};
    use crate::address::{ArchiveId, LargeId, SegmentId, Seqno};
    use crate::format::identity::HashKind;
    use crate::format::record::Flaw;
    use crate::format::segment::SegmentKind;
    use crate::format::{cases, checksum, edit, edits, hex};
    use crate::limits::{INDEX_UNIT_LEN, PLACE_COUNT, PLACE_LEN, SEQNO_MAX};
    use proptest::prelude::*;

    fn lists() -> Lists {
        let log = ListedFile {
            kind: SegmentKind::Log,
            id: SegmentId(42),
            archive: None,
            epoch: std::array::from_fn(|i| 0xe0 + i as u8),
            place: 3,
            places: 64,
            end: 0x0102_0304 + 4096,
            live_bytes: 0x0102_0304,
            live_records: 0x1234,
            live_large: 4,
            names_all: true,
        };
        let packed = ListedFile {
            kind: SegmentKind::Packed,
            id: SegmentId(1),
            archive: Some(ArchiveId(7)),
            place: 67,
            places: 1,
            end: 4096,
            live_bytes: 0,
            live_records: 0,
            live_large: 0,
            names_all: false,
            ..log
        };
        let large = |id, len, segment| ListedLarge { id: LargeId([id; 16]), len, segment };
        let unit = |first, depth, crc| ListedUnit { first, depth, crc };
        Lists {
            files: vec![log, packed],
            large: vec![large(0x11, 5, 0), large(0x22, 0xffff_ffff, 1)],
            units: vec![unit(0, 1, 0x0a0b_0c0d), unit(1 << 63, 1, 1)],
        }
    }

    fn header(lists: &Lists) -> Header {
        let database = std::array::from_fn(|i| 0x10 + i as u8);
        let hash = (HashKind::Sip, std::array::from_fn(|i| 0x30 + i as u8));
        let header = Header::of(lists, &lists.encode(), hash, database, Seqno::from(0x0605_0403_0201)).unwrap();
        Header { key_count: 0x0807_0605, id: [0x0a; 16], until: Seqno::from(0x0605_0403_0202), ..header }
    }

    #[test]
    fn header_and_lists_have_the_documented_bytes() {
        let lists = lists();
        let encoded = lists.encode();
        let expected = hex("
            01010000 40000000 2a00000000000000 0000000000000000 e0e1e2e3e4e5e6e7e8e9eaebecedeeef
            0300000000000000 0413020100000000 0403020100000000 3412000000000000 0400000000000000
            02000000 01000000 0100000000000000 0700000000000000 e0e1e2e3e4e5e6e7e8e9eaebecedeeef
            4300000000000000 0010000000000000 0000000000000000 0000000000000000 0000000000000000
            11111111111111111111111111111111 05000000 00000000
            22222222222222222222222222222222 ffffffff 01000000
            0000000000000000 01000000 0d0c0b0a
            0000000000000080 01000000 01000000");
        assert_eq!(encoded, expected);
        let mut sector = hex("
            5a43494e4445580a 01000000 02000000 101112131415161718191a1b1c1d1e1f
            303132333435363738393a3b3c3d3e3f 0102030405060000 0506070800000000 02000000 02000000 02000000");
        sector.extend(checksum::crc(&encoded).to_le_bytes());
        sector.extend(hex("0202030405060000 0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"));
        sector.resize(508, 0);
        sector.extend(checksum::crc(&sector).to_le_bytes());
        assert_eq!(header(&lists).encode().to_vec(), sector);
    }

    #[test]
    fn the_parts_of_the_file_lie_one_after_the_other() {
        let lists = lists();
        let header = header(&lists);
        assert_eq!(header.units(), UNITS_START..UNITS_START + 2 * INDEX_UNIT_LEN);
        assert_eq!(header.lists().start, header.units().end);
        assert_eq!(header.lists().end - header.lists().start, lists.encode().len() as u64);
        let most = Header { file_count: u32::MAX, large_count: u32::MAX, unit_count: u32::MAX, ..header };
        assert!(most.lists().end < 1 << 48, "no sum overflows");
        assert!(Lists::decode(&most, &lists.encode()).is_err());
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let lists = lists();
        let header = header(&lists);
        let (sector, encoded) = (header.encode(), lists.encode());
        for bit in 0..sector.len() * 8 {
            let mut flipped = sector;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&flipped).is_err(), "header, bit {bit}");
        }
        for bit in 0..encoded.len() * 8 {
            let mut flipped = encoded.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Lists::decode(&header, &flipped).is_err(), "lists, bit {bit}");
        }
    }

    #[test]
    fn what_is_cut_short_or_never_written_is_none() {
        let lists = lists();
        let (header, encoded) = (header(&lists), lists.encode());
        for len in 0..512 {
            assert!(Header::decode(&header.encode()[..len]).is_err());
        }
        assert_eq!(Header::decode(&[0; 512]), Err(Flaw::NeverWritten));
        for len in 0..encoded.len() {
            assert!(Lists::decode(&header, &encoded[..len]).is_err());
        }
        assert!(Lists::decode(&header, &[&encoded[..], &[0]].concat()).is_err());
    }

    #[test]
    fn lists_that_make_no_sense_are_refused_whatever_the_crc_says() {
        let refused = |change: &dyn Fn(&mut Lists)| {
            let mut lists = lists();
            change(&mut lists);
            Lists::decode(&header(&lists), &lists.encode()).is_err()
        };
        assert!(!refused(&|_| ()), "as they are");
        assert!(refused(&|lists| lists.files[0].places = 65), "places that two files have");
        assert!(refused(&|lists| lists.files.swap(0, 1)));
        assert!(refused(&|lists| lists.files[1].places = 0));
        assert!(refused(&|lists| lists.files[1].place = PLACE_COUNT));
        assert!(refused(&|lists| lists.files[1].place = u64::MAX));
        assert!(!refused(&|lists| lists.files[1].place = PLACE_COUNT - 1));
        assert!(refused(&|lists| lists.files[0].id = SegmentId(0)));
        assert!(refused(&|lists| lists.files[1].archive = None), "packed, and in a file of its own");
        assert!(refused(&|lists| lists.files[0].end = 64 * PLACE_LEN + 1));
        assert!(refused(&|lists| lists.files[0].end -= 1), "more is live than there is");
        assert!(refused(&|lists| lists.files[1].end = 4095));
        assert!(!refused(&|lists| lists.files[0].live_large = 5));
        assert!(refused(&|lists| lists.files[0].live_large = 6), "more than its records name");
        assert!(refused(&|lists| lists.large[1].segment = 2));
        assert!(refused(&|lists| lists.files[0].live_records = u64::MAX));
        assert!(refused(&|lists| lists.files[1].live_records = 1));
        assert!(refused(&|lists| lists.files[1].live_bytes = 1));
        assert!(refused(&|lists| lists.large[0].len = 0));
        assert!(refused(&|lists| lists.large.swap(0, 1)));
        assert!(refused(&|lists| lists.large[1] = lists.large[0]));
    }

    #[test]
    fn a_header_that_makes_no_sense_is_refused_whatever_the_crc_says() {
        let fields =
            [(8, 0), (8, 2), (12, 0), (12, 3), (13, 1), (15, 1), (54, 1), (80, 0), (86, 1), (104, 1), (507, 1)];
        for (at, field) in fields {
            let mut sector = header(&lists()).encode();
            sector[at] = field;
            let crc = checksum::crc(&sector[..508]);
            sector[508..].copy_from_slice(&crc.to_le_bytes());
            assert!(Header::decode(&sector).is_err(), "{field} at {at}");
        }
    }

    fn any_lists() -> impl Strategy<Value = Lists> {
        let files = prop::collection::vec((1..5_u32, 1..1_000_u64, 0..9_u64, any::<[u8; 16]>(), 0..1_000_u64), 0..9);
        let large = prop::collection::btree_map(any::<[u8; 16]>(), (1..=u32::MAX, 0..9_u32), 0..9);
        let units = prop::collection::vec((any::<u64>(), any::<u32>(), any::<u32>()), 0..9);
        (files, large, units).prop_map(|(files, large, units)| {
            let mut next = 0;
            let files = files.into_iter().map(|(places, id, archive, epoch, live_records)| {
                let kind = if archive % 2 == 1 { SegmentKind::Packed } else { SegmentKind::Log };
                let place = next;
                next += u64::from(places) + id % 3;
                let archive = (archive > 0).then_some(ArchiveId(archive));
                let live_bytes = live_records * (24 + id % 256);
                let (id, end, live_large, names_all) = (SegmentId(id), 4096 + live_bytes, 0, archive.is_some());
                ListedFile {
                    kind,
                    id,
                    archive,
                    epoch,
                    place,
                    places,
                    end,
                    live_bytes,
                    live_records,
                    live_large,
                    names_all,
                }
            });
            let files: Vec<_> = files.collect();
            let mut large: Vec<_> =
                large.into_iter().map(|(id, (len, segment))| ListedLarge { id: LargeId(id), len, segment }).collect();
            large.retain(|large| (large.segment as usize) < files.len());
            Lists {
                files,
                large,
                units: units.into_iter().map(|(first, depth, crc)| ListedUnit { first, depth, crc }).collect(),
            }
        })
    }

    proptest! {
        #![proptest_config(cases(512))]

        #[test]
        fn what_was_encoded_decodes(lists in any_lists(), from in 0..=SEQNO_MAX, key_count: u64) {
            let header = Header { from: from.into(), until: from.into(), key_count, ..header(&lists) };
            let decoded = Header::decode(&header.encode());
            prop_assert_eq!(&decoded, &Ok(header));
            prop_assert_eq!(Lists::decode(&header, &lists.encode()), Ok(lists));
        }

        #[test]
        fn nothing_is_accepted_that_is_never_written(lists in any_lists(), edits in edits()) {
            let header = header(&lists);
            let mut encoded = lists.encode();
            if !encoded.is_empty() {
                edit(&mut encoded, &edits);
            }
            let header = Header { lists_crc: checksum::crc(&encoded), ..header };
            if let Ok(decoded) = Lists::decode(&header, &encoded) {
                prop_assert_eq!(decoded.encode(), encoded);
            }
        }
    }
}
