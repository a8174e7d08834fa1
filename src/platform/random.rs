//! Unpredictable bytes from the operating system.
//!
//! Floor 1. Imports nothing.

use std::io;

/// Fills `bytes` with unpredictable ones.
///
/// # Errors
///
/// As the system says; some have no source of them early at boot.
pub(crate) fn fill(bytes: &mut [u8]) -> io::Result<()> {
    Ok(getrandom::fill(bytes)?)
}
