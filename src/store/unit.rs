//! The files of an open store as jobs see them: sealed segments and archives, in the order of their records' age.
//!
//! Floor 3. Imports `address`, `error`, `reclaim`, `segment`, `store`, `sync`.

use crate::address::SegmentId;
use crate::error::Error;
use crate::reclaim::hold::Hold;
use crate::segment::{Segment, State};
use crate::store::Store;
use crate::store::archives::Adopted;
use crate::sync::Arc;

/// A file whose records change no more.
#[derive(Clone)]
pub(crate) enum Unit {
    Segment([Hold<Segment>; 1]),
    Archive(Arc<Adopted>, Vec<Hold<Segment>>),
}

impl Unit {
    /// The segments in it.
    pub(crate) fn segments(&self) -> &[Hold<Segment>] {
        match self {
            Unit::Segment(segment) => segment,
            Unit::Archive(_, segments) => segments,
        }
    }

    pub(crate) fn archive(&self) -> Option<&Arc<Adopted>> {
        match self {
            Unit::Segment(_) => None,
            Unit::Archive(archive, _) => Some(archive),
        }
    }

    /// Bytes of its file.
    pub(crate) fn file_bytes(&self) -> u64 {
        match self {
            Unit::Segment([segment]) => segment.used_bytes() + segment.unused_bytes(),
            Unit::Archive(archive, _) => archive.len,
        }
    }

    /// Whether the damage that the error tells of is in it.
    pub(crate) fn is_damaged(&self, error: &Error) -> bool {
        let file = error.damage().map(|(file, ..)| file);
        self.segments().iter().any(|segment| Some(segment.path()) == file)
    }

    /// The ids of the segments that it is, or whose place it takes.
    pub(crate) fn ids(&self) -> (SegmentId, SegmentId) {
        match self {
            Unit::Segment([segment]) => (segment.id(), segment.id()),
            Unit::Archive(archive, _) => archive.covers,
        }
    }
}

impl Store {
    /// All files but the segment that is being written, oldest first. Only for whoever has the right to run jobs: then none
    /// goes meanwhile.
    pub(crate) fn units(&self) -> Vec<Unit> {
        let segments = self.segments();
        let (alone, packed): (Vec<_>, Vec<_>) = segments.into_iter().partition(|segment| segment.archive().is_none());
        let alone = alone.into_iter().filter(|segment| segment.state() == State::Sealed);
        let archives = self.archives().all().into_iter().map(|archive| {
            let of = |place: &u64| packed.iter().find(|segment| segment.place() == *place).cloned();
            let segments = archive.places.iter().filter_map(of).collect();
            Unit::Archive(archive, segments)
        });
        let mut units: Vec<_> = alone.map(|segment| Unit::Segment([segment])).chain(archives).collect();
        units.sort_by_key(Unit::ids);
        units
    }
}
