//! Reading what an archive holds, and refusing whatever is not just as we write it.
//!
//! Floor 2. Imports `address`, `error`, `format`, `limits`, `platform`, `zipfile`.
//!
//! Only these numbers are taken from the file: where the directory lies, and of each entry its name, offset, length and crc32.
//! Every other byte that is not in an entry's data must be what follows from them (`layout`), and all must agree with the
//! manifest, whose own crc32 is checked. So nothing lies before, between or behind the entries, none overlap, and no name is
//! there that we would not give. Names never reach the file system.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use crate::address::ArchiveId;
use crate::error::Result;
use crate::format::manifest::Manifest;
use crate::format::names::MANIFEST;
use crate::limits::MANIFEST_LEN_MAX;
use crate::platform::File;
use crate::zipfile::input::Input;
use crate::zipfile::layout::{END_LEN, END64_LEN, End, Entry};

/// What an archive holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Contents {
    pub(crate) manifest: Manifest,
    /// Of each entry of the manifest.
    pub(super) crc32s: Vec<u32>,
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

    pub(super) fn parse(input: &Input<'_>) -> Result<Contents> {
        let (end, tail) = find_end(input)?;
        let directory = input.bytes(end.len as usize, end.offset)?;
        let entries = list(input, &directory, &end)?;
        let Some((last, before)) = entries.split_last() else {
            return Err(input.damaged(end.offset, "it has no entries, not even a manifest"));
        };
        let manifest = read_manifest(input, last, &end)?;
        let at = check_entries(input, before, &manifest, &end)?;
        if last.0.header != at {
            let what =
                format_args!("{MANIFEST} is said to begin at offset {}, what is before it ends at {at}", last.0.header);
            return Err(input.damaged(at, what));
        }
        let version = entries.iter().map(|(entry, _)| entry.version()).max().unwrap_or_default();
        input.demand("the end", &end.pinned(version), &tail, end.offset.saturating_add(end.len))?;
        Ok(Contents { manifest, crc32s: before.iter().map(|(entry, _)| entry.crc32).collect() })
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

/// Checks that the entries before the manifest are those that it names, and lie one behind the other. Gives where they end.
fn check_entries(input: &Input<'_>, entries: &[Listed<'_>], manifest: &Manifest, end: &End) -> Result<u64> {
    if entries.len() != manifest.entries.len() {
        let (listed, said) = (entries.len(), manifest.entries.len());
        return Err(input.damaged(
            end.offset,
            format_args!("its directory lists {listed} entries beside the manifest, that names {said}"),
        ));
    }
    let (mut at, mut listed_at) = (0, end.offset);
    for (listed, said) in entries.iter().zip(&manifest.entries) {
        let (entry, header) = listed;
        let name = entry.name.escape_debug();
        if entry.name != said.name {
            return Err(
                input.damaged(listed_at, format_args!("an entry is \"{name}\", the manifest says \"{}\"", said.name))
            );
        }
        if entry.header != at {
            let what =
                format_args!("\"{name}\" is said to begin at offset {}, what is before it ends at {at}", entry.header);
            return Err(input.damaged(listed_at, what));
        }
        let start = check_headers(input, listed, listed_at, end)?;
        if (start, entry.len) != (said.offset, said.len) {
            let what = format_args!(
                "\"{name}\" has {} bytes at offset {start}, the manifest says {} at {}",
                entry.len, said.len, said.offset
            );
            return Err(input.damaged(listed_at, what));
        }
        at = start.checked_add(entry.len).ok_or_else(|| input.damaged(listed_at, "an entry has no end"))?;
        listed_at = listed_at.saturating_add(header.len() as u64);
    }
    Ok(at)
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
