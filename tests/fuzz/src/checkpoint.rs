//! A store with a written index that was changed.

use crate::base::{self, Facts, bases};
use crate::{fix, memory, sparse};

/// Its name.
pub const NAME: &str = "checkpoint/index";

pub fn target(data: &[u8]) -> u64 {
    let Some((what, bytes)) = data.split_first() else { return 0 };
    let mut index = sparse::open(bytes);
    if *what != 0 {
        fix::checkpoint(&mut index);
    }
    let mut files = bases().indexed.clone();
    let written = base::written(&files);
    let taken = memory::bounded(memory::fair(index.len()), || zipcask::sim::fuzz::checkpoint(&index));
    files.insert(NAME.to_owned(), index);
    let disk = base::disk(&files);
    memory::bounded(memory::STORE, || base::look(&disk, Facts { written: Some(&written), index_made_up: true }));
    taken
}
