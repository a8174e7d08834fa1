//! Checking every byte of an archive.
//!
//! Floor 2. Imports `error`, `format`, `platform`, `zipfile`.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use crate::error::Result;
use crate::format::checksum;
use crate::format::manifest::ManifestEntry;
use crate::platform::File;
use crate::zipfile::chunked::Chunks;
use crate::zipfile::input::Input;
use crate::zipfile::read::{Contents, Data};

/// Bytes read at a time.
const WINDOW_LEN: usize = 256 << 10;

impl Contents {
    /// Reads the whole archive from the device, against what was read of it before and all its checksums. Gives what is wrong
    /// with the data of its entries: the offset where those begin, and what.
    ///
    /// # Errors
    /// `Corruption` if what is around the data is wrong, and as the system says.
    pub(crate) fn verify(&self, file: &dyn File, path: &str) -> Result<Vec<(u64, String)>> {
        let input = Input::device(file, path);
        if Contents::parse(&input)? != *self {
            return Err(input.damaged(0, "the device holds another archive than was read"));
        }
        let mut wrong = Vec::new();
        for (entry, data) in self.manifest.entries.iter().zip(&self.data) {
            match data {
                Data::Stored(crc32) => verify_stored(&input, entry, *crc32, &mut wrong)?,
                Data::Chunked(chunks) => verify_chunks(&input, entry, chunks, &mut wrong)?,
            }
        }
        Ok(wrong)
    }
}

fn verify_stored(input: &Input<'_>, entry: &ManifestEntry, said: u32, wrong: &mut Vec<(u64, String)>) -> Result<()> {
    let mut window = vec![0; WINDOW_LEN];
    let (mut crc32, mut crc32c) = (crc32fast::Hasher::new(), 0);
    let (mut at, mut left) = (entry.offset, entry.len);
    while left > 0 {
        let len = usize::try_from(left).map_or(WINDOW_LEN, |left| left.min(WINDOW_LEN));
        let piece = window.get_mut(..len).unwrap_or_default();
        input.fill(piece, at)?;
        crc32.update(piece);
        crc32c = checksum::extend(crc32c, piece);
        (at, left) = (at.saturating_add(len as u64), left.saturating_sub(len as u64));
    }
    let crc32 = crc32.finalize();
    if (crc32, crc32c) != (said, entry.crc32c) {
        let what = format!(
            "\"{}\" has crc32 {crc32:#010x} and crc32c {crc32c:#010x}, the archive says {said:#010x} and {:#010x}",
            entry.name, entry.crc32c
        );
        wrong.push((entry.offset, what));
    }
    Ok(())
}

/// Each chunk by itself, and all of them together if each is right.
fn verify_chunks(
    input: &Input<'_>,
    entry: &ManifestEntry,
    chunks: &Chunks,
    wrong: &mut Vec<(u64, String)>,
) -> Result<()> {
    let (mut crc32c, before) = (0, wrong.len());
    for chunk in &chunks.list {
        let packed = input.bytes(chunk.packed_len as usize, chunk.start)?;
        match chunk.open(chunks.method, &packed) {
            Ok(bytes) => crc32c = checksum::extend(crc32c, &bytes),
            Err(what) => {
                wrong
                    .push((chunk.start, format!("the chunk of \"{}\" at {} is damaged: {what}", entry.name, chunk.at)));
            }
        }
    }
    if wrong.len() == before && crc32c != entry.crc32c {
        let what = format!("\"{}\" has crc32c {crc32c:#010x}, the archive says {:#010x}", entry.name, entry.crc32c);
        wrong.push((entry.offset, what));
    }
    Ok(())
}
