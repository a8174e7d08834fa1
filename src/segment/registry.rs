//! From a location to the segment it lies in.
//!
//! Floor 2. Imports `address`, `error`, `limits`, `segment`, `sync`.
//!
//! The linear address space is cut into places of 1 MiB, and a file takes as many as it spans. Two levels of atomic
//! pointers lead from a place to its segment, so that a lookup is two loads and the tables grow with the store.

use std::{array, fmt, ptr};

use crate::address::Location;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{PLACE_COUNT, PLACE_LEN};
use crate::segment::Segment;
use crate::sync::Arc;
use crate::sync::atomic::{AtomicPtr, Ordering};
use crate::sync::plain::{Mutex, PoisonError};

const LEAF_LEN: usize = if cfg!(zipcask_loom) { 2 } else { 4096 };
const ROOT_LEN: usize = if cfg!(zipcask_loom) { 2 } else { (PLACE_COUNT as usize) / LEAF_LEN };

type Leaf<T> = [AtomicPtr<T>; LEAF_LEN];

/// The open segments by their places.
///
/// Invariant G1: an entry is null, or points at a segment that `files` keeps alive; it is written once.
pub(crate) struct Registry<T = Segment> {
    root: Box<[AtomicPtr<Leaf<T>>]>,
    files: Mutex<Files<T>>,
}

struct Files<T> {
    all: Vec<Arc<T>>,
    next_place: u64,
}

impl<T> Registry<T> {
    pub(crate) fn new() -> Registry<T> {
        Registry {
            root: (0..ROOT_LEN).map(|_| AtomicPtr::new(ptr::null_mut())).collect(),
            files: Mutex::new(Files { all: Vec::new(), next_place: 0 }),
        }
    }

    /// Sets places aside for a file of `len` bytes and returns the first.
    ///
    /// # Errors
    /// `ResourceLimit` once 16 TiB of files have been opened.
    pub(crate) fn reserve(&self, len: u64) -> Result<u64> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let place = files.next_place;
        let end = place + len.div_ceil(PLACE_LEN);
        if end > (ROOT_LEN * LEAF_LEN) as u64 {
            return Err(Error::new(
                ErrorKind::ResourceLimit,
                "the address space of 16 TiB is used up; close the store and open it again",
            ));
        }
        files.next_place = end;
        Ok(place)
    }

    /// Makes `file`, of `len` bytes, findable at the places that `reserve` gave it.
    pub(crate) fn add(&self, file: Arc<T>, place: u64, len: u64) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = Arc::as_ptr(&file).cast_mut();
        files.all.push(file);
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

    /// The file that `location` lies in; `None` if no file was ever given that place.
    #[inline]
    pub(crate) fn find(&self, location: Location) -> Option<&T> {
        let place = location.place() as usize;
        // ORDER: Acquire; pairs with the Release in `leaf`.
        let leaf = self.root.get(place / LEAF_LEN)?.load(Ordering::Acquire);
        // SAFETY: null or a leaf, which lives until the registry is dropped.
        let leaf = unsafe { leaf.as_ref() }?;
        // ORDER: Acquire; pairs with the Release in `add`.
        let entry = leaf[place % LEAF_LEN].load(Ordering::Acquire);
        // SAFETY: null or a segment that `files` keeps alive as long as the registry (G1).
        unsafe { entry.as_ref() }
    }

    /// Like `find`, and holds on to it.
    #[inline]
    pub(crate) fn pin(&self, location: Location) -> Option<Arc<T>> {
        let file = ptr::from_ref(self.find(location)?);
        // SAFETY: the pointer came from `Arc::as_ptr` in `add`, and `files` still has that Arc (G1).
        unsafe {
            Arc::increment_strong_count(file);
            Some(Arc::from_raw(file))
        }
    }

    /// All files, in the order in which they were added.
    pub(crate) fn files(&self) -> Vec<Arc<T>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).all.clone()
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
