//! The file that the index is written down in, written and opened.
//!
//! Floor 3. Imports `address`, `error`, `format`, `index`, `limits`, `platform`, `store`, `sync`.
//!
//! What is wrong with such a file is no error: the index is rebuilt without it.

use std::io;

use crate::address::Seqno;
use crate::error::Result;
use crate::format::catalogue::CatalogueRecord;
use crate::format::checkpoint::{Header, ListedSpace, ListedUnit, Lists, UNITS_START};
use crate::format::identity::Identity;
use crate::format::record::Kind;
use crate::format::{checksum, names};
use crate::index::image::{Extent, Image, Memory};
use crate::index::table::Table;
use crate::index::unit::{self, UNIT_LEN};
use crate::limits::{INDEX_PIECE_LEN, SECTOR};
use crate::platform::{Access, Disk, File};
use crate::store::cursors::Cursors;
use crate::store::failed;
use crate::store::space::Space;
use crate::sync::Arc;
use crate::sync::plain::thread;

/// Units whose checksums are worth a thread: 16 MiB of them.
const CHECKED_BESIDE_MIN: usize = 1_000;

/// What is known of an index once all of it was copied.
pub(super) struct Facts {
    /// All but the units.
    pub(super) lists: Lists,
    /// No unit points at a record of a higher seqno.
    pub(super) until: Seqno,
}

/// A keyspace that is to be written down.
pub(super) struct ImagedSpace<'t> {
    pub(super) space: ListedSpace,
    pub(super) image: Option<Image<'t>>,
}

/// What is to be said of a keyspace, but for its units.
pub(super) fn listed_space(space: &Space) -> ListedSpace {
    let payload = space.create().map(|create| CatalogueRecord::Create(create).encode()).unwrap_or_default();
    let expiring = space.may_expire();
    ListedSpace { id: space.id(), expiring, units: 0, keys: 0, created: space.created(), floor: space.floor(), payload }
}

/// An index that was written down.
pub(super) struct Opened {
    pub(super) spaces: Vec<Space>,
    pub(super) cursors: Cursors,
    pub(super) from: Seqno,
    pub(super) until: Seqno,
    pub(super) lists: Lists,
    pub(super) id: [u8; 16],
}

/// Writes the index down and gives it its name, durably; `false` if it cannot be, because keys are too hostile.
///
/// `id` is this index's alone. `from` is known, and visible, from before the image was begun. `facts` is called once, when all units are copied:
/// everything that they point at is durable when it returns.
///
/// # Errors
/// As the system says, or `facts`. What had the name before has it still, or what has it is whole.
pub(super) fn write(
    disk: &dyn Disk,
    identity: &Identity,
    (id, from): ([u8; 16], Seqno),
    images: Vec<ImagedSpace<'_>>,
    facts: impl FnOnce() -> Result<Facts>,
) -> Result<bool> {
    let file = create(disk).map_err(failed(disk, "make", names::IMAGE_NEW))?;
    let mut pieces = Pieces { file: &*file, piece: vec![0; UNITS_START as usize], offset: 0 };
    let Some((units, spaces)) = write_units(&mut pieces, images).map_err(failed(disk, "write", names::IMAGE_NEW))?
    else {
        return Ok(false);
    };
    let Facts { lists, until } = facts()?;
    let lists = Lists { units, spaces, ..lists };
    let encoded = lists.encode();
    let hash = (identity.hash_kind, identity.hash_seed);
    let Some(mut header) = Header::of(&lists, &encoded, hash, identity.database, from) else {
        return Ok(false);
    };
    (header.id, header.until) = (id, until);
    let written = pieces.put(&encoded).and_then(|()| pieces.finish()).and_then(|()| {
        file.write_at(&header.encode(), 0)?;
        // BARRIER: a file with the name is whole.
        file.sync()
    });
    written.map_err(failed(disk, "write", names::IMAGE_NEW))?;
    disk.rename(names::IMAGE_NEW, names::IMAGE).map_err(failed(disk, "rename", names::IMAGE_NEW))?;
    // BARRIER: from here on an open finds this one.
    disk.sync_dir(names::CHECKPOINT).map_err(failed(disk, "sync", names::CHECKPOINT))?;
    Ok(true)
}

/// Writes the units of all keyspaces, one after the other; `None` if keys are too hostile.
fn write_units(
    pieces: &mut Pieces<'_>,
    images: Vec<ImagedSpace<'_>>,
) -> io::Result<Option<(Vec<ListedUnit>, Vec<ListedSpace>)>> {
    let (mut units, mut unit, mut spaces) = (Vec::new(), [0; UNIT_LEN], Vec::new());
    for ImagedSpace { mut space, image } in images {
        let before = units.len();
        if let Some(mut image) = image {
            loop {
                match image.copy_next(&mut unit) {
                    Ok(Some(Extent { first, depth })) => {
                        units.push(ListedUnit { first, depth, crc: checksum::crc(&unit) });
                    }
                    Ok(None) => break,
                    Err(_) => return Ok(None),
                }
                pieces.put(&unit)?;
            }
            space.keys = image.len();
        }
        let Ok(count) = u32::try_from(units.len() - before) else { return Ok(None) };
        space.units = count;
        spaces.push(space);
    }
    Ok(Some((units, spaces)))
}

/// Makes the file, and the folder if there is none. What is left of another attempt goes.
fn create(disk: &dyn Disk) -> io::Result<Arc<dyn File>> {
    match disk.create_dir(names::CHECKPOINT) {
        // BARRIER: the folder keeps its name, so that the file can be reached by it.
        Ok(()) => disk.sync_dir("")?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    match disk.remove(names::IMAGE_NEW) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => disk.create(names::IMAGE_NEW),
    }
}

/// Removes what is left of an attempt, as far as possible: else the next one does.
pub(super) fn remove_leftover(disk: &dyn Disk) {
    let new = names::IMAGE_NEW.strip_prefix(names::CHECKPOINT).map(|name| name.trim_start_matches('/'));
    if disk.list(names::CHECKPOINT).is_ok_and(|names| names.iter().any(|name| Some(name.as_str()) == new)) {
        let _ = disk.remove(names::IMAGE_NEW);
    }
}

/// A file that is written from its start in large pieces, each at a multiple of its length.
struct Pieces<'f> {
    file: &'f dyn File,
    /// What is to be written at `offset`.
    piece: Vec<u8>,
    offset: u64,
}

impl Pieces<'_> {
    fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = INDEX_PIECE_LEN - self.piece.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.piece.extend_from_slice(now);
            if self.piece.len() == INDEX_PIECE_LEN {
                self.finish()?;
            }
            bytes = later;
        }
        Ok(())
    }

    /// Writes what has not been yet.
    fn finish(&mut self) -> io::Result<()> {
        self.file.write_at(&self.piece, self.offset)?;
        self.offset += self.piece.len() as u64;
        self.piece.clear();
        Ok(())
    }
}

/// The index that was written down last; `None` if there is none, or if anything is wrong with it.
///
/// All of it is checked here, by two threads where `background` allows them and there is much: where it was written in large
/// pieces and the system has it in memory, an open takes 0.9 ms for a million keys.
pub(super) fn open(disk: &dyn Disk, identity: &Identity, background: bool) -> Option<Opened> {
    let file = disk.open(names::IMAGE, Access::Read).ok()?;
    let mut sector = [0; SECTOR];
    file.read_at(&mut sector, 0).ok()?;
    let header = Header::decode(&sector).ok()?;
    let ours = header.database == identity.database
        && (header.hash_kind, header.hash_seed) == (identity.hash_kind, identity.hash_seed);
    let (at, len) = (header.lists(), file.len().ok()?);
    if !ours || len != at.end {
        return None;
    }
    let mut encoded = vec![0; usize::try_from(at.end - at.start).ok()?];
    file.read_at(&mut encoded, at.start).ok()?;
    let lists = Lists::decode(&header, &encoded).ok()?;
    let threads = if background && lists.units.len() >= CHECKED_BESIDE_MIN { 2 } else { 1 };
    let memory = checked_units(&*file, &lists, usize::try_from(header.units().end).ok()?, threads)?;
    let (spaces, cursors) = (open_spaces(&lists, memory)?, open_cursors(&lists)?);
    Some(Opened { spaces, cursors, from: header.from, until: header.until, lists, id: header.id })
}

/// The keyspaces, each with its units; `None` if one of them is none.
fn open_spaces(lists: &Lists, mut memory: Memory) -> Option<Vec<Space>> {
    let extents: Vec<_> = lists.units.iter().map(|&ListedUnit { first, depth, .. }| Extent { first, depth }).collect();
    let (mut extents, mut spaces) = (&extents[..], Vec::new());
    for listed in &lists.spaces {
        let (own, others) = extents.split_at_checked(listed.units as usize)?;
        extents = others;
        let (part, rest) = memory.split_at(own.len() * UNIT_LEN);
        memory = rest;
        let table = if own.is_empty() { Table::new() } else { Table::open(part, own, listed.keys)? };
        let space = match CatalogueRecord::of(Kind::KeyspaceCreate, listed.id, &listed.payload) {
            Ok(CatalogueRecord::Create(create)) => Space::of(&create, listed.created, listed.floor, table),
            Err(_) if listed.payload.is_empty() => Space::default(listed.floor, table),
            _ => return None,
        };
        if listed.expiring {
            space.note_expiring();
        }
        spaces.push(space);
    }
    Some(spaces)
}

/// Where the cursors stand; `None` if what is listed is none.
fn open_cursors(lists: &Lists) -> Option<Cursors> {
    let cursors = Cursors::default();
    for listed in &lists.cursors {
        match CatalogueRecord::of(Kind::Cursor, 0, &listed.payload) {
            Ok(CatalogueRecord::Cursor { name, seqno }) => cursors.apply(name, seqno, listed.said),
            _ => return None,
        }
    }
    Some(cursors)
}

/// The units, up to the end of them in the file, if each has its checksum; so many threads look.
fn checked_units(file: &dyn File, lists: &Lists, end: usize, threads: usize) -> Option<Memory> {
    let map = file.map_private(end).ok().filter(|map| map.len() == end)?;
    map.read_ahead(0..end).ok()?;
    let skipped = UNITS_START as usize;
    // SAFETY: the mapping has `end` bytes, and there is at least what lies before the units.
    let start = unsafe { map.start().add(skipped) };
    // SAFETY: these bytes are the mapping's, which lives until the slice has gone, and nobody writes them meanwhile.
    let bytes = unsafe { std::slice::from_raw_parts(start.as_ptr(), end - skipped) };
    let each = lists.units.len().div_ceil(threads).max(1);
    let is_whole = |(units, listed): (&[u8], &[ListedUnit])| {
        let mut pairs = units.chunks_exact(UNIT_LEN).zip(listed);
        pairs.all(|(unit, listed)| checksum::crc(unit) == listed.crc && unit::is_at_rest(unit))
    };
    let mut parts = bytes.chunks(each * UNIT_LEN).zip(lists.units.chunks(each));
    let first = parts.next();
    let whole = thread::scope(|scope| {
        let beside = |part| (part, thread::Builder::new().spawn_scoped(scope, move || is_whole(part)));
        let others: Vec<_> = parts.map(beside).collect();
        let first = first.is_none_or(is_whole);
        // Where there is no thread to be had, this one looks itself.
        let looked = |(part, other): (_, std::io::Result<thread::ScopedJoinHandle<'_, bool>>)| match other {
            Ok(other) => other.join().unwrap_or(false),
            Err(_) => is_whole(part),
        };
        others.into_iter().all(looked) && first
    });
    // SAFETY: the mapping goes along, and nobody else knows of it. It stays where it is when its box moves.
    whole.then(|| unsafe { Memory::new(start, end - skipped, Arc::new(map)) })
}

#[cfg(test)]
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
mod tests {
    use std::collections::HashSet;

    use super::{Facts, ImagedSpace, Opened, listed_space, open, write};
    use crate::address::{LargeId, Location, SegmentId, Seqno};
    use crate::error::{Error, ErrorKind};
    use crate::format::checkpoint::{Header, ListedFile, ListedLarge, Lists};
    use crate::format::checksum;
    use crate::format::identity::{HashKind, Identity};
    use crate::format::names;
    use crate::format::segment::SegmentKind;
    use crate::index::table::{Probe, Table};
    use crate::index::unit::UNIT_LEN;
    use crate::platform::memory::MemoryDisk;
    use crate::platform::sim::disk::SimDisk;
    use crate::platform::{Access, Disk};
    use crate::store::space::Space;

    fn identity() -> Identity {
        Identity {
            incompat: 0,
            ro_compat: 0,
            compat: 0,
            database: [1; 16],
            lineage: [2; 16],
            hash_kind: HashKind::Rapid,
            hash_seed: [3; 16],
        }
    }

    /// Key n is at place n.
    fn table(keys: u64) -> Table {
        let table = Table::new();
        for key in 1..=keys {
            let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            table.insert(hash ^ hash >> 29, Location::from_unit(key).unwrap(), |_| Probe::Other);
        }
        table
    }

    fn places(table: &Table) -> HashSet<Location> {
        let mut places = HashSet::new();
        table.walk(|at, _| {
            places.extend(at);
            true
        });
        places
    }

    fn facts() -> Facts {
        let file = ListedFile {
            kind: SegmentKind::Log,
            id: SegmentId(1),
            archive: None,
            epoch: [4; 16],
            place: 0,
            places: 3,
            end: 9_999,
            live_bytes: 2_400,
            live_records: 100,
            live_large: 6,
            names_all: true,
        };
        let large = ListedLarge { id: LargeId([5; 16]), len: 6, segment: 0 };
        Facts { lists: Lists { files: vec![file], large: vec![large], ..Lists::default() }, until: Seqno::from(8) }
    }

    fn images(table: &Table) -> Vec<ImagedSpace<'_>> {
        vec![ImagedSpace {
            space: listed_space(&Space::default(Seqno::from(0), Table::new())),
            image: Some(table.image()),
        }]
    }

    fn write_down(disk: &dyn Disk, table: &Table) {
        assert!(write(disk, &identity(), ([9; 16], Seqno::from(7)), images(table), || Ok(facts())).unwrap());
    }

    #[test]
    fn what_was_written_down_is_opened_whole() {
        // More than one piece, and what is written a second time replaces the first.
        let (disk, table) = (MemoryDisk::new(), table(200_000));
        write_down(&disk, &super::tests::table(5_000));
        write_down(&disk, &table);
        let Opened { spaces, from, lists, id, .. } = open(&disk, &identity(), true).unwrap();
        let opened = spaces[0].whole_table();
        assert_eq!((from, id), (Seqno::from(7), [9; 16]));
        assert_eq!((lists.files, lists.large), (facts().lists.files, facts().lists.large));
        assert_eq!(opened.len(), 200_000);
        assert!(places(&opened) == places(&table));
        assert_eq!(disk.list(names::CHECKPOINT).unwrap(), ["index"]);
    }

    #[test]
    fn another_stores_index_is_none() {
        let disk = MemoryDisk::new();
        assert!(open(&disk, &identity(), false).is_none(), "there is none");
        write_down(&disk, &table(5_000));
        assert!(open(&disk, &Identity { database: [9; 16], ..identity() }, false).is_none());
        assert!(open(&disk, &Identity { hash_seed: [9; 16], ..identity() }, false).is_none());
        assert!(open(&disk, &Identity { hash_kind: HashKind::Sip, ..identity() }, false).is_none());
        assert!(open(&disk, &Identity { lineage: [9; 16], ..identity() }, false).is_some());
    }

    #[test]
    fn a_flipped_bit_anywhere_or_a_lost_byte_makes_it_none() {
        let disk = SimDisk::new(1);
        write_down(&disk, &table(5_000));
        let file = disk.open(names::IMAGE, Access::ReadWrite).unwrap();
        let whole = disk.read_file(names::IMAGE).unwrap();
        // Each byte of header and lists, and one of each line of the units; what lies between is not used.
        let lists = open(&disk, &identity(), false).unwrap().lists.encode().len();
        let units = 4096..whole.len() - lists;
        for at in (0..512).chain(units.clone().step_by(61)).chain(units.end..whole.len()) {
            file.write_at(&[whole[at] ^ 1 << (at % 8)], at as u64).unwrap();
            assert!(open(&disk, &identity(), false).is_none(), "byte {at}");
            file.write_at(&whole[at..=at], at as u64).unwrap();
        }
        assert!(open(&disk, &identity(), false).is_some());
        for len in [0, 1, 511, 512, 4096, whole.len() - lists, whole.len() - 1] {
            disk.write_file(names::IMAGE, &whole[..len]);
            assert!(open(&disk, &identity(), false).is_none(), "{len} bytes");
        }
        disk.write_file(names::IMAGE, &[&whole[..], &[0]].concat());
        assert!(open(&disk, &identity(), false).is_none(), "a byte too many");
    }

    #[test]
    fn a_word_that_waits_for_its_unit_to_be_split_is_none_whatever_the_checksums() {
        let disk = SimDisk::new(1);
        write_down(&disk, &table(5_000));
        let mut bytes = disk.read_file(names::IMAGE).unwrap();
        let header = Header::decode(&bytes[..512]).unwrap();
        let at = header.lists();
        let mut lists = Lists::decode(&header, &bytes[at.start as usize..]).unwrap();
        let mut made_up = |bucket: usize, word: usize| {
            bytes[4096 + 64 + bucket * 64 + word * 8 + 7] ^= 0x80;
            lists.units[0].crc = checksum::crc(&bytes[4096..4096 + UNIT_LEN]);
            let encoded = lists.encode();
            let hash = (header.hash_kind, header.hash_seed);
            let mut made_up = Header::of(&lists, &encoded, hash, header.database, header.from).unwrap();
            (made_up.id, made_up.until) = (header.id, header.until);
            bytes[..512].copy_from_slice(&made_up.encode());
            bytes.splice(at.start as usize.., encoded);
            disk.write_file(names::IMAGE, &bytes);
            open(&disk, &identity(), false).is_some()
        };
        assert!(made_up(0, 7), "the top bit of a control word is no slot's");
        assert!(!made_up(255, 6));
        assert!(made_up(255, 6), "and back");
        assert!(!made_up(0, 0));
    }

    #[test]
    fn what_cannot_be_written_down_leaves_the_last_one() {
        let disk = MemoryDisk::new();
        write_down(&disk, &table(5_000));
        let failed = write(&disk, &identity(), ([8; 16], Seqno::from(8)), images(&table(9_000)), || {
            Err(Error::new(ErrorKind::Poisoned, "the log cannot be made durable"))
        });
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::Poisoned);
        let same = table(9_000);
        (10_000..10_200).for_each(|unit| {
            assert_eq!(same.insert(1, Location::from_unit(unit).unwrap(), |_| Probe::Other).old, None)
        });
        assert!(!write(&disk, &identity(), ([8; 16], Seqno::from(8)), images(&same), || Ok(facts())).unwrap());
        assert_eq!(open(&disk, &identity(), false).unwrap().spaces[0].len(), 5_000);
        write_down(&disk, &table(6_000));
        assert_eq!(open(&disk, &identity(), false).unwrap().spaces[0].len(), 6_000);
    }
}
