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
//!                    40, 32 each      keyspaces, what of a file is live of one that is not the default
//!                    as long as said  what was said when each keyspace was made, see `catalogue`
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
const SPACE_LEN: u64 = 40;
const AMOUNT_LEN: u64 = 32;
const CURSOR_LEN: u64 = 16;

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
///      56      4  keyspace count
///      60      4  amount count
///      64      4  file count
///      68      4  large count
///      72      4  unit count
///      76      4  lists' crc   crc32c of the lists
///      80      8  until        seqno: no unit leads to a record of a higher one; below 2^48, not below `from`
///      88     16  id           of this index: archives that were made since have it; not zero
///     104      4  catalogue    bytes of what was said when the keyspaces were made, and of the cursors
///     108      4  cursor count
///     112    396  zero
///     508      4  crc          crc32c of bytes 0..508
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) hash_kind: HashKind,
    pub(crate) database: [u8; 16],
    pub(crate) hash_seed: [u8; 16],
    pub(crate) from: Seqno,
    pub(crate) until: Seqno,
    pub(crate) id: [u8; 16],
    space_count: u32,
    amount_count: u32,
    catalogue_len: u32,
    cursor_count: u32,
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

/// A keyspace, whose units lie behind those of the one before in the list.
///
/// ```text
///  offset  bytes  field
///       0      2  id         ascending
///       2      1  expiring   1 if keys of it may expire, else 0
///       3      1  zero
///       4      4  units      how many are its own
///       8      8  keys       in them
///      16      8  created    seqno; below 2^48
///      24      8  floor      seqno: no record up to this one counts; below 2^48, not below `created`
///      32      4  payload    bytes of what was said when it was made; 0 of the default keyspace where nothing was
///      36      4  zero
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ListedSpace {
    pub(crate) id: u16,
    pub(crate) expiring: bool,
    pub(crate) units: u32,
    pub(crate) keys: u64,
    pub(crate) created: Seqno,
    pub(crate) floor: Seqno,
    /// See `catalogue`.
    pub(crate) payload: Vec<u8>,
}

/// What of a file is live of a keyspace that is not the default one.
///
/// ```text
///  offset  bytes  field
///       0      4  file      which of the list of files, from 0; ascending
///       4      2  keyspace  ascending, of one file; not 0
///       6      2  zero
///       8      8  bytes     of records
///      16      8  records   from 1
///      24      8  large     bytes of large values
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ListedAmount {
    pub(crate) file: u32,
    pub(crate) keyspace: u16,
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    pub(crate) large: u64,
}

/// A cursor of the feed.
///
/// ```text
///  offset  bytes  field
///       0      8  said     seqno of the record that says where it stands; below 2^48
///       8      4  payload  bytes of what that record says
///      12      4  zero
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ListedCursor {
    pub(crate) said: Seqno,
    /// See `catalogue`.
    pub(crate) payload: Vec<u8>,
}

/// All that stands behind the units. Files are in the order of their places, large values in that of their names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Lists {
    pub(crate) files: Vec<ListedFile>,
    pub(crate) large: Vec<ListedLarge>,
    pub(crate) units: Vec<ListedUnit>,
    pub(crate) spaces: Vec<ListedSpace>,
    pub(crate) amounts: Vec<ListedAmount>,
    pub(crate) cursors: Vec<ListedCursor>,
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
        let space_count = u32::try_from(lists.spaces.len()).ok()?;
        let amount_count = u32::try_from(lists.amounts.len()).ok()?;
        let cursor_count = u32::try_from(lists.cursors.len()).ok()?;
        let catalogue_len =
            u32::try_from(lists.payloads().map(|payload| payload.len() as u64).fold(0, u64::saturating_add)).ok()?;
        let lists_crc = checksum::crc(encoded);
        Some(Header {
            hash_kind,
            database,
            hash_seed,
            from,
            until: from,
            id: [0; 16],
            space_count,
            amount_count,
            catalogue_len,
            cursor_count,
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
            .put(&self.space_count.to_le_bytes())
            .put(&self.amount_count.to_le_bytes())
            .put(&self.file_count.to_le_bytes())
            .put(&self.large_count.to_le_bytes())
            .put(&self.unit_count.to_le_bytes())
            .put(&self.lists_crc.to_le_bytes())
            .put(&u64::from(self.until).to_le_bytes())
            .put(&self.id)
            .put(&self.catalogue_len.to_le_bytes())
            .put(&self.cursor_count.to_le_bytes())
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
            id: [0; 16],
            space_count: fields.u32()?,
            amount_count: fields.u32()?,
            catalogue_len: 0,
            cursor_count: 0,
            file_count: fields.u32()?,
            large_count: fields.u32()?,
            unit_count: fields.u32()?,
            lists_crc: fields.u32()?,
        };
        header.until = Seqno::from(fields.u64()?);
        header.id = fields.array()?;
        (header.catalogue_len, header.cursor_count) = (fields.u32()?, fields.u32()?);
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
        let lens = [
            (self.file_count, FILE_LEN),
            (self.large_count, LARGE_LEN),
            (self.unit_count, UNIT_LEN),
            (self.space_count, SPACE_LEN),
            (self.amount_count, AMOUNT_LEN),
            (self.cursor_count, CURSOR_LEN),
            (self.catalogue_len, 1),
        ];
        let len =
            lens.iter().fold(0_u64, |len, (count, each)| len.saturating_add(u64::from(*count).saturating_mul(*each)));
        let start = self.units().end;
        start..start.saturating_add(len)
    }
}

impl Lists {
    /// What the records of the catalogue say, in their order.
    fn payloads(&self) -> impl Iterator<Item = &Vec<u8>> {
        let spaces = self.spaces.iter().map(|space| &space.payload);
        spaces.chain(self.cursors.iter().map(|cursor| &cursor.payload))
    }

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
        for space in &self.spaces {
            bytes.extend([space.id.to_le_bytes(), [space.expiring.into(), 0]].as_flattened());
            bytes.extend(space.units.to_le_bytes());
            bytes.extend(space.keys.to_le_bytes());
            bytes.extend(u64::from(space.created).to_le_bytes());
            bytes.extend(u64::from(space.floor).to_le_bytes());
            // No payload is longer than a name and some more.
            bytes.extend((space.payload.len() as u64).to_le_bytes());
        }
        for amount in &self.amounts {
            bytes.extend(amount.file.to_le_bytes());
            bytes.extend([amount.keyspace.to_le_bytes(), [0; 2]].as_flattened());
            for number in [amount.bytes, amount.records, amount.large] {
                bytes.extend(number.to_le_bytes());
            }
        }
        for cursor in &self.cursors {
            bytes.extend(u64::from(cursor.said).to_le_bytes());
            bytes.extend((cursor.payload.len() as u64).to_le_bytes());
        }
        self.payloads().for_each(|payload| bytes.extend(payload));
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
        let units: Vec<_> = (0..header.unit_count).map(|_| decode_unit(&mut fields)).collect::<Result<_, _>>()?;
        let spaces = (0..header.space_count).map(|_| decode_space(&mut fields)).collect::<Result<Vec<_>, _>>()?;
        let amounts: Vec<_> = (0..header.amount_count).map(|_| decode_amount(&mut fields)).collect::<Result<_, _>>()?;
        let cursors = (0..header.cursor_count).map(|_| decode_cursor(&mut fields)).collect::<Result<Vec<_>, _>>()?;
        let spaces = with_payloads(spaces, &mut fields, |space, payload| ListedSpace { payload, ..space })?;
        let cursors = with_payloads(cursors, &mut fields, |cursor, payload| ListedCursor { payload, ..cursor })?;
        fields.nothing_left()?;
        check_spaces(&spaces, units.len() as u64)?;
        check_amounts(&amounts, &files)?;
        // Sums of what `decode_file` has bounded.
        let mut pairs = files.iter().zip(files.iter().skip(1));
        let apart = pairs.all(|(one, next)| one.place.saturating_add(one.places.into()) <= next.place);
        let sorted = large.iter().zip(large.iter().skip(1)).all(|(one, next)| one.id.0 < next.id.0);
        if !apart || !sorted {
            return Err(damaged("the lists are in no order".to_owned()));
        }
        check_named(&files, &large)?;
        Ok(Lists { files, large, units, spaces, amounts, cursors })
    }
}

fn with_payloads<T>(
    listed: Vec<(T, u32)>,
    fields: &mut Fields<'_>,
    with: impl Fn(T, Vec<u8>) -> T,
) -> Result<Vec<T>, Flaw> {
    let take = |(one, len): (T, u32)| Ok(with(one, fields.bytes(len as usize)?.to_vec()));
    listed.into_iter().map(take).collect()
}

/// Whether the keyspaces are in order, and have all units and no more.
fn check_spaces(spaces: &[ListedSpace], unit_count: u64) -> Result<(), Flaw> {
    let sorted = spaces.iter().zip(spaces.iter().skip(1)).all(|(one, next)| one.id < next.id);
    let units = spaces.iter().fold(0_u64, |sum, space| sum.saturating_add(space.units.into()));
    let said = spaces.iter().all(|space| space.id == 0 || !space.payload.is_empty());
    match sorted && units == unit_count && said {
        true => Ok(()),
        false => Err(damaged(format!("keyspaces out of order, or with {units} units of {unit_count}"))),
    }
}

/// Whether what is live of keyspaces is in order, and no file has more of it than is live of it at all.
fn check_amounts(amounts: &[ListedAmount], files: &[ListedFile]) -> Result<(), Flaw> {
    let order = |amount: &ListedAmount| (amount.file, amount.keyspace);
    let sorted = amounts.iter().zip(amounts.iter().skip(1)).all(|(one, next)| order(one) < order(next));
    let mut sums = vec![(0_u64, 0_u64, 0_u64); files.len()];
    for amount in amounts {
        let Some((bytes, records, large)) = sums.get_mut(amount.file as usize) else {
            return Err(damaged(format!("something is live of file {}, of {}", amount.file, files.len())));
        };
        *bytes = bytes.saturating_add(amount.bytes);
        *records = records.saturating_add(amount.records);
        *large = large.saturating_add(amount.large);
    }
    let fits = |(file, sum): (&ListedFile, &(u64, u64, u64))| {
        sum.0 <= file.live_bytes && sum.1 <= file.live_records && sum.2 <= file.live_large
    };
    match sorted && files.iter().zip(&sums).all(fits) {
        true => Ok(()),
        false => Err(damaged("more of a file is live of its keyspaces than of all, or out of order".to_owned())),
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

/// A keyspace, and how long its payload is.
fn decode_space(fields: &mut Fields<'_>) -> Result<(ListedSpace, u32), Flaw> {
    let (id, expiring) = (fields.u16()?, fields.u8()?);
    fields.reserved(1)?;
    let (units, keys) = (fields.u32()?, fields.u64()?);
    let (created, floor, len) = (fields.u64()?, fields.u64()?, fields.u32()?);
    fields.reserved(4)?;
    if created > floor || floor > SEQNO_MAX || expiring > 1 || (units == 0 && keys > 0) {
        return Err(damaged(format!("keyspace {id} has {keys} keys, from {created} and {floor} on")));
    }
    let (created, floor) = (created.into(), floor.into());
    let expiring = expiring == 1;
    Ok((ListedSpace { id, expiring, units, keys, created, floor, payload: Vec::new() }, len))
}

fn decode_amount(fields: &mut Fields<'_>) -> Result<ListedAmount, Flaw> {
    let (file, keyspace) = (fields.u32()?, fields.u16()?);
    fields.reserved(2)?;
    let amount = ListedAmount { file, keyspace, bytes: fields.u64()?, records: fields.u64()?, large: fields.u64()? };
    if keyspace == 0 || amount.records == 0 {
        return Err(damaged(format!("{} records are live of keyspace {keyspace}", amount.records)));
    }
    Ok(amount)
}

/// A cursor, and how long its payload is.
fn decode_cursor(fields: &mut Fields<'_>) -> Result<(ListedCursor, u32), Flaw> {
    let (said, len) = (fields.u64()?, fields.u32()?);
    fields.reserved(4)?;
    if said > SEQNO_MAX || len == 0 {
        return Err(damaged(format!("write {said} says nothing of a cursor")));
    }
    Ok((ListedCursor { said: said.into(), payload: Vec::new() }, len))
}

fn damaged(what: String) -> Flaw {
    Flaw::Damaged(what)
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
