//! Opening a store for a verb.
//!
//! Floor 7. Imports nothing.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::ProgressBar;
use zipcask::{Db, ErrorKind, Options, Phase, Progress};

use crate::bar;
use crate::failure::{Code, Failure, Outcome};

/// Opens the store in `dir`, which must be there.
pub(crate) fn existing(dir: &Path) -> Outcome<Db> {
    open(Options::new().create_if_missing(false), dir).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::new(Code::NotFound, format!("there is no store in {}", dir.display())),
        _ => error.into(),
    })
}

/// Opens the store in `dir`, making it if there is none.
pub(crate) fn or_made(dir: &Path) -> Outcome<Db> {
    Ok(open(Options::new(), dir)?)
}

fn open(options: Options, dir: &Path) -> zipcask::Result<Db> {
    let jobs = Jobs::default();
    let shown = jobs.clone();
    let db = options.on_progress(move |progress| shown.show(progress)).open(dir);
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
