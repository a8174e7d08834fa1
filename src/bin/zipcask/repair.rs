//! `zipcask repair`.
//!
//! Floor 7. Imports nothing.

use std::path::PathBuf;

use clap::Args;
use indicatif::HumanBytes;
use serde_json::json;
use zipcask::inspect::{self, SalvageReport};

use crate::coding::{shown, to_base64};
use crate::failure::{Code, Failure, Outcome};
use crate::opened;
use crate::out::{Out, counted};

/// Save what is left of a damaged store into a new one; exit code 3 if something is lost
///
/// The damaged store is only read. The new one gets each record whose checksums hold, of each key the newest, also those behind damage and in
/// archives that are damaged themselves. Where the newest record of a key is damaged, an older value is taken, and told of. Nobody should have the
/// store open.
#[derive(Args)]
pub(crate) struct Repair {
    /// Where the new store goes: an empty directory, or none yet
    #[arg(long, value_name = "OUT")]
    salvage: PathBuf,
    /// The damaged store's directory
    dir: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Repair {
    pub(crate) fn run(self) -> Outcome {
        let report = inspect::salvage(&self.dir, &self.salvage).map_err(|error| opened::missing(&self.dir, error))?;
        let shown = if self.json { Out::new().now(format_args!("{}", as_json(&report))) } else { show(&report) };
        match report.is_complete() {
            true => shown,
            false => Err(Failure::new(Code::Damage, "not everything could be saved")),
        }
    }
}

fn show(report: &SalvageReport) -> Outcome {
    let mut out = Out::new();
    for lost in &report.lost {
        out.line(format_args!("{lost}"))?;
    }
    for damaged in &report.damaged {
        let key = shown(&damaged.key);
        match damaged.taken {
            Some(taken) => out.line(format_args!(
                "\"{key}\": write {} is damaged, it has the value of write {taken} now",
                damaged.lost
            ))?,
            None => {
                out.line(format_args!("\"{key}\": write {} is damaged, and there is no older value", damaged.lost))?
            }
        }
    }
    if report.cut_batches > 0 {
        out.line(format_args!("damage took a part of {}; the rest is saved", counted_batches(report.cut_batches)))?;
    }
    if report.unfinished > 0 {
        let records = counted(report.unfinished, "record");
        out.line(format_args!("{records} at the end left out: their batch was never finished"))?;
    }
    out.now(format_args!(
        "read {}, found {}, saved {}, {}",
        counted(report.files, "file"),
        counted(report.records, "record"),
        counted(report.keys, "key"),
        HumanBytes(report.bytes)
    ))
}

fn counted_batches(count: u64) -> String {
    if count == 1 { "1 batch".to_string() } else { format!("{count} batches") }
}

fn as_json(report: &SalvageReport) -> serde_json::Value {
    let lost: Vec<_> = report
        .lost
        .iter()
        .map(|lost| json!({ "file": lost.file, "offset": lost.offset, "len": lost.len, "what": lost.what }))
        .collect();
    let damaged: Vec<_> = report
        .damaged
        .iter()
        .map(|key| {
            json!({
                "keyspace": key.keyspace,
                "key_base64": to_base64(&key.key),
                "lost": u64::from(key.lost),
                "taken": key.taken.map(u64::from),
            })
        })
        .collect();
    json!({
        "complete": report.is_complete(),
        "files": report.files,
        "records": report.records,
        "keys": report.keys,
        "bytes": report.bytes,
        "lost": lost,
        "damaged": damaged,
        "cut_batches": report.cut_batches,
        "unfinished": report.unfinished,
    })
}
