//! `zipcask dump`.
//!
//! Floor 7. Imports nothing.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use zipcask::inspect::{self, Item, Record, What};

use crate::coding::{shown, to_base64};
use crate::failure::Outcome;
use crate::out::Out;
use crate::{opened, verify};

/// Show what lies where in a store, file by file and record by record, also in one that does not open
///
/// A line each: offset, bytes, what lies there. Damage is shown where it is, and what is behind it is shown, too. Only what a record says of
/// itself is shown, not its value. A keyspace stands there by its name, where a record or an archive tells it, and its number. Nobody should have the store
/// open.
///
/// If damage was shown, the exit code is that of `verify --deep`: 3, unless it is all what a crash leaves at the end of the log, or of no use to anybody.
#[derive(Args)]
pub(crate) struct Dump {
    /// The store's directory
    dir: PathBuf,
    /// A JSON object a line
    #[arg(long)]
    json: bool,
}

impl Dump {
    pub(crate) fn run(self) -> Outcome {
        let (mut out, mut file, mut damaged) = (Out::new(), String::new(), false);
        for item in inspect::dump(&self.dir).map_err(|error| opened::missing(&self.dir, error))? {
            damaged |= is_damaged(&item.what);
            if self.json {
                out.line(format_args!("{}", as_json(&item)))?;
                continue;
            }
            if item.file != file {
                out.line(format_args!("{}", item.file))?;
                file.clone_from(&item.file);
            }
            out.line(format_args!("{:>12} {:>10}  {}", item.offset, item.len, text(&item.what)))?;
        }
        let shown = out.done();
        if damaged {
            // More important than whether somebody read it.
            verify::count(&inspect::verify(&self.dir)?)?;
        }
        shown
    }
}

fn is_damaged(what: &What) -> bool {
    match what {
        What::Damaged(_) => true,
        What::Record(record) => record.damage.is_some(),
        _ => false,
    }
}

fn text(what: &What) -> String {
    match what {
        What::Part(says) => says.clone(),
        What::Damaged(why) => format!("DAMAGED: {why}"),
        What::Free => "free".to_string(),
        What::Record(record) => of_record(record),
        _ => "unknown".to_string(),
    }
}

fn of_record(record: &Record) -> String {
    let Record { kind, keyspace, keyspace_name, seqno, key, value_len, .. } = record;
    let mut text = format!("{seqno} {kind}");
    match keyspace_name {
        _ if *keyspace == 0 => {}
        Some(name) => text.push_str(&format!(" in keyspace \"{}\" ({keyspace})", shown(name.as_bytes()))),
        None => text.push_str(&format!(" in keyspace {keyspace}")),
    }
    text.push_str(&format!(" \"{}\", {value_len} bytes", shown(key)));
    if let Some(file) = &record.large {
        text.push_str(&format!(" in {file}"));
    }
    if record.more_follows {
        text.push_str(", more of its batch follows");
    }
    if let Some(why) = &record.damage {
        text.push_str(&format!(", DAMAGED: {why}"));
    }
    text
}

fn as_json(item: &Item) -> Value {
    let mut object = json!({ "file": item.file, "offset": item.offset, "len": item.len });
    let more = match &item.what {
        What::Part(says) => json!({ "part": says }),
        What::Damaged(why) => json!({ "damaged": why }),
        What::Free => json!({ "free": true }),
        What::Record(record) => json!({
            "record": record.kind,
            "seqno": u64::from(record.seqno),
            "keyspace": record.keyspace,
            "keyspace_name": record.keyspace_name,
            "key_base64": to_base64(&record.key),
            "value_len": record.value_len,
            "large": record.large,
            "more_follows": record.more_follows,
            "damaged": record.damage,
        }),
        _ => json!({}),
    };
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    object
}
