//! Writing an archive: entry after entry, then the manifest, then the directory.
//!
//! Floor 2. Imports `error`, `format`, `limits`, `platform`, `sync`, `zipfile`.
//!
//! The same entries make the same bytes, on any system and at any time.

use std::io::Write as _;

use zip::result::ZipResult;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, System, ZipWriter};

use crate::error::{Error, ErrorKind, Result};
use crate::format::checksum;
use crate::format::compression::Compression;
use crate::format::manifest::{Chunked, Manifest, ManifestEntry};
use crate::format::names::{self, MANIFEST};
use crate::limits::{CHUNK_LEN_MAX, ENTRY_ALIGN, MANIFEST_LEN_MAX};
use crate::platform::File;
use crate::sync::Arc;
use crate::zipfile::cursor::Cursor;
use crate::zipfile::layout::{MODE, needs_zip64};

/// An archive being written. Dropped before it is finished, it leaves a file that is none.
pub(crate) struct Writer {
    /// Before `zip`, so that it goes first.
    given_up: GiveUp,
    zip: ZipWriter<Cursor>,
    file: Arc<dyn File>,
    path: String,
    entries: Vec<ManifestEntry>,
    /// How long the last entry may be, while it is written.
    open: Option<u64>,
}

/// Writes nothing any more once it is dropped.
struct GiveUp(Cursor);

impl Drop for GiveUp {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

impl Writer {
    /// On `file`, which is new and empty; `path` is for messages.
    pub(crate) fn new(file: Arc<dyn File>, path: String) -> Writer {
        let cursor = Cursor::new(Arc::clone(&file));
        let (given_up, zip) = (GiveUp(cursor.clone()), ZipWriter::new(cursor));
        Writer { given_up, zip, file, path, entries: Vec::new(), open: None }
    }

    /// Begins an entry, of at most `len_max` bytes.
    ///
    /// # Errors
    /// As the system says of a write: `NoSpace`, `Io`. The file is given up then.
    pub(crate) fn start(&mut self, name: &str, len_max: u64) -> Result<()> {
        assert!(self.open.is_none(), "an entry ends before the next one starts");
        let started = self.zip.start_file(name, options(len_max));
        self.outcome(started)?;
        let offset = self.given_up.0.position();
        debug_assert!(offset.is_multiple_of(ENTRY_ALIGN));
        self.entries.push(ManifestEntry { name: name.to_owned(), offset, len: 0, crc32c: 0, chunked: None });
        self.open = Some(len_max);
        Ok(())
    }

    /// Begins an entry of at most `len_max` bytes, packed by `method`: with any but `None`, it is cut in chunks, and each `write` makes
    /// one. It follows an entry that is not.
    ///
    /// # Errors
    /// As `start`.
    pub(crate) fn start_packed(&mut self, name: &str, len_max: u64, method: Compression) -> Result<()> {
        if method == Compression::None {
            return self.start(name, len_max);
        }
        assert!(self.open.is_none(), "an entry ends before the next one starts");
        let before = self.entries.last();
        assert!(before.is_none_or(|before| before.chunked.is_none()), "where the last chunk ends is not known yet");
        let (offset, chunked) = (self.given_up.0.position(), Some(Chunked { method, count: 0 }));
        self.entries.push(ManifestEntry { name: name.to_owned(), offset, len: 0, crc32c: 0, chunked });
        self.open = Some(len_max);
        Ok(())
    }

    /// Appends to the entry. What lies in chunks is cut in front of `bytes` and behind them.
    ///
    /// # Errors
    /// As `start`.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let (Some(len_max), Some(entry)) = (self.open, self.entries.last_mut()) else {
            panic!("an entry starts before it is written");
        };
        let started = entry.chunked.as_mut().map(|chunked| {
            assert!((1..=CHUNK_LEN_MAX).contains(&(bytes.len() as u64)), "a chunk of {} bytes", bytes.len());
            chunked.count += 1;
            self.zip.start_file(names::chunk_entry(&entry.name, entry.len), chunk_options(chunked.method))
        });
        entry.len += bytes.len() as u64;
        assert!(entry.len <= len_max, "an entry of {} bytes was to have at most {len_max}", entry.len);
        entry.crc32c = checksum::extend(entry.crc32c, bytes);
        self.outcome(started.unwrap_or(Ok(())))?;
        let written = self.zip.write_all(bytes);
        self.outcome(written.map_err(Into::into))
    }

    /// As `write`, of an entry that is stored: `bytes` are those of `source` from `from` on, whose room they may share.
    ///
    /// # Errors
    /// As `start`.
    pub(crate) fn write_from(&mut self, bytes: &[u8], source: &Arc<dyn File>, from: u64) -> Result<()> {
        self.given_up.0.follow(Some((Arc::clone(source), from)));
        let written = self.write(bytes);
        self.given_up.0.follow(None);
        written
    }

    /// Ends the entry, and gives what the manifest says of it.
    pub(crate) fn end(&mut self) -> ManifestEntry {
        self.open.take().expect("an entry starts before it ends");
        self.entries.last().expect("it was pushed when it started").clone()
    }

    /// Writes the manifest, of just the entries that were written, and the directory, and makes the file durable, but not its
    /// name.
    ///
    /// # Errors
    /// As `start`, for a sync that fails, too; `TooLarge` if the manifest is.
    pub(crate) fn finish(mut self, manifest: &Manifest) -> Result<()> {
        assert!(
            self.open.is_none() && self.entries == manifest.entries,
            "a manifest names the entries that were written"
        );
        let bytes = manifest.encode();
        if bytes.len() > MANIFEST_LEN_MAX {
            let what =
                format!("the manifest of {} would have {} bytes, {MANIFEST_LEN_MAX} at most", self.path, bytes.len());
            return Err(Error::new(ErrorKind::TooLarge, what));
        }
        let started = self.zip.start_file(MANIFEST, options(bytes.len() as u64));
        self.outcome(started)?;
        let written = self.zip.write_all(&bytes);
        self.outcome(written.map_err(Into::into))?;
        let Writer { given_up, zip, file, path, .. } = self;
        let finished = zip.finish().and_then(|mut cursor| Ok(cursor.flush()?));
        outcome(&given_up.0, &path, finished)?;
        // BARRIER: every byte of the archive reaches the device before anyone gives it its final name, and so before
        // anything that it replaces goes.
        file.sync().map_err(|error| Error::io(format!("cannot sync {path}"), error))
    }

    fn outcome<T>(&self, result: ZipResult<T>) -> Result<T> {
        outcome(&self.given_up.0, &self.path, result)
    }
}

/// What became of the last calls: the system's own error first, for `zip` knows of none.
fn outcome<T>(cursor: &Cursor, path: &str, result: ZipResult<T>) -> Result<T> {
    if let Some(failure) = cursor.take_failure() {
        return Err(Error::io(format!("cannot write {path}"), failure));
    }
    if !cursor.is_alive() {
        return Err(Error::new(ErrorKind::Io, format!("cannot write {path}: an earlier write failed")));
    }
    result.map_err(|error| {
        cursor.give_up();
        Error::new(ErrorKind::Invalid, format!("cannot write {path}: {error}"))
    })
}

/// Those of an entry of up to `len_max` bytes.
pub(super) fn options(len_max: u64) -> SimpleFileOptions {
    common_options(CompressionMethod::Stored).with_alignment(ENTRY_ALIGN as u16).large_file(needs_zip64(len_max))
}

/// Those of a chunk.
pub(super) fn chunk_options(method: Compression) -> SimpleFileOptions {
    common_options(match method {
        Compression::None => CompressionMethod::Stored,
        Compression::Deflate => CompressionMethod::DEFLATE,
        Compression::Zstd => CompressionMethod::ZSTD,
    })
}

fn common_options(method: CompressionMethod) -> SimpleFileOptions {
    SimpleFileOptions::default()
        .compression_method(method)
        .last_modified_time(DateTime::default())
        .system(System::Unix)
        .unix_permissions(MODE)
}
