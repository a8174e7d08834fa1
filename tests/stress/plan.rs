//! What each version of each owned key is, and which versions a reader may meet.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::bytes;
use crate::ways::Checked;

/// Says for every key what its owner writes, version after version: so readers know it, too.
///
/// Version 0 of all keys is nothing. Odd keys are never deleted.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
}

impl Plan {
    fn source(self, key: u32, version: u32) -> u64 {
        bytes::mix(self.seed, u64::from(key) << 32 | u64::from(version))
    }

    /// Bytes of the value; `None` if this version deletes.
    pub(crate) fn len(self, key: u32, version: u32) -> Option<usize> {
        let source = self.source(key, version);
        let (dice, more) = (source % 10_000, (source >> 32) as usize);
        if version == 0 || version > 1 && key.is_multiple_of(2) && more % 4 == 1 {
            return None;
        }
        Some(match dice {
            0..=2399 => [0, 1, 7, 8][more % 4],
            2400..=5499 => 9 + more % 60,
            5500..=9299 => 100,
            9300..=9799 => 100 + more % 2000,
            9800..=9994 => 4096,
            _ => 65_537 + more % 30_000,
        })
    }

    /// The value; `None` if this version deletes.
    pub(crate) fn value(self, key: u32, version: u32) -> Option<Vec<u8>> {
        self.len(key, version).map(|len| bytes::from(self.source(key, version), len))
    }

    /// Whether this is what the version shows.
    pub(crate) fn shows(self, key: u32, version: u32, seen: Option<&[u8]>) -> bool {
        match (self.len(key, version), seen) {
            (None, None) => true,
            (Some(len), Some(seen)) => len == seen.len() && bytes::follow(seen, self.source(key, version)),
            _ => false,
        }
    }
}

/// The bytes of a key: several lengths, the empty one among them.
pub(crate) fn name(key: u32) -> Vec<u8> {
    let len = match key {
        0 => 0,
        _ if key.is_multiple_of(5000) => 4 + key as usize / 10,
        _ => 4 + key as usize % 21,
    };
    let mut name = key.to_le_bytes().to_vec();
    name.resize(len, key as u8);
    name
}

/// The key that has these bytes.
pub(crate) fn key_of(bytes: &[u8]) -> Option<u32> {
    let key = bytes.first_chunk().map_or(0, |first| u32::from_le_bytes(*first));
    (name(key) == bytes).then_some(key)
}

/// How far the owners are, key by key.
pub(crate) struct Board {
    plan: Plan,
    /// Set before a version is written.
    begun: Vec<AtomicU32>,
    /// Set once it has been acknowledged.
    done: Vec<AtomicU32>,
}

impl Board {
    pub(crate) fn new(plan: Plan, keys: u32) -> Board {
        let zeros = || (0..keys).map(|_| AtomicU32::new(0)).collect();
        Board { plan, begun: zeros(), done: zeros() }
    }

    /// Takes the next version of a key, which is the caller's.
    pub(crate) fn begin(&self, key: u32) -> u32 {
        let version = self.newest(key) + 1;
        self.begun[key as usize].store(version, Ordering::Release);
        version
    }

    pub(crate) fn finish(&self, key: u32) {
        self.done[key as usize].store(self.newest(key), Ordering::Release);
    }

    /// No reader has met a later version than this: ask after reading.
    pub(crate) fn newest(&self, key: u32) -> u32 {
        self.begun[key as usize].load(Ordering::Acquire)
    }

    /// No reader meets an earlier version than this: ask before reading.
    pub(crate) fn oldest(&self, key: u32) -> u32 {
        self.done[key as usize].load(Ordering::Acquire)
    }

    /// As `oldest`, for all keys.
    pub(crate) fn all_oldest(&self) -> Vec<u32> {
        (0..self.done.len() as u32).map(|key| self.oldest(key)).collect()
    }

    /// As `newest`, for all keys.
    pub(crate) fn all_newest(&self) -> Vec<u32> {
        (0..self.begun.len() as u32).map(|key| self.newest(key)).collect()
    }

    /// The first version, from `oldest` to `newest`, that shows what was seen.
    pub(crate) fn identify(&self, key: u32, oldest: u32, newest: u32, seen: Option<&[u8]>) -> Checked<u32> {
        let shows = |version: &u32| self.plan.shows(key, *version, seen);
        (oldest..=newest).find(shows).ok_or_else(|| {
            let what = seen.map_or("nothing".into(), |seen| format!("{} bytes", seen.len()));
            let stray = match ((0..oldest).rfind(shows), (newest + 1..newest + 100).find(shows)) {
                (Some(version), _) => format!("what version {version} was"),
                (None, Some(version)) => format!("what version {version} is going to be"),
                (None, None) => "no version of this key".into(),
            };
            format!("key {key} shows {what}, {stray}; it has to be one of the versions {oldest} to {newest}")
        })
    }

    /// As `identify`, of a value that is shown.
    pub(crate) fn is_there(&self, key: u32, oldest: u32, newest: u32, there: bool) -> Checked<()> {
        if (oldest..=newest).any(|version| self.plan.len(key, version).is_some() == there) {
            return Ok(());
        }
        let what = if there { "is there" } else { "is missing" };
        Err(format!("key {key} {what}, which none of its versions {oldest} to {newest} allows"))
    }
}
