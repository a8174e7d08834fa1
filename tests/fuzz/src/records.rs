//! A walk over the records of a segment's bytes.

use zipcask::sim::fuzz;

use crate::{fix, memory, sparse};

pub fn target(data: &[u8]) -> u64 {
    let Some((what, bytes)) = data.split_first() else { return 0 };
    let mut segment = sparse::open(bytes);
    fix::segment(&mut segment, *what & !fix::OWNER, None);
    memory::bounded(memory::fair(segment.len()), || fuzz::records(&segment))
}
