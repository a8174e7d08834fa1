//! Bars that show how full the segments of a store are, and how much of them is live.
//!
//! Floor 7. Imports nothing.

use std::env;
use std::io::{self, IsTerminal as _};

use indicatif::HumanBytes;
use zipcask::SegmentStats;

use crate::failure::Outcome;
use crate::out::Out;

/// Columns of the longest bar.
const WIDTH: u64 = 40;

/// How a bar is drawn.
struct Brush {
    live: char,
    dead: char,
    /// Whether by colour, too.
    coloured: bool,
}

impl Brush {
    /// For what stdout is.
    fn new() -> Brush {
        // https://no-color.org: set, to whatever but nothing.
        let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        match io::stdout().is_terminal() && !plain {
            true => Brush { live: '\u{2588}', dead: '\u{2591}', coloured: true },
            false => Brush { live: '#', dead: '.', coloured: false },
        }
    }

    /// The bar of `segment`, where the longest is of `most` bytes.
    fn bar(&self, segment: &SegmentStats, most: u64) -> String {
        let width = scaled(segment.used_bytes, most, WIDTH);
        let kept = segment.live_bytes + segment.needed_bytes;
        let live = scaled(kept, segment.used_bytes, width);
        let repeated = |char: char, count: u64| char.to_string().repeat(count as usize);
        let bar = repeated(self.live, live) + &repeated(self.dead, width - live);
        let padding = repeated(' ', WIDTH - width);
        match self.coloured {
            true => format!("\x1b[38;5;{}m{bar}\x1b[0m{padding}", colour(percent(kept, segment.used_bytes))),
            false => bar + &padding,
        }
    }
}

/// Shows a line of each segment.
pub(crate) fn show(out: &mut Out, segments: &[SegmentStats]) -> Outcome {
    let most = segments.iter().map(|segment| segment.used_bytes).max().unwrap_or(0);
    let widest = segments.iter().map(|segment| segment.file.len()).max().unwrap_or(0);
    let brush = Brush::new();
    for segment in segments {
        let (file, bar) = (&segment.file, brush.bar(segment, most));
        let (used, live) = (HumanBytes(segment.used_bytes), percent(segment.live_bytes, segment.used_bytes));
        out.line(format_args!("{file:<widest$} {bar} {:>10} {live:>3} % live", used.to_string()))?;
    }
    Ok(())
}

/// `part` of `whole` on a scale to `width`; what is there has a column at least, what is not all leaves one.
fn scaled(part: u64, whole: u64, width: u64) -> u64 {
    match part {
        0 => 0,
        _ if part >= whole => width,
        _ => {
            let exact = u128::from(part) * u128::from(width) / u128::from(whole);
            (exact as u64).clamp(1.min(width), width.saturating_sub(1).max(1.min(width)))
        }
    }
}

fn percent(part: u64, whole: u64) -> u64 {
    (u128::from(part.min(whole)) * 100 / u128::from(whole.max(1))) as u64
}

/// Of the 256 that terminals have: from red to green.
fn colour(percent: u64) -> u8 {
    const STEPS: [u8; 6] = [196, 202, 214, 190, 118, 46];
    STEPS[(percent * (STEPS.len() as u64 - 1) / 100) as usize]
}
