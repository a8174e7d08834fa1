//! Archives that may be damaged: read strictly where they are whole, and searched for segments where they are not.
//!
//! Floor 7. Imports `address`, `format`, `inspect`, `limits`, `platform`, `segment`, `sync`, `zipfile`.

use crate::address::{ArchiveId, SegmentId};
use crate::format::checksum::Salt;
use crate::format::manifest::ManifestEntry;
use crate::format::names;
use crate::format::segment::{Footer, SegmentHeader};
use crate::inspect::bytes::{Bytes, WINDOW_LEN};
use crate::inspect::survey::{Home, Part, Survey};
use crate::limits::{ENTRY_ALIGN, FOOTER_LEN, HEADER_COPY, RECORDS_START, SECTOR};
use crate::platform::File;
use crate::segment::home;
use crate::sync::Arc;
use crate::zipfile::chunked::Reader;
use crate::zipfile::read::Contents;

/// An archive.
pub(super) struct ArchiveFile {
    pub(super) id: ArchiveId,
    pub(super) path: String,
    pub(super) file: Arc<dyn File>,
    pub(super) len: u64,
    /// If it is as it should be around its entries.
    pub(super) contents: Option<Contents>,
}

impl ArchiveFile {
    /// Takes the file as the archive `id`, and its segments into `parts`. What is wrong is noted.
    pub(super) fn open(
        survey: &mut Survey,
        id: ArchiveId,
        path: String,
        file: Arc<dyn File>,
        len: u64,
        parts: &mut Vec<Part>,
    ) -> ArchiveFile {
        let database = survey.identity.as_ref().map(|identity| identity.database);
        let contents = match Contents::read(&*file, &path, database.as_ref(), Some(id)) {
            Ok(contents) => Some(contents),
            Err(error) => {
                match error.damage() {
                    Some((file, offset, what)) => survey.add(file, offset, what),
                    None => survey.add(&path, 0, &error),
                }
                None
            }
        };
        let archive = ArchiveFile { id, path, file, len, contents };
        match &archive.contents {
            Some(contents) => archive.take_entries(survey, contents, parts),
            None => archive.carve(survey, parts),
        }
        archive
    }

    fn take_entries(&self, survey: &mut Survey, contents: &Contents, parts: &mut Vec<Part>) {
        for entry in &contents.manifest.entries {
            if names::parse_segment_entry(&entry.name).is_none() {
                continue;
            }
            let place = self.place(contents, entry);
            let path = home::shown(&self.path, Some(&place));
            let file = home::within(Arc::clone(&self.file), Some(&place));
            match survey.part(&path, &file, Home::Entry(self.id), entry.len) {
                Some(part) => parts.push(part),
                None => survey.headless.push((path, entry.len)),
            }
        }
    }

    fn place(&self, contents: &Contents, entry: &ManifestEntry) -> home::Entry {
        let (name, start, len) = (entry.name.clone(), entry.offset, entry.len);
        let mut place = home::Entry { archive: self.id, name, start, len, map: None, unpack: None };
        if let Some(chunks) = contents.chunks(entry) {
            place.unpack = Some(Arc::new(Reader::new(chunks, home::shown(&self.path, Some(&place)))));
        }
        place
    }

    /// The bytes of an entry.
    pub(super) fn entry(&self, contents: &Contents, entry: &ManifestEntry) -> (Arc<dyn File>, String) {
        let place = self.place(contents, entry);
        (home::within(Arc::clone(&self.file), Some(&place)), home::shown(&self.path, Some(&place)))
    }

    /// Searches all of the file for headers of segments, which lie at multiples of 4096, and takes what is behind each.
    fn carve(&self, survey: &mut Survey, parts: &mut Vec<Part>) {
        let mut bytes = Bytes::new(&self.file, self.len);
        let mut starts: Vec<(u64, SegmentHeader)> = Vec::new();
        let mut at = 0;
        while at < self.len {
            let sectors = [at, at.saturating_add(HEADER_COPY)];
            let header = sectors
                .into_iter()
                .find_map(|sector| SegmentHeader::decode(&bytes.array::<SECTOR>(sector), &self.path, sector).ok());
            if let Some(header) = header {
                starts.push((at, header));
            }
            at = at.saturating_add(ENTRY_ALIGN);
        }
        for (nth, (start, header)) in starts.iter().enumerate() {
            let next = starts.get(nth.saturating_add(1)).map_or(self.len, |(next, _)| *next);
            let len = find_footer(&mut bytes, *start, next, header.salt()).unwrap_or(next.saturating_sub(*start));
            let name = format!("what is left of segment {} at offset {start}", header.id);
            let place = home::Entry { archive: self.id, name, start: *start, len, map: None, unpack: None };
            let path = home::shown(&self.path, Some(&place));
            let file = home::within(Arc::clone(&self.file), Some(&place));
            parts.extend(survey.part(&path, &file, Home::Carved(self.id), len));
        }
        if starts.is_empty() {
            survey.headless.push((self.path.clone(), self.len));
        }
    }

    /// The archives that it took the place of, if it can say so.
    pub(super) fn replaces(&self) -> &[ArchiveId] {
        self.contents.as_ref().map_or(&[], |contents| &contents.manifest.replaces)
    }

    /// Whether it took the place of this segment of the log.
    pub(super) fn covers(&self, id: SegmentId) -> bool {
        self.contents.as_ref().is_some_and(|contents| contents.manifest.covers.iter().any(|ids| ids.contains(&id)))
    }
}

/// How long the segment is that begins at `start`, by a footer before `end` that stands where it says that the records end.
fn find_footer(bytes: &mut Bytes, start: u64, end: u64, salt: Salt) -> Option<u64> {
    let mut at = start.saturating_add(RECORDS_START);
    while at < end {
        let len = end.saturating_sub(at).min(WINDOW_LEN as u64) as usize;
        let window = bytes.at(at, len).to_vec();
        let behind = window.len().saturating_sub(FOOTER_LEN as usize - 8);
        for skip in (0..behind).step_by(8) {
            let candidate = window.get(skip..).and_then(|bytes| bytes.get(..FOOTER_LEN as usize));
            let footer = candidate.filter(|bytes| bytes.starts_with(b"ZCFOOTER"));
            let offset = at.saturating_add(skip as u64).saturating_sub(start);
            if footer.and_then(|bytes| Footer::decode(bytes, salt)).is_some_and(|footer| footer.end == offset) {
                return Some(offset.saturating_add(FOOTER_LEN));
            }
        }
        at = at.saturating_add((behind as u64).next_multiple_of(8).max(8));
    }
    None
}
