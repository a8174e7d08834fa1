//! `zipcask tail`.
//!
//! Floor 7. Imports nothing.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use clap::Args;
use zipcask::{Change, Db, Error, Seqno, TailBatch};

use crate::coding::shown;
use crate::failure::{Failure, Outcome};
use crate::keyspaces::DEFAULT;
use crate::out::Out;
use crate::{json, opened};

/// How long to wait before looking for more.
const PAUSE: Duration = Duration::from_millis(100);

/// Show what was written, in the order of the log, a line each: number, "put" or "delete", key, value, parted by tabs
///
/// The number is that of the last write of its batch: writes with the same number were committed together. A write to another keyspace than
/// "default" is a "put in NAME" or "delete in NAME"; of one that was dropped since, NAME is "#" and its number. What a compaction has rewritten is
/// not in the log any more, unless a cursor held it: to begin there is an error, and --from oldest begins behind it.
///
/// A cursor is for who must not miss anything: make one, with --from oldest, before anything is written that it is to show.
#[derive(Args)]
pub(crate) struct Tail {
    /// The store's directory
    dir: PathBuf,
    /// From this write on; "oldest": from the first one from which on all is left
    #[arg(long, value_name = "N", default_value = "1", value_parser = start)]
    from: Start,
    /// From where this cursor stands, which is made at --from if it is not there, and is moved behind what was shown. No other process may have the
    /// store open for writing
    #[arg(long, value_name = "NAME", conflicts_with = "follow")]
    cursor: Option<String>,
    /// Wait for more, until interrupted
    #[arg(long)]
    follow: bool,
    /// JSON Lines: number, keyspace, key, and the value of a put
    #[arg(long)]
    json: bool,
}

/// Where to begin.
#[derive(Clone, Copy)]
enum Start {
    Oldest,
    At(Seqno),
}

fn start(text: &str) -> Result<Start, String> {
    match text {
        "oldest" => Ok(Start::Oldest),
        _ => match text.parse::<u64>() {
            Ok(number) => Ok(Start::At(number.into())),
            Err(_) => Err("neither a number nor \"oldest\"".to_string()),
        },
    }
}

impl Start {
    fn of(self, db: &Db) -> Outcome<Seqno> {
        match self {
            Start::Oldest => Ok(db.oldest_seqno()?),
            Start::At(seqno) => Ok(seqno),
        }
    }
}

/// Why the log is not shown from there on, and what else there is to ask for.
fn no_begin(db: &Db, from: Seqno, error: Error) -> Failure {
    // Not, for one, that a cursor cannot be called so.
    let is_of_log = db.tail(from).is_err_and(|of_log| of_log.to_string() == error.to_string());
    let is_gone = is_of_log && db.oldest_seqno().is_ok_and(|oldest| from < oldest);
    let failure = Failure::from(error);
    if is_gone { failure.and("--from oldest begins with it") } else { failure }
}

impl Tail {
    pub(crate) fn run(self) -> Outcome {
        if let Some(name) = &self.cursor {
            return self.consume(name);
        }
        let db = opened::to_read(&self.dir)?;
        let from = self.from.of(&db)?;
        let (mut tail, mut out) = (db.tail(from).map_err(|error| no_begin(&db, from, error))?, Out::new());
        loop {
            for batch in tail.by_ref() {
                self.show_all(&mut out, &batch?)?;
            }
            out.done()?;
            if !self.follow {
                return Ok(());
            }
            sleep(PAUSE);
            db.refresh()?;
        }
    }

    fn consume(&self, name: &str) -> Outcome {
        let db = opened::existing(&self.dir)?;
        let from = self.from.of(&db)?;
        let made = db.cursor_from(name, from).map_err(|error| no_begin(&db, from, error));
        let (cursor, mut out) = (made?, Out::new());
        let mut last = None;
        for batch in cursor.tail()? {
            let batch = batch?;
            self.show_all(&mut out, &batch)?;
            last = Some(batch.seqno());
        }
        // Not before all of it is out: what comes to nobody is shown once more.
        out.done()?;
        last.map_or(Ok(()), |last| cursor.advance(last))?;
        Ok(db.close()?)
    }

    fn show_all(&self, out: &mut Out, batch: &TailBatch) -> Outcome {
        batch.changes().iter().try_for_each(|change| self.show(out, batch.seqno().into(), change))
    }

    fn show(&self, out: &mut Out, number: u64, change: &Change) -> Outcome {
        let (keyspace, key, value) = (&change.keyspace, &change.key, change.value.as_deref());
        if self.json {
            return out.bytes(&json::change(number, keyspace, key, value));
        }
        let place = if keyspace == DEFAULT { String::new() } else { format!(" in {}", shown(keyspace.as_bytes())) };
        match value {
            Some(value) => out.line(format_args!("{number}\tput{place}\t{}\t{}", shown(key), shown(value))),
            None => out.line(format_args!("{number}\tdelete{place}\t{}", shown(key))),
        }
    }
}
