//! Making the index point at the copies of records.
//!
//! Floor 4. Imports `address`, `error`, `format`, `reclaim`, `sabotage`, `segment`, `store`.

use crate::address::{Location, Seqno};
use crate::error::Result;
use crate::format::large::LargeValue;
use crate::format::record::Kind;
use crate::reclaim::hold::Hold;
use crate::reclaim::pin::Pin;
use crate::sabotage::{Sabotage, planted};
use crate::segment::Segment;
use crate::segment::scan::{Scan, Step, Values};
use crate::segment::source::Source;
use crate::store::Store;
use crate::store::apply::{self, AHEAD, Change};
use crate::store::space::Finder;

/// Goes through a packed segment that the registry has, and moves each record that the index still says is in one of
/// `sources` (C3). What was overwritten or deleted since it was copied stays as it is, and its copy is dead.
///
/// # Errors
/// As the system says: the index then points partly at the copies and partly at the sources, and both must stay.
pub(super) fn swap(store: &Store, packed: &Segment, sources: &[Hold<Segment>]) -> Result<()> {
    packed.live().set_moving(true);
    let (file, end) = (packed.file()?, packed.tail().published());
    let mut scan = Scan::new(&*file, packed.path(), packed.salt(), end, Source::Cache, Values::Skip);
    let mut batch: Vec<Moving> = Vec::with_capacity(AHEAD);
    while scan.offset() < end {
        match scan.step()? {
            Step::Record(record) if matches!(record.header.kind, Kind::Put | Kind::PutLarge) => {
                let (hash, key) = (store.hash(record.key()), record.key().to_vec());
                batch.push(Moving {
                    keyspace: record.header.keyspace,
                    hash,
                    key,
                    offset: record.offset,
                    seqno: record.header.seqno,
                    len: record.header.record_len(),
                    large: record.large,
                });
            }
            Step::Record(_) => {}
            Step::Stop(flaw) => return Err(packed.flawed(scan.offset(), &flaw)),
        }
        if batch.len() == AHEAD {
            apply(store, packed, sources, &batch)?;
            batch.clear();
        }
    }
    apply(store, packed, sources, &batch)?;
    packed.live().set_moving(false);
    Ok(())
}

/// A record that is to be pointed at.
struct Moving {
    keyspace: u16,
    hash: u64,
    key: Vec<u8>,
    offset: u64,
    seqno: Seqno,
    len: u64,
    large: Option<LargeValue>,
}

fn apply(store: &Store, packed: &Segment, sources: &[Hold<Segment>], batch: &[Moving]) -> Result<()> {
    let (_moving, mut finder) = (store.spaces().moving(), Finder::new(store.spaces()));
    apply::prefetch_all(store.registry(), store.spaces(), batch.iter().map(|moving| (moving.keyspace, moving.hash)));
    for Moving { keyspace, hash, key, offset, seqno, len, large } in batch {
        if planted(Sabotage::DanglingPlaces) && hash.is_multiple_of(4) {
            continue;
        }
        let location = Location::new(packed.place(), *offset);
        let Some(space) = finder.get(*keyspace) else { continue };
        let to = Change { space, hash: *hash, key, location, len: *len, large: *large };
        let is_source = |place| sources.iter().any(|source| source.has_place(place));
        apply::index_move(store, &to, *seqno, is_source, &Pin::new())?;
    }
    Ok(())
}

#[cfg(all(test, zipcask_loom))]
#[path = "../../loom-tests/swap.rs"]
mod loom_models;
