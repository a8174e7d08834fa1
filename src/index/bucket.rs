//! A slot, the word that names one record, and a bucket, one cache line of slots.
//!
//! Floor 2. Imports `address`, `limits`, `model`, `sync`.
//!
//! ```text
//!  bits of a slot  field
//!         0..=40   address       of the record, in units of 8 bytes; 0: the slot is empty
//!        41..=58   fragment      bits 38..=55 of the hash
//!        59..=62   displacement  how many buckets behind its home the key's bucket is
//!            63    frozen        the unit is being split, or was: the word never changes again
//!
//!  bits of a control word  field
//!                 0..=14   reach       where the keys of this home are besides in it
//!                15..=62   strays      of those keys, one bit each: bits 38..=43 of its hash, times 48 / 64
//!                15..=63   early       in place of strays while the unit is no deeper than 7:
//!                                      7 bits for each slot, bits 56..=62 of its key's hash
//!
//!  bits of a hash  use
//!          0..=7   the home bucket in the unit; a unit of fewer buckets uses fewer of them
//!        38..=63   the unit, from the top
//! ```
//!
//! One home in nine has keys elsewhere; for strays, one lookup in two hundred of a key that is not there goes on to look
//! for it elsewhere: a branch that is seldom mispredicted, while the processor waits for the line.
//!
//! A split needs no record, since the fragment has the bits that choose the child. So the fragment tells fewer keys
//! apart the deeper a unit is: of its 18 bits all at 300 thousand keys, 13 at 10 million, 6 at a billion.

use std::ops::ControlFlow;

use crate::address::Location;
use crate::limits::ADDRESS_BITS;
use crate::model::{self, Crossing, Flaw};
use crate::sync::atomic::{AtomicU64, Ordering};

/// Slots of a bucket.
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
pub(crate) const SLOTS: usize = 7;
#[cfg(any(zipcask_loom, zipcask_shuttle))]
pub(crate) const SLOTS: usize = 2;

/// A key lies in its home bucket or in one of those behind it, this many in all. One less than a slot could say, so
/// that the control word has a seventh bit for each slot's `Early`; that costs less than 1 % of memory.
pub(crate) const WINDOW: usize = 15;

/// The highest bits of the hash: none of a slot, because a directory that small soon outgrows them.
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
pub(crate) const EARLY_BITS: u32 = 8;
#[cfg(any(zipcask_loom, zipcask_shuttle))]
pub(crate) const EARLY_BITS: u32 = 1;

/// No unit is deeper: below, the fragment has no bit that would tell its children apart.
pub(crate) const DEPTH_MAX: u32 = EARLY_BITS + FRAGMENT_BITS;

const FRAGMENT_BITS: u32 = 18;
const DISPLACEMENT_BITS: u32 = 4;
const DISPLACEMENT_SHIFT: u32 = ADDRESS_BITS + FRAGMENT_BITS;
const ADDRESS: u64 = (1 << ADDRESS_BITS) - 1;
const DISPLACEMENT: u64 = ((1 << DISPLACEMENT_BITS) - 1) << DISPLACEMENT_SHIFT;
const FROZEN: u64 = 1 << 63;
/// What must be equal for a word to be a key's.
const SIGNATURE: u64 = !(ADDRESS | FROZEN);

const REACH_BITS: u32 = WINDOW as u32;
const REACH: u64 = (1 << REACH_BITS) - 1;
const STRAY_BITS: u64 = 48;
/// Bits of the fragment, its lowest, that choose the bit of a stray: no unit but one of a billion keys has all its keys
/// agree in them.
const STRAY_CHOICE: u32 = 6;
const EARLY: u64 = (1 << EARLY_KEPT) - 1;
/// All early bits but the first, which only a table of one unit lacks.
const EARLY_KEPT: u32 = EARLY_BITS - 1;

const _: () = {
    assert!(ADDRESS_BITS + FRAGMENT_BITS + DISPLACEMENT_BITS + 1 == u64::BITS);
    assert!(WINDOW <= 1 << DISPLACEMENT_BITS);
    assert!(REACH_BITS + SLOTS as u32 * EARLY_KEPT <= u64::BITS && EARLY_KEPT <= u8::BITS);
    assert!(REACH_BITS as u64 + STRAY_BITS <= u64::BITS as u64 && STRAY_BITS <= 1 << STRAY_CHOICE);
    #[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
    assert!(size_of::<Bucket>() == 64);
};

/// What a slot holds: an address, and enough of the hash to pass over nearly all keys that are not the wanted one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Word(u64);

impl Word {
    pub(crate) const EMPTY: Word = Word(0);

    /// The word of a key in its home bucket, or in a chain.
    #[inline]
    pub(crate) fn new(hash: u64, at: Location) -> Word {
        Word(signature(hash, 0) | at.unit())
    }

    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.0 & ADDRESS == 0
    }

    /// `None` if it is empty.
    #[inline]
    pub(crate) fn location(self) -> Option<Location> {
        Location::from_unit(self.0 & ADDRESS)
    }

    /// The same key's, at another place.
    #[inline]
    pub(crate) fn moved(self, to: Location) -> Word {
        Word(self.0 & !ADDRESS | to.unit())
    }

    /// Whether it is of a key with this signature, or could be if it is empty.
    #[inline]
    fn is_signed(self, wanted: u64) -> bool {
        (self.0 ^ wanted) & SIGNATURE == 0
    }

    /// The bit of its key in the reach of a home that it is not in.
    fn stray(self) -> u64 {
        stray(self.0 >> ADDRESS_BITS)
    }

    pub(crate) fn displacement(self) -> usize {
        ((self.0 & DISPLACEMENT) >> DISPLACEMENT_SHIFT) as usize
    }

    /// The same, but in the bucket `displacement` behind its home.
    pub(crate) fn displaced(self, displacement: usize) -> Word {
        debug_assert!(displacement < WINDOW);
        Word(self.0 & !DISPLACEMENT | (displacement as u64) << DISPLACEMENT_SHIFT)
    }

    pub(crate) fn is_frozen(self) -> bool {
        self.0 & FROZEN != 0
    }

    pub(crate) fn frozen(self) -> Word {
        Word(self.0 | FROZEN)
    }

    #[cfg_attr(
        any(not(test), zipcask_shuttle),
        expect(dead_code, reason = "movers come with compaction; the split is built for them")
    )]
    pub(crate) fn thawed(self) -> Word {
        Word(self.0 & !FROZEN)
    }

    /// Which child the key belongs to when its unit of this depth is split; the early bits are not here.
    pub(crate) fn child(self, depth: u32) -> usize {
        debug_assert!((EARLY_BITS..DEPTH_MAX).contains(&depth));
        (self.0 >> (ADDRESS_BITS + DEPTH_MAX - 1 - depth) & 1) as usize
    }
}

/// Whether one of these words, as they lie in memory, is frozen.
pub(crate) fn any_frozen(words: &[[u8; 8]]) -> bool {
    words.iter().fold(0, |all, word| all | u64::from_ne_bytes(*word)) & FROZEN != 0
}

/// What the words of a key have in common, `displacement` buckets behind its home.
#[inline]
fn signature(hash: u64, displacement: usize) -> u64 {
    let fragment = hash >> (u64::BITS - DEPTH_MAX) & ((1 << FRAGMENT_BITS) - 1);
    fragment << ADDRESS_BITS | (displacement as u64) << DISPLACEMENT_SHIFT
}

/// The bit in a reach of the key with this fragment; what is above the fragment does not matter.
#[inline]
fn stray(fragment: u64) -> u64 {
    let choice = fragment & ((1 << STRAY_CHOICE) - 1);
    1 << (u64::from(REACH_BITS) + ((choice * STRAY_BITS) >> STRAY_CHOICE))
}

/// One word that readers load while the inserter and movers change it.
#[derive(Debug)]
pub(crate) struct Slot {
    word: AtomicU64,
    crossing: Crossing,
}

impl Slot {
    pub(crate) fn new(word: Word) -> Slot {
        Slot { word: AtomicU64::new(word.0), crossing: Crossing::new() }
    }

    #[inline]
    pub(crate) fn load(&self) -> Word {
        self.crossing.pass();
        // ORDER: Acquire; pairs with the Release in `replace`: who sees a location sees the record there (R2).
        Word(self.word.load(model::ordering(Ordering::Acquire, Flaw::SlotReadRelaxed)))
    }

    /// Puts `new` in the place of exactly `old`, else returns what is there (I1).
    #[inline]
    pub(crate) fn replace(&self, old: Word, new: Word) -> Result<(), Word> {
        debug_assert!(!old.is_frozen() && !new.is_frozen());
        self.crossing.pass();
        let old = if model::planted(Flaw::ReplacedBlindly) { self.load() } else { old };
        // ORDER: Release; pairs with the Acquire in `load` and in `freeze`.
        let order = model::ordering(Ordering::Release, Flaw::SlotWrittenRelaxed);
        let done = self.word.compare_exchange(old.0, new.0, order, Ordering::Relaxed);
        done.map(drop).map_err(Word)
    }

    /// Makes this word the slot's last and returns it (I5).
    pub(crate) fn freeze(&self) -> Word {
        if model::planted(Flaw::NoFreeze) {
            return self.load();
        }
        self.crossing.pass();
        // ORDER: Acquire; pairs with the Release of the mover that wrote the word, whose record the copy names too.
        // Who loads the frozen word itself pairs with that mover: a read-modify-write goes on with its release.
        let order = model::ordering(Ordering::Acquire, Flaw::FreezeRelaxed);
        Word(self.word.fetch_or(FROZEN, order) & !FROZEN)
    }
}

/// Shows to `visit` the words of `slots` that may be of the key with this hash, until it breaks.
#[inline]
pub(crate) fn search<'s, const N: usize, B>(
    slots: &'s [Slot; N],
    hash: u64,
    displacement: usize,
    visit: &mut impl FnMut(&'s Slot, Word) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let wanted = signature(hash, displacement);
    let (mut hits, mut word) = signed(slots, wanted);
    while hits != 0 {
        let slot = &slots[hits.trailing_zeros() as usize % N];
        if word.is_signed(wanted) && !word.is_empty() {
            visit(slot, word)?;
        }
        hits &= hits - 1;
        // Seldom. Either load was within this search, so it does not matter if this one finds the key gone.
        word = if hits == 0 { Word::EMPTY } else { slots[hits.trailing_zeros() as usize % N].load() };
    }
    ControlFlow::Continue(())
}

/// Which of the slots have this signature, a bit each, and the word of the first that has.
///
/// All words are compared before the first is looked at: branches on single words would be mispredicted. They are not
/// kept meanwhile: as many stores as words would fill the processor's store buffer while it waits for the line, and keep
/// it from going on to the next lookup.
#[inline(always)]
fn signed<const N: usize>(slots: &[Slot; N], wanted: u64) -> (u32, Word) {
    let (mut hits, mut first) = (0, Word::EMPTY);
    for (i, slot) in slots.iter().enumerate().rev() {
        let word = slot.load();
        let hit = word.is_signed(wanted);
        hits |= u32::from(hit) << i;
        first = if hit { word } else { first };
    }
    (hits, first)
}

/// The first word of a home bucket that may be of the key with this hash.
#[inline(always)]
pub(crate) fn first(slots: &[Slot; SLOTS], hash: u64) -> Option<Word> {
    // Its fewest steps: no slot's word has all bits.
    let (wanted, mut first) = (signature(hash, 0), u64::MAX);
    for slot in slots.iter().rev() {
        let word = slot.load();
        first = if word.is_signed(wanted) { word.0 } else { first };
    }
    (first != u64::MAX).then_some(Word(first))
}

/// The early bits of a key's hash but the first: a split needs them, and its slot has no room for them.
///
/// The inserter's alone, who writes and reads them. Each bucket has room for them beside its reach, so that they cost
/// no memory; from a depth of `EARLY_BITS` on they are of no use, and the room is the strays'.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Early(u8);

impl Early {
    #[inline]
    pub(crate) fn new(hash: u64) -> Early {
        Early((hash >> (u64::BITS - EARLY_BITS) & EARLY) as u8)
    }

    /// Which child the key belongs to when its unit of this depth is split.
    pub(crate) fn child(self, depth: u32) -> usize {
        debug_assert!((1..EARLY_BITS).contains(&depth));
        usize::from(self.0 >> (EARLY_KEPT - depth) & 1)
    }
}

/// Where the keys of one home are besides in it: 0 for nearly every bucket.
///
/// Bit d is set while one lies d buckets behind; bit 0, while one lies in the unit's chain; above those, each key that is
/// not at home has set its stray bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Reach(u64);

impl Reach {
    #[inline]
    pub(crate) fn is_home_only(self) -> bool {
        self.0 == 0
    }

    #[inline]
    pub(crate) fn has_chain(self) -> bool {
        self.0 & 1 != 0
    }

    /// With the key of this word in the chain.
    pub(crate) fn with_chain(self, word: Word) -> Reach {
        Reach(self.0 | 1 | word.stray())
    }

    /// With the key of this word, which need not say so yet, that far from home.
    pub(crate) fn with(self, displacement: usize, word: Word) -> Reach {
        debug_assert!((1..WINDOW).contains(&displacement));
        Reach(self.0 | 1 << displacement | word.stray())
    }

    /// How far from home the keys are, nearest first.
    pub(crate) fn displacements(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0 & REACH & !1;
        std::iter::from_fn(move || {
            let next = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
            rest &= rest - 1;
            Some(next)
        })
    }
}

/// What the control words of a unit have in their upper bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Upper {
    Early,
    Strays,
}

impl Upper {
    /// Of a unit of this depth.
    pub(crate) fn at(depth: u32) -> Upper {
        if depth < EARLY_BITS { Upper::Early } else { Upper::Strays }
    }

    /// The bits of the reach.
    #[inline]
    fn reach(self) -> u64 {
        match self {
            Upper::Early => REACH,
            Upper::Strays => REACH | ((1 << STRAY_BITS) - 1) << REACH_BITS,
        }
    }
}

/// One cache line: in the common case all that a `get` reads of a unit.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Bucket {
    pub(crate) slots: [Slot; SLOTS],
    /// Relaxed: no one but the inserter writes it, and who knows that a key is there knows of the reach from before.
    control: AtomicU64,
    crossing: Crossing,
}

impl Bucket {
    pub(crate) fn new(words: [Word; SLOTS], reach: Reach, early: [Early; SLOTS], upper: Upper) -> Bucket {
        let early = early.iter().zip(0..).fold(0, |all, (early, slot)| all | u64::from(early.0) << early_shift(slot));
        let control = AtomicU64::new(reach.0 & upper.reach() | early & !upper.reach());
        Bucket { slots: words.map(Slot::new), control, crossing: Crossing::new() }
    }

    pub(crate) fn reach(&self, upper: Upper) -> Reach {
        Reach(self.control() & upper.reach())
    }

    /// Where a key with this hash, whose home this is, may lie besides; `None` if it is here or nowhere.
    #[inline]
    pub(crate) fn astray(&self, hash: u64, upper: Upper) -> Option<Reach> {
        let control = self.control();
        let mask = match upper {
            Upper::Early => REACH,
            Upper::Strays => stray(hash >> (u64::BITS - DEPTH_MAX)),
        };
        (control & mask != 0).then(|| Reach(control & upper.reach()))
    }

    /// The inserter's only, like all below.
    pub(crate) fn set_reach(&self, reach: Reach, upper: Upper) {
        let mask = upper.reach();
        self.set_control(self.control() & !mask | reach.0 & mask);
    }

    /// What it is in a unit that has no such bits does not matter.
    pub(crate) fn early(&self, slot: usize) -> Early {
        Early((self.control() >> early_shift(slot) & EARLY) as u8)
    }

    #[inline]
    pub(crate) fn set_early(&self, slot: usize, early: Early, upper: Upper) {
        if upper == Upper::Early {
            let shift = early_shift(slot);
            self.set_control(self.control() & !(EARLY << shift) | u64::from(early.0) << shift);
        }
    }

    /// Writes it down, and returns how many keys it has. Movers may be at it, the inserter is not.
    pub(crate) fn copy(&self, bytes: &mut [u8]) -> u64 {
        let words = self.slots.each_ref().map(Slot::load);
        let control = Word(self.control());
        for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(words.iter().chain([&control])) {
            *bytes = word.0.to_le_bytes();
        }
        words.iter().filter(|word| !word.is_empty()).count() as u64
    }

    #[inline]
    fn control(&self) -> u64 {
        self.crossing.pass();
        self.control.load(Ordering::Relaxed)
    }

    fn set_control(&self, control: u64) {
        self.crossing.pass();
        self.control.store(control, Ordering::Relaxed);
    }
}

fn early_shift(slot: usize) -> u32 {
    REACH_BITS + slot as u32 * EARLY_KEPT
}

#[cfg(test)]
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
mod tests {
    use super::{Bucket, DEPTH_MAX, EARLY_BITS, Early, Reach, SLOTS, Upper, WINDOW, Word};
    use crate::address::Location;
    use crate::limits::ADDRESS_BITS;

    fn at(unit: u64) -> Location {
        Location::from_unit(unit).unwrap()
    }

    #[test]
    fn the_fields_of_a_word_do_not_touch_each_other() {
        let top = at((1 << ADDRESS_BITS) - 1);
        for hash in [0, u64::MAX, 0x0123_4567_89ab_cdef] {
            let word = Word::new(hash, top);
            for displacement in 0..WINDOW {
                let other = word.displaced(displacement);
                assert_eq!(other.displacement(), displacement);
                assert_eq!(other.location(), Some(top));
                assert_eq!(other.frozen().displacement(), displacement);
                assert_eq!(other.frozen().thawed(), other);
                assert_eq!(other.moved(at(1)).moved(top), other);
                assert_eq!(other.displaced(0), word);
            }
        }
    }

    #[test]
    fn a_word_knows_the_bits_of_its_hash_below_the_early_ones() {
        for bit in EARLY_BITS..DEPTH_MAX {
            let word = Word::new(1 << (63 - bit), at(1));
            for depth in EARLY_BITS..DEPTH_MAX {
                assert_eq!(word.child(depth), usize::from(depth == bit), "bit {bit}, depth {depth}");
            }
        }
    }

    #[test]
    fn a_reach_names_each_displacement_once_and_the_chain_apart() {
        let word = Word::new(0, at(1));
        let reach = Reach::default().with(14, word).with_chain(word).with(1, word).with(14, word);
        assert_eq!(reach.displacements().collect::<Vec<_>>(), [1, 14]);
        assert!(reach.has_chain() && !reach.is_home_only());
        assert!(!Reach::default().with(3, word).has_chain());
        assert!(Reach::default().is_home_only());
    }

    #[test]
    fn no_stray_is_missed_and_few_others_are_looked_for() {
        let hash = |choice: u64| choice << (64 - DEPTH_MAX);
        for stray in 0..64 {
            for (depth, others) in [(EARLY_BITS - 1, 64), (EARLY_BITS, 2)] {
                let upper = Upper::at(depth);
                let bucket = Bucket::new([Word::EMPTY; SLOTS], Reach::default(), [Early::new(!0); SLOTS], upper);
                assert!((0..64).all(|other| bucket.astray(hash(other), upper).is_none()));
                let reach = Reach::default().with(5, Word::new(hash(stray), at(1)));
                bucket.set_reach(reach, upper);
                assert_eq!(bucket.reach(upper).displacements().collect::<Vec<_>>(), [5]);
                assert!(bucket.astray(hash(stray), upper).is_some());
                assert!((0..64).filter(|other| bucket.astray(hash(*other), upper).is_some()).count() <= others);
                let copy = Bucket::new([Word::EMPTY; SLOTS], bucket.reach(upper), [Early::default(); SLOTS], upper);
                assert!(copy.astray(hash(stray), upper).is_some());
                bucket.set_early(6, Early::new(0), upper);
                bucket.set_reach(Reach::default(), upper);
                assert!((0..64).all(|other| bucket.astray(hash(other), upper).is_none()));
            }
        }
    }
}

#[cfg(all(test, zipcask_loom))]
#[path = "../../loom-tests/bucket.rs"]
mod loom_models;
