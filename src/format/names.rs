//! The names of the files in a store's directory, and back.
//!
//! Floor 1. Imports `address`.
//!
//! A name is recognised only if it is exactly what the functions here print: `1.seg` or `+000000001.seg` is foreign.

use crate::address::{ArchiveId, LargeId, SegmentId};

pub(crate) const IDENTITY: &str = "ZIPCASK";
/// The identity before it has its final name.
pub(crate) const IDENTITY_NEW: &str = "new-ZIPCASK";
/// What lies in a copy and does not count.
pub(crate) const PENDING: &str = "PENDING";
/// The same before it has its final name.
pub(crate) const PENDING_NEW: &str = "new-PENDING";
pub(crate) const LOCK: &str = "LOCK";
pub(crate) const HOLDER: &str = "HOLDER";
pub(crate) const SEGMENTS: &str = "segments";
pub(crate) const SPARE: &str = "spare";
pub(crate) const TORN: &str = "torn";
pub(crate) const LARGE: &str = "large";
pub(crate) const ARCHIVES: &str = "archives";
pub(crate) const HINTS: &str = "hints";
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// The index, written down.
pub(crate) const IMAGE: &str = "checkpoint/index";
/// The same before it has its final name.
pub(crate) const IMAGE_NEW: &str = "checkpoint/new-index";
/// The last entry of an archive.
pub(crate) const MANIFEST: &str = "manifest.json";

/// Digits of a segment's id in a name: padded with zeros to this many, more where it needs more.
const ID_DIGITS: usize = 10;

/// "segments/0000000042.seg"
pub(crate) fn segment(id: SegmentId) -> String {
    format!("{SEGMENTS}/{id}.seg")
}

/// "segments/new-0000000042": before it has a final name
pub(crate) fn new_segment(id: SegmentId) -> String {
    format!("{SEGMENTS}/new-{id}")
}

/// "torn/0000000042-1048576.bin"
pub(crate) fn torn(id: SegmentId, offset: u64) -> String {
    format!("{TORN}/{id}-{offset}.bin")
}

/// "spare/00c0ffee00c0ffee": a segment to be, made ready ahead
pub(crate) fn spare(random: u64) -> String {
    format!("{SPARE}/{random:016x}")
}

/// The number of a name inside `spare/`
pub(crate) fn parse_spare(name: &str) -> Option<u64> {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (name.len() == 16 && name.bytes().all(digit)).then(|| u64::from_str_radix(name, 16).ok())?
}

/// "large/0123456789abcdef0123456789abcdef.val"
pub(crate) fn large(id: LargeId) -> String {
    format!("{LARGE}/{id}.val")
}

/// The id in a name inside `large/`
pub(crate) fn parse_large(name: &str) -> Option<LargeId> {
    let digits = name.strip_suffix(".val")?;
    let exact = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let id = u128::from_str_radix(digits, 16).ok().filter(|_| exact)?;
    Some(LargeId(id.to_be_bytes()))
}

/// "large/new-0123456789abcdef0123456789abcdef": in a copy, before it has a final name
pub(crate) fn new_large(id: LargeId) -> String {
    format!("{LARGE}/new-{id}")
}

/// Whether the name inside `large/` is one that is not final.
pub(crate) fn is_new_large(name: &str) -> bool {
    name.strip_prefix("new-").is_some_and(|digits| parse_large(&format!("{digits}.val")).is_some())
}

/// "archives/0000000007.zip"
pub(crate) fn archive(id: ArchiveId) -> String {
    format!("{ARCHIVES}/{id}.zip")
}

/// "archives/new-0000000007": before it has a final name
pub(crate) fn new_archive(id: ArchiveId) -> String {
    format!("{ARCHIVES}/new-{id}")
}

/// What a name inside `archives/` is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ArchivesEntry {
    Archive(ArchiveId),
    New(ArchiveId),
    Foreign,
}

/// What the file `name` inside `archives/` is.
pub(crate) fn parse_archives_entry(name: &str) -> ArchivesEntry {
    let (archive, new) =
        (name.strip_suffix(".zip").and_then(parse_number), name.strip_prefix("new-").and_then(parse_number));
    match (archive, new) {
        (Some(id), _) => ArchivesEntry::Archive(ArchiveId(id)),
        (None, Some(id)) => ArchivesEntry::New(ArchiveId(id)),
        (None, None) => ArchivesEntry::Foreign,
    }
}

/// "log/0000000042.seg": the entry of an archive that is a segment of the log, verbatim
pub(crate) fn log_entry(id: SegmentId) -> String {
    format!("log/{id}.seg")
}

/// "packed/0000000001.seg": the entry of an archive that holds rewritten records; numbered from 1 in each archive
pub(crate) fn packed_entry(id: SegmentId) -> String {
    format!("packed/{id}.seg")
}

/// "packed/0000000001.seg/0000065536": the chunk of an entry that begins so many bytes into it
pub(crate) fn chunk_entry(segment: &str, start: u64) -> String {
    format!("{segment}/{start:010}")
}

/// What an entry of an archive is that holds records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SegmentEntry {
    Log(SegmentId),
    Packed(SegmentId),
}

/// What the entry `name` of an archive is, if it holds records.
pub(crate) fn parse_segment_entry(name: &str) -> Option<SegmentEntry> {
    match name.strip_suffix(".seg")?.split_once('/')? {
        ("log", id) => parse_id(id).map(SegmentEntry::Log),
        ("packed", id) => parse_id(id).map(SegmentEntry::Packed),
        _ => None,
    }
}

/// "hints/log/0000000042.hint": the hint of the entry "log/0000000042.seg"
pub(crate) fn hint_entry(segment: &str) -> String {
    format!("{HINTS}/{}.hint", segment.trim_end_matches(".seg"))
}

/// "hints/0000000042.hint": of a segment in `segments/`
pub(crate) fn hint(id: SegmentId) -> String {
    format!("{HINTS}/{id}.hint")
}

/// "hints/new-0000000042": before it has a final name
pub(crate) fn new_hint(id: SegmentId) -> String {
    format!("{HINTS}/new-{id}")
}

/// What a name inside `hints/` is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HintsEntry {
    Hint(SegmentId),
    New(SegmentId),
    Foreign,
}

/// What the file `name` inside `hints/` is.
pub(crate) fn parse_hints_entry(name: &str) -> HintsEntry {
    if let Some(id) = name.strip_suffix(".hint").and_then(parse_id) {
        HintsEntry::Hint(id)
    } else if let Some(id) = name.strip_prefix("new-").and_then(parse_id) {
        HintsEntry::New(id)
    } else {
        HintsEntry::Foreign
    }
}

/// What a name inside `segments/` is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SegmentsEntry {
    Segment(SegmentId),
    New(SegmentId),
    Foreign,
}

/// What the file `name` inside `segments/` is.
pub(crate) fn parse_segments_entry(name: &str) -> SegmentsEntry {
    if let Some(id) = name.strip_suffix(".seg").and_then(parse_id) {
        SegmentsEntry::Segment(id)
    } else if let Some(id) = name.strip_prefix("new-").and_then(parse_id) {
        SegmentsEntry::New(id)
    } else {
        SegmentsEntry::Foreign
    }
}

/// (segment id, offset) of a name inside `torn/`
pub(crate) fn parse_torn(name: &str) -> Option<(SegmentId, u64)> {
    let (id, offset) = name.strip_suffix(".bin")?.split_once('-')?;
    Some((parse_id(id)?, parse_digits(offset, 1)?))
}

fn parse_id(digits: &str) -> Option<SegmentId> {
    parse_number(digits).map(SegmentId)
}

fn parse_number(digits: &str) -> Option<u64> {
    parse_digits(digits, ID_DIGITS).filter(|id| *id != 0)
}

/// The number that prints as exactly `digits` when padded with zeros to `width`.
fn parse_digits(digits: &str, width: usize) -> Option<u64> {
    let needless_zero = digits.len() > width && digits.starts_with('0');
    let exact = digits.len() >= width && !needless_zero;
    (exact && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::{
        ArchivesEntry, HintsEntry, SegmentEntry, SegmentsEntry, archive, chunk_entry, hint, hint_entry, is_new_large,
        large, log_entry, new_archive, new_hint, new_large, new_segment, packed_entry, parse_archives_entry,
        parse_hints_entry, parse_large, parse_segment_entry, parse_segments_entry, parse_spare, parse_torn, segment,
        spare, torn,
    };
    use crate::address::{ArchiveId, LargeId, SegmentId};
    use crate::format::cases;
    use proptest::prelude::*;

    #[test]
    fn names_are_as_documented() {
        assert_eq!(segment(SegmentId(42)), "segments/0000000042.seg");
        assert_eq!(new_segment(SegmentId(42)), "segments/new-0000000042");
        assert_eq!(torn(SegmentId(42), 1_048_576), "torn/0000000042-1048576.bin");
        assert_eq!(spare(0xc0_ffee), "spare/0000000000c0ffee");
        assert_eq!(large(LargeId(*b"0123456789abcdef")), "large/30313233343536373839616263646566.val");
        assert_eq!(large(LargeId([0; 16])), "large/00000000000000000000000000000000.val");
        assert_eq!(new_large(LargeId(*b"0123456789abcdef")), "large/new-30313233343536373839616263646566");
        assert!(is_new_large("new-30313233343536373839616263646566"));
        assert!(!is_new_large("30313233343536373839616263646566.val") && !is_new_large("new-3031"));
        assert_eq!(segment(SegmentId(u64::MAX)), "segments/18446744073709551615.seg");
        assert_eq!(archive(ArchiveId(7)), "archives/0000000007.zip");
        assert_eq!(new_archive(ArchiveId(7)), "archives/new-0000000007");
        assert_eq!(hint(SegmentId(42)), "hints/0000000042.hint");
        assert_eq!(new_hint(SegmentId(42)), "hints/new-0000000042");
        assert_eq!(log_entry(SegmentId(42)), "log/0000000042.seg");
        assert_eq!(chunk_entry(&packed_entry(SegmentId(1)), 65536), "packed/0000000001.seg/0000065536");
        assert_eq!(hint_entry(&log_entry(SegmentId(42))), "hints/log/0000000042.hint");
        assert_eq!(hint_entry(&packed_entry(SegmentId(1))), "hints/packed/0000000001.hint");
    }

    #[test]
    fn what_is_not_exactly_a_name_of_ours_is_foreign() {
        for name in [
            "",
            ".seg",
            "new-",
            "42.seg",
            "0000000042",
            "000000042.seg",
            "00000000042.seg",
            "+000000042.seg",
            "-000000042.seg",
            "0000000000.seg",
            "new-0000000000",
            "0000000042.SEG",
            "0000000042.seg ",
            " 0000000042.seg",
            "0000000042.seg.seg",
            "new-0000000042.seg",
            "new-42",
            "NEW-0000000042",
            "18446744073709551616.seg",
            "99999999999999999999.seg",
            "0000 00042.seg",
            "000000004\u{0662}.seg",
        ] {
            assert_eq!(parse_segments_entry(name), SegmentsEntry::Foreign, "{name:?}");
            let zip = name.replace(".seg", ".zip");
            assert_eq!(parse_archives_entry(&zip), ArchivesEntry::Foreign, "{zip:?}");
            let entries = [format!("log/{name}"), format!("packed/{name}"), format!("log/../{name}"), name.to_owned()];
            assert!(entries.iter().all(|entry| parse_segment_entry(entry).is_none()), "{entries:?}");
            let hint = name.replace(".seg", ".hint");
            assert_eq!(parse_hints_entry(&hint), HintsEntry::Foreign, "{hint:?}");
        }
        for name in [
            "",
            "0000000042.bin",
            "0000000042-.bin",
            "-4096.bin",
            "42-4096.bin",
            "0000000042-04096.bin",
            "0000000042-+4096.bin",
            "0000000042--4096.bin",
            "0000000042-4096",
            "0000000000-4096.bin",
            "0000000042-18446744073709551616.bin",
        ] {
            assert_eq!(parse_torn(name), None, "{name:?}");
        }
        for name in ["", "c0ffee", "00C0FFEE00c0ffee", "+0c0ffee00c0ffee", "00c0ffee00c0ffee0", "new-0000000042"] {
            assert_eq!(parse_spare(name), None, "{name:?}");
        }
        for name in [
            "",
            ".val",
            "30313233343536373839616263646566",
            "3031323334353637383961626364656.val",
            "303132333435363738396162636465661.val",
            "+0313233343536373839616263646566.val",
            "3031323334353637383961626364656F.val",
            "30313233343536373839616263646566.val.val",
        ] {
            assert_eq!(parse_large(name), None, "{name:?}");
        }
    }

    /// Ids of every length.
    fn ids() -> impl Strategy<Value = SegmentId> {
        (any::<u64>(), 0..64_u32).prop_map(|(id, shift)| SegmentId((id >> shift).max(1)))
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn every_name_is_recognised_again(id in ids(), offset: u64) {
            let inside = |path: String| path.split_once('/').unwrap().1.to_owned();
            prop_assert_eq!(parse_segments_entry(&inside(segment(id))), SegmentsEntry::Segment(id));
            prop_assert_eq!(parse_segments_entry(&inside(new_segment(id))), SegmentsEntry::New(id));
            prop_assert_eq!(parse_torn(&inside(torn(id, offset))), Some((id, offset)));
            prop_assert_eq!(parse_spare(&inside(spare(offset))), Some(offset));
            prop_assert_eq!(parse_hints_entry(&inside(hint(id))), HintsEntry::Hint(id));
            prop_assert_eq!(parse_hints_entry(&inside(new_hint(id))), HintsEntry::New(id));
            prop_assert_eq!(parse_segment_entry(&log_entry(id)), Some(SegmentEntry::Log(id)));
            prop_assert_eq!(parse_segment_entry(&packed_entry(id)), Some(SegmentEntry::Packed(id)));
            let id = ArchiveId(id.0);
            prop_assert_eq!(parse_archives_entry(&inside(archive(id))), ArchivesEntry::Archive(id));
            prop_assert_eq!(parse_archives_entry(&inside(new_archive(id))), ArchivesEntry::New(id));
        }

        #[test]
        fn every_name_of_a_large_value_is_recognised_again(id: [u8; 16]) {
            let path = large(LargeId(id));
            prop_assert_eq!(parse_large(path.strip_prefix("large/").unwrap()), Some(LargeId(id)));
        }

        #[test]
        fn whatever_is_recognised_is_printed_so(name in "(new-)?[+0-9]{1,21}(-[+0-9]{1,3})?(\\.seg|\\.bin)?") {
            let printed = match parse_segments_entry(&name) {
                SegmentsEntry::Segment(id) => Some(segment(id)),
                SegmentsEntry::New(id) => Some(new_segment(id)),
                SegmentsEntry::Foreign => parse_torn(&name).map(|(id, offset)| torn(id, offset)),
            };
            if let Some(printed) = printed {
                prop_assert_eq!(printed.split_once('/').unwrap().1, name);
            }
        }
    }
}
