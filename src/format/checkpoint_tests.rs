//! Tests of what is written beside the units of an index.
//!
//! Floor 1. Imports `address`, `format`, `limits`.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use crate::address::{ArchiveId, LargeId, SegmentId, Seqno};
use crate::format::checkpoint::{
    Header, ListedAmount, ListedCursor, ListedFile, ListedLarge, ListedSpace, ListedUnit, Lists, UNITS_START,
};
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
        spaces: vec![
            ListedSpace {
                id: 0,
                expiring: false,
                units: 0,
                keys: 0,
                created: Seqno::from(0),
                floor: Seqno::from(3),
                payload: vec![],
            },
            ListedSpace {
                id: 0x0201,
                expiring: true,
                units: 2,
                keys: 0x0807_0605,
                created: Seqno::from(4),
                floor: Seqno::from(5),
                payload: vec![0xab, 0xcd],
            },
        ],
        amounts: vec![ListedAmount { file: 0, keyspace: 0x0201, bytes: 0x30, records: 2, large: 1 }],
        cursors: vec![ListedCursor { said: Seqno::from(0x0908), payload: vec![0xef] }],
    }
}

fn header(lists: &Lists) -> Header {
    let database = std::array::from_fn(|i| 0x10 + i as u8);
    let hash = (HashKind::Sip, std::array::from_fn(|i| 0x30 + i as u8));
    let header = Header::of(lists, &lists.encode(), hash, database, Seqno::from(0x0605_0403_0201)).unwrap();
    Header { id: [0x0a; 16], until: Seqno::from(0x0605_0403_0202), ..header }
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
        0000000000000080 01000000 01000000
        0000 0000 00000000 0000000000000000 0000000000000000 0300000000000000 00000000 00000000
        0102 0100 02000000 0506070800000000 0400000000000000 0500000000000000 02000000 00000000
        00000000 0102 0000 3000000000000000 0200000000000000 0100000000000000
        0809000000000000 01000000 00000000
        abcd ef");
    assert_eq!(encoded, expected);
    let mut sector = hex("
        5a43494e4445580a 01000000 02000000 101112131415161718191a1b1c1d1e1f
        303132333435363738393a3b3c3d3e3f 0102030405060000 02000000 01000000 02000000 02000000 02000000");
    sector.extend(checksum::crc(&encoded).to_le_bytes());
    sector.extend(hex("0202030405060000 0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a 03000000 01000000"));
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
    let most = Header {
        space_count: u32::MAX,
        amount_count: u32::MAX,
        catalogue_len: u32::MAX,
        cursor_count: u32::MAX,
        ..most
    };
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
    assert!(refused(&|lists| lists.spaces.swap(0, 1)));
    assert!(refused(&|lists| lists.spaces[1].units = 1), "a unit is nobody's");
    assert!(refused(&|lists| lists.spaces[0].keys = 1), "keys without a unit");
    assert!(refused(&|lists| lists.spaces[1].payload.clear()), "nobody said what it is");
    assert!(refused(&|lists| lists.spaces[1].floor = Seqno::from(3)), "it counts what is older than itself");
    assert!(refused(&|lists| lists.amounts[0].keyspace = 0));
    assert!(refused(&|lists| lists.amounts[0].records = 0));
    assert!(refused(&|lists| lists.amounts[0].file = 2));
    assert!(refused(&|lists| lists.amounts[0].large = 5), "more of one keyspace than of all");
    assert!(refused(&|lists| lists.amounts.push(lists.amounts[0])));
    assert!(refused(&|lists| lists.cursors[0].payload.clear()), "nobody said where it is");
    assert!(refused(&|lists| lists.cursors[0].said = Seqno::from(1 << 48)));
    let any = |lists: &mut Lists, bytes| (lists.files[1].end, lists.files[1].live_bytes) = (8192, bytes);
    assert!(!refused(&|lists| any(lists, 0)) && refused(&|lists| any(lists, 24)), "bytes of no record are live");
    assert!(refused(&|lists| lists.amounts[0].bytes = 0x0102_0305), "more bytes of one keyspace than of all");
    assert!(refused(&|lists| lists.amounts[0].records = 0x1235), "more records of one keyspace than of all");
    assert!(refused(&|lists| lists.spaces[1].id = 0), "two keyspaces of one number");
}

#[test]
fn seqnos_go_up_to_the_last_of_all_and_no_further() {
    let last = Seqno::from(SEQNO_MAX);
    let taken = |change: &dyn Fn(&mut Lists)| {
        let mut lists = lists();
        change(&mut lists);
        Lists::decode(&header(&lists), &lists.encode()).is_ok()
    };
    assert!(taken(&|lists| lists.cursors[0].said = last));
    assert!(taken(&|lists| (lists.spaces[1].created, lists.spaces[1].floor) = (last, last)));
    assert!(!taken(&|lists| lists.spaces[1].floor = Seqno::from(SEQNO_MAX + 1)));
    let header = Header { until: last, ..header(&lists()) };
    assert_eq!(Header::decode(&header.encode()), Ok(header));
}

#[test]
fn a_header_that_makes_no_sense_is_refused_whatever_the_crc_says() {
    let fields = [(8, 0), (8, 2), (12, 0), (12, 3), (13, 1), (15, 1), (54, 1), (80, 0), (86, 1), (112, 1), (507, 1)];
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
            ListedFile { kind, id, archive, epoch, place, places, end, live_bytes, live_records, live_large, names_all }
        });
        let files: Vec<_> = files.collect();
        let files_len = files.len();
        let mut large: Vec<_> =
            large.into_iter().map(|(id, (len, segment))| ListedLarge { id: LargeId(id), len, segment }).collect();
        large.retain(|large| (large.segment as usize) < files.len());
        let units: Vec<_> = units.into_iter().map(|(first, depth, crc)| ListedUnit { first, depth, crc }).collect();
        let live = |(number, file): (usize, &ListedFile)| ListedAmount {
            file: number as u32,
            keyspace: 7,
            bytes: file.live_bytes,
            records: file.live_records,
            large: 0,
        };
        let mut amounts: Vec<_> = files.iter().enumerate().map(live).collect();
        amounts.retain(|amount| amount.records > 0);
        let space = ListedSpace {
            id: 7,
            expiring: false,
            units: units.len() as u32,
            keys: units.len() as u64,
            created: Seqno::from(1),
            floor: Seqno::from(2),
            payload: vec![4; units.len() + 1],
        };
        let cursors = vec![ListedCursor { said: Seqno::from(9), payload: vec![7; 20] }; files_len % 3];
        Lists { files, large, units, spaces: vec![space], amounts, cursors }
    })
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn what_was_encoded_decodes(lists in any_lists(), from in 0..=SEQNO_MAX) {
        let header = Header { from: from.into(), until: from.into(), ..header(&lists) };
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
