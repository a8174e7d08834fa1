//! Reading an archive by position: nothing is allocated before it is known to be there.
//!
//! Floor 2. Imports `error`, `platform`, `zipfile`.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::fmt::Display;
use std::io;

use crate::error::{Error, Result};
use crate::platform::File;
use crate::zipfile::layout::Pinned;

/// An archive to be read, and its path for messages.
pub(super) struct Input<'a> {
    file: &'a dyn File,
    path: &'a str,
    read_at: fn(&dyn File, &mut [u8], u64) -> io::Result<usize>,
}

impl<'a> Input<'a> {
    /// Through the page cache.
    pub(super) fn cache(file: &'a dyn File, path: &'a str) -> Input<'a> {
        Input { file, path, read_at: |file, bytes, offset| file.read_at(bytes, offset) }
    }

    /// What the device holds.
    pub(super) fn device(file: &'a dyn File, path: &'a str) -> Input<'a> {
        Input { file, path, read_at: |file, bytes, offset| file.read_device_at(bytes, offset) }
    }

    pub(super) fn path(&self) -> &str {
        self.path
    }

    pub(super) fn len(&self) -> Result<u64> {
        self.file.len().map_err(|error| Error::io(format!("cannot read the length of {}", self.path), error))
    }

    /// Fills `bytes` from `offset` on.
    ///
    /// # Errors
    /// `Corruption` if the file ends before.
    pub(super) fn fill(&self, bytes: &mut [u8], offset: u64) -> Result<()> {
        let (mut rest, mut at) = (bytes, offset);
        while !rest.is_empty() {
            let read = (self.read_at)(self.file, rest, at);
            let count = read.map_err(|error| Error::io(format!("cannot read {} at offset {at}", self.path), error))?;
            let Some(unread) = rest.get_mut(count..).filter(|_| count > 0) else {
                return Err(self.damaged(at, "the file ends here, and should not"));
            };
            (rest, at) = (unread, at.saturating_add(count as u64));
        }
        Ok(())
    }

    /// `len` bytes from `offset` on, which are known to be there.
    pub(super) fn bytes(&self, len: usize, offset: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.fill(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// Checks that `found`, which lies at `offset`, is just what it must be.
    pub(super) fn demand(&self, what: impl Display, must: &Pinned, found: &[u8], offset: u64) -> Result<()> {
        match must.differs(found) {
            None if must.bytes.len() == found.len() => Ok(()),
            None => {
                Err(self
                    .damaged(offset, format_args!("{what} has {} bytes, {} expected", found.len(), must.bytes.len())))
            }
            Some((place, field)) => Err(self.damaged(
                offset.saturating_add(place),
                format_args!("{what} has another {field} than follows from the rest"),
            )),
        }
    }

    pub(super) fn damaged(&self, offset: u64, what: impl Display) -> Error {
        Error::corruption(self.path, offset, format_args!("{what}; restore the file from a backup"))
    }
}
