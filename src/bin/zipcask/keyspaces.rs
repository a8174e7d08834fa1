//! `zipcask keyspaces`, and which one a verb is about.
//!
//! Floor 7. Imports nothing.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use zipcask::archive::Archive;
use zipcask::{Db, Keyspace, KeyspaceOptions, Options};

use crate::coding::shown;
use crate::failure::{Code, Failure, Outcome};
use crate::opened;
use crate::out::Out;

/// List the keyspaces by name, a line each: the name, a tab, how many keys it has; or make one, or remove one
///
/// Other verbs that write make a keyspace that is not there, in no order and without a time to live. What it is made with it keeps; that of "default"
/// can be said until something is written, or another is made. Keys that have expired count until a compaction removes them, a day later.
#[derive(Args)]
pub(crate) struct Keyspaces {
    /// The store's directory; made if it is not there and a keyspace is
    dir: PathBuf,
    /// Make this one
    #[arg(long, value_name = "NAME")]
    make: Option<String>,
    /// In the order of the keys, so that programs can ask for ranges
    #[arg(long, requires = "make")]
    ordered: bool,
    /// Keys last so many seconds, unless something else is said of one
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "make")]
    ttl: Option<Duration>,
    /// Remove this one, with all that is in it
    #[arg(long, value_name = "NAME", conflicts_with_all = ["make", "ordered", "ttl"])]
    drop: Option<String>,
}

/// A time as it is told on the command line.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "not a number of seconds".to_string())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

impl Keyspaces {
    pub(crate) fn run(self) -> Outcome {
        match (&self.make, &self.drop) {
            (Some(name), _) => self.make(name),
            (_, Some(name)) => self.drop(name),
            _ => self.list(),
        }
    }

    fn make(&self, name: &str) -> Outcome {
        let mut options = KeyspaceOptions::new().ordered(self.ordered);
        if let Some(ttl) = self.ttl {
            options = options.default_ttl(ttl);
        }
        let of_default = |opening: Options| if name == DEFAULT { opening.default_keyspace(options) } else { opening };
        // What cannot be made anywhere must make no store either.
        of_default(Options::new()).open_in_memory()?.keyspace_with(name, options)?;
        let db = opened::or_made_with(&self.dir, of_default)?;
        db.keyspace_with(name, options)?;
        Ok(db.close()?)
    }

    fn drop(&self, name: &str) -> Outcome {
        let db = opened::existing(&self.dir)?;
        let was_there = db.drop_keyspace(name)?;
        db.close()?;
        if !was_there {
            return Err(none(name));
        }
        Out::new().now(format_args!("removed {}", shown(name.as_bytes())))
    }

    fn list(&self) -> Outcome {
        let db = opened::to_read(&self.dir)?;
        let mut out = Out::new();
        for name in db.keyspaces() {
            let keys = db.keyspace(&name)?.len();
            out.line(format_args!("{}\t{keys}", shown(name.as_bytes())))?;
        }
        out.done()
    }
}

/// The keyspace that is meant where none is named.
pub(crate) const DEFAULT: &str = "default";

fn none(name: &str) -> Failure {
    Failure::new(Code::NotFound, format!("there is no keyspace \"{}\"", shown(name.as_bytes())))
}

/// The keyspace that a verb is about.
#[derive(Args)]
pub(crate) struct Within {
    /// The keyspace
    #[arg(long, value_name = "NAME", default_value = DEFAULT, hide_default_value = true)]
    keyspace: String,
}

impl Within {
    /// It, if it is there.
    pub(crate) fn existing(&self, db: &Db) -> Outcome<Keyspace> {
        if !db.keyspaces().contains(&self.keyspace) {
            return Err(none(&self.keyspace));
        }
        self.or_made(db)
    }

    /// What it is called, if the store of the archive had one of this name.
    pub(crate) fn in_archive(&self, archive: &Archive) -> Outcome<&str> {
        if !archive.facts().keyspaces.contains(&self.keyspace) {
            return Err(none(&self.keyspace));
        }
        Ok(&self.keyspace)
    }

    /// It, made if it is not there.
    pub(crate) fn or_made(&self, db: &Db) -> Outcome<Keyspace> {
        Ok(db.keyspace(&self.keyspace)?)
    }
}
