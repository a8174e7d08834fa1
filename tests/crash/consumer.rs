//! Consumers of the feed, with cursors: what each has still to see is there after any power cut.

use std::collections::BTreeMap;

use zipcask::{Db, TailBatch};

use crate::world::wrong;

/// What consumers are called.
pub(crate) const NAMES: [&str; 2] = ["copy", "search"];

/// The first write that each has still to see.
pub(crate) type Cursors = BTreeMap<&'static str, u64>;

/// A key, and what was put.
type Write = (Vec<u8>, Option<Vec<u8>>);

/// A batch as it was first shown, and in which hour that was.
struct Shown {
    seqno: u64,
    writes: Vec<Write>,
    hour: u64,
}

/// All that was ever written.
#[derive(Default)]
pub(crate) struct Feed(Vec<Shown>);

fn writes(batch: &TailBatch) -> Vec<Write> {
    let plain = |change: &zipcask::Change| (change.key.to_vec(), change.value.as_ref().map(|value| value.to_vec()));
    batch.changes().iter().map(plain).collect()
}

impl Shown {
    /// Whether a batch shows the same in an hour: what has expired since is shown as deleted.
    fn is(&self, batch: &TailBatch, hour: u64) -> bool {
        let found = writes(batch);
        let same =
            |(then, now): (&Write, &Write)| then.0 == now.0 && (then.1 == now.1 || now.1.is_none() && self.hour < hour);
        self.seqno == batch.seqno().into()
            && self.writes.len() == found.len()
            && self.writes.iter().zip(&found).all(same)
    }
}

impl Feed {
    /// Takes in what was written behind `seqno`, just now.
    pub(crate) fn grow(&mut self, db: &Db, seqno: u64, hour: u64) -> Result<(), String> {
        for batch in db.tail((seqno + 1).into()).map_err(wrong)? {
            let batch = batch.map_err(wrong)?;
            self.0.push(Shown { seqno: batch.seqno().into(), writes: writes(&batch), hour });
        }
        Ok(())
    }

    /// Whether cursors stand where they should, and show all that is behind them.
    pub(crate) fn check(&self, db: &Db, cursors: &Cursors, hour: u64) -> Result<(), String> {
        let found = db.stats().cursors;
        let places = found.iter().map(|cursor| (&*cursor.name, u64::from(cursor.position)));
        if !places.eq(cursors.iter().map(|(name, position)| (*name, *position))) {
            return Err(format!("wrong: the cursors are {found:?}, not {cursors:?}"));
        }
        let last = u64::from(db.last_seqno());
        for (name, position) in cursors {
            if found.iter().any(|cursor| cursor.lost) {
                return Err(format!("lost: what a cursor has still to see: {found:?}"));
            }
            let mut tail = db.cursor(name).and_then(|cursor| cursor.tail()).map_err(wrong)?;
            let behind = self.0.iter().skip_while(|shown| shown.seqno < *position);
            for shown in behind.take_while(|shown| shown.seqno <= last) {
                let batch = tail.next().transpose().map_err(wrong)?;
                if !batch.as_ref().is_some_and(|batch| shown.is(batch, hour)) {
                    return Err(format!("wrong: {name} sees {:?}, not {}", batch.map(|b| b.seqno()), shown.seqno));
                }
            }
            if let Some(batch) = tail.next() {
                return Err(format!("wrong: {name} sees {batch:?} behind the end"));
            }
        }
        Ok(())
    }
}
