//! What keys were before they were changed, for as long as a snapshot shows it.
//!
//! Floor 3. Imports `address`, `reclaim`, `segment`, `store`, `sync`.
//!
//! S3: of each key that was changed behind a snapshot there is the change that ended what the snapshot shows of it. So a key whose
//! record is no newer than the snapshot is as it was, and of any other, also of one that has none, the first change behind it is here, or
//! there was none.

use std::collections::{BTreeMap, HashMap};

use crate::address::Seqno;
use crate::reclaim::hold::Hold;
use crate::segment::Segment;
use crate::store::moments::{Keep, Moments};
use crate::sync::plain::{AtomicU64, Mutex, MutexGuard, Ordering, PoisonError};

/// Parts, each with a lock: readers of snapshots and the writer rarely meet.
const PARTS: usize = 16;
/// So many more than after the last look are worth another, when a snapshot goes.
const LOOK_AGAIN: u64 = 4096;

/// A record that stays although it was replaced: its file does not go.
#[derive(Clone)]
pub(crate) struct Was {
    pub(crate) segment: Hold<Segment>,
    pub(crate) offset: u64,
}

/// What a key was until it was changed.
struct Version {
    /// When that was written; 0 where there was nothing.
    since: Seqno,
    /// When it was changed.
    until: Seqno,
    was: Option<Was>,
}

/// Of each key of each keyspace, oldest first.
type Part = HashMap<u16, HashMap<Box<[u8]>, Vec<Version>>>;

pub(crate) struct Versions {
    pub(crate) moments: Moments,
    parts: [Mutex<Part>; PARTS],
    count: AtomicU64,
    /// What was left when it was last looked through.
    looked: AtomicU64,
    /// Memory, about.
    bytes: AtomicU64,
}

impl Versions {
    pub(crate) fn new() -> Versions {
        Versions {
            moments: Moments::new(),
            parts: std::array::from_fn(|_| Mutex::default()),
            count: AtomicU64::new(0),
            looked: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// The one writer: begins a publication. What nobody can ask for any more goes.
    pub(crate) fn begin_publication(&self) -> Keep {
        let keep = self.moments.begin_publication();
        if keep == Keep::Nothing && self.count() > 0 {
            self.retain(&BTreeMap::new());
        }
        keep
    }

    /// The one writer, before the index says the change: keeps what the key was.
    ///
    /// `was` is with the seqno that it was written as.
    pub(crate) fn keep(
        &self,
        keep: Keep,
        hash: u64,
        (keyspace, key): (u16, &[u8]),
        until: Seqno,
        was: Option<(Was, Seqno)>,
    ) {
        let mut part = self.part(hash);
        let part = part.entry(keyspace).or_default();
        let last = part.get(key).and_then(|versions| versions.last());
        // Where there is nothing, nobody wrote down since when.
        let since = was.as_ref().map_or(last.map_or(Seqno::default(), |last| last.until), |(_, since)| *since);
        // Where a log is read anew that is not what it was, older records take the place of newer ones for a while: no change of that log.
        if !keep.covers(since) || since >= until {
            return;
        }
        let version = Version { since, until, was: was.map(|(was, _)| was) };
        let added = size_of::<Version>() + if last.is_none() { entry_bytes(key) } else { 0 };
        match part.get_mut(key) {
            Some(versions) => versions.push(version),
            None => drop(part.insert(key.into(), vec![version])),
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(added as u64, Ordering::Relaxed);
    }

    /// What the key was at `moment`, if it was changed since: `Some(None)` says that it was not there.
    pub(crate) fn at(&self, hash: u64, (keyspace, key): (u16, &[u8]), moment: Seqno) -> Option<Option<Was>> {
        let part = self.part(hash);
        let versions = part.get(&keyspace)?.get(key)?;
        versions.iter().find(|version| version.until > moment).map(|version| version.was.clone())
    }

    /// What of a keyspace was changed since `moment` and was there.
    pub(crate) fn all_at(&self, keyspace: u16, moment: Seqno) -> Vec<Was> {
        let mut all = Vec::new();
        for part in &self.parts {
            let part = lock(part);
            let of = |versions: &Vec<Version>| versions.iter().find(|version| version.until > moment)?.was.clone();
            all.extend(part.get(&keyspace).into_iter().flat_map(HashMap::values).filter_map(of));
        }
        all
    }

    /// Whether a key of a keyspace that `is_meant` was changed since a moment that is open: put, replaced or deleted.
    pub(crate) fn has_changed(&self, keyspace: u16, moment: Seqno, is_meant: impl Fn(&[u8]) -> bool) -> bool {
        self.parts.iter().any(|part| {
            let part = lock(part);
            let mut keys = part.get(&keyspace).into_iter().flatten();
            keys.any(|(key, versions)| versions.last().is_some_and(|last| last.until > moment) && is_meant(key))
        })
    }

    /// Closes a snapshot.
    pub(crate) fn close(&self, moment: Seqno) {
        self.moments.close(moment, |open| {
            let oldest_gone = open.keys().next().is_none_or(|oldest| *oldest > moment);
            let grown = self.count() > 2 * self.looked.load(Ordering::Relaxed) + LOOK_AGAIN;
            if self.count() > 0 && (oldest_gone || grown) {
                self.retain(open);
            }
        });
    }

    /// Lets go of everything.
    pub(crate) fn forget(&self) {
        self.retain(&BTreeMap::new());
    }

    /// Lets go of what none of the `open` moments shows.
    fn retain(&self, open: &BTreeMap<Seqno, usize>) {
        let (mut count, mut bytes) = (0, 0);
        for part in &self.parts {
            let mut part = lock(part);
            part.retain(|_, keys| {
                keys.retain(|key, versions| {
                    versions.retain(|version| open.range(version.since..version.until).next().is_some());
                    count += versions.len();
                    bytes += if versions.is_empty() { 0 } else { entry_bytes(key) + size_of_val(&versions[..]) };
                    !versions.is_empty()
                });
                !keys.is_empty()
            });
            if part.is_empty() {
                *part = Part::new();
            }
        }
        self.count.store(count as u64, Ordering::Relaxed);
        self.looked.store(count as u64, Ordering::Relaxed);
        self.bytes.store(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn part(&self, hash: u64) -> MutexGuard<'_, Part> {
        lock(&self.parts[hash as usize % PARTS])
    }
}

/// Memory of a key's entry without its versions.
fn entry_bytes(key: &[u8]) -> usize {
    key.len() + size_of::<(Box<[u8]>, Vec<Version>)>()
}

fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}
