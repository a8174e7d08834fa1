//! Bytes as text on the command line and on a terminal.
//!
//! Floor 7. Imports nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

use crate::failure::{Code, Failure, Outcome};

/// How keys and values stand on the command line.
#[derive(Args)]
pub(crate) struct Coding {
    /// Keys, values and prefixes on the command line are hexadecimal
    #[arg(long, conflicts_with = "base64")]
    hex: bool,
    /// Keys, values and prefixes on the command line are base64
    #[arg(long)]
    base64: bool,
}

impl Coding {
    /// The bytes that `text` stands for; `name` is the argument's, for the error.
    pub(crate) fn decode(&self, name: &str, text: &str) -> Outcome<Vec<u8>> {
        let bytes = match (self.hex, self.base64) {
            (true, _) => from_hex(text),
            (_, true) => from_base64(text),
            _ => Ok(text.as_bytes().to_vec()),
        };
        bytes.map_err(|what| Failure::new(Code::Usage, format!("{name} {what}")))
    }
}

/// The bytes of `text`, or what is wrong with it.
pub(crate) fn from_base64(text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|error| format!("is not base64: {error}").to_lowercase())
}

/// Base64 of `bytes`, padded.
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn from_hex(text: &str) -> Result<Vec<u8>, String> {
    let digits = text
        .chars()
        .map(|digit| digit.to_digit(16).map(|digit| digit as u8))
        .collect::<Option<Vec<_>>>()
        .ok_or("is not hexadecimal")?;
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("is not hexadecimal: it has half a byte too much".to_string());
    }
    Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// `bytes` for a terminal: text stays, what cannot be printed becomes `\n`, `\t`, `\u{7f}`, `\xff`, a backslash `\\`.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '"' | '\'' => shown.push(char),
                _ => shown.extend(char.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    shown
}
