//! `zipcask backup` and `zipcask restore`.
//!
//! Floor 7. Imports nothing.

use std::path::PathBuf;

use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use serde_json::json;
use zipcask::Db;

use crate::failure::Outcome;
use crate::opened;
use crate::out::{Out, counted};

/// Copy a store, or bring an earlier copy up to date
///
/// Files that never change get a second name in OUT where that is on the same file system, and are copied elsewhere. OUT is a store that can
/// be read; opened for writing, it takes no backup any more. It must be empty, or hold an earlier backup of this store.
#[derive(Args)]
pub(crate) struct Backup {
    /// The store's directory
    dir: PathBuf,
    /// The directory of the copy, which is made if need be
    out: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Backup {
    pub(crate) fn run(self) -> Outcome {
        let db = opened::existing(&self.dir)?;
        let report = db.backup(&self.out)?;
        db.close()?;
        let mut out = Out::new();
        if self.json {
            let all = json!({
                "seqno": u64::from(report.seqno),
                "linked_files": report.linked_files,
                "linked_bytes": report.linked_bytes,
                "copied_files": report.copied_files,
                "copied_bytes": report.copied_bytes,
                "kept_files": report.kept_files,
                "kept_bytes": report.kept_bytes,
                "removed_files": report.removed_files,
                "removed_bytes": report.removed_bytes,
            });
            return out.now(format_args!("{all}"));
        }
        for (what, files, bytes) in [
            ("linked", report.linked_files, report.linked_bytes),
            ("copied", report.copied_files, report.copied_bytes),
            ("were there", report.kept_files, report.kept_bytes),
            ("removed", report.removed_files, report.removed_bytes),
        ] {
            if files > 0 {
                out.line(format_args!("{what:<11}{} of {}", counted(files, "file"), HumanBytes(bytes)))?;
            }
        }
        out.now(format_args!("up to write {}", HumanCount(report.seqno.into())))
    }
}

/// Copy a backup into an empty directory, as it is or as it was once a write was done
///
/// With --at the log is copied up to the last batch that ends at or before that write. Of what a compaction has rewritten, older states
/// are gone; the error says of which writes the store can be had.
#[derive(Args)]
pub(crate) struct Restore {
    /// The directory of the backup, or of any store that nobody writes
    backup: PathBuf,
    /// The directory of the restored store: empty, or made
    out: PathBuf,
    /// The last write that is to be in it
    #[arg(long, value_name = "SEQNO")]
    at: Option<u64>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Restore {
    pub(crate) fn run(self) -> Outcome {
        let report = Db::restore(&self.backup, &self.out, self.at.map(Into::into))
            .map_err(|error| opened::missing(&self.backup, error))?;
        let mut out = Out::new();
        if self.json {
            let all = json!({ "seqno": u64::from(report.seqno), "files": report.files, "bytes": report.bytes });
            return out.now(format_args!("{all}"));
        }
        let (files, bytes) = (counted(report.files, "file"), HumanBytes(report.bytes));
        out.now(format_args!("restored {files} of {bytes}, up to write {}", HumanCount(report.seqno.into())))
    }
}
