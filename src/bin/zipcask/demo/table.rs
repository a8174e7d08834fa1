//! What the demo says at the end.
//!
//! Floor 7. Imports nothing.

use std::env;
use std::path::Path;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount};

use crate::demo::Figures;
use crate::demo::packed;
use crate::demo::rates::{ROUNDS, Rates};
use crate::failure::Outcome;
use crate::out::Out;

/// Shows the figures.
pub(crate) fn show(out: &mut Out, figures: &Figures) -> Outcome {
    let recovery = &figures.recovery;
    let count = |count: usize| HumanCount(count as u64).to_string();
    out.line(format_args!(""))?;
    for (name, figure) in [
        ("records", HumanCount(figures.records).to_string()),
        ("bytes of keys and values", HumanBytes(figures.bytes).to_string()),
        ("acknowledged before the kill", count(figures.killed.acked)),
        ("recovery time", shown(figures.recovery_time)),
        ("  segments read", HumanCount(recovery.segments).to_string()),
        ("  records read", HumanCount(recovery.records).to_string()),
        ("  torn bytes dropped", HumanBytes(recovery.torn_bytes).to_string()),
        ("overwritten", count(figures.overwritten)),
        ("deleted", count(figures.deleted)),
        ("open after a clean close", shown(figures.reopen_time)),
        ("on disk", HumanBytes(figures.space.before).to_string()),
        ("on disk, packed", HumanBytes(figures.space.after).to_string()),
    ] {
        out.line(format_args!("{name:<30}{figure:>14}"))?;
    }
    out.line(format_args!(""))?;
    let columns = ["records a second", "zipcask", "HashMap", "ratio", "zipcask, MiB/s"];
    row(out, columns.map(str::to_string))?;
    row(out, rates("load, durable batches", &figures.load))?;
    for (name, reads) in &figures.reads {
        let threads = match reads.threads {
            1 => "1 thread".to_string(),
            threads => format!("{threads} threads"),
        };
        row(out, rates(&format!("{name}, {threads}"), reads))?;
    }
    out.line(format_args!(
        "Gets: median of {ROUNDS} rounds in turns, page cache warm. Gets are `Db::get`; a value's checksum was checked when it was first read."
    ))?;
    out.line(format_args!("Load: one run, of the part after the kill. The map is in memory only."))?;
    if cfg!(debug_assertions) {
        out.line(format_args!("This is a debug build: the rates say little."))?;
    }
    out.done()
}

fn row(out: &mut Out, [name, ours, theirs, ratio, bytes]: [String; 5]) -> Outcome {
    out.line(format_args!("{name:<26}{ours:>14}{theirs:>14}{ratio:>9}{bytes:>16}"))
}

fn rates(name: &str, rates: &Rates) -> [String; 5] {
    let whole = |rate: f64| HumanCount(rate as u64).to_string();
    let ratio = rates.ours / rates.theirs;
    [
        name.to_string(),
        whole(rates.ours),
        whole(rates.theirs),
        if ratio.is_finite() { format!("{ratio:.3}") } else { "-".to_string() },
        whole(rates.ours * rates.record_bytes / f64::from(1 << 20)),
    ]
}

fn shown(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// Says where the store is, and what to try with it.
pub(crate) fn what_next(out: &mut Out, store: &Path) -> Outcome {
    let program = match env::var_os("CARGO") {
        Some(_) => "cargo run --release --",
        None => "zipcask",
    };
    let dir = quoted(&store.display().to_string());
    out.line(format_args!("\nkept the store in {}; try", store.display()))?;
    out.line(format_args!("  {program} stats {dir}"))?;
    out.line(format_args!("  {program} scan {dir} --keys --limit 5"))?;
    out.line(format_args!("  {program} verify {dir}"))?;
    if let Some(archive) = packed::archives(store)?.last() {
        out.line(format_args!("  {program} archive ls {}", quoted(&archive.display().to_string())))?;
    }
    out.done()
}

/// For a shell.
fn quoted(text: &str) -> String {
    let plain = |char: char| char.is_alphanumeric() || "/\\:._-+".contains(char);
    if text.chars().all(plain) { text.to_string() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
