//! `zipcask scan`.
//!
//! Floor 7. Imports nothing.

use std::path::PathBuf;

use clap::Args;

use crate::coding::{Coding, shown};
use crate::failure::Outcome;
use crate::keyspaces::Within;
use crate::out::Out;
use crate::sorted::Sorted;
use crate::{json, opened};

/// Show keys and values in key order, a line each, parted by a tab
///
/// What cannot be printed is escaped: \n, \t, \u{7f}, \xff, and a backslash is \\. With --json each line is an object as
/// `import` reads it. --hex and --base64 are about the text after
/// --prefix, --from and --to; what is shown stays as it is.
#[derive(Args)]
pub(crate) struct Scan {
    /// The store's directory
    dir: PathBuf,
    /// Keys only
    #[arg(long)]
    keys: bool,
    /// Keys that begin so
    #[arg(long, value_name = "P", default_value = "", hide_default_value = true)]
    prefix: String,
    /// Keys from this one on
    #[arg(long, value_name = "KEY", allow_negative_numbers = true)]
    from: Option<String>,
    /// Keys before this one
    #[arg(long, value_name = "KEY", allow_negative_numbers = true)]
    to: Option<String>,
    /// The last one first
    #[arg(long)]
    reverse: bool,
    /// The first N only
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// JSON Lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    within: Within,
    #[command(flatten)]
    coding: Coding,
}

impl Scan {
    pub(crate) fn run(self) -> Outcome {
        let prefix = self.coding.decode("--prefix", &self.prefix)?;
        let bound = |name, text: Option<&String>| text.map(|text| self.coding.decode(name, text)).transpose();
        let (from, to) = (bound("--from", self.from.as_ref())?, bound("--to", self.to.as_ref())?);
        let db = opened::to_read(&self.dir)?;
        let keyspace = self.within.existing(&db)?;
        let is_wanted = |key: &[u8]| {
            let is_within = from.as_deref().is_none_or(|from| key >= from) && to.as_deref().is_none_or(|to| key < to);
            is_within && key.starts_with(&prefix)
        };
        let mut sorted = Sorted::of(&keyspace, is_wanted)?;
        if self.reverse {
            sorted.reverse();
        }
        let limit = self.limit.unwrap_or(usize::MAX);
        let mut out = Out::new();
        match (self.keys, self.json) {
            (true, true) => sorted.keys(limit, |key| out.bytes(&json::line_of_key(key)))?,
            (true, false) => sorted.keys(limit, |key| out.line(format_args!("{}", shown(key))))?,
            (false, true) => {
                sorted.pairs(&keyspace, limit, |key, value, time| out.bytes(&json::line(key, value, time)))?
            }
            (false, false) => sorted
                .pairs(&keyspace, limit, |key, value, _| out.line(format_args!("{}\t{}", shown(key), shown(value))))?,
        }
        out.done()?;
        sorted.whole()
    }
}
