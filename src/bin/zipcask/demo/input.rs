//! What the demo loads: the files of a folder, or the lines of a file.
//!
//! Floor 7. Imports nothing.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use indicatif::{HumanBytes, HumanCount};

use crate::failure::{Code, Failure, Outcome};
use crate::json::{Form, Pair};
use crate::lines::Lines;

/// Bytes that are taken.
const INPUT_BYTES_MAX: u64 = 512 << 20;
/// Longest file that is taken.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A key and its value.
pub(crate) struct Record {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

impl Record {
    /// Bytes of both.
    pub(crate) fn len(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

/// Records sorted by key, each key once.
pub(crate) struct Input {
    path: PathBuf,
    pub(crate) records: Vec<Record>,
    /// Of keys and values.
    pub(crate) bytes: u64,
    /// Files left out: too long, links, not readable.
    skipped: u64,
    /// Whether there was more than is taken.
    cut: bool,
}

impl Input {
    /// Reads `path`, a folder or a JSON Lines file whose records are whole lines under `field` if that is given; without
    /// a path, cargo's registry.
    pub(crate) fn read(path: Option<PathBuf>, field: Option<String>) -> Outcome<Input> {
        let path = path.map_or_else(registry, Ok)?;
        let mut input = Input { records: Vec::new(), bytes: 0, skipped: 0, cut: false, path: path.clone() };
        if path.is_file() {
            input.lines(&path, &Form::of(field))?;
        } else {
            input.folder(&path);
        }
        if input.records.is_empty() {
            return Err(Failure::new(
                Code::Other,
                format!(
                    "there is nothing to load in {}; name another folder or a JSON Lines file with --input",
                    path.display()
                ),
            ));
        }
        // Of lines with one key the last counts, as it would in the store.
        input.records.sort_by(|a, b| a.key.cmp(&b.key));
        input.records.reverse();
        input.records.dedup_by(|a, b| a.key == b.key);
        input.records.reverse();
        input.bytes = input.records.iter().map(|record| record.len() as u64).sum();
        Ok(input)
    }

    /// One line about it.
    pub(crate) fn described(&self) -> String {
        let mut text = format!(
            "{} records, {}, from {}",
            HumanCount(self.records.len() as u64),
            HumanBytes(self.bytes),
            self.path.display()
        );
        if 0 < self.skipped {
            text += &format!("; left out {} files", HumanCount(self.skipped));
        }
        if self.cut {
            text += "; there is more, which is not taken";
        }
        text
    }

    fn lines(&mut self, path: &Path, form: &Form) -> Outcome {
        let mut lines = Lines::open(path)?;
        while let Some(line) = lines.next()? {
            let Pair { key, value, .. } = match form.parse(line) {
                Ok(pair) => pair,
                Err(what) => return Err(lines.bad(what)),
            };
            if !self.take(Record { key, value }) {
                break;
            }
        }
        Ok(())
    }

    /// Goes through the folders below `root` in the order of their names.
    fn folder(&mut self, root: &Path) {
        let mut left = vec![root.to_path_buf()];
        while let Some(path) = left.pop() {
            let Ok(metadata) = fs::symlink_metadata(&path) else {
                self.skipped += 1;
                continue;
            };
            // `root` itself may be a link.
            if metadata.is_dir() || path == root {
                let Ok(entries) = fs::read_dir(&path) else {
                    self.skipped += 1;
                    continue;
                };
                let mut below: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
                below.sort_unstable_by(|a, b| b.cmp(a));
                left.extend(below);
            } else if !metadata.is_file() || FILE_BYTES_MAX < metadata.len() {
                self.skipped += 1;
            } else if let Ok(value) = fs::read(&path) {
                let key = key_of(root, &path);
                if !self.take(Record { key, value }) {
                    return;
                }
            } else {
                self.skipped += 1;
            }
        }
    }

    /// Whether there was room for it.
    fn take(&mut self, record: Record) -> bool {
        let bytes = self.bytes + record.len() as u64;
        if INPUT_BYTES_MAX < bytes {
            self.cut = true;
            return false;
        }
        self.bytes = bytes;
        self.records.push(record);
        true
    }
}

/// The path below `root`, with slashes on every system.
fn key_of(root: &Path, path: &Path) -> Vec<u8> {
    let below = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = below.iter().map(|part| part.as_encoded_bytes()).collect();
    parts.join(&b'/')
}

/// Where cargo unpacks the sources of crates.
fn registry() -> Outcome<PathBuf> {
    let home = match env::var_os("CARGO_HOME") {
        Some(home) => Some(PathBuf::from(home)),
        None => env::home_dir().map(|home| home.join(".cargo")),
    };
    home.map(|home| home.join("registry").join("src")).ok_or_else(|| {
        Failure::new(
            Code::Other,
            "there is no home folder to look for cargo's registry in; name a folder or a JSON Lines file with --input",
        )
    })
}
