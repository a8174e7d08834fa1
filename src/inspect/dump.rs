//! What lies where in a directory that nobody has open, record by record.
//!
//! Floor 7. Imports `address`, `error`, `format`, `inspect`, `limits`, `store`.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::path::Path;

use crate::address::Seqno;
use crate::error::Result;
use crate::format::catalogue::CatalogueRecord;
use crate::format::names::{self, SegmentsEntry};
use crate::format::record::Kind;
use crate::format::segment::SegmentKind;
use crate::inspect::survey::{Part, Survey, open_file};
use crate::inspect::walk::{Found, Piece, Walk};
use crate::limits::{DEFAULT_KEYSPACE, FOOTER_LEN, HEADER_COPY, HORIZON_SLOT, RECORDS_START, SECTOR};
use crate::store::DEFAULT_NAME;
use crate::store::verify::Problem;

/// A range of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Item {
    /// The file; in brackets behind it which part of an archive, whose own offsets these are.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// What lies there.
    pub what: What,
}

/// What lies in a range of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum What {
    /// Something around the records, intact as far as it was looked at, in words.
    Part(String),
    /// A record whose header and key are intact.
    Record(Record),
    /// Something else than what was written; why.
    Damaged(String),
    /// Nothing that counts.
    Free,
}

/// A record.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Record {
    /// What it does: "put", "put large", "delete", "keyspace create", "keyspace drop", "keyspace clear", "cursor", "pad".
    pub kind: &'static str,
    /// Number of its keyspace; 0 is that of the store itself.
    pub keyspace: u16,
    /// What that is called, or was before it was dropped, if an archive tells, or the record that made it is intact.
    pub keyspace_name: Option<String>,
    /// Its number in the log.
    pub seqno: Seqno,
    /// Its key; empty if its kind has none.
    pub key: Vec<u8>,
    /// Bytes of its value: of a large one, those of its file.
    pub value_len: u64,
    /// The file of a large value.
    pub large: Option<String>,
    /// Whether the next record is of the same batch.
    pub more_follows: bool,
    /// What is wrong with its value. That of a large one is not looked at.
    pub damage: Option<String>,
}

/// What lies in a store, from file to file and from record to record: segments in the order of their age, those of archives among them,
/// then the files around them. Made by [`dump`](crate::inspect::dump()).
pub struct Dump {
    survey: Survey,
    ready: VecDeque<Item>,
    /// The segment that comes next, and the one that is walked.
    next: usize,
    walk: Option<(usize, Walk)>,
    /// Of keyspaces, as far as they are known up to there.
    names: HashMap<u16, String>,
}

/// Shows what lies where in `dir`, whether or not the store in it opens. Nothing is written, and damage ends nothing: it is shown as such, and
/// what is behind it is shown, too.
///
/// Nobody must have the store open: what is written meanwhile is shown in part.
///
/// # Errors
/// `NotFound` if there is nothing in `dir`; `Invalid` if something else lives there; as the system says if it cannot be listed.
pub fn dump(dir: impl AsRef<Path>) -> Result<Dump> {
    let mut survey = Survey::take(dir.as_ref())?;
    let mut ready = VecDeque::new();
    top(&mut survey, &mut ready);
    let manifests = survey.archives.iter().filter_map(|archive| archive.contents.as_ref());
    let mut names: HashMap<_, _> = manifests.flat_map(|contents| contents.manifest.keyspaces.iter().cloned()).collect();
    names.insert(DEFAULT_KEYSPACE, DEFAULT_NAME.to_owned());
    Ok(Dump { survey, ready, next: 0, walk: None, names })
}

/// The files without records.
fn top(survey: &mut Survey, ready: &mut VecDeque<Item>) {
    let mut files = vec![(names::IDENTITY.to_owned(), "identity of the store".to_owned())];
    for archive in &survey.archives {
        let what = match &archive.contents {
            Some(contents) => format!(
                "archive of {} entries, seqnos {} to {}",
                contents.manifest.entries.len(),
                contents.manifest.first_seqno,
                contents.manifest.last_seqno
            ),
            None => {
                "archive that is damaged around its entries: what is left of its segments is searched for".to_owned()
            }
        };
        files.push((names::archive(archive.id), what));
    }
    let folders = [
        (names::HINTS, "hint"),
        (names::CHECKPOINT, "index, written down"),
        (names::LARGE, "large value"),
        (names::TORN, "what was cut off a torn tail"),
        (names::SPARE, "spare"),
        (names::SEGMENTS, "no segment"),
    ];
    for (folder, what) in folders {
        let others = survey.list(folder).into_iter().filter(|name| {
            folder != names::SEGMENTS || !matches!(names::parse_segments_entry(name), SegmentsEntry::Segment(_))
        });
        files.extend(others.map(|name| (format!("{folder}/{name}"), what.to_owned())));
    }
    for (name, what) in files {
        let file = survey.path(&name);
        let (len, what) = match open_file(&*survey.disk, &name) {
            Ok((_, len)) => (len, What::Part(what)),
            Err(why) => (0, What::Damaged(why)),
        };
        ready.push_back(Item { file, offset: 0, len, what });
    }
    let paths: Vec<_> = survey.parts.iter().map(|part| part.path.as_str()).collect();
    for Problem { file, offset, what } in
        survey.problems.iter().filter(|problem| !paths.contains(&problem.file.as_str()))
    {
        ready.push_back(Item { file: file.clone(), offset: *offset, len: 0, what: What::Damaged(what.clone()) });
    }
}

impl Dump {
    /// What is before the records of a segment.
    fn begin(&mut self, at: usize) {
        let Some(part) = self.survey.parts.get(at) else { return };
        let header = &part.header;
        let kind = if header.kind == SegmentKind::Log { "log" } else { "packed" };
        let superseded = part.superseded.map_or(String::new(), |by| format!(", replaced by archive {by}"));
        let says = format!(
            "header: {kind} segment {}, from seqno {}, {} bytes{superseded}",
            header.id, header.first_seqno, header.len
        );
        let slot = || match part.slots {
            Some(offset) => format!("horizon: all before {offset} was durable, or less"),
            None => "horizon, never written".to_owned(),
        };
        let sectors = [
            (0, says),
            (HORIZON_SLOT, slot()),
            (HORIZON_SLOT + SECTOR as u64, slot()),
            (HEADER_COPY, "second copy of the header".to_owned()),
        ];
        for (offset, says) in sectors {
            let problem =
                self.survey.problems.iter().find(|problem| problem.file == part.path && problem.offset == offset);
            let what = problem.map_or(What::Part(says), |problem| What::Damaged(problem.what.clone()));
            self.ready.push_back(Item { file: part.path.clone(), offset, len: SECTOR as u64, what });
        }
        self.walk = Some((at, part.walk()));
    }

    /// What is behind them.
    fn end(&mut self, at: usize, walk: &mut Walk) {
        let Some(part) = self.survey.parts.get(at) else { return };
        for (offset, why) in walk.take_unread() {
            let what = What::Damaged(format!("it cannot be read: {why}"));
            self.ready.push_back(Item { file: part.path.clone(), offset, len: 0, what });
        }
        let at = part.len.saturating_sub(FOOTER_LEN).max(RECORDS_START);
        if let Some(footer) = &part.footer {
            if let Some(len) = at.checked_sub(footer.end).filter(|len| *len > 0) {
                self.ready.push_back(Item { file: part.path.clone(), offset: footer.end, len, what: What::Free });
            }
            let says = format!(
                "footer: {} records up to seqno {} and offset {}",
                footer.record_count, footer.last_seqno, footer.end
            );
            self.ready.push_back(Item { file: part.path.clone(), offset: at, len: FOOTER_LEN, what: What::Part(says) });
        }
    }

    fn step(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(item);
            }
            if let Some((at, mut walk)) = self.walk.take() {
                let Some(part) = self.survey.parts.get(at) else { continue };
                match walk.step() {
                    Some(piece) => {
                        pieces(part, piece, &mut self.names, &mut self.ready);
                        self.walk = Some((at, walk));
                    }
                    None => self.end(at, &mut walk),
                }
            } else if self.next < self.survey.parts.len() {
                self.next += 1;
                self.begin(self.next - 1);
            } else {
                return None;
            }
        }
    }
}

/// Shows a piece of a segment.
fn pieces(part: &Part, piece: Piece, names: &mut HashMap<u16, String>, ready: &mut VecDeque<Item>) {
    let file = || part.path.clone();
    match piece {
        Piece::Record(found) => {
            if found.flaw.is_none()
                && let Ok(CatalogueRecord::Create(create)) = CatalogueRecord::decode(&found.header, &found.payload)
            {
                names.insert(create.id, create.name.to_owned());
            }
            let (offset, len) = (found.offset, found.header.record_len());
            let name = names.get(&found.header.keyspace).filter(|_| found.header.kind != Kind::Cursor).cloned();
            ready.push_back(Item { file: file(), offset, len, what: What::Record(Record::of(found, name)) });
        }
        Piece::Lost(lost) => {
            // Behind what was written there is room for more.
            let at_end = lost.offset.saturating_add(lost.len) >= part.limit() && part.footer.is_none();
            let (damaged, free) =
                if at_end { (lost.written, lost.len.saturating_sub(lost.written)) } else { (lost.len, 0) };
            if damaged > 0 {
                let what = What::Damaged(format!("no record: {}", lost.flaw));
                ready.push_back(Item { file: file(), offset: lost.offset, len: damaged, what });
            }
            if free > 0 {
                let offset = lost.offset.saturating_add(damaged);
                ready.push_back(Item { file: file(), offset, len: free, what: What::Free });
            }
        }
    }
}

impl Record {
    fn of(found: Found, keyspace_name: Option<String>) -> Record {
        let header = found.header;
        let value = header.value();
        Record {
            kind: match header.kind {
                Kind::Put => "put",
                Kind::PutLarge => "put large",
                Kind::Delete => "delete",
                Kind::KeyspaceCreate => "keyspace create",
                Kind::KeyspaceDrop => "keyspace drop",
                Kind::KeyspaceClear => "keyspace clear",
                Kind::Cursor => "cursor",
                Kind::Pad => "pad",
            },
            keyspace: header.keyspace,
            keyspace_name,
            seqno: header.seqno,
            key: found.key,
            value_len: found.large.map_or(value.end.saturating_sub(value.start), |large| large.len),
            large: found.large.map(|large| names::large(large.id)),
            more_follows: header.more_follows,
            damage: found.flaw.map(|flaw| flaw.to_string()),
        }
    }
}

impl Iterator for Dump {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        self.step()
    }
}

impl fmt::Debug for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dump").field("path", &self.survey.disk.path()).finish_non_exhaustive()
    }
}
