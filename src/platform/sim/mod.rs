//! A simulated disk: what a power cut may leave of it, and faults on demand.
//!
//! Floor 1. Imports nothing.
//!
//! A crash test lets the store run on a `SimDisk` that records, notes `position` when something is acknowledged, and
//! then opens the store on every image that a power cut at each position may leave. An image is a `SimDisk` again, so
//! recovery can be cut too. Everything follows from seeds: same seed, same images in the same order.

pub(crate) mod crash;
pub(crate) mod disk;
pub(crate) mod fault;
pub(crate) mod file;
mod medium;
#[cfg(test)]
mod tests;

/// A stream of pseudo-random numbers that its seed fixes (splitmix64, Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is above zero. Its bias is of no account for ends far below 2^64.
    pub fn below(&mut self, end: usize) -> usize {
        assert!(end > 0, "there is no number below zero");
        usize::try_from(self.next_u64() % end as u64).expect("it is below a usize")
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&self.next_u64().to_le_bytes()[..part.len()]);
        }
    }
}
