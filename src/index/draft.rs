//! A unit in the making: plain memory that nobody else sees, filled from the frozen words of its parent.
//!
//! Floor 2. Imports `index`.

use crate::index::bucket::{DEPTH_MAX, EARLY_BITS, Reach, SLOTS, WINDOW, Word};

/// The bits of a key's hash that choose among units of few bits and buckets of few; a slot has no room for them.
///
/// The inserter keeps one for each slot of a unit whose depth is below `EARLY_BITS`: two bytes more a slot, while
/// there are less than some 300 thousand keys. A deeper unit has all 256 buckets and needs none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Early(u16);

impl Early {
    pub(crate) fn new(hash: u64) -> Early {
        Early((hash >> 56 << 8 | hash & 0xff) as u16)
    }

    fn home(self, buckets: usize) -> usize {
        usize::from(self.0) & 0xff & (buckets - 1)
    }

    fn child(self, depth: u32) -> usize {
        debug_assert!(depth < EARLY_BITS);
        usize::from(self.0 >> (15 - depth) & 1)
    }
}

/// A key as its unit holds it: what is known of its hash, and where it lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) word: Word,
    pub(crate) home: usize,
    pub(crate) seat: Seat,
}

/// Where in its unit a key lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Seat {
    Slot { bucket: usize, slot: usize },
    Chain,
}

/// A unit in the making.
pub(crate) struct Draft {
    pub(crate) depth: u32,
    pub(crate) words: Vec<[Word; SLOTS]>,
    pub(crate) reach: Vec<Reach>,
    /// Keys of which even the whole window is full, with their homes.
    pub(crate) chain: Vec<(usize, Word)>,
    /// One for each slot, bucket by bucket; empty from a depth of `EARLY_BITS` on.
    pub(crate) early: Vec<Early>,
}

/// Fills the drafts of the units that take the place of one: of one as deep, or of two that share its keys by the last
/// bit of the hash at their depth.
///
/// `early` is the parent's, empty if it had none.
pub(crate) fn share(drafts: &mut [Draft], entries: impl Iterator<Item = Entry>, early: &[Early]) {
    for entry in entries {
        let early = match entry.seat {
            Seat::Slot { bucket, slot } => early.get(bucket * SLOTS + slot).copied(),
            Seat::Chain => None,
        };
        let child = match (&*drafts, early) {
            ([_], _) => 0,
            ([child, ..], Some(early)) => early.child(child.depth - 1),
            ([child, ..], None) => entry.word.child(child.depth - 1),
            ([], _) => unreachable!("a unit has children"),
        };
        drafts[child].copy(entry, early);
    }
    for draft in drafts {
        draft.pull_home();
        draft.seat_chain();
        draft.set_reach();
    }
}

impl Draft {
    /// An empty one.
    pub(crate) fn new(depth: u32, buckets: usize) -> Draft {
        debug_assert!(buckets.is_power_of_two() && depth <= DEPTH_MAX);
        let early_count = if depth < EARLY_BITS { buckets * SLOTS } else { 0 };
        Draft {
            depth,
            words: vec![[Word::EMPTY; SLOTS]; buckets],
            reach: vec![Reach::default(); buckets],
            chain: Vec::new(),
            early: vec![Early::default(); early_count],
        }
    }

    /// Puts a key where it was: as far from its home, in the same slot. So two of them never want the same slot: of the
    /// buckets whose number is the same in the lower bits, the parent had but one.
    fn copy(&mut self, entry: Entry, early: Option<Early>) {
        let buckets = self.words.len();
        let home = early.map_or(entry.home, |early| early.home(buckets));
        let Seat::Slot { slot, .. } = entry.seat else {
            self.chain.push((home, entry.word));
            return;
        };
        let bucket = (home + entry.word.displacement()) & (buckets - 1);
        debug_assert!(self.words[bucket][slot].is_empty());
        self.seat(bucket, slot, entry.word, early);
    }

    fn seat(&mut self, bucket: usize, slot: usize, word: Word, early: Option<Early>) {
        self.words[bucket][slot] = word;
        if let (Some(early), Some(seat)) = (early, self.early.get_mut(bucket * SLOTS + slot)) {
            *seat = early;
        }
    }

    /// Brings each displaced key as near to its home as there is room.
    fn pull_home(&mut self) {
        let buckets = self.words.len();
        for bucket in 0..buckets {
            for slot in 0..SLOTS {
                let word = self.words[bucket][slot];
                let displacement = word.displacement();
                if word.is_empty() || displacement == 0 {
                    continue;
                }
                let home = bucket.wrapping_sub(displacement) & (buckets - 1);
                let early = self.early.get(bucket * SLOTS + slot).copied();
                self.words[bucket][slot] = Word::EMPTY;
                let seated = self.seat_near(home, word, early);
                debug_assert!(seated, "its own slot was free");
            }
        }
    }

    /// Puts what was in the chain into slots, as far as there are any.
    fn seat_chain(&mut self) {
        for (home, word) in std::mem::take(&mut self.chain) {
            if !self.seat_near(home, word, None) {
                self.chain.push((home, word));
            }
        }
    }

    /// Notes at each home how far from it its keys are.
    fn set_reach(&mut self) {
        let mask = self.words.len() - 1;
        for (bucket, words) in self.words.iter().enumerate() {
            for displacement in words.iter().map(|word| word.displacement()).filter(|&d| d > 0) {
                let reach = &mut self.reach[bucket.wrapping_sub(displacement) & mask];
                *reach = reach.with(displacement);
            }
        }
        for &(home, _) in &self.chain {
            self.reach[home] = self.reach[home].with_chain();
        }
    }

    /// Puts `word` into the first empty slot of its window; `false` if there is none.
    fn seat_near(&mut self, home: usize, word: Word, early: Option<Early>) -> bool {
        let buckets = self.words.len();
        for displacement in 0..WINDOW.min(buckets) {
            let bucket = (home + displacement) & (buckets - 1);
            if let Some(slot) = self.words[bucket].iter().position(|word| word.is_empty()) {
                self.seat(bucket, slot, word.displaced(displacement), early);
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
#[cfg(not(zipcask_loom))]
mod tests {
    use super::{Draft, Early, Entry, Seat, share};
    use crate::address::Location;
    use crate::index::bucket::{Reach, Word};

    fn word(hash: u64) -> Word {
        Word::new(hash, Location::from_unit(1).unwrap())
    }

    #[test]
    fn a_child_brings_displaced_and_chained_keys_home() {
        let home = 255;
        let displaced = Entry { word: word(0).displaced(3), home, seat: Seat::Slot { bucket: 2, slot: 6 } };
        let chained = Entry { word: word(0), home, seat: Seat::Chain };
        let mut drafts = [Draft::new(9, 256), Draft::new(9, 256)];
        share(&mut drafts, [displaced, chained].into_iter(), &[]);
        assert_eq!(drafts[0].words[home][..2], [word(0); 2]);
        assert_eq!(drafts[0].words.iter().flatten().filter(|word| !word.is_empty()).count(), 2);
        assert!(drafts[0].chain.is_empty() && drafts[0].reach[home].is_home_only());
        assert!(drafts[1].words.iter().flatten().all(|word| word.is_empty()));
    }

    #[test]
    fn a_child_keeps_as_displaced_what_has_no_room_at_home() {
        let mut drafts = [Draft::new(8, 256)];
        let entries = (0..8).map(|i| Entry {
            word: word(0).displaced(i / 7 * 5),
            home: 9,
            seat: Seat::Slot { bucket: 9 + i / 7 * 5, slot: i % 7 },
        });
        share(&mut drafts, entries, &[]);
        assert_eq!(drafts[0].words[10][0], word(0).displaced(1));
        assert_eq!(drafts[0].reach[9], Reach::default().with(1));
    }

    #[test]
    fn a_wider_child_sends_each_key_where_its_early_bits_say() {
        let hashes = [0x00, 0x40, 0x80, 0xc0_u64];
        let early = hashes.map(Early::new);
        let entries = (0..4).map(|slot| Entry { word: word(0), home: 0, seat: Seat::Slot { bucket: 0, slot } });
        let mut drafts = [Draft::new(0, 256)];
        share(&mut drafts, entries, &early);
        for (slot, hash) in hashes.into_iter().enumerate() {
            assert_eq!(drafts[0].words[hash as usize][slot], word(0));
        }
    }
}
