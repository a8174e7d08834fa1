//! Fields one after the other, and blocks of them: a magic number, fields, zeros, a crc in the last four bytes.
//!
//! Floor 1. Imports `format`.
//!
//! Magic and crc of a block keep their places in every version of the format, so that damage is never mistaken for a
//! newer version.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use crate::format::checksum;
use crate::format::record::Flaw;

/// Bytes of a block's magic number.
const MAGIC_LEN: usize = 8;

/// A block of `N` bytes being written.
pub(crate) struct Block<const N: usize> {
    fields: Vec<u8>,
}

impl<const N: usize> Block<N> {
    pub(crate) fn new(magic: &[u8; MAGIC_LEN]) -> Block<N> {
        let mut fields = Vec::with_capacity(N);
        fields.extend_from_slice(magic);
        Block { fields }
    }

    /// Appends a field.
    pub(crate) fn put(mut self, field: &[u8]) -> Self {
        self.fields.extend_from_slice(field);
        self
    }

    /// Fills up with zeros and adds the crc: of what `seed` was computed of, and of all bytes of the block before it.
    pub(crate) fn finish(mut self, seed: u32) -> [u8; N] {
        const { assert!(N >= MAGIC_LEN + size_of::<u32>()) };
        let body = N.saturating_sub(size_of::<u32>());
        assert!(self.fields.len() <= body, "the fields of a block do not fit it");
        self.fields.resize(body, 0);
        let crc = checksum::extend(seed, &self.fields);
        self.fields.extend_from_slice(&crc.to_le_bytes());
        self.fields.try_into().expect("it was filled up to its length")
    }
}

/// Checks length, magic number and crc of the block of `N` bytes at the start of `bytes`, and gives its fields.
pub(crate) fn open<'a, const N: usize>(
    bytes: &'a [u8],
    magic: &[u8; MAGIC_LEN],
    seed: u32,
) -> Result<Fields<'a>, Flaw> {
    let Some(block) = bytes.first_chunk::<N>() else {
        return Err(Flaw::Damaged(format!("only {} of {N} bytes are there", bytes.len())));
    };
    if block.iter().all(|byte| *byte == 0) {
        return Err(Flaw::NeverWritten);
    }
    let Some((body, crc)) = block.split_last_chunk() else {
        return Err(Flaw::Damaged(format!("{N} bytes are no block")));
    };
    let Some((found, fields)) = body.split_first_chunk().filter(|(found, _)| *found == magic) else {
        let magic = magic.escape_ascii();
        return Err(Flaw::Damaged(format!("it does not begin with \"{magic}\"")));
    };
    let (crc, computed) = (u32::from_le_bytes(*crc), checksum::extend(seed, body));
    if crc != computed {
        return Err(Flaw::Damaged(format!("its crc is {crc:#010x}, its bytes have {computed:#010x}")));
    }
    Ok(Fields { rest: fields, offset: found.len() })
}

/// What is left to read of a row of fields.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    /// Of `rest`, in the whole; for messages.
    offset: usize,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Fields<'a> {
        Fields { rest: bytes, offset: 0 }
    }

    /// The next `len` bytes.
    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Flaw> {
        let Some((field, rest)) = self.rest.split_at_checked(len) else {
            return Err(Flaw::Damaged(format!(
                "a field of {len} bytes at its offset {} is cut short after {}",
                self.offset,
                self.rest.len()
            )));
        };
        self.rest = rest;
        self.offset = self.offset.saturating_add(len);
        Ok(field)
    }

    pub(crate) fn array<const M: usize>(&mut self) -> Result<[u8; M], Flaw> {
        let mut field = [0; M];
        field.copy_from_slice(self.bytes(M)?);
        Ok(field)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Flaw> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Flaw> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Flaw> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Flaw> {
        self.array().map(u64::from_le_bytes)
    }

    /// The next `len` bytes are reserved: zero, or the whole is refused.
    pub(crate) fn reserved(&mut self, len: usize) -> Result<(), Flaw> {
        let offset = self.offset;
        match self.bytes(len)?.iter().find(|byte| **byte != 0) {
            None => Ok(()),
            Some(byte) => Err(Flaw::Damaged(format!(
                "the {len} reserved bytes at its offset {offset} hold {byte:#04x}, not zeros"
            ))),
        }
    }

    /// Nothing is left but zeros.
    pub(crate) fn only_zeros_left(mut self) -> Result<(), Flaw> {
        self.reserved(self.rest.len())
    }

    /// All that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Nothing is left.
    pub(crate) fn nothing_left(self) -> Result<(), Flaw> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(Flaw::Damaged(format!(
            "{} bytes too many follow its last field at its offset {}",
            self.rest.len(),
            self.offset
        )))
    }
}
