//! `zipcask scan`.
//!
//! Floor 7. Imports nothing.

use std::path::PathBuf;

use clap::Args;

use crate::coding::{Coding, shown};
use crate::failure::Outcome;
use crate::out::Out;
use crate::sorted::Sorted;
use crate::{json, opened};

/// Show keys and values in key order, a line each, parted by a tab
///
/// What cannot be printed is escaped: \n, \t, \u{7f}, \xff, and a backslash is \\. With --json each line is an object as
/// `import` reads it. --hex and --base64 are about the text after --prefix; what is shown stays as it is.
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
    /// The first N only
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// JSON Lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    coding: Coding,
}

impl Scan {
    pub(crate) fn run(self) -> Outcome {
        let prefix = self.coding.decode("--prefix", &self.prefix)?;
        let db = opened::to_read(&self.dir)?;
        let mut sorted = Sorted::of(&db, &prefix)?;
        let limit = self.limit.unwrap_or(usize::MAX);
        let mut out = Out::new();
        match (self.keys, self.json) {
            (true, true) => sorted.keys(limit, |key| out.bytes(&json::line(key, None)))?,
            (true, false) => sorted.keys(limit, |key| out.line(format_args!("{}", shown(key))))?,
            (false, true) => sorted.pairs(&db, limit, |key, value| out.bytes(&json::line(key, Some(value))))?,
            (false, false) => {
                sorted.pairs(&db, limit, |key, value| out.line(format_args!("{}\t{}", shown(key), shown(value))))?
            }
        }
        out.done()?;
        sorted.whole()
    }
}
