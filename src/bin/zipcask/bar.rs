//! Progress bars, on stderr, where that is a terminal. They go when they are dropped.
//!
//! Floor 7. Imports nothing.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

/// A bar over `total` bytes.
pub(crate) fn of_bytes(total: u64, what: &'static str) -> ProgressBar {
    styled(ProgressBar::new(total), what, "{msg} {wide_bar} {bytes} of {total_bytes}, {eta} left")
}

/// A bar over `total` records.
pub(crate) fn of_records(total: u64, what: &'static str) -> ProgressBar {
    styled(ProgressBar::new(total), what, "{msg} {wide_bar} {human_pos} of {human_len} records, {eta} left")
}

/// A count of bytes whose end is not known.
pub(crate) fn of_stream(what: &'static str) -> ProgressBar {
    styled(ProgressBar::new_spinner(), what, "{msg} {spinner} {bytes}, {bytes_per_sec}")
}

fn styled(bar: ProgressBar, what: &'static str, template: &str) -> ProgressBar {
    // Draws nothing where stderr is no terminal.
    bar.set_draw_target(ProgressDrawTarget::stderr());
    bar.with_style(ProgressStyle::with_template(template).expect("the templates are well formed"))
        .with_message(what)
        .with_finish(ProgressFinish::AndClear)
}
