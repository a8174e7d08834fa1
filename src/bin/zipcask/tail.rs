//! `zipcask tail`.
//!
//! Floor 7. Imports nothing.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use clap::Args;
use zipcask::Change;

use crate::coding::shown;
use crate::failure::Outcome;
use crate::out::Out;
use crate::{json, opened};

/// How long to wait before looking for more.
const PAUSE: Duration = Duration::from_millis(100);
/// The keyspace that lines need not name.
const DEFAULT: &str = "default";

/// Show what was written, in the order of the log, a line each: number, "put" or "delete", key, value, parted by tabs
///
/// The number is that of the last write of its batch: writes with the same number were committed together. A write to another keyspace than
/// "default" is a "put in NAME" or "delete in NAME"; of one that was dropped since, NAME is "#" and its number. What a compaction has rewritten is
/// not in the log any more.
#[derive(Args)]
pub(crate) struct Tail {
    /// The store's directory
    dir: PathBuf,
    /// From this write on
    #[arg(long, value_name = "N", default_value_t = 1)]
    from: u64,
    /// Wait for more, until interrupted
    #[arg(long)]
    follow: bool,
    /// JSON Lines: number, keyspace, key, and the value of a put
    #[arg(long)]
    json: bool,
}

impl Tail {
    pub(crate) fn run(self) -> Outcome {
        let db = opened::to_read(&self.dir)?;
        let (mut tail, mut out) = (db.tail(self.from.into())?, Out::new());
        loop {
            for batch in tail.by_ref() {
                let batch = batch?;
                batch.changes().iter().try_for_each(|change| self.show(&mut out, batch.seqno().into(), change))?;
            }
            out.done()?;
            if !self.follow {
                return Ok(());
            }
            sleep(PAUSE);
            db.refresh()?;
        }
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
