//! The table of one keyspace: finding, adding, replacing and removing the location of a key.
//!
//! Floor 2. Imports `address`, `index`, `model`, `reclaim`, `sync`.
//!
//! A reader loads the root, the directory's entry and the words of one unit, and never looks back. It may work in a
//! unit that is being split, or that was; then what it finds was true when it loaded the entry, or later: a unit's words
//! are the truth until they freeze, and no word of its children changes before the entries name them.

use std::ops::ControlFlow;

use crossbeam_utils::CachePadded;

use crate::address::Location;
use crate::index::bucket::Word;
use crate::index::image::Memory;
use crate::index::inserter::Inserter;
use crate::index::published::Published;
use crate::index::unit::{Head, Unit};
use crate::model::{self, Flaw, Life};
use crate::reclaim::pin::Pin;
use crate::sync::plain::{AtomicU64, PoisonError};
use crate::sync::{Mutex, MutexGuard, atomic::Ordering, yield_now};

/// What the record at a location is, asked by the key at hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Probe<T = ()> {
    /// The key's, and what the probe learned of it.
    Same(T),
    Other,
    /// Its bytes are damaged: it may or may not be the key.
    Unreadable,
    /// Nothing is there. A record that moves is in its new place before the old one goes, so the index no longer says so.
    Gone,
}

/// What a `get` found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found<T> {
    /// What the probe of the key's record learned of it.
    At(T),
    Absent,
    /// No candidate has the key, but this one, the first of them, could not be read.
    Unreadable(Location),
    /// No candidate has the key, and the index still says this location after it was seen to lead nowhere.
    Gone(Location),
}

/// Where the records of a keyspace's keys are.
///
/// An empty table has allocated nothing.
#[derive(Debug)]
pub(crate) struct Table {
    /// Null until the first insert. On a line of its own: every reader loads it, and the inserter rarely stores it.
    pub(crate) root: CachePadded<Published<Directory>>,
    /// One thread at a time inserts or removes, and another waits for it only where the table is written down. So it makes
    /// that a matter of speed and not of soundness.
    inserter: Mutex<Inserter>,
    len: AtomicU64,
    /// Memory behind `root` and `inserter`.
    bytes: AtomicU64,
    /// What units lie in that were not allocated. Looked at by no one: it goes when the table does.
    _memory: Option<Memory>,
}

/// What a change of one key did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Changed {
    /// Where the key's record was, if it had one.
    pub(crate) old: Option<Location>,
    /// Whether the table is being written down, and the change will be in it: the key's hash was not copied yet.
    pub(crate) imaged: bool,
}

/// The units by the top bits of the hash. One of depth d stands in as many entries as it has hashes at this depth.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) depth: u32,
    pub(crate) units: Box<[Published<Head>]>,
    pub(crate) life: Life,
}

impl Directory {
    /// The entry of the unit that this hash belongs to.
    #[inline]
    pub(crate) fn index(&self, hash: u64) -> usize {
        // In two steps, since a shift by 64 is none.
        (hash >> 1 >> (u64::BITS - 1 - self.depth)) as usize
    }

    /// The pointer that it names the unit by that this hash belongs to.
    #[inline]
    pub(crate) fn name(&self, hash: u64) -> *mut Head {
        self.units[self.index(hash)].load()
    }

    /// Memory it takes.
    pub(crate) fn bytes(&self) -> u64 {
        (size_of::<Directory>() + size_of_val::<[_]>(&self.units)) as u64
    }
}

impl Table {
    pub(crate) fn new() -> Table {
        Table {
            root: CachePadded::new(Published::new(std::ptr::null_mut())),
            inserter: Mutex::new(Inserter::default()),
            len: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            _memory: None,
        }
    }

    /// A table that begins with this directory, whose units lie in `memory`.
    pub(crate) fn over(directory: *mut Directory, inserter: Inserter, len: u64, memory: Memory) -> Table {
        let table = Table {
            root: CachePadded::new(Published::new(directory)),
            inserter: Mutex::new(inserter),
            len: AtomicU64::new(len),
            bytes: AtomicU64::new(0),
            _memory: Some(memory),
        };
        table.count_bytes(&table.lock(), &Pin::new());
        table
    }

    /// Any thread, lock-free, while one thread inserts or removes. An Unreadable candidate does not end the search; one
    /// that is Gone has it begin anew, until none is, or the same again: each time something else must have gone meanwhile.
    ///
    /// The location that probed `Same` was the key's at some moment of this call. What it leads to stays while the pin
    /// lives.
    #[inline]
    pub(crate) fn get<T>(&self, hash: u64, pin: &Pin, mut probe: impl FnMut(Location) -> Probe<T>) -> Found<T> {
        let mut gone = None;
        loop {
            match self.get_once(hash, pin, &mut probe) {
                Found::Gone(at) if gone != Some(at) => gone = Some(at),
                found => return found,
            }
        }
    }

    /// As `get`, but `Gone` at the first sight of it.
    #[inline]
    fn get_once<T>(&self, hash: u64, pin: &Pin, mut probe: impl FnMut(Location) -> Probe<T>) -> Found<T> {
        let Some(unit) = self.unit(hash, pin) else {
            return Found::Absent;
        };
        let (mut unreadable, mut gone) = (None, None);
        let found = unit.search(hash, |_, word| {
            let Some(at) = word.location() else {
                return ControlFlow::Continue(());
            };
            match probe(at) {
                Probe::Same(found) => return ControlFlow::Break(found),
                Probe::Other => {}
                Probe::Unreadable => unreadable = unreadable.or(Some(at)),
                Probe::Gone => gone = gone.or(Some(at)),
            }
            ControlFlow::Continue(())
        });
        match (found, gone, unreadable) {
            (ControlFlow::Break(found), ..) => Found::At(found),
            (ControlFlow::Continue(()), Some(at), _) => Found::Gone(at),
            (ControlFlow::Continue(()), None, Some(at)) => Found::Unreadable(at),
            (ControlFlow::Continue(()), None, None) => Found::Absent,
        }
    }

    /// Like `get`, with a pin of its own, for tests whose log stays: gives the location.
    #[cfg(test)]
    pub(crate) fn find(&self, hash: u64, mut probe: impl FnMut(Location) -> Probe) -> Found<Location> {
        self.get(hash, &Pin::new(), |at| match probe(at) {
            Probe::Same(()) => Probe::Same(at),
            Probe::Other => Probe::Other,
            Probe::Unreadable => Probe::Unreadable,
            Probe::Gone => Probe::Gone,
        })
    }

    /// One thread at a time. Puts `to` in place of the location that probes `Same`; else adds it.
    ///
    /// Unreadable is taken for Other, and so is what is Gone twice.
    pub(crate) fn insert(&self, hash: u64, to: Location, mut probe: impl FnMut(Location) -> Probe) -> Changed {
        let mut inserter = self.lock();
        let pin = Pin::new();
        let old = self.exchange(hash, &pin, |word| word.moved(to), &mut probe);
        if old.is_none() {
            self.add(&mut inserter, hash, Word::new(hash, to), &pin);
            self.len.store(self.len() + 1, Ordering::Relaxed);
        }
        Changed { old, imaged: inserter.will_copy(hash) }
    }

    /// One thread at a time (the same as for insert).
    ///
    /// Unreadable is taken for Other, and so is what is Gone twice.
    pub(crate) fn remove(&self, hash: u64, mut probe: impl FnMut(Location) -> Probe) -> Changed {
        let inserter = self.lock();
        let pin = Pin::new();
        let old = self.exchange(hash, &pin, |_| Word::EMPTY, &mut probe);
        if old.is_some() {
            if let Some(unit) = self.unit(hash, &pin) {
                unit.settle(hash);
            }
            self.len.store(self.len() - 1, Ordering::Relaxed);
        }
        Changed { old, imaged: inserter.will_copy(hash) }
    }

    /// One thread at a time (the same as for insert). Removes every location that `goes`, without asking for its key.
    pub(crate) fn sweep(&self, mut goes: impl FnMut(Location) -> bool) {
        let _inserter = self.lock();
        // Units are only divided by the inserter: the lowest hash of the next one follows from the depth of this.
        let mut first = Some(0_u64);
        while let Some(hash) = first {
            let pin = Pin::new();
            let Some(unit) = self.unit(hash, &pin) else { return };
            let removed = unit.clear(&mut goes) as u64;
            self.len.store(self.len() - removed, Ordering::Relaxed);
            first = 1_u64.checked_shl(u64::BITS - unit.depth()).and_then(|count| hash.checked_add(count));
        }
    }

    /// Any thread. Whether the index says `at` for a key of this hash.
    pub(crate) fn says(&self, hash: u64, at: Location, pin: &Pin) -> bool {
        let Some(unit) = self.unit(hash, pin) else {
            return false;
        };
        let found = unit.search(hash, |_, word| match word.location() == Some(at) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        });
        found.is_break()
    }

    /// Any thread. Puts `to` in the place of `from`, if the index still says so, and returns whether it did.
    ///
    /// Waits while the unit of the key is being split: an answer of `false` is final.
    pub(crate) fn replace(&self, hash: u64, from: Location, to: Location) -> bool {
        let pin = Pin::new();
        loop {
            let Some(unit) = self.unit(hash, &pin) else {
                return false;
            };
            let found = unit.search(hash, |slot, word| {
                if word.location() == Some(from) {
                    return ControlFlow::Break((slot, word));
                }
                ControlFlow::Continue(())
            });
            let ControlFlow::Break((slot, word)) = found else {
                return false;
            };
            let seen = match word.is_frozen() {
                true => word,
                false => match slot.replace(word, word.moved(to)) {
                    Ok(()) => return true,
                    Err(seen) => seen,
                },
            };
            if seen != word.frozen() || model::planted(Flaw::FrozenIsChanged) {
                return false;
            }
            // The key is about to be found in a child of this unit.
            yield_now();
        }
    }

    /// Live keys.
    pub(crate) fn len(&self) -> u64 {
        self.len.load(Ordering::Relaxed)
    }

    /// Memory it takes.
    pub(crate) fn bytes(&self) -> u64 {
        size_of::<Table>() as u64 + self.bytes.load(Ordering::Relaxed)
    }

    /// The unit that this hash belongs to; `None` before the first insert.
    #[inline]
    pub(crate) fn unit<'p>(&'p self, hash: u64, pin: &'p Pin) -> Option<Unit<'p>> {
        let directory = self.directory(pin)?;
        let name = directory.name(hash);
        // SAFETY: entries name units that `allocate` made or `adopt` took; one that was there since the pin was made is freed only
        // after it has gone (`grow`).
        let unit = unsafe { Unit::new(name, pin) };
        unit.head().life.found();
        Some(unit)
    }

    /// `None` before the first insert.
    #[inline]
    pub(crate) fn directory<'p>(&'p self, _pin: &'p Pin) -> Option<&'p Directory> {
        // SAFETY: the root is null or a directory that `grow` made; one that was there since the pin was made is freed
        // only after it has gone.
        let directory = unsafe { self.root.load().as_ref() }?;
        directory.life.found();
        Some(directory)
    }

    /// Changes the word of the key, if it is there, to what `change` makes of it; returns its location until then.
    fn exchange(
        &self,
        hash: u64,
        pin: &Pin,
        change: impl Fn(Word) -> Word,
        mut probe: impl FnMut(Location) -> Probe,
    ) -> Option<Location> {
        let unit = self.unit(hash, pin)?;
        let mut gone_before = None;
        loop {
            let mut gone = None;
            let found = unit.search(hash, |slot, word| {
                let Some(at) = word.location() else {
                    return ControlFlow::Continue(());
                };
                match probe(at) {
                    Probe::Same(()) => return ControlFlow::Break((slot, word, at)),
                    Probe::Other | Probe::Unreadable => {}
                    Probe::Gone => gone = gone.or(Some(at)),
                }
                ControlFlow::Continue(())
            });
            match found {
                // If it fails, a mover was faster: the record lies elsewhere.
                ControlFlow::Break((slot, word, at)) if slot.replace(word, change(word)).is_ok() => return Some(at),
                ControlFlow::Continue(()) if gone.is_none() || gone == gone_before => return None,
                _ => gone_before = gone,
            }
        }
    }

    /// Adds a key that is not there.
    fn add(&self, inserter: &mut Inserter, hash: u64, word: Word, pin: &Pin) {
        loop {
            let Some(unit) = self.unit(hash, pin) else {
                self.begin(inserter, pin);
                continue;
            };
            if let Some(vacancy) = unit.vacancy(hash) {
                inserter.note(hash, vacancy);
                unit.occupy(hash, vacancy, word);
                return;
            }
            if !self.grow(inserter, hash, unit, pin) {
                inserter.unit_bytes += unit.chain(hash, word);
                self.count_bytes(inserter, pin);
                return;
            }
        }
    }

    /// Brings `bytes` up to date.
    pub(crate) fn count_bytes(&self, inserter: &Inserter, pin: &Pin) {
        let directory = self.directory(pin).map_or(0, Directory::bytes);
        self.bytes.store(inserter.bytes() + directory, Ordering::Relaxed);
    }

    /// The right to insert and remove.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inserter> {
        // A probe may panic, but is called only while nothing is half done.
        self.inserter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Table {
    fn default() -> Self {
        Table::new()
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.free();
    }
}

#[cfg(all(test, zipcask_loom))]
#[path = "../../loom-tests/table.rs"]
mod loom_models;
