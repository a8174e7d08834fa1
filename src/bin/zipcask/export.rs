//! `zipcask export`.
//!
//! Floor 7. Imports nothing.

use std::path::PathBuf;

use clap::Args;

use crate::failure::Outcome;
use crate::keyspaces::Within;
use crate::out::Out;
use crate::sorted::Sorted;
use crate::{bar, json, opened};

/// Write all records of a keyspace to stdout as JSON Lines, in key order
///
/// One keyspace, the default one unless --keyspace names another: `keyspaces` lists all, `backup` copies them all. A key that expires has the time in its
/// line, `expires_at_ms`, in milliseconds since 1970. `import` of that into an empty store gives the same content, and an export of that one the same bytes.
/// What the keyspace was made with, an order or a time to live, is not in it: `keyspaces --make` says that again, before the import.
#[derive(Args)]
pub(crate) struct Export {
    /// The store's directory
    dir: PathBuf,
    #[command(flatten)]
    within: Within,
}

impl Export {
    pub(crate) fn run(self) -> Outcome {
        let db = opened::to_read(&self.dir)?;
        let keyspace = self.within.existing(&db)?;
        let mut sorted = Sorted::of(&keyspace, |_| true)?;
        let bar = bar::of_records(sorted.len() as u64, "exporting");
        let mut out = Out::new();
        let shown = sorted.pairs(&keyspace, usize::MAX, |key, value, time| {
            bar.inc(1);
            out.bytes(&json::line(key, value, time))
        });
        bar.finish_and_clear();
        shown?;
        out.done()?;
        sorted.whole()
    }
}
