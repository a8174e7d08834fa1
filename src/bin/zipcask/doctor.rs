//! `zipcask doctor`.
//!
//! Floor 7. Imports nothing.

use std::path::PathBuf;

use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use zipcask::ErrorKind;
use zipcask::inspect::{self, DoctorReport};

use crate::failure::{Code, Failure, Outcome};
use crate::out::Out;

/// A flush that takes less is no flush of a device: no medium is that fast.
const FLUSH_NS_MIN: u64 = 5_000;

/// Show what the machine gives a store in a directory, who may write into that, and what it means for the store
///
/// Writes for some seconds at most, into a file that it removes; the store itself is not touched, and may be open.
#[derive(Args)]
pub(crate) struct Doctor {
    /// The store's directory, or where one is to be: it has to be there
    dir: PathBuf,
}

impl Doctor {
    pub(crate) fn run(self) -> Outcome {
        let report = inspect::doctor(&self.dir).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Failure::new(
                Code::NotFound,
                format!(
                    "there is no directory {}; make it, or ask about the one that it is to be in",
                    self.dir.display()
                ),
            ),
            _ => error.into(),
        })?;
        let mut out = Out::new();
        for (name, figure, meaning) in lines(&report) {
            out.line(format_args!("{name:<18}{figure:<28}{meaning}"))?;
        }
        out.done()
    }
}

/// Of each: what it is, what was found, what that means.
fn lines(report: &DoctorReport) -> Vec<(&'static str, String, String)> {
    let unknown = || "unknown".to_string();
    let count = |limit: Option<u64>| limit.map_or_else(unknown, |limit| HumanCount(limit).to_string());
    let size = |bytes: Option<u64>| bytes.map_or_else(unknown, |bytes| HumanBytes(bytes).to_string());
    let kind = report.file_system.clone().unwrap_or_else(unknown);
    let network = ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"].contains(&kind.as_str());
    let memory = ["tmpfs", "ramfs"].contains(&kind.as_str());
    let mut lines = vec![(
        "file system",
        kind,
        match () {
            () if network => "over a network: locks and mappings may not be what they are on a disk".to_string(),
            () if memory => "in memory: nothing outlives a power cut".to_string(),
            () if report.in_place => "zeros are written ahead, so that a flush is short".to_string(),
            () => "it writes elsewhere each time: no zeros are written ahead".to_string(),
        },
    )];
    lines.push((
        "free",
        size(report.free_bytes),
        "the compactor needs room for what it keeps before it gives any back".to_string(),
    ));
    match (&report.unwritable, report.flush_ns) {
        (Some(why), _) => {
            lines.push(("writing", "impossible".to_string(), format!("{why}; the store can only be read")))
        }
        (None, Some((median, most))) => {
            let reserves = if report.allocates { "yes" } else { "no" };
            let meaning = if report.allocates {
                "a full disk is noticed before a segment is begun"
            } else {
                "a full disk is noticed by the write that finds it"
            };
            lines.push(("reserving room", reserves.to_string(), meaning.to_string()));
            let figure = format!("{} us, at most {} us", median / 1_000, most / 1_000);
            let meaning = match median {
                0..FLUSH_NS_MIN => "too fast for a device: it may not be durable".to_string(),
                _ => format!("one writer alone commits durably some {} times a second", 1_000_000_000 / median),
            };
            lines.push(("flush of 4 KiB", figure, meaning));
        }
        (None, None) => lines.push(("flush of 4 KiB", unknown(), String::new())),
    }
    lines.push(match &report.held {
        Some(who) => ("lock", "held".to_string(), format!("by {who}: it can be read, and not opened for writing")),
        None => ("lock", "free".to_string(), "nobody has the store open for writing".to_string()),
    });
    lines.extend(report.mode.map(|mode| ("permissions", format!("{mode:04o}"), who_writes(mode).to_string())));
    lines.push(("page of memory", size(report.page_bytes), "mappings are multiples of it".to_string()));
    lines.push((
        "open files",
        count(report.open_files_max),
        "a store takes some dozens, and one for each large value that is read".to_string(),
    ));
    lines.push((
        "mappings",
        count(report.mappings_max),
        "a store takes one for each segment and archive; without them it reads by position".to_string(),
    ));
    lines
}

/// Who may write into a directory with these permissions, but for who may do everything.
fn who_writes(mode: u32) -> &'static str {
    match (mode & 0o020 != 0, mode & 0o002 != 0) {
        (false, false) => "nobody but the owner may write into it",
        (true, false) => "its group may remove and forge what is in it: `chmod go-w` lets the owner alone",
        (_, true) => "EVERYBODY may remove and forge what is in it: `chmod go-w` lets the owner alone",
    }
}
