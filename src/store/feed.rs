//! The log as a feed: its batches, whole and in their order.
//!
//! Floor 3. Imports `address`, `error`, `format`, `limits`, `reclaim`, `segment`, `store`, `sync`.

use std::time::Duration;

use crate::address::Seqno;
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::Kind;
use crate::format::segment::SegmentKind;
use crate::limits::RECORDS_START;
use crate::reclaim::hold::Hold;
use crate::segment::value::Value;
use crate::segment::{Segment, State};
use crate::store::news::Deadline;
use crate::store::{Store, pass};
use crate::sync::Arc;

/// Where a reader of the log is.
pub(crate) struct Feed {
    store: Arc<Store>,
    /// Of which log (F5).
    era: u64,
    /// The first seqno that was not shown yet.
    next: Seqno,
    /// Behind the last record that was read. The segment stays, whatever becomes of its file.
    at: Option<(Hold<Segment>, u64)>,
}

/// Writes that were committed together.
pub(crate) struct Committed {
    /// Of the last.
    pub(crate) seqno: Seqno,
    pub(crate) writes: Vec<Write>,
}

pub(crate) struct Write {
    /// Of the keyspace.
    pub(crate) keyspace: String,
    pub(crate) key: Value,
    /// `None` deletes the key.
    pub(crate) value: Option<Value>,
}

impl Feed {
    /// The first seqno from which on all of the log is left; that of the next write, if a job has rewritten the last one.
    ///
    /// # Errors
    /// As `next`.
    pub(crate) fn oldest(store: &Store) -> Result<Seqno> {
        let (mut oldest, mut is_last) = (store.watermark().visible().next(), true);
        for segment in log_of(store).iter().rev() {
            let is_written = is_last && segment.state() == State::Unsealed;
            if !is_written && last_of(segment)?.next() < oldest {
                break;
            }
            (oldest, is_last) = (segment.first_seqno(), false);
        }
        Ok(oldest)
    }

    /// From the batch on that `from` is in.
    ///
    /// # Errors
    /// `Invalid`, naming the first seqno that is left, if the log is kept from a later one on, or the last, if it has not come so far.
    pub(crate) fn new(store: &Arc<Store>, from: Seqno) -> Result<Feed> {
        let era = store.era();
        let (next, last) = (from.max(Seqno::from(1)), store.watermark().visible());
        if next > last.next() {
            let text = format!("the log cannot be followed from {next} on: the last write is {last}");
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let mut feed = Feed { store: Arc::clone(store), era, next, at: None };
        if next <= last {
            feed.at = Some(feed.find()?);
        }
        Ok(feed)
    }

    /// The next batch; `None` if it was not written yet.
    ///
    /// # Errors
    /// `Invalid` as `new`, and if a follower has begun anew since; `Corruption` if a record is damaged, or a large value is not there any more; `Io`.
    pub(crate) fn next(&mut self) -> Result<Option<Committed>> {
        let next = self.read_next();
        // Whatever was found may be of the other log.
        if self.is_of_another_log() {
            let text = "the log that was followed is no more: the writer failed and lost its last writes, and went on without them; take a snapshot, and go on behind it";
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        next
    }

    fn is_of_another_log(&self) -> bool {
        self.store.era() != self.era
    }

    fn read_next(&mut self) -> Result<Option<Committed>> {
        while self.next <= self.store.watermark().visible() {
            let (segment, mut end) = match self.at.take() {
                Some((segment, offset)) if offset < segment.tail().published() => (segment, offset),
                _ => self.find()?,
            };
            let mut places = Vec::new();
            let seqno = loop {
                let header = segment.record(end)?;
                if matches!(header.kind, Kind::Put | Kind::PutLarge | Kind::Delete) {
                    places.push((end, header.kind, header.keyspace, header.seqno));
                }
                end += header.record_len();
                if !header.more_follows {
                    break header.seqno;
                }
            };
            let writes = places.into_iter().map(|place| self.write(&segment, place));
            let writes = writes.collect::<Result<Vec<_>>>()?;
            self.next = seqno.next();
            self.at = Some((segment, end));
            if !writes.is_empty() {
                return Ok(Some(Committed { seqno, writes }));
            }
        }
        Ok(None)
    }

    /// The next batch, waiting for it at most so long; `None` if there was none, or there will be no more. What comes meanwhile and is no batch makes
    /// the wait no longer.
    ///
    /// # Errors
    /// As `next`.
    pub(crate) fn next_within(&mut self, at_most: Option<Duration>) -> Result<Option<Committed>> {
        if let Some(next) = self.next()? {
            return Ok(Some(next));
        }
        let store = Arc::clone(&self.store);
        let until = at_most.and_then(|time| Deadline::after(store.disk().clock(), time));
        while !until.is_some_and(Deadline::is_over) && self.wait(until) {
            if let Some(next) = self.next()? {
                return Ok(Some(next));
            }
        }
        Ok(None)
    }

    /// Waits until more of the log can be read, and says whether it can.
    fn wait(&self, until: Option<Deadline<'_>>) -> bool {
        let there = || self.store.watermark().visible() >= self.next || self.is_of_another_log();
        there() || self.store.news().wait(&self.store.versions().moments, until, there)
    }

    fn write(&self, segment: &Hold<Segment>, place: (u64, Kind, u16, Seqno)) -> Result<Write> {
        let (offset, kind, keyspace, seqno) = place;
        let align = self.store.spaces().align_of(keyspace);
        let keyspace = self.store.spaces().name_of(keyspace, seqno);
        // What has expired is as good as deleted.
        if kind != Kind::Delete && !segment.has_expired(offset, self.store.now_ms()) {
            let (key, value) = pass::pair(segment, offset, self.store.large())?;
            return Ok(Write { keyspace, key, value: Some(value.aligned_to(align)) });
        }
        Ok(Write { keyspace, key: Value::copied(&segment.key(offset)?), value: None })
    }

    /// Where the next batch begins, which is visible.
    fn find(&self) -> Result<(Hold<Segment>, u64)> {
        let log = log_of(&self.store);
        let behind = log.partition_point(|segment| segment.first_seqno() <= self.next);
        if let Some(segment) = behind.checked_sub(1).map(|last| &log[last])
            && let Some(offset) = self.find_in(segment)?
        {
            return Ok((segment.clone(), offset));
        }
        let after_all = self.store.watermark().visible().next();
        let first = log.get(behind).map_or(after_all, |segment| segment.first_seqno());
        let text = format!(
            "the log is not kept from {} on any more: the first write that is left is {first}; take a snapshot, and go on behind it",
            self.next
        );
        Err(Error::new(ErrorKind::Invalid, text))
    }

    /// Where the next batch begins in this segment, if it is there. At once, but where a reader starts in the middle.
    fn find_in(&self, segment: &Segment) -> Result<Option<u64>> {
        let (mut batch, mut offset) = (RECORDS_START, RECORDS_START);
        while offset < segment.tail().published() {
            let header = segment.record(offset)?;
            if header.seqno >= self.next {
                return Ok(Some(batch));
            }
            offset += header.record_len();
            if !header.more_follows {
                batch = offset;
            }
        }
        Ok(None)
    }
}

/// The segments that are as they were written, and have records, in the order of the log.
fn log_of(store: &Store) -> Vec<Hold<Segment>> {
    let mut log = store.segments();
    log.retain(|segment| segment.kind() == SegmentKind::Log && segment.used_bytes() > 0);
    log.sort_by_key(|segment| segment.first_seqno());
    log
}

/// The last seqno of a segment that has records.
fn last_of(segment: &Segment) -> Result<Seqno> {
    if let Ok(footer) = segment.footer() {
        return Ok(footer.last_seqno);
    }
    let (mut offset, mut last) = (RECORDS_START, Seqno::default());
    while offset < segment.tail().published() {
        let header = segment.record(offset)?;
        (offset, last) = (offset + header.record_len(), header.seqno);
    }
    Ok(last)
}
