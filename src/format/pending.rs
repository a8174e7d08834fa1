//! What lies in a copy of a store and does not count: the file `PENDING`.
//!
//! Floor 1. Imports `error`, `format`, `limits`.
//!
//! Text that a person can read, in one spelling: the same names always make the same bytes, and nothing but those bytes decodes.
//!
//! ```text
//! zipcask pending 1
//! archives/0000000007.zip
//! segments/0000000042.seg
//! crc32c 00c0ffee
//! ```
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::collections::BTreeSet;

use crate::error::{Error, ErrorKind, Result};
use crate::format::VERSION;
use crate::format::checksum;
use crate::format::names::{self, ArchivesEntry, SegmentsEntry};
use crate::limits::PENDING_LEN_MAX;

const BEGINNING: &str = "zipcask pending ";

/// The bytes that say these names.
pub(crate) fn encode(names: &BTreeSet<String>) -> Vec<u8> {
    let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
    let mut text = format!("{BEGINNING}{VERSION}\n{lines}");
    text.push_str(&format!("crc32c {:08x}\n", checksum::crc(text.as_bytes())));
    text.into_bytes()
}

/// The names that `bytes` of the file `path` say.
///
/// # Errors
/// `FormatVersion` if a newer version wrote it, `Corruption` if it is not exactly what `encode` writes.
pub(crate) fn decode(bytes: &[u8], path: &str) -> Result<BTreeSet<String>> {
    let text = str::from_utf8(bytes).unwrap_or_default();
    let version = text.strip_prefix(BEGINNING).and_then(|rest| rest.split('\n').next()?.parse::<u32>().ok());
    if let Some(version) = version.filter(|version| *version > VERSION) {
        let what =
            format!("{path} has format version {version}, this program knows {VERSION}: open it with a newer one");
        return Err(Error::new(ErrorKind::FormatVersion, what));
    }
    let lines = text.lines().skip(1).take_while(|line| is_name(line));
    let names = lines.map(str::to_owned).collect();
    if bytes.len() > PENDING_LEN_MAX || encode(&names) != bytes {
        let what = "it is not what a backup wrote; make another one into an empty directory";
        return Err(Error::corruption(path, 0, what));
    }
    Ok(names)
}

/// Whether it is the name of a segment or an archive.
fn is_name(name: &str) -> bool {
    match name.split_once('/') {
        Some((names::SEGMENTS, name)) => matches!(names::parse_segments_entry(name), SegmentsEntry::Segment(_)),
        Some((names::ARCHIVES, name)) => matches!(names::parse_archives_entry(name), ArchivesEntry::Archive(_)),
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use std::collections::BTreeSet;

    use super::{decode, encode};
    use crate::error::ErrorKind;

    fn names() -> BTreeSet<String> {
        ["segments/0000000042.seg", "archives/0000000007.zip"].map(str::to_owned).into()
    }

    const TEXT: &str = "zipcask pending 1\narchives/0000000007.zip\nsegments/0000000042.seg\ncrc32c e818d8fe\n";

    fn kind_of(bytes: &[u8]) -> ErrorKind {
        decode(bytes, "PENDING").unwrap_err().kind()
    }

    #[test]
    fn names_are_spelled_as_documented_and_come_back() {
        assert_eq!(String::from_utf8(encode(&names())).unwrap(), TEXT);
        assert_eq!(decode(&encode(&names()), "PENDING").unwrap(), names());
        assert_eq!(decode(&encode(&BTreeSet::new()), "PENDING").unwrap(), BTreeSet::new());
    }

    #[test]
    fn whatever_else_is_there_is_damage() {
        let bytes = encode(&names());
        for len in 0..bytes.len() {
            assert_eq!(kind_of(&bytes[..len]), ErrorKind::Corruption, "{len} bytes");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let version = (16 * 8..17 * 8).contains(&bit);
            assert!(kind_of(&flipped) == ErrorKind::Corruption || version, "bit {bit}");
        }
        let others = ["ZIPCASK", "segments/new-0000000042", "large/a.val", "segments/../a", "segments/1.seg"];
        for name in others {
            assert_eq!(kind_of(&encode(&[name.to_owned()].into())), ErrorKind::Corruption, "{name}");
        }
        assert_eq!(kind_of(b"zipcask pending 2\n"), ErrorKind::FormatVersion);
    }
}
