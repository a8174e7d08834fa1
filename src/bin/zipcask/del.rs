//! `zipcask del`.
//!
//! Floor 7. Imports nothing.

use std::path::PathBuf;

use clap::Args;

use crate::coding::{Coding, shown};
use crate::failure::Outcome;
use crate::get::absent;
use crate::keyspaces::Within;
use crate::opened;
use crate::out::Out;

/// Delete a key, durably, and say whether it was there
#[derive(Args)]
pub(crate) struct Del {
    /// The store's directory
    dir: PathBuf,
    /// The key
    #[arg(allow_negative_numbers = true)]
    key: String,
    #[command(flatten)]
    within: Within,
    #[command(flatten)]
    coding: Coding,
}

impl Del {
    pub(crate) fn run(self) -> Outcome {
        let key = self.coding.decode("KEY", &self.key)?;
        let db = opened::existing(&self.dir)?;
        let was_there = self.within.existing(&db)?.delete(&key)?;
        db.close()?;
        if !was_there {
            return Err(absent(&key));
        }
        Out::new().now(format_args!("deleted {}", shown(&key)))
    }
}
