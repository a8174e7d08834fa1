//! Keys of 16 to 24 bytes and values of 100, both functions of an id, so that every answer can be checked in full.

/// Bytes of a value: id, version, eighty of filling and a check of all.
pub(crate) const VALUE_LEN: usize = 100;

/// A key with the id that it was made from.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    pub(crate) id: u64,
    len: u8,
    bytes: [u8; 24],
}

impl Key {
    pub(crate) fn new(id: u64) -> Key {
        let words = [mix(id), mix(id ^ 0x5bd1_e995), mix(id ^ 0x1b87_3593)];
        let mut bytes = [0; 24];
        for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        Key { id, len: 16 + (words[2] % 9) as u8, bytes }
    }

    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// A bijection that scatters (the finalizer of splitmix64): equal words come of equal ids only.
#[inline]
pub(crate) fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[inline]
fn filling(id: u64, version: u64, at: u64) -> u64 {
    (id ^ version.rotate_left(32)).wrapping_add(at).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The value of `id` in its `version`th writing.
#[inline]
pub(crate) fn value(id: u64, version: u64) -> [u8; VALUE_LEN] {
    let mut bytes = [0; VALUE_LEN];
    bytes[..8].copy_from_slice(&id.to_le_bytes());
    bytes[8..16].copy_from_slice(&version.to_le_bytes());
    for (at, to) in (0..).zip(bytes[16..96].chunks_exact_mut(8)) {
        to.copy_from_slice(&filling(id, version, at).to_le_bytes());
    }
    bytes[96..].copy_from_slice(&(id as u32 ^ version as u32).to_le_bytes());
    bytes
}

/// Checks every byte of a value of `id`, and returns its version.
///
/// # Panics
/// If it is not one.
#[inline]
pub(crate) fn check(id: u64, found: &[u8]) -> u64 {
    assert_eq!(found.len(), VALUE_LEN, "a value of key {id} has another length");
    let word = |at: usize| u64::from_le_bytes(found[at..at + 8].try_into().expect("eight bytes"));
    let version = word(8);
    let mut wrong = word(0) ^ id;
    for at in 0..10 {
        wrong |= word(16 + 8 * at) ^ filling(id, version, at as u64);
    }
    wrong |= u64::from(found[96..] != (id as u32 ^ version as u32).to_le_bytes());
    assert_eq!(wrong, 0, "the value of key {id} is not one that was written");
    version
}
