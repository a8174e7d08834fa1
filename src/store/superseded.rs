//! Removing files whose place an archive took.
//!
//! Floor 3. Imports `format`, `platform`, `sabotage`.

use std::io;

use crate::format::names;
use crate::platform::Disk;
use crate::sabotage::{Sabotage, planted};

/// Removes the files, for good: once this has returned, no power cut brings one of them back (C1).
///
/// # Errors
/// As the system says. What is left goes at the next open.
pub(crate) fn remove(disk: &dyn Disk, superseded: &[String]) -> io::Result<()> {
    if superseded.is_empty() {
        return Ok(());
    }
    if !planted(Sabotage::ArchiveNameUnsynced) {
        // BARRIER: C1. The archive has its name for good before what it replaces loses its own.
        disk.sync_dir(names::ARCHIVES)?;
    }
    for name in superseded {
        match disk.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    for folder in [names::SEGMENTS, names::ARCHIVES] {
        if superseded.iter().any(|name| name.starts_with(folder)) {
            // BARRIER: what is gone stays gone, before the archive may be replaced in its turn: then nobody would know that
            // these files count no more.
            disk.sync_dir(folder)?;
        }
    }
    Ok(())
}
