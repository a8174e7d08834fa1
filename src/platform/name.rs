//! Names within a store's directory, taken apart and checked.
//!
//! Floor 1. Imports nothing.

use std::io;

/// Takes `folder/name` or `name` apart; the folder is `""` for the directory itself.
///
/// # Errors
///
/// `InvalidInput` for anything that might lead elsewhere: more folders, `.`, `..`, an empty part, or a character that
/// parts paths on some system.
pub(crate) fn split(name: &str) -> io::Result<(&str, &str)> {
    let (folder, file) = name.split_once('/').unwrap_or(("", name));
    let ok = is_plain(file) && (is_plain(folder) || file.len() == name.len());
    ok.then_some((folder, file)).ok_or_else(|| refused(name))
}

/// Checks the name of a folder; `""` is the directory itself.
///
/// # Errors
///
/// `InvalidInput`, as `split`.
pub(crate) fn folder(name: &str) -> io::Result<&str> {
    let ok = name.is_empty() || is_plain(name);
    ok.then_some(name).ok_or_else(|| refused(name))
}

/// Checks the name of something right in the directory.
///
/// # Errors
///
/// `InvalidInput`, as `split`.
pub(crate) fn top(name: &str) -> io::Result<&str> {
    is_plain(name).then_some(name).ok_or_else(|| refused(name))
}

fn is_plain(part: &str) -> bool {
    !part.is_empty() && part != "." && part != ".." && !part.contains(['/', '\\', ':', '\0'])
}

fn refused(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is no name within the directory"))
}

#[cfg(test)]
mod tests {
    use crate::platform::name::{folder, split};

    #[test]
    fn a_name_has_at_most_one_folder() {
        assert_eq!(split("LOCK").unwrap(), ("", "LOCK"));
        assert_eq!(split("segments/1.seg").unwrap(), ("segments", "1.seg"));
        assert!(split("a/b/c").is_err());
        assert_eq!(folder("").unwrap(), "");
        assert_eq!(folder("segments").unwrap(), "segments");
        assert!(folder("segments/1").is_err());
    }

    #[test]
    fn no_name_leads_out_of_the_directory() {
        for name in ["", "/", "/a", "a/", "..", "../a", "a/..", ".", "./a", "a\\b", "c:", "a\0"] {
            assert!(split(name).is_err(), "{name:?}");
            assert!(name.is_empty() || folder(name).is_err(), "{name:?}");
        }
    }
}
