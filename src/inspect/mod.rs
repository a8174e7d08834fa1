//! Looking at files that no store has open.
//!
//! Floor 6. Imports nothing.

pub(crate) mod archive;
mod newest;
