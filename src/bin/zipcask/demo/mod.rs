//! `zipcask demo`: loads real files, is killed meanwhile, recovers, and shows what that gave.
//!
//! Floor 7. Imports nothing.

mod change;
mod check;
pub(crate) mod child;
mod input;
mod kill;
mod packed;
mod place;
mod plan;
mod rates;
mod table;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use zipcask::{Db, RecoveryReport};

use crate::demo::input::{Input, Record};
use crate::demo::kill::Killed;
use crate::demo::packed::Space;
use crate::demo::place::Place;
use crate::demo::plan::Plan;
use crate::demo::rates::Rates;
use crate::failure::Outcome;
use crate::opened;
use crate::out::Out;

/// Load real files, kill the loader midway, recover, check everything, measure
///
/// Without --input the files are the sources of crates in cargo's registry folder, which is there wherever cargo has
/// built something. At most 512 MiB are taken, of files up to 16 MiB, and held in memory twice.
#[derive(Args)]
pub(crate) struct Demo {
    /// A folder (key: relative path, value: content) or a JSON Lines file as `import` reads it
    #[arg(long, value_name = "FOLDER|FILE")]
    input: Option<PathBuf>,
    /// Of a JSON Lines file: store whole lines, of any objects, under the text or number in this field
    #[arg(long, value_name = "FIELD", requires = "input")]
    key: Option<String>,
    /// Where to keep the store: a new or empty folder, or one of an earlier demo [default: a new temporary folder]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

/// What the store must hold: an ordinary map, which is also what it is measured beside.
type Expected = HashMap<Vec<u8>, Vec<u8>>;

/// What the table says.
struct Figures {
    records: u64,
    bytes: u64,
    killed: Killed,
    recovery: RecoveryReport,
    recovery_time: Duration,
    /// The part of the load in this process.
    load: Rates,
    overwritten: usize,
    deleted: usize,
    reopen_time: Duration,
    space: Space,
    /// Reads from one thread and from all cores: of values that are hardly looked at, then of every byte.
    reads: Vec<(&'static str, Rates)>,
}

impl Demo {
    pub(crate) fn run(self) -> Outcome {
        let mut out = Out::new();
        let input = Input::read(self.input, self.key)?;
        let place = Place::choose(self.dir.as_deref())?;
        out.now(format_args!("reading     {}", input.described()))?;
        let done = run(&mut out, &place.store(), &input.records);
        let figures =
            done.map_err(|failure| failure.and(format_args!("the store is left in {}", place.store().display())))?;
        table::show(&mut out, &figures)?;
        table::what_next(&mut out, &place.store())
    }
}

fn run(out: &mut Out, dir: &Path, records: &[Record]) -> Outcome<Figures> {
    let plan = Plan::of(records);
    out.now(format_args!(
        "loading     a child process writes batches of up to {} records or {}, each synced before it is acknowledged",
        HumanCount(plan.records_max as u64),
        HumanBytes(plan.bytes_max as u64),
    ))?;
    let killed = kill::load_and_kill(dir, records, &plan)?;
    out.now(format_args!(
        "killed      the child ({}), {} of {} records acknowledged",
        killed.status,
        HumanCount(killed.acked as u64),
        HumanCount(records.len() as u64),
    ))?;

    let start = Instant::now();
    let db = opened::existing(dir)?;
    let (recovery_time, recovery) = (start.elapsed(), db.stats().recovery);
    let landed = check::after_kill(&db, records, &plan, killed.acked)?;
    out.now(format_args!(
        "recovered   every acknowledged record is there byte for byte{}, and nothing else",
        if landed == killed.acked { "" } else { ", so is the whole batch that was under way" },
    ))?;

    let load = change::finish_load(&db, records, &plan, landed)?;
    let mut expected = load.map;
    out.now(format_args!("loaded      the rest, in this process"))?;
    let changed = change::overwrite_and_delete(&db, records, &plan, &mut expected)?;
    db.close()?;
    out.now(format_args!(
        "changed     {} records overwritten, {} deleted; closed and opened again",
        HumanCount(changed.overwritten as u64),
        HumanCount(changed.deleted as u64),
    ))?;

    let start = Instant::now();
    let db = opened::existing(dir)?;
    let reopen_time = start.elapsed();
    check::equal(&db, &expected)?;
    let reads = read_back(&db, &expected)?;
    out.now(format_args!(
        "read back   all {} records, at random, from one thread and from all cores: byte for byte as expected",
        HumanCount(expected.len() as u64),
    ))?;
    let space = packed::pack(out, &db, &expected)?;
    db.close()?;
    packed::read_one(out, dir, &expected)?;
    Ok(Figures {
        records: records.len() as u64,
        bytes: records.iter().map(|record| record.len() as u64).sum(),
        killed,
        recovery,
        recovery_time,
        load: load.rates,
        overwritten: changed.overwritten,
        deleted: changed.deleted,
        reopen_time,
        space,
        reads,
    })
}

/// Checks, then measures, random reads from one thread and from all cores.
fn read_back(db: &Db, expected: &Expected) -> Outcome<Vec<(&'static str, Rates)>> {
    let order = rates::shuffled(expected);
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    for threads in [1, cores] {
        check::at_random(db, expected, &order, threads)?;
    }
    let mut reads = Vec::new();
    for threads in [1, cores] {
        let touch = rates::ends;
        reads.push(("random gets", rates::reads(db, expected, &order, threads, touch)?));
    }
    for threads in [1, cores] {
        let touch = rates::all_bytes;
        reads.push(("every byte read", rates::reads(db, expected, &order, threads, touch)?));
    }
    Ok(reads)
}
