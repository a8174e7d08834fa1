//! `zipcask stats`.
//!
//! Floor 7. Imports nothing.

use std::path::PathBuf;

use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use serde_json::json;

use crate::coding::shown;
use crate::failure::Outcome;
use crate::opened;
use crate::out::{Out, counted};
use crate::{compact, heat};

/// Show sizes and counts of a store, and how much of each segment is live
///
/// The last lines are the segments, oldest first: a bar as long as what was written to one, its live part first. Dead is what
/// was overwritten or deleted; a tombstone is needed while an older file has what it deletes. Pinned are files that a
/// compaction has removed while something was still read from them.
#[derive(Args)]
pub(crate) struct Stats {
    /// The store's directory
    dir: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Stats {
    pub(crate) fn run(self) -> Outcome {
        let stats = opened::to_read(&self.dir)?.stats();
        if self.json { Out::new().now(format_args!("{}", as_json(&stats))) } else { show(&stats) }
    }
}

fn as_json(stats: &zipcask::Stats) -> serde_json::Value {
    let segments: Vec<_> = stats
        .segments
        .iter()
        .map(|segment| {
            json!({
                "id": segment.id,
                "file": segment.file,
                "archived": segment.archived,
                "file_bytes": segment.file_bytes,
                "used_bytes": segment.used_bytes,
                "live_bytes": segment.live_bytes,
                "needed_bytes": segment.needed_bytes,
                "live_records": segment.live_records,
                "active": segment.active,
            })
        })
        .collect();
    let cursors: Vec<_> = stats
        .cursors
        .iter()
        .map(|cursor| {
            json!({
                "name": cursor.name,
                "position": u64::from(cursor.position),
                "held_bytes": cursor.held_bytes,
                "lost": cursor.lost,
            })
        })
        .collect();
    let copy = stats.recovery.torn_copy.as_ref();
    json!({
        "live_keys": stats.live_keys,
        "live_bytes": stats.live_bytes,
        "dead_bytes": stats.dead_bytes,
        "needed_bytes": stats.needed_bytes,
        "debt_bytes": stats.debt_bytes,
        "disk_bytes": stats.disk_bytes,
        "archived_bytes": stats.archived_bytes,
        "preallocated_bytes": stats.preallocated_bytes,
        "pinned_bytes": stats.pinned_bytes,
        "index_bytes": stats.index_bytes,
        "cursors": cursors,
        "segments": segments,
        "compaction": compact::as_json(&stats.compaction),
        "recovery": {
            "segments": stats.recovery.segments,
            "records": stats.recovery.records,
            "hinted": stats.recovery.hinted,
            "damaged": stats.recovery.damaged.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
            "torn_bytes": stats.recovery.torn_bytes,
            "torn_copy": copy.map(|path| path.display().to_string()),
            "mended_footer": stats.recovery.mended_footer.as_ref().map(|path| path.display().to_string()),
            "ignored": stats.recovery.ignored,
        },
    })
}

fn show(stats: &zipcask::Stats) -> Outcome {
    let mut out = Out::new();
    let mut row = |name: &str, figure: String| out.line(format_args!("{name:<21}{figure:>14}"));
    row("keys", HumanCount(stats.live_keys).to_string())?;
    for (name, bytes) in [
        ("bytes of live records", stats.live_bytes),
        ("bytes of dead records", stats.dead_bytes),
        ("needed tombstones", stats.needed_bytes),
        ("next jobs give back", stats.debt_bytes),
        ("bytes on disk", stats.disk_bytes),
        ("in archives", stats.archived_bytes),
        ("unused in segments", stats.preallocated_bytes),
        ("pinned", stats.pinned_bytes),
        ("index, in memory", stats.index_bytes),
    ] {
        row(name, HumanBytes(bytes).to_string())?;
    }
    row("segments", HumanCount(stats.segments.len() as u64).to_string())?;
    let recovery = &stats.recovery;
    row("read at open", counted(recovery.records, "record"))?;
    if 0 < recovery.torn_bytes {
        row("dropped torn tail", HumanBytes(recovery.torn_bytes).to_string())?;
    }
    if let Some(copy) = &recovery.torn_copy {
        out.line(format_args!("kept the torn tail in {}", copy.display()))?;
    }
    if let Some(path) = &recovery.mended_footer {
        out.line(format_args!("wrote the damaged footer of {} anew", path.display()))?;
    }
    for cursor in &stats.cursors {
        let held = HumanBytes(cursor.held_bytes);
        let lost = if cursor.lost { ", and has lost some" } else { "" };
        let name = shown(cursor.name.as_bytes());
        out.line(format_args!("cursor {name} is at {} and holds {held}{lost}", cursor.position))?;
    }
    for path in &recovery.damaged {
        out.line(format_args!("damaged, and served by its hint: {}", path.display()))?;
    }
    for name in &recovery.ignored {
        out.line(format_args!("left alone: segments/{name}"))?;
    }
    heat::show(&mut out, &stats.segments)?;
    out.done()
}
