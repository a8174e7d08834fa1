//! Puts of one keyspace in one segment, by key: all of them, or a fence now and then where they lie in that order anyway.
//!
//! Floor 2. Imports `error`, `limits`, `prefetch`, `segment`.
//!
//! No key is kept but eight bytes of it, taken behind what all keys have in common: they settle most comparisons, and the rest are
//! settled by the records.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::limits::RECORD_ALIGN;
use crate::prefetch::prefetch;
use crate::segment::Segment;
use crate::segment::scan::{Scan, Step, Values};
use crate::segment::source::Source;
use crate::segment::words::Words;

/// Most records between a fence and the next.
pub(crate) const BLOCK_RECORDS: usize = 16;

/// Of records that all were there when it was made; nothing of it ever changes.
#[derive(Debug)]
pub(crate) struct Part {
    /// What all keys begin with.
    shared: Vec<u8>,
    /// Of the first and the last key.
    words: (u64, u64),
    len: u32,
    /// Where its last record ends.
    end: u64,
    entries: Entries,
}

#[derive(Debug)]
enum Entries {
    /// In order: bytes of the key, and where the record lies; of one key the newest comes first.
    All { words: Words, units: Vec<u32> },
    /// The records lie in that order themselves, and each key is there once.
    Fences(Vec<Fence>),
}

/// The first of some records that lie in the order of their keys.
#[derive(Clone, Copy, Debug)]
struct Fence {
    word: u64,
    unit: u32,
    /// How many of the part's records come before it.
    number: u32,
}

/// A place between keys.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Edge<'a> {
    Before(&'a [u8]),
    After(&'a [u8]),
}

impl Edge<'_> {
    fn key(&self) -> &[u8] {
        match self {
            Edge::Before(key) | Edge::After(key) => key,
        }
    }

    /// Whether a key that compares so with this one lies below the edge.
    fn is_above(&self, key: Ordering) -> bool {
        match self {
            Edge::Before(_) => key == Ordering::Less,
            Edge::After(_) => key != Ordering::Greater,
        }
    }
}

/// Where the records between two fences lie: what a cursor looked at last.
#[derive(Debug, Default)]
pub(crate) struct Block {
    numbers: Range<u32>,
    units: Vec<u32>,
}

/// Where a walk from below has got to.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    /// The number of the record that is next, where it lies, unless others do before it, and the fence behind it.
    number: u32,
    offset: u64,
    fence: usize,
}

impl Walked {
    fn at(fences: &[Fence], fence: usize) -> Walked {
        Walked { number: fences[fence].number, offset: offset_of(fences[fence].unit), fence: fence + 1 }
    }
}

/// Records of a segment as a walk found them: in the order of the log.
pub(super) struct Found {
    pub(super) units: Vec<u32>,
    /// Their keys one after the other, and where each ends, if the segment is not mapped.
    pub(super) copied: Option<(Vec<u8>, Vec<usize>)>,
    /// Bytes that all keys begin with.
    shared: usize,
    /// Whether each key is above the one before.
    ascending: bool,
    /// How many other records lie between them, and how many behind the last of them.
    pub(super) others: u64,
    behind: u64,
    pub(super) end: u64,
}

impl Found {
    pub(super) fn new(segment: &Segment) -> Found {
        let copied = (!segment.is_mapped()).then(Default::default);
        Found { units: Vec::new(), copied, shared: usize::MAX, ascending: true, others: 0, behind: 0, end: 0 }
    }

    /// Passes a record that is none of them.
    pub(super) fn pass(&mut self) {
        self.behind += u64::from(!self.units.is_empty());
    }

    /// Takes the next put, which ends at `end`.
    pub(super) fn take(&mut self, segment: &Segment, offset: u64, key: &[u8], end: u64) {
        if let Some(last) = self.units.len().checked_sub(1) {
            let (first, last) = (self.key(segment, 0), self.key(segment, last));
            let shared = common(&first[..first.len().min(self.shared)], key);
            self.ascending &= *last < *key;
            self.shared = shared;
        } else {
            self.shared = key.len();
        }
        self.units.push(unit_of(offset));
        self.others += std::mem::take(&mut self.behind);
        self.end = end;
        if let Some((bytes, ends)) = &mut self.copied {
            bytes.extend_from_slice(key);
            ends.push(bytes.len());
        }
    }

    fn key<'s>(&'s self, segment: &'s Segment, number: usize) -> &'s [u8] {
        match &self.copied {
            None => segment.key_in_place(offset_of(self.units[number])).unwrap_or_default(),
            Some((bytes, ends)) => {
                let start = number.checked_sub(1).map_or(0, |before| ends[before]);
                &bytes[start..ends[number]]
            }
        }
    }

    /// The part that these make, which are not none.
    pub(super) fn into_part(self, segment: &Segment) -> Part {
        let (skip, len, end) = (self.shared, self.units.len() as u32, self.end);
        let word = |number: usize| word_of(self.key(segment, number), skip);
        let shared = self.key(segment, 0).get(..skip).unwrap_or_default().to_vec();
        // Who walks from fence to fence passes the others, too.
        if self.ascending && self.others <= u64::from(len) {
            let fence = |number| Fence { word: word(number), unit: self.units[number], number: number as u32 };
            let fences = (0..self.units.len()).step_by(BLOCK_RECORDS).map(fence).collect();
            let words = (word(0), word(self.units.len() - 1));
            return Part { shared, words, len, end, entries: Entries::Fences(fences) };
        }
        let mut sorted: Vec<(u64, u32)> = (0..len).map(|number| (word(number as usize), number)).collect();
        sorted.sort_unstable_by(|a, b| {
            let keys = || self.key(segment, a.1 as usize).cmp(self.key(segment, b.1 as usize));
            a.0.cmp(&b.0).then_with(keys).then(b.1.cmp(&a.1))
        });
        let units = sorted.iter().map(|(_, number)| self.units[*number as usize]).collect();
        Part::of_all(shared, sorted.into_iter().map(|(word, _)| word).collect(), units, end)
    }
}

impl Part {
    fn of_all(shared: Vec<u8>, words: Vec<u64>, units: Vec<u32>, end: u64) -> Part {
        let (ends, len) =
            ((words.first().copied().unwrap_or(0), words.last().copied().unwrap_or(0)), words.len() as u32);
        let entries = Entries::All { words: Words::new(words), units };
        Part { shared, words: ends, len, end, entries }
    }

    /// What all of its keys begin with.
    pub(crate) fn shared(&self) -> &[u8] {
        &self.shared
    }

    /// How many records it has.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// Asks for what `seek` looks at: in as many steps as `Words` has lists, so that who does each with many parts waits for all of them at once.
    pub(crate) fn prefetch_seek(&self, key: &[u8], step: usize) {
        if let Entries::All { words, units } = &self.entries {
            let at = words.prefetch_below(word_of(key, self.shared.len()), step);
            at.into_iter().for_each(|at| prefetch(units.as_ptr().wrapping_add(at)));
        }
    }

    /// How many of its keys are below `edge`.
    ///
    /// # Errors
    /// `Corruption` if a key that is to be looked at is damaged; `Io` in positioned mode.
    pub(crate) fn seek(&self, segment: &Segment, keyspace: u16, edge: Edge<'_>) -> Result<u32> {
        let mut block = Block::default();
        let key = edge.key();
        let word = word_of(key, self.shared.len());
        let head = key[..key.len().min(self.shared.len())].cmp(&self.shared);
        match head.then_with(|| word.cmp(&self.words.0)) {
            Ordering::Less => return Ok(0),
            _ if head == Ordering::Greater || word > self.words.1 => return Ok(self.len),
            _ => {}
        }
        let (from, to) = match &self.entries {
            Entries::All { words, .. } => {
                let below = words.below(word);
                (below as u32, words.up_to(word, below) as u32)
            }
            Entries::Fences(fences) => {
                let Some(fence) = seek_fence(segment, fences, word, edge)?.checked_sub(1) else { return Ok(0) };
                if segment.is_mapped() {
                    return self.seek_in_block(segment, keyspace, fences, fence, edge);
                }
                let Range { start, end } = self.numbers(fences, fence);
                (start, end)
            }
        };
        let (mut from, mut to) = (from, to);
        while from < to {
            let middle = from + (to - from) / 2;
            let found = self.key(segment, keyspace, middle, &mut block)?;
            if edge.is_above((*found).cmp(key)) {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        Ok(from)
    }

    /// How many keys are below `edge`, which lies in this block or at its end; no record behind is looked at.
    fn seek_in_block(
        &self,
        segment: &Segment,
        keyspace: u16,
        fences: &[Fence],
        fence: usize,
        edge: Edge<'_>,
    ) -> Result<u32> {
        let end = self.numbers(fences, fence).end;
        let mut at = Walked::at(fences, fence);
        while at.number < end {
            let offset = self.walk_on(segment, keyspace, fences, &mut at)?;
            if !edge.is_above((*segment.key_of_put(offset)?).cmp(edge.key())) {
                return Ok(at.number - 1);
            }
        }
        Ok(end)
    }

    fn key<'s>(&self, segment: &'s Segment, keyspace: u16, number: u32, block: &mut Block) -> Result<Cow<'s, [u8]>> {
        segment.key_of_put(self.offset(segment, keyspace, number, block)?)
    }

    /// Where the record of this number lies.
    ///
    /// # Errors
    /// As `seek`; then none of the records `together` with it can be found.
    #[inline]
    pub(crate) fn offset(&self, segment: &Segment, keyspace: u16, number: u32, block: &mut Block) -> Result<u64> {
        match &self.entries {
            Entries::All { units, .. } => Ok(offset_of(units[number as usize])),
            Entries::Fences(fences) => {
                if !block.numbers.contains(&number) {
                    self.walk(segment, keyspace, fences, number, block)?;
                }
                Ok(offset_of(block.units[(number - block.numbers.start) as usize]))
            }
        }
    }

    /// The same for who takes the records from below, one after the other, of a segment that is mapped.
    ///
    /// # Errors
    /// As `offset`.
    #[inline]
    pub(crate) fn next_offset(&self, segment: &Segment, keyspace: u16, number: u32, at: &mut Walked) -> Result<u64> {
        match &self.entries {
            Entries::All { units, .. } => Ok(offset_of(units[number as usize])),
            Entries::Fences(fences) => {
                if at.number != number || number == 0 {
                    *at = self.walk_up_to(segment, keyspace, fences, number)?;
                }
                self.walk_on(segment, keyspace, fences, at)
            }
        }
    }

    /// Eight bytes of a key behind the first `skip`, which are no more than all keys begin with. Nobody looks at the record for it; `None`
    /// if that would have to be done.
    #[inline]
    pub(crate) fn word(&self, number: u32, skip: usize) -> Option<u64> {
        match &self.entries {
            Entries::All { words, .. } => Some(word_behind(&self.shared[skip..], words.all()[number as usize])),
            Entries::Fences(_) => None,
        }
    }

    fn walk_up_to(&self, segment: &Segment, keyspace: u16, fences: &[Fence], number: u32) -> Result<Walked> {
        let mut at = Walked::at(fences, fence_of(fences, number));
        while at.number < number {
            self.walk_on(segment, keyspace, fences, &mut at)?;
        }
        Ok(at)
    }

    /// Goes behind the next record, and says where it lies.
    #[inline]
    fn walk_on(&self, segment: &Segment, keyspace: u16, fences: &[Fence], at: &mut Walked) -> Result<u64> {
        let next = fences.get(at.fence);
        if let Some(fence) = next.filter(|fence| fence.number == at.number) {
            (at.offset, at.fence) = (self.walk_to_fence(segment, keyspace, at, offset_of(fence.unit))?, at.fence + 1);
        }
        let end = fences.get(at.fence).map_or(self.end, |fence| offset_of(fence.unit));
        while at.offset < end {
            let (found, len) = segment.step_in_place(at.offset)?;
            at.offset += len;
            if found == Some(keyspace) {
                at.number += 1;
                return Ok(at.offset - len);
            }
        }
        Err(Error::corruption(segment.path(), end, "records of the keyspace that lay before are not there"))
    }

    /// From behind the last record before a fence up to that: others may lie between, and none of the keyspace. One of them that makes no
    /// sense keeps nobody from the fence.
    #[inline]
    fn walk_to_fence(&self, segment: &Segment, keyspace: u16, at: &Walked, fence: u64) -> Result<u64> {
        let mut offset = at.offset;
        while offset < fence {
            let Ok((found, len)) = segment.step_in_place(offset) else { break };
            if found == Some(keyspace) {
                return Err(Error::corruption(segment.path(), fence, "other records lie before than did"));
            }
            offset += len;
        }
        Ok(fence)
    }

    /// The numbers of the records that are found together with this one.
    pub(crate) fn together(&self, number: u32) -> Range<u32> {
        match &self.entries {
            Entries::All { .. } => number..number + 1,
            Entries::Fences(fences) => self.numbers(fences, fence_of(fences, number)),
        }
    }

    /// Asks for what is known of the records around this number.
    #[inline]
    pub(crate) fn prefetch(&self, number: u32) {
        if let Entries::All { words, units, .. } = &self.entries {
            prefetch(words.all().as_ptr().wrapping_add(number as usize));
            prefetch(units.as_ptr().wrapping_add(number as usize));
        }
    }

    /// Whether its records lie in the order of their keys.
    #[inline]
    pub(crate) fn lies_in_order(&self) -> bool {
        matches!(self.entries, Entries::Fences(_))
    }

    fn numbers(&self, fences: &[Fence], fence: usize) -> Range<u32> {
        fences[fence].number..fences.get(fence + 1).map_or(self.len, |next| next.number)
    }

    /// Goes through the records from the fence on that this one is behind.
    fn walk(&self, segment: &Segment, keyspace: u16, fences: &[Fence], number: u32, block: &mut Block) -> Result<()> {
        let fence = fence_of(fences, number);
        let numbers = self.numbers(fences, fence);
        (block.numbers, block.units) = (0..0, std::mem::take(&mut block.units));
        block.units.clear();
        let start = offset_of(fences[fence].unit);
        let end = fences.get(fence + 1).map_or(self.end, |next| offset_of(next.unit));
        let count = numbers.len();
        match segment.is_mapped() {
            true => walk_in_place(segment, keyspace, start..end, &mut block.units)?,
            false => walk_by_reads(segment, keyspace, start..end, &mut block.units)?,
        }
        if block.units.len() != count {
            let what = format_args!("{} records of the keyspace lie here, {count} did", block.units.len());
            return Err(Error::corruption(segment.path(), start, what));
        }
        block.numbers = numbers;
        Ok(())
    }

    /// Both parts as one; `older` has the records before those of `newer`.
    ///
    /// # Errors
    /// As `seek`.
    pub(super) fn merge(segment: &Segment, keyspace: u16, older: &Part, newer: &Part) -> Result<Part> {
        let blocks = &mut [Block::default(), Block::default()];
        let (last, first) = (older.len - 1, 0);
        let before = older.key(segment, keyspace, last, &mut blocks[0])?;
        let after = newer.key(segment, keyspace, first, &mut blocks[1])?;
        let skip = common(&before, &after).min(older.shared.len()).min(newer.shared.len());
        let shared = older.shared[..skip].to_vec();
        if let (Entries::Fences(a), Entries::Fences(b)) = (&older.entries, &newer.entries)
            && before < after
        {
            let behind = b.iter().map(|fence| Fence { number: fence.number + older.len, ..*fence });
            let mut fences: Vec<Fence> = a.iter().copied().chain(behind).collect();
            for fence in fences.iter_mut().filter(|_| skip < older.shared.len().max(newer.shared.len())) {
                fence.word = word_of(&segment.key_of_put(offset_of(fence.unit))?, skip);
            }
            let last = newer.key(segment, keyspace, newer.len - 1, &mut blocks[1])?;
            let (words, len) = ((fences[0].word, word_of(&last, skip)), older.len + newer.len);
            return Ok(Part { shared, words, len, end: newer.end, entries: Entries::Fences(fences) });
        }
        let (older, newer) = (older.all(segment, keyspace, skip)?, newer.all(segment, keyspace, skip)?);
        let (mut all, mut newer) = (Vec::with_capacity(older.len() + newer.len()), newer.into_iter().peekable());
        for (word, unit) in older {
            while let Some((other, at)) = newer.peek().copied() {
                let order = match other.cmp(&word) {
                    Ordering::Equal => segment.key_of_put(offset_of(at))?.cmp(&segment.key_of_put(offset_of(unit))?),
                    order => order,
                };
                if order == Ordering::Greater {
                    break;
                }
                all.push((other, at));
                newer.next();
            }
            all.push((word, unit));
        }
        all.extend(newer);
        let end = offset_of(all.iter().map(|(_, unit)| *unit).max().unwrap_or(0));
        let (words, units) = all.into_iter().unzip();
        Ok(Part::of_all(shared, words, units, end))
    }

    /// Its entries one by one, with words that begin behind `skip` bytes.
    fn all(&self, segment: &Segment, keyspace: u16, skip: usize) -> Result<Vec<(u64, u32)>> {
        let mut block = Block::default();
        let mut all = Vec::with_capacity(self.len as usize);
        for number in 0..self.len {
            let offset = self.offset(segment, keyspace, number, &mut block)?;
            let word = match self.word(number, skip) {
                Some(word) => word,
                None => word_of(&segment.key_of_put(offset)?, skip),
            };
            all.push((word, unit_of(offset)));
        }
        Ok(all)
    }
}

fn fence_of(fences: &[Fence], number: u32) -> usize {
    fences.partition_point(|fence| fence.number <= number) - 1
}

/// How many fences are below `edge`, which has this word.
fn seek_fence(segment: &Segment, fences: &[Fence], word: u64, edge: Edge<'_>) -> Result<usize> {
    let same = fences.partition_point(|fence| fence.word < word);
    let (mut from, mut to) = (same, same + fences[same..].partition_point(|fence| fence.word == word));
    while from < to {
        let middle = from + (to - from) / 2;
        let found = segment.key_of_put(offset_of(fences[middle].unit))?;
        if edge.is_above((*found).cmp(edge.key())) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    Ok(from)
}

fn walk_in_place(segment: &Segment, keyspace: u16, range: Range<u64>, units: &mut Vec<u32>) -> Result<()> {
    let mut at = range.start;
    while at < range.end && units.len() < BLOCK_RECORDS {
        let (found, len) = segment.step_in_place(at)?;
        if found == Some(keyspace) {
            units.push(unit_of(at));
        }
        at += len;
    }
    Ok(())
}

fn walk_by_reads(segment: &Segment, keyspace: u16, range: Range<u64>, units: &mut Vec<u32>) -> Result<()> {
    let file = segment.file()?;
    let scan = Scan::new(&*file, segment.path(), segment.salt(), range.end, Source::Cache, Values::Skip);
    let mut scan = scan.from(range.start);
    while scan.offset() < range.end {
        match scan.step()? {
            Step::Record(record) if record.header.kind.is_put() && record.header.keyspace == keyspace => {
                units.push(unit_of(record.offset));
            }
            Step::Record(_) => {}
            Step::Stop(flaw) => return Err(segment.flawed(scan.offset(), &flaw)),
        }
    }
    Ok(())
}

/// How many bytes both begin with.
pub(crate) fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Eight bytes of a key behind the first `shared`, so that they compare as the keys do, or are the same.
#[inline]
pub(crate) fn word_of(key: &[u8], shared: usize) -> u64 {
    let rest = key.get(shared..).unwrap_or_default();
    match rest.first_chunk() {
        Some(word) => u64::from_be_bytes(*word),
        None => {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            u64::from_be_bytes(word)
        }
    }
}

/// The eight bytes that begin with these, where `word` goes on.
#[inline]
fn word_behind(bytes: &[u8], word: u64) -> u64 {
    match bytes.len() {
        0 => word,
        8.. => word_of(bytes, 0),
        len => word_of(bytes, 0) | word >> (8 * len),
    }
}

/// A segment has less than 2^32 units.
#[inline]
fn unit_of(offset: u64) -> u32 {
    (offset / RECORD_ALIGN) as u32
}

#[inline]
fn offset_of(unit: u32) -> u64 {
    u64::from(unit) * RECORD_ALIGN
}

#[cfg(test)]
mod tests {
    use super::{word_behind, word_of};

    #[test]
    fn a_word_that_begins_sooner_is_that_of_the_key() {
        for len in [0, 3, 8, 9, 24] {
            let key: Vec<u8> = (1..=len).collect();
            for (skip, shared) in (0..=key.len()).flat_map(|shared| (0..=shared).map(move |skip| (skip, shared))) {
                let word = word_behind(&key[skip..shared], word_of(&key, shared));
                assert_eq!(word, word_of(&key, skip), "{len} bytes from {skip} on, of which {shared} are left out");
            }
        }
    }
}
