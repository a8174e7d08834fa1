//! `zipcask keyspaces`, and which one a verb is about.
//!
//! Floor 7. Imports nothing.

use std::path::PathBuf;

use clap::Args;
use zipcask::{Db, Keyspace};

use crate::coding::shown;
use crate::failure::{Code, Failure, Outcome};
use crate::opened;
use crate::out::Out;

/// List the keyspaces by name, a line each: the name, a tab, how many keys it has
#[derive(Args)]
pub(crate) struct Keyspaces {
    /// The store's directory
    dir: PathBuf,
}

impl Keyspaces {
    pub(crate) fn run(self) -> Outcome {
        let db = opened::to_read(&self.dir)?;
        let mut out = Out::new();
        for name in db.keyspaces() {
            let keys = db.keyspace(&name)?.len();
            out.line(format_args!("{}\t{keys}", shown(name.as_bytes())))?;
        }
        out.done()
    }
}

/// The keyspace that a verb is about.
#[derive(Args)]
pub(crate) struct Within {
    /// The keyspace
    #[arg(long, value_name = "NAME", default_value = "default", hide_default_value = true)]
    keyspace: String,
}

impl Within {
    /// It, if it is there.
    pub(crate) fn existing(&self, db: &Db) -> Outcome<Keyspace> {
        if !db.keyspaces().contains(&self.keyspace) {
            let text = format!("there is no keyspace \"{}\"", shown(self.keyspace.as_bytes()));
            return Err(Failure::new(Code::NotFound, text));
        }
        self.or_made(db)
    }

    /// It, made if it is not there.
    pub(crate) fn or_made(&self, db: &Db) -> Outcome<Keyspace> {
        Ok(db.keyspace(&self.keyspace)?)
    }
}
