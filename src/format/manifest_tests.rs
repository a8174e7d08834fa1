//! Manifests: one spelling, and nothing else decodes.
//!
//! Floor 1. Imports `address`, `error`, `format`, `limits`.

use std::fmt::Write as _;

use proptest::prelude::*;

use crate::address::{ArchiveId, SegmentId, Seqno};
use crate::error::ErrorKind;
use crate::format::catalogue::NAME_LEN_MAX;
use crate::format::compression::Compression;
use crate::format::manifest::{Chunked, Manifest, ManifestEntry};
use crate::format::{cases, edit, edits, names};
use crate::limits::{MANIFEST_LEN_MAX, SEQNO_MAX};

fn entry(name: &str, offset: u64, len: u64, crc32c: u32) -> ManifestEntry {
    ManifestEntry { name: name.to_owned(), offset, len, crc32c, chunked: None }
}

fn example() -> Manifest {
    Manifest {
        database: 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff_u128.to_be_bytes(),
        archive: ArchiveId(7),
        index: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128.to_be_bytes(),
        covers: vec![SegmentId(1)..=SegmentId(41), SegmentId(44)..=SegmentId(44)],
        replaces: vec![ArchiveId(3), ArchiveId(5)],
        first_seqno: Seqno::from(1),
        last_seqno: Seqno::from(5000),
        as_of: Seqno::from(5120),
        keyspaces: vec![(1, "users".to_owned()), (2, "of \"all\" kinds\n\\".to_owned())],
        entries: vec![
            entry("log/0000000041.seg", 4096, 1_000_000, 0xe306_9283),
            entry("hints/log/0000000041.hint", 1_007_616, 2000, 0x00c0_ffee),
            ManifestEntry {
                chunked: Some(Chunked { method: Compression::Deflate, count: 4 }),
                ..entry("packed/0000000001.seg", 1_009_616, 70_000, 0x0bad_cafe)
            },
            entry("hints/packed/0000000001.hint", 1_032_192, 500, 0x00c0_ffee),
        ],
    }
}

const EXAMPLE: &str = r#"{
  "format": "zipcask archive",
  "version": 1,
  "database": "00112233445566778899aabbccddeeff",
  "archive": 7,
  "index": "0123456789abcdef0123456789abcdef",
  "covers": [[1, 41], [44, 44]],
  "replaces": [3, 5],
  "first_seqno": 1,
  "last_seqno": 5000,
  "as_of": 5120,
  "keyspaces": [[1, "users"], [2, "of \"all\" kinds\u000a\\"]],
  "entries": [
    {"name": "log/0000000041.seg", "offset": 4096, "len": 1000000, "crc32c": "e3069283"},
    {"name": "hints/log/0000000041.hint", "offset": 1007616, "len": 2000, "crc32c": "00c0ffee"},
    {"name": "packed/0000000001.seg", "offset": 1009616, "len": 70000, "crc32c": "0badcafe", "method": "deflate", "chunks": 4},
    {"name": "hints/packed/0000000001.hint", "offset": 1032192, "len": 500, "crc32c": "00c0ffee"}
  ]
}
"#;

fn decode(text: impl AsRef<[u8]>) -> crate::error::Result<Manifest> {
    Manifest::decode(text.as_ref(), "archives/0000000007.zip", 4096)
}

#[test]
fn a_manifest_is_spelled_as_documented() {
    assert_eq!(String::from_utf8(example().encode()).unwrap(), EXAMPLE);
    assert_eq!(decode(EXAMPLE).unwrap(), example());
}

#[test]
fn an_archive_without_entries_has_a_manifest() {
    let none = Manifest {
        keyspaces: vec![],
        covers: vec![],
        replaces: vec![],
        entries: vec![],
        last_seqno: Seqno::from(0),
        ..example()
    };
    let text = String::from_utf8(none.encode()).unwrap();
    for line in ["  \"covers\": [],\n", "  \"replaces\": [],\n", "  \"entries\": []\n}\n"] {
        assert!(text.contains(line), "{text}");
    }
    assert_eq!(decode(text).unwrap(), none);
}

#[test]
fn other_programs_read_the_same_values() {
    let json: serde_json::Value = serde_json::from_slice(&example().encode()).unwrap();
    assert_eq!(json["format"], "zipcask archive");
    assert_eq!(json["version"], 1);
    assert_eq!(json["index"], "0123456789abcdef0123456789abcdef");
    assert_eq!(json["covers"], serde_json::json!([[1, 41], [44, 44]]));
    assert_eq!(json["entries"][1]["offset"], 1_007_616);
    assert_eq!(json["entries"][0]["crc32c"], "e3069283");
    assert_eq!(json["keyspaces"], serde_json::json!([[1, "users"], [2, "of \"all\" kinds\n\\"]]));
    assert_eq!(json.as_object().unwrap().len(), 12);
    assert_eq!(json["as_of"], 5120);
}

#[test]
fn a_newer_version_is_told_before_anything_else_is_looked_at() {
    for version in ["2", "3", "18446744073709551615"] {
        let text = format!("{{\n  \"format\": \"zipcask archive\",\n  \"version\": {version},\n  whatever");
        assert_eq!(decode(text).unwrap_err().kind(), ErrorKind::FormatVersion, "{version}");
    }
    for version in ["0", "01", "-1", "1.0", "\"2\"", "18446744073709551616", "999999999999999999999999", ""] {
        let text = EXAMPLE.replace("\"version\": 1", &format!("\"version\": {version}"));
        assert_eq!(decode(text).unwrap_err().kind(), ErrorKind::Corruption, "{version}");
    }
}

#[test]
fn what_is_spelled_otherwise_is_damage() {
    for (from, to) in [
        ("zipcask archive", "another archive"),
        ("  \"archive\": 7,\n", ""),
        ("  \"archive\": 7,\n", "  \"archive\": 7,\n  \"archive\": 7,\n"),
        ("  \"archive\": 7,\n", "  \"archive\": 7,\n  \"unknown\": 7,\n"),
        ("  \"archive\": 7,\n", "  \"archive\": 07,\n"),
        ("  \"archive\": 7,\n", "  \"archive\":7,\n"),
        ("\"archive\": 7", "\"archive\": 0"),
        ("\"archive\": 7", "\"archive\": 7e0"),
        ("\"archive\": 7", "\"archive\": 5"),
        ("aabb", "AABB"),
        ("aabb", "+abb"),
        ("aabb", "aab"),
        ("[[1, 41]", "[[0, 41]"),
        ("[[1, 41]", "[[2, 1]"),
        ("[[1, 41]", "[[1, 43]"),
        ("[[1, 41]", "[[1, 40]"),
        ("[44, 44]", "[41, 44]"),
        ("[3, 5]", "[5, 3]"),
        ("[3, 5]", "[3, 3]"),
        ("[3, 5]", "[3, 7]"),
        ("[3, 5]", "[0, 5]"),
        ("[3, 5]", "[3, 5, ]"),
        ("\"first_seqno\": 1,", "\"first_seqno\": 0,"),
        ("\"first_seqno\": 1,", "\"first_seqno\": 5002,"),
        ("5000", "281474976710656"),
        ("log/0000000041.seg\"", "log/41.seg\""),
        ("\"log/0000000041.seg", "\"/log/0000000041.seg"),
        ("\"log/0000000041.seg", "\"../log/0000000041.seg"),
        ("\"log/0000000041.seg", "\"other/0000000041.seg"),
        ("\"log/0000000041.seg", "\"log/0000000041.seg\\u0000"),
        ("\"log/0000000041.seg", "\"packed/0000000002.seg"),
        ("hints/log/0000000041", "hints/log/0000000042"),
        ("hints/log/0000000041", "hints/packed/0000000041"),
        ("4096", "4097"),
        ("4096", "0"),
        ("1007616", "1003520"),
        ("1007616", "4096"),
        ("2000", "18446744073709551615"),
        ("\"first_seqno\": 1,", "\"first_seqno\": 281474976710656,"),
        ("\"last_seqno\": 5000", "\"last_seqno\": 281474976710656"),
        ("5120", "4999"),
        ("5120", "281474976710656"),
        ("[2, \"of", "[1, \"of"),
        ("[1, \"users\"]", "[3, \"users\"]"),
        ("[1, \"users\"]", "[0, \"users\"]"),
        ("1009616", "1009615"),
        ("\"chunks\": 4", "\"chunks\": 0"),
        ("\"chunks\": 4", "\"chunks\": 70001"),
        ("e3069283", "e306928"),
        ("e3069283", "E3069283"),
        ("\n}\n", "\n}"),
        ("\n}\n", "\n}\n\n"),
        ("\n}\n", "\n}\n{}"),
    ] {
        let text = EXAMPLE.replacen(from, to, 1);
        assert_ne!(text, EXAMPLE);
        let error = decode(&text).expect_err(&format!("{from} as {to}"));
        assert_eq!(error.kind(), ErrorKind::Corruption, "{from} as {to}: {error}");
        let (file, offset, what) = error.damage().unwrap();
        assert_eq!(file, "archives/0000000007.zip");
        assert!((4096..=4096 + text.len() as u64).contains(&offset) && what.contains("backup"), "{error}");
    }
}

#[test]
fn every_segment_has_its_hint_and_its_turn() {
    let lines = |names: &[&str]| {
        let mut text = String::new();
        for (place, name) in (1_u64..).zip(names) {
            let end = if place == names.len() as u64 { "" } else { "," };
            let offset = place * 4096;
            writeln!(
                text,
                "    {{\"name\": \"{name}\", \"offset\": {offset}, \"len\": 1, \"crc32c\": \"00000000\"}}{end}"
            )
            .unwrap();
        }
        let start = EXAMPLE.find("    {").unwrap();
        decode(format!("{}{text}  ]\n}}\n", &EXAMPLE[..start])).map(drop).map_err(|error| error.kind())
    };
    let [a, b] = ["log/0000000001.seg", "log/0000000041.seg"];
    let [ah, bh] = ["hints/log/0000000001.hint", "hints/log/0000000041.hint"];
    let [p, q] = ["packed/0000000001.seg", "packed/0000000002.seg"];
    let [ph, qh] = ["hints/packed/0000000001.hint", "hints/packed/0000000002.hint"];
    for fine in [&[a, ah, b, bh][..], &[p, ph, q, qh], &[a, ah, p, ph], &[p, ph, b, bh, q, qh]] {
        assert_eq!(lines(fine), Ok(()), "{fine:?}");
    }
    let not_covered = ["log/0000000042.seg", "hints/log/0000000042.hint"];
    let shapes: [&[&str]; 9] = [
        &[a],
        &[a, ah, b],
        &[ah, a],
        &[b, bh, a, ah],
        &[a, ah, a, ah],
        &[q, qh],
        &[p, ph, p, ph],
        &[a, b, ah, bh],
        &not_covered,
    ];
    for wrong in shapes {
        assert_eq!(lines(wrong), Err(ErrorKind::Corruption), "{wrong:?}");
    }
}

#[test]
fn seqnos_go_up_to_the_last_of_all() {
    let last = Seqno::from(SEQNO_MAX);
    let late = Manifest { first_seqno: last, last_seqno: last, as_of: last, ..example() };
    assert_eq!(decode(late.encode()).unwrap(), late);
    let none = EXAMPLE.replace("_seqno\": 1,", "_seqno\": 281474976710656,").replace("5000", "281474976710655");
    let error = decode(none.replace("5120", "281474976710655")).unwrap_err();
    assert!(error.to_string().contains("no seqnos"), "{error}");
}

#[test]
fn a_name_is_as_long_as_a_keyspace_may_have_one_and_no_longer() {
    for letter in ["n", "\"", "\u{1}"] {
        let named = |len| Manifest { keyspaces: vec![(1, letter.repeat(len))], ..example() };
        assert!(decode(named(NAME_LEN_MAX).encode()).unwrap() == named(NAME_LEN_MAX), "{letter:?}");
        let longer = decode(named(NAME_LEN_MAX + 1).encode()).map_err(|error| error.kind());
        assert!(matches!(longer, Err(ErrorKind::Corruption)), "{letter:?}, one too many");
    }
}

#[test]
fn a_manifest_beyond_its_limit_is_not_read() {
    let long = [EXAMPLE.as_bytes(), &vec![b' '; MANIFEST_LEN_MAX]].concat();
    let error = decode(long).unwrap_err();
    assert!(error.to_string().contains("too many"), "{error}");
}

/// Whatever is decoded after a change says so in its own bytes: those that still are a manifest are another one, which the
/// crc32 of the archive's directory tells.
#[test]
fn a_flipped_bit_is_damage_or_another_manifest_never_the_same() {
    let bytes = example().encode();
    let (mut refused, mut other) = (0, 0);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match decode(&flipped) {
            Ok(manifest) => {
                assert_eq!(manifest.encode(), flipped, "bit {bit}");
                other += 1;
            }
            Err(_) => refused += 1,
        }
    }
    println!("manifest rot: {} bits flipped, {refused} refused, {other} another manifest (crc32)", bytes.len() * 8);
}

fn manifests() -> impl Strategy<Value = Manifest> {
    let pieces = prop::collection::vec((1..1000_u64, 0..1000_u64), 0..6);
    let entries = prop::collection::vec((any::<bool>(), any::<u32>(), any::<u32>(), 0..1_u64 << 40), 0..8);
    let replaces = prop::collection::btree_set(1..1000_u64, 0..6);
    let seqnos = (1..=SEQNO_MAX, 0..=SEQNO_MAX);
    (any::<[u8; 16]>(), pieces, replaces, seqnos, entries).prop_map(
        |(database, pieces, replaces, (first, more), entries)| {
            let mut covers = Vec::new();
            let mut last = 0;
            for (gap, more) in pieces {
                covers.push(SegmentId(last + 1 + gap)..=SegmentId(last + 1 + gap + more));
                last += 1 + gap + more;
            }
            let mut logs = covers.iter().flat_map(|ids| [ids.start().0, ids.end().0]).collect::<Vec<_>>();
            logs.dedup();
            let mut logs = logs.into_iter();
            let (mut packed, mut end, mut list) = (0, 0, Vec::new());
            for (log, crc, other, len) in entries {
                let name = match logs.next().filter(|_| log) {
                    Some(id) => names::log_entry(SegmentId(id)),
                    None => {
                        packed += 1;
                        names::packed_entry(SegmentId(packed))
                    }
                };
                let hint = names::hint_entry(&name);
                for (name, len, crc) in [(name, len, crc), (hint, len % 1000, other)] {
                    let offset = (end / 4096 + 1) * 4096;
                    end = offset + len;
                    list.push(entry(&name, offset, len, crc));
                }
            }
            Manifest {
                database,
                archive: ArchiveId(1000),
                index: database,
                covers,
                replaces: replaces.into_iter().map(ArchiveId).collect(),
                first_seqno: Seqno::from(first),
                last_seqno: Seqno::from((first - 1).saturating_add(more).min(SEQNO_MAX)),
                as_of: Seqno::from(SEQNO_MAX),
                keyspaces: vec![(first as u16 | 1, format!("\u{1}{first}\"\u{e4}\\"))],
                entries: list,
            }
        },
    )
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn every_manifest_comes_back(manifest in manifests()) {
        let bytes = manifest.encode();
        prop_assert_eq!(decode(&bytes).unwrap(), manifest);
        prop_assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
    }

    #[test]
    fn whatever_decodes_is_spelled_so(manifest in manifests(), edits in edits(), cut: proptest::sample::Index) {
        let mut bytes = manifest.encode();
        edit(&mut bytes, &edits);
        if let Ok(manifest) = decode(&bytes) {
            prop_assert_eq!(manifest.encode(), bytes.clone());
        }
        bytes.truncate(cut.index(bytes.len()));
        prop_assert!(decode(&bytes).is_err());
    }
}
