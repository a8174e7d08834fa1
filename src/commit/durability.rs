//! What a write waits for before it is acknowledged.
//!
//! Floor 4. Imports `platform`.

use crate::platform::Barrier;

/// What a write waits for before it is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Durability {
    /// Handed to the operating system: survives a killed process, but not a power cut.
    Os,
    /// Ordered before anything later on the device (F_BARRIERFSYNC on Apple's systems); elsewhere the same as `Sync`.
    Barrier,
    /// On stable storage (fdatasync, F_FULLFSYNC, FlushFileBuffers). Concurrent writers share one sync.
    #[default]
    Sync,
}

impl Durability {
    /// The barrier that it asks for.
    pub(crate) fn barrier(self) -> Option<Barrier> {
        match self {
            Durability::Os => None,
            Durability::Barrier => Some(Barrier::Ordered),
            Durability::Sync => Some(Barrier::Durable),
        }
    }
}
