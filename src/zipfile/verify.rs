//! Checking every byte of an archive.
//!
//! Floor 2. Imports `error`, `format`, `platform`, `zipfile`.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use crate::error::Result;
use crate::format::checksum;
use crate::format::manifest::ManifestEntry;
use crate::platform::File;
use crate::zipfile::input::Input;
use crate::zipfile::read::Contents;

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
        for (entry, said) in self.manifest.entries.iter().zip(&self.crc32s) {
            let (crc32, crc32c) = checksums(&input, entry)?;
            if (crc32, crc32c) != (*said, entry.crc32c) {
                let what = format!(
                    "\"{}\" has crc32 {crc32:#010x} and crc32c {crc32c:#010x}, the archive says {said:#010x} and {:#010x}",
                    entry.name, entry.crc32c
                );
                wrong.push((entry.offset, what));
            }
        }
        Ok(wrong)
    }
}

fn checksums(input: &Input<'_>, entry: &ManifestEntry) -> Result<(u32, u32)> {
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
    Ok((crc32.finalize(), crc32c))
}
