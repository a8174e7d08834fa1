//! The open file behind a segment, and when it is open.
//!
//! Floor 2. Imports `address`, `error`, `platform`, `segment`, `sync`.
//!
//! Descriptors are few (1,024 a process is usual) and segments may be many. A mapping needs none: what is sealed and
//! mapped gives its descriptor back, and whoever must read the file again opens it again.

use std::path::Path;

use crate::address::ArchiveId;
use crate::error::{Error, Result};
use crate::platform::{Access, Disk, File};
use crate::segment::home::{self, Entry, Home};
use crate::sync::Arc;
use crate::sync::plain::{Mutex, PoisonError};

/// A segment's file: kept open, or opened when it is needed.
#[derive(Debug)]
pub(crate) struct Descriptor {
    disk: Arc<dyn Disk>,
    name: String,
    /// Where in the file the segment lies, if it is not all of it.
    entry: Option<Entry>,
    kept: Mutex<Option<Arc<dyn File>>>,
}

impl Descriptor {
    /// Keeps the file open until `release`.
    pub(crate) fn new(disk: &Arc<dyn Disk>, home: Home) -> Descriptor {
        let Home { file, name, entry } = home;
        Descriptor { disk: Arc::clone(disk), name, entry, kept: Mutex::new(Some(file)) }
    }

    /// The archive that the segment lies in, if it does.
    pub(crate) fn archive(&self) -> Option<ArchiveId> {
        self.entry.as_ref().map(|entry| entry.archive)
    }

    /// As for messages, in the store's directory.
    pub(crate) fn name(&self) -> String {
        home::shown(&self.name, self.entry.as_ref())
    }

    /// The store's directory.
    pub(crate) fn directory(&self) -> &Path {
        self.disk.path()
    }

    /// The segment's bytes, to be read.
    ///
    /// # Errors
    /// `ResourceLimit` without a descriptor left; as the system says if the file is gone.
    pub(crate) fn file(&self) -> Result<Arc<dyn File>> {
        // Held while it is opened: who is about to remove the name keeps the file open first (`keep`).
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*kept {
            return Ok(home::within(Arc::clone(file), self.entry.as_ref()));
        }
        Ok(home::within(self.open()?, self.entry.as_ref()))
    }

    /// Keeps the file open from here on.
    ///
    /// # Errors
    /// As `file`.
    pub(crate) fn keep(&self) -> Result<()> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_none() {
            *kept = Some(self.open()?);
        }
        Ok(())
    }

    fn open(&self) -> Result<Arc<dyn File>> {
        let failed = |error| Error::io(format!("cannot open {}", self.directory().join(&self.name).display()), error);
        self.disk.open(&self.name, Access::Read).map_err(failed)
    }

    /// Closes the file once nobody uses it.
    pub(crate) fn release(&self) {
        drop(self.kept.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
