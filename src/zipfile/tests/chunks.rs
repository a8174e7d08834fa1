//! Entries in chunks: what is packed is unpacked, and nothing else is taken for it.
//!
//! Floor 2. Imports `address`, `error`, `format`, `platform`, `sync`, `zipfile`.
#![cfg(feature = "deflate")]

use std::io::{Cursor, Write as _};

use zip::{ZipArchive, ZipWriter};

use crate::address::ArchiveId;
use crate::error::{Error, ErrorKind};
use crate::format::checksum;
use crate::format::compression::Compression;
use crate::format::manifest::{Chunked, ManifestEntry};
use crate::format::names::MANIFEST;
use crate::platform::File;
use crate::sync::Arc;
use crate::zipfile::chunked::Reader;
use crate::zipfile::codec::unpack;
use crate::zipfile::read::Contents;
use crate::zipfile::tests::{
    DATABASE, PATH, Pair, bytes_of, entry_of, file_of, log, manifest, packed, places, read, write_packed,
};
use crate::zipfile::write::{chunk_options, options};

/// Every method that this program has.
fn methods() -> impl Iterator<Item = Compression> {
    Compression::ALL.into_iter().filter(|method| method.is_built_in())
}

fn archive(pairs: &[Pair], method: Compression) -> (Arc<dyn File>, Vec<u8>) {
    let file = file_of(&[]);
    write_packed(Arc::clone(&file), pairs, method).unwrap();
    let bytes = bytes_of(&*file);
    (file, bytes)
}

/// A segment that packs well, in chunks, and its hint.
fn text() -> Pair {
    let [(name, mut segment), hint] = packed(1, 5000);
    (0..).zip(&mut segment).for_each(|(at, byte): (usize, _)| *byte = b"abracadabra"[at % 11]);
    [(name, segment), hint]
}

/// What can be read of the first entry.
fn reader(contents: &Contents) -> Reader {
    let chunks = contents.chunks(&contents.manifest.entries[0]).expect("it lies in chunks");
    Reader::new(chunks, "segment".to_owned())
}

#[test]
fn every_part_of_what_was_packed_is_unpacked() {
    let seed = 0x00c4_0221;
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for method in methods() {
        let pairs = [packed(1, 100_000)];
        let (file, _) = archive(&pairs, method);
        let contents = Contents::read(&*file, PATH, Some(&DATABASE), Some(ArchiveId(7))).unwrap();
        assert_eq!(contents.verify(&*file, PATH).unwrap(), []);
        let (reader, segment) = (reader(&contents), &pairs[0][0].1);
        for _ in 0..2000 {
            let longest = [1, 30, 3000, 110_000][random.usize(..4)];
            let (start, len) = (random.usize(..100_100), random.usize(..longest));
            let mut bytes = vec![0; len];
            let count = match random.bool() {
                true => reader.read_at(&*file, &mut bytes, start as u64),
                false => reader.read_device_at(&*file, &mut bytes, start as u64),
            };
            let expected = segment.get(start..segment.len().min(start + len)).unwrap_or_default();
            assert_eq!(&bytes[..count.unwrap()], expected, "{len} bytes at {start}");
        }
    }
}

#[test]
fn another_reader_finds_the_same_chunks() {
    for method in methods() {
        let pairs = [log(3, 10_000), text()];
        let (_, bytes) = archive(&pairs, method);
        for [(name, segment), (hint, listed)] in &pairs {
            for (nth, piece) in segment.chunks(1000).enumerate() {
                assert_eq!(entry_of(&bytes, &format!("{name}/{:010}", nth * 1000)), piece);
            }
            assert_eq!(entry_of(&bytes, hint), *listed);
        }
        assert_eq!(ZipArchive::new(Cursor::new(&bytes[..])).unwrap().len(), 10 + 1 + 5 + 1 + 1);
    }
}

#[test]
fn every_flipped_bit_is_detected_or_harmless() {
    for method in methods() {
        let (file, bytes) = archive(&[text()], method);
        let [(_, segment), _] = text();
        let (mut detected, mut harmless) = (0, 0);
        for (offset, byte) in (0..).zip(&bytes) {
            for bit in 0..8 {
                file.write_at(&[byte ^ 1 << bit], offset).unwrap();
                let contents = Contents::read(&*file, PATH, Some(&DATABASE), Some(ArchiveId(7)));
                let wrong = contents.as_ref().map(|contents| contents.verify(&*file, PATH).unwrap());
                match wrong {
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Corruption, "{error:?}");
                        detected += 1;
                    }
                    Ok(wrong) if !wrong.is_empty() => detected += 1,
                    Ok(_) => {
                        let (reader, mut read) = (reader(&contents.unwrap()), vec![0; segment.len()]);
                        assert_eq!(reader.read_at(&*file, &mut read, 0).unwrap(), read.len());
                        assert!(read == segment, "bit {bit} at {offset}");
                        harmless += 1;
                    }
                }
            }
            file.write_at(&[*byte], offset).unwrap();
        }
        println!("{method:?} rot: {} bits flipped, {detected} detected, {harmless} harmless", bytes.len() * 8);
        // Deflate fills up the last byte of each of 5 chunks.
        assert!(harmless <= 5 * 7, "{harmless}");
    }
}

/// An archive of one segment in chunks of these bytes, which may be anything; the manifest's text is changed by `edit`.
fn forge(chunks: &[&[u8]], method: Compression, edit: impl Fn(String) -> String) -> Vec<u8> {
    let [(name, _), (hint, listed)] = packed(1, 300);
    let start = || {
        let (mut zip, mut len) = (ZipWriter::new(Cursor::new(Vec::new())), 0);
        for chunk in chunks {
            zip.start_file(format!("{name}/{len:010}"), chunk_options(method)).unwrap();
            zip.write_all(chunk).unwrap();
            len += chunk.len();
        }
        zip.start_file(&hint[..], options(0)).unwrap();
        zip.write_all(&listed).unwrap();
        zip
    };
    let at = places(&start().finish().unwrap().into_inner(), chunks.len())[1] as u64;
    let mut zip = start();
    let entry = |name: &str, offset, bytes: &[u8]| ManifestEntry {
        name: name.to_owned(),
        offset,
        len: bytes.len() as u64,
        crc32c: checksum::crc(bytes),
        chunked: None,
    };
    let chunked = Some(Chunked { method, count: chunks.len() as u64 });
    let segment = ManifestEntry { chunked, ..entry(&name, 0, &chunks.concat()) };
    let text = manifest(vec![segment, entry(&hint, at, &listed)]).encode();
    zip.start_file(MANIFEST, options(0)).unwrap();
    zip.write_all(edit(String::from_utf8(text).unwrap()).as_bytes()).unwrap();
    zip.finish().unwrap().into_inner()
}

#[track_caller]
fn refused(bytes: &[u8]) -> Error {
    let error = read(bytes).expect_err("it is no archive of ours");
    assert_eq!(error.kind(), ErrorKind::Corruption, "{error:?}");
    error
}

/// Changes a field of 4 bytes of the entry at `index`, in both of its headers: at `at` of the local one.
fn patch(bytes: &mut [u8], index: usize, at: usize, to: u32) {
    let [header, _, listed] = places(bytes, index);
    for place in [header + at, listed + at + 2] {
        bytes[place..][..4].copy_from_slice(&to.to_le_bytes());
    }
}

#[test]
fn a_forgery_that_changes_nothing_is_read() {
    let [(_, segment), _] = text();
    let bytes = forge(&segment.chunks(1000).collect::<Vec<_>>(), Compression::Deflate, |text| text);
    assert!(read(&bytes).unwrap().verify(&*file_of(&bytes), PATH).unwrap().is_empty());
    let chunk = forge(&[&segment], Compression::Deflate, |text| text);
    assert!(read(&chunk).is_ok());
}

#[test]
fn manifests_that_say_otherwise_are_refused() {
    let [(_, segment), _] = text();
    let pieces: Vec<_> = segment.chunks(1000).collect();
    let changes = [
        ("\"chunks\": 5", "\"chunks\": 4"),
        ("\"chunks\": 5", "\"chunks\": 6"),
        ("\"chunks\": 5", "\"chunks\": 0"),
        ("\"chunks\": 5", "\"chunks\": 18446744073709551615"),
        ("\"method\": \"deflate\"", "\"method\": \"zstd\""),
        ("\"method\": \"deflate\"", "\"method\": \"none\""),
        ("\"method\": \"deflate\"", "\"method\": \"lzma\""),
        (", \"method\": \"deflate\", \"chunks\": 5", ""),
        ("\"len\": 5000", "\"len\": 4999"),
        ("\"len\": 5000", "\"len\": 18446744073709551615"),
        ("\"offset\": 0", "\"offset\": 4096"),
        ("\"offset\": 0", "\"offset\": 1"),
    ];
    for (from, to) in changes {
        let bytes = forge(&pieces, Compression::Deflate, |text| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        });
        refused(&bytes);
    }
    // A hint in chunks.
    let hinted = |text: String| {
        let end = text.rfind("\"}").unwrap();
        format!("{}\", \"method\": \"deflate\", \"chunks\": 1}}{}", &text[..end], &text[end + 2..])
    };
    refused(&forge(&pieces, Compression::Deflate, hinted));
}

#[test]
fn chunks_under_other_names_or_in_another_order_are_refused() {
    let [(_, segment), _] = text();
    let pieces: Vec<_> = segment.chunks(1000).collect();
    let honest = forge(&pieces, Compression::Deflate, |text| text);
    for name in
        ["packed/0000000001.seg/0000001001", "packed/0000000001.seg/0000000000", "packed/../../001.seg/0000001000"]
    {
        let mut bytes = honest.clone();
        let [header, _, listed] = places(&bytes, 1);
        for place in [header + 30, listed + 46] {
            bytes[place..][..name.len()].copy_from_slice(name.as_bytes());
        }
        assert!(refused(&bytes).to_string().contains("the manifest says \"packed/0000000001.seg/0000001000\""));
    }
}

#[test]
fn lengths_of_a_chunk_that_cannot_be_are_refused() {
    let [(_, segment), _] = text();
    let honest = forge(&segment.chunks(1000).collect::<Vec<_>>(), Compression::Deflate, |text| text);
    for len in [0, 999, 1001, (2 << 20) + 1, u32::MAX - 1, u32::MAX] {
        let mut bytes = honest.clone();
        patch(&mut bytes, 1, 22, len);
        refused(&bytes);
        let mut bytes = honest.clone();
        patch(&mut bytes, 1, 18, len);
        refused(&bytes);
    }
    // One that is as long as it says, with everything around it right.
    assert!(read(&forge(&[&[0; 2 << 20]], Compression::Deflate, |text| text)).is_ok());
    refused(&forge(&[&[0; (2 << 20) + 1]], Compression::Deflate, |text| text));
}

#[test]
fn what_unpacks_to_something_else_is_damage_of_its_chunk_or_of_the_segment() {
    let [(_, segment), _] = text();
    let pieces: Vec<_> = segment.chunks(1000).collect();
    let mut bytes = forge(&pieces, Compression::Deflate, |text| text);
    patch(&mut bytes, 1, 14, 7);
    let (contents, [_, data, _]) = (read(&bytes).unwrap(), places(&bytes, 1));
    let found = contents.verify(&*file_of(&bytes), PATH).unwrap();
    assert!(matches!(&found[..], [(at, what)] if *at == data as u64 && what.contains("crc32")), "{found:?}");
    let error: Error =
        reader(&contents).read_at(&*file_of(&bytes), &mut [0; 10], 1234).unwrap_err().downcast().unwrap();
    assert_eq!(error.damage().map(|(_, at, _)| at), Some(1000), "{error}");
    // Each is right by itself, and they are not what the manifest says of all.
    let [said, other] = [0, 1].map(|bit| format!("\"crc32c\": \"{:08x}\"", checksum::crc(&segment) ^ bit));
    let bytes = forge(&pieces, Compression::Deflate, |text| {
        assert!(text.contains(&said), "{text}");
        text.replacen(&said, &other, 1)
    });
    let found = read(&bytes).unwrap().verify(&*file_of(&bytes), PATH).unwrap();
    assert!(matches!(&found[..], [(_, what)] if what.contains("crc32c")), "{found:?}");
}

/// A chunk that unpacks to much more than is said of it, with everything around it right.
#[test]
fn a_bomb_is_damage_and_takes_no_memory() {
    let bomb = vec![0; 64 << 20];
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&bomb).unwrap();
    let bomb = encoder.finish().unwrap();
    for len in [0, 1, 1000, 65_536, 2 << 20] {
        let what = unpack(Compression::Deflate, &bomb, len).unwrap_err();
        assert!(what.contains(&format!("{} or more", len + 1)), "{what}");
    }
    // Said to be of 2 MiB, in an archive.
    let said = vec![0; 2 << 20];
    let bytes = forge(&[&said], Compression::Deflate, |text| text);
    let [_, data, listed] = places(&bytes, 0);
    let honest_len = u32::from_le_bytes(*bytes[listed + 20..].first_chunk().unwrap()) as usize;
    let mut wrong = bytes.clone();
    wrong[data..data + honest_len].copy_from_slice(&bomb[..honest_len]);
    let contents = read(&wrong).unwrap();
    let found = contents.verify(&*file_of(&wrong), PATH).unwrap();
    assert!(matches!(&found[..], [(at, what)] if *at == data as u64 && what.contains("damaged")), "{found:?}");
    let error = reader(&contents).read_at(&*file_of(&wrong), &mut [0; 10], 77).unwrap_err();
    let error: Error = error.downcast().unwrap();
    assert_eq!(error.damage().map(|(file, at, _)| (file, at)), Some(("segment", 0)), "{error}");
}

#[test]
fn what_is_cut_short_or_goes_on_behind_its_end_is_damage() {
    let [(_, segment), _] = text();
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&segment).unwrap();
    let packed = encoder.finish().unwrap();
    assert_eq!(unpack(Compression::Deflate, &packed, segment.len()).unwrap(), segment);
    for cut in 0..packed.len() {
        assert!(unpack(Compression::Deflate, &packed[..cut], segment.len()).is_err(), "{cut}");
    }
    let longer = [&packed[..], &[0]].concat();
    assert!(unpack(Compression::Deflate, &longer, segment.len()).unwrap_err().contains("1 left over"));
    for len in [0, segment.len() - 1, segment.len() + 1] {
        assert!(unpack(Compression::Deflate, &packed, len).is_err(), "{len}");
    }
}

#[cfg(not(feature = "zstd"))]
#[test]
fn an_archive_of_a_method_that_is_not_built_in_is_told_with_its_feature() {
    let [(_, segment), _] = text();
    let mut bytes = forge(&[&segment], Compression::Deflate, |text| text.replace("\"deflate\"", "\"zstd\""));
    let [header, _, listed] = places(&bytes, 0);
    for (place, to) in [(header + 8, 93), (listed + 10, 93), (header + 4, 45), (listed + 4, 45), (listed + 6, 45)] {
        bytes[place] = to;
    }
    assert!(
        ZipArchive::new(Cursor::new(&bytes[..])).unwrap().by_index_raw(0).unwrap().compression()
            == zip::CompressionMethod::ZSTD
    );
    let error = read(&bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FormatVersion, "{error:?}");
    assert!(error.to_string().contains(PATH) && error.to_string().contains("feature `zstd`"), "{error}");
}
