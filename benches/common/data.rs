//! Keys of 16 to 24 bytes and values of 100, both functions of an id, so that every answer can be checked, and cheaply.

/// Bytes of a value: id, version, nine words of filling, one that brings the sum of all words to `SUM`, a short check.
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

impl AsRef<[u8]> for Key {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
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
fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[8 * at..8 * at + 8].try_into().expect("eight bytes"))
}

#[inline]
fn filling(id: u64, version: u64, at: u64) -> u64 {
    (id ^ version.rotate_left(32)).wrapping_add(at).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// What the twelve words of a value come to.
const SUM: u64 = 0x2545_f491_4f6c_dd1d;

/// The value of `id` in its `version`th writing.
#[inline]
pub(crate) fn value(id: u64, version: u64) -> [u8; VALUE_LEN] {
    let mut bytes = [0; VALUE_LEN];
    let mut words = [0; 12];
    words[..2].copy_from_slice(&[id, version]);
    for (at, word) in (0..).zip(&mut words[2..11]) {
        *word = filling(id, version, at);
    }
    words[11] = words[..11].iter().fold(SUM, |sum, word| sum ^ word);
    for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    bytes[96..].copy_from_slice(&(id as u32 ^ version as u32).to_le_bytes());
    bytes
}

/// 0 for a value as `value` makes them, whoever's it is. Every byte takes part, at the price of a few vector operations.
#[inline]
fn flaws(found: &[u8]) -> u64 {
    let sum = (0..12).fold(SUM, |sum, at| sum ^ word(found, at));
    let tail = u32::from_le_bytes(found[96..VALUE_LEN].try_into().expect("four bytes"));
    sum | u64::from(tail ^ word(found, 0) as u32 ^ word(found, 1) as u32)
}

/// Checks a value of `id`: length, id, and the sum that all its bytes come to. Returns its version.
///
/// # Panics
/// If it is not one.
#[inline]
pub(crate) fn check(id: u64, found: &[u8]) -> u64 {
    assert_eq!(found.len(), VALUE_LEN, "a value of key {id} has another length");
    assert_eq!(flaws(found) | (word(found, 0) ^ id), 0, "the value of key {id} is not one that was written");
    word(found, 1)
}
