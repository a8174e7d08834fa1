//! `zipcask get`.
//!
//! Floor 7. Imports nothing.

use std::path::PathBuf;

use clap::Args;

use crate::coding::{Coding, shown};
use crate::failure::{Code, Failure, Outcome};
use crate::keyspaces::Within;
use crate::opened;
use crate::out::Out;

/// Write the value of a key to stdout, byte for byte
#[derive(Args)]
pub(crate) struct Get {
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

impl Get {
    pub(crate) fn run(self) -> Outcome {
        let key = self.coding.decode("KEY", &self.key)?;
        let db = opened::to_read(&self.dir)?;
        let value = self.within.existing(&db)?.get(&key)?.ok_or_else(|| absent(&key))?;
        let mut out = Out::new();
        out.bytes(&value)?;
        out.done()
    }
}

/// There is no `key`.
pub(crate) fn absent(key: &[u8]) -> Failure {
    Failure::new(Code::NotFound, format!("there is no key \"{}\"", shown(key)))
}
