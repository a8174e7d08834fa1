//! Saving what is left: a new store of every record whose checksums hold.
//!
//! Floor 7. Imports `address`, `commit`, `db`, `error`, `format`, `inspect`, `limits`, `store`.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::Write as _;
use std::path::Path;

use crate::address::{ArchiveId, SegmentId, Seqno};
use crate::commit::durability::Durability;
use crate::db::Db;
use crate::db::keyspace::Keyspace;
use crate::db::keyspaces::KeyspaceOptions;
use crate::db::options::Options;
use crate::error::{Error, ErrorKind, Result};
use crate::format::catalogue::{CatalogueRecord, KeyspaceCreate};
use crate::format::checksum;
use crate::format::identity::HashKind;
use crate::format::large::LargeValue;
use crate::format::names;
use crate::format::record::{Header, Kind};
use crate::format::segment::SegmentKind;
use crate::inspect::bytes::{Bytes, WINDOW_LEN};
use crate::inspect::survey::{self, Home, Part, Survey};
use crate::inspect::walk::{Found, Intact, Lost, Piece, Walk};
use crate::limits::DEFAULT_KEYSPACE;
use crate::store::DEFAULT_NAME;
use crate::store::space::SpaceOptions;

/// What [`salvage`](crate::inspect::salvage()) found, wrote and left behind.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct SalvageReport {
    /// Files, and segments in archives, that were read.
    pub files: u64,
    /// Records found whose header, key and value are intact: superseded ones and deletes, too.
    pub records: u64,
    /// Keys in the new store: those whose time has come, too.
    pub keys: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Where records may have been, and none can be read any more.
    pub lost: Vec<LostRange>,
    /// Keys whose newest record is known to be damaged: they have an older value now, or none.
    pub damaged: Vec<DamagedKey>,
    /// Batches of which damage took a part: the intact records of these are in the new store, or were superseded.
    pub cut_batches: u64,
    /// Records at the end of the log whose batch was never finished, and which nobody was told were durable. They are left out.
    pub unfinished: u64,
}

/// A range without an intact record, where there should be some.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LostRange {
    /// The file; in brackets behind it which part of an archive.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// Bytes. 0 of a file that is missing.
    pub len: u64,
    /// What is wrong there.
    pub what: String,
}

/// A key whose newest record is damaged.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct DamagedKey {
    /// Number of its keyspace; 0 is that of the store itself.
    pub keyspace: u16,
    /// The key.
    pub key: Vec<u8>,
    /// The write that was lost.
    pub lost: Seqno,
    /// The older write whose value it has in the new store; `None` if it has none.
    pub taken: Option<Seqno>,
}

impl SalvageReport {
    /// Whether each key has the value that was committed last, as far as anybody can tell.
    pub fn is_complete(&self) -> bool {
        self.lost.is_empty() && self.damaged.is_empty() && self.cut_batches == 0
    }
}

impl fmt::Display for LostRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} bytes from offset {} on are lost: {}", self.file, self.len, self.offset, self.what)
    }
}

/// Writes a new store into `out`, of every record in `dir` whose checksums hold: of each key the newest, deletes applied.
///
/// `dir` is only read, and need not be a store that opens. Records are found behind damage, too: what one says of its own length is no
/// longer needed. So are those of archives whose directory is damaged, unless they are compressed. What took the place of older files is
/// preferred to these; they are read where it is damaged. A key whose newest record is damaged gets its older value, if that is still in
/// a file; where the damaged record was a delete, the key comes back. The report tells what was lost.
///
/// Keyspaces are made with the options that they had, also those without keys; one that has lost its name, or to another, is called "lost-" and its
/// number. Keys that expire do so when they would have; those whose time has come are saved, too, since this machine's clock may be wrong. Cursors of
/// the feed are not: the new store has a log of its own, and nothing in it is where they stand.
///
/// Nobody must have `dir` open. It takes as much memory as all keys, and some 100 bytes for each.
///
/// # Errors
/// `NotFound` if there is nothing in `dir`; `Invalid` if something else lives there, or `out` is not empty, or lies within `dir`; and
/// whatever may go wrong while the new store is written: remove what there is of it then.
pub fn salvage(dir: impl AsRef<Path>, out: impl AsRef<Path>) -> Result<SalvageReport> {
    let (dir, out) = (dir.as_ref(), out.as_ref());
    let survey = Survey::take(dir)?;
    check_out(&survey, out)?;
    let mut found = Gathered::default();
    found.gather(&survey);
    found.forget_dropped();
    let untrusted = survey.identity.as_ref().is_some_and(|identity| identity.hash_kind == HashKind::Sip);
    let mut options = Options::new().durability(Durability::Os).background(false).untrusted_keys(untrusted);
    if let Some(made) = found.names.get(&DEFAULT_KEYSPACE) {
        options = options.default_keyspace(KeyspaceOptions::of(&made.options));
    }
    let db = options.open(out)?;
    found.write(&survey, &db)?;
    db.close()?;
    Ok(found.report)
}

/// Whether a store can be made in `out` without touching what is to be saved.
fn check_out(survey: &Survey, out: &Path) -> Result<()> {
    let refuse = |what: &str| Err(Error::new(ErrorKind::Invalid, format!("{} {what}", out.display())));
    if let Ok(disk) = survey::open(out) {
        let names = disk.list("").map_err(|error| Error::io(format!("cannot list {}", out.display()), error))?;
        if !names.is_empty() {
            return refuse("is not empty; choose another directory for what is saved");
        }
    }
    // What is above it is there, or above that.
    let above = out.ancestors().map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path });
    let inside = above.filter_map(|path| survey::open(path).ok()).next();
    match inside.is_some_and(|there| there.path().starts_with(survey.disk.path())) {
        true => refuse("lies within what is to be saved; choose another directory"),
        false => Ok(()),
    }
}

/// A key of a keyspace.
type Key = (u16, Vec<u8>);

/// What is known of a keyspace.
#[derive(Default)]
struct Made {
    seqno: Seqno,
    name: String,
    options: SpaceOptions,
}

/// The newest intact record of a key.
#[derive(Clone, Copy)]
struct Newest {
    seqno: Seqno,
    /// Which segment of the survey, and where in it.
    part: usize,
    offset: u64,
    does: Does,
}

#[derive(Clone, Copy)]
enum Does {
    Put,
    PutLarge(LargeValue),
    Delete,
}

/// All that was found.
#[derive(Default)]
struct Gathered {
    newest: HashMap<Key, Newest>,
    /// The newest damaged record of each key that has one.
    damaged: HashMap<Key, Seqno>,
    /// Up to where a keyspace was dropped or cleared, or made anew: records of before are another's, or nobody's (K1).
    emptied: HashMap<u16, Seqno>,
    /// Up to where it was dropped.
    dropped: HashMap<u16, Seqno>,
    /// The newest making of each.
    names: HashMap<u16, Made>,
    /// Large values that were looked at, and whether they are whole.
    whole: HashMap<[u8; 16], bool>,
    report: SalvageReport,
}

impl Gathered {
    fn gather(&mut self, survey: &Survey) {
        self.report.files = survey.files;
        for (path, len) in &survey.headless {
            let what = "neither header of the segment is left, or the file cannot be read";
            self.lose(path, 0, *len, what.to_owned());
        }
        self.miss(survey);
        let (superseded, current): (Vec<_>, Vec<_>) =
            survey.parts.iter().enumerate().partition(|(_, part)| part.superseded.is_some());
        // Archives whose segments are not whole.
        let mut broken: Vec<ArchiveId> = Vec::new();
        for (at, part) in current {
            let whole = self.read(survey, at, part);
            match part.home {
                Home::Entry(id) | Home::Carved(id) if !whole => broken.push(id),
                _ => {}
            }
        }
        // So are those that cannot say what is in them, or have segments without a header.
        let headless = |path: &str| survey.headless.iter().any(|(lost, _)| lost.starts_with(path));
        let unsure = survey.archives.iter().filter(|archive| archive.contents.is_none() || headless(&archive.path));
        broken.extend(unsure.map(|archive| archive.id));
        for (at, part) in superseded {
            if part.superseded.is_some_and(|by| broken.contains(&by)) {
                self.read(survey, at, part);
            }
        }
    }

    /// Segments of the log that are nowhere.
    fn miss(&mut self, survey: &Survey) {
        if survey.archives.iter().any(|archive| archive.contents.is_none()) {
            // It may be what has them, and cannot say so any more.
            return;
        }
        let has = |id: u64| {
            let part = survey.parts.iter().any(|part| part.header.kind == SegmentKind::Log && part.header.id.0 == id);
            part || survey.archives.iter().any(|archive| archive.covers(SegmentId(id)))
        };
        let logs = survey.parts.iter().filter(|part| part.header.kind == SegmentKind::Log).map(|part| part.header.id.0);
        let (mut next, mut ids) = (1, logs.collect::<Vec<_>>());
        ids.sort_unstable();
        for id in ids {
            if id > next && !has(next) {
                let path = survey.path(&names::segment(SegmentId(next)));
                let what = match id.saturating_sub(next) {
                    1 => "the segment is missing".to_owned(),
                    count => format!("up to {count} segments from here on are missing"),
                };
                self.lose(&path, 0, 0, what);
            }
            next = next.max(id.saturating_add(1));
        }
    }

    fn lose(&mut self, file: &str, offset: u64, len: u64, what: String) {
        self.report.lost.push(LostRange { file: file.to_string(), offset, len, what });
    }

    /// Takes the records of a segment; whether all of it is there.
    fn read(&mut self, survey: &Survey, at: usize, part: &Part) -> bool {
        let mut walk = part.walk();
        let first = u64::from(part.header.first_seqno);
        let (vouched, last) = (part.slots.unwrap_or(0), first.saturating_sub(1));
        let mut reading = Reading { vouched, last, ..Reading::default() };
        let before = (self.report.lost.len(), self.damaged.len());
        while let Some(piece) = walk.step() {
            match piece {
                Piece::Record(record) => reading.record(record, part, self, survey, at),
                Piece::Lost(lost) => reading.lost.push((lost, std::mem::take(&mut reading.open))),
            }
        }
        reading.finish(part, self, survey, at, walk.offset());
        for (offset, why) in walk.take_unread() {
            self.lose(&part.path, offset, 0, format!("cannot be read: {why}"));
        }
        before == (self.report.lost.len(), self.damaged.len())
    }

    /// Takes one intact record.
    fn take(&mut self, survey: &Survey, part: usize, record: Found) {
        let Found { offset, header, key, flaw, large, payload, .. } = record;
        let (seqno, keyspace) = (header.seqno, header.keyspace);
        let damaged = flaw.is_some() || large.is_some_and(|large| !self.is_whole(survey, &large));
        let at = (keyspace, key);
        if damaged {
            if matches!(header.kind, Kind::Put | Kind::PutLarge) {
                let newest = self.damaged.entry(at).or_insert(seqno);
                *newest = seqno.max(*newest);
            } else {
                let path = survey.parts.get(part).map_or("", |part| &part.path).to_owned();
                self.lose(&path, offset, header.record_len(), format!("a {:?} is damaged", header.kind));
            }
            return;
        }
        self.report.records += 1;
        let does = match (header.kind, large) {
            (Kind::Put, _) => Does::Put,
            (Kind::PutLarge, Some(large)) => Does::PutLarge(large),
            (Kind::Delete, _) => Does::Delete,
            _ => return self.take_catalogue(&header, &payload),
        };
        let newest = Newest { seqno, part, offset, does };
        let known = self.newest.entry(at).or_insert(newest);
        if known.seqno < seqno {
            *known = newest;
        }
    }

    /// The same of one that says something of a keyspace.
    fn take_catalogue(&mut self, header: &Header, payload: &[u8]) {
        let (seqno, keyspace) = (header.seqno, header.keyspace);
        match CatalogueRecord::decode(header, payload) {
            Ok(CatalogueRecord::Create(create)) => {
                let known = self.names.entry(keyspace).or_default();
                if seqno >= known.seqno {
                    let KeyspaceCreate { name, ordered, value_align, default_ttl_ms, .. } = create;
                    // None was ever made with a time of nothing.
                    let default_ttl_ms = default_ttl_ms.filter(|ttl| *ttl > 0);
                    let options = SpaceOptions { ordered, value_align, default_ttl_ms };
                    *known = Made { seqno, name: name.to_owned(), options };
                }
            }
            Ok(CatalogueRecord::Drop(_)) => raise(&mut self.dropped, keyspace, seqno),
            Ok(CatalogueRecord::Clear(_)) => {}
            Ok(CatalogueRecord::Cursor { .. }) | Err(_) => return,
        }
        raise(&mut self.emptied, keyspace, seqno);
    }

    /// Whether the file of a large value is what its record says.
    fn is_whole(&mut self, survey: &Survey, large: &LargeValue) -> bool {
        *self.whole.entry(large.id.0).or_insert_with(|| check_large(survey, large).is_ok())
    }

    /// A keyspace that is gone has no name any more, and its number none but that of the next one.
    fn forget_dropped(&mut self) {
        let dropped = &self.dropped;
        self.names.retain(|keyspace, made| dropped.get(keyspace).is_none_or(|until| *until < made.seqno));
    }

    /// Fills the new store.
    fn write(&mut self, survey: &Survey, db: &Db) -> Result<()> {
        let emptied = std::mem::take(&mut self.emptied);
        let is_gone = |keyspace: u16, seqno: Seqno| emptied.get(&keyspace).is_some_and(|until| seqno <= *until);
        for ((keyspace, key), lost) in std::mem::take(&mut self.damaged) {
            let newest = self.newest.get(&(keyspace, key.clone()));
            if newest.is_some_and(|newest| newest.seqno >= lost) || is_gone(keyspace, lost) {
                continue;
            }
            let older =
                newest.filter(|newest| !matches!(newest.does, Does::Delete) && !is_gone(keyspace, newest.seqno));
            let taken = older.map(|newest| newest.seqno);
            self.report.damaged.push(DamagedKey { keyspace, key, lost, taken });
        }
        self.report.damaged.sort_by_key(|damaged| damaged.lost);
        let mut targets = Targets::new(db, &self.names)?;
        let newest = std::mem::take(&mut self.newest);
        let kept = newest.into_iter().filter(|((keyspace, _), newest)| !is_gone(*keyspace, newest.seqno));
        let mut kept: Vec<_> = kept.filter(|(_, newest)| !matches!(newest.does, Does::Delete)).collect();
        // In the order in which it was written, so that files are read forwards.
        kept.sort_unstable_by_key(|(_, newest)| newest.seqno);
        let mut walk: Option<(usize, Walk)> = None;
        for ((keyspace, key), newest) in kept {
            let target = targets.get(keyspace)?;
            if walk.as_ref().is_none_or(|(part, _)| *part != newest.part) {
                walk = survey.parts.get(newest.part).map(|part| (newest.part, part.walk()));
            }
            let record = walk.as_mut().and_then(|(_, walk)| walk.intact_at(newest.offset));
            let written = match (record.filter(|record| record.key == key), newest.does) {
                (None, _) => None,
                (Some(record), Does::PutLarge(large)) => copy_large(survey, target, &record, &large)?,
                (Some(record), _) => {
                    target.put_until(&key, &record.value, record.expiry)?;
                    Some(record.value.len() as u64)
                }
            };
            match written {
                Some(len) => {
                    self.report.keys += 1;
                    self.report.bytes += len;
                }
                // It was intact a moment ago.
                None => self.report.damaged.push(DamagedKey { keyspace, key, lost: newest.seqno, taken: None }),
            }
        }
        Ok(())
    }
}

/// Notes the newest.
fn raise(known: &mut HashMap<u16, Seqno>, keyspace: u16, seqno: Seqno) {
    let newest = known.entry(keyspace).or_insert(seqno);
    *newest = seqno.max(*newest);
}

/// Where the records of each keyspace go in the new store.
struct Targets<'a> {
    db: &'a Db,
    keyspaces: HashMap<u16, Keyspace>,
    taken: HashSet<String>,
}

impl<'a> Targets<'a> {
    /// Makes those of which it is known how they were made.
    fn new(db: &'a Db, names: &HashMap<u16, Made>) -> Result<Targets<'a>> {
        let default = db.keyspace(DEFAULT_NAME)?;
        let (keyspaces, taken) =
            (HashMap::from([(DEFAULT_KEYSPACE, default)]), HashSet::from([DEFAULT_NAME.to_owned()]));
        let mut targets = Targets { db, keyspaces, taken };
        let mut names: Vec<_> = names.iter().filter(|(keyspace, _)| **keyspace != DEFAULT_KEYSPACE).collect();
        // Where two have the same name, what dropped the older one is lost.
        names.sort_unstable_by_key(|(_, made)| Reverse(made.seqno));
        for (keyspace, made) in names {
            targets.make(*keyspace, &made.name, KeyspaceOptions::of(&made.options))?;
        }
        Ok(targets)
    }

    fn get(&mut self, keyspace: u16) -> Result<&Keyspace> {
        if !self.keyspaces.contains_key(&keyspace) {
            self.make(keyspace, "", KeyspaceOptions::new())?;
        }
        Ok(&self.keyspaces[&keyspace])
    }

    /// Makes one under this name, or under its number if there is none, or it is another's.
    fn make(&mut self, keyspace: u16, name: &str, options: KeyspaceOptions) -> Result<()> {
        let mut name = name.to_owned();
        if name.is_empty() || self.taken.contains(&name) {
            name = format!("lost-{keyspace}");
        }
        while self.taken.contains(&name) {
            name.push('-');
        }
        let made = self.db.keyspace_with(&name, options)?;
        self.keyspaces.insert(keyspace, made);
        self.taken.insert(name);
        Ok(())
    }
}

/// Puts a large value, if it is still intact; its length.
fn copy_large(survey: &Survey, to: &Keyspace, record: &Intact, large: &LargeValue) -> Result<Option<u64>> {
    let mut writer = to.put_writer_until(&record.key, large.len, record.expiry)?;
    let mut failed = None;
    let whole = read_large(survey, large, |piece| {
        failed = writer.write_all(piece).err();
        failed.is_none()
    });
    if let Some(error) = failed {
        return Err(Error::io("cannot write a large value", error));
    }
    if whole.is_err() {
        return Ok(None);
    }
    writer.finish()?;
    Ok(Some(large.len))
}

/// Whether the file of a large value is there, whole.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check_large(survey: &Survey, large: &LargeValue) -> Result<(), String> {
    read_large(survey, large, |_| true)
}

/// Shows `each` the file of a large value piece by piece, until it says no.
fn read_large(survey: &Survey, large: &LargeValue, mut each: impl FnMut(&[u8]) -> bool) -> Result<(), String> {
    let (file, len) = survey::open_file(&*survey.disk, &names::large(large.id))?;
    if len != large.len {
        return Err(format!("the file has {len} bytes, its record says {}", large.len));
    }
    let mut bytes = Bytes::new(&file, len);
    let (mut at, mut crc) = (0, 0);
    while at < len {
        let piece = bytes.at(at, WINDOW_LEN);
        if piece.is_empty() || !each(piece) {
            return Err("the file cannot be read to its end".to_owned());
        }
        crc = checksum::extend(crc, piece);
        at = at.saturating_add(piece.len() as u64);
    }
    match crc == large.crc {
        true => Ok(()),
        false => Err(format!("the crc of the value is {:#010x}, its bytes have {crc:#010x}", large.crc)),
    }
}

/// What is known of a segment while it is read.
#[derive(Default)]
struct Reading {
    /// Records of a batch that has not ended.
    open: Vec<Found>,
    /// Below here all was durable once.
    vouched: u64,
    /// Ranges without records, and the batch that was open before each.
    lost: Vec<(Lost, Vec<Found>)>,
    /// The last seqno seen.
    last: u64,
}

impl Reading {
    fn record(&mut self, record: Found, part: &Part, all: &mut Gathered, survey: &Survey, at: usize) {
        self.vouched = self.vouched.max(record.horizon.unwrap_or(0));
        self.last = self.last.max(record.seqno().into());
        self.settle(part, all, survey, at);
        let more = record.header.more_follows;
        self.open.push(record);
        if !more {
            let batch = std::mem::take(&mut self.open);
            batch.into_iter().for_each(|record| all.take(survey, at, record));
        }
    }

    /// Records that follow damage show that it is no torn end.
    fn settle(&mut self, part: &Part, all: &mut Gathered, survey: &Survey, at: usize) {
        for (lost, batch) in std::mem::take(&mut self.lost) {
            all.report.cut_batches += u64::from(!batch.is_empty());
            batch.into_iter().for_each(|record| all.take(survey, at, record));
            all.lose(&part.path, lost.offset, lost.len, lost.flaw.to_string());
        }
    }

    /// The end of the segment, at `end`: what is open now is torn, or damaged.
    fn finish(mut self, part: &Part, all: &mut Gathered, survey: &Survey, at: usize, end: u64) {
        let open = std::mem::take(&mut self.open);
        let (lost, batch) = self.lost.pop().map_or((None, open), |(lost, batch)| (Some(lost), batch));
        let stop = lost.as_ref().map_or(end, |lost| lost.offset);
        let start = batch.first().map_or(stop, |first| first.offset);
        let said = match (&part.footer, part.next_seqno) {
            (Some(footer), _) => Some(footer.last_seqno.into()),
            (None, Some(next)) => Some(u64::from(next).saturating_sub(1)),
            (None, None) => None,
        };
        // In an archive each segment has a footer. Below that there is nothing but records.
        let cut = lost.is_some() && part.footer.is_some();
        let missing = cut || said.map_or(part.home != Home::Alone || start < self.vouched, |said| self.last < said);
        if said.is_none() && !missing {
            // Nobody was told that it was durable.
            all.report.unfinished += batch.len() as u64;
            return;
        }
        all.report.cut_batches += u64::from(!batch.is_empty());
        batch.into_iter().for_each(|record| all.take(survey, at, record));
        let (len, what) = match &lost {
            Some(lost) => (lost.written, lost.flaw.to_string()),
            None => (0, "the file ends here".to_owned()),
        };
        match said {
            _ if !missing => {}
            Some(said) if self.last < said => all.lose(
                &part.path,
                stop,
                len,
                format!("{what}; the records after {} up to {said} are gone", self.last),
            ),
            _ => all.lose(&part.path, stop, len, what),
        }
    }
}
