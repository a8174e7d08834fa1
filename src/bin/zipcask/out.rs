//! Standard output: buffered, locked, and quiet when nobody reads it any more.
//!
//! Floor 7. Imports nothing.

use std::fmt;
use std::io::{self, BufWriter, StdoutLock, Write};

use indicatif::HumanCount;

use crate::failure::{Failure, Outcome};

/// Standard output. What was not flushed by [`Out::done`] is lost.
pub(crate) struct Out {
    stdout: BufWriter<StdoutLock<'static>>,
}

impl Out {
    pub(crate) fn new() -> Out {
        Out { stdout: BufWriter::with_capacity(64 << 10, io::stdout().lock()) }
    }

    /// Writes `bytes` as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Outcome {
        self.stdout.write_all(bytes).map_err(|error| Failure::stdout(&error))
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, text: fmt::Arguments<'_>) -> Outcome {
        writeln!(self.stdout, "{text}").map_err(|error| Failure::stdout(&error))
    }

    /// Writes a line and shows it at once.
    pub(crate) fn now(&mut self, text: fmt::Arguments<'_>) -> Outcome {
        self.line(text)?;
        self.done()
    }

    /// Hands over what was written.
    pub(crate) fn done(&mut self) -> Outcome {
        self.stdout.flush().map_err(|error| Failure::stdout(&error))
    }
}

/// So many of `what`, in words: `1 record`, `2,000 records`, `2 entries`, `3 keys`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    let stem = what.strip_suffix('y').filter(|stem| !stem.ends_with('e'));
    let words = match (count, stem) {
        (1, _) => what.to_string(),
        (_, Some(stem)) => format!("{stem}ies"),
        (_, None) => format!("{what}s"),
    };
    format!("{} {words}", HumanCount(count))
}
