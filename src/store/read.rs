//! From a key to its record: hash, index, record in place.
//!
//! Floor 3. Imports `address`, `error`, `index`, `reclaim`, `segment`, `store`.

use std::ops::Range;

use crate::address::{Location, Seqno};
use crate::error::{Error, Result};
use crate::index::ahead::Glance;
use crate::index::table::{Found, Probe, Table};
use crate::reclaim::hold::Owner;
use crate::reclaim::pin::Pin;
use crate::segment::Segment;
use crate::segment::fetched::Fetched;
use crate::segment::lookup::{Hit, Look};
use crate::segment::registry::Registry;
use crate::segment::value::Value;
use crate::store::Store;
use crate::store::space::Space;

/// What is said of a key's record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Version {
    pub(crate) seqno: Seqno,
    /// When the key is no more, if it is there yet.
    pub(crate) expiry: Option<u64>,
}

/// What a glance says of a key.
pub(crate) enum Spot<'p> {
    Absent,
    /// It is mapped, and never expires.
    At(At<'p>),
    /// It has to be looked for.
    Unsure,
}

/// The record of a key, while a pin lives.
#[derive(Clone, Copy)]
pub(crate) struct At<'p> {
    pub(crate) segment: &'p Owner<Segment>,
    hit: Hit<'p>,
}

impl<'p> At<'p> {
    /// The value in place, checked or trusted; `None` where it is not mapped, and of a large one.
    ///
    /// # Errors
    /// `Corruption` if the record fails a checksum.
    #[inline(always)]
    pub(crate) fn mapped(&self) -> Result<Option<&'p [u8]>> {
        self.segment.value(&self.hit)
    }

    /// The value in place, if it was checked before. Nothing is made of an error that never comes: that alone takes a third of a get's time.
    #[inline(always)]
    fn trusted(&self) -> Option<&'p [u8]> {
        self.segment.trusted(&self.hit)
    }

    /// Whether it is the one at `offset` of `segment`.
    pub(crate) fn is_at(&self, segment: &Segment, offset: u64) -> bool {
        self.segment.place() == segment.place() && self.hit.record == offset
    }

    /// When it was written.
    ///
    /// # Errors
    /// `Corruption` if its head fails its checksum; `Io` in positioned mode.
    pub(crate) fn seqno(&self) -> Result<Seqno> {
        self.segment.record(self.hit.record).map(|header| header.seqno)
    }

    /// Whether it is mapped, and there is no time from which on it is no more.
    fn stays(&self) -> bool {
        self.segment.expires_in_place(self.hit.record) == Some(false)
    }

    fn is_mapped(&self) -> bool {
        self.segment.is_mapped()
    }

    /// When it is no more, in milliseconds since 1970.
    ///
    /// # Errors
    /// As `seqno`.
    #[cold]
    pub(crate) fn expiry(&self) -> Result<Option<u64>> {
        self.segment.expiry(self.hit.record)
    }

    /// Of the record, in its segment.
    pub(crate) fn offset(&self) -> u64 {
        self.hit.record
    }

    /// The record in memory of its own, checked.
    ///
    /// # Errors
    /// `Corruption` if it fails a checksum; `Io`.
    #[inline(never)]
    pub(crate) fn fetch(self) -> Result<Fetched> {
        Fetched::read(self.segment, self.hit.record)
    }
}

impl Store {
    /// The key's record (R1: no lock, no system call where the store is mapped).
    ///
    /// # Errors
    /// `Corruption` if the key is not found, but a record that might be its cannot be read.
    #[inline(always)]
    pub(crate) fn find<'p>(&'p self, space: &'p Space, hash: u64, key: &[u8], pin: &'p Pin) -> Result<Option<At<'p>>> {
        match self.spot(space, hash, key, pin) {
            Spot::Absent => Ok(None),
            Spot::At(at) => Ok(Some(at)),
            Spot::Unsure => self.search(space, hash, key, pin),
        }
    }

    /// Where the key's record is, if a glance tells.
    ///
    /// Who is in a hurry goes on with that, and has all else done out of line: what may come from either is put together in memory, and
    /// loads of the value, and of the next key's place, wait for the record's header then (1.5 times as long a get).
    #[inline(always)]
    pub(crate) fn spot<'p>(&'p self, space: &'p Space, hash: u64, key: &[u8], pin: &'p Pin) -> Spot<'p> {
        match space.table(pin).glance(hash, pin) {
            Glance::Absent => return Spot::Absent,
            Glance::Likely(location) => {
                if let Some(segment) = self.registry().find(location, pin)
                    && let Some(hit) = segment.lasting_put_of(offset_in(segment, location), space.id(), key)
                {
                    return Spot::At(At { segment, hit });
                }
            }
            Glance::Unsure => {}
        }
        Spot::Unsure
    }

    /// The key's record, unless it is mapped and has expired: what is fetched says so itself.
    ///
    /// # Errors
    /// As `find`.
    pub(crate) fn find_to_read<'p>(
        &'p self,
        space: &'p Space,
        hash: u64,
        key: &[u8],
        pin: &'p Pin,
    ) -> Result<Option<At<'p>>> {
        match self.search(space, hash, key, pin)? {
            Some(at) if at.is_mapped() && self.is_past(&at)? => Ok(None),
            found => Ok(found),
        }
    }

    fn is_past(&self, at: &At<'_>) -> Result<bool> {
        Ok(!at.stays() && at.expiry()?.is_some_and(|expiry| expiry <= self.now_ms()))
    }

    /// The key's record, if it is there by the time of day.
    ///
    /// # Errors
    /// As `find`.
    pub(crate) fn find_live<'p>(
        &'p self,
        space: &'p Space,
        hash: u64,
        key: &[u8],
        pin: &'p Pin,
    ) -> Result<Option<At<'p>>> {
        match self.spot(space, hash, key, pin) {
            Spot::Absent => Ok(None),
            Spot::At(at) => Ok(Some(at)),
            Spot::Unsure => match self.search(space, hash, key, pin)? {
                Some(at) if self.is_past(&at)? => Ok(None),
                found => Ok(found),
            },
        }
    }

    /// As `find`, where a glance did not do.
    #[inline(never)]
    fn search<'p>(&'p self, space: &'p Space, hash: u64, key: &[u8], pin: &'p Pin) -> Result<Option<At<'p>>> {
        let id = space.id();
        loop {
            match space.table(pin).get(hash, pin, |location| probe(self.registry(), location, (id, key), pin)) {
                Found::At(at) => return Ok(Some(at)),
                Found::Absent => return Ok(None),
                Found::Gone(location) => return Err(unknown(location)),
                Found::Unreadable(location) => {
                    // Once more, for its error. If it can be read this time, the device had a bad moment; if its file has
                    // gone meanwhile, the index has news.
                    if let Some((segment, offset)) = resolve(self.registry(), location, pin)
                        && let Some(hit) = segment.locate(offset, id, key)?
                    {
                        return Ok(Some(At { segment, hit }));
                    }
                }
            }
        }
    }

    /// The seqno of the key's record.
    ///
    /// # Errors
    /// As `find`, and `Corruption` if the head of the record fails its checksum.
    pub(crate) fn seqno_of(&self, space: &Space, hash: u64, key: &[u8]) -> Result<Option<Seqno>> {
        let pin = Pin::new();
        self.find(space, hash, key, &pin)?.map(|at| at.seqno()).transpose()
    }

    /// The key's value.
    ///
    /// # Errors
    /// `Corruption` if its record, or one that might be its, is damaged; `Io` in positioned mode.
    #[inline]
    pub(crate) fn get(&self, space: &Space, key: &[u8]) -> Result<Option<Value>> {
        let (pin, hash) = (Pin::new(), self.hash(key));
        match self.spot(space, hash, key, &pin) {
            Spot::Absent => return Ok(None),
            Spot::At(at) => {
                if let Some(value) = at.trusted()
                    && value.as_ptr().addr() & (space.align() - 1) == 0
                {
                    return Ok(Some(Value::mapped(at.segment.hold(), value)));
                }
            }
            Spot::Unsure => {}
        }
        drop(pin);
        self.get_slowly(space, hash, key)
    }

    /// The same of what expires, was not checked yet, is not mapped, or lies where it should not.
    #[inline(never)]
    fn get_slowly(&self, space: &Space, hash: u64, key: &[u8]) -> Result<Option<Value>> {
        let (pin, align) = (Pin::new(), space.align());
        let Some(at) = self.find_to_read(space, hash, key, &pin)? else { return Ok(None) };
        if let Some(value) = at.mapped()? {
            return Ok(Some(Value::mapped(at.segment.hold(), value).aligned_to(align)));
        }
        drop(pin);
        self.fetch(space, key, |record| self.large().value(record).map(|value| value.aligned_to(align)))
    }

    /// The key's value, if it is there by the time of day, and what is said of its record.
    ///
    /// # Errors
    /// As `get`.
    pub(crate) fn get_versioned(
        &self,
        space: &Space,
        hash: u64,
        key: &[u8],
    ) -> Result<(Option<Value>, Option<Version>)> {
        let pin = Pin::new();
        let Some(at) = self.find(space, hash, key, &pin)? else { return Ok((None, None)) };
        let version = Version { seqno: at.seqno()?, expiry: at.expiry()? };
        if version.expiry.is_some_and(|expiry| expiry <= self.now_ms()) {
            return Ok((None, Some(Version { expiry: None, ..version })));
        }
        let was = at.was();
        // A large value may take its time.
        drop(pin);
        Ok((Some(self.value_of(&was)?), Some(version)))
    }

    /// A part of the key's value.
    ///
    /// # Errors
    /// As `get`.
    pub(crate) fn get_range(&self, space: &Space, key: &[u8], range: &Range<u64>) -> Result<Option<Value>> {
        let pin = Pin::new();
        let Some(at) = self.find_to_read(space, self.hash(key), key, &pin)? else { return Ok(None) };
        if let Some(value) = at.mapped()? {
            return Ok(Some(Value::mapped(at.segment.hold(), value).part(range)));
        }
        drop(pin);
        self.fetch(space, key, |record| self.large().part(record, range))
    }

    /// What `value` makes of the key's record, in memory of its own.
    ///
    /// The file of a large value goes once no segment names it that anyone shows; so the record's segment is held meanwhile.
    #[inline(never)]
    fn fetch<T>(&self, space: &Space, key: &[u8], value: impl FnOnce(&Fetched) -> Result<T>) -> Result<Option<T>> {
        let pin = Pin::new();
        let Some(at) = self.find(space, self.hash(key), key, &pin)? else { return Ok(None) };
        let (record, _hold) = (at.fetch()?, at.segment.hold());
        if record.has_expired(|| self.now_ms()) {
            return Ok(None);
        }
        // A large value may take its time.
        drop(pin);
        value(&record).map(Some)
    }
}

/// Asks for the lines that a lookup of this hash will need after the first: those of the record.
#[inline]
pub(crate) fn prefetch_record(registry: &Registry, table: &Table, hash: u64, pin: &Pin) {
    if let Glance::Likely(location) = table.glance(hash, pin)
        && let Some(segment) = registry.find(location, pin)
    {
        segment.prefetch(offset_in(segment, location));
    }
}

/// Whether the record at `location` has the key, in the words of the index.
#[inline]
fn probe<'p>(registry: &'p Registry, location: Location, (keyspace, key): (u16, &[u8]), pin: &'p Pin) -> Probe<At<'p>> {
    let Some((segment, offset)) = resolve(registry, location, pin) else {
        return Probe::Gone;
    };
    match segment.look(offset, keyspace, key) {
        Look::Same(hit) => Probe::Same(At { segment, hit }),
        Look::Other => Probe::Other,
        Look::Unreadable => Probe::Unreadable,
    }
}

/// The file that `location` lies in, and the offset there; `None` if there is none, or none any more.
#[inline]
pub(crate) fn resolve<'p>(
    registry: &'p Registry,
    location: Location,
    pin: &'p Pin,
) -> Option<(&'p Owner<Segment>, u64)> {
    let segment = registry.find(location, pin)?;
    Some((segment, offset_in(segment, location)))
}

#[inline]
fn offset_in(segment: &Segment, location: Location) -> u64 {
    location.linear() - Location::start_of(segment.place())
}

/// A location without a file that the index insists on: memory damage, since locations never come from disk.
#[cold]
pub(super) fn unknown(location: Location) -> Error {
    Error::corruption("the index", location.linear(), "it points at no segment")
}

#[cfg(test)]
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
mod tests {
    use std::cell::Cell;

    use crate::address::Location;
    use crate::commit;
    use crate::commit::batch::{Member, Records, Rule};
    use crate::commit::queue::Queue;
    use crate::error::ErrorKind;
    use crate::index::table::Found;
    use crate::platform::memory::MemoryDisk;
    use crate::reclaim::pin::Pin;
    use crate::store::read::probe;
    use crate::store::{Settings, Store, open};
    use crate::sync::Arc;

    const KEY: &[u8] = b"key";

    /// A store of `count` files with one record each, the same but for its place, which is returned. The index says the first.
    fn copies(count: usize) -> (Store, Vec<Location>) {
        let settings = Settings { segment_size: 64 << 10, ..Settings::default() };
        let store = open::open(Arc::new(MemoryDisk::new()), settings).unwrap();
        let (queue, hash, mut places) = (Queue::new(), store.hash(KEY), Vec::new());
        for _ in 0..count {
            let mut records = Records::new();
            records.put(0, hash, KEY, b"value").unwrap();
            let member = Member { records, rule: Rule::Always, barrier: None, seal: false };
            commit::commit(&store, &queue, member).unwrap();
            let seal = Member { records: Records::new(), rule: Rule::Always, barrier: None, seal: true };
            commit::commit(&store, &queue, seal).unwrap();
            store.spaces().default().whole_table().walk(|locations, _| {
                places.extend_from_slice(locations);
                true
            });
        }
        assert!(count == 1 || store.spaces().default().whole_table().replace(hash, places[count - 1], places[0]));
        (store, places)
    }

    /// As compaction does: the record is elsewhere before its file goes.
    fn move_record(store: &Store, from: Location, to: Location) {
        assert!(store.spaces().default().whole_table().replace(store.hash(KEY), from, to));
        retire_file(store, from);
    }

    fn retire_file(store: &Store, location: Location) {
        let place = store.registry().find(location, &Pin::new()).unwrap().place();
        store.registry().retire(place);
    }

    #[test]
    fn a_record_that_moves_between_index_and_file_is_found_where_it_is() {
        let (store, places) = copies(4);
        let (pin, next) = (Pin::new(), Cell::new(1));
        let table = store.spaces().default().whole_table();
        let found = table.get(store.hash(KEY), &pin, |location| {
            let to = next.get();
            if to < places.len() {
                assert_eq!(location, places[to - 1]);
                move_record(&store, location, places[to]);
                next.set(to + 1);
            }
            probe(store.registry(), location, (0, KEY), &pin)
        });
        let Found::At(at) = found else {
            panic!("the key is there, but it was not found");
        };
        assert_eq!(at.mapped().unwrap().unwrap(), b"value");
        assert_eq!(next.get(), places.len());
    }

    #[test]
    fn a_place_without_a_file_that_the_index_insists_on_is_damage() {
        let (store, places) = copies(1);
        retire_file(&store, places[0]);
        let error = store.get(store.spaces().default(), KEY).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
        assert!(error.to_string().contains("it points at no segment"), "{error}");
    }
}
