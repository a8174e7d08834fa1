//! What fuzzers look at: the decoders of the format, with what must hold for whatever bytes they are given.
//!
//! Floor 8. Imports `address`, `error`, `format`, `inspect`, `limits`, `platform`, `segment`, `sync`.
//!
//! Compiled in by the feature `sim` only. A rule that is broken is a panic. Each function says how much it accepted, so
//! that a fuzzer can tell whether it gets behind the checksums.

use crate::error::Result;
use crate::format::catalogue::CatalogueRecord;
use crate::format::checkpoint::{self, Lists};
use crate::format::checksum::Salt;
use crate::format::hint::{Hint, Listed, ListedKind};
use crate::format::hint_build::Builder;
use crate::format::identity::Identity;
use crate::format::large::LargeValue;
use crate::format::manifest::Manifest;
use crate::format::names::{self, ArchivesEntry, HintsEntry, SegmentEntry, SegmentsEntry};
use crate::format::record::{self, Draft, Header, Kind, Shape};
use crate::format::segment::{Footer, Horizon, SegmentHeader};
use crate::inspect::archive::Archive;
use crate::limits::{EXTENSION_LEN, FOOTER_LEN, RECORD_ALIGN, RECORD_HEADER_LEN, RECORDS_START, SECTOR};
use crate::platform::memory::MemoryDisk;
use crate::platform::{Access, Disk, File};
use crate::segment::scan::{Scan, Scanned, Step, Values};
use crate::segment::source::Source;
use crate::sync::Arc;

/// A name that is recognised is printed so.
pub fn name(name: &str) -> u64 {
    let mut printed = Vec::new();
    printed.extend(names::parse_spare(name).map(|id| (names::SPARE, names::spare(id))));
    printed.extend(names::parse_large(name).map(|id| (names::LARGE, names::large(id))));
    printed.extend(names::parse_torn(name).map(|(id, offset)| (names::TORN, names::torn(id, offset))));
    printed.extend(match names::parse_archives_entry(name) {
        ArchivesEntry::Archive(id) => Some((names::ARCHIVES, names::archive(id))),
        ArchivesEntry::New(id) => Some((names::ARCHIVES, names::new_archive(id))),
        ArchivesEntry::Foreign => None,
    });
    printed.extend(match names::parse_hints_entry(name) {
        HintsEntry::Hint(id) => Some((names::HINTS, names::hint(id))),
        HintsEntry::New(id) => Some((names::HINTS, names::new_hint(id))),
        HintsEntry::Foreign => None,
    });
    printed.extend(match names::parse_segments_entry(name) {
        SegmentsEntry::Segment(id) => Some((names::SEGMENTS, names::segment(id))),
        SegmentsEntry::New(id) => Some((names::SEGMENTS, names::new_segment(id))),
        SegmentsEntry::Foreign => None,
    });
    for (folder, printed) in &printed {
        assert_eq!(*printed, format!("{folder}/{name}"), "a name has one spelling");
    }
    let entry = match names::parse_segment_entry(name) {
        Some(SegmentEntry::Log(id)) => Some(names::log_entry(id)),
        Some(SegmentEntry::Packed(id)) => Some(names::packed_entry(id)),
        None => None,
    };
    assert!(entry.as_ref().is_none_or(|printed| printed == name), "an entry's name has one spelling");
    printed.len() as u64 + u64::from(entry.is_some())
}

/// An identity that decodes is encoded so, as far as its copies are whole.
pub fn identity(bytes: &[u8]) -> u64 {
    let Ok((identity, damaged)) = Identity::decode(bytes, names::IDENTITY) else { return 0 };
    let encoded = identity.encode();
    for start in [0, SECTOR] {
        if damaged != Some(start as u64) {
            assert_eq!(bytes[start..start + SECTOR], encoded[start..start + SECTOR], "an identity has one spelling");
        }
    }
    1
}

/// A header, a horizon slot or a footer of a segment that decodes is encoded so.
pub fn sector(bytes: &[u8], database: &[u8; 16], id: u64, epoch: &[u8; 16]) -> u64 {
    let salt = Salt::new(database, crate::address::SegmentId(id), epoch);
    let header = SegmentHeader::decode(bytes, "sector", 0).ok();
    let (horizon, footer) = (Horizon::decode(bytes, salt), Footer::decode(bytes, salt));
    assert!(header.as_ref().is_none_or(|header| bytes.starts_with(&header.encode())));
    assert!(horizon.is_none_or(|horizon| bytes.starts_with(&horizon.encode(salt))));
    assert!(footer.is_none_or(|footer| bytes.starts_with(&footer.encode(salt))));
    u64::from(header.is_some()) + u64::from(horizon.is_some()) + u64::from(footer.is_some())
}

/// What a record of the catalogue says, or one of a large value, is encoded so. `bytes` are a record's header, and its value.
pub fn payload(bytes: &[u8]) -> u64 {
    let Some((head, payload)) = bytes.split_at_checked(RECORD_HEADER_LEN) else { return 0 };
    let large = LargeValue::decode(payload).ok();
    assert!(large.is_none_or(|large| large.encode() == payload), "a large value is told of in one way");
    let said = Header::decode(head).ok().and_then(|header| CatalogueRecord::decode(&header, payload).ok());
    assert!(said.is_none_or(|said| said.encode() == payload), "the catalogue has one spelling");
    u64::from(large.is_some()) + u64::from(said.is_some())
}

/// A manifest that decodes is encoded so.
pub fn manifest(bytes: &[u8]) -> u64 {
    let Ok(manifest) = Manifest::decode(bytes, "archive", 0) else { return 0 };
    assert!(manifest.encode() == bytes, "a manifest has one spelling");
    1
}

/// Walks the records of a segment's bytes: each is encoded so, and the walk comes to an end. How many there are.
pub fn records(segment: &[u8]) -> u64 {
    let limit = (segment.len() as u64).saturating_sub(FOOTER_LEN) / RECORD_ALIGN * RECORD_ALIGN;
    let Some(sector) = segment.get(..SECTOR).filter(|_| limit >= RECORDS_START) else { return 0 };
    let header = SegmentHeader::decode(sector, "segment", 0);
    let salt = header.map_or(Salt(0), |header| header.salt());
    let file = MemoryDisk::new().create("segment").expect("the name is free");
    file.write_at(segment, 0).expect("there is memory");
    let scan = |values| Scan::new(&*file, "segment", salt, limit, Source::Cache, values);
    let (mut walk, mut skipping, mut last, mut count) = (scan(Values::Bring), scan(Values::Skip), 0, 0);
    loop {
        let (at, skipped) = (walk.offset(), matches!(skipping.step(), Ok(Step::Record(_))));
        match walk.step().expect("all of it can be read") {
            Step::Record(scanned) => {
                assert!(scanned.offset == at && skipped, "both walks find the record at {at}");
                check_record(&scanned, salt);
                (last, count) = (u64::from(scanned.header.seqno), count + 1);
            }
            Step::Stop(_) => {
                assert!(!skipped, "both walks end at {at}");
                let behind = walk.behind(at, last).expect("all of it can be read");
                assert!(behind.len <= limit - at && behind.horizon.is_none_or(|horizon| horizon > at));
                return count;
            }
        }
    }
}

fn check_record(scanned: &Scanned<'_>, salt: Salt) {
    let (header, bytes) = (&scanned.header, scanned.record);
    let range = |range: std::ops::Range<u64>| range.start as usize..range.end as usize;
    let (key, value) = (&bytes[range(header.key())], &bytes[range(header.value())]);
    assert_eq!(key, scanned.key());
    if let Some(shape) = bytes.first_chunk().and_then(Shape::of_put) {
        let place = |start: u32, len: u64| u64::from(start)..u64::from(start) + len;
        assert_eq!(place(shape.key, shape.key_len.into()), header.key());
        assert_eq!(place(shape.value, shape.value_len.into()), header.value());
        assert_eq!(shape.keyspace, header.keyspace);
    }
    if scanned.value.is_some() {
        return;
    }
    let at = RECORD_HEADER_LEN + if header.has_horizon { EXTENSION_LEN } else { 0 };
    let expiry = bytes[at..].first_chunk().copied().map(u64::from_le_bytes).filter(|_| header.has_expiry);
    let draft = Draft { kind: header.kind, keyspace: header.keyspace, key, value, expiry };
    let mut encoded = vec![0; EXTENSION_LEN];
    draft.encode(&mut encoded);
    if header.more_follows {
        record::set_more_follows(&mut encoded[EXTENSION_LEN..]);
    }
    let start = match header.horizon(bytes) {
        None => EXTENSION_LEN,
        Some(horizon) => {
            record::insert_horizon(&mut encoded, EXTENSION_LEN, horizon);
            0
        }
    };
    record::stamp(&mut encoded[start..], header.seqno, salt, scanned.offset);
    assert!(encoded[start..] == *bytes, "a {:?} at {} has one spelling", header.kind, scanned.offset);
    assert_eq!(scanned.large.is_some(), header.kind == Kind::PutLarge);
}

/// Opens a hint, and looks at all of it. Whether it is one, and each of its records was found by its hash.
pub fn hint(bytes: &[u8]) -> u64 {
    let Ok(hint) = Hint::open(bytes) else { return 0 };
    let listed: Result<Vec<Listed>, _> = hint.records().collect();
    let Ok(listed) = listed else { return 0 };
    let mut builder = Builder::default();
    let large: Vec<_> = hint.large().collect();
    if listed.iter().filter(|record| record.kind == ListedKind::PutLarge).count() != large.len() {
        // `open` looks at no block, so it does not know how many of the records are of large values.
        return 0;
    }
    let mut large = large.into_iter();
    for record in &listed {
        let found: Vec<_> = hint.find(record.hash).map_while(Result::ok).collect();
        assert!(found.contains(record), "{record:?} is found by its hash, among {found:?}");
        let puts = matches!(record.kind, ListedKind::Put | ListedKind::PutLarge);
        assert!(!puts || hint.puts(record.hash, record.keyspace) == Ok(true), "{record:?} is a put");
        match record.kind {
            ListedKind::PutLarge => builder.add_large(*record, large.next().expect("its file is named")),
            _ => builder.add(*record),
        }
    }
    assert!(large.next().is_none(), "each large value has a record");
    assert!(builder.finish(hint.header()) == bytes, "a hint has one spelling");
    1
}

/// Decodes what the file of a written index holds beside its units.
pub fn checkpoint(bytes: &[u8]) -> u64 {
    let Some(header) = bytes.get(..SECTOR).and_then(|sector| checkpoint::Header::decode(sector).ok()) else { return 0 };
    assert_eq!(header.encode(), bytes[..SECTOR], "the header of an index has one spelling");
    let at = header.lists();
    let Some(encoded) = bytes.get(at.start as usize..at.end as usize) else { return 1 };
    let Ok(lists) = Lists::decode(&header, encoded) else { return 1 };
    assert!(lists.encode() == encoded, "the lists of an index have one spelling");
    let hash = (header.hash_kind, header.hash_seed);
    let again = checkpoint::Header::of(&lists, encoded, hash, header.database, header.from);
    let mut again = again.expect("as many as it counts can be counted");
    (again.id, again.until) = (header.id, header.until);
    assert_eq!(again, header);
    2
}

/// Opens the archive that a file is, on any disk.
///
/// # Errors
/// As [`Archive::open`].
pub fn open_archive(disk: Arc<dyn Disk>, name: &str) -> Result<Archive> {
    let open = |access| disk.open(name, access);
    let file: Arc<dyn File> =
        open(Access::Read).map_err(|error| crate::error::Error::io(format!("cannot open {name}"), error))?;
    Archive::over(disk, name.to_owned(), file)
}
