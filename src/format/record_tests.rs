//! The tests of `record`: its bytes written out by hand, round trips, and all that must be refused.
//!
//! Floor 1. Imports `address`, `format`, `limits`, `sabotage`.

use crate::address::{SegmentId, Seqno};
use crate::format::checksum::{self, Salt};
use crate::format::record::{
    Draft, Flaw, Header, Kind, Shape, delete_in_place_of, insert_horizon, set_more_follows, stamp, transplant,
};
use crate::format::{cases, edit, edits, hex};
use crate::limits::{KEY_LEN_MAX, LARGE_VALUE_LEN, RECORD_HEADER_LEN, SEQNO_MAX};
use crate::sabotage::{Sabotage, plant};
use proptest::prelude::*;

const AT: u64 = 8192;

fn salt() -> Salt {
    let database = std::array::from_fn(|i| 0x10 + i as u8);
    let epoch = std::array::from_fn(|i| 0xe0 + i as u8);
    Salt::new(&database, SegmentId(42), &epoch)
}

fn put<'a>(key: &'a [u8], value: &'a [u8], expiry: Option<u64>) -> Draft<'a> {
    Draft { kind: Kind::Put, keyspace: 7, key, value, expiry }
}

fn encoded(draft: Draft<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    draft.encode(&mut out);
    assert_eq!(out.len(), draft.encoded_len());
    out
}

fn stamped(draft: Draft<'_>, seqno: u64) -> Vec<u8> {
    let mut record = encoded(draft);
    stamp(&mut record, Seqno::from(seqno), salt(), AT);
    record
}

/// All that a record says, if every check agrees.
#[derive(PartialEq, Eq, Debug)]
struct Whole {
    header: Header,
    key: Vec<u8>,
    value: Vec<u8>,
    expiry: Option<u64>,
    horizon: Option<u64>,
}

fn decode(record: &[u8], salt: Salt, offset: u64) -> Result<Whole, Flaw> {
    let header = Header::decode(record)?;
    header.check_head(record, salt, offset)?;
    let part = |range: std::ops::Range<u64>| {
        let part = record.get(range.start as usize..range.end as usize);
        part.ok_or_else(|| Flaw::Damaged("shorter than it says".to_owned()))
    };
    let (key, value) = (part(header.key())?, part(header.value())?);
    header.check_value(value)?;
    header.check_padding(part(header.value().end..header.record_len())?)?;
    Ok(Whole {
        header,
        key: key.to_vec(),
        value: value.to_vec(),
        expiry: header.expiry(record),
        horizon: header.horizon(record),
    })
}

fn damaged<T>(result: &Result<T, Flaw>) -> bool {
    matches!(result, Err(Flaw::Damaged(_)))
}

#[test]
fn a_put_has_the_documented_bytes() {
    let mut record = encoded(put(b"key", b"the value", None));
    stamp(&mut record, Seqno::from(0x06_0504_0302), salt(), 4096);
    let expected = hex("
        f5280741 0883a6d5  020304050600 0300
        09000000 0700 01 00
        6b6579 0000000000
        7468652076616c7565 00000000000000");
    assert_eq!(record, expected);
}

#[test]
fn a_put_with_everything_has_the_documented_bytes() {
    let draft =
        Draft { kind: Kind::Put, keyspace: 0x0201, key: b"twelve bytes", value: b"", expiry: Some(1_700_000_000_000) };
    let mut buffer = vec![0; 8];
    draft.encode(&mut buffer);
    set_more_follows(&mut buffer[8..]);
    insert_horizon(&mut buffer, 8, 4096);
    stamp(&mut buffer, Seqno::from(0xfffe_fdfc_fbfa), salt(), AT);
    let expected = hex("
        d25bf557 00000000  fafbfcfdfeff 0c00
        00000000 0102 01 07
        0010000000000000  0068e5cf8b010000
        7477656c7665206279746573 00000000");
    assert_eq!(buffer, expected);
}

#[test]
fn a_delete_of_the_empty_key_has_the_documented_bytes() {
    let draft = Draft { kind: Kind::Delete, keyspace: 0, key: b"", value: b"", expiry: None };
    let mut record = encoded(draft);
    stamp(&mut record, Seqno::from(1), salt(), 4096);
    assert_eq!(record, hex("bea408a2 00000000  010000000000 0000  00000000 0000 03 00"));
}

#[test]
fn a_record_that_fills_its_words_has_no_padding() {
    assert_eq!(encoded(put(&[1; 8], &[2; 16], None)).len(), 24 + 8 + 16);
    assert_eq!(encoded(put(&[1; 20], &[2; 100], None)).len(), 152);
}

#[test]
fn zeros_were_never_written_and_are_no_record() {
    for len in 24..80 {
        assert_eq!(Header::decode(&vec![0; len]), Err(Flaw::NeverWritten));
    }
    for len in 0..24 {
        assert!(damaged(&Header::decode(&vec![0; len])), "{len} bytes");
    }
    // Of no kind, but not never written: a bit, or the same word twice.
    for bit in (0..22 * 8).chain(23 * 8..24 * 8) {
        let mut bytes = vec![0; 24];
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(damaged(&Header::decode(&bytes)), "bit {bit}");
    }
    for (one, other) in [(0, 8), (0, 16), (8, 16)] {
        let mut bytes = vec![0; 24];
        (bytes[one], bytes[other]) = (5, 5);
        assert!(damaged(&Header::decode(&bytes)), "words at {one} and {other}");
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let mut buffer = vec![0; 8];
    put(b"a key of 18 bytes.", b"a value", Some(1 << 40)).encode(&mut buffer);
    insert_horizon(&mut buffer, 8, 4096);
    stamp(&mut buffer, Seqno::from(99), salt(), AT);
    assert!(decode(&buffer, salt(), AT).is_ok());
    for bit in 0..buffer.len() * 8 {
        let mut flipped = buffer.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(damaged(&decode(&flipped, salt(), AT)), "bit {bit}");
    }
}

#[test]
fn a_rotten_value_leaves_the_head_whole() {
    let mut record = stamped(put(b"key", b"value", None), 5);
    let header = Header::decode(&record).unwrap();
    let value = header.value().start as usize..header.value().end as usize;
    record[value.start] ^= 1;
    assert!(header.check_head(&record, salt(), AT).is_ok());
    assert!(damaged(&header.check_value(&record[value])));
    assert!(damaged(&header.check_value(b"valu")), "a value cut short");
}

#[test]
fn a_record_in_another_place_is_refused() {
    let record = stamped(put(b"key", b"value", None), 5);
    assert!(decode(&record, salt(), AT).is_ok());
    assert!(damaged(&decode(&record, salt(), AT + 8)));
    assert!(damaged(&decode(&record, Salt(salt().0 ^ 1), AT)));
}

#[test]
fn padding_is_checked_whole() {
    let record = stamped(put(b"key", b"value", None), 5);
    let header = Header::decode(&record).unwrap();
    assert!(header.check_padding(&[0; 3]).is_ok());
    assert!(damaged(&header.check_padding(&[0, 0, 1])));
    assert!(damaged(&header.check_padding(&[0; 2])), "cut short");
    assert!(damaged(&header.check_padding(&[0; 4])), "too long");
}

#[test]
fn kinds_and_flags_that_no_record_has_are_refused() {
    let allowed = |kind: u8, flags: u8, key: usize, value: usize| {
        let (key, value) = (vec![1; key], vec![1; value]);
        let mut record = encoded(put(&key, &value, None));
        (record[22], record[23]) = (kind, flags);
        Header::decode(&record).is_ok()
    };
    for byte in 0..=255 {
        let len = if byte == 2 { LARGE_VALUE_LEN } else { 0 };
        assert_eq!(allowed(byte, 0, 0, len), (1..=8).contains(&byte), "kind {byte}");
        assert_eq!(allowed(1, byte, 1, 1), byte < 8, "flags {byte}");
    }
    assert!(allowed(2, 2, 1, 32), "a large value expires");
    assert!(!allowed(2, 0, 1, 31) && !allowed(2, 0, 1, 33) && !allowed(2, 0, 0, 0), "large");
    assert!(allowed(3, 5, 1, 0) && !allowed(3, 0, 1, 1) && !allowed(3, 2, 1, 0), "delete");
    for kind in 4..=8 {
        assert!(allowed(kind, 5, 0, 1) && !allowed(kind, 0, 1, 1) && !allowed(kind, 2, 0, 1));
    }
}

#[test]
fn the_longest_key_and_the_longest_value_add_up() {
    let key = vec![b'k'; KEY_LEN_MAX];
    let record = stamped(put(&key, b"v", Some(1)), SEQNO_MAX);
    let whole = decode(&record, salt(), AT).unwrap();
    assert_eq!((whole.key, whole.header.seqno), (key, Seqno::from(SEQNO_MAX)));

    let mut header = record[..RECORD_HEADER_LEN].to_vec();
    header[16..20].fill(0xff);
    let header = Header::decode(&header).unwrap();
    assert_eq!(header.head_len(), 24 + 8 + 65_536);
    assert_eq!(header.record_len(), header.head_len() + (1 << 32));
}

#[test]
fn without_its_checks_a_planted_bug_lets_damage_through() {
    let record = stamped(put(b"key", b"value", None), 5);
    plant(Some(Sabotage::NoValueCrc));
    let value = Header::decode(&record).unwrap().check_value(b"other");
    plant(Some(Sabotage::NoSalt));
    let salted = decode(&record, salt(), AT);
    let unsalted = stamped(put(b"key", b"value", None), 5);
    let elsewhere = decode(&unsalted, Salt(1), 4096);
    plant(None);
    assert!(value.is_ok() && damaged(&salted) && elsewhere.is_ok());
    assert!(damaged(&decode(&unsalted, salt(), AT)), "no bug, no leniency");
}

/// A put with these extensions, as it stands at `AT`.
fn extended(key: &[u8], value: &[u8], expiry: Option<u64>, horizon: Option<u64>, more_follows: bool) -> Vec<u8> {
    let mut buffer = vec![0; 8];
    put(key, value, expiry).encode(&mut buffer);
    if more_follows {
        set_more_follows(&mut buffer[8..]);
    }
    match horizon {
        Some(horizon) => insert_horizon(&mut buffer, 8, horizon),
        None => drop(buffer.drain(..8)),
    }
    stamp(&mut buffer, Seqno::from(0x0605_0403_0201), salt(), AT);
    buffer
}

/// Each combination of extensions and flags.
fn extensions() -> impl Iterator<Item = (Option<u64>, Option<u64>, bool)> {
    (0..8).map(|bits| ((bits & 1 != 0).then_some(1 << 40), (bits & 2 != 0).then_some(4096), bits & 4 != 0))
}

#[test]
fn a_glance_at_a_put_says_what_its_whole_header_says() {
    for (expiry, horizon, more_follows) in extensions() {
        for key_len in [0, 1, 8, 9, KEY_LEN_MAX] {
            let record = extended(&vec![b'k'; key_len], b"a value", expiry, horizon, more_follows);
            let (first, header) = (record.first_chunk().unwrap(), Header::decode(&record).unwrap());
            let shape = Shape::of_put(first).unwrap();
            assert_eq!((shape.keyspace, shape.key_len, shape.value_len), (7, key_len as u16, 7));
            assert_eq!(u64::from(shape.key)..u64::from(shape.key) + key_len as u64, header.key());
            assert_eq!(u64::from(shape.value)..shape.end(), header.value());
            assert_eq!(Shape::of_lasting_put(first), expiry.is_none().then_some(shape));
            assert_eq!(Header::has_expiry_in(first), expiry.is_some());
            assert_eq!(Header::seqno_in(first), header.seqno);
        }
    }
}

#[test]
fn a_glance_takes_no_other_kind_and_no_unknown_flag_for_a_put() {
    let record = stamped(put(b"key", b"value", None), 5);
    let glance = |kind: u8, flags: u8| {
        let mut first = *record.first_chunk().unwrap();
        (first[22], first[23]) = (kind, flags);
        (Shape::of_put(&first).is_some(), Shape::of_lasting_put(&first).is_some())
    };
    for byte in 0..=255_u8 {
        assert_eq!(glance(byte, 0), (byte == 1, byte == 1), "kind {byte}");
        assert_eq!(glance(1, byte), (byte < 8, byte < 8 && byte & 2 == 0), "flags {byte}");
    }
}

#[test]
fn a_record_that_is_moved_is_what_alone_would_have_been_written_there() {
    let (elsewhere, offset) = (Salt(0x1234_5678), 65_536);
    for (expiry, horizon, more_follows) in extensions() {
        let record = extended(b"a key", b"the value", expiry, horizon, more_follows);
        let header = Header::decode(&record).unwrap();
        let mut out = b"before".to_vec();
        transplant(&record, &header, elsewhere, offset, &mut out);
        let mut alone = b"before".to_vec();
        put(b"a key", b"the value", expiry).encode(&mut alone);
        stamp(&mut alone[6..], header.seqno, elsewhere, offset);
        assert_eq!(out, alone);
        assert!(decode(&out[6..], elsewhere, offset).is_ok());
    }
}

#[test]
fn a_delete_in_place_of_a_put_hides_the_same_key_from_the_same_moment_on() {
    for (expiry, horizon, more_follows) in extensions() {
        let record = extended(b"a key", b"the value", expiry, horizon, more_follows);
        let (mut delete, mut out) = (Vec::new(), Vec::new());
        let header = delete_in_place_of(&record, &Header::decode(&record).unwrap(), &mut delete);
        transplant(&delete, &header, salt(), AT, &mut out);
        let mut alone = encoded(Draft { kind: Kind::Delete, ..put(b"a key", b"", None) });
        stamp(&mut alone, Seqno::from(0x0605_0403_0201), salt(), AT);
        assert_eq!(out, alone);
        assert_eq!(Header { header_crc: header.header_crc, ..Header::decode(&out).unwrap() }, header);
    }
}

#[test]
fn kinds_that_give_keys_values_and_kinds_of_the_catalogue_have_nothing_in_common() {
    use Kind::{Cursor, Delete, KeyspaceClear, KeyspaceCreate, KeyspaceDrop, Pad, Put, PutLarge};
    for (kind, is_put, is_catalogue) in [
        (Put, true, false),
        (PutLarge, true, false),
        (Delete, false, false),
        (KeyspaceCreate, false, true),
        (KeyspaceDrop, false, true),
        (KeyspaceClear, false, true),
        (Cursor, false, true),
        (Pad, false, false),
    ] {
        assert_eq!((kind.is_put(), kind.is_catalogue()), (is_put, is_catalogue), "{kind:?}");
    }
}

#[test]
fn a_head_that_is_cut_short_has_no_extensions_and_is_refused() {
    let record = extended(b"a key", b"", Some(1 << 40), Some(4096), false);
    let header = Header::decode(&record).unwrap();
    assert_eq!((header.horizon(&record[..32]), header.expiry(&record[..40])), (Some(4096), Some(1 << 40)));
    assert_eq!((header.horizon(&record[..31]), header.expiry(&record[..39])), (None, None));
    for len in 0..header.head_len() as usize {
        assert!(damaged(&header.check_head(&record[..len], salt(), AT)), "{len} bytes");
    }
}

#[test]
fn a_flaw_says_what_it_found() {
    let mut record = stamped(put(b"key", b"value", None), 5);
    record[23] = 0x40;
    let flaw = Header::decode(&record).unwrap_err();
    assert_eq!(flaw.to_string(), "no record has kind 1 with flags 0x40 and these lengths");
    assert_eq!(Flaw::NeverWritten.to_string(), "nothing but zeros is there");
}

#[test]
#[should_panic(expected = "the record has a horizon already")]
fn a_second_horizon_is_our_bug() {
    let mut buffer = vec![0; 16];
    put(b"key", b"value", None).encode(&mut buffer);
    insert_horizon(&mut buffer, 16, 4096);
    insert_horizon(&mut buffer, 8, 4096);
}

/// Lengths around the multiples of 8 and the limits.
fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    let any_len = prop::collection::vec(any::<u8>(), 0..=40);
    let longest = (any::<u8>(), 0..=9_usize).prop_map(move |(byte, less)| vec![byte; max - less]);
    prop_oneof![9 => any_len, 1 => longest]
}

proptest! {
    #![proptest_config(cases(1024))]

    #[test]
    fn a_record_says_what_was_written(
        key in bytes(KEY_LEN_MAX), value in bytes(70_000), keyspace: u16, expiry: Option<u64>,
        horizon: Option<u64>, more_follows: bool, seqno in 0..=SEQNO_MAX,
    ) {
        let mut buffer = vec![0xaa; 8];
        let draft = Draft { keyspace, ..put(&key, &value, expiry) };
        draft.encode(&mut buffer);
        if more_follows {
            set_more_follows(&mut buffer[8..]);
        }
        let body = buffer[8 + RECORD_HEADER_LEN..].to_vec();
        let start = if let Some(horizon) = horizon {
            insert_horizon(&mut buffer, 8, horizon);
            0
        } else {
            8
        };
        prop_assert_eq!(&buffer[8 + RECORD_HEADER_LEN..], &body, "nothing moved but the header");
        let record = &mut buffer[start..];
        stamp(record, Seqno::from(seqno), salt(), AT);
        let whole = decode(record, salt(), AT).unwrap();
        prop_assert_eq!(whole.header.record_len(), record.len() as u64);
        prop_assert_eq!(whole.header.keyspace, keyspace);
        prop_assert_eq!(whole.header.kind, Kind::Put);
        prop_assert_eq!(whole.header.more_follows, more_follows);
        prop_assert_eq!(whole.header.seqno, Seqno::from(seqno));
        prop_assert_eq!((whole.expiry, whole.horizon), (expiry, horizon));
        prop_assert_eq!((whole.key, whole.value), (key, value));
    }

    #[test]
    fn arbitrary_bytes_are_refused_without_panic(record in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decode(&record, salt(), AT).is_err());
        if let Ok(header) = Header::decode(&record) {
            prop_assert!(header.key().end <= header.head_len());
            prop_assert!(header.head_len() <= header.record_len());
            let _ = (header.expiry(&record), header.horizon(&record));
        }
    }

    /// With its checksums fixed up, what is accepted is exactly what the encoder would have written.
    #[test]
    fn nothing_is_accepted_that_is_never_written(
        kind in 1..=8_u8, key in 0..20_usize, value in 0..20_usize, expiry: Option<u64>,
        horizon: bool, edits in edits(),
    ) {
        let mut record = vec![0; 8];
        let expiry = expiry.filter(|_| kind <= 2);
        let (key, value) = (if kind <= 3 { key } else { 0 }, if kind == 3 { 0 } else { value });
        put(&vec![1; key], &vec![2; value], expiry).encode(&mut record);
        if horizon {
            insert_horizon(&mut record, 8, 4096);
        } else {
            record.drain(..8);
        }
        record[22] = kind;
        edit(&mut record, &edits);
        if let Ok(header) = Header::decode(&record) {
            let value = header.value().start as usize..header.value().end as usize;
            let crc = checksum::crc(record.get(value).unwrap_or(&[]));
            record[4..8].copy_from_slice(&crc.to_le_bytes());
            if header.key().end <= record.len() as u64 {
                stamp(&mut record, header.seqno, salt(), AT);
            }
        }
        let Ok(whole) = decode(&record, salt(), AT) else { return Ok(()) };
        let header = whole.header;
        let mut again = vec![0; 8];
        let draft = Draft {
            kind: header.kind,
            keyspace: header.keyspace,
            key: &whole.key,
            value: &whole.value,
            expiry: whole.expiry,
        };
        draft.encode(&mut again);
        if header.more_follows {
            set_more_follows(&mut again[8..]);
        }
        if let Some(horizon) = whole.horizon {
            insert_horizon(&mut again, 8, horizon);
        } else {
            again.drain(..8);
        }
        stamp(&mut again, header.seqno, salt(), AT);
        prop_assert_eq!(&again, &record[..header.record_len() as usize]);
    }
}
