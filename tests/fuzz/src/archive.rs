//! An archive: opened alone, compared with what the crate `zip` reads, and opened in its store.

use std::collections::BTreeSet;
use std::io::{Cursor, Read};
use std::sync::Arc;

use zipcask::archive::Archive;
use zipcask::sim::fuzz;
use zipcask::{Compression, ErrorKind};

use crate::base::{self, Facts, Files, Written, bases};
use crate::{fix, memory, put, sparse, u32_at};

/// In the first byte, what is made right: sums of entries, sums in the manifest, records, headers in the directory.
pub const ENTRIES: u8 = 1;
pub const MANIFEST: u8 = 2;
pub const RECORDS: u8 = 4;
pub const DIRECTORY: u8 = 8;

const NAME: &str = "archives/0000000001.zip";

pub fn target(data: &[u8]) -> u64 {
    let Some(([what, which], bytes)) = data.split_first_chunk() else { return 0 };
    let mut zip = sparse::open(bytes);
    fix_archive(&mut zip, *what);
    let bases = bases();
    let mut files = [&bases.packed, &bases.deflated, &bases.archived][usize::from(*which) % 3].clone();
    files.retain(|name, _| !name.starts_with("archives/"));
    files.insert(NAME.to_owned(), zip);
    let disk = base::disk(&files);
    let opened = memory::bounded(memory::STORE, || fuzz::open_archive(Arc::new(disk.clone()), NAME));
    let mut written = None;
    let taken = match opened {
        Ok(archive) => memory::bounded(memory::STORE, || look(&archive, &files, &mut written)),
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::Corruption | ErrorKind::FormatVersion), "{error:?}");
            0
        }
    };
    memory::bounded(memory::STORE, || base::look(&disk, Facts { written: written.as_ref(), index_made_up: false }));
    taken
}

/// What an archive shows is in its entries, as another reader reads them.
fn look(archive: &Archive, files: &Files, written: &mut Option<Written>) -> u64 {
    let facts = archive.facts();
    let clean = archive.verify().expect("memory does not fail").is_clean();
    let pairs: Vec<_> = archive.iter().collect();
    for (key, value) in pairs.iter().flatten() {
        let found = archive.get(key).expect("a pass has read it");
        assert_eq!(found.as_deref(), Some(&**value), "a get says the same as a pass");
    }
    if !clean {
        return 1;
    }
    let zip = &files[NAME];
    let mut theirs = zip::ZipArchive::new(Cursor::new(zip)).expect("`zip` reads what we read");
    let mut names: BTreeSet<String> =
        theirs.file_names().map(|name| name.expect("a name is text").into_owned()).collect();
    let mut segments = Written::new();
    for entry in &facts.entries {
        let chunks = names
            .iter()
            .filter(|name| entry.compression != Compression::None && name.starts_with(&format!("{}/", entry.name)));
        let mut parts: Vec<String> = chunks.cloned().collect();
        if entry.compression == Compression::None {
            parts.push(entry.name.clone());
        }
        let mut bytes = Vec::new();
        for part in &parts {
            assert!(names.remove(part), "{part} is an entry for `zip`, too");
            let mut file = theirs.by_name(part).expect("`zip` finds each entry");
            file.read_to_end(&mut bytes).expect("`zip` reads each entry");
        }
        assert_eq!(bytes.len() as u64, entry.len, "{} is as long for `zip`", entry.name);
        if entry.compression == Compression::None {
            assert!(bytes == zip[entry.offset as usize..][..bytes.len()], "{} is the same for `zip`", entry.name);
        }
        if entry.records.is_some() {
            base::note(&mut segments, &bytes, files);
        }
    }
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["manifest.json"], "nothing else is in it for `zip`");
    for (key, value) in pairs.iter().flatten() {
        let known = segments.get(&**key).is_some_and(|values| values.contains(&**value));
        assert!(known, "{key:?} was never so");
    }
    *written = Some(segments);
    2
}

/// An entry of the directory.
struct Listed {
    at: usize,
    header: usize,
    data: usize,
    packed: usize,
    name: String,
}

fn list(zip: &[u8]) -> Vec<Listed> {
    let mut found = Vec::new();
    let end = zip.len().checked_sub(22);
    let Some(mut at) = end.and_then(|end| u32_at(zip, end + 16)).map(|at| at as usize) else { return found };
    let u16_at = |at: usize| Some(usize::from(u16::from_le_bytes([*zip.get(at)?, *zip.get(at + 1)?])));
    while zip.get(at..at.saturating_add(4)) == Some(b"PK\x01\x02") && found.len() < 64 {
        let one = || {
            let header = u32_at(zip, at + 42)? as usize;
            let name = zip.get(at + 46..at + 46 + u16_at(at + 28)?)?;
            let next = at + 46 + u16_at(at + 28)? + u16_at(at + 30)? + u16_at(at + 32)?;
            let data = header + 30 + u16_at(header + 26)? + u16_at(header + 28)?;
            let packed = u32_at(zip, at + 20)? as usize;
            zip.get(data..data.checked_add(packed)?)?;
            Some((Listed { at, header, data, packed, name: String::from_utf8_lossy(name).into_owned() }, next))
        };
        let Some((listed, next)) = one() else { break };
        found.push(listed);
        at = next;
    }
    found
}

/// Makes sums right; what is compressed keeps its own.
fn fix_archive(zip: &mut [u8], what: u8) {
    let listed = list(zip);
    let stored = |zip: &[u8], listed: &Listed| zip.get(listed.at + 10..listed.at + 12) == Some(&[0, 0]);
    let Some(manifest) = listed.last() else { return };
    for entry in &listed {
        let range = entry.data..entry.data + entry.packed;
        if !stored(zip, entry) {
            continue;
        }
        if what & RECORDS != 0 && entry.name.ends_with(".seg") {
            let all = fix::HEADERS | fix::COPY | fix::RECORD_HEADS | fix::VALUES | fix::SUMS | fix::FOOTERS;
            fix::segment(&mut zip[range.clone()], all, None);
        }
        if what & MANIFEST != 0 && entry.at != manifest.at {
            let sum = format!("{:08x}", crc32c::crc32c(&zip[range]));
            let text = manifest.data..manifest.data + manifest.packed;
            let name = format!("\"{}\"", entry.name).into_bytes();
            let place = zip[text.clone()].windows(name.len()).position(|window| window == name);
            let digits = place.and_then(|place| {
                let rest = &zip[text.start + place..text.end];
                let at = rest.windows(11).position(|window| window == b"\"crc32c\": \"")?;
                Some(text.start + place + at + 11)
            });
            if let Some(digits) = digits.filter(|digits| digits + 8 <= text.end) {
                put(zip, digits, sum.as_bytes());
            }
        }
    }
    for entry in &listed {
        if what & ENTRIES != 0 && stored(zip, entry) {
            let sum = crc32fast::hash(&zip[entry.data..entry.data + entry.packed]).to_le_bytes();
            put(zip, entry.at + 16, &sum);
            put(zip, entry.header + 14, &sum);
        }
        if what & DIRECTORY != 0 {
            // Needed version to lengths: the same in both.
            let fields = zip[entry.at + 6..entry.at + 30].to_vec();
            put(zip, entry.header + 4, &fields);
        }
    }
}
