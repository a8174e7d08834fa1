//! Keys from several sorted parts, in order, from both ends.
//!
//! Floor 3. Imports `error`, `reclaim`, `segment`, `store`, `sync`.
//!
//! Each part is a lane with two heads, its next record from below and from above. The lanes of one side stand in the order of their
//! heads, so that a lane whose records follow each other costs a comparison a record.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::{Bound, Range};

use crate::error::{Error, Result};
use crate::reclaim::hold::Hold;
use crate::segment::Segment;
use crate::segment::part::{Block, Edge, Part, Walked, common, word_of};
use crate::store::versions::Was;
use crate::sync::Arc;

/// How far ahead of a head records are asked for.
const AHEAD: u32 = 8;

/// From which side keys are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Below = 0,
    Above = 1,
}

impl Side {
    pub(crate) fn other(self) -> Side {
        match self {
            Side::Below => Side::Above,
            Side::Above => Side::Below,
        }
    }
}

/// One record that was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) lane: u32,
    pub(crate) offset: u64,
}

/// Records in the order of their keys.
pub(crate) struct Lane {
    items: Items,
    /// Whether each of its records that is no newer than the moment is what its key is there.
    pub(crate) is_live: bool,
    /// What nobody has taken yet.
    left: Range<u32>,
    heads: [Head; 2],
}

enum Items {
    Of(Hold<Segment>, Arc<Part>, u16),
    /// Records that were replaced, of any files.
    Kept(Vec<(Vec<u8>, Was)>),
}

/// The next record of a lane on one side.
#[derive(Default)]
struct Head {
    block: Block,
    walked: Walked,
    offset: u64,
    word: u64,
    /// The key, where it is not read in place.
    key: Vec<u8>,
}

impl Lane {
    /// The records of a part that lie in `bounds`.
    ///
    /// # Errors
    /// As `Part::seek`.
    pub(crate) fn of(
        segment: &Hold<Segment>,
        part: &Arc<Part>,
        keyspace: u16,
        bounds: &[Bound<Vec<u8>>; 2],
    ) -> Result<Lane> {
        let start = match &bounds[0] {
            Bound::Unbounded => 0,
            Bound::Included(key) => part.seek(segment, keyspace, Edge::Before(key))?,
            Bound::Excluded(key) => part.seek(segment, keyspace, Edge::After(key))?,
        };
        let end = match &bounds[1] {
            Bound::Unbounded => part.len(),
            Bound::Included(key) => part.seek(segment, keyspace, Edge::After(key))?,
            Bound::Excluded(key) => part.seek(segment, keyspace, Edge::Before(key))?,
        };
        let items = Items::Of(segment.clone(), Arc::clone(part), keyspace);
        Ok(Lane { items, is_live: false, left: start..end.max(start), heads: Default::default() })
    }

    /// Records with their keys, in order.
    pub(crate) fn kept(all: Vec<(Vec<u8>, Was)>) -> Lane {
        let left = 0..all.len() as u32;
        Lane { items: Items::Kept(all), is_live: true, left, heads: Default::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// Where a record that was taken lies.
    pub(crate) fn place(&self, taken: Taken) -> (&Hold<Segment>, u64) {
        match &self.items {
            Items::Of(segment, ..) => (segment, taken.offset),
            // Of these the offset is the number.
            Items::Kept(all) => {
                let was = &all[taken.offset as usize].1;
                (&was.segment, was.offset)
            }
        }
    }

    /// What all of its keys begin with.
    fn shared(&self) -> &[u8] {
        match &self.items {
            Items::Of(_, part, _) => part.shared(),
            Items::Kept(all) => match &all[..] {
                [] => &[],
                [(first, _), .., (last, _)] => &first[..common(first, last)],
                [(only, _)] => only,
            },
        }
    }

    /// Makes the next record the head. What cannot be read is left out, with everything that is found together with it.
    fn load(&mut self, side: Side, skip: usize) -> Option<Error> {
        let number = match side {
            Side::Below => self.left.start,
            Side::Above => self.left.end.checked_sub(1)?,
        };
        if self.left.is_empty() {
            return None;
        }
        let head = &mut self.heads[side as usize];
        let (segment, part, keyspace) = match &self.items {
            Items::Of(segment, part, keyspace) => (segment, part, *keyspace),
            Items::Kept(all) => {
                (head.offset, head.word) = (u64::from(number), word_of(&all[number as usize].0, skip));
                return None;
            }
        };
        let offset = match side {
            Side::Below if segment.is_mapped() => part.next_offset(segment, keyspace, number, &mut head.walked),
            _ => part.offset(segment, keyspace, number, &mut head.block),
        };
        let found = offset.and_then(|offset| {
            head.offset = offset;
            if let Some(word) = part.word(number, skip)
                && segment.is_mapped()
            {
                head.word = word;
                return Ok(());
            }
            match segment.key_of_put(offset)? {
                Cow::Borrowed(key) => head.word = word_of(key, skip),
                Cow::Owned(key) => (head.word, head.key) = (word_of(&key, skip), key),
            }
            Ok(())
        });
        match side {
            Side::Below => part.prefetch(segment, number.saturating_add(AHEAD)),
            Side::Above => part.prefetch(segment, number.wrapping_sub(AHEAD)),
        }
        let error = found.err()?;
        let lost = part.together(number);
        match side {
            Side::Below => self.left.start = lost.end.min(self.left.end),
            Side::Above => self.left.end = lost.start.max(self.left.start),
        }
        Some(error)
    }

    /// Asks for the records that `load` asks for no more, since it is to come to them first.
    fn prefetch_first(&self, side: Side) {
        let Items::Of(segment, part, _) = &self.items else { return };
        for nth in 0..AHEAD.min(self.left.len() as u32) {
            let number = if side == Side::Below { self.left.start + nth } else { self.left.end - 1 - nth };
            part.prefetch(segment, number);
        }
    }

    /// Goes on behind the head.
    fn advance(&mut self, side: Side) {
        match side {
            Side::Below => self.left.start += 1,
            Side::Above => self.left.end -= 1,
        }
    }

    /// The key of a head; `None` if that makes no sense where it lies.
    fn key(&self, side: Side) -> Option<&[u8]> {
        let head = &self.heads[side as usize];
        match &self.items {
            Items::Of(segment, ..) if segment.is_mapped() => segment.key_in_place(head.offset),
            Items::Of(..) => Some(&head.key),
            Items::Kept(all) => Some(&all[head.offset as usize].0),
        }
    }
}

/// All lanes.
pub(crate) struct Merge {
    lanes: Vec<Lane>,
    /// Those that have records left, for each side: the next one is last. `None` as long as nobody has asked for that side.
    order: [Option<Vec<u32>>; 2],
    /// What keys in all lanes begin with; their words are of the bytes behind.
    skip: usize,
    /// What could not be read.
    failed: Vec<Error>,
    /// The key that is being taken, where it is not read in place, and its word.
    key: Vec<u8>,
    word: u64,
}

impl Merge {
    pub(crate) fn new(lanes: Vec<Lane>, failed: Vec<Error>) -> Merge {
        let lanes: Vec<Lane> = lanes.into_iter().filter(|lane| !lane.is_empty()).collect();
        let shared = lanes.iter().map(Lane::shared).reduce(|a, b| &a[..common(a, b)]);
        // With the words of what is behind, fewer of them are the same.
        let skip = shared.map_or(0, <[u8]>::len);
        Merge { lanes, order: [None, None], skip, failed, key: Vec::new(), word: 0 }
    }

    /// Has the lanes stand in order on a side that is asked for.
    #[inline]
    fn line_up(&mut self, side: Side) {
        if self.order[side as usize].is_none() {
            self.line_all_up(side);
        }
    }

    #[cold]
    fn line_all_up(&mut self, side: Side) {
        self.order[side as usize] = Some(Vec::with_capacity(self.lanes.len()));
        self.lanes.iter().for_each(|lane| lane.prefetch_first(side));
        for lane in 0..self.lanes.len() {
            self.load(side, lane);
            self.enter(side, lane as u32);
        }
    }

    fn order(&mut self, side: Side) -> &mut Vec<u32> {
        self.order[side as usize].get_or_insert_default()
    }

    /// Makes the head of a lane one that can be read, if any is left.
    fn load(&mut self, side: Side, lane: usize) {
        while let Some(error) = self.lanes[lane].load(side, self.skip) {
            self.failed.push(error);
        }
    }

    /// The lane of a record that was taken.
    pub(crate) fn lane(&self, taken: Taken) -> &Lane {
        &self.lanes[taken.lane as usize]
    }

    /// What could not be read, once each.
    #[inline]
    pub(crate) fn failed(&mut self) -> Option<Error> {
        self.failed.pop()
    }

    pub(crate) fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Compares heads: `Less` comes first.
    fn compare(&self, side: Side, a: u32, b: u32) -> Ordering {
        let (a, b) = (&self.lanes[a as usize], &self.lanes[b as usize]);
        let words = a.heads[side as usize].word.cmp(&b.heads[side as usize].word);
        let order = words.then_with(|| a.key(side).cmp(&b.key(side)));
        if side == Side::Below { order } else { order.reverse() }
    }

    /// Puts a lane where its head belongs, unless nothing is left of it.
    fn enter(&mut self, side: Side, lane: u32) {
        if self.lanes[lane as usize].is_empty() {
            return;
        }
        let order = self.order[side as usize].as_deref().unwrap_or_default();
        let at = match order.last() {
            Some(last) if self.compare(side, lane, *last) == Ordering::Greater => {
                order.partition_point(|other| self.compare(side, *other, lane) == Ordering::Greater)
            }
            _ => order.len(),
        };
        self.order(side).insert(at, lane);
    }

    /// Takes the next key from a side, with all of its records, in no order. `false` if there is none.
    pub(crate) fn take(&mut self, side: Side, taken: &mut Vec<Taken>) -> bool {
        taken.clear();
        self.line_up(side);
        let Some(lane) = self.next_lane(side) else { return false };
        self.take_head(side, lane, taken);
        self.take_same(side, lane, taken);
        while let Some(next) = self.next_lane(side) {
            if !self.is_same(side, next, taken[0]) {
                self.order(side).push(next);
                break;
            }
            self.take_same(side, next, taken);
        }
        true
    }

    /// Takes the next key from a side, if its lane has nothing but live records and no other lane can have it.
    #[inline]
    pub(crate) fn take_live(&mut self, side: Side) -> Option<Taken> {
        let [before @ .., number] = self.order[side as usize].as_deref()? else { return None };
        let (number, lane) = (*number, &self.lanes[*number as usize]);
        let word = before.last().map(|lane| self.lanes[*lane as usize].heads[side as usize].word);
        let is_before = |lane: &Lane| {
            let head = lane.heads[side as usize].word;
            word.is_none_or(|word| if side == Side::Below { head < word } else { head > word })
        };
        if !lane.is_live || lane.is_empty() || !is_before(lane) {
            return None;
        }
        let taken = Taken { lane: number, offset: lane.heads[side as usize].offset };
        self.lanes[number as usize].advance(side);
        self.load(side, number as usize);
        let lane = &self.lanes[number as usize];
        if lane.is_empty() || !is_before(lane) {
            self.order(side).pop();
            self.enter(side, number);
        }
        Some(taken)
    }

    /// The lane with the next key, out of the order.
    fn next_lane(&mut self, side: Side) -> Option<u32> {
        loop {
            let lane = self.order(side).pop()?;
            // The other side may have taken the rest.
            if !self.lanes[lane as usize].is_empty() {
                return Some(lane);
            }
        }
    }

    fn take_head(&mut self, side: Side, number: u32, taken: &mut Vec<Taken>) {
        let lane = &mut self.lanes[number as usize];
        let head = &mut lane.heads[side as usize];
        let offset = head.offset;
        if taken.is_empty() {
            self.word = head.word;
            std::mem::swap(&mut self.key, &mut head.key);
        }
        taken.push(Taken { lane: number, offset });
        lane.advance(side);
        self.load(side, number as usize);
    }

    /// Takes the records of a lane that have the same key as the one that was taken first, and has the lane wait with the one behind.
    fn take_same(&mut self, side: Side, lane: u32, taken: &mut Vec<Taken>) {
        while !self.lanes[lane as usize].is_empty() && self.is_same(side, lane, taken[0]) {
            self.take_head(side, lane, taken);
        }
        self.enter(side, lane);
    }

    /// Whether the head of a lane has the same key as the record that was taken first.
    #[inline]
    fn is_same(&self, side: Side, lane: u32, first: Taken) -> bool {
        let lane = &self.lanes[lane as usize];
        lane.heads[side as usize].word == self.word && self.key(first).is_some_and(|key| lane.key(side) == Some(key))
    }

    /// The key that is being taken, by the record that was taken first; `None` if that makes no sense where it lies.
    pub(crate) fn key(&self, first: Taken) -> Option<&[u8]> {
        match &self.lanes[first.lane as usize].items {
            Items::Of(segment, ..) if segment.is_mapped() => segment.key_in_place(first.offset),
            Items::Of(..) => Some(&self.key),
            Items::Kept(all) => Some(&all[first.offset as usize].0),
        }
    }
}
