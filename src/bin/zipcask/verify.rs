//! `zipcask verify`.
//!
//! Floor 7. Imports nothing.

use std::path::PathBuf;

use clap::Args;
use indicatif::HumanBytes;
use serde_json::json;
use zipcask::{VerifyReport, inspect};

use crate::failure::{Code, Failure, Outcome};
use crate::opened;
use crate::out::{Out, counted};

/// Read every file of a store and check every checksum; exit code 3 if there is damage
#[derive(Args)]
pub(crate) struct Verify {
    /// The store's directory
    dir: PathBuf,
    /// Do not open the store: read its files as they are, hints and the written index, too. Nobody should have it open
    #[arg(long)]
    deep: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(crate) fn run(self) -> Outcome {
        let report = match self.deep {
            true => inspect::verify(&self.dir).map_err(|error| opened::missing(&self.dir, error))?,
            false => opened::to_read(&self.dir)?.verify()?,
        };
        tell(&report, self.json)
    }
}

/// Shows a report, and fails if there is damage.
pub(crate) fn tell(report: &VerifyReport, json: bool) -> Outcome {
    let shown = match json {
        true => Out::new().now(format_args!("{}", as_json(report))),
        false => show(report),
    };
    // More important than whether somebody read it.
    count(report)?;
    shown
}

/// Fails if there is damage.
pub(crate) fn count(report: &VerifyReport) -> Outcome {
    match report.problems().len() {
        0 => Ok(()),
        count => Err(Failure::new(Code::Damage, format!("{} found", counted(count as u64, "problem")))),
    }
}

fn as_json(report: &VerifyReport) -> serde_json::Value {
    let problems: Vec<_> = report
        .problems()
        .iter()
        .map(|problem| json!({ "file": problem.file, "offset": problem.offset, "what": problem.what }))
        .collect();
    json!({
        "clean": report.is_clean(),
        "files": report.files,
        "records": report.records,
        "bytes": report.bytes,
        "problems": problems,
    })
}

fn show(report: &VerifyReport) -> Outcome {
    let mut out = Out::new();
    for problem in report.problems() {
        out.line(format_args!("{problem}"))?;
    }
    out.now(format_args!(
        "checked {}, {}, {}: {}",
        counted(report.files, "file"),
        counted(report.records, "record"),
        HumanBytes(report.bytes),
        if report.is_clean() { "all as written" } else { "damaged" }
    ))
}
