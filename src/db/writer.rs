//! Writing a value that comes in pieces.
//!
//! Floor 6. Imports `address`, `commit`, `db`, `error`, `segment`.

use std::{fmt, io};

use crate::address::Seqno;
use crate::commit::batch::{Records, Rule, To, check_lens};
use crate::commit::large;
use crate::db::keyspace::Keyspace;
use crate::db::options::PutOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::segment::large::new::NewLargeFile;

/// Pieces shorter than this are gathered before they are written.
const GATHERED_LEN: usize = 256 * 1024;

/// Takes a value in pieces, for [`Keyspace::put_writer`](crate::Keyspace::put_writer): give it exactly as many bytes as
/// were announced, then [`PutWriter::finish`]. Dropped before that, it leaves nothing.
///
/// A write that fails has taken nothing of its bytes: they may be given again. One that would pass the announced
/// length is `InvalidInput`. It is a handle of the store, like a [`Keyspace`].
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let db = zipcask::Options::new().open_in_memory()?;
/// use std::io::Write;
///
/// let mut writer = db.put_writer("film", 6 << 20)?;
/// for _ in 0..6 {
///     writer.write_all(&[7; 1 << 20])?;
/// }
/// writer.finish()?;
/// assert_eq!(db.get_range("film", 1000..2000)?.unwrap(), [7; 1000]);
/// # Ok(())
/// # }
/// ```
pub struct PutWriter {
    /// Where the bytes go; `None` for a value that is short enough for the log.
    file: Option<NewLargeFile>,
    /// Taken and not yet in the file.
    gathered: Vec<u8>,
    key: Vec<u8>,
    len: u64,
    taken: u64,
    /// Where the record goes; `None`: as any put does that says nothing of its own.
    to: Option<To>,
    // After the file: while that is removed, the store is still locked.
    keyspace: Keyspace,
}

impl PutWriter {
    pub(super) fn new(keyspace: &Keyspace, key: &[u8], len: u64, to: Option<To>) -> Result<PutWriter> {
        let store = keyspace.writable_store()?;
        check_lens(key, len)?;
        let is_large = len > store.settings().inline_value_len_max();
        let file = if is_large { Some(large::create(store, key, len)?) } else { None };
        Ok(PutWriter { file, gathered: Vec::new(), key: key.to_vec(), len, taken: 0, to, keyspace: keyspace.clone() })
    }

    /// Puts the value into the store, and waits for what [`Options::durability`](crate::Options::durability) asks, as
    /// [`Keyspace::put`](crate::Keyspace::put) does.
    ///
    /// # Errors
    /// `Invalid` if fewer bytes were given than announced. Else as [`Keyspace::put`](crate::Keyspace::put). The value is
    /// given up then.
    pub fn finish(mut self) -> Result<Seqno> {
        let store = self.keyspace.open_store()?;
        if self.taken < self.len {
            let text = format!("a value of {} bytes was announced, {} were given", self.len, self.taken);
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        // Its time begins now.
        let to = self.to.unwrap_or_else(|| self.keyspace.to(store, PutOptions::new()));
        let mut records = Records::new();
        match self.file.take() {
            None => records.put(to, store.hash(&self.key), &self.key, &self.gathered)?,
            Some(mut file) => {
                file.append(&self.gathered)?;
                large::finish(store, &mut records, to, &self.key, file)?;
            }
        }
        let shared = &self.keyspace.shared;
        let done = shared.commit(records, Rule::Always, shared.durability)?;
        Ok(shared.seqno_of(done))
    }

    /// Takes all of `bytes`, or nothing.
    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.file {
            Some(file) if self.gathered.len() + bytes.len() > GATHERED_LEN => {
                file.append(&self.gathered)?;
                self.gathered.clear();
                if bytes.len() < GATHERED_LEN {
                    self.gathered.extend_from_slice(bytes);
                } else {
                    file.append(bytes)?;
                }
            }
            _ => self.gathered.extend_from_slice(bytes),
        }
        self.taken += bytes.len() as u64;
        Ok(())
    }
}

impl io::Write for PutWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.keyspace.open_store().map_err(io::Error::other)?;
        if bytes.len() as u64 > self.len - self.taken {
            let text = format!(
                "a value of {} bytes was announced, {} were given so far, and {} more do not fit",
                self.len,
                self.taken,
                bytes.len()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        self.take(bytes).map_err(|error| io::Error::new(kind_of(&error), error))?;
        Ok(bytes.len())
    }

    /// Hands what was gathered to the operating system; durable is what is finished.
    fn flush(&mut self) -> io::Result<()> {
        self.keyspace.open_store().map_err(io::Error::other)?;
        if let Some(file) = &mut self.file {
            file.append(&self.gathered).map_err(|error| io::Error::new(kind_of(&error), error))?;
            self.gathered.clear();
        }
        Ok(())
    }
}

/// What `io` calls it.
fn kind_of(error: &Error) -> io::ErrorKind {
    match error.kind() {
        ErrorKind::NoSpace => io::ErrorKind::StorageFull,
        _ => io::ErrorKind::Other,
    }
}

impl fmt::Debug for PutWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutWriter").field("len", &self.len).field("taken", &self.taken).finish_non_exhaustive()
    }
}
