//! Models of a table that is written down while it changes, on two units of two buckets with two slots each.

use std::collections::BTreeMap;

use loom::cell::UnsafeCell;
use loom::thread;

use super::{Extent, Image};
use crate::address::Location;
use crate::index::table::{Probe, Table};
use crate::index::unit::UNIT_LEN;
use crate::limits::ADDRESS_BITS;
use crate::model::{self, Flaw};
use crate::sync::Arc;

const HASH: u64 = 0x5555_5555_5555_5554;
/// Bytes of a unit that are no words of slots: its head, and the last word of each bucket.
const HEAD_LEN: usize = 64;
const BUCKET_LEN: usize = 24;

/// Keys are numbers: the odd ones belong to the second half of the table, and those are told apart by their next bit.
fn hash(key: u64) -> u64 {
    HASH ^ (key & 1) << 63 ^ (key >> 1 & 1) << 62
}

/// A table and its log: unit n is a record of the key in `log[n]`.
struct Shared {
    table: Table,
    log: Vec<UnsafeCell<u64>>,
}

/// Where the records of keys are.
type Places = BTreeMap<u64, u64>;

/// A change of one key, and whether the image is to have it.
type Change = (u64, Option<u64>, bool);

impl Shared {
    /// The keys 1 to 5, each at the unit of its number: as many as have split the first unit once.
    fn new() -> Arc<Shared> {
        let shared = Shared { table: Table::new(), log: (0..16).map(|_| UnsafeCell::new(0)).collect() };
        for key in 1..=5 {
            assert!(!shared.put(key, key).2);
        }
        Arc::new(shared)
    }

    fn record(&self, unit: u64) -> u64 {
        // SAFETY: a published record does not change, and is seen by who sees its location: what loom checks here.
        self.log[unit as usize].with(|record| unsafe { *record })
    }

    fn probe(&self, key: u64) -> impl FnMut(Location) -> Probe + '_ {
        move |at| if self.record(at.unit()) == key { Probe::Same(()) } else { Probe::Other }
    }

    fn put(&self, key: u64, unit: u64) -> Change {
        // SAFETY: each unit is written by one thread, before it is published.
        self.log[unit as usize].with_mut(|record| unsafe { *record = key });
        let to = Location::from_unit(unit).unwrap();
        (key, Some(unit), self.table.insert(hash(key), to, self.probe(key)).imaged)
    }

    fn remove(&self, key: u64) -> Change {
        (key, None, self.table.remove(hash(key), self.probe(key)).imaged)
    }

    /// What the words of a unit say that was written down.
    fn read(&self, unit: &[u8; UNIT_LEN], extent: Extent, places: &mut Places) {
        let buckets = unit[HEAD_LEN..].chunks_exact(BUCKET_LEN);
        for word in buckets.flat_map(|bucket| bucket.as_chunks().0.split_last().unwrap().1) {
            let word = u64::from_le_bytes(*word);
            assert!(word >> 63 == 0, "a unit is copied before it is frozen");
            let at = word & ((1 << ADDRESS_BITS) - 1);
            if at != 0 {
                let key = self.record(at);
                assert_eq!((hash(key) ^ extent.first).leading_zeros().min(extent.depth), extent.depth);
                assert_eq!(places.insert(key, at), None, "{key} is there twice");
            }
        }
    }

    /// Writes the table down, and reads what was written.
    fn write_down(&self, mut image: Image<'_>) -> Places {
        let (mut places, mut unit) = (Places::new(), [0; UNIT_LEN]);
        while let Some(extent) = image.copy_next(&mut unit).unwrap() {
            self.read(&unit, extent, &mut places);
        }
        assert_eq!(image.len(), places.len() as u64);
        places
    }
}

/// The image has each change that says so, and no other.
fn changes_beside_an_image(planted: Option<Flaw>, changes: fn(&Shared) -> Vec<Change>) {
    model::plant(planted);
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 20_000;
    builder.check(move || {
        let shared = Shared::new();
        let image = shared.table.image();
        let inserter = thread::spawn({
            let shared = Arc::clone(&shared);
            move || changes(&shared)
        });
        let written = shared.write_down(image);
        let changes = inserter.join().unwrap();
        let mut expected: Places = (1..=5).map(|key| (key, key)).collect();
        for (key, to, _) in changes.into_iter().filter(|(.., imaged)| *imaged) {
            match to {
                Some(to) => expected.insert(key, to),
                None => expected.remove(&key),
            };
        }
        assert_eq!(written, expected);
    });
}

fn puts_and_removals(shared: &Shared) -> Vec<Change> {
    vec![shared.put(1, 6), shared.remove(2), shared.put(2, 7)]
}

/// The second put splits the unit of the odd keys.
fn split(shared: &Shared) -> Vec<Change> {
    vec![shared.put(7, 7), shared.put(9, 9)]
}

#[test]
fn an_image_has_just_the_changes_that_say_so() {
    changes_beside_an_image(None, puts_and_removals);
}

#[test]
fn an_image_has_just_the_changes_that_say_so_while_a_unit_splits() {
    changes_beside_an_image(None, split);
}

#[test]
#[should_panic(expected = "left == right")]
fn a_change_between_a_copy_and_its_note_is_noticed() {
    changes_beside_an_image(Some(Flaw::CopiedBeforeNoted), puts_and_removals);
}
