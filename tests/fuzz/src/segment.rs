//! A store with one segment that was changed.

use crate::base::{self, Facts, bases};
use crate::{fix, memory, sparse};

/// In the second byte: the store was closed, not killed.
pub const CLOSED: u8 = 8;

pub fn target(data: &[u8]) -> u64 {
    let Some(([what, which], bytes)) = data.split_first_chunk() else { return 0 };
    let mut files = if which & CLOSED != 0 { bases().closed.clone() } else { bases().killed.clone() };
    let count = files.keys().filter(|name| name.starts_with("segments/")).count();
    let name = format!("segments/{:010}.seg", 1 + usize::from(which & 7) % count);
    let mut segment = sparse::open(bytes);
    fix::segment(&mut segment, *what, files.get(&name).map(Vec::as_slice));
    files.insert(name, segment);
    let written = base::written(&files);
    let disk = base::disk(&files);
    memory::bounded(memory::STORE, || base::look(&disk, Facts { written: Some(&written), index_made_up: false }))
}
