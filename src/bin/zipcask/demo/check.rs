//! Whether the store holds what it must: byte for byte, and nothing else.
//!
//! Floor 7. Imports nothing.

use std::thread;

use zipcask::Db;

use crate::coding::shown;
use crate::demo::Expected;
use crate::demo::input::Record;
use crate::demo::plan::Plan;
use crate::failure::{Code, Failure, Outcome};

/// Checks the store that the killed child left: the first `acked` records are there, of the batches behind them at most
/// the next one, whole, and nothing else. Returns how many records are there.
pub(crate) fn after_kill(db: &Db, records: &[Record], plan: &Plan, acked: usize) -> Outcome<usize> {
    for record in &records[..acked] {
        same(db, &record.key, &record.value)?;
    }
    let mut landed = acked;
    for batch in plan.from(acked) {
        let there = batch.clone().map(|at| db.contains_key(&records[at].key)).collect::<zipcask::Result<Vec<_>>>()?;
        let first = shown(&records[batch.start].key);
        match there.iter().filter(|there| **there).count() {
            0 => {}
            count if count < batch.len() => {
                return Err(mismatch(format!(
                    "{count} of the {} records of the batch that begins with {first} are there",
                    batch.len()
                )));
            }
            _ if batch.start != acked => {
                return Err(mismatch(format!("the batch that begins with {first} is there, one before it is not")));
            }
            _ => landed = batch.end,
        }
    }
    for record in &records[acked..landed] {
        same(db, &record.key, &record.value)?;
    }
    nothing_else(db, landed, |key| {
        let at = records.binary_search_by(|record| record.key[..].cmp(key)).ok()?;
        Some(&records[at].value[..])
    })?;
    Ok(landed)
}

/// Checks that the store holds `expected`, and nothing else.
pub(crate) fn equal(db: &Db, expected: &Expected) -> Outcome {
    for (key, value) in expected {
        same(db, key, value)?;
    }
    nothing_else(db, expected.len(), |key| expected.get(key).map(|value| &value[..]))
}

/// Checks every key in `order`, from each of `threads` threads, each beginning elsewhere.
pub(crate) fn at_random(db: &Db, expected: &Expected, order: &[&[u8]], threads: usize) -> Outcome {
    let check = |thread: usize| {
        let (behind, ahead) = order.split_at(order.len() * thread / threads);
        ahead.iter().chain(behind).try_for_each(|key| same(db, key, &expected[*key]))
    };
    thread::scope(|scope| {
        let check = &check;
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || check(thread))).collect();
        running.into_iter().try_for_each(|thread| thread.join().expect("it does not panic"))
    })
}

fn same(db: &Db, key: &[u8], expected: &[u8]) -> Outcome {
    match db.get(key)? {
        Some(value) if value[..] == *expected => Ok(()),
        Some(_) => Err(mismatch(format!("{} has another value", shown(key)))),
        None => Err(mismatch(format!("{} is missing", shown(key)))),
    }
}

/// Checks that what an iteration shows is `count` records, each as `expected` says.
fn nothing_else<'a>(db: &Db, count: usize, expected: impl Fn(&[u8]) -> Option<&'a [u8]>) -> Outcome {
    let mut seen = 0;
    for pair in db.iter() {
        let (key, value) = pair?;
        match expected(&key) {
            Some(expected) if value[..] == *expected => seen += 1,
            Some(_) => return Err(mismatch(format!("{} has another value", shown(&key)))),
            None => return Err(mismatch(format!("{} should not be there", shown(&key)))),
        }
    }
    if seen != count || db.len() != count as u64 {
        return Err(mismatch(format!(
            "an iteration shows {seen} records, the store counts {}, and {count} were written",
            db.len()
        )));
    }
    Ok(())
}

fn mismatch(text: String) -> Failure {
    Failure::new(Code::Damage, format!("the store is not what was written: {text}"))
}
