//! The table.

use std::path::Path;

use crate::common::figures::Figures;
use crate::engines::KINDS;
use crate::options::Options;
use crate::plan::keys_of;
use crate::rounds::Row;

/// Prints the rows, and what they mean below them.
pub(crate) fn print(options: &Options, dir: &Path, rows: &[Row]) {
    println!("| work | engine | ns/op | p5 .. p95 | speed / floor | p5 .. p95 | zipcask is |");
    println!("|---|---|--:|---|--:|---|--:|");
    let mut last = "";
    for row in rows {
        let work = if row.work == last { "" } else { row.work };
        last = row.work;
        let ns = Figures::of(&row.ns);
        let spread = format!("{:.0} .. {:.0}", ns.p5, ns.p95);
        let (floor, floor_spread) = match ratios(&row.floor_ns, &row.ns) {
            Some(it) => (format!("{:.2}", it.median), format!("{:.2} .. {:.2}", it.p5, it.p95)),
            None => (String::new(), String::new()),
        };
        let zipcask = match ratios(&row.ns, &row.zipcask_ns) {
            Some(it) => format!("{:.2}x", it.median),
            None => String::new(),
        };
        println!("| {work} | {} | {:.0} | {spread} | {floor} | {floor_spread} | {zipcask} |", row.engine, ns.median);
    }
    println!();
    legend(options, dir);
    println!();
    for kind in KINDS.iter().filter(|kind| options.wants_engine(kind.name)) {
        println!("- {}: {}", kind.name, kind.about);
    }
    println!(
        "- two bare misses: a word of an array as large as the index of zipcask names the place of a record in a mapped file \
         as large as its log, the first word of the record names the next word of the array, in random order: two loads a \
         step, each address read by the load before; no key, no hash, no comparison, one cache line of each record"
    );
    println!(
        "- bare: records of 16 + key + value bytes; fdatasync on a file of 64 MiB that was written before; load: a new file"
    );
}

fn legend(options: &Options, dir: &Path) {
    println!(
        "{} keys of 16 to 24 bytes, values of 100 bytes ({} of 4 KiB, {} of 64 KiB), seed {}, {} rounds at most, all \
         engines in turns, in another order each round, medians. ns/op: all threads together. speed / floor: 1.00 is as fast \
         as the floor in the same round, more is faster; the floor of reads is HashMap, of YCSB DashMap, of writes the bare \
         file, of dependent gets two bare misses. zipcask is: so many times as fast as this engine; its Reader, where there \
         is that row. {} cores, {}, everything in the page cache. A single write to the OS \
         that returned survives a killed process, where the engine's line below does not say that it is lost with it. A \
         read-modify-write is one operation.",
        options.keys,
        keys_of(4 << 10, options.keys),
        keys_of(64 << 10, options.keys),
        options.seed,
        options.rounds,
        std::thread::available_parallelism().map_or(0, usize::from),
        file_system(dir),
    );
    println!();
    println!(
        "Every answer is checked, by the same code for all: a value of 100 bytes by its length, its id and a sum to which all \
         its bytes must come; a large one by its length, its first 8 and its last 8 bytes; a full pass also by the first 8 \
         bytes of each key and by sums over ids and lengths of keys. Keys are made before the clock starts, but for \
         dependent gets: there each is made from the id in the value just read. A turn of gets begins with as many others, \
         not timed, that warm the caches. A page of each value was touched before."
    );
}

/// One by the other, round by round.
fn ratios(above: &[f64], below: &[f64]) -> Option<Figures> {
    let ratios: Vec<_> = above.iter().zip(below).map(|(above, below)| above / below).collect();
    (!ratios.is_empty()).then(|| Figures::of(&ratios))
}

/// Where the files are, as the system says it.
fn file_system(dir: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
    let here = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (place, kind) = (words.next()?, words.next()?);
        dir.starts_with(place).then_some((place.len(), kind))
    });
    here.max().map_or_else(|| "unknown file system".to_owned(), |(_, kind)| format!("file system {kind}"))
}
