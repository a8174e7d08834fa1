//! Which records are believed without looking at their checksums again.
//!
//! Floor 2. Imports `limits`, `prefetch`, `sync`.

use crate::limits::RECORD_HEADER_LEN;
use crate::prefetch::prefetch;
use crate::sync::plain::{AtomicBool, AtomicU64, Ordering};

/// When a record's checksums are checked on the way of a read.
///
/// Whatever is chosen: a record whose key is not the one that was asked for is checked before that is believed; opening
/// checks every header and key that it reads, and the values of a segment that was not closed; [`Db::verify`](crate::Db::verify) checks
/// everything; and after a failed sync every read checks. So does every read by system call
/// ([`ReadMode::Positioned`](crate::ReadMode::Positioned), and files that cannot be mapped), which fetches the bytes anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Verify {
    /// On every read: what rots in the page cache after it was read is noticed, too.
    Always,
    /// The first time that a session reads the record: what rots on the device is noticed, and whatever is read again is
    /// as fast as it can be. Takes a bit of memory for every 24 bytes of the log.
    ///
    /// The default.
    #[default]
    FirstTouch,
    /// By `verify` alone: a read of a rotten value returns what is there.
    ScrubOnly,
}

/// No record is shorter, so no two begin in the same granule, and none vouches for another.
const GRANULE_LEN: u64 = RECORD_HEADER_LEN as u64;

/// What is known of the records of one segment.
///
/// Relaxed throughout: a bit says something of bytes that were there before, and that nobody changes.
#[derive(Debug)]
pub(crate) struct Trust {
    mode: Verify,
    /// A failed sync has made the page cache a liar (W4).
    lost: AtomicBool,
    /// One bit a granule, set when a record that begins in it was checked.
    checked: Box<[AtomicU64]>,
}

impl Trust {
    /// For a segment of `len` bytes.
    pub(crate) fn new(mode: Verify, len: u64) -> Trust {
        let words = if mode == Verify::FirstTouch { len.div_ceil(GRANULE_LEN * 64) as usize } else { 0 };
        // Zeros from the allocator: memory is taken where bits are set, and no sooner.
        let words = Box::into_raw(vec![0_u64; words].into_boxed_slice());
        // SAFETY: an AtomicU64 has size, alignment and bit validity of a u64, and the box is ours.
        let checked = unsafe { Box::from_raw(words as *mut [AtomicU64]) };
        Trust { mode, lost: AtomicBool::new(false), checked }
    }

    /// Whether the record at `offset` needs no check.
    #[inline]
    pub(crate) fn covers(&self, offset: u64) -> bool {
        let bit = offset / GRANULE_LEN;
        let known = match self.checked.get((bit / 64) as usize) {
            Some(word) => word.load(Ordering::Relaxed) >> (bit % 64) & 1 != 0,
            None => self.mode == Verify::ScrubOnly,
        };
        known && !self.lost.load(Ordering::Relaxed)
    }

    /// Asks for what is known of the record at `offset`.
    #[inline]
    pub(crate) fn prefetch(&self, offset: u64) {
        prefetch(self.checked.as_ptr().wrapping_add((offset / (GRANULE_LEN * 64)) as usize));
    }

    /// The record at `offset` was checked.
    pub(crate) fn extend(&self, offset: u64) {
        let bit = offset / GRANULE_LEN;
        if let Some(word) = self.checked.get((bit / 64) as usize) {
            word.fetch_or(1 << (bit % 64), Ordering::Relaxed);
        }
    }

    /// From here on every read is checked.
    pub(crate) fn lose(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{Trust, Verify};

    #[test]
    fn a_record_is_trusted_after_its_check_and_its_neighbours_are_not() {
        let trust = Trust::new(Verify::FirstTouch, 1 << 20);
        for offset in (4096..8192).step_by(8) {
            let trust = Trust::new(Verify::FirstTouch, 1 << 20);
            trust.extend(offset);
            assert!(trust.covers(offset));
            // The shortest record before this one, and the next one if this is as short.
            assert!(!trust.covers(offset - 24) && !trust.covers(offset + 24), "{offset}");
        }
        trust.extend(4128);
        trust.lose();
        assert!(!trust.covers(4128));
    }

    #[test]
    fn the_other_modes_trust_all_or_nothing() {
        let (always, never) = (Trust::new(Verify::Always, 1 << 20), Trust::new(Verify::ScrubOnly, 1 << 20));
        always.extend(4096);
        assert!(!always.covers(4096));
        assert!(never.covers(4096));
        never.lose();
        assert!(!never.covers(4096));
    }
}
