//! Filling the index from hints at open, instead of reading the records that they list.
//!
//! Floor 3. Imports `address`, `error`, `format`, `index`, `platform`, `reclaim`, `segment`, `store`.
//!
//! A hint knows the hash of each key, and not the key. Where the index has nothing like it, that is all it takes. Where it has, both
//! records are looked at, since two keys may have one hash: so a hint is worth it where few keys come again, which is found out
//! from a part of the hashes, the same part in each file.
//!
//! A record whose key cannot be read, because it is damaged, replaces or deletes what has the same hash: else a get would find what
//! the key had before. A put's key is damaged from then on, and no other. Once it is written again, the damaged record counts
//! as a key of its own.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::address::Location;
use crate::error::{Error, ErrorKind, Result};
use crate::format::catalogue::CatalogueRecord;
use crate::format::hint::{Hint, Listed, ListedKind};
use crate::format::identity::Identity;
use crate::format::large::LargeValue;
use crate::index::hash::Hasher;
use crate::index::table::{Found, Probe};
use crate::platform::Disk;
use crate::reclaim::hold::Hold;
use crate::reclaim::pin::Pin;
use crate::segment::fetched::Fetched;
use crate::segment::large::LargeFolder;
use crate::segment::registry::Registry;
use crate::segment::{ReadMode, Segment};
use crate::store::apply::{self, AHEAD, Change};
use crate::store::hints::{self, FoundHint};
use crate::store::read;
use crate::store::space::{Finder, Space, Spaces};
use crate::store::torn::End;

/// What looking at two records takes, in bytes that are read one after the other meanwhile: the system brings 64 KiB around each.
const LOOK_LEN: u64 = 128 << 10;
/// One hash in so many is remembered: those with the lowest values.
const SAMPLE: u64 = 64;

/// Hashes of keys that recovery came by: those that are remembered.
#[derive(Default)]
pub(super) struct Seen(HashSet<u64>);

impl Seen {
    #[inline]
    pub(super) fn note(&mut self, hash: u64) {
        if is_remembered(hash) {
            self.0.insert(hash);
        }
    }
}

fn is_remembered(hash: u64) -> bool {
    hash <= u64::MAX / SAMPLE
}

/// The hint of a sealed segment that ends there, checked to its last byte. `None` also if it lists something that is to be read
/// in the segment, to be refused.
pub(super) fn find(
    disk: &dyn Disk,
    identity: &Identity,
    hasher: &Hasher,
    segment: &Segment,
    end: &End,
) -> Option<FoundHint> {
    let found = hints::find(disk, identity, hasher, segment, ReadMode::Positioned)?;
    let hint = found.hint().ok()?;
    let facts = hint.header();
    let same = (facts.end, facts.last_seqno, facts.all_records) == (end.offset, end.last_seqno, end.record_count);
    let known = |listed: Listed| listed.offset.checked_add(listed.len).is_some_and(|beyond| beyond <= end.offset);
    let whole = same && hint.records().all(|listed| listed.is_ok_and(known));
    whole.then_some(found)
}

/// Whether it takes less to bring into the index what the hint lists than to read the segment.
pub(super) fn is_worth(hint: &Hint<'_>, segment: &Segment, spaces: &Spaces, seen: &Seen) -> bool {
    let (pin, mut finder) = (Pin::new(), Finder::new(spaces));
    let mut is_there = |keyspace: u16, hash: u64| {
        // What another thread is about to bring into the index is not there yet, but seen.
        seen.0.contains(&hash)
            || finder
                .get(keyspace)
                .is_some_and(|space| !matches!(space.table(&pin).get(hash, &pin, |_| Probe::Same(())), Found::Absent))
    };
    // What is said of a large value is read in its record.
    let (mut looks, mut before) = (hint.large().count() as u64, None);
    for Listed { hash, keyspace, .. } in hint.records().flatten() {
        if before.replace(hash) == Some(hash) {
            looks += 1;
        } else if is_remembered(hash) && is_there(keyspace, hash) {
            looks += SAMPLE;
        }
    }
    hint.bytes().saturating_add(looks.saturating_mul(LOOK_LEN)) < segment.used_bytes()
}

/// Shows all that the hint lists, `count` records at a time.
///
/// # Errors
/// Those of `show`.
pub(super) fn show_all(
    hint: &Hint<'_>,
    segment: &Hold<Segment>,
    count: usize,
    seen: &mut Seen,
    mut show: impl FnMut(Listing) -> Result<()>,
) -> Result<()> {
    let is_catalogue = |listed: &Listed| listed.kind == ListedKind::Other;
    let mut catalogue: Vec<_> = hint.records().flatten().filter(is_catalogue).map(|listed| listed.offset).collect();
    // In the order of the log, and before all others: floors tell which of these count (K1).
    catalogue.sort_unstable();
    show(Listing { segment: segment.clone(), catalogue, listed: Vec::new() })?;
    let plain = hint.records().flatten().filter(|listed| !is_catalogue(listed));
    let mut records = plain.inspect(|listed| seen.note(listed.hash));
    loop {
        let listed: Vec<_> = records.by_ref().take(count).collect();
        if listed.is_empty() {
            return Ok(());
        }
        show(Listing { segment: segment.clone(), catalogue: Vec::new(), listed })?;
    }
}

/// Records of one segment as its hint lists them.
pub(super) struct Listing {
    segment: Hold<Segment>,
    /// Where records of the catalogue are, which are read.
    catalogue: Vec<u64>,
    listed: Vec<Listed>,
}

impl Listing {
    /// Brings them into the index.
    ///
    /// # Errors
    /// `Io` if a record that had to be looked at could not be read; `Corruption` if one of the catalogue is damaged.
    pub(super) fn apply(
        &self,
        registry: &Registry,
        spaces: &Spaces,
        large: &LargeFolder,
        hasher: &Hasher,
    ) -> Result<()> {
        for offset in &self.catalogue {
            self.apply_catalogue(*offset, registry, spaces, large)?;
        }
        let mut finder = Finder::new(spaces);
        for some in self.listed.chunks(AHEAD) {
            let pin = Pin::new();
            for listed in some {
                if let Some(space) = finder.get(listed.keyspace) {
                    space.table(&pin).prefetch(listed.hash, &pin);
                }
            }
            drop(pin);
            for listed in some {
                let location = Location::new(self.segment.place(), listed.offset);
                let space = finder.get(listed.keyspace);
                let Some(space) = space.filter(|space| self.counts(space, listed.offset)) else {
                    apply::name_nobodys(registry, large, location, large_of(&self.segment, listed)?);
                    continue;
                };
                // The hint does not tell.
                space.note_expiring();
                let own = Own { segment: &self.segment, space, listed, location, key: None, failure: None };
                own.apply(registry, large, hasher)?;
            }
        }
        Ok(())
    }
}

impl Listing {
    /// K1, of what a hint does not tell the seqno of.
    fn counts(&self, space: &Space, offset: u64) -> bool {
        let floor = space.floor();
        // What cannot be read stands for its key, damaged as it is.
        floor < self.segment.first_seqno() || self.segment.record(offset).map_or(true, |header| floor < header.seqno)
    }

    fn apply_catalogue(&self, offset: u64, registry: &Registry, spaces: &Spaces, large: &LargeFolder) -> Result<()> {
        let (header, record) = (self.segment.record(offset)?, Fetched::read(&self.segment, offset)?);
        let said = CatalogueRecord::of(header.kind, header.keyspace, record.value());
        let said = said.map_err(|flaw| self.segment.flawed(offset, &flaw))?;
        spaces.apply(&said, header.seqno, |id| {
            apply::forget_space(registry, large, id);
            None
        });
        Ok(())
    }
}

/// The large value that the record names; `None` if there is none, or what it says of it is damaged.
fn large_of(segment: &Segment, listed: &Listed) -> Result<Option<LargeValue>> {
    if listed.kind != ListedKind::PutLarge {
        return Ok(None);
    }
    match Fetched::read(segment, listed.offset) {
        Ok(record) => Ok(record.large().copied()),
        Err(error) if error.kind() == ErrorKind::Corruption => Ok(None),
        Err(error) => Err(error),
    }
}

/// A record on its way into the index.
struct Own<'a> {
    segment: &'a Segment,
    space: &'a Space,
    listed: &'a Listed,
    location: Location,
    /// Once somebody needs it.
    key: Option<Result<Cow<'a, [u8]>>>,
    failure: Option<Error>,
}

impl Own<'_> {
    fn apply(mut self, registry: &Registry, large: &LargeFolder, hasher: &Hasher) -> Result<()> {
        let hash = self.listed.hash;
        match self.listed.kind {
            ListedKind::Put | ListedKind::PutLarge => self.put(registry, large, hasher)?,
            ListedKind::Delete => {
                let space = self.space;
                apply::index_delete_by(registry, large, space, hash, |at| self.probe(at, registry, hasher));
            }
            ListedKind::Other => {}
        }
        self.failure.map_or(Ok(()), Err)
    }

    fn put(&mut self, registry: &Registry, large: &LargeFolder, hasher: &Hasher) -> Result<()> {
        let named = large_of(self.segment, self.listed)?;
        let Listed { hash, len, .. } = *self.listed;
        let change = Change { space: self.space, hash, key: &[], location: self.location, len, large: named };
        apply::index_put_by(registry, large, &change, |at| self.probe(at, registry, hasher))
    }

    /// Whether the record at a place has the same key.
    fn probe(&mut self, at: Location, registry: &Registry, hasher: &Hasher) -> Probe {
        if at == self.location {
            return Probe::Same(());
        }
        match self.key.get_or_insert_with(|| self.segment.key(self.listed.offset)) {
            Ok(key) => apply::probe_or_note(registry, at, (self.space.id(), key), &mut self.failure),
            Err(error) if error.kind() == ErrorKind::Corruption => self.probe_hash(at, registry, hasher),
            Err(error) => {
                self.failure = Some(error.clone());
                Probe::Unreadable
            }
        }
    }

    /// The same, as far as hashes tell.
    fn probe_hash(&mut self, at: Location, registry: &Registry, hasher: &Hasher) -> Probe {
        let pin = Pin::new();
        let Some((segment, offset)) = read::resolve(registry, at, &pin) else {
            return Probe::Gone;
        };
        match segment.key(offset) {
            Ok(key) if hasher.hash(&key) == self.listed.hash => Probe::Same(()),
            Ok(_) => Probe::Other,
            Err(error) => {
                if error.kind() != ErrorKind::Corruption {
                    self.failure = Some(error);
                }
                Probe::Unreadable
            }
        }
    }
}

#[cfg(test)]
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
mod tests {
    use super::Listing;
    use crate::address::Seqno;
    use crate::commit;
    use crate::commit::batch::{Member, Records, Rule};
    use crate::commit::queue::Queue;
    use crate::format::catalogue::CatalogueRecord;
    use crate::format::hint::{Listed, ListedKind};
    use crate::platform::memory::MemoryDisk;
    use crate::reclaim::hold::Hold;
    use crate::segment::Segment;
    use crate::segment::scan::{Scan, Step, Values};
    use crate::segment::source::Source;
    use crate::store::space::Spaces;
    use crate::store::{Settings, Store, open};
    use crate::sync::Arc;

    /// A store whose only segment has a put of each of these keys, and these as a hint may list them, with hashes from 5 on.
    fn written(keys: &[&[u8]]) -> (Store, Hold<Segment>, Vec<Listed>) {
        let store = open::open(Arc::new(MemoryDisk::new()), Settings::default()).unwrap();
        let queue = Queue::new();
        for key in keys {
            let mut records = Records::new();
            records.put(0, store.hash(key), key, b"value").unwrap();
            commit::commit(&store, &queue, Member { records, rule: Rule::Always, barrier: None, seal: false }).unwrap();
        }
        let (segment, mut listed) = (store.segments().remove(0), Vec::new());
        let (file, end) = (segment.file().unwrap(), segment.tail().published());
        let mut scan = Scan::new(&*file, segment.path(), segment.salt(), end, Source::Cache, Values::Skip);
        while scan.offset() < end {
            let Step::Record(record) = scan.step().unwrap() else { panic!("a record is there") };
            let (offset, len, hash) = (record.offset, record.header.record_len(), 5 + listed.len() as u64);
            listed.push(Listed { hash, offset, kind: ListedKind::Put, keyspace: 0, len });
        }
        (store, segment, listed)
    }

    #[test]
    fn what_a_hint_lists_counts_from_the_last_clearing_of_its_keyspace_on() {
        let (store, segment, listed) = written(&[b"one", b"two", b"three"]);
        for cleared in 0..=3 {
            let spaces = Spaces::new();
            if cleared > 0 {
                spaces.apply(&CatalogueRecord::Clear(0), Seqno::from(cleared), |_| None);
            }
            let listing = Listing { segment: segment.clone(), catalogue: Vec::new(), listed: listed.clone() };
            listing.apply(store.registry(), &spaces, store.large(), store.hasher()).unwrap();
            assert_eq!(spaces.default().len(), 3 - cleared, "cleared by write {cleared}");
        }
    }

    #[test]
    fn two_keys_of_one_hash_are_two_keys_and_the_newest_record_of_one_counts() {
        let (store, segment, mut listed) = written(&[b"one", b"two", b"one"]);
        listed.iter_mut().for_each(|listed| listed.hash = 5);
        let (spaces, before) = (Spaces::new(), segment.live_records());
        let table = spaces.default().whole_table();
        let apply = |listed| {
            let listing = Listing { segment: segment.clone(), catalogue: Vec::new(), listed };
            listing.apply(store.registry(), &spaces, store.large(), store.hasher()).unwrap();
        };
        apply(listed.clone());
        let mut found = Vec::new();
        table.walk(|locations, _| {
            found.extend(
                locations.iter().map(|at| segment.key(at.linear() - super::Location::start_of(at.place())).unwrap()),
            );
            true
        });
        found.sort();
        assert_eq!(found, [&b"one"[..], b"two"]);
        assert_eq!((table.len(), segment.live_records()), (2, before + 2));
        // The same once more changes nothing; and a delete takes its own key.
        apply(listed.clone());
        assert_eq!((table.len(), segment.live_records()), (2, before + 2));
        apply(vec![Listed { kind: ListedKind::Delete, ..listed[2] }]);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_record_that_cannot_be_read_replaces_what_has_its_hash_and_nothing_else() {
        // The last: nor can what was there.
        for (is_its_hash, damaged, len) in [(true, 1..2, 1), (false, 1..2, 2), (true, 0..2, 2)] {
            let (store, segment, mut listed) = written(&[b"one", b"two"]);
            for listed in &listed[damaged] {
                segment.file().unwrap().write_at(&[0xff], listed.offset + 8).unwrap();
            }
            // As the index tells them apart, which keeps less than the hash.
            let hash = if is_its_hash { store.hash(b"one") } else { 5 };
            listed.iter_mut().for_each(|listed| listed.hash = hash);
            let spaces = Spaces::new();
            let listing = Listing { segment: segment.clone(), catalogue: Vec::new(), listed };
            listing.apply(store.registry(), &spaces, store.large(), store.hasher()).unwrap();
            assert_eq!(spaces.default().len(), len, "the hash of what was there: {is_its_hash}");
        }
    }

    #[test]
    fn a_clearing_that_a_hint_lists_is_read_and_counts() {
        let (store, segment, listed) = written(&[b"one", b"two"]);
        let clearing = segment.tail().published();
        let mut records = Records::new();
        records.say(&CatalogueRecord::Clear(0)).unwrap();
        let member = Member { records, rule: Rule::Always, barrier: None, seal: false };
        commit::commit(&store, &Queue::new(), member).unwrap();
        let spaces = Spaces::new();
        let listing = Listing { segment, catalogue: vec![clearing], listed };
        listing.apply(store.registry(), &spaces, store.large(), store.hasher()).unwrap();
        assert_eq!((spaces.default().floor(), spaces.default().len()), (Seqno::from(3), 0));
    }

    #[test]
    fn the_damaged_record_of_a_large_value_keeps_its_place_and_costs_no_other_key() {
        let (store, segment, mut listed) = written(&[b"one", b"two"]);
        segment.file().unwrap().write_at(&[0xff], listed[0].offset + 8).unwrap();
        listed[0].kind = ListedKind::PutLarge;
        let spaces = Spaces::new();
        let listing = Listing { segment: segment.clone(), catalogue: Vec::new(), listed };
        listing.apply(store.registry(), &spaces, store.large(), store.hasher()).unwrap();
        assert_eq!(spaces.default().len(), 2);
    }
}
