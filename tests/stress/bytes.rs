//! Bytes that follow from a number, so that nobody has to keep them to know them.

/// A number that has nothing to see of these two.
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let mut mixed = a.rotate_left(29) ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for _ in 0..2 {
        mixed = (mixed ^ mixed >> 31).wrapping_mul(0xd6e8_feb8_6659_fd93);
    }
    mixed ^ mixed >> 32
}

/// `len` bytes that follow from `source`.
pub(crate) fn from(source: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len.next_multiple_of(8));
    for word in 0..len.div_ceil(8) {
        bytes.extend(mix(source, word as u64).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Whether these are the bytes, as many as they are, that follow from `source`.
pub(crate) fn follow(bytes: &[u8], source: u64) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    let expected = |word: usize| mix(source, word as u64).to_le_bytes();
    words.iter().enumerate().all(|(i, word)| *word == expected(i)) && *rest == expected(words.len())[..rest.len()]
}
