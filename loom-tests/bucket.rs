//! Models of one slot: a word is published with its record, and does not change once it is frozen.

use loom::cell::UnsafeCell;
use loom::thread;

use super::{Slot, Word};
use crate::address::Location;
use crate::model::{self, Flaw};
use crate::sync::Arc;

/// A slot and the records that its word may name; that of the first is there from the start.
struct Shared {
    slot: Slot,
    second: UnsafeCell<u64>,
}

fn word(unit: u64) -> Word {
    Word::new(0, Location::from_unit(unit).unwrap())
}

impl Shared {
    fn new() -> Arc<Shared> {
        Arc::new(Shared { slot: Slot::new(word(1)), second: UnsafeCell::new(0) })
    }

    /// Writes the second record and puts its word in the place of the first's.
    fn relocate(&self) -> bool {
        // SAFETY: the record is not published yet, and there is one mover.
        self.second.with_mut(|record| unsafe { *record = 7 });
        self.slot.replace(word(1), word(2)).is_ok()
    }

    /// Reads the record that `seen` names.
    fn read(&self, seen: Word) {
        if seen.thawed() == word(2) {
            // SAFETY: a published record does not change, and is seen by who sees its word: what loom checks here.
            self.second.with(|record| assert_eq!(unsafe { *record }, 7));
        }
    }
}

/// R2 for one slot, also while it is frozen.
fn records_are_seen(planted: Option<Flaw>) {
    model::plant(planted);
    loom::model(|| {
        let shared = Shared::new();
        let mover = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                shared.relocate();
            }
        });
        let inserter = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                shared.slot.freeze();
            }
        });
        shared.read(shared.slot.load());
        mover.join().unwrap();
        inserter.join().unwrap();
    });
}

#[test]
fn who_sees_a_word_sees_its_record() {
    records_are_seen(None);
}

#[test]
#[should_panic]
fn a_slot_written_relaxed_is_noticed() {
    records_are_seen(Some(Flaw::SlotWrittenRelaxed));
}

#[test]
#[should_panic]
fn a_slot_read_relaxed_is_noticed() {
    records_are_seen(Some(Flaw::SlotReadRelaxed));
}

/// I5 for one slot.
fn frozen_words_stay(planted: Option<Flaw>) {
    model::plant(planted);
    loom::model(|| {
        let shared = Shared::new();
        let mover = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.relocate()
        });
        let last = shared.slot.freeze();
        shared.read(last);
        let moved = mover.join().unwrap();
        assert_eq!(last, if moved { word(2) } else { word(1) });
        assert_eq!(shared.slot.load(), last.frozen());
    });
}

#[test]
fn a_frozen_word_is_the_last_and_comes_with_its_record() {
    frozen_words_stay(None);
}

#[test]
#[should_panic]
fn freezing_without_acquiring_is_noticed() {
    frozen_words_stay(Some(Flaw::FreezeRelaxed));
}

#[test]
#[should_panic]
fn copying_without_freezing_is_noticed() {
    frozen_words_stay(Some(Flaw::NoFreeze));
}

#[test]
#[should_panic]
fn replacing_blindly_is_noticed() {
    frozen_words_stay(Some(Flaw::ReplacedBlindly));
}
