//! Buffers for what a file says is there, and filling them from where the truth is.
//!
//! Floor 2. Imports `error`, `platform`.

use crate::error::{Error, ErrorKind, Result};
use crate::platform::File;

/// Where the bytes come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// Through the page cache.
    Cache,
    /// From the device: the truth after a failed sync (W4).
    Device,
}

impl Source {
    /// Fills `bytes` from `offset` on.
    ///
    /// # Errors
    /// `Corruption` if the file ends before: somebody cut it; or if what is read is packed, and damaged. Else as the system says.
    pub(crate) fn read_exact(self, file: &dyn File, path: &str, bytes: &mut [u8], offset: u64) -> Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let rest = &mut bytes[done..];
            let read = match self {
                Source::Cache => file.read_at(rest, at),
                Source::Device => file.read_device_at(rest, at),
            };
            match read {
                Ok(0) => return Err(Error::corruption(path, at, "the file ends here, and should not")),
                Ok(n) => done += n,
                Err(error) => {
                    let unread = |error| Error::io(format!("cannot read {path} at offset {at}"), error);
                    return Err(error.downcast().unwrap_or_else(unread));
                }
            }
        }
        Ok(())
    }
}

/// Zeros for `len` bytes that are to be read from the file at `path`, in whole items.
///
/// # Errors
/// `ResourceLimit` without the memory.
pub(crate) fn zeros<T: Copy + Default>(len: u64, path: &str) -> Result<Vec<T>> {
    let short = || {
        let what = format!("cannot read {path}: there is no memory for {len} bytes");
        Error::new(ErrorKind::ResourceLimit, what)
    };
    let count = usize::try_from(len).map_err(|_| short())?.div_ceil(size_of::<T>());
    let mut items = Vec::new();
    items.try_reserve_exact(count).map_err(|_| short())?;
    items.resize(count, T::default());
    Ok(items)
}
