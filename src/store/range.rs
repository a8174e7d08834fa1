//! Keys and values of a moment in the order of the keys.
//!
//! Floor 3. Imports `address`, `error`, `index`, `reclaim`, `sabotage`, `segment`, `store`, `sync`.
//!
//! The segments have the keys in order, also those of records that were replaced. What a key is at the moment, the index says, and what
//! was kept for moments. Of a segment that the index points at every record of there is nothing to ask: what was written since
//! is none of the moment, so its records are still what they were.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::{Bound, ControlFlow};

use crate::address::{Location, Seqno};
use crate::error::{Error, Result};
use crate::index::table::Table;
use crate::reclaim::hold::Hold;
use crate::reclaim::pin::Pin;
use crate::sabotage::{Sabotage, planted};
use crate::segment::Segment;
use crate::segment::large::LargeFolder;
use crate::segment::part::Part;
use crate::segment::value::Value;
use crate::segment::words::STEPS;
use crate::store::merge::{Keys, Lane, Merge, Same, Side, Taken};
use crate::store::space::Space;
use crate::store::versions::Was;
use crate::store::{Store, pass};
use crate::sync::Arc;

/// Keys that are looked up together, so that their cache misses overlap.
const BATCH: usize = 32;
/// The first batch, so that who wants a few keys does not pay for many.
const BATCH_FIRST: usize = 4;

/// Records that are asked for before they are looked at: as many as a core waits for at a time. At first fewer, for who wants few.
const REACH: usize = 12;
const REACH_FIRST: usize = 2;

/// Keys within bounds, below and above.
pub(crate) type Bounds = [Bound<Vec<u8>>; 2];

/// All keys.
pub(crate) const ALL: Bounds = [Bound::Unbounded, Bound::Unbounded];

/// All keys of a moment within bounds, from both ends.
pub(crate) struct RangePass {
    merge: Merge,
    space: Arc<Space>,
    moment: Seqno,
    /// What had expired by then is not shown; in milliseconds since 1970.
    time_ms: u64,
    /// Where a damaged key kept a lane from finding its bounds: what it has beyond them is passed over.
    strays: Option<Box<Bounds>>,
    /// What is to be shown next, by side, each in the order in which that side goes.
    ready: [VecDeque<Result<Ready>>; 2],
    /// How many keys the next batch has.
    batch: usize,
    keys: Keys,
    /// What is next on each side behind what is ready, of records that are what their keys are.
    ahead: [VecDeque<Taken>; 2],
    /// How many of these there may be.
    reach: usize,
    large: Arc<LargeFolder>,
}

/// A record that is shown in its turn.
pub(crate) enum Ready {
    At(Taken),
    Was(Was),
}

/// A key whose record is known, or looked for.
struct Asked {
    newest: Taken,
    /// With its hash; `None` if that is the one.
    key: Option<(u64, Vec<u8>)>,
}

/// A part of a segment, before it is a lane.
struct FoundPart<'a> {
    segment: &'a Hold<Segment>,
    part: Arc<Part>,
    is_live: bool,
}

impl FoundPart<'_> {
    /// Makes a lane of what lies within bounds; whether a damaged key made that all of it.
    fn add_lane(&self, space: &Space, bounds: &Bounds, lanes: &mut Vec<Lane>, failed: &mut Vec<Error>) -> Result<bool> {
        let (found, is_astray) = match Lane::of(self.segment, &self.part, space.id(), bounds) {
            Err(error) if error.damage().is_some() => {
                failed.push(error);
                (Lane::of(self.segment, &self.part, space.id(), &ALL), true)
            }
            found => (found, false),
        };
        let mut lane = found?;
        lane.is_live = self.is_live;
        lanes.push(lane);
        Ok(is_astray)
    }
}

/// Asks for what the seeks of all parts look at, so that they wait for memory together.
fn prefetch_seeks(parts: &[FoundPart<'_>], bounds: &Bounds) {
    for step in 0..STEPS {
        for bound in bounds {
            if let Bound::Included(key) | Bound::Excluded(key) = bound {
                parts.iter().for_each(|found| found.part.prefetch_seek(key, step));
            }
        }
    }
}

impl Store {
    /// All keys within bounds, at a moment that is open. `changes` is what `Archives::changes` said before it was opened, of one that was
    /// opened for this.
    ///
    /// # Errors
    /// `Io`, `ResourceLimit` where segments are read by position.
    pub(crate) fn range_at(
        &self,
        space: &Arc<Space>,
        bounds: &Bounds,
        (moment, time_ms): (Seqno, u64),
        changes: Option<u64>,
    ) -> Result<RangePass> {
        let (mut lanes, mut failed, mut astray) = (Vec::new(), Vec::new(), false);
        if !is_inverted(bounds) {
            let mut segments = self.segments_at();
            // Of a keyspace that was cleared since, files may have gone that the moment shows.
            let past = if moment < space.floor() { space.past(moment) } else { None };
            segments.extend(past.iter().flat_map(|past| past.segments()).cloned());
            let (mut parts, mut has_all) = (Vec::new(), true);
            for segment in &segments {
                has_all &= self.add_parts(space, segment, &mut parts, &mut failed)?;
            }
            prefetch_seeks(&parts, bounds);
            for found in &parts {
                astray |= found.add_lane(space, bounds, &mut lanes, &mut failed)?;
            }
            // No file with records has gone since the moment was opened: what was replaced is in one of these, too, if all could be found.
            let has_all = has_all && failed.is_empty();
            let is_whole = self.following.is_none() && has_all && changes == Some(self.archives().changes());
            if !is_whole {
                lanes.push(Lane::kept(self.kept_at(space.id(), bounds, moment, &mut failed)?));
            }
        }
        Ok(RangePass {
            merge: Merge::new(lanes, failed),
            space: Arc::clone(space),
            moment,
            time_ms,
            strays: astray.then(|| Box::new(bounds.clone())),
            ready: Default::default(),
            batch: BATCH_FIRST,
            keys: Keys::default(),
            ahead: Default::default(),
            reach: REACH_FIRST,
            large: Arc::clone(self.large()),
        })
    }

    /// All puts of some segments, whatever became of them, by key.
    ///
    /// # Errors
    /// `Corruption` if one of them is damaged; `Io`, `ResourceLimit`.
    pub(crate) fn puts_by_key(&self, space: &Space, segments: &[Hold<Segment>]) -> Result<Merge> {
        let mut lanes = Vec::new();
        for segment in segments {
            let run = segment.run(space.id(), |from| live_from(space, segment, from))?;
            if let Some(error) = run.damaged.into_iter().next() {
                return Err(error);
            }
            for part in &run.parts {
                lanes.push(Lane::of(segment, part, space.id(), &ALL)?);
            }
        }
        Ok(Merge::new(lanes, Vec::new()))
    }

    /// All segments, while no refresh is under way.
    fn segments_at(&self) -> Vec<Hold<Segment>> {
        let _log = self.following.is_some().then(|| self.log());
        self.registry().files()
    }

    /// The records of a segment; whether that is all of them, and not only what is live behind damage.
    fn add_parts<'a>(
        &self,
        space: &Space,
        segment: &'a Hold<Segment>,
        parts: &mut Vec<FoundPart<'a>>,
        failed: &mut Vec<Error>,
    ) -> Result<bool> {
        // Before the walk: what was written since is no record of the moment, and what was replaced since was one.
        let live = segment.live().records_of(space.id());
        let run = segment.run(space.id(), |from| live_from(space, segment, from))?;
        let is_live = run.puts == Some(live) && segment.live().is_still(space.id(), live);
        let is_live = is_live || planted(Sabotage::StaleInOrder);
        failed.extend(run.damaged);
        parts.extend(run.parts.into_iter().map(|part| FoundPart { segment, part, is_live }));
        Ok(run.puts.is_some())
    }

    /// What was replaced since the moment, by key.
    fn kept_at(
        &self,
        keyspace: u16,
        bounds: &Bounds,
        moment: Seqno,
        failed: &mut Vec<Error>,
    ) -> Result<Vec<(Vec<u8>, Was)>> {
        let mut kept = Vec::new();
        for was in self.versions().all_at(keyspace, moment) {
            match was.segment.key(was.offset) {
                Ok(key) if contains(bounds, &key) => kept.push((key.into_owned(), was)),
                Ok(_) => {}
                Err(error) if error.damage().is_some() => failed.push(error),
                Err(error) => return Err(error),
            }
        }
        kept.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(kept)
    }
}

impl RangePass {
    /// Key and value of a record whose turn it is.
    ///
    /// # Errors
    /// As it cannot be read; the rest can still be shown.
    #[inline]
    pub(crate) fn pair(&self, ready: &Ready) -> Result<(Value, Value)> {
        let (segment, offset) = self.place(ready);
        pass::pair(segment, offset, &self.large)
    }

    /// Shows what is left to `each` from below, until it breaks.
    ///
    /// # Errors
    /// Those of the first record that cannot be read; what is behind is left.
    pub(crate) fn visit(
        &mut self,
        store: &Store,
        each: &mut impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        while let Some(ready) = self.next_ready(store, Side::Below) {
            let ready = ready?;
            let (segment, offset) = self.place(&ready);
            if pass::show_pair(segment, offset, &self.large, each)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn place<'a>(&'a self, ready: &'a Ready) -> (&'a Hold<Segment>, u64) {
        match ready {
            Ready::At(taken) => self.merge.lane(*taken).place(*taken),
            Ready::Was(was) => (&was.segment, was.offset),
        }
    }

    /// The record that is next from a side; nothing once both sides have met.
    ///
    /// One that cannot be read is an error, and the rest goes on.
    #[inline]
    pub(crate) fn next_ready(&mut self, store: &Store, side: Side) -> Option<Result<Ready>> {
        if self.strays.is_some() {
            return self.next_within(store, side);
        }
        self.next_of_all(store, side)
    }

    /// The same where lanes have more than is asked for.
    #[cold]
    fn next_within(&mut self, store: &Store, side: Side) -> Option<Result<Ready>> {
        loop {
            let ready = self.next_of_all(store, side)?;
            let key = ready.as_ref().ok().map(|ready| self.place(ready)).map(|(segment, offset)| segment.key(offset));
            match (key, &self.strays) {
                (Some(Ok(key)), Some(bounds)) if !contains(bounds, &key) => {}
                (Some(Err(error)), _) => return Some(Err(error)),
                _ => return Some(ready),
            }
        }
    }

    #[inline]
    fn next_of_all(&mut self, store: &Store, side: Side) -> Option<Result<Ready>> {
        loop {
            if let Some(ready) = self.ready[side as usize].pop_front() {
                return Some(ready);
            }
            if let Some(taken) = self.next_live(side) {
                match self.is_shown(taken) {
                    Ok(true) => return Some(Ok(Ready::At(taken))),
                    Ok(false) => continue,
                    Err(error) => return Some(Err(error)),
                }
            }
            if let Some(error) = self.merge.failed() {
                return Some(Err(error));
            }
            if self.look_up(store, side) || self.merge.has_failed() {
                continue;
            }
            // The other side has looked ahead.
            let other = side.other() as usize;
            match self.ahead[other].pop_back() {
                None => return self.ready[other].pop_back(),
                Some(taken) => match self.is_shown(taken) {
                    Ok(true) => return Some(Ok(Ready::At(taken))),
                    Ok(false) => {}
                    Err(error) => return Some(Err(error)),
                },
            }
        }
    }

    /// The next record that is what its key is, if one is next. Those behind it are asked for before they are looked at.
    #[inline]
    fn next_live(&mut self, side: Side) -> Option<Taken> {
        let ahead = &mut self.ahead[side as usize];
        let waiting = ahead.len();
        // Some at a time: what they wait for, they wait for together.
        if waiting <= self.reach * 2 / 3 {
            while ahead.len() < self.reach && !self.merge.has_failed() {
                let Some(taken) = self.merge.take_live(side) else { break };
                if ahead.is_empty() && self.merge.lane(taken).lies_in_order() {
                    return Some(taken);
                }
                ahead.push_back(taken);
            }
            ahead.range(waiting..).for_each(|taken| self.merge.lane(*taken).prefetch(*taken));
            self.reach = (self.reach * 2).min(REACH);
        }
        ahead.pop_front()
    }

    /// Whether a record that is what its key is, if it is no newer than the moment, is shown.
    #[inline]
    fn is_shown(&self, taken: Taken) -> Result<bool> {
        let (segment, offset) = self.merge.lane(taken).place(taken);
        Ok(segment.seqno_of_put(offset)? <= self.moment && !segment.has_expired(offset, self.time_ms))
    }

    /// Looks the next keys from a side up; `false` if there are none.
    #[inline(never)]
    fn look_up(&mut self, store: &Store, side: Side) -> bool {
        let (mut keys, mut asked) = (std::mem::take(&mut self.keys), Vec::new());
        self.merge.take_many(side, self.batch, &mut keys);
        self.batch = (self.batch * 2).min(BATCH);
        for same in keys.iter() {
            match self.judge(store, &keys, same).transpose() {
                Some(Ok(Asked { newest, key: None })) if asked.is_empty() => {
                    self.ready[side as usize].push_back(Ok(Ready::At(newest)));
                }
                found => asked.extend(found),
            }
        }
        if !asked.is_empty() {
            self.answer(store, side, asked);
        }
        self.keys = keys;
        !self.keys.is_empty()
    }

    /// Which of the records of a key is the one of the moment, if it is any.
    #[inline]
    fn judge(&self, store: &Store, keys: &Keys, same: &Same) -> Result<Option<Asked>> {
        let mut newest: Option<(Seqno, Taken)> = None;
        for taken in keys.records(same) {
            let (segment, offset) = self.merge.lane(*taken).place(*taken);
            let seqno = segment.seqno_of_put(offset)?;
            if seqno <= self.moment && newest.is_none_or(|(before, _)| before < seqno) {
                newest = Some((seqno, *taken));
            }
        }
        let Some((_, newest)) = newest else { return Ok(None) };
        let (segment, offset) = self.merge.lane(newest).place(newest);
        if self.merge.lane(newest).is_live {
            let has_expired = segment.has_expired(offset, self.time_ms);
            return Ok((!has_expired).then_some(Asked { newest, key: None }));
        }
        // Of a record that nobody has looked at yet.
        let key = match self.merge.key_of(keys, same) {
            Some(key) => Cow::Borrowed(key),
            None => segment.key_of_put(offset)?,
        };
        Ok(Some(Asked { newest, key: Some((store.hash(&key), key.into_owned())) }))
    }

    /// Asks the index for the keys that are not known.
    fn answer(&mut self, store: &Store, side: Side, asked: Vec<Result<Asked>>) {
        let pin = Pin::new();
        let keys = asked.iter().flatten().filter_map(|asked| asked.key.as_ref());
        let space = Arc::clone(&self.space);
        keys.for_each(|(hash, _)| space.table(&pin).prefetch(*hash, &pin));
        for asked in asked {
            let ready = asked.and_then(|Asked { newest, key }| {
                let Some((hash, key)) = key else { return Ok(Some(Ready::At(newest))) };
                let (segment, offset) = self.merge.lane(newest).place(newest);
                if space.table(&pin).says(hash, Location::new(segment.place(), offset), &pin) {
                    let expired = segment.has_expired(offset, self.time_ms);
                    return Ok((!expired).then_some(Ready::At(newest)));
                }
                let Some((was, _)) = store.was_at(&space, &key, self.moment)? else { return Ok(None) };
                Ok((!was.segment.has_expired(was.offset, self.time_ms)).then_some(Ready::Was(was)))
            });
            self.ready[side as usize].extend(ready.transpose());
        }
    }
}

/// Where the index says that records of a segment lie, from an offset on, or said so before a clearing that somebody looks behind.
fn live_from(space: &Space, segment: &Segment, from: u64) -> Vec<u64> {
    let (mut offsets, start) = (Vec::new(), Location::start_of(segment.place()));
    let mut take = |table: &Table| {
        table.walk(|locations, _| {
            let here = locations.iter().filter(|at| segment.has_place(at.place())).map(|at| at.linear() - start);
            offsets.extend(here.filter(|offset| *offset >= from));
            true
        });
    };
    // In this order: what is cleared meanwhile is in the one or in the other. A place that a past leads to is nobody else's.
    take(&space.whole_table());
    space.pasts().iter().for_each(|past| take(&past.table));
    offsets.sort_unstable();
    offsets.dedup();
    offsets
}

/// Whether no key can lie within.
fn is_inverted(bounds: &Bounds) -> bool {
    match bounds {
        [Bound::Included(start), Bound::Included(end)] => start > end,
        [Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)] => start >= end,
        _ => false,
    }
}

/// Whether a key lies within.
pub(crate) fn contains(bounds: &Bounds, key: &[u8]) -> bool {
    let above = match &bounds[0] {
        Bound::Unbounded => true,
        Bound::Included(start) => **start <= *key,
        Bound::Excluded(start) => **start < *key,
    };
    let below = match &bounds[1] {
        Bound::Unbounded => true,
        Bound::Included(end) => *key <= **end,
        Bound::Excluded(end) => *key < **end,
    };
    above && below
}
