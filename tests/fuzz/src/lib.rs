//! The fuzz targets of zipcask, for libFuzzer and for the plain runner beside it.
//!
//! A target takes any bytes, and panics where a rule is broken. Most are given a file in `sparse` form and begin with a byte that
//! says which checksums are made right (`fix`), so that what is changed gets behind them.

pub mod archive;
pub mod base;
pub mod checkpoint;
pub mod decode;
pub mod fix;
pub mod hint;
pub mod history;
pub mod memory;
pub mod mutate;
pub mod records;
pub mod segment;
pub mod sparse;

/// What a target does with its input: the number says how much of it was accepted.
pub type Target = fn(&[u8]) -> u64;

/// All of them, by name.
pub const TARGETS: [(&str, Target); 7] = [
    ("decode", decode::target),
    ("records", records::target),
    ("hint", hint::target),
    ("checkpoint", checkpoint::target),
    ("segment", segment::target),
    ("archive", archive::target),
    ("history", history::target),
];

/// Longest input that is looked at.
pub const INPUT_LEN_MAX: usize = 16 << 10;

/// Runs a target once.
pub fn run(target: Target, data: &[u8]) {
    if data.len() <= INPUT_LEN_MAX {
        target(data);
    }
}

/// The number at the start of `bytes`.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

/// The same of eight bytes.
pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

/// Puts `new` where it fits.
pub fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
    if let Some(there) = at.checked_add(new.len()).and_then(|end| bytes.get_mut(at..end)) {
        there.copy_from_slice(new);
    }
}
