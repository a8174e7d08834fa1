//! `zipcask`: the store on the command line.
//!
//! Floor 7. Imports nothing.

mod archive;
mod backup;
mod bar;
mod coding;
mod compact;
mod cursors;
mod del;
mod demo;
mod doctor;
mod dump;
mod export;
mod failure;
mod get;
mod heat;
mod import;
mod incr;
mod json;
mod keyspaces;
mod lines;
mod opened;
mod out;
mod put;
mod repair;
mod scan;
mod sorted;
mod stats;
mod tail;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Outcome;

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  not found: the key, or the store
  2  the command line is wrong
  3  damage found: bytes on disk (in the demo: in the store) are not what was written
  4  anything else

get, scan, keyspaces, tail, cursors, stats, verify and export write nothing, and read a store that another process has open;
not so --make, --drop, and tail --cursor, which moves the cursor.
verify --deep, dump and repair are for a store that nobody has open; they write nothing into it, and it need not open any more.
Errors are one line on stderr. `zipcask VERB --help` says more about a verb.";

/// An embedded key-value store, on the command line.
#[derive(Parser)]
#[command(name = "zipcask", version, after_help = AFTER_HELP, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Put(put::Put),
    Get(get::Get),
    Del(del::Del),
    Incr(incr::Incr),
    Scan(scan::Scan),
    Keyspaces(keyspaces::Keyspaces),
    Tail(tail::Tail),
    Cursors(cursors::Cursors),
    Stats(stats::Stats),
    Verify(verify::Verify),
    Dump(dump::Dump),
    Repair(repair::Repair),
    Doctor(doctor::Doctor),
    Compact(compact::Compact),
    Archive(archive::Archive),
    Backup(backup::Backup),
    Restore(backup::Restore),
    Import(import::Import),
    Export(export::Export),
    Demo(demo::Demo),
    #[command(hide = true)]
    DemoLoad(demo::child::DemoLoad),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return failure::of_usage(&error),
    };
    match run(cli.verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(verb: Verb) -> Outcome {
    match verb {
        Verb::Put(put) => put.run(),
        Verb::Get(get) => get.run(),
        Verb::Del(del) => del.run(),
        Verb::Incr(incr) => incr.run(),
        Verb::Scan(scan) => scan.run(),
        Verb::Keyspaces(keyspaces) => keyspaces.run(),
        Verb::Tail(tail) => tail.run(),
        Verb::Cursors(cursors) => cursors.run(),
        Verb::Stats(stats) => stats.run(),
        Verb::Verify(verify) => verify.run(),
        Verb::Dump(dump) => dump.run(),
        Verb::Repair(repair) => repair.run(),
        Verb::Doctor(doctor) => doctor.run(),
        Verb::Compact(compact) => compact.run(),
        Verb::Archive(archive) => archive.run(),
        Verb::Backup(backup) => backup.run(),
        Verb::Restore(restore) => restore.run(),
        Verb::Import(import) => import.run(),
        Verb::Export(export) => export.run(),
        Verb::Demo(demo) => demo.run(),
        Verb::DemoLoad(load) => load.run(),
    }
}
