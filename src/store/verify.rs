//! Reading everything and checking every checksum.
//!
//! Floor 3. Imports `error`, `format`, `limits`, `platform`, `reclaim`, `segment`, `store`.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};
use crate::format::identity::Identity;
use crate::format::names;
use crate::format::record::Flaw;
use crate::format::segment::{Footer, Horizon, SegmentHeader};
use crate::limits::{FOOTER_LEN, HEADER_COPY, HORIZON_SLOT, SECTOR};
use crate::platform::Access;
use crate::reclaim::hold::Hold;
use crate::reclaim::pin::Pin;
use crate::segment::scan::{Scan, Scanned, Step, Values};
use crate::segment::source::Source;
use crate::segment::{Segment, State};
use crate::store::archived::Archive;
use crate::store::{Phase, Progress, Store, failed};

/// What `verify` found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Files read.
    pub files: u64,
    /// Records checked, headers, keys and values.
    pub records: u64,
    /// Bytes of these records, and of the large values that they name.
    pub bytes: u64,
    problems: Vec<Problem>,
}

/// One place where the bytes are not what was written.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Problem {
    /// The file.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
}

impl VerifyReport {
    /// Whether everything is as it was written, but for the files of large values that no key has any more.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// What is not.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Notes damage, and hands on any other error.
    pub(crate) fn note<T>(&mut self, read: Result<T>, file: &str, offset: u64) -> Result<Option<T>> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error) => match error.damage() {
                Some((file, offset, what)) => {
                    self.add(file, offset, what);
                    Ok(None)
                }
                None if matches!(error.kind(), ErrorKind::FormatVersion | ErrorKind::Invalid) => {
                    self.add(file, offset, error.to_string());
                    Ok(None)
                }
                // The machine's trouble says nothing of the bytes.
                None => Err(error),
            },
        }
    }

    /// Puts the problems in the order of files and offsets, each once.
    pub(crate) fn sort(&mut self) {
        self.problems.sort_by(|a, b| (&a.file, a.offset).cmp(&(&b.file, b.offset)));
        self.problems.dedup();
    }

    pub(crate) fn add(&mut self, file: &str, offset: u64, what: impl Into<String>) {
        self.problems.push(Problem { file: file.to_string(), offset, what: what.into() });
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is damaged at offset {}: {}", self.file, self.offset, self.what)
    }
}

impl Store {
    /// Checks the identity and every segment, by positioned reads.
    ///
    /// # Errors
    /// `Io` if a file cannot be read.
    pub(crate) fn verify(&self) -> Result<VerifyReport> {
        let mut report = VerifyReport::default();
        self.verify_identity(&mut report)?;
        let segments = self.segments();
        let total = segments.iter().map(|segment| segment.used_bytes()).sum::<u64>() + self.large().bytes();
        for archive in self.archives().all() {
            let (disk, identity) = (&**self.disk(), self.identity());
            let path = disk.path().join(&archive.name).display().to_string();
            // One that a job has replaced since is gone, and no damage.
            let opened = Archive::open(disk, &archive.name, archive.id, identity);
            let wrong = opened.and_then(|opened| opened.wrong_entries());
            let gone = wrong.as_ref().is_err_and(|error| error.is_missing() && self.is_behind());
            if self.archives().has(archive.id) && !gone {
                for (at, what) in report.note(wrong, &path, 0)?.unwrap_or_default() {
                    report.add(&path, at, what);
                }
            }
        }
        for segment in &segments {
            self.verify_where_it_is(segment.clone(), &mut report)?;
            if let Some(tell) = &self.settings().on_progress {
                tell(Progress { phase: Phase::Verify, done: report.bytes, total });
            }
        }
        Ok(report)
    }

    /// Checks a segment, or what a job has put in its place meanwhile. Of an archive that has no name yet, or none any more, nothing rests on
    /// its being read.
    fn verify_where_it_is(&self, mut segment: Hold<Segment>, report: &mut VerifyReport) -> Result<()> {
        let counts = |segment: &Segment| segment.archive().is_none_or(|archive| self.archives().has(archive));
        loop {
            let counted = counts(&segment);
            let Err(error) = self.verify_segment(&segment, report) else { return Ok(()) };
            // Nobody else gets the place while it is held.
            match self.segments().into_iter().find(|there| there.place() == segment.place()) {
                // It was packed as it is.
                Some(there) if there.number() != segment.number() => segment = there,
                Some(there) if !counts(&there) => return Ok(()),
                // It has got its name meanwhile.
                Some(_) if !counted => {}
                // The process that writes has compacted it.
                Some(_) if error.is_missing() && self.is_behind() => return Ok(()),
                Some(_) => return report.note(Err::<(), _>(error), segment.path(), 0).map(drop),
                None => return Ok(()),
            }
        }
    }

    fn verify_identity(&self, report: &mut VerifyReport) -> Result<()> {
        let disk = &**self.disk();
        let path = disk.path().join(names::IDENTITY).display().to_string();
        let mut bytes = vec![0; Identity::LEN];
        let file = disk.open(names::IDENTITY, Access::Read).map_err(failed(disk, "open", names::IDENTITY))?;
        let read =
            Source::Cache.read_exact(&*file, &path, &mut bytes, 0).and_then(|()| Identity::decode(&bytes, &path));
        report.files += 1;
        if let Some((_, Some(offset))) = report.note(read, &path, 0)? {
            report.add(&path, offset, "one of the two copies is damaged");
        }
        Ok(())
    }

    fn verify_segment(&self, segment: &Segment, report: &mut VerifyReport) -> Result<()> {
        let (file, path) = (segment.file()?, segment.path());
        report.files += 1;
        let file = &*file;
        let mut first: Option<SegmentHeader> = None;
        for at in [0, HEADER_COPY] {
            let mut sector = [0; SECTOR];
            Source::Cache.read_exact(file, path, &mut sector, at)?;
            match report.note(SegmentHeader::decode(&sector, path, at), path, at)? {
                Some(header) if first.as_ref().is_none_or(|first| *first == header) => first = Some(header),
                Some(_) => report.add(path, at, "the two copies of the header differ"),
                None => {}
            }
        }
        // The tail first: a segment that is sealed between the two reads is whole below it all the same.
        let end = segment.tail().published();
        let unsealed = segment.state() == State::Unsealed;
        for at in [HORIZON_SLOT, HORIZON_SLOT + SECTOR as u64] {
            let mut sector = [0; SECTOR];
            Source::Cache.read_exact(file, path, &mut sector, at)?;
            // Zeros were never written: a crash during the seal may leave the footer without its slots.
            let written = sector.iter().any(|byte| *byte != 0);
            if written && Horizon::decode(&sector, segment.salt()).is_none() {
                report.add(path, at, "a horizon slot is damaged");
            }
        }
        let mut bytes = [0; FOOTER_LEN as usize];
        Source::Cache.read_exact(file, path, &mut bytes, segment.len() - FOOTER_LEN)?;
        let footer = Footer::decode(&bytes, segment.salt());
        let crc = self.verify_records(segment, end, report)?;
        match footer {
            None if unsealed && bytes.iter().all(|byte| *byte == 0) => {}
            None if unsealed => {
                let what = "the footer of the newest segment is damaged; the next open for writing writes it anew";
                report.add(path, segment.len() - FOOTER_LEN, what);
            }
            None => {
                report.add(path, segment.len() - FOOTER_LEN, "the footer of a sealed segment is missing or damaged")
            }
            Some(footer) if footer.end == end && crc.is_some_and(|crc| crc != footer.crc) => {
                let what = "the checksum over all records does not match, though each record does";
                report.add(path, segment.len() - FOOTER_LEN, what);
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Checks every record below `end`, and the large values that they name; returns the checksum over all of them if each was intact.
    fn verify_records(&self, segment: &Segment, end: u64, report: &mut VerifyReport) -> Result<Option<u32>> {
        let (file, path) = (segment.file()?, segment.path());
        let mut scan = Scan::new(&*file, path, segment.salt(), end, Source::Cache, Values::Check);
        let mut intact = true;
        while scan.offset() < end {
            match scan.step()? {
                Step::Record(record) => {
                    report.records += 1;
                    report.bytes += record.header.record_len();
                    if let Some(flaw) = &record.value {
                        intact = false;
                        report.add(path, record.offset, text(flaw));
                    }
                    if let Some(large) = record.large {
                        report.files += 1;
                        report.bytes += large.len;
                        let read = self.large().verify(&large).or_else(|error| match error.is_missing() {
                            true if self.is_behind() => Ok(()),
                            true => Err(Error::corruption(path, record.offset, error)),
                            false => Err(error),
                        });
                        // What nobody can ask for any more is not missed: else a loss could never be made good.
                        if read.is_ok() || self.is_newest(segment, &record) {
                            report.note(read, path, record.offset)?;
                        }
                    }
                }
                Step::Stop(flaw) => {
                    report.add(path, scan.offset(), text(&flaw));
                    return Ok(None);
                }
            }
        }
        Ok(intact.then(|| scan.crc()))
    }

    /// Whether a key has the value of this record; it has, while in doubt.
    fn is_newest(&self, segment: &Segment, record: &Scanned<'_>) -> bool {
        let Some(space) = self.spaces().get(record.header.keyspace) else { return false };
        match self.find(&space, self.hash(record.key()), record.key(), &Pin::new()) {
            Ok(at) => at.is_some_and(|at| at.is_at(segment, record.offset)),
            Err(_) => true,
        }
    }
}

fn text(flaw: &Flaw) -> String {
    match flaw {
        Flaw::NeverWritten => "a record is expected, zeros are there".to_string(),
        Flaw::Damaged(what) => what.clone(),
    }
}
