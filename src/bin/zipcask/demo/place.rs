//! Where the demo keeps its store.
//!
//! Floor 7. Imports nothing.

use std::env;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process;

use crate::failure::{Code, Failure, Outcome};

/// The file that says that a folder is one of ours.
const MARKER: &str = "ZIPCASK-DEMO";
const MARKER_TEXT: &str = "The next `zipcask demo --dir` of this folder removes the store beside this file.\n";

/// A folder with our marker, and no store yet.
pub(crate) struct Place {
    folder: PathBuf,
}

impl Place {
    /// Takes `folder`, if nothing but an earlier demo is there; without one, makes a new temporary folder.
    pub(crate) fn choose(folder: Option<&Path>) -> Outcome<Place> {
        let place = match folder {
            None => Place { folder: temporary()? },
            Some(folder) => Place { folder: folder.to_path_buf() },
        };
        place.clear()?;
        Ok(place)
    }

    /// The store's directory.
    pub(crate) fn store(&self) -> PathBuf {
        self.folder.join("store")
    }

    fn clear(&self) -> Outcome {
        let name = self.folder.display();
        let failed = |error: io::Error| Failure::io(format_args!("cannot use {name}"), &error);
        fs::create_dir_all(&self.folder).map_err(failed)?;
        let marker = self.folder.join(MARKER);
        if !marker.is_file() {
            if fs::read_dir(&self.folder).map_err(failed)?.next().is_some() {
                let text = format!("{name} is not empty and no earlier demo's; name another folder");
                return Err(Failure::new(Code::Other, text));
            }
            fs::write(&marker, MARKER_TEXT).map_err(failed)?;
        }
        match fs::remove_dir_all(self.store()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }
}

/// A new folder; one that is there already may be somebody else's.
fn temporary() -> Outcome<PathBuf> {
    let (parent, id) = (env::temp_dir(), process::id());
    let failed = |error: &io::Error| Failure::io(format_args!("cannot make a folder in {}", parent.display()), error);
    let mut last = io::Error::from(ErrorKind::AlreadyExists);
    for number in 0..100 {
        let folder = parent.join(format!("zipcask-demo-{id}-{number}"));
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => last = error,
            Err(error) => return Err(failed(&error)),
        }
    }
    Err(failed(&last))
}
