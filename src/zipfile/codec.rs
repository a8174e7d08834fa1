//! Unpacking a chunk: by the crates that pack it for `zip`.
//!
//! Floor 2. Imports `format`.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use crate::format::compression::Compression;

/// Unpacks `packed` into `len` bytes. No more memory is taken than a little beyond what comes out, whatever is said.
///
/// # Errors
/// What is wrong, if it is not exactly that many bytes, and nothing behind.
pub(super) fn unpack(method: Compression, packed: &[u8], len: usize) -> Result<Vec<u8>, String> {
    let (bytes, left) = match method {
        Compression::None => (packed.to_vec(), 0),
        Compression::Deflate => inflate(packed, len)?,
        Compression::Zstd => zstd(packed, len)?,
    };
    if bytes.len() != len || left > 0 {
        let (found, more) = (bytes.len(), if bytes.len() > len { " or more" } else { "" });
        return Err(format!("it unpacks to {found}{more} bytes with {left} left over, not to {len}"));
    }
    Ok(bytes)
}

/// What comes out, one byte too many at most, and how many bytes were not looked at.
#[cfg(feature = "deflate")]
fn inflate(packed: &[u8], len: usize) -> Result<(Vec<u8>, usize), String> {
    use flate2::{Decompress, FlushDecompress, Status};

    /// Bytes that the output grows by.
    const STEP: usize = 64 << 10;

    let (mut inflate, mut bytes, mut rest) = (Decompress::new(false), Vec::new(), packed);
    loop {
        if bytes.len() == bytes.capacity() {
            let room = len.saturating_add(1).saturating_sub(bytes.len()).min(STEP);
            if room == 0 {
                return Ok((bytes, rest.len()));
            }
            bytes.reserve_exact(room);
        }
        let before = (inflate.total_in(), inflate.total_out());
        let status = inflate.decompress_vec(rest, &mut bytes, FlushDecompress::None);
        let status = status.map_err(|error| format!("it cannot be unpacked: {error}"))?;
        let taken = inflate.total_in().saturating_sub(before.0);
        rest = rest.get(taken as usize..).unwrap_or_default();
        if status == Status::StreamEnd {
            return Ok((bytes, rest.len()));
        }
        if before == (inflate.total_in(), inflate.total_out()) {
            return Err(format!("it is cut short: {} bytes come out of it", bytes.len()));
        }
    }
}

#[cfg(feature = "zstd")]
fn zstd(packed: &[u8], len: usize) -> Result<(Vec<u8>, usize), String> {
    use std::io::Read as _;

    /// The longest distance back: 2 MiB, which is what the default level packs with. Memory is taken for it.
    const WINDOW_LOG_MAX: u32 = 21;

    let unpacked = zstd::stream::read::Decoder::with_buffer(packed).and_then(|decoder| {
        let (mut decoder, mut bytes) = (decoder.single_frame(), Vec::new());
        decoder.window_log_max(WINDOW_LOG_MAX)?;
        decoder.by_ref().take((len as u64).saturating_add(1)).read_to_end(&mut bytes)?;
        Ok((bytes, decoder.finish().len()))
    });
    unpacked.map_err(|error| format!("it cannot be unpacked: {error}"))
}

#[cfg(not(feature = "deflate"))]
fn inflate(_packed: &[u8], _len: usize) -> Result<(Vec<u8>, usize), String> {
    Err("this program was built without the feature `deflate`".to_owned())
}

#[cfg(not(feature = "zstd"))]
fn zstd(_packed: &[u8], _len: usize) -> Result<(Vec<u8>, usize), String> {
    Err("this program was built without the feature `zstd`".to_owned())
}
