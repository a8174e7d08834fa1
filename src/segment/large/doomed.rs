//! Files of large values that no record names any more, but that somebody may be about to open.
//!
//! Floor 2. Imports `address`, `platform`, `segment`, `sync`.
//!
//! A record that names a file may have been copied: then every segment that has it, or had it and is still shown, keeps the file.

use crate::address::LargeId;
use crate::platform::fork::ForkGuard;
use crate::segment::large::LargeFolder;
use crate::sync::plain::{Mutex, PoisonError};
use crate::sync::{Arc, Weak};

/// What goes with a segment, and whose records it has copies of.
#[derive(Default)]
pub(crate) struct Legacy {
    files: Mutex<Vec<Arc<DoomedFiles>>>,
    /// Those that are not gone yet.
    from: Mutex<Vec<Weak<Legacy>>>,
}

impl Legacy {
    /// The segment that this belongs to has copies of records of that one.
    pub(crate) fn inherit(&self, from: &Arc<Legacy>) {
        let mut all = from.from.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.push(Arc::downgrade(from));
        all.retain(|legacy| legacy.strong_count() > 0);
        self.from.lock().unwrap_or_else(PoisonError::into_inner).append(&mut all);
    }

    /// Has the files go with the segment that this belongs to, and with those that it has copies of, whichever goes last.
    pub(crate) fn doom(&self, files: &Arc<DoomedFiles>) {
        let from = self.from.lock().unwrap_or_else(PoisonError::into_inner);
        let from = from.iter().filter_map(Weak::upgrade).collect::<Vec<_>>();
        for legacy in from.iter().map(|legacy| &**legacy).chain([self]) {
            legacy.files.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(files));
        }
    }
}

/// They go when this is dropped: it belongs to the segments whose records named them, which stay as long as anyone shows one.
pub(crate) struct DoomedFiles {
    folder: Arc<LargeFolder>,
    /// Each with its length.
    files: Vec<(LargeId, u64)>,
    fork: ForkGuard,
}

impl DoomedFiles {
    pub(crate) fn new(folder: &Arc<LargeFolder>, files: &[(LargeId, u64)]) -> DoomedFiles {
        DoomedFiles { folder: Arc::clone(folder), files: files.to_vec(), fork: ForkGuard::new() }
    }
}

impl Drop for DoomedFiles {
    fn drop(&mut self) {
        if self.fork.forked() {
            // They are the parent's to remove.
            return;
        }
        for (id, len) in self.files.drain(..) {
            self.folder.remove(id);
            self.folder.forget(len);
        }
    }
}
