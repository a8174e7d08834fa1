//! Reading what an archive holds, and refusing whatever is not just as we write it.
//!
//! Floor 2. Imports `address`, `error`, `format`, `limits`, `platform`, `sync`, `zipfile`.
//!
//! Only these numbers are taken from the file: where the directory lies, and of each entry its name, offset, lengths and crc32.
//! Every other byte that is not in an entry's data must be what follows from them (`layout`), and all must agree with the
//! manifest, whose own crc32 is checked. So nothing lies before, between or behind the entries, none overlap, and no name is
//! there that we would not give. Names never reach the file system.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use crate::address::ArchiveId;
use crate::error::{Error, ErrorKind, Result};
use crate::format::compression::Compression;
use crate::format::manifest::{Chunked, Manifest, ManifestEntry};
use crate::format::names::{self, MANIFEST};
use crate::limits::{CHUNK_LEN_MAX, MANIFEST_LEN_MAX};
use crate::platform::File;
use crate::sync::Arc;
use crate::zipfile::chunked::{Chunk, Chunks};
use crate::zipfile::input::Input;
use crate::zipfile::layout::{END_LEN, END64_LEN, End, Entry};

/// What an archive holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Contents {
    pub(crate) manifest: Manifest,
    /// Of each entry of the manifest.
    pub(super) data: Vec<Data>,
}

/// What is known of an entry's data beside what the manifest says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Data {
    /// Its crc32.
    Stored(u32),
    Chunked(Arc<Chunks>),
}

/// An entry, and its header in the directory.
type Listed<'a> = (Entry, &'a [u8]);

impl Contents {
    /// Reads the archive `path`, which is the archive `id` of the store `database` where those are known. The data of its entries
    /// is not looked at.
    ///
    /// # Errors
    /// `Corruption` if it is not just what a [`Writer`](crate::zipfile::write::Writer) leaves, or of another store or id;
    /// `FormatVersion` if it is of a newer version; `Io`.
    pub(crate) fn read(
        file: &dyn File,
        path: &str,
        database: Option<&[u8; 16]>,
        id: Option<ArchiveId>,
    ) -> Result<Contents> {
        let input = Input::cache(file, path);
        let contents = Contents::parse(&input)?;
        let mut methods =
            contents.manifest.entries.iter().filter_map(|entry| entry.chunked).map(|chunked| chunked.method);
        if let Some(method) = methods.find(|method| !method.is_built_in()) {
            let what = format!(
                "{path} is compressed by a method that this program was built without: build it with the feature `{}` of zipcask",
                method.name()
            );
            return Err(Error::new(ErrorKind::FormatVersion, what));
        }
        let Manifest { database: found, archive, .. } = &contents.manifest;
        if let Some(ours) = database.filter(|ours| *ours != found) {
            let (found, ours) = (u128::from_be_bytes(*found), u128::from_be_bytes(*ours));
            return Err(input.damaged(0, format_args!("it belongs to the store {found:032x}, not to {ours:032x}")));
        }
        match id.filter(|id| id != archive) {
            None => Ok(contents),
            Some(id) => Err(input.damaged(0, format_args!("it is archive {archive}, not {id}"))),
        }
    }

    /// Where the chunks of an entry are, if it has some.
    pub(crate) fn chunks(&self, entry: &ManifestEntry) -> Option<&Arc<Chunks>> {
        let at = self.manifest.entries.iter().position(|other| other.name == entry.name)?;
        match self.data.get(at)? {
            Data::Stored(_) => None,
            Data::Chunked(chunks) => Some(chunks),
        }
    }

    pub(super) fn parse(input: &Input<'_>) -> Result<Contents> {
        let (end, tail) = find_end(input)?;
        let directory = input.bytes(end.len as usize, end.offset)?;
        let mut entries = list(input, &directory, &end)?;
        let Some((last, before)) = entries.split_last_mut() else {
            return Err(input.damaged(end.offset, "it has no entries, not even a manifest"));
        };
        let manifest = read_manifest(input, last, &end)?;
        let (data, at) = check_entries(input, before, &manifest, &end)?;
        if last.0.header != at {
            let what =
                format_args!("{MANIFEST} is said to begin at offset {}, what is before it ends at {at}", last.0.header);
            return Err(input.damaged(at, what));
        }
        let version = entries.iter().map(|(entry, _)| entry.version()).max().unwrap_or_default();
        input.demand("the end", &end.pinned(version), &tail, end.offset.saturating_add(end.len))?;
        Ok(Contents { manifest, data })
    }
}

/// Where the directory lies, and the bytes behind it.
fn find_end(input: &Input<'_>) -> Result<(End, Vec<u8>)> {
    let file_len = input.len()?;
    let no_end =
        || input.damaged(file_len, "it does not end as an archive does: it was cut, or something was put behind");
    let mut start = file_len.checked_sub(END_LEN as u64).ok_or_else(no_end)?;
    let mut tail = input.bytes(END_LEN, start)?;
    if !tail.starts_with(b"PK\x05\x06") {
        return Err(no_end());
    }
    let mut end = End::parse(&tail);
    if end.is_none() {
        start = start.checked_sub(END64_LEN as u64).ok_or_else(no_end)?;
        tail = input.bytes(END64_LEN.saturating_add(END_LEN), start)?;
        end = End::parse64(&tail);
    }
    let end = end.ok_or_else(no_end)?;
    if end.len > MANIFEST_LEN_MAX as u64 || end.offset.checked_add(end.len) != Some(start) {
        let what = format_args!(
            "its directory of {} bytes at offset {} does not end at {start}, where it should, or is too long",
            end.len, end.offset
        );
        return Err(input.damaged(start, what));
    }
    Ok((end, tail))
}

/// The entries, as the directory says; what else it says is not looked at.
fn list<'a>(input: &Input<'_>, directory: &'a [u8], end: &End) -> Result<Vec<Listed<'a>>> {
    let (mut entries, mut rest, mut at) = (Vec::new(), directory, end.offset);
    while !rest.is_empty() {
        let parsed = Entry::parse(rest).and_then(|(entry, len)| Some((entry, rest.split_at_checked(len)?)));
        let Some((entry, (header, behind))) = parsed else {
            return Err(input.damaged(at, "no header of the directory is here"));
        };
        entries.push((entry, header));
        (rest, at) = (behind, at.saturating_add(header.len() as u64));
    }
    if entries.len() as u64 != end.count {
        let what = format_args!("its directory lists {} entries, its end counts {}", entries.len(), end.count);
        return Err(input.damaged(at, what));
    }
    Ok(entries)
}

/// Reads the manifest from the last entry, before others are looked at: they may be of a newer version.
fn read_manifest(input: &Input<'_>, listed: &Listed<'_>, end: &End) -> Result<Manifest> {
    let (entry, header) = listed;
    let listed_at = end.offset.saturating_add(end.len).saturating_sub(header.len() as u64);
    if entry.name != MANIFEST {
        let what = format_args!("the last entry is \"{}\", not {MANIFEST}", entry.name.escape_debug());
        return Err(input.damaged(listed_at, what));
    }
    let start = check_headers(input, listed, listed_at, end)?;
    if entry.len > MANIFEST_LEN_MAX as u64 || start.checked_add(entry.len) != Some(end.offset) {
        let what = format_args!("{MANIFEST} has {} bytes, and must end where the directory begins", entry.len);
        return Err(input.damaged(start, what));
    }
    let bytes = input.bytes(entry.len as usize, start)?;
    let crc32 = crc32fast::hash(&bytes);
    if crc32 != entry.crc32 {
        let what = format_args!("the crc32 of {MANIFEST} is {:#010x}, its bytes have {crc32:#010x}", entry.crc32);
        return Err(input.damaged(start, what));
    }
    Manifest::decode(&bytes, input.path(), start)
}

/// Checks that the entries before the manifest are those that it names, and lie one behind the other. Gives what else is known of
/// them, and where they end.
fn check_entries(
    input: &Input<'_>,
    entries: &mut [Listed<'_>],
    manifest: &Manifest,
    end: &End,
) -> Result<(Vec<Data>, u64)> {
    let counts = manifest.entries.iter().map(|said| said.chunked.map_or(1, |chunked| chunked.count));
    let count = counts.fold(0, u64::saturating_add);
    if entries.len() as u64 != count {
        let listed = entries.len();
        return Err(input.damaged(
            end.offset,
            format_args!("its directory lists {listed} entries beside the manifest, that names {count}"),
        ));
    }
    let mut walk = Walk { input, end, at: 0, listed_at: end.offset, left: entries.iter_mut() };
    let data = manifest.entries.iter().map(|said| match said.chunked {
        None => walk.stored(said),
        Some(chunked) => walk.chunked(said, chunked),
    });
    let data = data.collect::<Result<_>>()?;
    Ok((data, walk.at))
}

/// A walk over the entries before the manifest.
struct Walk<'a, 'b> {
    input: &'a Input<'a>,
    end: &'a End,
    /// Where the entries so far end.
    at: u64,
    /// Where the next one's header in the directory begins.
    listed_at: u64,
    left: std::slice::IterMut<'a, Listed<'b>>,
}

impl Walk<'_, '_> {
    /// The next entry, which must have this name, and where its data begins.
    fn next(&mut self, name: &str, method: Compression) -> Result<(Entry, u64)> {
        let Walk { input, listed_at, .. } = *self;
        let Some(listed) = self.left.next() else {
            return Err(input.damaged(listed_at, "its directory lists fewer entries than the manifest"));
        };
        listed.0.method = method;
        let (entry, header) = &*listed;
        let shown = entry.name.escape_debug();
        if entry.name != name {
            return Err(input.damaged(listed_at, format_args!("an entry is \"{shown}\", the manifest says \"{name}\"")));
        }
        if entry.header != self.at {
            let (begin, before) = (entry.header, self.at);
            let what =
                format_args!("\"{shown}\" is said to begin at offset {begin}, what is before it ends at {before}");
            return Err(input.damaged(listed_at, what));
        }
        let start = check_headers(input, listed, listed_at, self.end)?;
        let len = if method == Compression::None { entry.len } else { entry.packed_len };
        self.at = start.checked_add(len).ok_or_else(|| input.damaged(listed_at, "an entry has no end"))?;
        self.listed_at = listed_at.saturating_add(header.len() as u64);
        Ok((entry.clone(), start))
    }

    fn stored(&mut self, said: &ManifestEntry) -> Result<Data> {
        let listed_at = self.listed_at;
        let (entry, start) = self.next(&said.name, Compression::None)?;
        if (start, entry.len) != (said.offset, said.len) {
            let what = format_args!(
                "\"{}\" has {} bytes at offset {start}, the manifest says {} at {}",
                said.name, entry.len, said.len, said.offset
            );
            return Err(self.input.damaged(listed_at, what));
        }
        Ok(Data::Stored(entry.crc32))
    }

    fn chunked(&mut self, said: &ManifestEntry, Chunked { method, count }: Chunked) -> Result<Data> {
        let (input, first_at) = (self.input, self.listed_at);
        if self.at != said.offset {
            let what =
                format_args!("\"{}\" begins at offset {}, the manifest says {}", said.name, self.at, said.offset);
            return Err(input.damaged(first_at, what));
        }
        let (mut list, mut len) = (Vec::new(), 0_u64);
        for _ in 0..count {
            let listed_at = self.listed_at;
            let (entry, start) = self.next(&names::chunk_entry(&said.name, len), method)?;
            let packed_max = CHUNK_LEN_MAX.saturating_add(CHUNK_LEN_MAX / 8);
            if !(1..=CHUNK_LEN_MAX).contains(&entry.len) || entry.packed_len > packed_max || entry.large {
                let (name, packed) = (&entry.name, entry.packed_len);
                let what = format_args!("\"{name}\" cannot have {} bytes, packed in {packed}", entry.len);
                return Err(input.damaged(listed_at, what));
            }
            list.push(Chunk {
                at: len,
                len: entry.len as u32,
                start,
                packed_len: entry.packed_len as u32,
                crc32: entry.crc32,
            });
            len = len.saturating_add(entry.len);
        }
        if len != said.len {
            let what = format_args!("\"{}\" has {len} bytes, the manifest says {}", said.name, said.len);
            return Err(input.damaged(first_at, what));
        }
        Ok(Data::Chunked(Arc::new(Chunks { method, len, list })))
    }
}

/// Checks both headers of an entry, and gives the offset of its data.
fn check_headers(input: &Input<'_>, (entry, listed): &Listed<'_>, listed_at: u64, end: &End) -> Result<u64> {
    let name = entry.name.escape_debug();
    input.demand(format_args!("\"{name}\" in the directory"), &entry.central(), listed, listed_at)?;
    let local = entry.local();
    let start = entry.header.checked_add(local.bytes.len() as u64).filter(|start| *start <= end.offset);
    let start = start.ok_or_else(|| {
        input.damaged(listed_at, format_args!("\"{name}\" at offset {} has no room before the directory", entry.header))
    })?;
    let found = input.bytes(local.bytes.len(), entry.header)?;
    input.demand(format_args!("the header of \"{name}\""), &local, &found, entry.header)?;
    Ok(start)
}
