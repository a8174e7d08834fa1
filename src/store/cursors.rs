//! The cursors of the feed: where each consumer of it stands, by its name.
//!
//! Floor 3. Imports `address`, `format`, `sabotage`, `sync`.

use std::collections::BTreeMap;

use crate::address::Seqno;
use crate::format::catalogue::CatalogueRecord;
use crate::format::checkpoint::ListedCursor;
use crate::sabotage::{Sabotage, planted};
use crate::sync::plain::{Mutex, MutexGuard, PoisonError};

/// What the newest record of each name says, whatever order they are read in.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    by_name: Mutex<BTreeMap<Box<str>, Said>>,
}

#[derive(Clone, Copy, Debug)]
struct Said {
    /// The first write that its consumer has still to see; `None`: the cursor was removed.
    position: Option<Seqno>,
    /// Which record says so.
    at: Seqno,
}

impl Cursors {
    /// The first write that the consumer of this name has still to see; `None` if there is no such cursor.
    pub(crate) fn position(&self, name: &str) -> Option<Seqno> {
        self.lock().get(name)?.position
    }

    /// All, in the order of their names.
    pub(crate) fn all(&self) -> Vec<(String, Seqno)> {
        let by_name = self.lock();
        by_name.iter().filter_map(|(name, said)| Some((name.to_string(), said.position?))).collect()
    }

    /// What the record `at` says.
    pub(super) fn apply(&self, name: &str, position: Option<Seqno>, at: Seqno) {
        let mut by_name = self.lock();
        if by_name.get(name).is_none_or(|said| said.at < at) {
            by_name.insert(name.into(), Said { position, at });
        }
    }

    /// Whether the record `at` still says something, so that a job has to keep it: it is the newest of its name, and, where it
    /// removes the cursor, an older file may have one that says that it is there.
    pub(super) fn is_said(&self, name: &str, position: Option<Seqno>, at: Seqno, has_older: bool) -> bool {
        // One that was removed before the index was written down is not listed there.
        let newest = self.lock().get(name).map_or(position.is_none(), |said| said.at == at);
        newest && (position.is_some() || has_older)
    }

    /// As they are written down.
    pub(super) fn listed(&self) -> Vec<ListedCursor> {
        let by_name = self.lock();
        if planted(Sabotage::CursorUnlisted) {
            return Vec::new();
        }
        let there = by_name.iter().filter_map(|(name, said)| Some((name, said.position?, said.at)));
        let listed = there.map(|(name, position, said)| ListedCursor {
            said,
            payload: CatalogueRecord::Cursor { name, seqno: Some(position) }.encode(),
        });
        listed.collect()
    }

    /// The log is about to be read anew, and may say something else.
    pub(super) fn start_over(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Box<str>, Said>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
mod tests {
    use super::Cursors;
    use crate::address::Seqno;

    #[test]
    fn the_newest_record_of_a_name_counts_in_whatever_order_they_are_read() {
        let (made, moved, gone) = ((Some(Seqno::from(1)), 1), (Some(Seqno::from(5)), 7), (None, 9));
        for [one, two, three] in [[made, moved, gone], [gone, moved, made], [moved, gone, made], [gone, made, moved]] {
            let cursors = Cursors::default();
            for (position, at) in [one, two, three] {
                cursors.apply("name", position, at.into());
            }
            assert_eq!(cursors.position("name"), None);
            assert!(cursors.all().is_empty() && cursors.listed().is_empty());
        }
        let cursors = Cursors::default();
        cursors.apply("name", moved.0, moved.1.into());
        cursors.apply("name", made.0, made.1.into());
        assert_eq!(cursors.all(), [("name".to_owned(), Seqno::from(5))]);
    }

    #[test]
    fn a_record_is_kept_as_long_as_it_says_something() {
        let (cursors, at) = (Cursors::default(), Seqno::from);
        cursors.apply("there", Some(at(1)), at(2));
        cursors.apply("there", Some(at(5)), at(6));
        cursors.apply("gone", Some(at(1)), at(3));
        cursors.apply("gone", None, at(4));
        assert!(cursors.is_said("there", Some(at(5)), at(6), false));
        assert!(!cursors.is_said("there", Some(at(1)), at(2), true));
        assert!(!cursors.is_said("gone", Some(at(1)), at(3), true));
        assert!(cursors.is_said("gone", None, at(4), true));
        assert!(!cursors.is_said("gone", None, at(4), false), "nothing older says that it is there");
        assert!(cursors.is_said("unknown", None, at(4), true) && !cursors.is_said("unknown", Some(at(1)), at(1), true));
    }
}
