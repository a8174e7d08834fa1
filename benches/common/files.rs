//! What a store takes up: on the device, and in memory.

use std::fs;
use std::path::Path;

/// Bytes of the device that all files below `dir` take up.
#[cfg(unix)]
pub(crate) fn bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = fs::read_dir(dir).expect("a folder of the store is listed").filter_map(Result::ok);
    let taken = |entry: fs::DirEntry| match entry.metadata() {
        Ok(about) if about.is_dir() => bytes(&entry.path()),
        // A file may go meanwhile.
        about => about.map_or(0, |about| about.blocks() * 512),
    };
    entries.map(taken).sum()
}

/// Bytes of this process's memory that no file is behind; 0 where /proc does not say.
pub(crate) fn anonymous_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib: Option<u64> = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
    kib.unwrap_or(0) << 10
}
