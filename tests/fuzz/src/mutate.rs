//! Changes to inputs, for the plain runner: what a fuzzer without sight of the code can do.

use zipcask::sim::Random;

use crate::INPUT_LEN_MAX;

/// A number that a bound might have forgotten.
fn edge(random: &mut Random) -> u64 {
    let shift = random.below(64) as u32;
    match random.below(7) {
        0 => 0,
        1 => u64::MAX,
        2 => 1 << shift,
        3 => (1 << shift) - 1,
        4 => random.next_u64() % 70_000 / 8 * 8,
        5 => random.next_u64() % 300,
        _ => random.next_u64(),
    }
}

/// Changes `input` in a few places; `other` is one to take parts from.
pub fn mutate(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(4) {
        if input.is_empty() {
            input.extend_from_slice(other);
            input.push(random.next_u64() as u8);
        }
        let at = random.below(input.len());
        let len = 1 + random.below(64.min(input.len() - at).max(1));
        match random.below(9) {
            0 => input[at] ^= 1 << random.below(8),
            1 => input[at] = random.next_u64() as u8,
            2 | 3 => {
                let bytes = edge(random).to_le_bytes();
                let width = [1, 2, 4, 8][random.below(4)].min(input.len() - at);
                input[at..at + width].copy_from_slice(&bytes[..width]);
            }
            4 => drop(input.drain(at..at + len)),
            5 => {
                let copy = input[at..at + len].to_vec();
                let to = random.below(input.len() + 1);
                input.splice(to..to, copy);
            }
            6 => {
                let to = random.below(input.len() + 1 - len);
                input.copy_within(at..at + len, to);
            }
            7 if !other.is_empty() => {
                let from = random.below(other.len());
                let end = from + 1 + random.below((other.len() - from).min(400));
                input.splice(at..at + len, other[from..end].iter().copied());
            }
            _ => {
                let by = random.below(33) as u8;
                input[at] = input[at].wrapping_add(by).wrapping_sub(16);
            }
        }
    }
    input.truncate(INPUT_LEN_MAX);
}
