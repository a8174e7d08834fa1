//! What goes wrong, sorted by what the caller would do about it.
//!
//! Floor 0. Imports `sync`.

use std::{error, fmt, io};

use crate::sync::Arc;

/// The result of every fallible call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error: its kind says what to do, its text what happened where, its `source()` is the operating system's word.
///
/// Cloning is cheap: all writers of a failed group get the same error. The text does not repeat the source; print both:
///
/// ```
/// use std::error::Error;
///
/// if let Err(error) = zipcask::Options::new().create_if_missing(false).open("/there/is/no/store") {
///     assert_eq!(error.kind(), zipcask::ErrorKind::NotFound);
///     let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
///     eprintln!("{error}{cause}");
/// }
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    /// What is damaged, and where.
    place: Option<(String, u64)>,
    text: String,
    source: Option<Cause>,
}

enum Cause {
    Io(io::Error),
    Earlier(Error),
}

/// What a caller would do about an error.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument or option that makes no sense here, or a directory that is no store of ours: mend the call.
    Invalid,
    /// There is no store there, and `create_if_missing` is off; or the keyspace was dropped, or the cursor removed. Of a handle for
    /// reading only also: the large value that a key had is gone, and so is the key, or it has another one, so refresh; or what a snapshot shows was
    /// lost by the writer.
    NotFound,
    /// A key, value or batch beyond its limit; nothing was written.
    TooLarge,
    /// Something that a transaction read was changed before it was committed; nothing of it was written: run it again.
    Conflict,
    /// Another process, or another handle in this one, has the store open.
    Locked,
    /// The store, its medium or this handle (see [`Db::open_read_only`](crate::Db::open_read_only)) does not take writes.
    ReadOnly,
    /// No space left (or a quota is used up): the write is not in the store, everything else is. Free some and go on.
    NoSpace,
    /// Descriptors, mappings or memory ran out: retry when there are more.
    ResourceLimit,
    /// The operating system failed a call. For a write: unknown whether it is durable.
    Io,
    /// An earlier write or sync failed; writes are refused for good, reads go on. Close and open again.
    Poisoned,
    /// Bytes on disk are not what was written.
    Corruption,
    /// A format that this build does not read: of a newer version, or compressed in a way that it was built without.
    FormatVersion,
    /// The store is encrypted with another key. No call of this version returns it: nothing is encrypted yet.
    WrongKey,
    /// The store was closed.
    Closed,
    /// This process was forked off one that has the store open; open it anew after the parent closed it.
    Forked,
}

impl Error {
    /// What the caller would do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Error {
        Error(Arc::new(Inner { kind, place: None, text: text.into(), source: None }))
    }

    /// `file` is damaged at `offset`.
    pub(crate) fn corruption(file: impl fmt::Display, offset: u64, what: impl fmt::Display) -> Error {
        let place = Some((file.to_string(), offset));
        Error(Arc::new(Inner { kind: ErrorKind::Corruption, place, text: what.to_string(), source: None }))
    }

    /// For `corruption`: the file, the offset and what is wrong there.
    pub(crate) fn damage(&self) -> Option<(&str, u64, &str)> {
        self.0.place.as_ref().map(|(file, offset)| (file.as_str(), *offset, self.0.text.as_str()))
    }

    /// A failed system call, its kind chosen by errno; `what` says what was tried on which file.
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Error {
        let kind = kind_of(&source);
        Error::io_as(kind, what, source)
    }

    /// A failed system call that is `kind` whatever its errno says, such as a barrier that ran out of space.
    pub(crate) fn io_as(kind: ErrorKind, what: impl Into<String>, source: io::Error) -> Error {
        Error(Arc::new(Inner { kind, place: None, text: what.into(), source: Some(Cause::Io(source)) }))
    }

    /// Whether a file was asked for that is not there.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(&self.0.source, Some(Cause::Io(source)) if source.kind() == io::ErrorKind::NotFound)
    }

    /// The same error as another kind, before anyone else has it.
    pub(crate) fn of_kind(self, kind: ErrorKind) -> Error {
        match Arc::try_unwrap(self.0) {
            Ok(inner) => Error(Arc::new(Inner { kind, ..inner })),
            Err(shared) => {
                let text = shared.text.clone();
                Error::because(kind, text, Error(shared))
            }
        }
    }

    /// The same failure seen by a later caller: of another kind, with the first as its source.
    pub(crate) fn because(kind: ErrorKind, text: impl Into<String>, earlier: Error) -> Error {
        Error(Arc::new(Inner { kind, place: None, text: text.into(), source: Some(Cause::Earlier(earlier)) }))
    }
}

/// Sorts an errno by what the caller would do.
fn kind_of(source: &io::Error) -> ErrorKind {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => ErrorKind::NoSpace,
        io::ErrorKind::ReadOnlyFilesystem => ErrorKind::ReadOnly,
        io::ErrorKind::OutOfMemory => ErrorKind::ResourceLimit,
        // EMFILE and ENFILE have no `io::ErrorKind` of their own; the numbers are the same on every Unix.
        _ if cfg!(unix) && matches!(source.raw_os_error(), Some(23 | 24)) => ErrorKind::ResourceLimit,
        _ => ErrorKind::Io,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.place {
            None => f.write_str(&self.0.text),
            Some((file, offset)) => write!(f, "{file} is damaged at offset {offset}: {}", self.0.text),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)?;
        let mut source = error::Error::source(self);
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match &self.0.source {
            None => None,
            Some(Cause::Io(source)) => Some(source),
            Some(Cause::Earlier(error)) => Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, ErrorKind};
    use std::io;

    #[test]
    fn the_errno_chooses_the_kind() {
        let of = |errno| Error::io("cannot write", io::Error::from_raw_os_error(errno)).kind();
        assert_eq!(of(28), ErrorKind::NoSpace, "ENOSPC");
        assert_eq!(of(122), ErrorKind::NoSpace, "EDQUOT");
        assert_eq!(of(27), ErrorKind::NoSpace, "EFBIG");
        assert_eq!(of(24), ErrorKind::ResourceLimit, "EMFILE");
        assert_eq!(of(12), ErrorKind::ResourceLimit, "ENOMEM");
        assert_eq!(of(30), ErrorKind::ReadOnly, "EROFS");
        assert_eq!(of(5), ErrorKind::Io, "EIO");
    }
}
