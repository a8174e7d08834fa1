//! Archives written and read: what tests of this room share, and that both sides agree.
//!
//! Floor 2. Imports `address`, `error`, `format`, `limits`, `platform`, `sync`, `zipfile`.

mod big;
mod chunks;
mod hostile;
mod rot;
mod tools;
mod writing;

use std::io::{Cursor, Write as _};
use std::ops::RangeInclusive;

use zip::{ZipArchive, ZipWriter};

use crate::address::{ArchiveId, SegmentId, Seqno};
use crate::error::Result;
use crate::format::compression::Compression;
use crate::format::manifest::{Manifest, ManifestEntry};
use crate::format::names::{self, MANIFEST};
use crate::limits::ENTRY_ALIGN;
use crate::platform::memory::MemoryDisk;
use crate::platform::{Disk, File};
use crate::sync::Arc;
use crate::zipfile::read::Contents;
use crate::zipfile::write::{Writer, options};

const PATH: &str = "archives/0000000007.zip";
const DATABASE: [u8; 16] = *b"0123456789abcdef";

/// A segment and its hint.
type Pair = [(String, Vec<u8>); 2];

fn pair(name: String, len: usize) -> Pair {
    let mut random = fastrand::Rng::with_seed(len as u64);
    let mut bytes = |len: usize| (0..len).map(|_| random.u8(..)).collect();
    let hint = names::hint_entry(&name);
    [(name, bytes(len)), (hint, bytes(len / 8))]
}

fn log(id: u64, len: usize) -> Pair {
    pair(names::log_entry(SegmentId(id)), len)
}

fn packed(id: u64, len: usize) -> Pair {
    pair(names::packed_entry(SegmentId(id)), len)
}

fn covers() -> RangeInclusive<SegmentId> {
    SegmentId(1)..=SegmentId(100)
}

fn manifest(entries: Vec<ManifestEntry>) -> Manifest {
    Manifest {
        database: DATABASE,
        archive: ArchiveId(7),
        index: [0; 16],
        covers: vec![covers()],
        replaces: vec![ArchiveId(2)],
        first_seqno: Seqno::from(1),
        last_seqno: Seqno::from(1000),
        as_of: Seqno::from(1000),
        keyspaces: vec![],
        entries,
    }
}

/// Writes an archive of `pairs`, in pieces.
fn write(file: Arc<dyn File>, pairs: &[Pair]) -> Result<Manifest> {
    write_packed(file, pairs, Compression::None)
}

/// The same, with each piece of a segment as a chunk.
fn write_packed(file: Arc<dyn File>, pairs: &[Pair], method: Compression) -> Result<Manifest> {
    let mut writer = Writer::new(file, PATH.to_owned());
    let mut entries = Vec::new();
    for (nth, (name, bytes)) in pairs.iter().flatten().enumerate() {
        let method = if nth % 2 == 0 { method } else { Compression::None };
        writer.start_packed(name, bytes.len() as u64, method)?;
        for piece in bytes.chunks(1000) {
            writer.write(piece)?;
        }
        entries.push(writer.end());
    }
    let manifest = manifest(entries);
    writer.finish(&manifest)?;
    Ok(manifest)
}

fn file_of(bytes: &[u8]) -> Arc<dyn File> {
    let file = MemoryDisk::new().create("file").unwrap();
    file.write_at(bytes, 0).unwrap();
    file
}

fn bytes_of(file: &dyn File) -> Vec<u8> {
    let mut bytes = vec![0; file.len().unwrap() as usize];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}

/// The bytes of an archive of `pairs`.
fn archive(pairs: &[Pair]) -> Vec<u8> {
    let file = file_of(&[]);
    write(Arc::clone(&file), pairs).unwrap();
    bytes_of(&*file)
}

fn small() -> Vec<u8> {
    archive(&[log(1, 300)])
}

fn read(bytes: &[u8]) -> Result<Contents> {
    Contents::read(&*file_of(bytes), PATH, Some(&DATABASE), Some(ArchiveId(7)))
}

/// An archive of entries as the crate `zip` writes them; `edit` changes the text of the manifest.
fn forge(entries: &[(&str, &[u8])], edit: impl Fn(String) -> String) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        zip.start_file(*name, options(bytes.len() as u64)).unwrap();
        zip.write_all(bytes).unwrap();
    }
    let honest = archive(&[log(1, 300)]);
    let text = String::from_utf8(entry_of(&honest, MANIFEST)).unwrap();
    zip.start_file(MANIFEST, options(0)).unwrap();
    zip.write_all(edit(text).as_bytes()).unwrap();
    zip.finish().unwrap().into_inner()
}

/// Where the header, the data and the header in the directory of an entry begin, by the crate `zip`.
fn places(bytes: &[u8], index: usize) -> [usize; 3] {
    let mut zip = ZipArchive::new(Cursor::new(bytes)).unwrap();
    let entry = zip.by_index_raw(index).unwrap();
    [entry.header_start(), entry.data_start().unwrap(), entry.central_header_start()].map(|place| place as usize)
}

fn entry_of(bytes: &[u8], name: &str) -> Vec<u8> {
    let mut found = Vec::new();
    let mut zip = ZipArchive::new(Cursor::new(bytes)).unwrap();
    std::io::copy(&mut zip.by_name(name).unwrap(), &mut found).unwrap();
    found
}

#[test]
fn what_is_written_is_read() {
    for pairs in [
        vec![],
        vec![log(1, 0)],
        vec![log(1, 300)],
        vec![packed(1, 4096), packed(2, 100_000)],
        vec![log(3, 1_000_000), packed(1, 1), log(100, 4095), packed(2, 8192)],
    ] {
        let file = file_of(&[]);
        let manifest = write(Arc::clone(&file), &pairs).unwrap();
        let contents = Contents::read(&*file, PATH, Some(&DATABASE), Some(ArchiveId(7))).unwrap();
        assert_eq!(contents.manifest, manifest);
        assert_eq!(contents.verify(&*file, PATH).unwrap(), []);
        let bytes = bytes_of(&*file);
        for (entry, (name, data)) in manifest.entries.iter().zip(pairs.iter().flatten()) {
            assert_eq!((&entry.name, entry.len), (name, data.len() as u64));
            assert_eq!(&bytes[entry.offset as usize..][..data.len()], data);
        }
        assert_eq!(bytes, archive(&pairs), "the same again");
    }
}

#[test]
fn every_length_of_an_entry_and_so_every_padding_is_read() {
    // The padding of the entry behind depends on where this one ends; a step of one visits all that differ.
    let longest = ENTRY_ALIGN as usize + 10;
    for len in (0..40).chain(longest - 200..longest) {
        let bytes = archive(&[log(1, len)]);
        let contents = read(&bytes).unwrap_or_else(|error| panic!("{len}: {error}"));
        assert!(contents.manifest.entries.iter().all(|entry| entry.offset.is_multiple_of(ENTRY_ALIGN)));
    }
}

#[test]
fn another_reader_finds_the_same() {
    let pairs = [log(3, 100_000), packed(1, 5000)];
    let file = file_of(&[]);
    let manifest = write(Arc::clone(&file), &pairs).unwrap();
    let bytes = bytes_of(&*file);
    let mut zip = ZipArchive::new(Cursor::new(&bytes[..])).unwrap();
    assert_eq!(zip.len(), manifest.entries.len() + 1);
    for (index, (entry, (name, data))) in manifest.entries.iter().zip(pairs.iter().flatten()).enumerate() {
        assert_eq!(entry_of(&bytes, name), *data);
        let found = zip.by_index_raw(index).unwrap();
        assert_eq!(found.name().unwrap(), *name);
        assert_eq!((found.data_start(), found.size()), (Some(entry.offset), entry.len));
        assert_eq!(found.crc32(), crc32fast::hash(data));
        assert_eq!(found.unix_mode(), Some(0o100_600));
    }
    assert_eq!(entry_of(&bytes, MANIFEST), manifest.encode());
}
