//! Where the newest record of each key of an archive is.
//!
//! Floor 7. Imports `address`, `error`, `format`, `index`, `limits`, `platform`, `reclaim`, `segment`, `store`.
//!
//! Made by one walk over the records, in 16 bytes a key. The hints in an archive are no help: they are sorted by the hash function
//! of the store, whose seed stays with the store, so that nobody who gets an archive learns which keys collide there.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Display;

use crate::address::{Location, Seqno};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::Kind;
use crate::format::segment::SegmentKind;
use crate::index::hash::Hasher;
use crate::limits::{PLACE_COUNT, PLACE_LEN};
use crate::platform::Disk;
use crate::reclaim::hold::Owner;
use crate::segment::Segment;
use crate::segment::scan::{Scan, Step, Values};
use crate::segment::source::Source;
use crate::store::chain::check_catalogue;

/// A segment of the archive, and what its footer says: the last seqno, and how many records there are.
pub(super) struct Part {
    pub(super) segment: Owner<Segment>,
    pub(super) last: (Seqno, u64),
}

/// The newest records, by the hashes of their keys.
#[derive(Debug)]
pub(super) struct Newest {
    hasher: Hasher,
    /// Of each key that was not deleted.
    all: Vec<Entry>,
    /// Up to where keyspaces were cleared or dropped.
    emptied: HashMap<u16, Seqno>,
}

/// A record. They are sorted by hash, and for those of one hash the newest is first: places of one key ascend as seqnos do.
#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u64,
    /// The unit of its location; in the lowest bit, whether it is a delete.
    place: u64,
}

impl Entry {
    fn new(hash: u64, location: Location, kind: Kind) -> Entry {
        Entry { hash, place: location.unit() << 1 | u64::from(kind == Kind::Delete) }
    }

    fn is_delete(self) -> bool {
        self.place & 1 == 1
    }
}

/// The first place of a segment of `len` bytes behind those before it, and where the next one begins.
///
/// # Errors
/// `ResourceLimit` for archives of more than 16 TiB.
pub(super) fn places(next: &mut u64, len: u64) -> Result<u64> {
    let place = *next;
    *next = place.saturating_add(len.div_ceil(PLACE_LEN));
    if *next > PLACE_COUNT {
        return Err(Error::new(ErrorKind::ResourceLimit, "the archive is larger than 16 TiB"));
    }
    Ok(place)
}

/// The part that a place lies in, and the offset there.
pub(super) fn resolve(parts: &[Part], unit: u64) -> Option<(&Owner<Segment>, u64)> {
    let location = Location::from_unit(unit)?;
    let at = parts.partition_point(|part| part.segment.place() <= location.place()).checked_sub(1)?;
    let segment = &parts.get(at)?.segment;
    Some((segment, location.linear() - Location::start_of(segment.place())))
}

impl Newest {
    /// Walks the records of `parts`, which are in the order of their age.
    ///
    /// # Errors
    /// `Corruption` if a record's header or key is damaged, or one is missing; `FormatVersion`; as the system says.
    pub(super) fn of(disk: &dyn Disk, parts: &[Part]) -> Result<Newest> {
        let mut seed = [0; 16];
        disk.random(&mut seed).map_err(|error| Error::io("cannot get random bytes", error))?;
        // Nobody can choose keys that collide.
        let mut newest = Newest { hasher: Hasher::sip(seed), all: Vec::new(), emptied: HashMap::new() };
        let mut last = Seqno::default();
        for Part { segment, last: (said, count) } in parts {
            let found = newest.walk(segment, last, *said)?;
            if (found.1 > 0 && found.0 != *said) || found.1 != *count {
                let what = format_args!(
                    "{} records end with {}, the footer says {count} and {said}; restore the file from a backup",
                    found.1, found.0
                );
                return Err(Error::corruption(segment.path(), segment.tail().published(), what));
            }
            last = last.max(*said);
        }
        newest.forget_emptied(parts);
        newest.all.sort_unstable_by_key(|entry| (entry.hash, Reverse(entry.place)));
        newest.keep_newest(parts)?;
        Ok(newest)
    }

    /// Takes all records of a segment: of the log they follow `before`, and those that were rewritten come in any order up to `most`. Gives the
    /// last seqno, and how many there are.
    fn walk(&mut self, segment: &Segment, before: Seqno, most: Seqno) -> Result<(Seqno, u64)> {
        let (file, path, end) = (segment.file()?, segment.path(), segment.tail().published());
        let mut scan = Scan::new(&*file, path, segment.salt(), end, Source::Cache, Values::Skip);
        let is_log = segment.kind() == SegmentKind::Log;
        let (mut last, mut count) = (if is_log { before } else { Seqno::default() }, 0);
        while scan.offset() < end {
            let offset = scan.offset();
            let damaged = |what: &dyn Display| {
                let what = format!("{what}; what follows cannot be read without it; restore the file from a backup");
                Error::corruption(path, offset, what)
            };
            match scan.step()? {
                Step::Record(record) => {
                    check_catalogue(&record, path)?;
                    let (header, location) = (record.header, Location::new(segment.place(), offset));
                    if is_log && header.seqno <= last {
                        return Err(damaged(&format_args!("record {} follows {last}", header.seqno)));
                    }
                    if header.seqno > most {
                        return Err(damaged(&format_args!("record {} where none is behind {most}", header.seqno)));
                    }
                    (last, count) = (last.max(header.seqno), count + 1);
                    if matches!(header.kind, Kind::Put | Kind::PutLarge | Kind::Delete) {
                        let hash = self.hash(header.keyspace, record.key());
                        self.all.push(Entry::new(hash, location, header.kind));
                    }
                    if matches!(header.kind, Kind::KeyspaceClear | Kind::KeyspaceDrop) {
                        let emptied = self.emptied.entry(header.keyspace).or_default();
                        *emptied = header.seqno.max(*emptied);
                    }
                }
                Step::Stop(flaw) => return Err(damaged(&flaw)),
            }
        }
        Ok((last, count))
    }

    /// The hash of a key of a keyspace.
    fn hash(&self, keyspace: u16, key: &[u8]) -> u64 {
        self.hasher.hash(key).wrapping_add(u64::from(keyspace).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Lets go of what keyspaces had that were cleared or dropped later in the archive.
    fn forget_emptied(&mut self, parts: &[Part]) {
        if self.emptied.is_empty() {
            return;
        }
        let emptied = std::mem::take(&mut self.emptied);
        self.all.retain(|entry| {
            let header = resolve(parts, entry.place >> 1).and_then(|(segment, offset)| segment.record(offset).ok());
            header.is_none_or(|header| emptied.get(&header.keyspace).is_none_or(|until| header.seqno > *until))
        });
    }

    /// Of each key keeps the newest record, and that only if it is no delete.
    fn keep_newest(&mut self, parts: &[Part]) -> Result<()> {
        let all = &mut self.all;
        let (mut kept, mut start) = (0, 0);
        while let Some(first) = all.get(start) {
            let hash = first.hash;
            let end = start + all[start..].iter().take_while(|entry| entry.hash == hash).count();
            // Keys of one hash: but for chance there is one.
            let mut seen: Vec<(u16, Vec<u8>)> = Vec::new();
            for at in start..end {
                let entry = all[at];
                if end - start > 1 {
                    let (segment, offset) = resolve(parts, entry.place >> 1).expect("the walk was there");
                    let key = (segment.record(offset)?.keyspace, segment.key(offset)?.into_owned());
                    if seen.contains(&key) {
                        continue;
                    }
                    seen.push(key);
                }
                if !entry.is_delete() {
                    // Never ahead of `at`.
                    all[kept] = entry;
                    kept += 1;
                }
            }
            start = end;
        }
        all.truncate(kept);
        all.shrink_to_fit();
        Ok(())
    }

    /// The places of the records whose keys have the hash of this one.
    pub(super) fn find(&self, keyspace: u16, key: &[u8]) -> impl Iterator<Item = u64> {
        let hash = self.hash(keyspace, key);
        let start = self.all.partition_point(|entry| entry.hash < hash);
        self.all[start..].iter().take_while(move |entry| entry.hash == hash).map(|entry| entry.place >> 1)
    }

    /// The places of all, as they were written.
    pub(super) fn in_order(&self) -> Vec<u64> {
        let mut units: Vec<_> = self.all.iter().map(|entry| entry.place >> 1).collect();
        units.sort_unstable();
        units
    }
}
