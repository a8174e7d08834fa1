//! The demo's writes in this process: the rest of the load, overwrites, deletes.
//!
//! Floor 7. Imports nothing.

use std::collections::HashMap;
use std::time::Instant;

use zipcask::{Db, Durability};

use crate::coding::shown;
use crate::demo::Expected;
use crate::demo::input::Record;
use crate::demo::plan::{self, Plan};
use crate::demo::rates::Rates;
use crate::failure::{Code, Failure, Outcome};

/// Of so many records one is overwritten, the next one deleted.
const STEP: usize = 5;

/// A finished load.
pub(crate) struct Loaded {
    /// All records in a map.
    pub(crate) map: Expected,
    pub(crate) rates: Rates,
}

/// How much was changed.
pub(crate) struct Changed {
    pub(crate) overwritten: usize,
    pub(crate) deleted: usize,
}

/// Writes the records from `landed` on in durable batches, and then the same into a map, beside the others.
pub(crate) fn finish_load(db: &Db, records: &[Record], plan: &Plan, landed: usize) -> Outcome<Loaded> {
    let start = Instant::now();
    for batch in plan.from(landed) {
        plan::commit(db, &records[batch])?;
    }
    let ours = start.elapsed();
    let rest = &records[landed..];
    let pair = |record: &Record| (record.key.clone(), record.value.clone());
    let mut map: Expected = HashMap::new();
    let start = Instant::now();
    map.extend(rest.iter().map(pair));
    let theirs = start.elapsed();
    map.extend(records[..landed].iter().map(pair));
    let bytes = rest.iter().map(Record::len).sum();
    Ok(Loaded { map, rates: Rates::of(rest.len(), bytes, ours, theirs) })
}

/// Overwrites and deletes some of the `records`, in the store and in the map.
pub(crate) fn overwrite_and_delete(
    db: &Db,
    records: &[Record],
    plan: &Plan,
    expected: &mut Expected,
) -> Outcome<Changed> {
    let mut changed = Changed { overwritten: 0, deleted: 0 };
    for batch in &plan.batches {
        let overwrites: Vec<_> = batch
            .clone()
            .filter(|at| at % STEP == 0)
            .map(|at| Record { key: records[at].key.clone(), value: other_value(&records[at].value) })
            .collect();
        plan::commit(db, &overwrites)?;
        changed.overwritten += overwrites.len();
        expected.extend(overwrites.into_iter().map(|record| (record.key, record.value)));
    }
    for record in records.iter().skip(1).step_by(STEP) {
        if !db.delete_with(&record.key, Durability::Os)? {
            let text = format!("cannot delete {}: it is not there", shown(&record.key));
            return Err(Failure::new(Code::Damage, text));
        }
        expected.remove(&record.key);
        changed.deleted += 1;
    }
    // One sync for all of them.
    db.sync()?;
    Ok(changed)
}

/// Another value, made of the first: backwards, and a byte longer.
fn other_value(value: &[u8]) -> Vec<u8> {
    value.iter().rev().copied().chain(*b"!").collect()
}
