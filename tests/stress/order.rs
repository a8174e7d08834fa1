//! The order of all writes, known once they are over, and whether a read fits into it.

use std::collections::HashMap;

use crate::ways::Checked;

/// One put: who wrote it, and which of its puts it is.
pub(crate) type Put = (u32, u32);

/// What a thread knows of a write of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write {
    pub(crate) key: u32,
    /// `None` if it deletes.
    pub(crate) put: Option<Put>,
    /// Its seqno is above `after`, and at most `upto`: of a put, or a delete in a batch, exactly `upto`.
    pub(crate) after: u64,
    pub(crate) upto: u64,
    /// Whether the store said that the key was there: of a delete outside of batches.
    pub(crate) said_there: bool,
}

impl Write {
    fn is_exact(&self) -> bool {
        self.after + 1 == self.upto
    }
}

/// What a thread read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read {
    pub(crate) key: u32,
    pub(crate) seen: Option<Put>,
    /// What was visible before, and after.
    pub(crate) before: u64,
    pub(crate) after: u64,
}

/// The writes of one key.
#[derive(Default)]
struct Line {
    /// Seqnos, ascending, of the writes that have an exact one, and what they put.
    exact: Vec<(u64, Option<Put>)>,
    /// Deletes, by the seqno they have at most; with the least that this one or one behind it may have.
    deletes: Vec<(u64, u64)>,
}

pub(crate) struct Order {
    lines: Vec<Line>,
    seqnos: HashMap<Put, (u32, u64)>,
    /// Records that may be in the index before they are visible.
    under_way: u64,
}

impl Order {
    /// Puts the writes of all threads in order. `last` is the last seqno: there are neither gaps nor doubles.
    pub(crate) fn new(keys: u32, writes: &[Write], last: u64, under_way: u64) -> Checked<Order> {
        let mut order = Order { lines: Vec::new(), seqnos: HashMap::new(), under_way };
        order.lines.resize_with(keys as usize, Line::default);
        let mut taken = vec![false; last as usize + 1];
        for write in writes {
            let line = &mut order.lines[write.key as usize];
            if write.put.is_none() {
                line.deletes.push((write.upto, write.after + 1));
            }
            order.seqnos.extend(write.put.map(|put| (put, (write.key, write.upto))));
            if write.is_exact() {
                line.exact.push((write.upto, write.put));
                match taken.get_mut(write.upto as usize) {
                    Some(taken) if !*taken => *taken = true,
                    _ => return Err(format!("seqno {} is above the last, {last}, or was given twice", write.upto)),
                }
            }
        }
        if writes.len() as u64 != last {
            return Err(format!("{} records were written, the last seqno is {last}", writes.len()));
        }
        for line in &mut order.lines {
            line.exact.sort_unstable_by_key(|(seqno, _)| *seqno);
            line.deletes.sort_unstable();
            let mut least = u64::MAX;
            for (_, first) in line.deletes.iter_mut().rev() {
                least = least.min(*first);
                *first = least;
            }
        }
        order.check_deletes(writes)?;
        Ok(order)
    }

    /// Of the deletes between two puts of a key, one at most found it there.
    fn check_deletes(&self, writes: &[Write]) -> Checked<()> {
        let mut found = HashMap::new();
        for write in writes.iter().filter(|write| write.said_there) {
            let exact = &self.lines[write.key as usize].exact;
            let puts =
                |upto| exact[..exact.partition_point(|(seqno, _)| *seqno <= upto)].iter().rposition(|w| w.1.is_some());
            let put = puts(write.after);
            // Whichever seqno it has, this is the put before it.
            if put != puts(write.upto) {
                continue;
            }
            if put.is_none() {
                return Err(format!("{write:?} found a key that nobody had put"));
            }
            if let Some(other) = found.insert((write.key, put), write) {
                return Err(format!("{write:?} and {other:?} both found the key, which was put once"));
            }
        }
        Ok(())
    }

    /// What the key shows at the end, if only batches delete it.
    pub(crate) fn last(&self, key: u32) -> Option<Put> {
        self.lines[key as usize].exact.last().and_then(|(_, put)| *put)
    }

    /// Fits a read in between the writes: the seqno, at least, of what it shows.
    ///
    /// It must be as new as what was visible before, and as `floor`, what the reader met before; it cannot be newer
    /// than what may have been in the index by then.
    pub(crate) fn fit(&self, read: &Read, floor: u64) -> Checked<u64> {
        let line = &self.lines[read.key as usize];
        let visible = line.exact.partition_point(|(seqno, _)| *seqno <= read.before);
        let oldest = line.exact[..visible].last().map_or(0, |(seqno, _)| *seqno).max(floor);
        let newest = read.after + self.under_way;
        let fits = |seqno: u64| (oldest..=newest).contains(&seqno);
        let wrong = |what| Err(format!("{read:?} {what}; allowed are seqnos {oldest} to {newest}"));
        let Some(put) = read.seen else {
            if oldest == 0 {
                return Ok(0);
            }
            let first = line.deletes.partition_point(|(upto, _)| *upto < oldest);
            return match line.deletes.get(first) {
                Some((_, least)) if fits((*least).max(oldest)) => Ok((*least).max(oldest)),
                _ => wrong("is missing, though nobody deleted it".to_string()),
            };
        };
        match self.seqnos.get(&put) {
            Some((key, seqno)) if *key == read.key && fits(*seqno) => Ok(*seqno),
            Some((key, seqno)) => wrong(format!("is of key {key}, seqno {seqno}")),
            None => wrong("was never acknowledged".to_string()),
        }
    }
}
