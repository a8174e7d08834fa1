//! The table.

use std::path::Path;

use crate::engines::KINDS;
use crate::figures::Figures;
use crate::options::Options;
use crate::works::Row;

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
            Some(it) if row.engine != "zipcask" => format!("{:.2}x", it.median),
            _ => String::new(),
        };
        println!("| {work} | {} | {:.0} | {spread} | {floor} | {floor_spread} | {zipcask} |", row.engine, ns.median);
    }
    println!();
    println!(
        "{} keys of 16 to 24 bytes, values of 100 bytes, seed {}, {} rounds at most, all engines in turns, medians; every \
         answer is checked. ns/op: all threads together. speed / floor: 1.00 is as fast as the floor in the same round, more \
         is faster; the floor is HashMap for one thread, DashMap for two, the bare file for writes. zipcask is: so many times \
         as fast as this engine. {} cores, {}.",
        options.keys,
        options.seed,
        options.rounds,
        std::thread::available_parallelism().map_or(0, usize::from),
        file_system(dir),
    );
    println!();
    for kind in KINDS.iter().filter(|kind| options.wants(kind.name)) {
        println!("- {}: {}", kind.name, kind.about);
    }
    println!(
        "- bare: records of 16 + key + value bytes; fdatasync on a file of 64 MiB that was written before; load: a new file"
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
