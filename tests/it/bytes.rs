//! Files of a store by their layout, to be changed so that their checksums are right again.

use std::fs;
use std::path::Path;

use zipcask::{Db, Durability, Options};

pub(crate) const HEADER_COPY: usize = 3584;
pub(crate) const RECORDS: usize = 4096;
pub(crate) const FOOTER: usize = 64;

/// The first segment of every store.
pub(crate) const FIRST: &str = "segments/0000000001.seg";

/// A store of small segments whose writes need not be durable, and which stay where they are.
pub(crate) fn small(path: impl AsRef<Path>) -> Db {
    Options::new().durability(Durability::Os).segment_size(64 << 10).background(false).open(path).unwrap()
}

pub(crate) fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn crc(parts: &[&[u8]]) -> [u8; 4] {
    parts.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part)).to_le_bytes()
}

/// Of a header, or of a copy of the identity.
pub(crate) fn fix_sector(sector: &mut [u8]) {
    let sum = crc(&[&sector[..508]]);
    sector[508..512].copy_from_slice(&sum);
}

/// Changes both headers of a segment.
pub(crate) fn headers(segment: &mut [u8], change: impl Fn(&mut [u8])) {
    for at in [0, HEADER_COPY] {
        change(&mut segment[at..at + 512]);
        fix_sector(&mut segment[at..at + 512]);
    }
}

fn salt(segment: &[u8]) -> Vec<u8> {
    segment[16..56].to_vec()
}

pub(crate) fn fix_footer(segment: &mut [u8]) {
    let at = segment.len() - FOOTER;
    let sum = crc(&[&salt(segment), &segment[at..at + 60]]);
    segment[at + 60..].copy_from_slice(&sum);
}

/// Of a slot of the horizon.
pub(crate) fn fix_slot(segment: &mut [u8], at: usize) {
    let sum = crc(&[&salt(segment), &segment[at..at + 508]]);
    segment[at + 508..at + 512].copy_from_slice(&sum);
}

fn lens(segment: &[u8], at: usize) -> (usize, usize) {
    let key = usize::from(u16::from_le_bytes([segment[at + 14], segment[at + 15]]));
    let flags = segment[at + 23];
    (8 * usize::from(flags >> 1 & 1) + 8 * usize::from(flags >> 2 & 1), key)
}

/// Of the header of the record at `at`, with its extensions and its key.
pub(crate) fn fix_record(segment: &mut [u8], at: usize) {
    let (extensions, key) = lens(segment, at);
    let end = (at + 24 + extensions + key).min(segment.len());
    let sum = crc(&[&salt(segment), &(at as u64).to_le_bytes(), &segment[at + 4..end]]);
    segment[at..at + 4].copy_from_slice(&sum);
}

/// Where the records of a segment lie, as far as they lie within it.
pub(crate) fn records(segment: &[u8]) -> Vec<usize> {
    let (mut at, mut found) = (RECORDS, Vec::new());
    while at + 24 + FOOTER <= segment.len() && segment[at..at + 24].iter().any(|byte| *byte != 0) {
        found.push(at);
        let (extensions, key) = lens(segment, at);
        let value = u32::from_le_bytes(segment[at + 16..at + 20].try_into().unwrap()) as usize;
        at = (at + 24 + extensions + key).next_multiple_of(8) + value.next_multiple_of(8);
    }
    found
}

/// Copies a store, as a killed process would have left it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            // Files of dead large values go when nobody looks at them any more: at any time.
            let copied = fs::copy(entry.path(), &to);
            assert!(copied.is_ok() || !entry.path().exists(), "{copied:?}");
        }
    }
}
