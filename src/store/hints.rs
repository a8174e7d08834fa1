//! Hints in `hints/`: made of a sealed segment, written, found again, removed.
//!
//! Floor 3. Imports `address`, `error`, `format`, `index`, `limits`, `platform`, `segment`, `store`, `sync`.
//!
//! A hint only saves time: none of its failures is one of the store, and who gets none reads the segment. The background gives one
//! to what was sealed (`compact::worker`); whatever else lacks one gets it when a job asks for it (`of`).

use std::io;
use std::ops::Range;

use crate::address::SegmentId;
use crate::error::Result;
use crate::format::hint::{Hint, Listed, ListedKind};
use crate::format::hint_build::Builder;
use crate::format::hint_header::HintHeader;
use crate::format::identity::{HashKind, Identity};
use crate::format::names::{self, HintsEntry};
use crate::format::record::Flaw;
use crate::format::segment::{SegmentHeader, SegmentKind};
use crate::index::hash::Hasher;
use crate::limits::RECORDS_START;
use crate::platform::{Access, Disk, File, Mapping};
use crate::segment::scan::{Scan, Scanned, Step, Values};
use crate::segment::source::Source;
use crate::segment::{ReadMode, Segment};
use crate::store::archived::Archive;
use crate::store::{Store, failed};
use crate::sync::Arc;

/// Bytes of records that a hint is made of ahead, or used for at an open: less is read as fast as a file is made, or found. So a
/// session that writes little has no hint to write, nor a file more to keep. Bytes and not records, because it is bytes that a hint
/// saves: the records of a segment may be a million, or a thousand.
pub(crate) const WORTH_MIN: u64 = 4 << 20;

/// The hint of a sealed segment, made by reading the heads of all its records; `work` is told how many bytes those have.
///
/// # Errors
/// `Corruption` if a record is damaged, or what one says of a large value: a hint that does not list everything would
/// lose what it lacks. `Io` as the system says. Those of `work`.
pub(crate) fn build(
    segment: &Segment,
    header: &SegmentHeader,
    hasher: &Hasher,
    mut work: impl FnMut(u64) -> Result<()>,
) -> Result<Vec<u8>> {
    let (file, end) = (segment.file()?, segment.tail().published());
    let mut scan = Scan::new(&*file, segment.path(), segment.salt(), end, Source::Cache, Values::Skip);
    let mut builder = Builder::default();
    let mut facts = HintHeader { end, ..header_for(header, hasher) };
    while scan.offset() < end {
        let offset = scan.offset();
        match scan.step()? {
            Step::Record(record) => {
                facts.last_seqno = facts.last_seqno.max(record.header.seqno);
                facts.all_records = facts.all_records.saturating_add(1);
                list(&mut builder, &record, hasher).map_err(|flaw| segment.flawed(offset, &flaw))?;
                work(record.header.record_len())?;
            }
            Step::Stop(flaw) => return Err(segment.flawed(offset, &flaw)),
        }
    }
    Ok(builder.finish(&facts))
}

fn list(builder: &mut Builder, record: &Scanned<'_>, hasher: &Hasher) -> Result<(), Flaw> {
    let Some(kind) = ListedKind::of(record.header.kind) else { return Ok(()) };
    let (hash, offset, keyspace) = (hasher.hash(record.key()), record.offset, record.header.keyspace);
    let listed = Listed { hash, offset, kind, keyspace, len: record.header.record_len() };
    match (kind, &record.large) {
        (ListedKind::PutLarge, Some(large)) => builder.add_large(listed, (large.id, large.len)),
        (ListedKind::PutLarge, None) => {
            return Err(Flaw::Damaged("what the record says of a large value is damaged".to_owned()));
        }
        _ => builder.add(listed),
    }
    Ok(())
}

/// What the header of a hint of this segment says, if that is without records.
fn header_for(segment: &SegmentHeader, hasher: &Hasher) -> HintHeader {
    HintHeader {
        kind: segment.kind,
        hash_kind: match hasher {
            Hasher::Rapid { .. } => HashKind::Rapid,
            Hasher::Sip(_) => HashKind::Sip,
        },
        database: segment.database,
        id: segment.id,
        epoch: segment.epoch,
        first_seqno: segment.first_seqno,
        last_seqno: u64::from(segment.first_seqno).saturating_sub(1).into(),
        end: RECORDS_START,
        all_records: 0,
    }
}

/// Writes the hint of the segment `id` of the log, in place of one that it has.
///
/// # Errors
/// As the system says. Nothing is lost then but the hint.
pub(crate) fn write(disk: &dyn Disk, id: SegmentId, bytes: &[u8]) -> io::Result<()> {
    let made = unless(io::ErrorKind::AlreadyExists, disk.create_dir(names::HINTS))?;
    if made {
        // BARRIER: best effort: without its folder a hint is missing after a power cut, no more.
        drop(disk.sync_dir(""));
    }
    let new = names::new_hint(id);
    unless(io::ErrorKind::NotFound, disk.remove(&new))?;
    let written = write_new(disk, &new, bytes).and_then(|()| disk.rename(&new, &names::hint(id)));
    if written.is_err() {
        drop(disk.remove(&new));
    }
    written?;
    // BARRIER: best effort: under the old name or the new one, what is there is whole, or does not check out.
    drop(disk.sync_dir(names::HINTS));
    Ok(())
}

fn write_new(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<()> {
    let file = disk.create(name)?;
    file.write_at(bytes, 0)?;
    // BARRIER: the bytes are durable before the name, so that a hint with a final name is whole.
    file.sync()
}

/// Whether it was done; `false` if `kind` says that it did not need to be.
fn unless(kind: io::ErrorKind, done: io::Result<()>) -> io::Result<bool> {
    match done {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == kind => Ok(false),
        Err(error) => Err(error),
    }
}

/// The hint of a sealed segment, wherever it is; made, and best effort written, where a segment of the log has none.
/// `None` in doubt.
pub(crate) fn of(store: &Store, segment: &Segment) -> Option<FoundHint> {
    let (disk, hasher, mode) = (&**store.disk(), store.hasher(), store.settings().reading.mode);
    let found = find(disk, store.identity(), hasher, segment, mode);
    if found.is_some() || segment.archive().is_some() {
        return found;
    }
    let header = segment.header_facts(store.identity().database);
    let bytes = build(segment, &header, hasher, |_| Ok(())).ok()?;
    drop(write(disk, header.id, &bytes));
    // Mapped, it takes no memory.
    load(disk, &header, hasher, mode).or(Some(FoundHint(Content::Read(bytes))))
}

/// Gives a sealed segment of the log a hint, if it has none, and one could be worth it. `work` is told of what is read.
///
/// # Errors
/// As `build` and `write`. Nothing is lost then but the hint.
pub(crate) fn make(store: &Store, segment: &Segment, work: impl FnMut(u64) -> Result<()>) -> Result<()> {
    store.check_poison()?;
    let (disk, hasher, mode) = (&**store.disk(), store.hasher(), store.settings().reading.mode);
    let header = segment.header_facts(store.identity().database);
    if segment.used_bytes() < WORTH_MIN || load(disk, &header, hasher, mode).is_some() {
        return Ok(());
    }
    let bytes = build(segment, &header, hasher, work)?;
    write(disk, header.id, &bytes).map_err(failed(disk, "write", &names::hint(header.id)))
}

/// The hint of a sealed segment, if it has one.
pub(crate) fn find(
    disk: &dyn Disk,
    identity: &Identity,
    hasher: &Hasher,
    segment: &Segment,
    mode: ReadMode,
) -> Option<FoundHint> {
    let header = segment.header_facts(identity.database);
    let Some(archive) = segment.archive() else {
        return load(disk, &header, hasher, mode);
    };
    let archive = Archive::open(disk, &names::archive(archive), archive, identity).ok()?;
    let name = match header.kind {
        SegmentKind::Log => names::log_entry(header.id),
        SegmentKind::Packed => names::packed_entry(header.id),
    };
    let name = names::hint_entry(&name);
    let entry = archive.manifest().entries.iter().find(|entry| entry.name == name)?;
    let (start, len) = (usize::try_from(entry.offset).ok()?, usize::try_from(entry.len).ok()?);
    let content = match archive.map(mode) {
        Some(map) => Content::Part(map, start..start + len),
        None if len as u64 <= header.len => Content::Read(read(&*archive.file, len, entry.offset)?),
        None => return None,
    };
    FoundHint(content).fitting(&header, hasher)
}

/// A hint that was found, and fits its segment.
#[derive(Debug)]
pub(crate) struct FoundHint(Content);

#[derive(Debug)]
enum Content {
    Mapped(Box<dyn Mapping>),
    /// An entry of an archive.
    Part(Arc<dyn Mapping>, Range<usize>),
    Read(Vec<u8>),
}

impl FoundHint {
    /// Checks all but the blocks once more: some microseconds; ask once, and look often.
    ///
    /// # Errors
    /// As `Hint::open`, if the bytes rot meanwhile.
    pub(crate) fn hint(&self) -> Result<Hint<'_>, Flaw> {
        Hint::open(self.bytes())
    }

    fn bytes(&self) -> &[u8] {
        match &self.0 {
            // SAFETY: the file was as long as the mapping, a file that had a final name is never written again, and it is
            // mapped as long as `self` is there. It shrinks only if somebody outside truncates it.
            Content::Mapped(map) => unsafe { std::slice::from_raw_parts(map.as_ptr(), map.len()) },
            // SAFETY: as above; the entry lies within the archive, whose directory was checked against the file's length.
            Content::Part(map, at) => unsafe { std::slice::from_raw_parts(map.as_ptr().add(at.start), at.len()) },
            Content::Read(bytes) => bytes,
        }
    }

    /// Itself, if it is of the segment with this header, whole, and made with the store's hash function.
    fn fitting(self, header: &SegmentHeader, hasher: &Hasher) -> Option<FoundHint> {
        let facts = *self.hint().ok()?.header();
        let HintHeader { last_seqno, end, all_records, .. } = facts;
        let expected = HintHeader { last_seqno, end, all_records, ..header_for(header, hasher) };
        (facts == expected).then_some(self)
    }
}

/// The hint of the segment of the log with this header, if there is one that fits it, whole, and made with the store's
/// hash function.
///
/// Mapped it takes no memory of the process's own, and a bad sector is a signal; read by position it is as if missing.
pub(crate) fn load(disk: &dyn Disk, header: &SegmentHeader, hasher: &Hasher, mode: ReadMode) -> Option<FoundHint> {
    let file = disk.open(&names::hint(header.id), Access::Read).ok()?;
    // No record is shorter than what a hint says of it, and no hint as long as its segment.
    let len = usize::try_from(file.len().ok().filter(|len| *len < header.len)?).ok()?;
    let mapped = match mode {
        ReadMode::Mmap => file.map(len).ok().filter(|map| map.len() == len).map(Content::Mapped),
        ReadMode::Positioned => None,
    };
    FoundHint(mapped.or_else(|| read(&*file, len, 0).map(Content::Read))?).fitting(header, hasher)
}

fn read(file: &dyn File, len: usize, offset: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).ok()?;
    bytes.resize(len, 0);
    Source::Cache.read_exact(file, names::HINTS, &mut bytes, offset).ok()?;
    Some(bytes)
}

/// Removes what was never finished, and the hints of segments that are not there any more, as far as that goes.
pub(crate) fn remove_strangers(disk: &dyn Disk, is_there: impl Fn(SegmentId) -> bool) {
    for name in disk.list(names::HINTS).unwrap_or_default() {
        let stranger = match names::parse_hints_entry(&name) {
            HintsEntry::Hint(id) => (!is_there(id)).then(|| names::hint(id)),
            HintsEntry::New(id) => Some(names::new_hint(id)),
            HintsEntry::Foreign => None,
        };
        if let Some(name) = stranger {
            drop(disk.remove(&name));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{build, load, remove_strangers, write};
    use crate::address::{LargeId, SegmentId, Seqno};
    use crate::error::ErrorKind;
    use crate::format::hint::{Listed, ListedKind};
    use crate::format::large::LargeValue;
    use crate::format::names;
    use crate::format::record::{Draft, Kind, stamp};
    use crate::format::segment::{SegmentHeader, SegmentKind};
    use crate::index::hash::Hasher;
    use crate::limits::{RECORDS_START, SEGMENT_SIZE_MIN};
    use crate::platform::memory::MemoryDisk;
    use crate::platform::{Access, Disk};
    use crate::segment::home::Home;
    use crate::segment::{ReadMode, Reading, Segment};
    use crate::sync::Arc;

    const LARGE: LargeValue = LargeValue { id: LargeId([7; 16]), len: 1 << 20, crc: 5 };
    const MODES: [ReadMode; 2] = [ReadMode::Mmap, ReadMode::Positioned];

    fn header() -> SegmentHeader {
        SegmentHeader {
            database: [1; 16],
            id: SegmentId(42),
            epoch: [2; 16],
            kind: SegmentKind::Log,
            first_seqno: Seqno::from(10),
            len: SEGMENT_SIZE_MIN,
        }
    }

    fn hasher() -> Hasher {
        Hasher::rapid([3; 16])
    }

    /// A disk with a segment of five records, and where they begin.
    fn segment() -> (Arc<dyn Disk>, Segment, Vec<u64>) {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        disk.create_dir(names::SEGMENTS).unwrap();
        let name = names::segment(SegmentId(42));
        let file = disk.create(&name).unwrap();
        file.allocate(SEGMENT_SIZE_MIN).unwrap();
        let large = LARGE.encode();
        let (mut end, mut offsets) = (RECORDS_START, Vec::new());
        let drafts: [(Kind, u16, &[u8], &[u8]); 5] = [
            (Kind::Put, 0, b"one", b"value"),
            (Kind::PutLarge, 0, b"two", &large),
            (Kind::Pad, 0, b"", b"nothing"),
            (Kind::Delete, 5, b"one", b""),
            (Kind::KeyspaceClear, 5, b"", b"as if"),
        ];
        for (at, (kind, keyspace, key, value)) in drafts.into_iter().enumerate() {
            let mut record = Vec::new();
            Draft { kind, keyspace, key, value, expiry: None }.encode(&mut record);
            stamp(&mut record, Seqno::from(10 + at as u64), header().salt(), end);
            file.write_at(&record, end).unwrap();
            offsets.push(end);
            end += record.len() as u64;
        }
        let segment = Segment::new(&disk, Home::alone(&file, &name), &header(), 0, end, Reading::default());
        (disk, segment, offsets)
    }

    fn written() -> Arc<dyn Disk> {
        let (disk, segment, _) = segment();
        write(&*disk, SegmentId(42), &build(&segment, &header(), &hasher(), |_| Ok(())).unwrap()).unwrap();
        disk
    }

    fn is_found(disk: &dyn Disk, header: &SegmentHeader, hasher: &Hasher) -> bool {
        let found = MODES.map(|mode| load(disk, header, hasher, mode).is_some());
        assert_eq!(found[0], found[1], "mapped and read");
        found[0]
    }

    #[test]
    fn a_hint_lists_what_the_segment_holds() {
        let (disk, segment, offsets) = segment();
        write(&*disk, segment.id(), &build(&segment, &header(), &hasher(), |_| Ok(())).unwrap()).unwrap();
        let listed = |key: &[u8], at: usize, kind, keyspace| Listed {
            hash: hasher().hash(key),
            offset: offsets[at],
            kind,
            keyspace,
            len: offsets.get(at + 1).unwrap_or(&segment.tail().published()) - offsets[at],
        };
        let mut expected = vec![
            listed(b"one", 0, ListedKind::Put, 0),
            listed(b"two", 1, ListedKind::PutLarge, 0),
            listed(b"one", 3, ListedKind::Delete, 5),
            listed(b"", 4, ListedKind::Other, 5),
        ];
        expected.sort_unstable();
        for mode in MODES {
            let found = load(&*disk, &header(), &hasher(), mode).unwrap();
            let hint = found.hint().unwrap();
            assert_eq!(hint.records().collect::<Result<Vec<_>, _>>().unwrap(), expected);
            assert_eq!(hint.large().collect::<Vec<_>>(), [(LARGE.id, LARGE.len)]);
            let seqnos = (hint.header().first_seqno, hint.header().last_seqno);
            assert_eq!(seqnos, (Seqno::from(10), Seqno::from(14)));
        }
        assert_eq!(disk.list(names::HINTS).unwrap(), ["0000000042.hint"]);
    }

    #[test]
    fn a_segment_without_records_has_a_hint_too() {
        let (disk, segment, _) = segment();
        let name = names::segment(segment.id());
        let file = segment.file().unwrap();
        let empty = Segment::new(&disk, Home::alone(&file, &name), &header(), 0, RECORDS_START, Reading::default());
        write(&*disk, empty.id(), &build(&empty, &header(), &hasher(), |_| Ok(())).unwrap()).unwrap();
        let found = load(&*disk, &header(), &hasher(), ReadMode::Mmap).unwrap();
        assert_eq!(found.hint().unwrap().len(), 0);
        assert_eq!(found.hint().unwrap().header().last_seqno, Seqno::from(9));
    }

    #[test]
    fn a_damaged_head_or_large_value_makes_no_hint_and_a_rotten_value_does_not_matter() {
        for (record, at, made) in [(0, 33, true), (0, 24, false), (1, 40, false), (2, 25, true), (3, 30, false)] {
            let (_disk, segment, offsets) = segment();
            segment.file().unwrap().write_at(&[0xee], offsets[record] + at).unwrap();
            let hint = build(&segment, &header(), &hasher(), |_| Ok(()));
            match hint {
                Ok(_) => assert!(made, "record {record}"),
                Err(error) => {
                    assert!(!made, "record {record}: {error}");
                    assert_eq!(error.kind(), ErrorKind::Corruption);
                    assert!(error.to_string().contains(&format!("at offset {}", offsets[record])), "{error}");
                }
            }
        }
    }

    #[test]
    fn a_hint_of_anything_else_is_as_if_missing() {
        let disk = written();
        assert!(is_found(&*disk, &header(), &hasher()));
        assert!(is_found(&*disk, &header(), &Hasher::rapid([4; 16])), "the seed is the database's");
        assert!(!is_found(&*disk, &header(), &Hasher::sip([3; 16])));
        for other in [
            SegmentHeader { database: [9; 16], ..header() },
            SegmentHeader { epoch: [9; 16], ..header() },
            SegmentHeader { kind: SegmentKind::Packed, ..header() },
            SegmentHeader { first_seqno: Seqno::from(9), ..header() },
            SegmentHeader { id: SegmentId(43), ..header() },
            SegmentHeader { len: 200, ..header() },
        ] {
            assert!(!is_found(&*disk, &other, &hasher()), "{other:?}");
        }
        disk.rename(&names::hint(SegmentId(42)), &names::hint(SegmentId(43))).unwrap();
        assert!(!is_found(&*disk, &SegmentHeader { id: SegmentId(43), ..header() }, &hasher()));
        assert!(!is_found(&MemoryDisk::new(), &header(), &hasher()), "no folder");
    }

    #[test]
    fn a_damaged_hint_is_as_if_missing_and_is_replaced() {
        let (disk, segment, _) = segment();
        let bytes = build(&segment, &header(), &hasher(), |_| Ok(())).unwrap();
        for (at, junk) in [(0, 1), (130, 0xee), (bytes.len() as u64, 0)] {
            write(&*disk, segment.id(), &bytes).unwrap();
            assert!(is_found(&*disk, &header(), &hasher()));
            let file = disk.open(&names::hint(segment.id()), Access::ReadWrite).unwrap();
            file.write_at(&[junk], at).unwrap();
            assert!(!is_found(&*disk, &header(), &hasher()), "{at}");
        }
        write(&*disk, segment.id(), &[]).unwrap();
        assert!(!is_found(&*disk, &header(), &hasher()));
    }

    #[test]
    fn what_an_earlier_attempt_left_is_written_over() {
        let (disk, segment, _) = segment();
        disk.create_dir(names::HINTS).unwrap();
        disk.create(&names::new_hint(segment.id())).unwrap().write_at(&[1; 100_000], 0).unwrap();
        write(&*disk, segment.id(), &build(&segment, &header(), &hasher(), |_| Ok(())).unwrap()).unwrap();
        assert!(is_found(&*disk, &header(), &hasher()));
    }

    #[test]
    fn a_hint_that_cannot_be_named_leaves_nothing() {
        let disk = MemoryDisk::new();
        disk.create("hints").unwrap();
        assert!(write(&disk, SegmentId(1), b"hint").is_err());
        assert_eq!(disk.list("").unwrap(), ["hints"]);
        assert_eq!(disk.list(names::HINTS).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn strangers_go_and_foreign_files_stay() {
        let disk = MemoryDisk::new();
        remove_strangers(&disk, |_| true);
        for id in 1..=4 {
            write(&disk, SegmentId(id), b"hint").unwrap();
        }
        for name in ["hints/new-0000000002", "hints/notes.txt", "hints/5.hint"] {
            disk.create(name).unwrap();
        }
        remove_strangers(&disk, |id| id.0 % 2 == 0);
        assert_eq!(disk.list(names::HINTS).unwrap(), ["0000000002.hint", "0000000004.hint", "5.hint", "notes.txt"]);
    }
}
