//! zipcask beside other embedded stores and beside maps in memory: one table, interleaved rounds, answers checked.

#[path = "../../common/bare.rs"]
mod bare;
#[path = "../../common/clock.rs"]
mod clock;
#[path = "../../common"]
mod common {
    pub(crate) mod data;
    pub(crate) mod figures;
}
mod engines;
mod index;
#[path = "../../common/large.rs"]
mod large;
mod load;
mod options;
mod order;
#[path = "../../common/ours.rs"]
mod ours;
mod plan;
#[path = "../../common/raw.rs"]
mod raw;
mod rounds;
mod runs;
mod space;
mod table;
mod turn;
#[path = "../../common/view.rs"]
mod view;
mod writes;

use options::{INDEX, Options, SPACE};

fn main() {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}\n{}", options::usage());
            std::process::exit(2);
        }
    };
    std::fs::create_dir_all(&options.dir).expect("the directory for the stores is made");
    let dir = tempfile::Builder::new().prefix("peers-").tempdir_in(&options.dir).expect("a directory of our own");
    let rows = rounds::run(&options, dir.path());
    if !rows.is_empty() {
        table::print(&options, dir.path(), &rows);
    }
    if options.wants_work(INDEX) {
        index::print(&options);
    }
    if options.wants_work(SPACE) {
        space::print(&options, dir.path());
    }
}
