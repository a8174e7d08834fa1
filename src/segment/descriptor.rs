//! The open file behind a segment, and when it is open.
//!
//! Floor 2. Imports `error`, `platform`, `sync`.
//!
//! Descriptors are few (1,024 a process is usual) and segments may be many. A mapping needs none: what is sealed and
//! mapped gives its descriptor back, and whoever must read the file again opens it again.

use std::path::Path;

use crate::error::{Error, Result};
use crate::platform::{Access, Disk, File};
use crate::sync::Arc;
use crate::sync::plain::{Mutex, PoisonError};

/// A segment's file: kept open, or opened when it is needed.
#[derive(Debug)]
pub(crate) struct Descriptor {
    disk: Arc<dyn Disk>,
    name: String,
    kept: Mutex<Option<Arc<dyn File>>>,
}

impl Descriptor {
    /// Keeps `file`, which has this name, open until `release`.
    pub(crate) fn new(disk: &Arc<dyn Disk>, name: &str, file: Arc<dyn File>) -> Descriptor {
        Descriptor { disk: Arc::clone(disk), name: name.to_string(), kept: Mutex::new(Some(file)) }
    }

    /// The store's directory.
    pub(crate) fn directory(&self) -> &Path {
        self.disk.path()
    }

    /// The file, to be read.
    ///
    /// # Errors
    /// `ResourceLimit` without a descriptor left; as the system says if the file is gone.
    pub(crate) fn file(&self) -> Result<Arc<dyn File>> {
        if let Some(file) = &*self.kept.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Arc::clone(file));
        }
        let failed = |error| Error::io(format!("cannot open {}", self.directory().join(&self.name).display()), error);
        self.disk.open(&self.name, Access::Read).map_err(failed)
    }

    /// Closes the file once nobody uses it.
    pub(crate) fn release(&self) {
        drop(self.kept.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
