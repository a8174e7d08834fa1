//! `zipcask incr`.
//!
//! Floor 7. Imports nothing.

use std::path::PathBuf;

use clap::Args;

use crate::coding::Coding;
use crate::failure::Outcome;
use crate::keyspaces::Within;
use crate::opened;
use crate::out::Out;

/// Add to a number, durably, and show the sum
///
/// The value is a 64-bit integer in little endian; a key that is not there counts as 0. `zipcask get` writes its bytes as they are; a BY of 0
/// shows the number. A `put` of 5 stores that text, which is no number.
#[derive(Args)]
pub(crate) struct Incr {
    /// The store's directory; made if it is not there
    dir: PathBuf,
    /// The key
    #[arg(allow_negative_numbers = true)]
    key: String,
    /// What to add
    #[arg(allow_negative_numbers = true, default_value_t = 1)]
    by: i64,
    #[command(flatten)]
    within: Within,
    #[command(flatten)]
    coding: Coding,
}

impl Incr {
    pub(crate) fn run(self) -> Outcome {
        let key = self.coding.decode("KEY", &self.key)?;
        let db = opened::or_made(&self.dir)?;
        let sum = self.within.or_made(&db)?.increment(key, self.by)?;
        db.close()?;
        Out::new().now(format_args!("{sum}"))
    }
}
