//! What an archive says of itself: its last entry, `manifest.json`.
//!
//! Floor 1. Imports `address`, `error`, `format`, `limits`.
//!
//! JSON that a person can read, in one spelling: the same manifest always has the same bytes, and nothing but those bytes
//! decodes. So there are no unknown fields, no duplicates, no second way to say a number. It has no checksum of its own: the
//! directory of the archive holds one, which is checked before a word of it is believed.
//!
//! ```text
//! {
//!   "format": "zipcask archive",
//!   "version": 1,
//!   "database": "00112233445566778899aabbccddeeff",
//!   "archive": 7,
//!   "index": "0123456789abcdef0123456789abcdef",
//!   "covers": [[1, 41], [44, 44]],
//!   "replaces": [3, 5],
//!   "first_seqno": 1,
//!   "last_seqno": 5000,
//!   "as_of": 5120,
//!   "keyspaces": [[1, "users"], [2, "of \"all\" kinds"]],
//!   "entries": [
//!     {"name": "log/0000000041.seg", "offset": 4096, "len": 1000000, "crc32c": "e3069283"},
//!     {"name": "hints/log/0000000041.hint", "offset": 1007616, "len": 2000, "crc32c": "00c0ffee"},
//!     {"name": "packed/0000000001.seg", "offset": 1009616, "len": 70000, "crc32c": "0badcafe", "method": "deflate", "chunks": 4},
//!     {"name": "hints/packed/0000000001.hint", "offset": 1032192, "len": 500, "crc32c": "00c0ffee"}
//!   ]
//! }
//! ```
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use crate::address::{ArchiveId, SegmentId, Seqno};
use crate::error::{Error, ErrorKind, Result};
use crate::format::VERSION;
use crate::format::catalogue::NAME_LEN_MAX;
use crate::format::compression::Compression;
use crate::format::names::{self, SegmentEntry};
use crate::limits::{ENTRY_ALIGN, MANIFEST_LEN_MAX, SEQNO_MAX};

/// What a manifest begins with, in every version: the version follows, and a reader looks at it before it reads on.
const BEGINNING: &str = "{\n  \"format\": \"zipcask archive\",\n  \"version\": ";

/// The manifest of an archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Manifest {
    /// Of the store that made it.
    pub(crate) database: [u8; 16],
    pub(crate) archive: ArchiveId,
    /// The index of the store that was written down last when this was made; zeros without one. What it leads to is in the files that
    /// were there then.
    pub(crate) index: [u8; 16],
    /// The segments of the log whose records it stands for: ascending, disjoint, with gaps between.
    pub(crate) covers: Vec<RangeInclusive<SegmentId>>,
    /// The archives that it stands for, ascending; all are older.
    pub(crate) replaces: Vec<ArchiveId>,
    /// From 1.
    pub(crate) first_seqno: Seqno,
    /// One before `first_seqno` if there is no record.
    pub(crate) last_seqno: Seqno,
    /// No record was left out for one that is newer than this: `last_seqno` where segments were packed as they were. Not below that.
    pub(crate) as_of: Seqno,
    /// What the keyspaces were called, but for the default one, ascending by their numbers.
    pub(crate) keyspaces: Vec<(u16, String)>,
    /// All entries but the manifest, as they lie in the archive: segments, each with its hint behind it.
    pub(crate) entries: Vec<ManifestEntry>,
}

/// An entry of an archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ManifestEntry {
    pub(crate) name: String,
    /// Where its bytes begin in the archive: a multiple of `ENTRY_ALIGN`. Where the header of the first chunk begins if it lies in
    /// chunks.
    pub(crate) offset: u64,
    /// Of its bytes, unpacked.
    pub(crate) len: u64,
    /// Of those, too.
    pub(crate) crc32c: u32,
    /// Only of segments.
    pub(crate) chunked: Option<Chunked>,
}

/// How an entry lies in the archive that is cut in chunks, each an entry of the ZIP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Chunked {
    /// Not `None`.
    pub(crate) method: Compression,
    pub(crate) count: u64,
}

impl Manifest {
    /// The bytes of `manifest.json`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        self.check().expect("whoever fills a manifest keeps its order");
        let covers = self.covers.iter().map(|ids| format!("[{}, {}]", ids.start().0, ids.end().0));
        let replaces = self.replaces.iter().map(|id| id.0.to_string());
        let entries = self.entries.iter().map(ManifestEntry::encode);
        let (database, archive) = (u128::from_be_bytes(self.database), self.archive.0);
        let index = u128::from_be_bytes(self.index);
        let (first, last) = (self.first_seqno, self.last_seqno);
        let mut text =
            format!("{BEGINNING}{VERSION},\n  \"database\": \"{database:032x}\",\n  \"archive\": {archive},\n");
        writeln!(text, "  \"index\": \"{index:032x}\",").expect("a string takes everything");
        let (covers, replaces) = (list(covers, COVERS), list(replaces, REPLACES));
        let as_of = self.as_of;
        let seqnos = format!("  \"first_seqno\": {first},\n  \"last_seqno\": {last},\n  \"as_of\": {as_of},\n");
        let keyspaces = self.keyspaces.iter().map(|(id, name)| format!("[{id}, {}]", spelled(name)));
        let keyspaces = list(keyspaces, KEYSPACES);
        let entries = list(entries, ENTRIES);
        write!(text, "{covers},\n{replaces},\n{seqnos}{keyspaces},\n{entries}\n}}\n")
            .expect("a string takes everything");
        text.into_bytes()
    }

    /// Decodes the manifest that lies at offset `at` of the archive `path`.
    ///
    /// # Errors
    /// `FormatVersion` if a newer version wrote it, `Corruption` if it is not exactly what `encode` writes.
    pub(crate) fn decode(bytes: &[u8], path: &str, at: u64) -> Result<Manifest> {
        let mut text = Text { bytes, at: 0 };
        let decoded = match text.version() {
            Ok(version) if version > u64::from(VERSION) => {
                let what = format!(
                    "{path} has format version {version}, this program knows {VERSION}: open it with a newer one"
                );
                return Err(Error::new(ErrorKind::FormatVersion, what));
            }
            Ok(_) if bytes.len() > MANIFEST_LEN_MAX => Err(format!("{} bytes are too many", bytes.len())),
            Ok(_) => text.manifest(),
            Err(what) => Err(what),
        };
        decoded.map_err(|what| {
            let what = format_args!("its manifest cannot be: {what}; restore the file from a backup");
            Error::corruption(path, at.saturating_add(text.at as u64), what)
        })
    }

    /// Whether it says what can be: ranges, order, names.
    fn check(&self) -> Result<(), String> {
        if self.archive.0 == 0 {
            return Err("no archive has the number 0".to_owned());
        }
        let mut covered = None;
        for ids in &self.covers {
            let apart = covered
                .map_or(ids.start().0 > 0, |last: SegmentId| last.next().is_some_and(|next| next < *ids.start()));
            if !apart || ids.start() > ids.end() {
                return Err(format!("it covers {} to {}, out of order", ids.start().0, ids.end().0));
            }
            covered = Some(*ids.end());
        }
        let mut replaced = ArchiveId(0);
        for id in &self.replaces {
            if *id <= replaced || *id >= self.archive {
                return Err(format!("archive {} replaces {}, out of order", self.archive.0, id.0));
            }
            replaced = *id;
        }
        let pairs = self.keyspaces.iter().zip(self.keyspaces.iter().skip(1));
        if pairs.into_iter().any(|(one, next)| one.0 >= next.0)
            || self.keyspaces.first().is_some_and(|first| first.0 == 0)
        {
            return Err("its keyspaces are out of order".to_owned());
        }
        let (first, last) = (u64::from(self.first_seqno), u64::from(self.last_seqno));
        if first == 0 || first > SEQNO_MAX || last > SEQNO_MAX || last.checked_add(1).is_none_or(|end| end < first) {
            return Err(format!("there are no seqnos from {first} to {last}"));
        }
        let as_of = u64::from(self.as_of);
        if as_of < last || as_of > SEQNO_MAX {
            return Err(format!("it cannot be as of {as_of} with seqnos to {last}"));
        }
        self.check_entries()
    }

    fn check_entries(&self) -> Result<(), String> {
        let (pairs, rest) = self.entries.as_chunks::<2>();
        let (mut log, mut packed, mut end) = (SegmentId(0), SegmentId(0), 0);
        for [segment, hint] in pairs {
            match names::parse_segment_entry(&segment.name) {
                Some(SegmentEntry::Log(id)) if id > log && self.covers.iter().any(|ids| ids.contains(&id)) => log = id,
                Some(SegmentEntry::Packed(id)) if packed.next() == Some(id) => packed = id,
                _ => return Err(format!("\"{}\" is no segment, or not in its place", segment.name.escape_debug())),
            }
            if hint.name != names::hint_entry(&segment.name) {
                return Err(format!("\"{}\" has no hint behind it", segment.name));
            }
            if hint.chunked.is_some() {
                return Err(format!("\"{}\" is no segment, and lies in chunks", hint.name));
            }
            for entry in [segment, hint] {
                end = entry.end(end).ok_or_else(|| {
                    format!("\"{}\" cannot have {} bytes at offset {}", entry.name, entry.len, entry.offset)
                })?;
            }
        }
        rest.first().map_or(Ok(()), |alone| Err(format!("\"{}\" has no hint behind it", alone.name.escape_debug())))
    }
}

impl ManifestEntry {
    fn encode(&self) -> String {
        let ManifestEntry { name, offset, len, crc32c, chunked } = self;
        let chunked = chunked.map_or(String::new(), |Chunked { method, count }| {
            format!(", \"method\": \"{}\", \"chunks\": {count}", method.name())
        });
        format!("{{\"name\": \"{name}\", \"offset\": {offset}, \"len\": {len}, \"crc32c\": \"{crc32c:08x}\"{chunked}}}")
    }

    /// Where it ends, at the earliest, if it can lie behind what ends at `before`.
    fn end(&self, before: u64) -> Option<u64> {
        match self.chunked {
            None if self.offset > before && self.offset.is_multiple_of(ENTRY_ALIGN) => {
                self.offset.checked_add(self.len)
            }
            Some(chunked) if self.offset >= before && (1..=self.len).contains(&chunked.count) => {
                self.offset.checked_add(chunked.count)
            }
            _ => None,
        }
    }
}

/// How a list of a manifest is spelled.
#[derive(Clone, Copy)]
struct List {
    name: &'static str,
    /// Before the first item, between items, behind the last.
    around: [&'static str; 3],
}

const COVERS: List = List { name: "  \"covers\": [", around: ["", ", ", "]"] };
const REPLACES: List = List { name: "  \"replaces\": [", around: ["", ", ", "]"] };
const KEYSPACES: List = List { name: "  \"keyspaces\": [", around: ["", ", ", "]"] };
const ENTRIES: List = List { name: "  \"entries\": [", around: ["\n    ", ",\n    ", "\n  ]"] };

/// A name as JSON has it, in one spelling.
fn spelled(name: &str) -> String {
    let mut text = String::from('"');
    for letter in name.chars() {
        match letter {
            '"' | '\\' => text.extend(['\\', letter]),
            control if control < ' ' => text.push_str(&format!("\\u{:04x}", control as u32)),
            letter => text.push(letter),
        }
    }
    text.push('"');
    text
}

/// The text of a list.
fn list(items: impl Iterator<Item = String>, List { name, around: [before, between, behind] }: List) -> String {
    let items: Vec<_> = items.collect();
    if items.is_empty() {
        return format!("{name}]");
    }
    format!("{name}{before}{}{behind}", items.join(between))
}

/// The text of a manifest, as far as it is not read.
struct Text<'a> {
    bytes: &'a [u8],
    /// Of `bytes`, in the whole; for messages.
    at: usize,
}

impl<'a> Text<'a> {
    fn version(&mut self) -> Result<u64, String> {
        self.expect(BEGINNING)?;
        let version = self.number()?;
        self.expect(",\n")?;
        (version != 0).then_some(version).ok_or_else(|| "no version is 0".to_owned())
    }

    /// What follows the version.
    fn manifest(&mut self) -> Result<Manifest, String> {
        let database = self.hex("  \"database\": \"", 32)?.to_be_bytes();
        self.expect("\",\n")?;
        let archive = ArchiveId(self.number_of("  \"archive\": ")?);
        self.expect(",\n")?;
        let index = self.hex("  \"index\": \"", 32)?.to_be_bytes();
        self.expect("\",\n")?;
        let covers = self.list(COVERS, |text| {
            let first = text.number_of("[")?;
            let last = text.number_of(", ")?;
            text.expect("]")?;
            Ok(SegmentId(first)..=SegmentId(last))
        })?;
        self.expect(",\n")?;
        let replaces = self.list(REPLACES, |text| text.number().map(ArchiveId))?;
        self.expect(",\n")?;
        let first_seqno = Seqno::from(self.number_of("  \"first_seqno\": ")?);
        let last_seqno = Seqno::from(self.number_of(",\n  \"last_seqno\": ")?);
        let as_of = Seqno::from(self.number_of(",\n  \"as_of\": ")?);
        self.expect(",\n")?;
        let keyspaces = self.list(KEYSPACES, |text| {
            let id = u16::try_from(text.number_of("[")?).map_err(|_| "no keyspace has such a number".to_owned())?;
            text.expect(", ")?;
            let name = text.name()?;
            text.expect("]")?;
            Ok((id, name))
        })?;
        self.expect(",\n")?;
        let entries = self.list(ENTRIES, Text::entry)?;
        self.expect("\n}\n")?;
        if !self.bytes.is_empty() {
            return Err(format!("{} bytes follow its end", self.bytes.len()));
        }
        let manifest =
            Manifest { database, archive, index, covers, replaces, first_seqno, last_seqno, as_of, keyspaces, entries };
        manifest.check()?;
        Ok(manifest)
    }

    fn entry(&mut self) -> Result<ManifestEntry, String> {
        self.expect("{\"name\": \"")?;
        let len = self.bytes.iter().take_while(|byte| **byte != b'"').count();
        let name = self.take(len)?;
        let name = str::from_utf8(name).map_err(|_| format!("\"{}\" is no name", name.escape_ascii()))?.to_owned();
        let offset = self.number_of("\", \"offset\": ")?;
        let len = self.number_of(", \"len\": ")?;
        let crc32c = self.hex(", \"crc32c\": \"", 8)? as u32;
        self.expect("\"")?;
        let chunked = self.chunked()?;
        self.expect("}")?;
        Ok(ManifestEntry { name, offset, len, crc32c, chunked })
    }

    fn chunked(&mut self) -> Result<Option<Chunked>, String> {
        if !self.accept(", \"method\": \"") {
            return Ok(None);
        }
        let method = Compression::ALL.into_iter().find(|method| self.accept(method.name()));
        let method = method.ok_or_else(|| "it names no method that there is".to_owned())?;
        Ok(Some(Chunked { method, count: self.number_of("\", \"chunks\": ")? }))
    }

    fn list<T>(&mut self, list: List, item: impl Fn(&mut Self) -> Result<T, String>) -> Result<Vec<T>, String> {
        let [before, between, behind] = list.around;
        self.expect(list.name)?;
        let mut items = Vec::new();
        if self.accept("]") {
            return Ok(items);
        }
        self.expect(before)?;
        loop {
            items.push(item(self)?);
            if !self.accept(between) {
                self.expect(behind)?;
                return Ok(items);
            }
        }
    }

    /// A name as `spelled` spells it.
    fn name(&mut self) -> Result<String, String> {
        let (mut name, mut escaped) = (String::new(), true);
        let end = self.bytes.iter().take(6 * NAME_LEN_MAX + 2).position(|byte| {
            let ends = *byte == b'"' && !escaped;
            // The first quote opens the name.
            escaped = *byte == b'\\' && !escaped;
            ends
        });
        let spelling = end.and_then(|end| self.bytes.get(1..=end)).and_then(|bytes| str::from_utf8(bytes).ok());
        let mut letters = spelling.ok_or_else(|| "a name has no end".to_owned())?.chars();
        loop {
            name.push(match letters.next() {
                Some('"') => break,
                Some('\\') => match letters.next() {
                    Some('u') => {
                        let digits: String = letters.by_ref().take(4).collect();
                        let control = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                        control.ok_or_else(|| "a name has no letter there".to_owned())?
                    }
                    Some(letter) => letter,
                    None => return Err("a name is cut short".to_owned()),
                },
                Some(letter) => letter,
                None => return Err("a name is cut short".to_owned()),
            });
        }
        if name.len() > NAME_LEN_MAX {
            return Err(format!("a name of {} bytes is too long", name.len()));
        }
        self.expect(&spelled(&name))?;
        Ok(name)
    }

    fn accept(&mut self, literal: &str) -> bool {
        let rest = self.bytes.strip_prefix(literal.as_bytes());
        if let Some(rest) = rest {
            self.bytes = rest;
            self.at = self.at.saturating_add(literal.len());
        }
        rest.is_some()
    }

    fn expect(&mut self, literal: &str) -> Result<(), String> {
        self.accept(literal).then_some(()).ok_or_else(|| format!("it does not go on with {literal:?}"))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or_else(|| "it is cut short".to_owned())?;
        self.bytes = rest;
        self.at = self.at.saturating_add(len);
        Ok(taken)
    }

    fn number_of(&mut self, name: &str) -> Result<u64, String> {
        self.expect(name)?;
        self.number()
    }

    /// A number without needless zeros.
    fn number(&mut self) -> Result<u64, String> {
        let len = self.bytes.iter().take(21).take_while(|byte| byte.is_ascii_digit()).count();
        let digits = str::from_utf8(self.take(len)?).unwrap_or_default();
        let number = digits.parse().ok().filter(|number: &u64| len == 1 || !digits.starts_with('0') && *number > 0);
        number.ok_or_else(|| format!("\"{digits}\" is no number"))
    }

    /// `len` lower-case hexadecimal digits.
    fn hex(&mut self, name: &str, len: usize) -> Result<u128, String> {
        self.expect(name)?;
        let digits = self.take(len)?;
        let exact = digits.iter().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte));
        let number = str::from_utf8(digits).ok().and_then(|digits| u128::from_str_radix(digits, 16).ok());
        number.filter(|_| exact).ok_or_else(|| format!("\"{}\" are no hexadecimal digits", digits.escape_ascii()))
    }
}
