//! A hint: opened, walked, and searched for each of its records.

use zipcask::sim::fuzz;

use crate::{fix, memory};

pub fn target(data: &[u8]) -> u64 {
    let Some((what, bytes)) = data.split_first() else { return 0 };
    let mut bytes = bytes.to_vec();
    if *what != 0 {
        fix::hint(&mut bytes, *what & 2 != 0);
    }
    memory::bounded(memory::fair(bytes.len()), || fuzz::hint(&bytes))
}
