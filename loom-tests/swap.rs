//! C3 and R6 under every interleaving: a job moves a record from its source and retires that, beside a writer or a reader of its key.
//!
//! Table and registry are the store's own; what stands around them in the job, in a get and in a write is said again here. What is
//! retired is gone at once unless the other thread has a pin.

use std::mem::ManuallyDrop;

use loom::cell::UnsafeCell;
use loom::thread;

use crate::address::Location;
use crate::index::ahead::Glance;
use crate::index::table::{Found, Probe, Table};
use crate::limits::PLACE_LEN;
use crate::model::{self, Flaw};
use crate::reclaim::pin::{self, Pin};
use crate::segment::registry::Registry;
use crate::sync::Arc;
use crate::sync::atomic::{AtomicBool, Ordering, fence};

const HASH: u64 = 0x5555_5555_5555_5554;
/// Places of the files: of the source, of what the job makes of it, and of the segment that is being written.
const SOURCE: u64 = 0;
const COPY: u64 = 1;
const ACTIVE: u64 = 2;

/// Of the two keys with that hash.
const KEY: u64 = 1;
const OTHER: u64 = 2;

/// The keys of its records.
struct File([UnsafeCell<u64>; 2]);

// SAFETY: whether its cells are shared soundly is what loom checks here.
unsafe impl Sync for File {}

fn at(place: u64, record: u64) -> Location {
    Location::new(place, 4096 + 8 * record)
}

/// What comes first in a job.
#[derive(Clone, Copy, PartialEq, Eq)]
enum First {
    Swap,
    /// The bug that R6 forbids.
    Retire,
}

struct Shared {
    table: Table,
    registry: Registry<File>,
    pinned: AtomicBool,
}

impl Shared {
    /// The source has both keys, and the index says so.
    fn new() -> Arc<Shared> {
        let shared = Shared { table: Table::new(), registry: Registry::new(), pinned: AtomicBool::new(false) };
        for (place, keys) in [(SOURCE, [KEY, OTHER]), (ACTIVE, [0, 0])] {
            drop(shared.registry.add(File(keys.map(UnsafeCell::new)), place, PLACE_LEN));
        }
        for (record, key) in [(0, KEY), (1, OTHER)] {
            assert_eq!(shared.table.insert(HASH, at(SOURCE, record), |at| shared.probe(key, at)).old, None);
        }
        Arc::new(shared)
    }

    /// As `store::read` looks at a candidate.
    fn probe(&self, key: u64, at: Location) -> Probe {
        let pin = Pin::new();
        let Some(file) = self.registry.find(at, &pin) else { return Probe::Gone };
        let record = (at.linear() - Location::start_of(at.place()) - 4096) / 8;
        // SAFETY: a published record does not change, and is seen by who sees its location: what loom checks here.
        let found = file.0[record as usize].with(|found| unsafe { *found });
        assert_ne!(found, 0, "a location without a record");
        if found == key { Probe::Same(()) } else { Probe::Other }
    }

    /// What others do within a pin.
    fn within_a_pin<T>(&self, f: impl FnOnce() -> T) -> T {
        self.pinned.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let done = f();
        self.pinned.store(false, Ordering::Release);
        done
    }

    /// The place of the key's record. As `store::read` does it: a glance first, and a search where that does not do.
    fn get(&self, key: u64) -> Option<u64> {
        self.within_a_pin(|| {
            match self.table.glance(HASH, &Pin::new()) {
                Glance::Absent => return None,
                Glance::Likely(at) if self.probe(key, at) == Probe::Same(()) => return Some(at.place()),
                Glance::Likely(_) | Glance::Unsure => {}
            }
            match self.table.find(HASH, |at| self.probe(key, at)) {
                Found::At(at) => Some(at.place()),
                Found::Absent => None,
                Found::Gone(_) | Found::Unreadable(_) => panic!("a key that is there is missing"),
            }
        })
    }

    fn overwrite(&self) -> Option<u64> {
        let active = self.registry.find(at(ACTIVE, 0), &Pin::new()).unwrap().hold();
        // SAFETY: the writer's own, and not published yet.
        active.0[0].with_mut(|record| unsafe { *record = KEY });
        let changed = self.within_a_pin(|| self.table.insert(HASH, at(ACTIVE, 0), |at| self.probe(KEY, at)));
        changed.old.map(Location::place)
    }

    fn delete(&self) -> Option<u64> {
        self.within_a_pin(|| self.table.remove(HASH, |at| self.probe(KEY, at))).old.map(Location::place)
    }

    /// The job: whether the key's record moved.
    fn job(&self, first: First) -> bool {
        let keys = [KEY, OTHER].map(UnsafeCell::new);
        drop(self.registry.add(File(keys), COPY, PLACE_LEN));
        if first == First::Retire {
            self.registry.retire(SOURCE);
        }
        let moved = [(0, KEY), (1, OTHER)].map(|(record, key)| self.swap(key, at(COPY, record)));
        if first == First::Swap {
            self.registry.retire(SOURCE);
        }
        moved[0]
    }

    /// As `compact::swap` has it done by `store::read`.
    fn swap(&self, key: u64, to: Location) -> bool {
        let found = self.table.find(HASH, |at| if at.place() == SOURCE { self.probe(key, at) } else { Probe::Other });
        match found {
            Found::At(from) => self.table.replace(HASH, from, to),
            _ => false,
        }
    }
}

/// Runs the job beside `other` in every interleaving, and then `after` with what they returned.
fn race<T: 'static>(planted: Option<Flaw>, first: First, other: fn(&Shared) -> T, after: fn(&Shared, bool, T)) {
    model::plant(planted);
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 20_000;
    builder.check(move || {
        model::reclaim_if(None);
        pin::keep_retired();
        // A panic leaves it, for what it left half done is not to be taken down.
        let shared = ManuallyDrop::new(Shared::new());
        let nobody_looks = {
            let shared = Arc::clone(&shared);
            move || {
                fence(Ordering::SeqCst);
                !shared.pinned.load(Ordering::Acquire)
            }
        };
        model::reclaim_if(Some(Box::new(nobody_looks)));
        let job = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.job(first)
        });
        let other = other(&shared);
        let moved = job.join().unwrap();
        assert_eq!(shared.get(OTHER), Some(COPY));
        after(&shared, moved, other);
        model::reclaim_if(None);
        drop(ManuallyDrop::into_inner(shared));
        pin::end_retired();
    });
}

fn reader(first: First) {
    race(
        None,
        first,
        |shared| (shared.get(KEY), shared.get(KEY)),
        |shared, moved, seen| {
            let sound = [(SOURCE, SOURCE), (SOURCE, COPY), (COPY, COPY)].map(|(one, two)| (Some(one), Some(two)));
            assert!(moved && sound.contains(&seen), "{seen:?}");
            assert_eq!(shared.get(KEY), Some(COPY));
        },
    );
}

/// R2, R6, R3.
#[test]
fn a_reader_misses_no_key_that_moves_and_finds_no_file_that_is_gone() {
    reader(First::Swap);
}

#[test]
#[should_panic(expected = "a key that is there is missing")]
fn a_source_retired_before_the_swap_is_noticed() {
    reader(First::Retire);
}

fn overwrite(planted: Option<Flaw>) {
    race(planted, First::Swap, Shared::overwrite, |shared, moved, replaced| {
        assert_eq!(replaced, Some(if moved { COPY } else { SOURCE }), "it is counted out where it was");
        assert_eq!((shared.get(KEY), shared.table.len()), (Some(ACTIVE), 2), "the newest stays");
    });
}

/// C3.
#[test]
fn a_key_that_is_overwritten_while_it_moves_has_its_new_value_once() {
    overwrite(None);
}

#[test]
#[should_panic]
fn a_swap_that_does_not_compare_is_noticed_by_an_overwrite() {
    overwrite(Some(Flaw::ReplacedBlindly));
}

fn delete(planted: Option<Flaw>) {
    race(planted, First::Swap, Shared::delete, |shared, moved, deleted| {
        assert_eq!(deleted, Some(if moved { COPY } else { SOURCE }), "it is counted out where it was");
        assert_eq!((shared.get(KEY), shared.table.len()), (None, 1), "what is deleted stays so");
    });
}

/// C3.
#[test]
fn a_key_that_is_deleted_while_it_moves_stays_deleted() {
    delete(None);
}

#[test]
#[should_panic]
fn a_swap_that_does_not_compare_is_noticed_by_a_delete() {
    delete(Some(Flaw::ReplacedBlindly));
}
