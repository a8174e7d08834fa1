//! The part of a table that grows as one: a head line, and behind it in the same allocation up to 256 buckets.
//!
//! Floor 2. Imports `address`, `index`, `limits`, `model`, `reclaim`.
//!
//! A directory names a unit by a pointer to its head, in whose lowest bits is the logarithm of its number of buckets, and
//! whether they know strays. So a `get` needs nothing of the head, and reads but one line of the unit.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::ptr::{self, NonNull};

use crate::address::Location;
use crate::index::bucket::{self, Bucket, Early, Reach, SLOTS, Slot, Upper, WINDOW, Word};
use crate::index::draft::{BUCKETS, Draft, Entry, Seat};
use crate::index::published::Published;
use crate::model::{self, Flaw, Life};
use crate::reclaim::pin::Pin;

/// Slots of a link: with its other two words it takes two cache lines.
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
const LINK_SLOTS: usize = 14;
#[cfg(any(zipcask_loom, zipcask_shuttle))]
const LINK_SLOTS: usize = 2;

const ALIGN: usize = align_of::<Head>();

/// The bit in a unit's name that says that its control words have strays.
const STRAYS: usize = 16;

/// The bit in a unit's name that says that it lies in an image: that is freed as a whole, and has no chains.
const IMAGE: usize = 32;

/// Bytes of a full unit that is written down, which are its memory: the head, then the buckets.
pub(crate) const UNIT_LEN: usize = HEAD_LEN + BUCKETS.1 * BUCKET_LEN;
const HEAD_LEN: usize = size_of::<Head>();
const BUCKET_LEN: usize = (SLOTS + 1) * size_of::<u64>();

const _: () = {
    assert!(ALIGN == align_of::<Bucket>());
    assert!(BUCKETS.0.is_power_of_two() && BUCKETS.1.is_power_of_two() && BUCKETS.1 <= 256);
    assert!((BUCKETS.1.ilog2() as usize) < STRAYS && STRAYS < IMAGE && IMAGE < ALIGN);
    #[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
    assert!(UNIT_LEN == size_of::<Head>() + BUCKETS.1 * size_of::<Bucket>() && UNIT_LEN.is_multiple_of(ALIGN));
    #[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
    assert!(UNIT_LEN as u64 == crate::limits::INDEX_UNIT_LEN);
};

/// The first line of a unit.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Head {
    depth: u32,
    /// Keys that found no slot, when the unit was too deep to be split: none but of hostile hashes.
    chain: Published<Link>,
    pub(crate) life: Life,
}

/// Some keys of one home that found no slot in its window. Linked in at the front, never unlinked.
#[derive(Debug)]
struct Link {
    home: usize,
    next: *mut Link,
    slots: [Slot; LINK_SLOTS],
}

/// A unit that stays allocated while the pin lives.
#[derive(Clone, Copy)]
pub(crate) struct Unit<'p> {
    head: NonNull<Head>,
    mask: usize,
    upper: Upper,
    pinned: PhantomData<&'p Pin>,
}

/// An empty slot for a key.
#[derive(Clone, Copy)]
pub(crate) struct Vacancy {
    pub(crate) bucket: usize,
    pub(crate) slot: usize,
    displacement: usize,
}

/// Allocates the unit that `draft` describes and returns the pointer that a directory names it by.
pub(crate) fn allocate(draft: &Draft) -> *mut Head {
    let buckets = draft.words.len();
    let layout = layout(buckets);
    // SAFETY: the layout has a size above 0.
    let head = unsafe { alloc(layout) }.cast::<Head>();
    if head.is_null() {
        handle_alloc_error(layout);
    }
    let mut chain = ptr::null_mut();
    for &(home, word) in &draft.chain {
        chain = link(chain, home, word);
    }
    // SAFETY: the allocation begins with a head and is aligned for it.
    unsafe { head.write(Head { depth: draft.depth, chain: Published::new(chain), life: Life::new() }) };
    let upper = Upper::at(draft.depth);
    for (i, ((&words, &reach), &early)) in draft.words.iter().zip(&draft.reach).zip(&draft.early).enumerate() {
        // SAFETY: `layout` has room for this many buckets right behind the head, whose size is a multiple of theirs
        // in alignment.
        unsafe { head.add(1).cast::<Bucket>().add(i).write(Bucket::new(words, reach, early, upper)) };
    }
    name(head, buckets, upper)
}

/// The pointer that a directory names the full unit by that was written down as the bytes at `start`; `None` if they
/// are none of this depth.
///
/// # Safety
///
/// `start` is aligned as a unit is. The `UNIT_LEN` bytes there may be read and written by whoever knows the name, and by
/// nobody else, for as long as it is used.
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
pub(crate) unsafe fn adopt(start: NonNull<u8>, depth: u32) -> Option<*mut Head> {
    // SAFETY: the bytes may be read, by the caller's promise.
    let head = unsafe { start.cast::<[u8; HEAD_LEN]>().read() };
    let named = name(start.as_ptr().cast(), BUCKETS.1, Upper::at(depth));
    (head == head_bytes(depth)).then(|| named.map_addr(|address| address | IMAGE))
}

/// Whether no word is frozen of the unit that was written down as these bytes: who meets one waits for the unit's children,
/// which would never come.
pub(crate) fn is_at_rest(unit: &[u8]) -> bool {
    let (buckets, _) = unit.get(HEAD_LEN..).unwrap_or_default().as_chunks::<BUCKET_LEN>();
    buckets.iter().all(|bucket| !bucket::any_frozen(&bucket.as_chunks().0[..SLOTS]))
}

/// The head of a unit of this depth that has no chain, as it is in memory: whatever the order of bytes, null is zeros.
fn head_bytes(depth: u32) -> [u8; HEAD_LEN] {
    let mut bytes = [0; HEAD_LEN];
    bytes[..size_of::<u32>()].copy_from_slice(&depth.to_le_bytes());
    bytes
}

/// Whether the unit lies in an image.
pub(crate) fn is_image(named: *mut Head) -> bool {
    named.addr() & IMAGE != 0
}

/// Frees a unit, but for one in an image, which it leaves alone.
///
/// # Safety
///
/// `named` came from `allocate` or `adopt`, is freed this once, and nobody uses it.
pub(crate) unsafe fn free(named: *mut Head) {
    if is_image(named) {
        return;
    }
    let (head, buckets, _) = parts(named);
    // SAFETY: by the caller's promise this is a unit, and ours alone.
    unsafe {
        let mut next = (*head).chain.load();
        while !next.is_null() {
            next = Box::from_raw(next).next;
        }
        let first = head.add(1).cast::<Bucket>();
        ptr::slice_from_raw_parts_mut(first, buckets).drop_in_place();
        head.drop_in_place();
        dealloc(head.cast(), layout(buckets));
    }
}

/// Makes a link for one home's keys, with its first.
fn link(next: *mut Link, home: usize, word: Word) -> *mut Link {
    let mut words = [Word::EMPTY; LINK_SLOTS];
    words[0] = word;
    Box::into_raw(Box::new(Link { home, next, slots: words.map(Slot::new) }))
}

fn layout(buckets: usize) -> Layout {
    let size = size_of::<Head>() + buckets * size_of::<Bucket>();
    Layout::from_size_align(size, ALIGN).expect("a unit is some kilobytes")
}

fn name(head: *mut Head, buckets: usize, upper: Upper) -> *mut Head {
    let strays = if upper == Upper::Strays { STRAYS } else { 0 };
    head.map_addr(|address| address | buckets.ilog2() as usize | strays)
}

/// The head, the number of buckets, and what else these know.
#[inline]
fn parts(named: *mut Head) -> (*mut Head, usize, Upper) {
    let upper = if named.addr() & STRAYS == 0 { Upper::Early } else { Upper::Strays };
    (named.map_addr(|address| address & !(ALIGN - 1)), 1 << (named.addr() & (STRAYS - 1)), upper)
}

impl<'p> Unit<'p> {
    /// # Safety
    ///
    /// `named` came from `allocate` or `adopt`, and is freed only after the pin has gone.
    #[inline]
    pub(crate) unsafe fn new(named: *mut Head, _pin: &'p Pin) -> Unit<'p> {
        let (head, buckets, upper) = parts(named);
        // SAFETY: what `allocate` and `adopt` return is not null.
        let head = unsafe { NonNull::new_unchecked(head) };
        Unit { head, mask: buckets - 1, upper, pinned: PhantomData }
    }

    pub(crate) fn buckets(self) -> usize {
        self.mask + 1
    }

    /// How many bits of the hash its keys have in common, from the top.
    pub(crate) fn depth(self) -> u32 {
        self.head().depth
    }

    /// Memory it takes.
    pub(crate) fn bytes(self) -> u64 {
        let links = self.links().count() * size_of::<Link>();
        (layout(self.buckets()).size() + links) as u64
    }

    pub(crate) fn head(self) -> &'p Head {
        // SAFETY: the unit stays while the pin lives (`new`); of a head nobody makes a unique reference.
        unsafe { self.head.as_ref() }
    }

    /// The bucket of this number, modulo how many there are.
    #[inline]
    fn bucket(self, number: usize) -> &'p Bucket {
        // SAFETY: as many buckets as the pointer's lowest bits say lie behind the head, and stay while the pin lives.
        unsafe { self.head.add(1).cast::<Bucket>().add(number & self.mask).as_ref() }
    }

    /// The bucket in which a key of this hash lies, if it is not displaced.
    #[inline]
    pub(crate) fn home(self, hash: u64) -> &'p Bucket {
        self.bucket(hash as usize)
    }

    /// Whether a key of this hash may lie elsewhere than in `home`, which is its home.
    #[inline]
    pub(crate) fn may_stray(self, home: &Bucket, hash: u64) -> bool {
        home.astray(hash, self.upper).is_some()
    }

    fn links(self) -> impl Iterator<Item = &'p Link> {
        let mut next = self.head().chain.load();
        std::iter::from_fn(move || {
            // SAFETY: links stay as long as their unit, and only their slots change.
            let link = unsafe { next.as_ref() }?;
            next = link.next;
            Some(link)
        })
    }

    fn links_of(self, hash: u64) -> impl Iterator<Item = &'p Link> {
        let home = hash as usize & self.mask;
        self.links().filter(move |link| link.home == home)
    }

    /// Shows to `visit` each word that may be of the key with this hash, and its slot, until it breaks.
    #[inline]
    pub(crate) fn search<B>(
        self,
        hash: u64,
        mut visit: impl FnMut(&'p Slot, Word) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let home = self.bucket(hash as usize);
        bucket::search(&home.slots, hash, 0, &mut visit)?;
        match home.astray(hash, self.upper) {
            Some(reach) => self.search_beyond(hash, reach, &mut visit),
            None => ControlFlow::Continue(()),
        }
    }

    /// As `search`, but where the home bucket does not have it. Few keys: not in the way of the many.
    #[inline(never)]
    fn search_beyond<B>(
        self,
        hash: u64,
        reach: Reach,
        mut visit: &mut dyn FnMut(&'p Slot, Word) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        for displacement in reach.displacements() {
            let bucket = self.bucket(hash as usize + displacement);
            bucket::search(&bucket.slots, hash, displacement, &mut visit)?;
        }
        if reach.has_chain() {
            for link in self.links_of(hash) {
                bucket::search(&link.slots, hash, 0, &mut visit)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// The empty slot nearest to the home of this hash. The inserter's only, like all below.
    pub(crate) fn vacancy(self, hash: u64) -> Option<Vacancy> {
        (0..WINDOW.min(self.buckets())).find_map(|displacement| {
            let bucket = (hash as usize + displacement) & self.mask;
            let slot = self.bucket(bucket).slots.iter().position(|slot| slot.load().is_empty())?;
            Some(Vacancy { bucket, slot, displacement })
        })
    }

    /// Puts the key's word into its empty slot.
    pub(crate) fn occupy(self, hash: u64, vacancy: Vacancy, word: Word) {
        let Vacancy { bucket, slot, displacement } = vacancy;
        if displacement > 0 {
            let home = self.bucket(hash as usize);
            home.set_reach(home.reach(self.upper).with(displacement, word), self.upper);
        }
        let bucket = self.bucket(bucket);
        bucket.set_early(slot, Early::new(hash), self.upper);
        fill(&bucket.slots[slot], word.displaced(displacement));
    }

    /// Puts the key's word into the chain; returns how many bytes that took.
    pub(crate) fn chain(self, hash: u64, word: Word) -> u64 {
        let home = self.bucket(hash as usize);
        home.set_reach(home.reach(self.upper).with_chain(word), self.upper);
        let mut slots = self.links_of(hash).flat_map(|link| &link.slots);
        if let Some(slot) = slots.find(|slot| slot.load().is_empty()) {
            fill(slot, word);
            return 0;
        }
        let chain = &self.head().chain;
        chain.store(link(chain.load(), hash as usize & self.mask, word));
        size_of::<Link>() as u64
    }

    /// Takes from the reach of a key's home, after the key went, what no other key needs (I7).
    pub(crate) fn settle(self, hash: u64) {
        let home = self.bucket(hash as usize);
        let before = home.reach(self.upper);
        if before.is_home_only() {
            return;
        }
        if model::planted(Flaw::ReachRebuiltInPlace) {
            home.set_reach(Reach::default(), self.upper);
        }
        let mut after = Reach::default();
        for displacement in before.displacements() {
            let words = self.bucket(hash as usize + displacement).slots.iter().map(Slot::load);
            let of_home = words.filter(|word| !word.is_empty() && word.displacement() == displacement);
            after = of_home.fold(after, |reach, word| reach.with(displacement, word));
        }
        if before.has_chain() {
            let words = self.links_of(hash).flat_map(|link| &link.slots).map(Slot::load);
            after = words.filter(|word| !word.is_empty()).fold(after, Reach::with_chain);
        }
        if after != before || model::planted(Flaw::ReachRebuiltInPlace) {
            home.set_reach(after, self.upper);
        }
    }

    /// Empties the slots whose location `goes`; returns how many.
    pub(crate) fn clear(self, mut goes: impl FnMut(Location) -> bool) -> usize {
        let mut empty = |slot: &Slot| {
            let word = slot.load();
            let emptied = goes(word.location()?) && slot.replace(word, Word::EMPTY).is_ok();
            emptied.then_some(word)
        };
        let mut homes = Vec::new();
        for bucket in 0..self.buckets() {
            let words = self.bucket(bucket).slots.iter().filter_map(&mut empty);
            homes.extend(words.map(|word| bucket.wrapping_sub(word.displacement()) & self.mask));
        }
        for link in self.links() {
            homes.extend(link.slots.iter().filter_map(&mut empty).map(|_| link.home));
        }
        // Of a hash, the home is all that this looks at.
        homes.iter().for_each(|home| self.settle(*home as u64));
        homes.len()
    }

    /// Freezes every word, one after the other, and returns those that name a key. Who changes them is done or has
    /// failed when this ends. Empty slots are the inserter's alone and need no freezing.
    pub(crate) fn freeze(self) -> impl Iterator<Item = Entry> {
        let seats = (0..self.buckets()).flat_map(|bucket| (0..SLOTS).map(move |slot| (bucket, slot)));
        let seated = seats.filter_map(move |(bucket, slot)| {
            let word = frozen(&self.bucket(bucket).slots[slot])?;
            let home = bucket.wrapping_sub(word.displacement()) & self.mask;
            let early = self.bucket(bucket).early(slot);
            Some(Entry { word, home, seat: Seat::Slot { bucket, slot, early } })
        });
        let chained = self.links().flat_map(|link| link.slots.iter().map(|slot| (link.home, slot)));
        seated.chain(chained.filter_map(|(home, slot)| Some(Entry { word: frozen(slot)?, home, seat: Seat::Chain })))
    }

    /// Writes a full unit down, and returns how many keys it has. Movers may be at it, the inserter is not.
    pub(crate) fn copy(self, bytes: &mut [u8; UNIT_LEN]) -> Result<u64, Chained> {
        assert_eq!(self.buckets(), BUCKETS.1, "smaller ones are the only one of their table");
        if self.links().flat_map(|link| &link.slots).any(|slot| !slot.load().is_empty()) {
            return Err(Chained);
        }
        let (head, buckets) = bytes.split_at_mut(HEAD_LEN);
        head.copy_from_slice(&head_bytes(self.depth()));
        let copies = buckets.chunks_exact_mut(BUCKET_LEN).enumerate();
        Ok(copies.map(|(number, bytes)| self.bucket(number).copy(bytes)).sum())
    }

    /// Every word that names a key. Any thread's.
    pub(crate) fn words(self) -> impl Iterator<Item = Word> {
        let seated = (0..self.buckets()).flat_map(move |bucket| &self.bucket(bucket).slots);
        let chained = self.links().flat_map(|link| &link.slots);
        seated.chain(chained).map(Slot::load).filter(|word| !word.is_empty())
    }
}

/// That a unit cannot be written down, because some of its keys are in its chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Chained;

/// Puts a word into an empty slot, which nobody else does.
fn fill(slot: &Slot, word: Word) {
    let filled = slot.replace(Word::EMPTY, word);
    assert_eq!(filled, Ok(()), "only the inserter fills empty slots");
}

/// The slot's last word; `None` if it is empty.
fn frozen(slot: &Slot) -> Option<Word> {
    let word = if slot.load().is_empty() { Word::EMPTY } else { slot.freeze() };
    (!word.is_empty()).then_some(word)
}

#[cfg(test)]
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
mod tests {
    use super::{Bucket, Early, LINK_SLOTS, SLOTS, Unit, WINDOW, allocate, free};
    use crate::address::Location;
    use crate::index::bucket::{EARLY_BITS, Reach, Word};
    use crate::index::draft::Draft;
    use crate::reclaim::pin::Pin;
    use std::ops::{ControlFlow, Range};

    const HASH: u64 = 60;

    fn word(unit: usize) -> Word {
        Word::new(HASH, Location::from_unit(unit as u64).unwrap())
    }

    /// Adds a key of this home.
    fn add(unit: Unit<'_>, number: usize) {
        match unit.vacancy(HASH) {
            Some(vacancy) => unit.occupy(HASH, vacancy, word(number)),
            None => drop(unit.chain(HASH, word(number))),
        }
    }

    fn remove(unit: Unit<'_>, number: usize) {
        let found = unit.search(HASH, |slot, found| match found.location() == word(number).location() {
            true => ControlFlow::Break((slot, found)),
            false => ControlFlow::Continue(()),
        });
        let ControlFlow::Break((slot, found)) = found else { panic!("{number} is missing") };
        slot.replace(found, Word::EMPTY).unwrap();
        unit.settle(HASH);
    }

    #[test]
    fn the_reach_of_a_home_is_that_of_its_keys_whatever_came_and_went() {
        const FULL: usize = SLOTS * WINDOW;
        for depth in [0, EARLY_BITS] {
            let (pin, named) = (Pin::new(), allocate(&Draft::new(depth, 64)));
            // SAFETY: freed at the end of this test.
            let unit = unsafe { Unit::new(named, &pin) };
            let kept = |reach| {
                Bucket::new([Word::EMPTY; SLOTS], reach, [Early::default(); SLOTS], unit.upper).reach(unit.upper)
            };
            let reach =
                |displacements: Range<usize>| displacements.fold(Reach::default(), |reach, d| reach.with(d, word(1)));
            let home = unit.bucket(HASH as usize);
            let empty = unit.bytes();

            (1..=FULL + LINK_SLOTS + 1).for_each(|number| add(unit, number));
            assert_eq!(home.reach(unit.upper), kept(reach(1..WINDOW).with_chain(word(1))));
            let full = unit.bytes();
            assert!(full > empty);
            (FULL + 1..=FULL + LINK_SLOTS).for_each(|number| remove(unit, number));
            assert!(home.reach(unit.upper).has_chain(), "one is left in the chain");
            remove(unit, FULL + LINK_SLOTS + 1);
            assert_eq!(home.reach(unit.upper), kept(reach(1..WINDOW)));

            (SLOTS + 1..FULL).for_each(|number| remove(unit, number));
            assert_eq!(home.reach(unit.upper), kept(reach(WINDOW - 1..WINDOW)), "one is left");
            remove(unit, FULL);
            assert_eq!(home.reach(unit.upper), Reach::default());
            (SLOTS + 1..=FULL + LINK_SLOTS + 1).for_each(|number| add(unit, number));
            assert_eq!(unit.bytes(), full, "the chain's places are used again");
            // SAFETY: `allocate` made it, and nobody else knows of it.
            unsafe { free(named) };
        }
    }
}
