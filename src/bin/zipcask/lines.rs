//! Lines of a file or of stdin, one at a time, with their numbers.
//!
//! Floor 7. Imports nothing.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use crate::failure::{Code, Failure, Outcome};

/// Lines that are not blank. Memory is that of the longest one.
pub(crate) struct Lines {
    reader: Box<dyn BufRead>,
    name: String,
    number: u64,
    line: Vec<u8>,
    /// Bytes of the file; not known of a stream.
    pub(crate) total: Option<u64>,
    /// Bytes read so far.
    pub(crate) done: u64,
}

impl Lines {
    /// Opens `path`; `-` is stdin.
    pub(crate) fn open(path: &Path) -> Outcome<Lines> {
        let lines = |reader, name, total| Lines { reader, name, number: 0, line: Vec::new(), total, done: 0 };
        if path == Path::new("-") {
            let stdin = Box::new(io::stdin().lock());
            return Ok(lines(stdin, "stdin".to_string(), None));
        }
        let name = path.display().to_string();
        let failed = |error: io::Error| Failure::io(format_args!("cannot read {name}"), &error);
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(Failure::new(Code::Other, format!("{name} is a folder")));
        }
        let total = metadata.is_file().then_some(metadata.len());
        let reader = Box::new(BufReader::with_capacity(256 << 10, file));
        Ok(lines(reader, name, total))
    }

    /// The next line, without its end; none at the end.
    pub(crate) fn next(&mut self) -> Outcome<Option<&[u8]>> {
        loop {
            self.line.clear();
            let len = self
                .reader
                .read_until(b'\n', &mut self.line)
                .map_err(|error| Failure::io(format_args!("cannot read {}", self.name), &error))?;
            if len == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.done += len as u64;
            if self.line.ends_with(b"\n") {
                self.line.pop();
                if self.line.ends_with(b"\r") {
                    self.line.pop();
                }
            }
            if !self.line.iter().all(u8::is_ascii_whitespace) {
                return Ok(Some(&self.line));
            }
        }
    }

    /// The line that `next` gave last is bad: `file:line: what`.
    pub(crate) fn bad(&self, what: impl fmt::Display) -> Failure {
        let text = format!("{}:{}: {what}", self.name, self.number);
        Failure::new(Code::Other, text)
    }
}
