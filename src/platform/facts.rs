//! What the machine is like, for people: the engine does not look at it.
//!
//! Floor 1. Imports `platform`.

use std::fs;
use std::path::Path;

use crate::platform::os;

/// The kind of the file system that `path` lies in, where /proc tells.
pub(crate) fn file_system(path: &Path) -> Option<String> {
    kind_in(&fs::read_to_string("/proc/self/mountinfo").ok()?, path)
}

/// By the lines of a mountinfo: the mount whose place is the longest that `path` lies below; of those in one place the last.
fn kind_in(mounts: &str, path: &Path) -> Option<String> {
    let mounts = mounts.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        // Blanks are written in octal.
        let place = before.split(' ').nth(4)?.replace("\\040", " ");
        Some((place, after.split(' ').next()?))
    });
    let above = mounts.filter(|(place, _)| path.starts_with(place));
    above.max_by_key(|(place, _)| Path::new(place).components().count()).map(|(_, kind)| kind.to_owned())
}

/// Bytes that this user may still take in the file system of `path`.
pub(crate) fn free_bytes(path: &Path) -> Option<u64> {
    fs4::available_space(path).ok()
}

/// Mappings that a process may have, where /proc tells.
pub(crate) fn mappings_max() -> Option<u64> {
    fs::read_to_string("/proc/sys/vm/max_map_count").ok()?.trim().parse().ok()
}

/// Files that this process may have open; `None` also without a limit.
pub(crate) fn open_files_max() -> Option<u64> {
    os::open_files_max()
}

/// Bytes of a page of memory.
pub(crate) fn page_bytes() -> Option<u64> {
    os::page_bytes()
}

/// The permissions of the directory at `path`, as `chmod` has them; `None` where the system has others.
pub(crate) fn mode(path: &Path) -> Option<u32> {
    os::mode(path)
}

#[cfg(test)]
mod tests {
    use super::kind_in;
    use std::path::Path;

    #[test]
    fn a_file_system_is_that_of_the_nearest_mount_above() {
        let mounts = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / /home rw shared:1 - xfs /dev/b rw\n\
                      3 2 0:3 / /home/a\\040b rw - btrfs c rw\n4 2 0:4 / /home rw - tmpfs d rw\nnonsense\n";
        let kind = |path: &str| kind_in(mounts, Path::new(path));
        assert_eq!(kind("/x").as_deref(), Some("ext4"));
        assert_eq!(kind("/home/x").as_deref(), Some("tmpfs"), "the last one is on top");
        assert_eq!(kind("/homes").as_deref(), Some("ext4"));
        assert_eq!(kind("/home/a b/c").as_deref(), Some("btrfs"));
        assert_eq!(kind_in("", Path::new("/")), None);
    }
}
