//! Reading a file that may be damaged in any way: what cannot be read is zeros, and is noted.
//!
//! Floor 7. Imports `platform`, `sync`.

use crate::platform::File;
use crate::sync::Arc;

/// Bytes read at a time.
pub(super) const WINDOW_LEN: usize = 256 << 10;
/// What is tried alone where a longer piece cannot be read: no smaller than the sectors of usual devices.
const PIECE_LEN: usize = 4096;
/// Places that are told of.
const UNREAD_MAX: usize = 16;

/// A file that is read through a window.
pub(super) struct Bytes {
    file: Arc<dyn File>,
    /// Of the file, or of as much of it as is looked at.
    len: u64,
    window: Vec<u8>,
    start: u64,
    /// Where something could not be read, and why: the first few places.
    unread: Vec<(u64, String)>,
}

impl Bytes {
    /// No byte from `len` on is looked at.
    pub(super) fn new(file: &Arc<dyn File>, len: u64) -> Bytes {
        Bytes { file: Arc::clone(file), len, window: Vec::new(), start: 0, unread: Vec::new() }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Up to `len` bytes from `offset` on: fewer where the file ends, and no more than `WINDOW_LEN`.
    pub(super) fn at(&mut self, offset: u64, len: usize) -> &[u8] {
        let len = self.clip(offset, len.min(WINDOW_LEN));
        let inside = offset.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        let skip = match inside.filter(|skip| skip.saturating_add(len) <= self.window.len()) {
            Some(skip) => skip,
            None => {
                self.load(offset);
                0
            }
        };
        self.window.get(skip..skip.saturating_add(len)).unwrap_or_default()
    }

    /// An array of bytes at `offset`; zeros from where the file ends.
    pub(super) fn array<const N: usize>(&mut self, offset: u64) -> [u8; N] {
        let mut array = [0; N];
        let found = self.at(offset, N);
        if let Some(to) = array.get_mut(..found.len()) {
            to.copy_from_slice(found);
        }
        array
    }

    /// What could not be read so far.
    pub(super) fn take_unread(&mut self) -> Vec<(u64, String)> {
        std::mem::take(&mut self.unread)
    }

    fn clip(&self, offset: u64, len: usize) -> usize {
        usize::try_from(self.len.saturating_sub(offset)).map_or(len, |left| left.min(len))
    }

    fn load(&mut self, offset: u64) {
        let len = self.clip(offset, WINDOW_LEN);
        self.window.clear();
        self.window.resize(len, 0);
        self.start = offset;
        if fill(&*self.file, &mut self.window, offset).is_ok() {
            return;
        }
        let mut at = offset;
        for piece in self.window.chunks_mut(PIECE_LEN) {
            if let Err(why) = fill(&*self.file, piece, at) {
                piece.fill(0);
                if self.unread.len() < UNREAD_MAX {
                    self.unread.push((at, why));
                }
            }
            at = at.saturating_add(piece.len() as u64);
        }
    }
}

/// # Errors
/// Why not all of `bytes` can be read.
fn fill(file: &dyn File, bytes: &mut [u8], offset: u64) -> Result<(), String> {
    match file.read_at(bytes, offset) {
        Ok(count) if count == bytes.len() => Ok(()),
        Ok(_) => Err("the file ends here, and should not".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
