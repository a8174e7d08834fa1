//! Opening a store for a verb.
//!
//! Floor 7. Imports nothing.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::ProgressBar;
use zipcask::{Db, Error, ErrorKind, Options, Phase, Progress};

use crate::bar;
use crate::failure::{Code, Failure, Outcome};

/// Opens the store in `dir`, which must be there, to change it.
pub(crate) fn existing(dir: &Path) -> Outcome<Db> {
    existing_with(dir, |options| options)
}

/// The same with options of the verb's own.
pub(crate) fn existing_with(dir: &Path, with: impl FnOnce(Options) -> Options) -> Outcome<Db> {
    open(|options| with(options).create_if_missing(false).open(dir)).map_err(|error| missing(dir, error))
}

/// Opens the store in `dir`, which must be there, to look: though another process has it open, and without writing anything.
pub(crate) fn to_read(dir: &Path) -> Outcome<Db> {
    open(|options| options.open_read_only(dir)).map_err(|error| missing(dir, error))
}

/// What to say where `dir` has no store, for verbs that make none: in the tool's words.
pub(crate) fn missing(dir: &Path, error: Error) -> Failure {
    match error.kind() {
        ErrorKind::NotFound => Failure::new(Code::NotFound, format!("there is no store in {}", dir.display())),
        _ => error.into(),
    }
}

/// Opens the store in `dir`, making it if there is none.
pub(crate) fn or_made(dir: &Path) -> Outcome<Db> {
    or_made_with(dir, |options| options)
}

/// The same with options of the verb's own.
pub(crate) fn or_made_with(dir: &Path, with: impl FnOnce(Options) -> Options) -> Outcome<Db> {
    Ok(open(|options| with(options).open(dir))?)
}

fn open(with: impl FnOnce(Options) -> zipcask::Result<Db>) -> zipcask::Result<Db> {
    let jobs = Jobs::default();
    let shown = jobs.clone();
    let db = with(Options::new().on_progress(move |progress| shown.show(progress)));
    jobs.clear();
    db
}

/// The bar of the long job that the store is at, if it is at one.
#[derive(Clone, Default)]
struct Jobs(Arc<Mutex<Option<ProgressBar>>>);

impl Jobs {
    fn show(&self, progress: Progress) {
        let what = match progress.phase {
            Phase::Recovery => "opening",
            Phase::Verify => "verifying",
            _ => "working",
        };
        let mut bar = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bar.get_or_insert_with(|| bar::of_bytes(progress.total, what)).set_position(progress.done);
        if progress.done == progress.total {
            *bar = None;
        }
    }

    fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
