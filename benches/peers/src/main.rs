//! zipcask beside other embedded stores and beside maps in memory: one table, interleaved rounds, answers checked.

#[path = "../../common/bare.rs"]
mod bare;
mod data;
mod engines;
#[path = "../../common/figures.rs"]
mod figures;
mod options;
mod table;
#[path = "../../common/data.rs"]
mod values;
mod works;

use options::Options;
use works::Bench;

fn main() {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}\n{}", options::USAGE);
            std::process::exit(2);
        }
    };
    let mut bench = Bench::new(&options);
    let rows = bench.run();
    table::print(&options, bench.dir(), &rows);
}
