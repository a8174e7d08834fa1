//! What the files take of the disk after a load.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tempfile::TempDir;

use crate::common::data::{Key, VALUE_LEN};
use crate::engines::KINDS;
use crate::load::load;
use crate::options::Options;

/// Bytes of files.
#[derive(Default)]
struct Space {
    /// As `ls` shows them.
    apparent: u64,
    /// As `du` counts them.
    allocated: u64,
}

impl Space {
    /// That of all files under `dir`.
    fn of(dir: &Path) -> Space {
        let mut space = Space::default();
        for entry in std::fs::read_dir(dir).expect("the directory is ours") {
            let entry = entry.expect("the directory is ours");
            // An engine's own thread may just have removed it.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                let within = Space::of(&entry.path());
                space.apparent += within.apparent;
                space.allocated += within.allocated;
            } else {
                space.apparent += metadata.len();
                space.allocated += 512 * metadata.blocks();
            }
        }
        space
    }
}

/// Prints a table: bytes of files by bytes of keys and values, while the store is open and after it was closed.
pub(crate) fn print(options: &Options, dir: &Path) {
    let bytes: u64 = (0..options.keys).map(|id| (Key::new(id).as_bytes().len() + VALUE_LEN) as u64).sum();
    let by_bytes = |it: u64| it as f64 / bytes as f64;
    println!();
    println!(
        "| files after a load, by bytes of keys and values | open: `ls` | open: `du` | closed: `ls` | closed: `du` |"
    );
    println!("|---|--:|--:|--:|--:|");
    let mut stats = None;
    for kind in KINDS.iter().filter(|kind| options.wants_engine(kind.name)) {
        let dir = TempDir::new_in(dir).expect("the directory is ours");
        let mut engine = (kind.open)(dir.path(), bytes);
        load(&mut *engine, options.keys, VALUE_LEN);
        stats = stats.or(engine.stats());
        let open = Space::of(dir.path());
        drop(engine);
        let closed = Space::of(dir.path());
        // A map keeps nothing.
        if closed.apparent > 0 {
            let [a, b, c, d] = [open.apparent, open.allocated, closed.apparent, closed.allocated].map(by_bytes);
            println!("| {} | {a:.2} | {b:.2} | {c:.2} | {d:.2} |", kind.name);
        }
    }
    println!();
    println!(
        "{} keys, {bytes} bytes of keys and values, loaded in batches of 1,000, one sync at the end.",
        options.keys
    );
    if let Some(stats) = stats {
        let records: u64 = stats.segments.iter().map(|segment| segment.used_bytes).sum();
        println!(
            "As `stats()` of zipcask says it while open: the records in its log are {:.3} of these bytes, and what is \
             preallocated is {:.3}.",
            by_bytes(records),
            by_bytes(stats.preallocated_bytes),
        );
    }
}
