//! Models of the table's protocol, on units of one or two buckets with two slots each.
//!
//! The record that a location names is a cell that its writer fills before it publishes the location; a probe reads it,
//! so a location that is seen too early is a race that loom reports.

use std::mem::ManuallyDrop;

use loom::cell::UnsafeCell;
use loom::thread;

use super::{Found, Probe, Table};
use crate::address::Location;
use crate::model::{self, Flaw};
use crate::sync::Arc;
use crate::sync::atomic::{AtomicBool, Ordering, fence};

/// Every model's keys: their hashes agree in the home bit, and in whatever else `hash` leaves equal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Key {
    hash: u64,
    number: u64,
}

/// Keys of one hash.
fn twins<const N: usize>(hash: u64) -> [Key; N] {
    std::array::from_fn(|number| Key { hash, number: number as u64 + 1 })
}

fn at(unit: u64) -> Location {
    Location::from_unit(unit).unwrap()
}

/// A table and its log: unit n is a record of the key whose number is in `log[n]`.
struct Shared {
    table: Table,
    log: Vec<UnsafeCell<u64>>,
}

impl Shared {
    /// A table with `keys`, each at the unit of its number.
    fn new(keys: &[Key]) -> Arc<Shared> {
        let log = (0..16).map(|_| UnsafeCell::new(0)).collect();
        let shared = Shared { table: Table::new(), log };
        for &key in keys {
            assert_eq!(shared.insert(key, key.number), None);
        }
        Arc::new(shared)
    }

    fn write(&self, unit: u64, key: Key) {
        // SAFETY: each unit is written by one thread, before it is published.
        self.log[unit as usize].with_mut(|record| unsafe { *record = key.number });
    }

    fn probe(&self, key: Key) -> impl FnMut(Location) -> Probe + '_ {
        move |at| {
            // SAFETY: a published record does not change, and is seen by who sees its location: what loom checks here.
            let number = self.log[at.unit() as usize].with(|record| unsafe { *record });
            assert_ne!(number, 0, "a location without a record");
            if number == key.number { Probe::Same(()) } else { Probe::Other }
        }
    }

    /// The unit of the key's record; 0 if it is absent.
    fn get(&self, key: Key) -> u64 {
        match self.table.find(key.hash, self.probe(key)) {
            Found::At(at) => at.unit(),
            Found::Absent => 0,
            Found::Unreadable(_) | Found::Gone(_) => unreachable!(),
        }
    }

    fn insert(&self, key: Key, unit: u64) -> Option<u64> {
        self.write(unit, key);
        self.table.insert(key.hash, at(unit), self.probe(key)).old.map(Location::unit)
    }

    fn remove(&self, key: Key) -> Option<u64> {
        self.table.remove(key.hash, self.probe(key)).old.map(Location::unit)
    }

    fn relocate(&self, key: Key, from: u64, to: u64) -> bool {
        self.write(to, key);
        self.table.replace(key.hash, at(from), at(to))
    }
}

/// Runs `one` beside `other` in every interleaving, on what `make` makes, and then `after` with what they returned.
fn race<A: 'static, B: 'static>(
    planted: Option<Flaw>,
    make: fn() -> Arc<Shared>,
    one: fn(&Shared) -> A,
    other: fn(&Shared) -> B,
    after: fn(&Shared, A, B),
) {
    model::plant(planted);
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 20_000;
    builder.check(move || {
        // A panic leaves it, for what it left half done is not to be taken down.
        let shared = ManuallyDrop::new(make());
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || one(&shared)
        });
        let other = other(&shared);
        let one = thread.join().unwrap();
        after(&shared, one, other);
        drop(ManuallyDrop::into_inner(shared));
    });
}

const HASH: u64 = 0x5555_5555_5555_5554;

/// Put, replace and remove of one key beside a reader who looks twice.
fn one_key(planted: Option<Flaw>) {
    race(
        planted,
        || Shared::new(&[]),
        |shared| {
            let [key] = twins(HASH);
            assert_eq!(shared.insert(key, 1), None);
            assert_eq!(shared.insert(key, 2), Some(1));
            assert_eq!(shared.remove(key), Some(2));
        },
        |shared| {
            let [key] = twins(HASH);
            (shared.get(key), shared.get(key))
        },
        |shared, (), (first, second)| {
            // After the removal, or before the put: both read 0.
            assert!(second >= first || second == 0, "went back from {first} to {second}");
            assert_eq!((shared.get(twins::<1>(HASH)[0]), shared.table.len()), (0, 0));
        },
    );
}

#[test]
fn a_reader_sees_one_keys_life_in_order_and_each_record_whole() {
    one_key(None);
}

#[test]
#[should_panic]
fn slots_written_relaxed_are_noticed() {
    one_key(Some(Flaw::SlotWrittenRelaxed));
}

#[test]
#[should_panic]
fn slots_read_relaxed_are_noticed() {
    one_key(Some(Flaw::SlotReadRelaxed));
}

#[test]
#[should_panic]
fn a_root_written_relaxed_is_noticed() {
    one_key(Some(Flaw::PointerWrittenRelaxed));
}

/// R2 and no going back, while a unit is replaced by a wider one.
#[test]
fn a_reader_misses_no_key_of_a_unit_that_widens() {
    race(
        None,
        || Shared::new(&twins::<2>(HASH)),
        |shared| {
            let [first, _, third] = twins(HASH);
            assert_eq!(shared.insert(third, 3), None);
            assert_eq!(shared.insert(first, 4), Some(1));
        },
        |shared| {
            let [first, second] = twins(HASH);
            (shared.get(first), shared.get(first), shared.get(second))
        },
        |_, (), (first, again, second)| {
            assert!([(1, 1), (1, 4), (4, 4)].contains(&(first, again)), "{first}, then {again}");
            assert_eq!(second, 2);
        },
    );
}

/// Keys enough to fill a unit of two buckets: two of its first child, two of its second.
fn both_halves() -> [Key; 4] {
    let keys: [_; 4] = twins(HASH);
    [0, 1, 2, 3].map(|i| Key { hash: HASH ^ (i as u64 & 1) << 63, ..keys[i] })
}

/// R2 and no going back, while a unit is split and the directory doubles.
fn reader_and_split(planted: Option<Flaw>) {
    race(
        planted,
        || Shared::new(&both_halves()),
        |shared| {
            let [first, ..] = both_halves();
            assert_eq!(shared.insert(Key { number: 5, ..first }, 5), None);
            assert_eq!(shared.insert(first, 6), Some(1));
        },
        |shared| {
            let [first, second, ..] = both_halves();
            (shared.get(first), shared.get(first), shared.get(second))
        },
        |shared, (), (first, again, second)| {
            assert!([(1, 1), (1, 6), (6, 6)].contains(&(first, again)), "{first}, then {again}");
            assert_eq!(second, 2);
            let mut count = 0;
            shared.table.walk(|all, _| {
                count += all.len();
                true
            });
            assert_eq!(count, 5);
        },
    );
}

#[test]
fn a_reader_misses_no_key_of_a_unit_that_splits() {
    reader_and_split(None);
}

#[test]
#[should_panic]
fn a_split_published_relaxed_is_noticed() {
    reader_and_split(Some(Flaw::PointerWrittenRelaxed));
}

#[test]
#[should_panic]
fn a_split_read_relaxed_is_noticed() {
    reader_and_split(Some(Flaw::PointerReadRelaxed));
}

/// Keys that make a directory of depth 2 whose second half is one unit, and fill that unit.
fn uneven() -> [Key; 9] {
    let keys: [_; 9] = twins(HASH);
    std::array::from_fn(|i| match i {
        // The first bit of HASH is 0, its second 1.
        0..5 => keys[i],
        _ => Key { hash: HASH ^ 1 << 63 ^ (i as u64 & 1) << 62, ..keys[i] },
    })
}

/// The same for a unit that has two entries of the directory, which change one after the other.
#[test]
fn a_reader_misses_no_key_of_a_unit_with_two_entries_that_splits() {
    race(
        None,
        || Shared::new(&uneven()),
        |shared| {
            let [.., last] = uneven();
            assert_eq!(shared.insert(Key { number: 10, ..last }, 10), None);
            assert_eq!(shared.insert(last, 11), Some(9));
        },
        |shared| {
            let [.., last] = uneven();
            (shared.get(last), shared.get(last))
        },
        |shared, (), (last, again)| {
            assert!([(9, 9), (9, 11), (11, 11)].contains(&(last, again)), "{last}, then {again}");
            let mut count = 0;
            shared.table.walk(|all, _| {
                count += all.len();
                true
            });
            assert_eq!(count, 10);
        },
    );
}

/// I1: a mover and the inserter at one slot.
fn mover_and_inserter(planted: Option<Flaw>) {
    race(
        planted,
        || Shared::new(&twins::<1>(HASH)),
        |shared| shared.relocate(twins::<1>(HASH)[0], 1, 2),
        |shared| shared.insert(twins::<1>(HASH)[0], 3),
        |shared, moved, replaced| {
            assert_eq!(replaced, Some(if moved { 2 } else { 1 }));
            assert_eq!(shared.get(twins::<1>(HASH)[0]), 3);
        },
    );
}

#[test]
fn a_mover_and_the_inserter_do_not_undo_each_other() {
    mover_and_inserter(None);
}

#[test]
#[should_panic]
fn replacing_whatever_is_there_is_noticed() {
    mover_and_inserter(Some(Flaw::ReplacedBlindly));
}

fn mover_and_removal(planted: Option<Flaw>) {
    race(
        planted,
        || Shared::new(&twins::<1>(HASH)),
        |shared| shared.relocate(twins::<1>(HASH)[0], 1, 2),
        |shared| shared.remove(twins::<1>(HASH)[0]),
        |shared, moved, removed| {
            assert_eq!(removed, Some(if moved { 2 } else { 1 }));
            assert_eq!(shared.get(twins::<1>(HASH)[0]), 0);
        },
    );
}

#[test]
fn a_mover_does_not_bring_back_what_is_removed() {
    mover_and_removal(None);
}

#[test]
#[should_panic]
fn bringing_back_what_is_removed_is_noticed() {
    mover_and_removal(Some(Flaw::ReplacedBlindly));
}

#[test]
fn of_two_movers_of_one_record_one_succeeds() {
    race(
        None,
        || Shared::new(&twins::<1>(HASH)),
        |shared| shared.relocate(twins::<1>(HASH)[0], 1, 2),
        |shared| shared.relocate(twins::<1>(HASH)[0], 1, 3),
        |shared, one, other| {
            assert!(one != other);
            assert_eq!(shared.get(twins::<1>(HASH)[0]), if one { 2 } else { 3 });
        },
    );
}

/// I5: a mover at a unit that is being replaced. It may wait, and in the end it succeeds, for nothing else moves its key.
fn mover_and_growth(planted: Option<Flaw>) {
    race(
        planted,
        || Shared::new(&twins::<2>(HASH)),
        |shared| shared.relocate(twins::<1>(HASH)[0], 1, 4),
        |shared| {
            let [first, _, third] = twins(HASH);
            assert_eq!(shared.insert(third, 3), None);
            // By way of the copy that growth made of the word.
            shared.get(first)
        },
        |shared, moved, seen| {
            assert!(moved && [1, 4].contains(&seen));
            assert_eq!(shared.get(twins::<1>(HASH)[0]), 4);
        },
    );
}

#[test]
fn no_move_is_lost_while_a_unit_widens() {
    mover_and_growth(None);
}

#[test]
#[should_panic]
fn a_copy_made_without_freezing_is_noticed() {
    mover_and_growth(Some(Flaw::NoFreeze));
}

#[test]
#[should_panic]
fn a_copy_made_without_acquiring_is_noticed() {
    mover_and_growth(Some(Flaw::FreezeRelaxed));
}

#[test]
#[should_panic]
fn a_mover_that_takes_frozen_for_changed_is_noticed() {
    mover_and_growth(Some(Flaw::FrozenIsChanged));
}

fn mover_and_split(planted: Option<Flaw>) {
    race(
        planted,
        || Shared::new(&both_halves()),
        |shared| {
            let [_, second, ..] = both_halves();
            shared.relocate(second, 2, 6)
        },
        |shared| {
            let [first, second, ..] = both_halves();
            assert_eq!(shared.insert(Key { number: 5, ..first }, 5), None);
            shared.get(second)
        },
        |shared, moved, seen| {
            assert!(moved && [2, 6].contains(&seen));
            let [_, second, ..] = both_halves();
            assert_eq!(shared.get(second), 6);
        },
    );
}

#[test]
fn no_move_is_lost_while_a_unit_splits() {
    mover_and_split(None);
}

#[test]
#[should_panic]
fn a_split_made_without_freezing_is_noticed() {
    mover_and_split(Some(Flaw::NoFreeze));
}

#[test]
#[should_panic]
fn a_split_made_without_acquiring_is_noticed() {
    mover_and_split(Some(Flaw::FreezeRelaxed));
}

#[test]
#[should_panic]
fn a_mover_that_takes_a_split_for_a_change_is_noticed() {
    mover_and_split(Some(Flaw::FrozenIsChanged));
}

/// What growth retires has been unlinked before: a reader that begins afterwards finds none of it.
///
/// Reclamation is a toy, free at once unless the one reader is looking. The real one waits for whoever is looking.
fn retirement(planted: Option<Flaw>, make: fn() -> Arc<Shared>, last: fn() -> Key) {
    model::plant(planted);
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 20_000;
    builder.check(move || {
        model::reclaim_if(None);
        let shared = ManuallyDrop::new(make());
        let looks = Arc::new(AtomicBool::new(false));
        let nobody_looks = {
            let looks = Arc::clone(&looks);
            move || {
                fence(Ordering::SeqCst);
                !looks.load(Ordering::Acquire)
            }
        };
        model::reclaim_if(Some(Box::new(nobody_looks)));
        let inserter = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.insert(Key { number: 15, ..last() }, 15)
        });
        looks.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let seen = shared.get(last());
        looks.store(false, Ordering::Release);
        assert_eq!((inserter.join().unwrap(), seen), (None, last().number));
        drop(ManuallyDrop::into_inner(shared));
    });
}

/// The directory doubles, and is retired with the unit.
fn retired_directory(planted: Option<Flaw>) {
    retirement(planted, || Shared::new(&both_halves()), || both_halves()[0]);
}

/// The directory stays, and its two entries of the unit change.
fn retired_unit(planted: Option<Flaw>) {
    retirement(planted, || Shared::new(&uneven()), || uneven()[8]);
}

#[test]
fn a_reader_finds_no_directory_that_is_retired() {
    retired_directory(None);
}

#[test]
fn a_reader_finds_no_unit_that_is_retired() {
    retired_unit(None);
}

#[test]
#[should_panic(expected = "leads to what was freed")]
fn a_directory_retired_early_is_noticed() {
    retired_directory(Some(Flaw::DirectoryRetiredEarly));
}

#[test]
#[should_panic(expected = "leads to what was freed")]
fn a_unit_retired_early_is_noticed() {
    retired_unit(Some(Flaw::UnitRetiredEarly));
}

/// I7: of the four keys two are displaced; while one of them goes and another comes, the other is there.
fn displaced(planted: Option<Flaw>) {
    race(
        planted,
        || Shared::new(&twins::<4>(HASH)),
        |shared| {
            let [_, _, third, _, fifth] = twins(HASH);
            assert_eq!(shared.remove(third), Some(3));
            assert_eq!(shared.insert(fifth, 5), None);
        },
        |shared| {
            let [_, _, third, fourth, fifth] = twins(HASH);
            (shared.get(fourth), shared.get(fifth), shared.get(third))
        },
        |_, (), (fourth, fifth, third)| {
            assert_eq!(fourth, 4);
            assert!(fifth == 0 || fifth == 5 && third == 0);
        },
    );
}

#[test]
fn a_displaced_key_stays_in_reach_while_its_neighbour_goes() {
    displaced(None);
}

#[test]
#[should_panic]
fn a_reach_that_is_rebuilt_in_place_is_noticed() {
    displaced(Some(Flaw::ReachRebuiltInPlace));
}

/// Of these keys of one hash four fill a unit as deep as it may get, and two a link of its chain; a seventh needs another.
fn chained(planted: Option<Flaw>) {
    race(
        planted,
        || Shared::new(&twins::<6>(HASH)),
        |shared| {
            let [.., sixth, seventh] = twins::<7>(HASH);
            assert_eq!(shared.insert(seventh, 7), None);
            assert_eq!(shared.remove(sixth), Some(6));
        },
        |shared| {
            let [.., fifth, _, seventh] = twins::<7>(HASH);
            (shared.get(seventh), shared.get(fifth))
        },
        |shared, (), (seventh, fifth)| {
            assert!([0, 7].contains(&seventh));
            assert_eq!(fifth, 5);
            assert_eq!(shared.get(twins::<7>(HASH)[6]), 7);
        },
    );
}

#[test]
fn a_chain_is_seen_whole_or_not_at_all() {
    chained(None);
}

#[test]
#[should_panic]
fn a_chain_linked_in_relaxed_is_noticed() {
    chained(Some(Flaw::PointerWrittenRelaxed));
}
