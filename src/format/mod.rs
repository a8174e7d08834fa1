//! The bytes on disk: pure encoding and decoding, no I/O. `FORMAT.md` beside this file is the specification.
//!
//! Floor 1. Imports nothing.

#[cfg_attr(not(test), allow(dead_code, reason = "part of the format; the engine has one keyspace so far"))]
pub(crate) mod catalogue;
pub(crate) mod checkpoint;
pub(crate) mod checksum;
pub(crate) mod compression;
mod fields;
pub(crate) mod hint;
pub(crate) mod hint_build;
pub(crate) mod hint_header;
pub(crate) mod identity;
pub(crate) mod large;
pub(crate) mod manifest;
#[cfg(test)]
mod manifest_tests;
pub(crate) mod names;
pub(crate) mod record;
pub(crate) mod segment;
mod varint;

/// The version of the format that this code writes, and the newest that it reads.
pub(crate) const VERSION: u32 = 1;

/// How property tests run: always the same `count` cases, and a failure prints its smallest input.
#[cfg(test)]
fn cases(count: u32) -> proptest::test_runner::Config {
    proptest::test_runner::Config {
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(0x021b_ca5c),
        ..proptest::test_runner::Config::with_cases(count)
    }
}

/// The bytes that the hexadecimal digits in `text` say.
#[cfg(test)]
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// Changes of up to three bytes, small ones and any.
#[cfg(test)]
fn edits() -> impl proptest::strategy::Strategy<Value = Vec<(proptest::sample::Index, u8)>> {
    use proptest::prelude::{any, prop, prop_oneof};
    use proptest::strategy::Strategy as _;
    let change = prop_oneof![(0..8_u32).prop_map(|bit| 1 << bit), any::<u8>()];
    prop::collection::vec((any::<proptest::sample::Index>(), change), 0..=3)
}

/// Makes `edits` in `bytes`.
#[cfg(test)]
fn edit(bytes: &mut [u8], edits: &[(proptest::sample::Index, u8)]) {
    for (index, change) in edits {
        bytes[index.index(bytes.len())] ^= change;
    }
}
