//! How the records are cut into batches, and how a batch is told to the child.
//!
//! Floor 7. Imports nothing.

use std::io::{self, Read, Write};
use std::ops::Range;

use zipcask::Db;

use crate::demo::input::Record;
use crate::import::{BATCH_BYTES, BATCH_RECORDS_MAX};

/// A small input is cut into so many batches at least, if it has as many records, so that there is a midway.
const BATCHES_MIN: usize = 40;

/// The batches, in the order in which they are written.
pub(crate) struct Plan {
    pub(crate) batches: Vec<Range<usize>>,
    /// Records of a batch, at most.
    pub(crate) records_max: usize,
    /// Bytes after which a batch is full.
    pub(crate) bytes_max: usize,
}

impl Plan {
    pub(crate) fn of(records: &[Record]) -> Plan {
        let bytes: usize = records.iter().map(Record::len).sum();
        let records_max = (records.len() / BATCHES_MIN).clamp(1, BATCH_RECORDS_MAX);
        let bytes_max = (bytes / BATCHES_MIN).clamp(1, BATCH_BYTES);
        let (mut batches, mut start, mut batch_bytes) = (Vec::new(), 0, 0);
        for (at, record) in records.iter().enumerate() {
            batch_bytes += record.len();
            let end = at + 1;
            if records_max <= end - start || bytes_max <= batch_bytes || end == records.len() {
                batches.push(start..end);
                (start, batch_bytes) = (end, 0);
            }
        }
        Plan { batches, records_max, bytes_max }
    }

    /// The batches that begin at record `start` or later.
    pub(crate) fn from(&self, start: usize) -> impl Iterator<Item = Range<usize>> {
        let left = self.batches.iter().filter(move |batch| start <= batch.start);
        left.cloned()
    }
}

/// Writes one batch of `records` into `db`, as durable as it says.
pub(crate) fn commit(db: &Db, records: &[Record]) -> zipcask::Result<()> {
    let mut batch = db.batch();
    for record in records {
        batch.put(db, &record.key, &record.value);
    }
    batch.commit().map(drop)
}

/// Tells a batch: how many records, then of each the length of the key, that of the value, both.
pub(crate) fn tell(to: &mut impl Write, records: &[Record]) -> io::Result<()> {
    to.write_all(&len(records.len()))?;
    for record in records {
        to.write_all(&len(record.key.len()))?;
        to.write_all(&len(record.value.len()))?;
        to.write_all(&record.key)?;
        to.write_all(&record.value)?;
    }
    to.flush()
}

/// The next batch that was told; none at the end.
pub(crate) fn hear(from: &mut impl Read) -> io::Result<Option<Vec<Record>>> {
    let mut count = [0; 8];
    match from.read_exact(&mut count) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let mut records = Vec::new();
    for _ in 0..u64::from_le_bytes(count) {
        let (mut key, mut value) = (vec![0; hear_len(from)?], vec![0; hear_len(from)?]);
        from.read_exact(&mut key)?;
        from.read_exact(&mut value)?;
        records.push(Record { key, value });
    }
    Ok(Some(records))
}

fn len(len: usize) -> [u8; 8] {
    (len as u64).to_le_bytes()
}

fn hear_len(from: &mut impl Read) -> io::Result<usize> {
    let mut len = [0; 8];
    from.read_exact(&mut len)?;
    usize::try_from(u64::from_le_bytes(len)).map_err(io::Error::other)
}
