//! Files whose names are gone, and that take up space all the same, since somebody still shows something of them.
//!
//! Floor 2. Imports `sync`.

use crate::sync::Arc;
use crate::sync::plain::{AtomicU64, Ordering};

/// How many bytes such files have.
#[derive(Clone, Debug, Default)]
pub(crate) struct PinnedBytes(Arc<AtomicU64>);

impl PinnedBytes {
    /// As of now.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// A file of so many bytes, which are counted until the last clone is dropped: each segment in the file has one.
    pub(crate) fn file(&self, bytes: u64) -> Pinned {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Pinned { _counted: Arc::new(Counted { all: Arc::clone(&self.0), bytes }) }
    }
}

/// One such file.
#[derive(Clone, Debug)]
pub(crate) struct Pinned {
    /// There to be dropped.
    _counted: Arc<Counted>,
}

#[derive(Debug)]
struct Counted {
    all: Arc<AtomicU64>,
    bytes: u64,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
