//! The tests of `hint`, `hint_header` and `hint_build`: bytes written out by hand, an oracle, and all that must be refused.
//!
//! Floor 1. Imports `address`, `format`, `limits`.

use std::collections::BTreeMap;

use crate::address::{LargeId, SegmentId, Seqno};
use crate::format::checksum;
use crate::format::hint::{Hint, Listed, ListedKind};
use crate::format::hint_build::Builder;
use crate::format::hint_header::{BLOCK_RECORDS, HINT_HEADER_LEN, HintHeader};
use crate::format::identity::HashKind;
use crate::format::record::{Flaw, Kind};
use crate::format::segment::SegmentKind;
use crate::format::{cases, edit, edits, hex};
use crate::limits::{ADDRESS_BITS, RECORDS_START, SEQNO_MAX, VALUE_LEN_MAX};
use proptest::prelude::*;

fn header() -> HintHeader {
    HintHeader {
        kind: SegmentKind::Packed,
        hash_kind: HashKind::Sip,
        database: std::array::from_fn(|i| 0x10 + i as u8),
        id: SegmentId(42),
        epoch: std::array::from_fn(|i| 0xe0 + i as u8),
        first_seqno: Seqno::from(0x0605_0403_0201),
        last_seqno: Seqno::from(0x0605_0404_0000),
        end: 0x0a09_0807,
        all_records: 0x8001,
    }
}

fn put(hash: u64, offset: u64) -> Listed {
    Listed { hash, offset, kind: ListedKind::Put, keyspace: 0, len: 24 }
}

/// The length of the large value whose record is at `offset`.
fn large_at(offset: u64) -> (LargeId, u64) {
    (LargeId([offset as u8; 16]), offset)
}

fn built(records: &[Listed]) -> Vec<u8> {
    let mut builder = Builder::default();
    for listed in records {
        match listed.kind {
            ListedKind::PutLarge => {
                builder.add_large(*listed, large_at(listed.offset));
            }
            _ => builder.add(*listed),
        }
    }
    builder.finish(&header())
}

fn walked(bytes: &[u8]) -> Result<Vec<Listed>, Flaw> {
    Hint::open(bytes)?.records().collect()
}

fn found(hint: &Hint<'_>, hash: u64) -> Vec<Listed> {
    hint.find(hash).collect::<Result<_, _>>().unwrap()
}

/// `bytes` with the crcs of lists and header made right again.
fn fixed_up(mut bytes: Vec<u8>) -> Vec<u8> {
    let field = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let lists = field(72).div_ceil(BLOCK_RECORDS).saturating_mul(20).saturating_add(field(80).saturating_mul(24));
    if let Some(lists) = bytes.get(HINT_HEADER_LEN..HINT_HEADER_LEN.saturating_add(lists)) {
        let crc = checksum::crc(lists);
        bytes[96..100].copy_from_slice(&crc.to_le_bytes());
    }
    let crc = checksum::crc(&bytes[..124]);
    bytes[124..128].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Records of every kind in three blocks, some of equal hash.
fn few() -> Vec<Listed> {
    let kinds = [ListedKind::Put, ListedKind::PutLarge, ListedKind::Delete, ListedKind::Other];
    (0..150_u64)
        .map(|at| Listed {
            hash: (at / 4).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            offset: RECORDS_START + at * 56,
            kind: kinds[at as usize % 4],
            keyspace: (at % 3 * 200) as u16,
            len: 24 + at % 20 * 1000,
        })
        .collect()
}

#[test]
fn a_hint_has_the_documented_bytes() {
    let records = [
        Listed { hash: 0x8000_0000_0000_0000, offset: 4096, kind: ListedKind::Delete, keyspace: 0, len: 32 },
        Listed { hash: 0x1122_3344_5566_7788, offset: 4152, kind: ListedKind::PutLarge, keyspace: 300, len: 8000 },
        put(0x1122_3344_5566_7790, 4128),
    ];
    let mut builder = Builder::default();
    builder.add(records[0]);
    builder.add_large(records[1], (LargeId(*b"0123456789abcdef"), 0x0102_0304));
    builder.add(records[2]);
    let expected = hex("
        5a4348494e54530a 01000000 02 02 0000
        101112131415161718191a1b1c1d1e1f
        2a00000000000000
        e0e1e2e3e4e5e6e7e8e9eaebecedeeef
        0102030405060000 0000040405060000
        0300000000000000 0100000000000000 c300000000000000
        b0213608 00000000
        0708090a00000000 0180000000000000
        00000000
        5d73a8a0

        8877665544332211
        1700000000000000
        8062144f
        30313233343536373839616263646566
        0403020100000000

        00 bb20 ac02 e807
        08 a020 03
        f090e6d4ba97f3ee6e 8420 04");
    assert_eq!(hex_of(&builder.finish(&header())), hex_of(&expected));
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_hint_of_nothing_is_a_header() {
    let bytes = built(&[]);
    assert_eq!(bytes.len(), HINT_HEADER_LEN);
    let hint = Hint::open(&bytes).unwrap();
    assert_eq!((*hint.header(), hint.len(), hint.large().count()), (header(), 0, 0));
    assert_eq!(walked(&bytes), Ok(vec![]));
    assert_eq!(hint.puts(7, 0), Ok(false));
}

#[test]
fn every_record_of_a_key_is_listed_and_a_pad_is_not() {
    assert_eq!(ListedKind::of(Kind::Put), Some(ListedKind::Put));
    assert_eq!(ListedKind::of(Kind::PutLarge), Some(ListedKind::PutLarge));
    assert_eq!(ListedKind::of(Kind::Delete), Some(ListedKind::Delete));
    for kind in [Kind::KeyspaceCreate, Kind::KeyspaceDrop, Kind::KeyspaceClear, Kind::Cursor] {
        assert_eq!(ListedKind::of(kind), Some(ListedKind::Other));
    }
    assert_eq!(ListedKind::of(Kind::Pad), None);
}

#[test]
fn a_run_of_equal_hashes_is_found_whole_wherever_blocks_end() {
    for (before, run) in [(0, 1), (0, 64), (0, 65), (1, 63), (1, 64), (63, 1), (63, 2), (64, 1), (40, 300), (128, 64)] {
        let equal = (0..run).map(|at| put(500, RECORDS_START + 8 * (before + at)));
        let below = (0..before).map(|at| put(at * 2, RECORDS_START + 8 * at));
        let above = (0..100).map(|at| put(501 + at, RECORDS_START + 8 * (before + run + at)));
        let mut records: Vec<_> = equal.clone().chain(below).chain(above).collect();
        let bytes = built(&records);
        let hint = Hint::open(&bytes).unwrap();
        assert_eq!(found(&hint, 500), equal.collect::<Vec<_>>(), "{run} behind {before}");
        assert_eq!(found(&hint, 499), []);
        assert_eq!(found(&hint, 501).len(), 1);
        records.sort_unstable();
        assert_eq!(walked(&bytes), Ok(records));
    }
}

#[test]
fn only_puts_of_the_same_keyspace_keep_a_delete_alive() {
    let listed = |hash, offset, kind, keyspace| Listed { hash, offset, kind, keyspace, len: 24 };
    let bytes = built(&[
        listed(1, 4096, ListedKind::Delete, 0),
        listed(1, 4120, ListedKind::Other, 0),
        listed(1, 4200, ListedKind::Put, 5),
        listed(2, 4304, ListedKind::PutLarge, 0),
    ]);
    let hint = Hint::open(&bytes).unwrap();
    let puts = [(1, 0), (1, 5), (2, 0), (2, 5), (3, 0)].map(|(hash, keyspace)| hint.puts(hash, keyspace).unwrap());
    assert_eq!(puts, [false, true, true, false, false]);
}

#[test]
fn every_flipped_bit_is_detected_on_open_or_when_its_block_is_walked() {
    let bytes = built(&few());
    assert!(walked(&bytes).is_ok());
    let blocks_len = bytes.len() - HINT_HEADER_LEN - 3 * 20 - few().len().div_ceil(4) * 24;
    let (mut on_open, mut on_walk) = (0, 0);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match Hint::open(&flipped) {
            Err(_) => on_open += 1,
            Ok(hint) => {
                assert!(hint.records().any(|listed| listed.is_err()), "bit {bit} of {}", bytes.len() * 8);
                on_walk += 1;
            }
        }
    }
    println!("{} flipped bits: {on_open} detected on open, {on_walk} by the walk", bytes.len() * 8);
    assert_eq!(on_open + on_walk, bytes.len() * 8);
    assert_eq!(on_walk, blocks_len * 8);
}

#[test]
fn a_flaw_costs_only_the_searches_that_meet_it_and_ends_a_walk() {
    let records: Vec<_> = (0..200).map(|at| put(at * 10, RECORDS_START + at * 32)).collect();
    let mut bytes = built(&records);
    *bytes.last_mut().unwrap() ^= 1;
    let hint = Hint::open(&bytes).unwrap();
    assert_eq!(found(&hint, 0).len(), 1);
    assert!(hint.puts(1990, 0).is_err());
    assert_eq!(hint.records().filter(Result::is_ok).count(), 3 * BLOCK_RECORDS);
    assert_eq!(hint.records().count(), 3 * BLOCK_RECORDS + 1);
}

#[test]
fn a_hint_of_any_other_length_is_refused() {
    let bytes = built(&few());
    for len in 0..bytes.len() {
        assert!(Hint::open(&bytes[..len]).is_err(), "{len}");
        assert!(Hint::open(&vec![0; len]).is_err(), "{len} zeros");
    }
    assert!(Hint::open(&[&bytes[..], &[0]].concat()).is_err());
}

#[test]
fn fields_that_make_no_sense_are_refused_whatever_the_crc_says() {
    let bytes = built(&few());
    assert!(Hint::open(&fixed_up(bytes.clone())).is_ok());
    let u64s = |number: u64| number.to_le_bytes().to_vec();
    for (at, field, what) in [
        (8, vec![0], "version 0"),
        (8, vec![2], "a newer version"),
        (12, vec![0], "kind"),
        (12, vec![3], "kind"),
        (13, vec![0], "hash kind"),
        (13, vec![3], "hash kind"),
        (14, vec![1], "zeros"),
        (32, u64s(0), "segment 0"),
        (56, u64s(0), "seqno 0"),
        (56, u64s(SEQNO_MAX), "last seqno below the first"),
        (64, u64s(SEQNO_MAX + 1), "last seqno"),
        (112, u64s(0x0605_0404_0000 - 0x0605_0403_0201 + 2), "more records than seqnos"),
        (112, u64s(149), "fewer records than are listed"),
        (104, u64s(RECORDS_START - 8), "an end before the records"),
        (72, u64s(151), "a record more"),
        (72, u64s(0), "no record"),
        (72, u64s(u64::MAX), "records beyond memory"),
        (80, u64s(151), "more large values than records"),
        (80, u64s(0), "no large value"),
        (88, u64s(bytes.len() as u64 + 1), "length"),
        (100, vec![1], "zeros"),
        (120, vec![1], "zeros"),
        (128, u64s(u64::MAX), "first hashes out of order"),
        (128 + 24, u64s(0), "an empty block"),
        (128 + 24 + 16, u64s(1 << 20), "a block beyond the end"),
        (128 + 60 + 38 * 16, u64s(0), "a large value without bytes"),
        (128 + 60 + 38 * 16, u64s(1 << 32), "a large value that is too long"),
    ] {
        let mut bytes = bytes.clone();
        bytes[at..at + field.len()].copy_from_slice(&field);
        let bytes = fixed_up(bytes);
        assert!(walked(&bytes).is_err(), "{what}: {field:?} at {at}");
    }
}

#[test]
fn blocks_that_do_not_lie_one_behind_the_other_up_to_the_end_are_refused_on_open() {
    let bytes = built(&few());
    let ends: Vec<u64> =
        bytes[HINT_HEADER_LEN + 24..][..24].as_chunks().0.iter().map(|end| u64::from_le_bytes(*end)).collect();
    let opens = |ends: [u64; 3]| {
        let mut bytes = bytes.clone();
        bytes[HINT_HEADER_LEN + 24..][..24].copy_from_slice(&ends.map(u64::to_le_bytes).concat());
        Hint::open(&fixed_up(bytes)).is_ok()
    };
    let [a, b, c] = ends[..] else { panic!("three blocks") };
    assert!(opens([a, b, c]) && !opens([b, a, c]) && !opens([a, a, c]) && !opens([a, b, c - 1]));
}

#[test]
fn what_is_as_long_or_as_late_as_it_may_be_is_taken() {
    let mut builder = Builder::default();
    let large = (LargeId([1; 16]), VALUE_LEN_MAX);
    builder.add_large(Listed { kind: ListedKind::PutLarge, ..put(1, 4096) }, large);
    let bytes = builder.finish(&HintHeader { last_seqno: Seqno::from(SEQNO_MAX), ..header() });
    let hint = Hint::open(&bytes).unwrap();
    assert_eq!(hint.large().collect::<Vec<_>>(), [large]);
    assert_eq!(hint.bytes(), (bytes.len() - HINT_HEADER_LEN) as u64);
    let empty = Builder::default().finish(&HintHeader { end: RECORDS_START, all_records: 0, ..header() });
    assert_eq!(Hint::open(&empty).unwrap().bytes(), 0);
}

#[test]
fn blocks_that_make_no_sense_are_refused_whatever_the_crc_says() {
    let good = "00 8020 03 08 a020 03";
    for (block, sound) in [
        (good, true),
        ("00 8020 03 08 8020 03", true),
        ("00 8020 03 00 a020 03", true),
        ("00 8020 03 00 8020 03", false),
        ("00 a020 03 00 8020 03", false),
        ("01 8020 03 08 a020 03", false),
        ("00 8020 03 08 a020 03 00", false),
        ("00 8020 03 08 a020", false),
        ("00 8020 03 08", false),
        ("00 8020 03 08 a0", false),
        ("00 8020 02 08 a020 03", false),
        ("00 8020 ffffffff0f 08 a020 03", true),
        ("00 8020 8080808010 08 a020 03", false),
        ("00 00 03 08 a020 03", false),
        ("00 8120 00 03 08 a020 03", false),
        ("00 8120 05 03 08 a020 03", true),
        ("00 8120 808004 03 08 a020 03", false),
        ("00 8020 03 ffffffffffffffffff01 a020 03", false),
        ("00 8020 03 8800 a020 03", false),
        ("00 8020 03 08 80808080808002 03", true),
        ("00 8020 03 08 80808080808004 03", false),
    ] {
        let block = hex(block);
        let mut bytes = built(&[put(9, 4096), put(17, 4128)]);
        let blocks_start = HINT_HEADER_LEN + 20;
        bytes.truncate(blocks_start);
        bytes.extend_from_slice(&block);
        let len = bytes.len() as u64;
        bytes[88..96].copy_from_slice(&len.to_le_bytes());
        bytes[136..144].copy_from_slice(&(block.len() as u64).to_le_bytes());
        bytes[144..148].copy_from_slice(&checksum::crc(&block).to_le_bytes());
        let walked = walked(&fixed_up(bytes));
        assert_eq!(walked.is_ok(), sound, "{block:02x?} {walked:?}");
    }
}

#[test]
fn offsets_up_to_the_end_of_the_address_space_are_kept() {
    let records = [put(0, RECORDS_START), put(u64::MAX, (8 << ADDRESS_BITS) - 8)];
    assert_eq!(walked(&built(&records)), Ok(records.to_vec()));
}

#[test]
#[should_panic(expected = "no record begins at 4100")]
fn a_record_at_no_unit_is_our_bug() {
    Builder::default().add(put(1, 4100));
}

#[test]
#[should_panic(expected = "the file of a large value is named with its record")]
fn a_large_value_without_its_file_is_our_bug() {
    Builder::default().add(Listed { kind: ListedKind::PutLarge, ..put(1, 4096) });
}

#[test]
fn a_record_takes_twelve_bytes_in_a_hint_of_64_mib() {
    let seed = 0x5eed;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut builder = Builder::default();
    let count = ((64 << 20) - RECORDS_START) / 152;
    for at in 0..count {
        builder.add(Listed { len: 152, ..put(random.u64(..), RECORDS_START + at * 152) });
    }
    let all = HintHeader { last_seqno: Seqno::from(SEQNO_MAX), all_records: count, ..header() };
    let len = builder.finish(&all).len();
    let each = len as f64 / count as f64;
    println!("seed {seed:#x}: {count} records in {len} bytes, {each:.2} a record");
    assert!(each < 12.5, "{each}");
}

/// Few hashes, so that many are equal, or any.
fn hashes() -> impl Strategy<Value = u64> {
    prop_oneof![0..4_u64, 0..1000_u64, (0..64_u32).prop_map(|shift| u64::MAX >> shift), any::<u64>()]
}

/// (hash, kind, keyspace) of each record.
fn records() -> impl Strategy<Value = Vec<Listed>> {
    let kinds =
        prop::sample::select(vec![ListedKind::Put, ListedKind::PutLarge, ListedKind::Delete, ListedKind::Other]);
    let keyspaces = prop_oneof![Just(0), 0..3_u16, any::<u16>()];
    prop::collection::vec((hashes(), 3..1000_u64, kinds, keyspaces), 0..400).prop_map(|records| {
        let mut offset = RECORDS_START;
        let listed = |(hash, len, kind, keyspace): (u64, u64, ListedKind, u16)| {
            offset += len * 8;
            Listed { hash, offset, kind, keyspace, len: len * 8 }
        };
        records.into_iter().map(listed).collect()
    })
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn a_hint_answers_as_a_map_does(records in records(), others in prop::collection::vec(hashes(), 8), range: (u64, u64)) {
        let mut oracle: BTreeMap<u64, Vec<Listed>> = BTreeMap::new();
        for listed in &records {
            oracle.entry(listed.hash).or_default().push(*listed);
        }
        let bytes = built(&records);
        let hint = Hint::open(&bytes).unwrap();
        prop_assert_eq!(hint.len(), records.len() as u64);
        prop_assert_eq!(walked(&bytes).unwrap(), oracle.values().flatten().copied().collect::<Vec<_>>());
        let named = records.iter().filter(|listed| listed.kind == ListedKind::PutLarge);
        prop_assert!(hint.large().eq(named.map(|listed| large_at(listed.offset))));
        for hash in oracle.keys().chain(&others) {
            let expected = oracle.get(hash).cloned().unwrap_or_default();
            prop_assert_eq!(&found(&hint, *hash), &expected);
            for keyspace in expected.iter().map(|listed| listed.keyspace).chain([0, 1]) {
                let puts = |listed: &Listed| {
                    listed.keyspace == keyspace && matches!(listed.kind, ListedKind::Put | ListedKind::PutLarge)
                };
                prop_assert_eq!(hint.puts(*hash, keyspace).unwrap(), expected.iter().any(puts));
            }
        }
        for range in [range, (others[0], others[1]), (others[2], others[2])] {
            let (start, end) = (range.0.min(range.1), range.0.max(range.1));
            let ranged: Vec<_> = hint.range(start..=end).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(ranged, oracle.range(start..=end).flat_map(|(_, run)| run).copied().collect::<Vec<_>>());
        }
    }

    #[test]
    fn strange_bytes_never_panic(records in records(), edits in edits(), hash: u64, arbitrary: Vec<u8>) {
        let look = |bytes: &[u8]| {
            if let Ok(hint) = Hint::open(bytes) {
                let _counts = (hint.records().count(), hint.find(hash).count(), hint.large().count());
            }
        };
        let mut bytes = built(&records);
        edit(&mut bytes, &edits);
        look(&bytes);
        look(&fixed_up(bytes));
        prop_assert!(Hint::open(&arbitrary).is_err());
    }
}
