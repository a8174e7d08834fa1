//! The puts of a segment in the order of their keys, for scans: made for each keyspace when somebody first asks, kept with the segment.
//!
//! Floor 2. Imports `error`, `limits`, `segment`, `sync`.
//!
//! Nothing is noted when a record is written. Who scans walks what was written since the last scan, sorts that, and has it merged into
//! parts whose lengths at least double, so that each record is merged a few times at most however scans and writes alternate.
//! Nothing of a part changes: who has got a run looks at it without a lock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::error::{Error, ErrorKind, Result};
use crate::limits::RECORDS_START;
use crate::segment::Segment;
use crate::segment::part::{Found, Part};
use crate::segment::scan::{Scan, Step, Values};
use crate::segment::source::Source;
use crate::sync::Arc;
use crate::sync::plain::{Mutex, PoisonError};

/// The puts of one keyspace in a segment, up to where the segment ended when this was made, or behind.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) parts: Vec<Arc<Part>>,
    /// Puts of all keyspaces; `None` if a walk could not count them.
    pub(crate) puts: Option<u64>,
    /// Records that the index points at, and whose keys cannot be read.
    pub(crate) damaged: Vec<Error>,
    end: u64,
    /// The records behind cannot be found by a walk.
    broken: bool,
}

impl Run {
    fn new() -> Run {
        Run { parts: Vec::new(), puts: Some(0), damaged: Vec::new(), end: RECORDS_START, broken: false }
    }
}

/// The runs of one segment.
#[derive(Default)]
pub(crate) struct Orders(Mutex<Known>);

#[derive(Default)]
struct Known {
    runs: BTreeMap<u16, Run>,
    /// The keyspaces of the puts below `walked`, and how many these are.
    keyspaces: BTreeSet<u16>,
    puts: u64,
    walked: u64,
    /// Whether the puts of a keyspace lie in the order of their keys, of a sealed segment.
    sorted: BTreeMap<u16, bool>,
}

impl fmt::Debug for Orders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Orders").finish_non_exhaustive()
    }
}

impl Known {
    /// The next record of a walk: whose put it is, if it is one, and where it ends.
    fn note(&mut self, put: Option<u16>, end: u64) {
        if end > self.walked {
            self.walked = end;
            if let Some(keyspace) = put {
                self.puts += 1;
                self.keyspaces.insert(keyspace);
            }
        }
    }
}

impl Segment {
    /// The run of a keyspace: of all that is published now, at least.
    ///
    /// Where the chain of the records is broken, the places of those behind that are live are asked for, in order, from an offset on.
    ///
    /// # Errors
    /// `Io`, `ResourceLimit` where the segment is read by position. Damage is in the run.
    pub(crate) fn run(&self, keyspace: u16, live_from: impl FnOnce(u64) -> Vec<u64>) -> Result<Run> {
        let mut known = self.orders.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tail = self.tail.published();
        let mut run = known.runs.get(&keyspace).cloned().unwrap_or_else(Run::new);
        if run.end >= tail {
            return Ok(run);
        }
        if run.end < known.walked && !known.keyspaces.contains(&keyspace) {
            run.end = known.walked;
        }
        let mut found = Found::new(self);
        if !run.broken {
            run.broken = !self.walk(keyspace, &mut run.end, tail, &mut found, &mut known)?;
        }
        self.add(keyspace, &mut run, found)?;
        if run.broken {
            self.add_live(&mut run, live_from)?;
            run.puts = None;
            run.end = tail;
        } else {
            run.puts = Some(known.puts).filter(|_| known.walked == tail);
        }
        if !run.parts.is_empty() || run.broken {
            known.runs.insert(keyspace, run.clone());
        }
        Ok(run)
    }

    /// Whether the puts of a keyspace lie in the order of their keys in this segment, which is sealed. Without looking further where it is not
    /// mapped, or damaged: yes.
    pub(crate) fn is_sorted(&self, keyspace: u16) -> bool {
        let mut known = self.orders.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sorted = known.sorted.get(&keyspace).copied().unwrap_or_else(|| self.find_sorted(keyspace));
        known.sorted.insert(keyspace, sorted);
        sorted
    }

    fn find_sorted(&self, keyspace: u16) -> bool {
        let (mut at, mut before) = (RECORDS_START, None);
        while self.is_mapped() && at < self.tail.published() {
            let Ok((found, len)) = self.step_in_place(at) else { return true };
            if found == Some(keyspace) {
                let Some(key) = self.key_in_place(at) else { return true };
                if before.is_some_and(|before| before >= key) {
                    return false;
                }
                before = Some(key);
            }
            at += len;
        }
        true
    }

    /// Takes the puts of a keyspace from `at` up to `tail`; whether it got there.
    fn walk(&self, keyspace: u16, at: &mut u64, tail: u64, found: &mut Found, known: &mut Known) -> Result<bool> {
        if self.is_mapped() {
            while *at < tail {
                let header = match self.record(*at) {
                    Ok(header) if *at + header.record_len() <= tail => header,
                    Err(error) if error.kind() != ErrorKind::Corruption => return Err(error),
                    _ => return Ok(false),
                };
                let end = *at + header.record_len();
                let put = header.kind.is_put().then_some(header.keyspace);
                known.note(put, end);
                match put == Some(keyspace) {
                    true => found.take(self, *at, &self.key_of_put(*at)?, end),
                    false => found.pass(),
                }
                *at = end;
            }
            return Ok(true);
        }
        let file = self.file()?;
        let scan = Scan::new(&*file, self.path(), self.salt(), tail, Source::Cache, Values::Skip);
        let mut scan = scan.from(*at);
        while scan.offset() < tail {
            let record = match scan.step() {
                Ok(Step::Record(record)) => record,
                Ok(Step::Stop(_)) => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Corruption => return Ok(false),
                Err(error) => return Err(error),
            };
            let end = record.offset + record.header.record_len();
            let put = record.header.kind.is_put().then_some(record.header.keyspace);
            known.note(put, end);
            match put == Some(keyspace) {
                true => found.take(self, record.offset, record.key(), end),
                false => found.pass(),
            }
            *at = end;
        }
        Ok(true)
    }

    /// Makes a part of what was found, and of those before it that are not twice as long.
    fn add(&self, keyspace: u16, run: &mut Run, found: Found) -> Result<()> {
        if found.units.is_empty() {
            return Ok(());
        }
        let mut part = found.into_part(self);
        while let Some(before) = run.parts.last()
            && before.len() / 2 < part.len()
        {
            part = Part::merge(self, keyspace, before, &part)?;
            run.parts.pop();
        }
        run.parts.push(Arc::new(part));
        Ok(())
    }

    /// The records behind the last that a walk found: where the index says.
    fn add_live(&self, run: &mut Run, live_from: impl FnOnce(u64) -> Vec<u64>) -> Result<()> {
        let offsets = live_from(run.end);
        let mut found = Found::new(self);
        // A walk from one to the next would not get there.
        found.others = u64::MAX;
        for offset in offsets {
            match self.key(offset) {
                Ok(key) => found.take(self, offset, &key, offset),
                Err(error) if error.kind() == ErrorKind::Corruption => run.damaged.push(error),
                Err(error) => return Err(error),
            }
        }
        if !found.units.is_empty() {
            run.parts.push(Arc::new(found.into_part(self)));
        }
        Ok(())
    }
}
