//! `zipcask put`.
//!
//! Floor 7. Imports nothing.

use std::io::{self, Read};
use std::path::PathBuf;

use clap::Args;

use crate::coding::Coding;
use crate::failure::{Failure, Outcome};
use crate::keyspaces::Within;
use crate::opened;

/// Store a value under a key, durably
#[derive(Args)]
pub(crate) struct Put {
    /// The store's directory; made if it is not there
    dir: PathBuf,
    /// The key
    #[arg(allow_negative_numbers = true)]
    key: String,
    /// The value; `-` reads it from stdin, as it is
    #[arg(allow_negative_numbers = true)]
    value: String,
    #[command(flatten)]
    within: Within,
    #[command(flatten)]
    coding: Coding,
}

impl Put {
    pub(crate) fn run(self) -> Outcome {
        let key = self.coding.decode("KEY", &self.key)?;
        let value = if self.value == "-" {
            let mut value = Vec::new();
            io::stdin().read_to_end(&mut value).map_err(|error| Failure::io("cannot read stdin", &error))?;
            value
        } else {
            self.coding.decode("VALUE", &self.value)?
        };
        let db = opened::or_made(&self.dir)?;
        self.within.or_made(&db)?.put(key, value)?;
        Ok(db.close()?)
    }
}
