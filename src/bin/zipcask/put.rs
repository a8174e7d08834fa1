//! `zipcask put`.
//!
//! Floor 7. Imports nothing.

use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use zipcask::PutOptions;

use crate::coding::Coding;
use crate::failure::{Failure, Outcome};
use crate::keyspaces::{Within, seconds};
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
    /// The key is there for so many seconds; for good, if they are more than 500 million years
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    ttl: Option<Duration>,
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
        let options = self.ttl.map_or(PutOptions::new(), |ttl| PutOptions::new().ttl(ttl));
        self.within.or_made(&db)?.put_with(key, value, options)?;
        Ok(db.close()?)
    }
}
