//! `zipcask compact`.
//!
//! Floor 7. Imports nothing.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use indicatif::HumanBytes;
use serde_json::json;
use zipcask::{CompactionReport, Compression, Stats};

use crate::failure::{Code, Failure, Outcome};
use crate::opened;
use crate::out::{Out, counted};

/// Give back the space of what was overwritten or deleted, and pack every segment into ZIP archives
///
/// Rewrites files of which more than a twentieth is dead, and needs room for what they keep before it gives any back. Other tools
/// open the archives: `unzip -t DIR/archives/*.zip`. Exit code 3 if a file was left alone because it is damaged.
#[derive(Args)]
pub(crate) struct Compact {
    /// The store's directory
    dir: PathBuf,
    /// Compress the archives that are written: their values are no longer mapped, but unpacked
    #[arg(long, value_name = "METHOD")]
    compress: Option<Method>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Method {
    Deflate,
    Zstd,
}

impl Compact {
    pub(crate) fn run(self) -> Outcome {
        let compression = match self.compress {
            None => Compression::None,
            Some(Method::Deflate) => Compression::Deflate,
            Some(Method::Zstd) => Compression::Zstd,
        };
        let db = opened::existing_with(&self.dir, |options| options.archive_compression(compression))?;
        let before = db.stats();
        let report = db.compact()?;
        let after = db.stats();
        db.close()?;
        let shown = match self.json {
            true => {
                let sizes = |stats: &Stats| {
                    json!({
                        "disk_bytes": stats.disk_bytes,
                        "live_bytes": stats.live_bytes,
                        "dead_bytes": stats.dead_bytes,
                        "archived_bytes": stats.archived_bytes,
                    })
                };
                let all = json!({ "before": sizes(&before), "after": sizes(&after), "done": as_json(&report) });
                Out::new().now(format_args!("{all}"))
            }
            false => show(&report, &before, &after),
        };
        match report.damaged {
            0 => shown,
            count => {
                let files = counted(count, "damaged file");
                Err(Failure::new(Code::Damage, format!("left {files} alone; `zipcask verify` tells more")))
            }
        }
    }
}

/// What jobs did.
pub(crate) fn as_json(report: &CompactionReport) -> serde_json::Value {
    let decisions = &report.decisions;
    json!({
        "archives": report.archives,
        "segments": report.segments,
        "records": report.records,
        "tombstones_dropped": report.tombstones_dropped,
        "written_bytes": report.written_bytes,
        "freed_bytes": report.freed_bytes,
        "damaged": report.damaged,
        "decisions": {
            "dead": decisions.dead,
            "small": decisions.small,
            "unpacked": decisions.unpacked,
            "nothing": decisions.nothing,
            "failed": decisions.failed,
        },
    })
}

fn show(report: &CompactionReport, before: &Stats, after: &Stats) -> Outcome {
    let mut out = Out::new();
    let mut row =
        |name: &str, before: String, after: String| out.line(format_args!("{name:<21}{before:>14}{after:>14}"));
    row("", "before".to_string(), "after".to_string())?;
    for (name, before, after) in [
        ("bytes on disk", before.disk_bytes, after.disk_bytes),
        ("in archives", before.archived_bytes, after.archived_bytes),
        ("bytes of live records", before.live_bytes, after.live_bytes),
        ("bytes of dead records", before.dead_bytes, after.dead_bytes),
    ] {
        row(name, HumanBytes(before).to_string(), HumanBytes(after).to_string())?;
    }
    let decisions = &report.decisions;
    let reasons = [(decisions.dead, "dead records"), (decisions.small, "small files"), (decisions.unpacked, "packing")];
    let jobs: Vec<_> =
        reasons.iter().filter(|(count, _)| *count > 0).map(|(count, why)| format!("{count} for {why}")).collect();
    let jobs = if jobs.is_empty() { "none, nothing was to be done".to_string() } else { jobs.join(", ") };
    out.line(format_args!("jobs: {jobs}"))?;
    if report.archives > 0 {
        out.line(format_args!(
            "wrote {} in {} of {}; dropped {}; removed {} of files",
            counted(report.records, "record"),
            counted(report.archives, "archive"),
            HumanBytes(report.written_bytes),
            counted(report.tombstones_dropped, "tombstone"),
            HumanBytes(report.freed_bytes),
        ))?;
    }
    out.done()
}
