//! The file of one large value, read: mapped, or as much of it as is wanted in memory.
//!
//! Floor 2. Imports `error`, `format`, `platform`, `segment`, `sync`.
//!
//! Lengths come from a record whose checksum was right, and are held against what the file has before anything is
//! mapped or allocated.

use std::ops::Range;

use crate::error::{Error, ErrorKind, Result};
use crate::format::checksum;
use crate::format::large::LargeValue;
use crate::format::names;
use crate::platform::{Access, Disk, File, Mapping};
use crate::segment::fetched::{bytes, bytes_mut};
use crate::segment::source::{Source, zeros};
use crate::segment::trust::Verify;
use crate::segment::{ReadMode, Reading};
use crate::sync::Arc;
use crate::sync::plain::{AtomicBool, Ordering};

/// Bytes read at a time where a file is only checked.
const WINDOW_LEN: usize = 256 * 1024;

/// The bytes of a large value, or of a part of one.
#[derive(Debug)]
pub(crate) struct LargeFile {
    large: LargeValue,
    path: String,
    content: Content,
    /// Its checksum was right once. Relaxed: it says something of bytes that were there before.
    checked: AtomicBool,
}

#[derive(Debug)]
enum Content {
    Mapped(Box<dyn Mapping>),
    /// In words, so that they are aligned, and how many bytes of them count.
    Read(Vec<u64>, usize),
}

impl LargeFile {
    /// Maps the whole file; `None` in positioned mode, and where it cannot be mapped.
    ///
    /// # Errors
    /// `Corruption` if the file is missing (`NotFound` beside a writer) or has another length; `Io`, `ResourceLimit`.
    pub(super) fn map(disk: &dyn Disk, large: &LargeValue, reading: Reading) -> Result<Option<LargeFile>> {
        let (ReadMode::Mmap, Ok(len)) = (reading.mode, usize::try_from(large.len)) else {
            return Ok(None);
        };
        let (file, path) = open(disk, large, reading)?;
        let map = file.map(len).ok().filter(|map| map.len() == len);
        Ok(map.map(|map| LargeFile::new(large, path, Content::Mapped(map))))
    }

    /// Reads a part of the file, which lies within its length.
    ///
    /// # Errors
    /// As `map`, and `ResourceLimit` without the memory.
    pub(super) fn read(disk: &dyn Disk, large: &LargeValue, reading: Reading, part: Range<u64>) -> Result<LargeFile> {
        let (file, path) = open(disk, large, reading)?;
        let mut words = zeros(part.end - part.start, &path)?;
        let len = (part.end - part.start) as usize;
        Source::Cache.read_exact(&*file, &path, &mut bytes_mut(&mut words)[..len], part.start)?;
        Ok(LargeFile::new(large, path, Content::Read(words, len)))
    }

    fn new(large: &LargeValue, path: String, content: Content) -> LargeFile {
        LargeFile { large: *large, path, content, checked: AtomicBool::new(false) }
    }

    /// What its record says.
    pub(crate) fn large(&self) -> &LargeValue {
        &self.large
    }

    /// What is there of the value; not checked.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.content {
            // SAFETY: the file is as long as the mapping, as `open` saw; it was written before a record named it (L1),
            // nobody writes it again, and it is mapped as long as `self` is there. It shrinks only if somebody outside
            // truncates it.
            Content::Mapped(map) => unsafe { std::slice::from_raw_parts(map.as_ptr(), map.len()) },
            Content::Read(words, len) => &bytes(words)[..*len],
        }
    }

    /// Checks the whole value if `verify` wants it: what was read by position each time.
    ///
    /// # Errors
    /// `Corruption` if its checksum is wrong.
    pub(super) fn check(&self, verify: Verify, distrusted: bool) -> Result<()> {
        let mapped = matches!(self.content, Content::Mapped(_));
        let believed = match verify {
            Verify::Always => false,
            Verify::FirstTouch => self.checked.load(Ordering::Relaxed),
            Verify::ScrubOnly => true,
        };
        if believed && mapped && !distrusted {
            return Ok(());
        }
        check_crc(&self.large, &self.path, checksum::crc(self.bytes()))?;
        self.checked.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Reads the whole file, in pieces, against its checksum.
    ///
    /// # Errors
    /// As `map`, and `Corruption` if the checksum is wrong.
    pub(super) fn verify(disk: &dyn Disk, large: &LargeValue, reading: Reading) -> Result<()> {
        let (file, path) = open(disk, large, reading)?;
        let mut window = vec![0; WINDOW_LEN];
        let (mut at, mut crc) = (0, 0);
        while at < large.len {
            let len = (large.len - at).min(WINDOW_LEN as u64);
            let piece = &mut window[..len as usize];
            Source::Cache.read_exact(&*file, &path, piece, at)?;
            crc = checksum::extend(crc, piece);
            at += len;
        }
        check_crc(large, &path, crc)
    }
}

/// The file that a record names, if it is as long as the record says; and its path, for messages.
fn open(disk: &dyn Disk, large: &LargeValue, reading: Reading) -> Result<(Arc<dyn File>, String)> {
    let name = names::large(large.id);
    let path = disk.path().join(&name).display().to_string();
    let file = disk.open(&name, Access::Read).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound if reading.beside_writer => {
            let what = format!("{path} is gone, with the key that had it or its old value; refresh, and ask again");
            Error::io_as(ErrorKind::NotFound, what, error)
        }
        std::io::ErrorKind::NotFound => {
            Error::corruption(&path, 0, "the file is missing, though a record names it; restore it from a backup")
        }
        // Somebody has replaced it, or its folder.
        std::io::ErrorKind::InvalidInput | std::io::ErrorKind::NotADirectory => {
            Error::corruption(&path, 0, "no regular file is there, though a record names one; restore it from a backup")
        }
        _ => Error::io(format!("cannot open {path}"), error),
    })?;
    let len = file.len().map_err(|error| Error::io(format!("cannot read the length of {path}"), error))?;
    if len != large.len {
        let what = format_args!("the file has {len} bytes, its record says {}", large.len);
        return Err(Error::corruption(&path, len.min(large.len), what));
    }
    Ok((file, path))
}

fn check_crc(large: &LargeValue, path: &str, crc: u32) -> Result<()> {
    if crc == large.crc {
        return Ok(());
    }
    let what = format_args!("the crc of the value is {:#010x}, its bytes have {crc:#010x}", large.crc);
    Err(Error::corruption(path, 0, what))
}
