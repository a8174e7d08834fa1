//! Keys from several sorted parts, in order, from both ends.
//!
//! Floor 3. Imports `error`, `reclaim`, `segment`, `store`, `sync`.
//!
//! Each part is a lane with two heads, its next record from below and from above. Which head is next on a side, a contest says.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::{Bound, Range};

use crate::error::{Error, Result};
use crate::reclaim::hold::Hold;
use crate::segment::Segment;
use crate::segment::part::{Block, Edge, Part, Walked, common, word_of};
use crate::store::contest::Contest;
use crate::store::versions::Was;
use crate::sync::Arc;

/// How far ahead of a head a lane's entries are asked for.
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

/// Keys that were taken together.
#[derive(Default)]
pub(crate) struct Keys {
    records: Vec<Taken>,
    all: Vec<Same>,
}

/// A key with all of its records, in no order.
pub(crate) struct Same {
    records: Range<usize>,
    /// The key, where it is not read in place.
    copied: Option<Vec<u8>>,
}

impl Keys {
    fn clear(&mut self) {
        self.records.clear();
        self.all.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Same> {
        self.all.iter()
    }

    /// The records of one of them.
    pub(crate) fn records(&self, same: &Same) -> &[Taken] {
        &self.records[same.records.clone()]
    }
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
            Side::Below => part.prefetch(number.wrapping_add(AHEAD)),
            Side::Above => part.prefetch(number.wrapping_sub(AHEAD)),
        }
        let error = found.err()?;
        let lost = part.together(number);
        match side {
            Side::Below => self.left.start = lost.end.min(self.left.end),
            Side::Above => self.left.end = lost.start.max(self.left.start),
        }
        Some(error)
    }

    /// Asks for a record that is looked at before long.
    #[inline]
    pub(crate) fn prefetch(&self, taken: Taken) {
        match &self.items {
            Items::Of(_, part, _) if part.lies_in_order() => {}
            _ => {
                let (segment, offset) = self.place(taken);
                segment.prefetch(offset);
            }
        }
    }

    /// Whether its records are read one behind the other as they lie.
    #[inline]
    pub(crate) fn lies_in_order(&self) -> bool {
        matches!(&self.items, Items::Of(_, part, _) if part.lies_in_order())
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
        if self.shows_keys() { self.key_at(head.offset) } else { Some(&head.key) }
    }

    /// Whether its keys are read where they lie.
    fn shows_keys(&self) -> bool {
        match &self.items {
            Items::Of(segment, ..) => segment.is_mapped(),
            Items::Kept(_) => true,
        }
    }

    /// The key of a record, if it is read where it lies and makes sense there.
    fn key_at(&self, offset: u64) -> Option<&[u8]> {
        match &self.items {
            Items::Of(segment, ..) => segment.key_in_place(offset),
            Items::Kept(all) => Some(&all[offset as usize].0),
        }
    }
}

/// All lanes.
pub(crate) struct Merge {
    lanes: Vec<Lane>,
    /// Which has the next head, on each side; `None` as long as nobody has asked for that side, and without lanes.
    contests: [Option<Contest>; 2],
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
        Merge { lanes, contests: [None, None], skip, failed, key: Vec::new(), word: 0 }
    }

    /// Loads the heads of a side that is asked for.
    #[inline]
    fn line_up(&mut self, side: Side) {
        if self.contests[side as usize].is_none() && !self.lanes.is_empty() {
            self.line_all_up(side);
        }
    }

    #[cold]
    fn line_all_up(&mut self, side: Side) {
        let words: Vec<u64> = (0..self.lanes.len()).map(|lane| self.load(side, lane)).collect();
        self.contests[side as usize] = Some(Contest::new(&words, |a, b| is_before(&self.lanes, side, a, b)));
    }

    /// Makes the head of a lane one that can be read, if any is left, and says where it comes.
    #[inline]
    fn load(&mut self, side: Side, number: usize) -> u64 {
        let lane = &mut self.lanes[number];
        while let Some(error) = lane.load(side, self.skip) {
            self.failed.push(error);
        }
        if lane.is_empty() { u64::MAX } else { turned(lane.heads[side as usize].word, side) }
    }

    /// Has a lane that was first wait with its next head.
    #[inline]
    fn pass_on(&mut self, side: Side, number: usize) {
        let word = self.load(side, number);
        if let Some(contest) = &mut self.contests[side as usize] {
            contest.replace(word, |a, b| is_before(&self.lanes, side, a, b));
        }
    }

    /// The lane with the next key.
    fn first(&mut self, side: Side) -> Option<usize> {
        let first = self.contests[side as usize].as_ref()?.first().list as usize;
        if !self.lanes[first].is_empty() {
            return Some(first);
        }
        if self.lanes.iter().all(Lane::is_empty) {
            return None;
        }
        // The other side has found the rest of it damaged, and that lay between what others have.
        self.line_all_up(side);
        let first = self.contests[side as usize].as_ref()?.first().list as usize;
        (!self.lanes[first].is_empty()).then_some(first)
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

    /// Takes the next keys from a side, at most so many, and asks for their records. It ends early where something cannot be read.
    pub(crate) fn take_many(&mut self, side: Side, most: usize, keys: &mut Keys) {
        keys.clear();
        self.line_up(side);
        while keys.all.len() < most && self.failed.is_empty() {
            let start = keys.records.len();
            let live = self.take_live(side);
            keys.records.extend(live);
            if live.is_none() && !self.take(side, start, &mut keys.records) {
                break;
            }
            keys.records[start..].iter().for_each(|taken| self.lane(*taken).prefetch(*taken));
            let is_copied = live.is_none() && !self.lane(keys.records[start]).shows_keys();
            let copied = is_copied.then(|| self.key.clone());
            keys.all.push(Same { records: start..keys.records.len(), copied });
        }
    }

    /// Takes the next key from a side, with all of its records, in no order, behind the `start` that were taken before.
    /// `false` if there is none.
    fn take(&mut self, side: Side, start: usize, taken: &mut Vec<Taken>) -> bool {
        while let Some(number) = self.first(side) {
            let lane = &mut self.lanes[number];
            let head = &mut lane.heads[side as usize];
            if taken.len() == start {
                self.word = head.word;
                std::mem::swap(&mut self.key, &mut head.key);
            } else if !self.is_same(side, number, taken[start]) {
                break;
            }
            let lane = &mut self.lanes[number];
            taken.push(Taken { lane: number as u32, offset: lane.heads[side as usize].offset });
            lane.advance(side);
            self.pass_on(side, number);
        }
        taken.len() > start
    }

    /// Takes the next key from a side, if its lane has nothing but live records and no other lane can have it.
    #[inline]
    pub(crate) fn take_live(&mut self, side: Side) -> Option<Taken> {
        self.line_up(side);
        let contest = self.contests[side as usize].as_ref()?;
        let first = contest.first();
        let lane = &mut self.lanes[first.list as usize];
        if !lane.is_live || lane.is_empty() || contest.second().is_some_and(|word| word <= first.word) {
            return None;
        }
        let taken = Taken { lane: first.list, offset: lane.heads[side as usize].offset };
        lane.advance(side);
        self.pass_on(side, first.list as usize);
        Some(taken)
    }

    /// Whether the head of a lane has the same key as the record that was taken first.
    #[inline]
    fn is_same(&self, side: Side, lane: usize, first: Taken) -> bool {
        let lane = &self.lanes[lane];
        lane.heads[side as usize].word == self.word && self.key(first).is_some_and(|key| lane.key(side) == Some(key))
    }

    /// A key that was taken; `None` if it makes no sense where it lies.
    pub(crate) fn key_of<'a>(&'a self, keys: &'a Keys, same: &'a Same) -> Option<&'a [u8]> {
        let first = keys.records[same.records.start];
        same.copied.as_deref().or_else(|| self.lane(first).key_at(first.offset))
    }

    /// The key of the record that is taken first, while the rest are; `None` if that makes no sense where it lies.
    fn key(&self, first: Taken) -> Option<&[u8]> {
        self.lane(first).key_at(first.offset).or_else(|| (!self.lane(first).shows_keys()).then_some(&self.key[..]))
    }
}

/// A word so that what comes first on a side is the least.
#[inline]
fn turned(word: u64, side: Side) -> u64 {
    if side == Side::Below { word } else { !word }
}

/// Of two lanes whose heads have the same word, whether `a` comes before `b` on a side. One that has ended comes last.
#[cold]
fn is_before(lanes: &[Lane], side: Side, a: u32, b: u32) -> bool {
    let (a, b) = (&lanes[a as usize], &lanes[b as usize]);
    if a.is_empty() || b.is_empty() {
        return b.is_empty();
    }
    let order = a.key(side).cmp(&b.key(side));
    order == if side == Side::Below { Ordering::Less } else { Ordering::Greater }
}
