//! Every checksum of every file of a directory that nobody has open, whether or not the store in it opens.
//!
//! Floor 7. Imports `address`, `error`, `format`, `inspect`, `limits`, `platform`, `store`, `sync`.

use std::collections::HashMap;
use std::path::Path;

use crate::address::{SegmentId, Seqno};
use crate::error::Result;
use crate::format::checkpoint::{Header as IndexHeader, Lists, UNITS_START};
use crate::format::checksum;
use crate::format::hint::Hint;
use crate::format::names::{self, HintsEntry};
use crate::format::record::{Flaw, Kind};
use crate::format::segment::{Footer, SegmentKind};
use crate::inspect::bytes::{Bytes, WINDOW_LEN};
use crate::inspect::salvage::check_large;
use crate::inspect::survey::{Home, Part, Survey, open_file};
use crate::inspect::walk::{Found, Piece};
use crate::limits::{FOOTER_LEN, INDEX_UNIT_LEN, SECTOR};
use crate::platform::File;
use crate::store::verify::{Problem, VerifyReport};
use crate::sync::Arc;

const RESTORE: &str = "restore the file from a backup, or save what is left with salvage";
/// Longest lists of a written index that are looked at: those of a billion keys.
const LISTS_LEN_MAX: u64 = 1 << 30;

/// Reads every file of the store in `dir`, and checks every checksum, whether or not the store opens: the identity, the segments with both
/// copies of their headers, every record, archives with all their entries, hints, the written index, and large values. Nothing is written.
///
/// What is wrong is in the report, each place with what to do about it. What a crash leaves at the end of the log is no problem, and neither are
/// large values that no key has any more.
///
/// Nobody must have the store open: [`Db::verify`](crate::Db::verify) is for one that is.
///
/// # Errors
/// `NotFound` if there is nothing in `dir`; `Invalid` if something else lives there; as the system says if it cannot be listed.
pub fn verify(dir: impl AsRef<Path>) -> Result<VerifyReport> {
    let mut survey = Survey::take(dir.as_ref())?;
    let mut check =
        Check { survey: &survey, report: VerifyReport::default(), missed: HashMap::new(), ends: HashMap::new() };
    for at in 0..check.survey.parts.len() {
        check.part(at);
    }
    check.archives();
    check.chain();
    check.hints();
    check.index();
    let Check { mut report, missed, .. } = check;
    report.files += survey.files;
    for problem in survey.problems.drain(..).chain(missed.into_values().flat_map(|(_, problems)| problems)) {
        report.add(&problem.file, problem.offset, problem.what);
    }
    report.sort();
    Ok(report)
}

struct Check<'a> {
    survey: &'a Survey,
    report: VerifyReport,
    /// Large values that are damaged, by the key that names them, and the seqno of that record: no problem once the key has another value.
    missed: HashMap<(u16, Vec<u8>), (Seqno, Vec<Problem>)>,
    /// The last seqno of each segment of the log in a file of its own.
    ends: HashMap<SegmentId, u64>,
}

/// What was found wrong, that may be the torn end of the log.
struct Doubt {
    /// It is damage if all before here was durable.
    until: u64,
    offset: u64,
    what: String,
}

impl Check<'_> {
    fn part(&mut self, at: usize) {
        let survey = self.survey;
        let Some(part) = survey.parts.get(at) else { return };
        if part.superseded.is_some() {
            // It is in nobody's way, and goes at the next open.
            return;
        }
        let mut walk = part.walk();
        let (mut vouched, mut doubts) = (part.slots.unwrap_or(0), Vec::new());
        let first = u64::from(part.header.first_seqno);
        let (mut last, mut count, mut whole, mut batch_end) = (first.saturating_sub(1), 0_u64, true, walk.offset());
        while let Some(piece) = walk.step() {
            match piece {
                Piece::Record(record) => {
                    vouched = vouched.max(record.horizon.unwrap_or(0));
                    let seqno = u64::from(record.seqno());
                    if part.header.kind == SegmentKind::Log && seqno != last.saturating_add(1) && whole {
                        let what =
                            format!("record {seqno} where record {} is expected; {RESTORE}", last.saturating_add(1));
                        doubts.push(Doubt { until: batch_end.saturating_add(1), offset: record.offset, what });
                    }
                    (last, count) = (last.max(seqno), count + 1);
                    if let Some(flaw) = &record.flaw {
                        whole = false;
                        let what = format!(
                            "{flaw}; its key is lost, and no other: write it again, or restore the file from a backup"
                        );
                        doubts.push(Doubt { until: record.end(), offset: record.offset, what });
                    }
                    if !record.header.more_follows {
                        batch_end = record.end();
                    }
                    self.record(part, &record);
                }
                Piece::Lost(lost) => {
                    whole = false;
                    let zeros = matches!(lost.flaw, Flaw::NeverWritten);
                    let flaw =
                        if zeros { "a record is expected, zeros are there".to_owned() } else { lost.flaw.to_string() };
                    let what = format!("{flaw}; {} bytes up to the next record are lost; {RESTORE}", lost.len);
                    doubts.push(Doubt { until: batch_end.saturating_add(1), offset: lost.offset, what });
                }
            }
        }
        let crc = whole.then(|| walk.crc());
        let unread: Vec<_> = walk.take_unread();
        for (offset, why) in unread {
            self.report.add(
                &part.path,
                offset,
                format!("it cannot be read: {why}; copy what can be to another device"),
            );
        }
        self.ends.insert(part.header.id, last);
        self.end(part, &doubts, vouched, batch_end.max(walk.offset()), (last, count, crc));
    }

    /// Holds what was found of a segment against what says where it ends.
    fn end(
        &mut self,
        part: &Part,
        doubts: &[Doubt],
        vouched: u64,
        stop: u64,
        (last, count, crc): (u64, u64, Option<u32>),
    ) {
        let path = &part.path;
        let newest = part.home == Home::Alone && part.next_seqno.is_none();
        let full = part.next_seqno.is_some_and(|next| last.checked_add(1) == Some(next.into()));
        for doubt in doubts {
            // What is filled up with zeros ends before them, if nothing is missing.
            let filled = part.footer.is_none() && full && doubt.offset >= stop;
            let torn = newest && part.footer.is_none() && vouched < doubt.until;
            if !torn && !filled {
                self.report.add(path, doubt.offset, doubt.what.clone());
            }
        }
        if newest && part.footer.is_none() && vouched > stop && doubts.is_empty() {
            self.report.add(
                path,
                stop,
                format!("everything before offset {vouched} was durable, and the file ends; {RESTORE}"),
            );
        }
        let at = part.header.len.min(part.len).saturating_sub(FOOTER_LEN);
        match &part.footer {
            Some(footer) => self.footer(part, footer, (last, count, crc)),
            None if newest => {
                let written =
                    Bytes::new(&part.file, part.len).array::<{ FOOTER_LEN as usize }>(at).iter().any(|byte| *byte != 0);
                if written && part.len == part.header.len {
                    self.report.add(
                        path,
                        at,
                        "the footer of the newest segment is damaged; the next open for writing writes it anew",
                    );
                }
            }
            None => {
                self.report.add(path, at, format!("the footer of a sealed segment is missing or damaged; {RESTORE}"))
            }
        }
    }

    fn footer(&mut self, part: &Part, footer: &Footer, (last, count, crc): (u64, u64, Option<u32>)) {
        let at = part.len.saturating_sub(FOOTER_LEN);
        let before = u64::from(part.header.first_seqno).saturating_sub(1);
        let span = u64::from(footer.last_seqno).checked_sub(before);
        let fits = match part.header.kind {
            SegmentKind::Log => span == Some(footer.record_count),
            SegmentKind::Packed => span.is_some_and(|span| footer.record_count <= span),
        };
        let placed = part.home == Home::Alone || footer.end == at;
        if !fits || !placed {
            let (end, count, last) = (footer.end, footer.record_count, footer.last_seqno);
            let what =
                format!("the footer says {count} records up to {last} and offset {end}, which cannot be; {RESTORE}");
            self.report.add(&part.path, at, what);
        } else if let Some(crc) = crc {
            // Where something was lost that is said already.
            let ends = last == u64::from(footer.last_seqno) || count == 0;
            if count != footer.record_count || !ends {
                let said = (footer.record_count, footer.last_seqno);
                let what =
                    format!("{count} records end with {last}, the footer says {} and {}; {RESTORE}", said.0, said.1);
                self.report.add(&part.path, at, what);
            } else if crc != footer.crc {
                self.report.add(
                    &part.path,
                    at,
                    "the checksum over all records does not match, though each record does",
                );
            }
        }
    }

    fn record(&mut self, part: &Part, record: &Found) {
        self.report.records += 1;
        self.report.bytes += record.header.record_len();
        let at = (record.header.keyspace, record.key.clone());
        if matches!(record.header.kind, Kind::Put | Kind::PutLarge | Kind::Delete)
            && self.missed.get(&at).is_some_and(|(seqno, _)| *seqno < record.seqno())
        {
            // Nobody can ask for the older one any more.
            self.missed.remove(&at);
        }
        let Some(large) = &record.large else { return };
        self.report.files += 1;
        self.report.bytes += large.len;
        if let Err(what) = check_large(self.survey, large) {
            let file = self.survey.path(&names::large(large.id));
            let what = format!("{what}; the record at offset {} of {} names it: {RESTORE}", record.offset, part.path);
            self.missed.insert(at, (record.seqno(), vec![Problem { file, offset: 0, what }]));
        }
    }

    /// The bytes of archives, all of them, and the hints in them.
    fn archives(&mut self) {
        for archive in &self.survey.archives {
            let Some(contents) = archive.contents.as_ref().filter(|_| !self.survey.is_replaced(archive.id)) else {
                continue;
            };
            match contents.verify(&*archive.file, &archive.path) {
                Ok(wrong) => {
                    for (offset, what) in wrong {
                        self.report.add(&archive.path, offset, format!("{what}; {RESTORE}"));
                    }
                }
                Err(error) => match error.damage() {
                    Some((file, offset, what)) => self.report.add(file, offset, what),
                    None => self.report.add(&archive.path, 0, format!("it cannot be read: {error}")),
                },
            }
            if contents.manifest.covers.len() != 1 {
                self.report.add(&archive.path, 0, "it covers segments that are no neighbours");
            }
            for entry in
                contents.manifest.entries.iter().filter(|entry| names::parse_segment_entry(&entry.name).is_none())
            {
                let (file, path) = archive.entry(contents, entry);
                self.hint(&file, &path, entry.len, None, "restore the archive from a backup");
            }
        }
    }

    /// Whether all segments are there, and each begins where the one before ended.
    fn chain(&mut self) {
        let survey = self.survey;
        let mut links: Vec<(SegmentId, SegmentId, u64, Option<u64>, &str)> = Vec::new();
        for archive in &survey.archives {
            let Some(contents) = archive.contents.as_ref().filter(|_| !survey.is_replaced(archive.id)) else {
                continue;
            };
            let manifest = &contents.manifest;
            for ids in &manifest.covers {
                let seqnos = (manifest.first_seqno.into(), Some(manifest.last_seqno.into()));
                links.push((*ids.start(), *ids.end(), seqnos.0, seqnos.1, &archive.path));
            }
        }
        for part in survey.parts.iter().filter(|part| part.home == Home::Alone && part.superseded.is_none()) {
            let last = part.footer.as_ref().map(|footer| footer.last_seqno.into());
            let last = last.or_else(|| self.ends.get(&part.header.id).copied());
            links.push((part.header.id, part.header.id, part.header.first_seqno.into(), last, &part.path));
        }
        links.sort_unstable();
        let (mut next, mut seqno) = (SegmentId::FIRST, Some(0_u64));
        for (first, last, first_seqno, last_seqno, path) in links {
            if first > next {
                let missing = survey.path(&names::segment(next));
                if !survey.headless.iter().any(|(path, _)| *path == missing) {
                    let what = format!("the file is missing, though {first} is there; restore it from a backup");
                    self.report.add(&missing, 0, what);
                }
                seqno = None;
            } else if first < next {
                let what = format!("it has segment {first}, which another file has, too; remove one of them");
                self.report.add(path, 0, what);
            }
            if let Some(before) = seqno.filter(|before| before.checked_add(1) != Some(first_seqno)) {
                let what =
                    format!("the first record is {first_seqno}, {} is expected; {RESTORE}", before.saturating_add(1));
                self.report.add(path, 0, what);
            }
            let Some(behind) = last.next() else {
                self.report.add(path, 0, "no id is left after this one");
                return;
            };
            (next, seqno) = (behind, last_seqno);
        }
    }

    /// The hints of segments in files of their own.
    fn hints(&mut self) {
        const REMOVE: &str = "remove the file: it is made again when it is needed";
        let listed = self.survey.disk.list(names::HINTS).unwrap_or_default();
        for name in listed {
            let HintsEntry::Hint(id) = names::parse_hints_entry(&name) else { continue };
            let Some(part) = self.survey.parts.iter().find(|part| part.home == Home::Alone && part.header.id == id)
            else {
                continue;
            };
            let (name, path) = (names::hint(id), self.survey.path(&names::hint(id)));
            self.report.files += 1;
            match open_file(&*self.survey.disk, &name) {
                Ok((file, len)) => self.hint(&file, &path, len, Some(part), REMOVE),
                Err(what) => self.report.add(&path, 0, format!("{what}; {REMOVE}")),
            }
        }
    }

    fn hint(&mut self, file: &Arc<dyn File>, path: &str, len: u64, of: Option<&Part>, mend: &str) {
        let most = of.map_or(len, |part| part.header.len);
        let Some(bytes) = read_all(file, len.min(most)).filter(|_| len <= most) else {
            return self.report.add(path, 0, format!("{len} bytes are too many for a hint, or cannot be read; {mend}"));
        };
        let checked = Hint::open(&bytes).and_then(|hint| {
            let header = *hint.header();
            hint.records().try_for_each(|record| record.map(drop)).map(|()| header)
        });
        match checked {
            Err(flaw) => self.report.add(path, 0, format!("{flaw}; {mend}")),
            Ok(header) => {
                let fits = of.is_none_or(|part| {
                    let segment = &part.header;
                    (header.database, header.id, header.epoch) == (segment.database, segment.id, segment.epoch)
                });
                if !fits {
                    self.report.add(path, 0, format!("it is the hint of another segment; {mend}"));
                }
            }
        }
    }

    /// The written index.
    fn index(&mut self) {
        const REMOVE: &str = "remove the file: the next open reads the log instead";
        let path = self.survey.path(names::IMAGE);
        let (file, len) = match open_file(&*self.survey.disk, names::IMAGE) {
            Ok(opened) => opened,
            Err(_) if !self.has_index() => return,
            Err(what) => return self.report.add(&path, 0, format!("{what}; {REMOVE}")),
        };
        self.report.files += 1;
        let mut bytes = Bytes::new(&file, len);
        let header = match IndexHeader::decode(&bytes.array::<SECTOR>(0)) {
            Ok(header) => header,
            Err(flaw) => return self.report.add(&path, 0, format!("{flaw}; {REMOVE}")),
        };
        let (units, lists) = (header.units(), header.lists());
        let lists_len = lists.end.saturating_sub(lists.start);
        if len != lists.end || lists_len > LISTS_LEN_MAX {
            return self.report.add(
                &path,
                len.min(lists.end),
                format!("it has {len} bytes, its header says {}; {REMOVE}", lists.end),
            );
        }
        let mut encoded = Vec::new();
        while (encoded.len() as u64) < lists_len {
            let at = lists.start.saturating_add(encoded.len() as u64);
            let wanted = lists_len.saturating_sub(encoded.len() as u64).min(WINDOW_LEN as u64);
            encoded.extend_from_slice(bytes.at(at, wanted as usize));
        }
        let lists = match Lists::decode(&header, &encoded) {
            Ok(lists) => lists,
            Err(flaw) => return self.report.add(&path, lists.start, format!("{flaw}; {REMOVE}")),
        };
        let mut at = UNITS_START;
        for unit in &lists.units {
            let crc = checksum::crc(bytes.at(at, INDEX_UNIT_LEN as usize));
            if crc != unit.crc {
                let what = format!("a unit has crc {crc:#010x}, {:#010x} is expected; {REMOVE}", unit.crc);
                self.report.add(&path, at, what);
            }
            at = at.saturating_add(INDEX_UNIT_LEN);
        }
        debug_assert!(at == units.end || lists.units.is_empty());
    }

    fn has_index(&self) -> bool {
        let name = names::IMAGE.rsplit('/').next();
        self.survey
            .disk
            .list(names::CHECKPOINT)
            .is_ok_and(|names| names.iter().any(|other| Some(other.trim_end_matches('/')) == name))
    }
}

/// All of a file, if there is memory for it.
fn read_all(file: &Arc<dyn File>, len: u64) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    all.try_reserve_exact(usize::try_from(len).ok()?).ok()?;
    let mut bytes = Bytes::new(file, len);
    while (all.len() as u64) < len {
        let piece = bytes.at(all.len() as u64, WINDOW_LEN);
        if piece.is_empty() {
            return None;
        }
        all.extend_from_slice(piece);
    }
    Some(all)
}
