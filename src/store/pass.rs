//! A pass over all records that the index points at, in the order of the log.
//!
//! Floor 3. Imports `address`, `error`, `limits`, `reclaim`, `segment`, `store`, `sync`.
//!
//! In the order of the index each record would be a cache miss, and a page fault where the store is larger than memory.
//! Sorting the places costs less than either: they are dealt out by the megabyte, and within one a bitmap sorts them.

use std::ops::ControlFlow;

use crate::address::{Location, Seqno};
use crate::error::{Error, Result};
use crate::limits::{PLACE_LEN, RECORD_ALIGN};
use crate::reclaim::hold::Hold;
use crate::segment::Segment;
use crate::segment::fetched::Fetched;
use crate::segment::holds::Holds;
use crate::segment::large::LargeFolder;
use crate::segment::value::Value;
use crate::store::Store;
use crate::store::space::{Past, Space};
use crate::sync::Arc;

/// Units of a place: records begin at one.
const UNITS: usize = (PLACE_LEN / RECORD_ALIGN) as usize;

/// Where the records of a pass lie, and what keeps them there.
pub(crate) struct Pass {
    places: Places,
    next_place: usize,
    /// The units to come of the last place gone to, a bit each: those of `words` from `next_word` on, and of `word`.
    words: Box<[u64]>,
    next_word: usize,
    word: u64,
    /// What lies at that place, and the offset there of the first unit of `words`, modulo the size of the address space.
    segment: Option<(Hold<Segment>, u64)>,
    left: usize,
    /// What has expired by then is not shown; in milliseconds since 1970.
    time_ms: u64,
    holds: Holds,
    large: Arc<LargeFolder>,
}

/// By place, the units in it, in no order. Those of places gone through are empty.
///
/// In parts, so that it is not the highest place that says how much memory that takes: an index that somebody made up may name any.
#[derive(Default)]
struct Places(Vec<Vec<Vec<u32>>>);

/// Places of a part.
const PART: usize = 1 << 10;

impl Places {
    #[inline]
    fn push(&mut self, place: usize, unit: u32) {
        let (part, within) = (place / PART, place % PART);
        if self.0.len() <= part {
            self.0.resize_with(part + 1, Vec::new);
        }
        let part = &mut self.0[part];
        if part.len() <= within {
            part.resize_with(within + 1, Vec::new);
        }
        part[within].push(unit);
    }

    /// The first place from `from` on that has any, and its units.
    fn take_next(&mut self, from: usize) -> Option<(usize, Vec<u32>)> {
        let (first, within) = (from / PART, from % PART);
        self.0.iter_mut().enumerate().skip(first).find_map(|(number, part)| {
            let skipped = if number == first { within } else { 0 };
            let at = (skipped..part.len()).find(|at| !part[*at].is_empty())?;
            Some((number * PART + at, std::mem::take(&mut part[at])))
        })
    }
}

impl Pass {
    fn empty(store: &Store) -> Pass {
        Pass {
            places: Places::default(),
            next_place: 0,
            words: vec![0; UNITS / 64].into_boxed_slice(),
            next_word: UNITS / 64,
            word: 0,
            segment: None,
            left: 0,
            time_ms: store.now_ms(),
            holds: Holds::default(),
            large: Arc::clone(store.large()),
        }
    }

    /// Over what a keyspace had before it was cleared; over nothing if that is not shown.
    pub(super) fn of_past(store: &Store, past: Option<&Past>) -> Pass {
        let mut pass = Pass::empty(store);
        let Some(past) = past else { return pass };
        past.segments().for_each(|segment| pass.holds.keep_held(segment));
        past.table.walk(|locations, _| {
            locations.iter().for_each(|location| pass.add(*location));
            true
        });
        pass
    }

    /// Over the records that the index of a keyspace points at while this looks. A key that stays is among them once.
    pub(crate) fn new(store: &Store, space: &Space) -> Pass {
        let (mut pass, mut lost) = (Pass::empty(store), None);
        space.whole_table().walk(|locations, pin| {
            let mut nowhere = None;
            for location in locations {
                match store.registry().find(*location, pin) {
                    Some(segment) => pass.holds.keep(segment),
                    None => nowhere = Some(*location),
                }
            }
            if nowhere.is_some() && std::mem::replace(&mut lost, nowhere) != nowhere {
                // R6: the index says by now where the record has moved. If it does not, that is an error when its turn comes.
                return false;
            }
            locations.iter().for_each(|location| pass.add(*location));
            true
        });
        pass
    }

    #[inline]
    fn add(&mut self, location: Location) {
        self.places.push(location.place() as usize, (location.unit() % UNITS as u64) as u32);
        self.left += 1;
    }

    /// How many are still to come.
    pub(crate) fn len(&self) -> usize {
        self.left
    }

    /// The same as of another time.
    pub(super) fn at(self, time_ms: u64) -> Pass {
        Pass { time_ms, ..self }
    }

    pub(super) fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// The segment that this unit of the last place is in, and the offset there.
    #[inline(always)]
    fn at_unit(&self, unit: u64) -> Result<(&Hold<Segment>, u64)> {
        match &self.segment {
            Some((segment, start)) => Ok((segment, start.wrapping_add(unit * RECORD_ALIGN))),
            None => Err(self.lost()),
        }
    }

    /// Where the next record lies in the place that was gone to last.
    #[inline]
    fn next_unit(&mut self) -> Option<u64> {
        while self.word == 0 {
            match self.words.get(self.next_word) {
                Some(word) => self.word = *word,
                None => self.turn_to_next_place()?,
            }
            self.next_word = self.next_word % self.words.len() + 1;
        }
        let bit = self.word.trailing_zeros();
        self.word &= self.word - 1;
        self.left -= 1;
        Some((self.next_word as u64 - 1) * 64 + u64::from(bit))
    }

    /// Sorts the units of the next place that has any.
    fn turn_to_next_place(&mut self) -> Option<()> {
        let (place, units) = self.places.take_next(self.next_place)?;
        self.next_place = place + 1;
        self.words.fill(0);
        for unit in units {
            self.words[unit as usize / 64] |= 1 << (unit % 64);
        }
        self.word = self.words[0];
        let place = place as u64;
        let held = self.holds.find(place);
        self.segment = held.map(|segment| (segment.clone(), (place - segment.place()) * PLACE_LEN));
        Some(())
    }

    #[cold]
    fn lost(&self) -> Error {
        let place = self.next_place as u64 - 1;
        Error::corruption("the index", Location::start_of(place), "it points at no segment")
    }

    /// Shows key and value of each record left to `each`, until it breaks.
    ///
    /// # Errors
    /// Those of the next one: `Corruption` if it is damaged, `Io` in positioned mode. The rest can still be shown.
    pub(crate) fn show<B>(&mut self, mut each: impl FnMut(&[u8], &[u8]) -> ControlFlow<B>) -> Result<Option<B>> {
        while let Some(unit) = self.next_unit() {
            let (segment, offset) = self.at_unit(unit)?;
            let shown = match segment.lasting_pair(offset) {
                Some((key, value)) => each(key, value),
                None if segment.has_expired(offset, self.time_ms) => continue,
                None => show_slowly(segment, offset, &self.large, &mut each)?,
            };
            if let ControlFlow::Break(with) = shown {
                return Ok(Some(with));
            }
        }
        Ok(None)
    }

    /// Key and value of the next record, for as long as anyone wants them.
    ///
    /// # Errors
    /// As `show`.
    pub(crate) fn next_pair(&mut self) -> Option<Result<(Value, Value)>> {
        loop {
            let unit = self.next_unit()?;
            let (segment, offset) = match self.at_unit(unit) {
                Ok(at) => at,
                Err(error) => return Some(Err(error)),
            };
            if let Some(pair) = segment.lasting_pair(offset) {
                return Some(Ok(held(segment, pair)));
            }
            if !segment.has_expired(offset, self.time_ms) {
                return Some(pair_slowly(segment, offset, &self.large));
            }
        }
    }

    /// As `next_pair`, of the records up to this seqno.
    pub(super) fn next_pair_until(&mut self, last: Seqno) -> Option<Result<(Value, Value)>> {
        loop {
            let unit = self.next_unit()?;
            let found = self.at_unit(unit).and_then(|(segment, offset)| {
                let wanted = !segment.has_expired(offset, self.time_ms) && segment.record(offset)?.seqno <= last;
                wanted.then(|| pair(segment, offset, &self.large)).transpose()
            });
            if let Some(pair) = found.transpose() {
                return Some(pair);
            }
        }
    }

    pub(super) fn large(&self) -> &LargeFolder {
        &self.large
    }
}

/// Shows key and value of the put at `offset`.
///
/// # Errors
/// As `pair`.
#[inline(always)]
pub(super) fn show_pair<R>(
    segment: &Hold<Segment>,
    offset: u64,
    large: &LargeFolder,
    each: &mut impl FnMut(&[u8], &[u8]) -> R,
) -> Result<R> {
    match segment.lasting_pair(offset) {
        Some((key, value)) => Ok(each(key, value)),
        None => show_slowly(segment, offset, large, each),
    }
}

/// The same of what no glance tells.
#[inline(never)]
fn show_slowly<R>(
    segment: &Hold<Segment>,
    offset: u64,
    large: &LargeFolder,
    each: &mut impl FnMut(&[u8], &[u8]) -> R,
) -> Result<R> {
    if let Some((key, value)) = segment.pair(offset)? {
        return Ok(each(key, value));
    }
    let record = Fetched::read(segment, offset)?;
    Ok(each(record.key(), &large.value(&record)?))
}

/// Key and value of the put at `offset`.
///
/// # Errors
/// `Corruption` if it is damaged; `Io`, `ResourceLimit`.
#[inline]
pub(super) fn pair(segment: &Hold<Segment>, offset: u64, large: &LargeFolder) -> Result<(Value, Value)> {
    match segment.lasting_pair(offset) {
        Some(pair) => Ok(held(segment, pair)),
        None => pair_slowly(segment, offset, large),
    }
}

/// The same of what no glance tells.
#[inline(never)]
fn pair_slowly(segment: &Hold<Segment>, offset: u64, large: &LargeFolder) -> Result<(Value, Value)> {
    if let Some(pair) = segment.pair(offset)? {
        return Ok(held(segment, pair));
    }
    let record = Fetched::read(segment, offset)?;
    Ok((Value::fetched(&record, Fetched::key), large.value(&record)?))
}

#[inline]
fn held(segment: &Hold<Segment>, (key, value): (&[u8], &[u8])) -> (Value, Value) {
    (Value::mapped(segment.clone(), key), Value::mapped(segment.clone(), value))
}

#[cfg(test)]
mod tests {
    use super::{PART, Places};
    use crate::limits::PLACE_COUNT;

    #[test]
    fn the_last_place_of_all_takes_little_memory_and_places_come_in_their_order() {
        let mut places = Places::default();
        let last = PLACE_COUNT as usize - 1;
        for place in [last, PART, 3, PART - 1, 3] {
            places.push(place, place as u32);
        }
        let lists: usize = places.0.iter().map(|part| 1 + part.capacity()).sum();
        assert!(lists <= PLACE_COUNT as usize / PART + 8 * PART, "{lists} lists");
        let (mut from, mut found) = (0, Vec::new());
        while let Some((place, units)) = places.take_next(from) {
            found.push((place, units.len()));
            from = place + 1;
        }
        assert_eq!(found, [(3, 2), (PART - 1, 1), (PART, 1), (last, 1)]);
    }
}
