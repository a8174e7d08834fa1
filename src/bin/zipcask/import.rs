//! `zipcask import`.
//!
//! Floor 7. Imports nothing.

use std::path::PathBuf;

use clap::Args;
use indicatif::ProgressBar;
use zipcask::{Batch, Db, Durability, Keyspace, PutOptions};

use crate::failure::Outcome;
use crate::json::{Form, Pair, Time};
use crate::keyspaces::Within;
use crate::lines::Lines;
use crate::out::{Out, counted};
use crate::{bar, opened};

/// Records of a batch.
pub(crate) const BATCH_RECORDS_MAX: usize = 1000;
/// Bytes of keys and values after which a batch is full.
pub(crate) const BATCH_BYTES: usize = 1 << 20;

/// Store the records of a JSON Lines file
///
/// A line is an object with `key` and `value`, both strings; bytes that are no text stand in `key_base64` and
/// `value_base64` instead. `expires_at_ms`, a number of milliseconds since 1970, is when the key expires; without it that is as the keyspace says. That is
/// what `export` writes of one keyspace, and all goes into one, the default one unless --keyspace names another. Lines are written in batches of up to 1,000 records or 1 MiB,
/// each in the store whole or not at all; a bad line ends the import, and the batches before it stay. If the first line is bad, no store is made.
#[derive(Args)]
pub(crate) struct Import {
    /// The store's directory; made if it is not there
    dir: PathBuf,
    /// The file; `-` is stdin
    file: PathBuf,
    /// Store whole lines, of any objects, under the text or number in this field
    #[arg(long, value_name = "FIELD")]
    key: Option<String>,
    /// Sync once, at the end, instead of after each batch
    #[arg(long)]
    no_sync: bool,
    #[command(flatten)]
    within: Within,
}

/// An import under way.
struct Work {
    db: Db,
    keyspace: Keyspace,
    durability: Durability,
    batch: Batch,
    batch_bytes: usize,
    stored: u64,
}

impl Import {
    pub(crate) fn run(self) -> Outcome {
        let mut lines = Lines::open(&self.file)?;
        let form = Form::of(self.key);
        let bar = match lines.total {
            Some(total) => bar::of_bytes(total, "importing"),
            None => bar::of_stream("importing"),
        };
        // Before a store is made for it.
        let first = next_pair(&mut lines, &form)?;
        let db = opened::or_made(&self.dir)?;
        let mut work = Work {
            keyspace: self.within.or_made(&db)?,
            batch: db.batch(),
            durability: if self.no_sync { Durability::Os } else { Durability::Sync },
            db,
            batch_bytes: 0,
            stored: 0,
        };
        let read = work.store(first, &mut lines, &form, &bar);
        bar.finish_and_clear();
        let stored = counted(work.stored, "record");
        // What was written stays, so it is made durable even after a bad line.
        let closed = work.db.close();
        read.map_err(|failure| failure.and(format_args!("{stored} stored before")))?;
        closed?;
        Out::new().now(format_args!("imported {stored}"))
    }
}

impl Work {
    /// Stores `next` and the records of the lines after it.
    fn store(&mut self, mut next: Option<Pair>, lines: &mut Lines, form: &Form, bar: &ProgressBar) -> Outcome {
        while let Some(Pair { key, value, time }) = next {
            let options = match time.map(Time::of_day) {
                None => PutOptions::new(),
                Some(None) => PutOptions::new().no_ttl(),
                Some(Some(time)) => PutOptions::new().expires_at(time),
            };
            self.batch.put_with(&self.keyspace, &key, &value, options);
            self.batch_bytes += key.len() + value.len();
            if BATCH_RECORDS_MAX <= self.batch.len() || BATCH_BYTES <= self.batch_bytes {
                self.commit()?;
                bar.set_position(lines.done);
            }
            next = next_pair(lines, form)?;
        }
        self.commit()
    }

    fn commit(&mut self) -> Outcome {
        let batch = std::mem::replace(&mut self.batch, self.db.batch());
        let records = batch.len() as u64;
        batch.commit_with(self.durability)?;
        self.stored += records;
        self.batch_bytes = 0;
        Ok(())
    }
}

/// The record of the next line; none at the end.
fn next_pair(lines: &mut Lines, form: &Form) -> Outcome<Option<Pair>> {
    match lines.next()?.map(|line| form.parse(line)).transpose() {
        Ok(pair) => Ok(pair),
        Err(what) => Err(lines.bad(what)),
    }
}
