//! A unit in the making: plain memory that nobody else sees, filled from the frozen words of its parent.
//!
//! Floor 2. Imports `index`.

use crate::index::bucket::{DEPTH_MAX, EARLY_BITS, Early, Reach, SLOTS, WINDOW, Word};

/// Buckets of a table's first unit when it is made, and of every unit when it is split.
///
/// Units of 256 buckets take 15.7 bytes a key in the mean over a doubling, those of 128 take 15.2, and 19.8 and 18.8 at
/// worst. The larger have half the directory, which every `get` reads and a doubling copies, and one bit more of the
/// fragment to tell keys apart.
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
pub(crate) const BUCKETS: (usize, usize) = (16, 256);
#[cfg(any(zipcask_loom, zipcask_shuttle))]
pub(crate) const BUCKETS: (usize, usize) = (1, 2);

/// What else of a key's hash a table of one unit has to know, to make it wider or to split it the first time.
///
/// The inserter keeps one for each slot of that unit: a byte, while there are less than some 1,500 keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Rest(u8);

impl Rest {
    /// The hash's first bit, in the lowest; above it the bits of the home in a full unit that the smallest has not.
    #[inline]
    pub(crate) fn new(hash: u64) -> Rest {
        let home = hash % BUCKETS.1 as u64 / BUCKETS.0 as u64;
        Rest((home * 2 + (hash >> 63)) as u8)
    }

    /// The home, from what it is in a smaller unit.
    fn home(self, smaller: usize, buckets: usize) -> usize {
        (smaller % BUCKETS.0 + usize::from(self.0 / 2) * BUCKETS.0) & (buckets - 1)
    }

    fn child(self) -> usize {
        usize::from(self.0 % 2)
    }
}

const _: () = assert!(BUCKETS.1 / BUCKETS.0 <= 128);

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
    Slot { bucket: usize, slot: usize, early: Early },
    Chain,
}

/// A unit in the making.
pub(crate) struct Draft {
    pub(crate) depth: u32,
    pub(crate) words: Vec<[Word; SLOTS]>,
    pub(crate) reach: Vec<Reach>,
    /// Keys of which even the whole window is full, with their homes.
    pub(crate) chain: Vec<(usize, Word)>,
    pub(crate) early: Vec<[Early; SLOTS]>,
    /// One for each slot, bucket by bucket; empty but for a table's only unit.
    pub(crate) rest: Vec<Rest>,
    /// Where keys were put that are not at home.
    displaced: Vec<(usize, usize)>,
}

/// Fills the drafts of the units that take the place of one: of one as deep, or of two that share its keys by the last
/// bit of the hash at their depth.
///
/// `rest` is the parent's, empty if it had none.
pub(crate) fn share(drafts: &mut [Draft], entries: impl Iterator<Item = Entry>, rest: &[Rest]) {
    for entry in entries {
        let (early, rest) = match entry.seat {
            Seat::Slot { bucket, slot, early } => (early, rest.get(bucket * SLOTS + slot).copied()),
            // No unit has a chain before it is too deep to need these.
            Seat::Chain => (Early::default(), None),
        };
        let child = match (drafts.len(), drafts[0].depth, rest) {
            (1, ..) => 0,
            (_, _, Some(rest)) => rest.child(),
            (_, depth, None) if depth <= EARLY_BITS => early.child(depth - 1),
            (_, depth, None) => entry.word.child(depth - 1),
        };
        drafts[child].copy(entry, rest);
    }
    for draft in drafts {
        draft.pull_home();
        draft.seat_chain();
    }
}

impl Draft {
    /// An empty one.
    pub(crate) fn new(depth: u32, buckets: usize) -> Draft {
        debug_assert!(buckets.is_power_of_two() && depth <= DEPTH_MAX);
        let rest_count = if depth == 0 { buckets * SLOTS } else { 0 };
        Draft {
            depth,
            words: vec![[Word::EMPTY; SLOTS]; buckets],
            reach: vec![Reach::default(); buckets],
            chain: Vec::new(),
            early: vec![[Early::default(); SLOTS]; buckets],
            rest: vec![Rest::default(); rest_count],
            displaced: Vec::new(),
        }
    }

    /// Puts a key where it was: as far from its home, in the same slot. So two of them never want the same slot: of the
    /// buckets whose number is the same in the lower bits, the parent had but one.
    fn copy(&mut self, entry: Entry, rest: Option<Rest>) {
        let buckets = self.words.len();
        let home = rest.map_or(entry.home, |rest| rest.home(entry.home, buckets));
        let Seat::Slot { slot, early, .. } = entry.seat else {
            self.chain.push((home, entry.word));
            return;
        };
        let bucket = (home + entry.word.displacement()) & (buckets - 1);
        debug_assert!(self.words[bucket][slot].is_empty());
        self.seat(bucket, slot, entry.word, (early, rest));
        if entry.word.displacement() > 0 {
            self.displaced.push((bucket, slot));
        }
    }

    fn seat(&mut self, bucket: usize, slot: usize, word: Word, (early, rest): (Early, Option<Rest>)) {
        self.words[bucket][slot] = word;
        self.early[bucket][slot] = early;
        if let (Some(rest), Some(seat)) = (rest, self.rest.get_mut(bucket * SLOTS + slot)) {
            *seat = rest;
        }
    }

    /// Brings each displaced key as near to its home as there is room.
    fn pull_home(&mut self) {
        let buckets = self.words.len();
        for (bucket, slot) in std::mem::take(&mut self.displaced) {
            let word = std::mem::replace(&mut self.words[bucket][slot], Word::EMPTY);
            let home = bucket.wrapping_sub(word.displacement()) & (buckets - 1);
            let bits = (self.early[bucket][slot], self.rest.get(bucket * SLOTS + slot).copied());
            let seated = self.seat_near(home, word, bits);
            debug_assert!(seated, "its own slot was free");
        }
    }

    /// Puts what was in the chain into slots, as far as there are any.
    fn seat_chain(&mut self) {
        for (home, word) in std::mem::take(&mut self.chain) {
            if !self.seat_near(home, word, (Early::default(), None)) {
                self.chain.push((home, word));
                self.reach[home] = self.reach[home].with_chain(word);
            }
        }
    }

    /// Puts `word` into the first empty slot of its window, and notes how far from home that is; `false` if there is none.
    fn seat_near(&mut self, home: usize, word: Word, bits: (Early, Option<Rest>)) -> bool {
        let buckets = self.words.len();
        for displacement in 0..WINDOW.min(buckets) {
            let bucket = (home + displacement) & (buckets - 1);
            if let Some(slot) = self.words[bucket].iter().position(|word| word.is_empty()) {
                self.seat(bucket, slot, word.displaced(displacement), bits);
                if displacement > 0 {
                    self.reach[home] = self.reach[home].with(displacement, word);
                }
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
mod tests {
    use super::{BUCKETS, Draft, Early, Entry, Rest, Seat, share};
    use crate::address::Location;
    use crate::index::bucket::{Reach, Word};

    fn word(hash: u64) -> Word {
        Word::new(hash, Location::from_unit(1).unwrap())
    }

    fn seat(bucket: usize, slot: usize) -> Seat {
        Seat::Slot { bucket, slot, early: Early::default() }
    }

    #[test]
    fn a_child_brings_displaced_and_chained_keys_home() {
        let home = 255;
        let displaced = Entry { word: word(0).displaced(3), home, seat: seat(2, 6) };
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
        let entries =
            (0..8).map(|i| Entry { word: word(0).displaced(i / 7 * 5), home: 9, seat: seat(9 + i / 7 * 5, i % 7) });
        share(&mut drafts, entries, &[]);
        assert_eq!(drafts[0].words[10][0], word(0).displaced(1));
        assert_eq!(drafts[0].reach[9], Reach::default().with(1, word(0)));
    }

    #[test]
    fn a_wider_child_sends_each_key_where_its_hash_says() {
        const HOME: usize = 5;
        let hashes: [u64; 7] = std::array::from_fn(|slot| (HOME + slot * 2 * BUCKETS.0) as u64);
        let entries = (0..7).map(|slot| Entry { word: word(0), home: HOME, seat: seat(HOME, slot) });
        let mut drafts = [Draft::new(0, BUCKETS.1)];
        share(&mut drafts, entries, &rest_of_bucket(HOME, BUCKETS.0, hashes));
        for (slot, hash) in hashes.into_iter().enumerate() {
            assert_eq!(drafts[0].words[hash as usize][slot], word(0));
            assert_eq!(drafts[0].rest[hash as usize * 7 + slot], Rest::new(hash));
        }
    }

    #[test]
    fn a_split_sends_each_key_where_the_next_bit_of_its_hash_says() {
        for depth in 0..12 {
            let hashes: [u64; 7] = std::array::from_fn(|slot| (slot as u64 & 1) << (63 - depth));
            let entries = (0..7).map(|slot| Entry {
                word: word(hashes[slot]),
                home: 0,
                seat: Seat::Slot { bucket: 0, slot, early: Early::new(hashes[slot]) },
            });
            let rest = if depth == 0 { rest_of_bucket(0, BUCKETS.1, hashes) } else { Vec::new() };
            let mut drafts = [depth + 1, depth + 1].map(|depth| Draft::new(depth, BUCKETS.1));
            share(&mut drafts, entries, &rest);
            for slot in 0..7 {
                let child = &drafts[slot & 1];
                assert_eq!(child.words[0][slot], word(hashes[slot]), "depth {depth}, slot {slot}");
                assert_eq!(child.early[0][slot], Early::new(hashes[slot]), "depth {depth}, slot {slot}");
            }
        }
    }

    /// What a table of one unit of so many buckets keeps of the hashes of the keys in one of them.
    fn rest_of_bucket(bucket: usize, buckets: usize, hashes: [u64; 7]) -> Vec<Rest> {
        let mut rest = vec![Rest::default(); buckets * 7];
        rest[bucket * 7..][..7].copy_from_slice(&hashes.map(Rest::new));
        rest
    }
}
