//! A record as a line of JSON, there and back.
//!
//! Floor 7. Imports nothing.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use serde_json::value::RawValue;

use crate::coding::{from_base64, to_base64};

/// Longest key, in bytes.
const KEY_LEN_MAX: usize = u16::MAX as usize;

/// The field of the time from which on a key is no more.
const EXPIRES: &str = "expires_at_ms";

/// What the lines of a file are.
pub(crate) enum Form {
    /// `{"key":..,"value":..}`, or one or both as `key_base64`, `value_base64`; with a time `"expires_at_ms":..`, too.
    Pairs,
    /// Any objects: stored whole, under this field.
    KeyedBy(String),
}

/// A key, its value, and when it is no more, as far as the line says.
pub(crate) struct Pair {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) time: Option<Time>,
}

/// When a key is no more: in milliseconds since 1970.
#[derive(Clone, Copy)]
pub(crate) struct Time(u64);

impl Time {
    /// `None` if that is later than the system's clocks go, so never.
    pub(crate) fn of_day(self) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(self.0))
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Time {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

type Fields<'a> = HashMap<String, &'a RawValue>;

/// The line of a record, with its line feed; `time` is when it is no more.
pub(crate) fn line(key: &[u8], value: &[u8], time: Option<Time>) -> Vec<u8> {
    object(b"{".to_vec(), key, Some(value), time)
}

/// The line of a key alone.
pub(crate) fn line_of_key(key: &[u8]) -> Vec<u8> {
    object(b"{".to_vec(), key, None, None)
}

/// The line of a write, which is a delete without a value.
pub(crate) fn change(number: u64, keyspace: &str, key: &[u8], value: Option<&[u8]>) -> Vec<u8> {
    let mut line = format!("{{\"seqno\":{number},").into_bytes();
    field(&mut line, "keyspace", keyspace.as_bytes());
    line.push(b',');
    object(line, key, value, None)
}

/// The rest of an object's line.
fn object(mut line: Vec<u8>, key: &[u8], value: Option<&[u8]>, time: Option<Time>) -> Vec<u8> {
    line.reserve(key.len() + value.map_or(0, <[u8]>::len) + 32);
    field(&mut line, "key", key);
    if let Some(value) = value {
        line.push(b',');
        field(&mut line, "value", value);
    }
    if let Some(Time(ms)) = time {
        line.extend_from_slice(format!(",{EXPIRES:?}:{ms}").as_bytes());
    }
    line.extend_from_slice(b"}\n");
    line
}

fn field(line: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    let (name, text) = match str::from_utf8(bytes) {
        Ok(text) => (name.to_string(), text.to_string()),
        Err(_) => (format!("{name}_base64"), to_base64(bytes)),
    };
    let quoted = |text: String| serde_json::Value::String(text).to_string();
    line.extend_from_slice(format!("{}:{}", quoted(name), quoted(text)).as_bytes());
}

impl Form {
    /// The form that `--key FIELD` asks for.
    pub(crate) fn of(field: Option<String>) -> Form {
        field.map_or(Form::Pairs, Form::KeyedBy)
    }

    /// The record of `line`, or what is wrong with it.
    pub(crate) fn parse(&self, line: &[u8]) -> Result<Pair, String> {
        let text =
            str::from_utf8(line).map_err(|error| format!("not UTF-8 from byte {} on", error.valid_up_to() + 1))?;
        let fields: Fields<'_> =
            serde_json::from_str(text).map_err(|error| format!("not a JSON object: {}", within_line(&error)))?;
        let pair = match self {
            Form::Pairs => {
                refuse_others(&fields)?;
                let (key, value) = (bytes_of(&fields, "key")?, bytes_of(&fields, "value")?);
                Pair { key, value, time: time_of(&fields)? }
            }
            Form::KeyedBy(name) => Pair { key: key_of(&fields, name)?, value: line.to_vec(), time: None },
        };
        if KEY_LEN_MAX < pair.key.len() {
            return Err(format!("the key has {} bytes; {KEY_LEN_MAX} are the most", pair.key.len()));
        }
        Ok(pair)
    }
}

/// A field that is not stored would be lost without a word.
fn refuse_others(fields: &Fields<'_>) -> Result<(), String> {
    const KNOWN: [&str; 5] = ["key", "key_base64", "value", "value_base64", EXPIRES];
    let mut others: Vec<_> = fields.keys().filter(|name| !KNOWN.contains(&name.as_str())).collect();
    others.sort();
    match others.first() {
        None => Ok(()),
        Some(name) => Err(format!("unknown field {name:?}; `--key FIELD` stores whole lines")),
    }
}

/// The bytes of field `name`, or of its base64 twin.
fn bytes_of(fields: &Fields<'_>, name: &str) -> Result<Vec<u8>, String> {
    let twin = format!("{name}_base64");
    match (fields.get(name), fields.get(&twin)) {
        (Some(text), None) => string(name, text).map(String::into_bytes),
        (None, Some(text)) => from_base64(&string(&twin, text)?).map_err(|what| format!("field {twin:?} {what}")),
        (Some(_), Some(_)) => Err(format!("both fields {name:?} and {twin:?}; one must do")),
        (None, None) => Err(format!("no field {name:?} or {twin:?}")),
    }
}

/// The key that field `name` makes: the text of a string, a number as it is written.
fn key_of(fields: &Fields<'_>, name: &str) -> Result<Vec<u8>, String> {
    let text = fields.get(name).ok_or_else(|| format!("no field {name:?}"))?;
    match text.get().as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => Ok(text.get().as_bytes().to_vec()),
        Some(b'"') => string(name, text).map(String::into_bytes),
        _ => Err(format!("field {name:?} is neither a string nor a number")),
    }
}

/// The time that a line says, if it says one.
fn time_of(fields: &Fields<'_>) -> Result<Option<Time>, String> {
    let Some(text) = fields.get(EXPIRES) else { return Ok(None) };
    let ms = text.get().parse().map_err(|_| format!("field {EXPIRES:?} is no number of milliseconds since 1970"))?;
    Ok(Some(Time(ms)))
}

fn string(name: &str, text: &RawValue) -> Result<String, String> {
    if !text.get().starts_with('"') {
        return Err(format!("field {name:?} is not a string"));
    }
    serde_json::from_str(text.get()).map_err(|error| format!("field {name:?} is no text: {}", within_line(&error)))
}

/// The parser's words, without the line, which is always 1.
fn within_line(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column", " at column")
}
