//! Counts that a run prints, also where the test harness keeps the output of tests that pass to itself.

use std::io::Write;

/// Prints a line of figures.
pub(crate) fn report(line: &str) {
    // Straight to the stream: `println!` is captured.
    let _ = writeln!(std::io::stdout(), "\n    {line}");
}
