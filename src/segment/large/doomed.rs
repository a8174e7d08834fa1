//! Files of large values that no record names any more, but that somebody may be about to open.
//!
//! Floor 2. Imports `address`, `segment`, `sync`.

use crate::address::LargeId;
use crate::segment::large::LargeFolder;
use crate::sync::Arc;

/// They go when this is dropped: it belongs to the segments whose records named them, which stay as long as anyone shows one.
pub(crate) struct DoomedFiles {
    folder: Arc<LargeFolder>,
    /// Each with its length.
    files: Vec<(LargeId, u64)>,
}

impl DoomedFiles {
    pub(crate) fn new(folder: &Arc<LargeFolder>, files: &[(LargeId, u64)]) -> DoomedFiles {
        DoomedFiles { folder: Arc::clone(folder), files: files.to_vec() }
    }
}

impl Drop for DoomedFiles {
    fn drop(&mut self) {
        for (id, len) in self.files.drain(..) {
            self.folder.remove(id);
            self.folder.forget(len);
        }
    }
}
