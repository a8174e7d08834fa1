//! Large values: an id at the start, its scattering at the end, and between them what nobody reads.

use crate::common::data::mix;

/// The value of `id`, in so many bytes.
pub(crate) fn value(id: u64, value_len: usize) -> Vec<u8> {
    let mut bytes = vec![id as u8; value_len];
    bytes[..8].copy_from_slice(&id.to_le_bytes());
    bytes[value_len - 8..].copy_from_slice(&mix(id).to_le_bytes());
    bytes
}

/// Checks the length, the first eight bytes and the last eight.
#[inline]
pub(crate) fn check(id: u64, value_len: usize, found: &[u8]) {
    assert_eq!(found.len(), value_len, "a value of key {id} has another length");
    let word = |at: usize| u64::from_le_bytes(found[at..at + 8].try_into().expect("eight bytes"));
    assert_eq!((word(0), word(value_len - 8)), (id, mix(id)), "the value of key {id} is not one that was written");
}
