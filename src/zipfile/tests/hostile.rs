//! Files that look like archives, made to mislead.
//!
//! Floor 2. Imports `address`, `error`, `format`, `platform`, `sync`, `zipfile`.

use std::io;

use crate::address::ArchiveId;
use crate::error::{Error, ErrorKind};
use crate::format::names::MANIFEST;
use crate::platform::{Barrier, File, Mapping, PrivateMapping};
use crate::sync::Arc;
use crate::sync::plain::{AtomicU64, Ordering};
use crate::zipfile::read::Contents;
use crate::zipfile::tests::{DATABASE, PATH, archive, entry_of, file_of, forge, log, packed, places, read, small};

/// The entries of `small`, under their own names.
fn honest() -> [(&'static str, Vec<u8>); 2] {
    let [(_, segment), (_, hint)] = log(1, 300);
    [("log/0000000001.seg", segment), ("hints/log/0000000001.hint", hint)]
}

/// `small`, with the first entry under another name, in the directory alone or in the manifest, too.
fn named(name: &str, also: bool) -> Vec<u8> {
    let [(first, segment), (second, hint)] = honest();
    forge(&[(name, &segment), (second, &hint)], |text| if also { text.replacen(first, name, 1) } else { text })
}

#[track_caller]
fn refused(bytes: &[u8]) -> Error {
    let error = read(bytes).expect_err("it is no archive of ours");
    assert_eq!(error.kind(), ErrorKind::Corruption, "{error:?}");
    let (file, offset, what) = error.damage().unwrap();
    assert!(file == PATH && offset <= bytes.len() as u64 && what.contains("restore"), "{error:?}");
    error
}

/// Changes bytes of `small`, which are what they should be before.
#[track_caller]
fn patched(changes: &[(usize, &[u8])]) -> Error {
    let mut bytes = small();
    for (at, new) in changes {
        assert_ne!(&bytes[*at..][..new.len()], *new);
        bytes[*at..][..new.len()].copy_from_slice(new);
    }
    refused(&bytes)
}

/// Where local header, data and header in the directory of the entries of `small` begin.
fn small_places() -> [[usize; 3]; 3] {
    let bytes = small();
    [0, 1, 2].map(|index| places(&bytes, index))
}

#[test]
fn a_forgery_that_changes_nothing_is_read() {
    let [(first, segment), (second, hint)] = honest();
    let bytes = forge(&[(first, &segment), (second, &hint)], |text| text);
    assert_eq!(bytes, small(), "so that the others are refused for what they change");
    read(&bytes).unwrap();
}

#[test]
fn names_that_lead_out_of_the_archive_are_refused() {
    for name in ["../0000000001.seg", "log/../../x", "..\\..\\x.seg", "log/../log/0000000001.seg"] {
        refused(&named(name, false));
        refused(&named(name, true));
    }
}

#[test]
fn absolute_names_are_refused() {
    for name in ["/log/0000000001.seg", "/etc/passwd", "C:\\x", "//host/share"] {
        refused(&named(name, false));
        refused(&named(name, true));
    }
}

#[test]
fn odd_names_are_refused() {
    let long = "x".repeat(5000);
    for name in
        ["", "log/", "LOG/0000000001.seg", "log/0000000001.seg\0", "log\0/1.seg", "log/1.seg", "l\u{f6}g", &long]
    {
        refused(&named(name, false));
        refused(&named(name, true));
    }
}

#[test]
fn a_name_that_comes_twice_is_refused() {
    let mut bytes = archive(&[packed(1, 300), packed(2, 300)]);
    for place in places(&bytes, 2) {
        let Some(digit) = bytes[place..][..100].windows(3).position(|three| three == b"2.s") else { continue };
        bytes[place + digit] = b'1';
    }
    refused(&bytes);
}

#[test]
fn entries_that_share_bytes_are_refused() {
    let [first, second, _] = small_places();
    let error = patched(&[(second[2] + 42, &(first[0] as u32).to_le_bytes())]);
    assert!(error.to_string().contains("hints"), "{error}");
    // The first entry said to be as long as to reach into the second.
    let len = 5000_u32.to_le_bytes();
    patched(&[(first[2] + 20, &len), (first[2] + 24, &len), (first[0] + 18, &len), (first[0] + 22, &len)]);
}

#[test]
fn an_entry_beyond_the_file_is_refused() {
    let [first, second, last] = small_places();
    for place in [0x7fff_ffff_u32, 0xffff_fffe, 0xffff_ffff, small().len() as u32] {
        for entry in [first, second, last] {
            patched(&[(entry[2] + 42, &place.to_le_bytes())]);
        }
    }
}

#[test]
fn bytes_between_entries_are_refused() {
    // A page between the hint and the manifest that nobody names; all offsets behind it are right.
    let [_, _, last] = small_places();
    let mut bytes = small();
    bytes.splice(last[0]..last[0], [0xee; 4096]);
    for (at, by) in [(last[2] + 4096 + 42, 4096), (bytes.len() - 6, 4096)] {
        let place = u32::from_le_bytes(*bytes[at..].first_chunk().unwrap()) + by;
        bytes[at..][..4].copy_from_slice(&place.to_le_bytes());
    }
    assert_eq!(entry_of(&bytes, MANIFEST), entry_of(&small(), MANIFEST), "others read it");
    let error = refused(&bytes);
    assert!(error.to_string().contains("what is before it ends"), "{error}");
}

/// Adds `by` to the number of 4 bytes at `at`.
fn shift(bytes: &mut [u8], at: usize, by: u32) {
    let number = u32::from_le_bytes(*bytes[at..].first_chunk().unwrap()) + by;
    bytes[at..][..4].copy_from_slice(&number.to_le_bytes());
}

#[test]
fn a_page_before_the_first_entry_that_all_offsets_account_for_is_refused() {
    let [(first, segment), (second, hint)] = honest();
    let moved = |text: String| text.replace("\"offset\": 8192", "\"offset\": 12288").replace(": 4096,", ": 8192,");
    let mut bytes = forge(&[(first, &segment), (second, &hint)], moved);
    let listed = [0, 1, 2].map(|index| places(&bytes, index)[2] + 4096);
    bytes.splice(0..0, [0; 4096]);
    let end = bytes.len() - 6;
    for at in listed.map(|at| at + 42).into_iter().chain([end]) {
        shift(&mut bytes, at, 4096);
    }
    let error = refused(&bytes);
    assert!(error.to_string().contains("what is before it ends at 0"), "{error}");
}

#[test]
fn bytes_between_the_manifest_and_the_directory_are_refused() {
    let mut bytes = small();
    let directory = small_places()[0][2];
    bytes.splice(directory..directory, [0; 512]);
    let end = bytes.len() - 6;
    shift(&mut bytes, end, 512);
    let error = refused(&bytes);
    assert!(error.to_string().contains("where the directory begins"), "{error}");
}

#[test]
fn data_that_one_of_two_checksums_refuses_is_told() {
    let [(first, segment), (second, hint)] = honest();
    let crc = format!("{:08x}", crate::format::checksum::crc(&segment));
    let bytes = forge(&[(first, &segment), (second, &hint)], |text| text.replace(&crc, "00c0ffee"));
    let wrong = read(&bytes).unwrap().verify(&*file_of(&bytes), PATH).unwrap();
    assert!(matches!(&wrong[..], [(4096, what)] if what.contains("0x00c0ffee")), "{wrong:?}");
}

/// A file that remembers the most that was asked of it at once.
#[derive(Debug)]
struct Watched(Arc<dyn File>, AtomicU64);

impl File for Watched {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.1.fetch_max(bytes.len() as u64, Ordering::Relaxed);
        self.0.read_at(bytes, offset)
    }

    fn read_device_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_at(bytes, offset)
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn allocate(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn punch(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn taken(&self) -> io::Result<u64> {
        self.len()
    }

    fn barrier(&self, _level: Barrier) -> io::Result<Barrier> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn map(&self, _len: usize) -> io::Result<Box<dyn Mapping>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn map_private(&self, _len: usize) -> io::Result<Box<dyn PrivateMapping>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[test]
fn nothing_is_allocated_for_lengths_that_are_only_said() {
    let bytes = small();
    let [first, _, last] = small_places();
    let end = bytes.len() - 22;
    let huge = 0xffff_fffe_u32.to_le_bytes();
    let wide = [0xff; 4];
    let changes: [&[(usize, &[u8])]; 9] = [
        &[(first[2] + 20, &huge), (first[2] + 24, &huge), (first[0] + 18, &huge), (first[0] + 22, &huge)],
        &[(last[2] + 20, &huge), (last[2] + 24, &huge), (last[0] + 18, &huge), (last[0] + 22, &huge)],
        &[(first[2] + 20, &wide), (first[2] + 24, &wide)],
        &[(last[2] + 28, &[0xff, 0xff])],
        &[(last[2] + 30, &[0xff, 0xff])],
        &[(end + 12, &huge)],
        &[(end + 12, &wide)],
        &[(end + 12, &huge), (end + 16, &[0; 4])],
        &[(end + 8, &[0xff; 4])],
    ];
    for changes in changes {
        let mut bytes = bytes.clone();
        for (at, new) in changes {
            bytes[*at..][..new.len()].copy_from_slice(new);
        }
        refused(&bytes);
        let watched = Watched(file_of(&bytes), AtomicU64::new(0));
        Contents::read(&watched, PATH, None, None).unwrap_err();
        let most = watched.1.load(Ordering::Relaxed);
        assert!(most <= bytes.len() as u64, "{most} bytes at once for {changes:?}");
    }
}

#[test]
fn each_field_that_differs_between_the_two_headers_is_named() {
    let [first, ..] = small_places();
    let both = [
        (4, "version needed"),
        (6, "flags"),
        (8, "method"),
        (10, "time"),
        (12, "date"),
        (14, "crc32"),
        (18, "compressed size"),
        (22, "size"),
        (26, "name length"),
    ];
    let local = [(0, "signature"), (28, "extra length"), (30, "name"), (48, "padding field"), (50, "padding length")];
    let listed = [
        (5, "version made by"),
        (32, "comment length"),
        (34, "disk"),
        (36, "internal attributes"),
        (38, "external attributes"),
        (40, "external attributes"),
    ];
    let cases = both.iter().flat_map(|(at, field)| [(first[0] + at, field), (first[2] + at + 2, field)]);
    let cases = cases.chain(local.iter().map(|(at, field)| (first[0] + at, field)));
    for (at, field) in cases.chain(listed.iter().map(|(at, field)| (first[2] + at, field))) {
        let error = patched(&[(at, &[small()[at] ^ 4])]);
        // A name's length moves what follows it; so may a length of the directory's own.
        let moved = ["name length", "size"].contains(field);
        assert!(moved || error.to_string().contains(&format!("another {field} than")), "{field}: {error}");
    }
}

/// Sets a field of the first entry in both of its headers, so that they agree.
fn both(at: usize, new: &[u8]) -> Error {
    let [first, ..] = small_places();
    patched(&[(first[0] + at, new), (first[2] + at + 2, new)])
}

#[test]
fn a_data_descriptor_is_refused() {
    assert!(both(6, &[8, 0]).to_string().contains("flags"));
}

#[test]
fn an_encrypted_entry_is_refused() {
    assert!(both(6, &[1, 0]).to_string().contains("flags"));
}

#[test]
fn a_compressed_entry_is_refused() {
    for method in [8, 12, 14, 93, 99] {
        assert!(both(8, &[method, 0]).to_string().contains("method"));
    }
}

#[test]
fn what_is_put_before_or_behind_is_refused() {
    for junk in [&b"#"[..], &[0; 4096], b"PK\x05\x06", &small()] {
        refused(&[junk, &small()].concat());
        if junk != small() {
            refused(&[&small(), junk].concat());
        }
    }
}

#[test]
fn a_comment_is_refused() {
    let mut bytes = [&small()[..], b"a comment"].concat();
    let at = small().len() - 2;
    bytes[at] = 9;
    refused(&bytes);
    // One that ends as an archive does.
    let fake = &small()[small().len() - 22..];
    let mut bytes = [&small()[..], fake].concat();
    bytes[at] = 22;
    refused(&bytes);
}

#[test]
fn an_end_of_64_bits_where_it_is_not_needed_is_refused() {
    let honest = small();
    let (directory, end) = honest.split_at(honest.len() - 22);
    let number = |at: usize| u64::from(u32::from_le_bytes(*end[at..].first_chunk().unwrap()));
    let (len, offset) = (number(12), number(16));
    let mut bytes = directory.to_vec();
    bytes.extend(0x0606_4b50_u32.to_le_bytes());
    bytes.extend(44_u64.to_le_bytes());
    bytes.extend([10, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for number in [3, 3, len, offset] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(0x0706_4b50_u32.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend((directory.len() as u64).to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(end);
    let at = bytes.len() - 10;
    bytes[at..at + 4].fill(0xff);
    assert_eq!(entry_of(&bytes, MANIFEST), entry_of(&honest, MANIFEST), "others read it");
    let error = refused(&bytes);
    assert!(error.to_string().contains("the end"), "{error}");
}

#[test]
fn a_newer_version_is_told_as_such_whatever_else_it_has() {
    let [(first, segment), (_, hint)] = honest();
    let newer =
        |text: String| text.replace("\"version\": 1", "\"version\": 2").replace("archive\": 7", "archive\": {}");
    let mut bytes = forge(&[(first, &segment), ("something/else", &hint)], newer);
    let error = read(&bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FormatVersion, "{error:?}");
    assert!(error.to_string().contains(PATH) && error.to_string().contains("version 2"), "{error}");
    // Damage is no newer version.
    let [_, data, _] = places(&bytes, 2);
    bytes[data + 100] ^= 1;
    refused(&bytes);
}

#[test]
fn a_manifest_that_is_missing_or_not_the_last_is_refused() {
    let [(first, segment), (second, hint)] = honest();
    let text = entry_of(&small(), MANIFEST);
    let bytes = forge(&[(first, &segment), (second, &hint)], |text| text);
    let renamed: Vec<u8> = {
        let mut bytes = bytes.clone();
        for place in [places(&bytes, 2)[0] + 30, places(&bytes, 2)[2] + 46] {
            bytes[place] = b'M';
        }
        bytes
    };
    refused(&renamed);
    let empty = [&b"PK\x05\x06"[..], &[0; 18]].concat();
    refused(&empty);
    // First, and once more where it should be, which is a name that comes twice.
    let shifted = forge(&[("manifest.jsom", &text), (first, &segment), (second, &hint)], |text| text);
    refused(&shifted);
}

#[test]
fn entries_that_the_manifest_does_not_name_are_refused() {
    let [(first, segment), (second, hint)] = honest();
    refused(&forge(&[(first, &segment), (second, &hint), ("log/0000000002.seg", &[1])], |text| text));
    refused(&forge(&[(first, &segment)], |text| text));
    refused(&forge(&[(second, &hint), (first, &segment)], |text| text));
    refused(&forge(&[(first, &segment), (second, &hint[1..])], |text| text));
}

#[test]
fn an_archive_of_another_store_or_number_is_refused() {
    let file = file_of(&small());
    let of = |database: &[u8; 16], id| Contents::read(&*file, PATH, Some(database), Some(ArchiveId(id)));
    assert!(of(&DATABASE, 7).is_ok());
    let error = of(&[7; 16], 7).unwrap_err();
    assert!(error.kind() == ErrorKind::Corruption && error.to_string().contains("07070707"), "{error}");
    let error = of(&DATABASE, 8).unwrap_err();
    assert!(error.kind() == ErrorKind::Corruption && error.to_string().contains("0000000008"), "{error}");
}
