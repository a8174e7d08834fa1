//! From a location to the segment it lies in.
//!
//! Floor 2. Imports `address`, `error`, `limits`, `model`, `reclaim`, `segment`, `sync`.
//!
//! The linear address space is cut into places of 1 MiB, and a file takes as many as it spans. Two levels of atomic
//! pointers lead from a place to its segment, so that a lookup is two loads and the tables grow with the store.

use std::{array, fmt, ptr};

use crate::address::Location;
use crate::error::Result;
use crate::limits::{PLACE_COUNT, PLACE_LEN};
use crate::model::{self, Flaw};
use crate::reclaim::hold::{Hold, Owner};
use crate::reclaim::pin::{self, Pin};
use crate::segment::Segment;
use crate::segment::places::{Lease, Places};
use crate::sync::Arc;
use crate::sync::atomic::{AtomicPtr, Ordering};
use crate::sync::plain::{Mutex, PoisonError};

const LEAF_LEN: usize = if cfg!(zipcask_loom) { 2 } else { 4096 };
const ROOT_LEN: usize = if cfg!(zipcask_loom) { 2 } else { (PLACE_COUNT as usize) / LEAF_LEN };

type Leaf<T> = [AtomicPtr<Owner<T>>; LEAF_LEN];

/// The open segments by their places.
///
/// Invariant G1: an entry is null, or points at an owner that `files` keeps, or that was retired when the entry was
/// made null again. A place is given out anew when nobody can reach any more what lay there.
pub(crate) struct Registry<T = Segment> {
    root: Box<[AtomicPtr<Leaf<T>>]>,
    /// In the order of their places.
    files: Mutex<Vec<Filed<T>>>,
    places: Arc<Places>,
}

/// A file, its first place, and its length in bytes.
struct Filed<T> {
    owner: Box<Owner<T>>,
    place: u64,
    len: u64,
}

impl<T> Registry<T> {
    pub(crate) fn new() -> Registry<T> {
        Registry {
            root: (0..ROOT_LEN).map(|_| AtomicPtr::new(ptr::null_mut())).collect(),
            files: Mutex::new(Vec::new()),
            places: Arc::new(Places::new((ROOT_LEN * LEAF_LEN) as u64)),
        }
    }

    /// Sets places aside for a file of `len` bytes and returns the first.
    ///
    /// # Errors
    /// As `Places::take`.
    pub(crate) fn reserve(&self, len: u64) -> Result<u64> {
        self.places.take(len)
    }

    /// Sets just these runs of places aside, each a first place and how many, in their order, before any other.
    pub(crate) fn reserve_these(&self, runs: impl Iterator<Item = (u64, u64)>) {
        self.places.take_these(runs);
    }

    /// What the file of `len` bytes at `place` has to own: its places are given out anew once it is gone.
    pub(crate) fn lease(&self, place: u64, len: u64) -> Arc<Lease> {
        Arc::new(self.places.lease(place, len))
    }

    /// Makes `file`, of `len` bytes, findable at the places that `reserve` gave it.
    pub(crate) fn add(&self, file: T, place: u64, len: u64) -> Hold<T> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = Box::new(Owner::new(file));
        let (entry, hold) = (ptr::from_ref(&*owner).cast_mut(), owner.hold());
        let at = files.partition_point(|other| other.place < place);
        files.insert(at, Filed { owner, place, len });
        self.point(place, len, entry);
        hold
    }

    /// Lets the places of a file lead to `entry`. Only under the lock of `files`.
    fn point(&self, place: u64, len: u64, entry: *mut Owner<T>) {
        for place in place..place + len.div_ceil(PLACE_LEN) {
            // ORDER: Release; pairs with the Acquire in `find`: who sees the pointer sees the segment (G1).
            self.leaf(place as usize / LEAF_LEN)[place as usize % LEAF_LEN].store(entry, Ordering::Release);
        }
    }

    /// The leaf `number`, made if need be. Only under the lock of `files`.
    fn leaf(&self, number: usize) -> &Leaf<T> {
        // ORDER: Relaxed is enough: leaves are made under the lock that the caller holds.
        let mut leaf = self.root[number].load(Ordering::Relaxed);
        if leaf.is_null() {
            leaf = Box::into_raw(Box::new(array::from_fn(|_| AtomicPtr::new(ptr::null_mut()))));
            // ORDER: Release; pairs with the Acquire in `find`: who sees the leaf sees its nulls.
            self.root[number].store(leaf, Ordering::Release);
        }
        // SAFETY: a leaf, once made, lives until the registry is dropped.
        unsafe { &*leaf }
    }

    /// The file that `location` lies in, while the pin lives; `None` if there is none, or none any more.
    #[inline]
    pub(crate) fn find<'p>(&'p self, location: Location, _pin: &'p Pin) -> Option<&'p Owner<T>> {
        let place = location.place() as usize;
        // ORDER: Acquire; pairs with the Release in `leaf`.
        let leaf = self.root.get(place / LEAF_LEN)?.load(Ordering::Acquire);
        // SAFETY: null or a leaf, which lives until the registry is dropped.
        let leaf = unsafe { leaf.as_ref() }?;
        // ORDER: Acquire; pairs with the Release in `point`.
        let entry = leaf[place % LEAF_LEN].load(Ordering::Acquire);
        // SAFETY: null or an owner that `files` keeps, or that goes after the pin (G1).
        let owner = unsafe { entry.as_ref() }?;
        owner.life.found();
        Some(owner)
    }

    /// All files, in the order of their places.
    pub(crate) fn files(&self) -> Vec<Hold<T>> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.iter().map(|file| file.owner.hold()).collect()
    }
}

impl<T: Send + Sync + 'static> Registry<T> {
    /// Puts `file` in the place of the one that is at `place`, which goes once nobody holds it: the same records, elsewhere.
    pub(crate) fn replace(&self, file: T, place: u64) -> Option<Hold<T>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let at = files.iter().position(|other| other.place == place)?;
        let owner = Box::new(Owner::new(file));
        let (entry, hold, len) = (ptr::from_ref(&*owner).cast_mut(), owner.hold(), files[at].len);
        let old = std::mem::replace(&mut files[at].owner, owner);
        self.point(place, len, entry);
        // SAFETY: as in `retire`.
        unsafe { Pin::new().retire(move || drop(old)) };
        drop(files);
        pin::collect();
        Some(hold)
    }

    /// Makes the file at `place` unfindable. It goes once nobody holds it; the place stays empty.
    pub(crate) fn retire(&self, place: u64) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = files.iter().position(|other| other.place == place) else {
            return;
        };
        let Filed { owner, place, len } = files.remove(at);
        if model::planted(Flaw::FileRetiredEarly) {
            owner.life.retired();
        }
        self.point(place, len, ptr::null_mut());
        owner.life.retired();
        // SAFETY: no entry leads to it any more, and here it is dropped for the only time; what it owns may be dropped
        // on any thread.
        unsafe { Pin::new().retire(move || drop(owner)) };
        drop(files);
        // A file is worth the trouble: it may be all that fills a disk.
        pin::collect();
    }
}

impl<T> Drop for Registry<T> {
    fn drop(&mut self) {
        for leaf in &self.root {
            let leaf = leaf.load(Ordering::Relaxed);
            if !leaf.is_null() {
                // SAFETY: made by `Box::into_raw` in `leaf`, and nobody can look any more.
                drop(unsafe { Box::from_raw(leaf) });
            }
        }
    }
}

impl<T> fmt::Debug for Registry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

#[cfg(all(test, zipcask_loom))]
#[path = "../../loom-tests/registry.rs"]
mod loom_models;

#[cfg(test)]
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
mod tests {
    use super::Registry;
    use crate::address::Location;
    use crate::limits::PLACE_LEN;
    use crate::reclaim::pin::{self, Pin};
    use crate::sync::Arc;
    use crate::sync::plain::{AtomicBool, Ordering};

    /// Says when it goes.
    struct Thing(Arc<AtomicBool>);

    impl Drop for Thing {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn add(registry: &Registry<Thing>, place: u64) -> Arc<AtomicBool> {
        let gone = Arc::new(AtomicBool::new(false));
        drop(registry.add(Thing(Arc::clone(&gone)), place, PLACE_LEN));
        gone
    }

    /// Whether it goes, now that nothing should keep it. Other tests of this process may be within a pin for a moment.
    fn goes(gone: &AtomicBool) -> bool {
        (0..1_000_000).any(|_| {
            pin::collect();
            std::thread::yield_now();
            gone.load(Ordering::Relaxed)
        })
    }

    fn find<'p>(registry: &'p Registry<Thing>, place: u64, pin: &'p Pin) -> Option<&'p Thing> {
        registry.find(Location::new(place, 4096), pin).map(|owner| &**owner)
    }

    #[test]
    fn a_retired_file_is_found_no_more_and_goes() {
        let registry = Registry::new();
        let (one, other) = (add(&registry, 0), add(&registry, 1));
        registry.retire(0);
        assert!(find(&registry, 0, &Pin::new()).is_none());
        assert!(goes(&one));
        assert!(find(&registry, 1, &Pin::new()).is_some());
        assert!(!other.load(Ordering::Relaxed));
        assert_eq!(registry.files().len(), 1);
    }

    #[test]
    fn who_holds_a_retired_file_keeps_it_and_no_other() {
        let registry = Registry::new();
        let (held, other) = (add(&registry, 0), add(&registry, 1));
        let hold = registry.find(Location::new(0, 4096), &Pin::new()).unwrap().hold();
        let again = std::thread::spawn(move || hold.clone()).join().unwrap();
        registry.retire(0);
        registry.retire(1);
        assert!(goes(&other));
        assert!(!held.load(Ordering::Relaxed), "a hold is left");
        drop(again);
        assert!(held.load(Ordering::Relaxed), "the last hold takes it along");
    }

    #[test]
    fn who_is_looking_keeps_a_retired_file() {
        let registry = Registry::new();
        let gone = add(&registry, 0);
        let pin = Pin::new();
        let file = find(&registry, 0, &pin).unwrap();
        registry.retire(0);
        for _ in 0..100 {
            pin::collect();
            assert!(!file.0.load(Ordering::Relaxed));
        }
        drop(pin);
        assert!(goes(&gone));
    }

    #[test]
    fn a_hold_outlives_the_registry() {
        let registry = Registry::new();
        let gone = Arc::new(AtomicBool::new(false));
        let hold = registry.add(Thing(Arc::clone(&gone)), 0, PLACE_LEN);
        drop(registry);
        assert!(!gone.load(Ordering::Relaxed));
        drop(hold);
        assert!(gone.load(Ordering::Relaxed));
    }
}
