//! The segments that one reader keeps.
//!
//! Floor 2. Imports `limits`, `reclaim`, `segment`.

use crate::limits::PLACE_LEN;
use crate::reclaim::hold::{Hold, Owner};
use crate::segment::Segment;

/// Holds of segments, one of each however often it is asked for: of what was shown, and of nothing else (R3).
#[derive(Debug, Default)]
pub(crate) struct Holds {
    /// A bit for each segment by its number: whether it is held.
    held: Vec<u64>,
    /// In the order of their places.
    all: Vec<Hold<Segment>>,
}

impl Holds {
    /// Keeps the segment from here on.
    #[inline]
    pub(crate) fn keep(&mut self, segment: &Owner<Segment>) {
        let number = segment.number() as usize;
        match self.held.get(number / 64) {
            Some(word) if word >> (number % 64) & 1 != 0 => {}
            _ => self.take(segment),
        }
    }

    #[cold]
    fn take(&mut self, segment: &Owner<Segment>) {
        let number = segment.number() as usize;
        if self.held.len() <= number / 64 {
            self.held.resize(number / 64 + 1, 0);
        }
        self.held[number / 64] |= 1 << (number % 64);
        let at = self.all.partition_point(|other| other.place() < segment.place());
        self.all.insert(at, segment.hold());
    }

    /// Keeps one that is held already, where none was kept before.
    pub(crate) fn keep_held(&mut self, segment: &Hold<Segment>) {
        let at = self.all.partition_point(|other| other.place() < segment.place());
        self.all.insert(at, segment.clone());
    }

    /// A segment that a place of the registry belongs to or belonged to, if it is kept: all that have the same places have the
    /// same records there.
    pub(crate) fn find(&self, place: u64) -> Option<&Hold<Segment>> {
        let after = self.all.partition_point(|segment| segment.place() <= place);
        let segment = self.all.get(after.checked_sub(1)?)?;
        (place - segment.place() < segment.len().div_ceil(PLACE_LEN)).then_some(segment)
    }

    /// Lets go of all.
    pub(crate) fn release(&mut self) {
        for segment in self.all.drain(..) {
            if let Some(word) = self.held.get_mut(segment.number() as usize / 64) {
                *word = 0;
            }
        }
    }
}
