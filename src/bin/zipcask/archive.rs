//! `zipcask archive`: one archive, without its store.
//!
//! Floor 7. Imports nothing.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use indicatif::{HumanBytes, HumanCount};
use serde_json::json;
use zipcask::archive::{Archive as Opened, Facts};
use zipcask::{Error, ErrorKind};

use crate::coding::{Coding, shown};
use crate::failure::{Code, Failure, Outcome};
use crate::json::Time;
use crate::keyspaces::Within;
use crate::out::{Out, counted};
use crate::{get, json, verify};

/// Look into one archive, without its store
///
/// An archive is DIR/archives/*.zip, or a copy of one. It has what its store had when it was written, of a part of the
/// store's life: newer records, and deletes, may be in others. Large values are not in archives.
#[derive(Args)]
pub(crate) struct Archive {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Ls(Ls),
    Cat(Cat),
    Extract(Extract),
    Verify(Verify),
}

/// Show what an archive says of itself, the names of its store's keyspaces, and its entries
#[derive(Args)]
struct Ls {
    /// The archive
    zip: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Write the value of a key to stdout, byte for byte
#[derive(Args)]
struct Cat {
    /// The archive
    zip: PathBuf,
    /// The key
    #[arg(allow_negative_numbers = true)]
    key: String,
    #[command(flatten)]
    within: Within,
    #[command(flatten)]
    coding: Coding,
}

/// Write all records of a keyspace to stdout as JSON Lines, in key order, as `export` does
///
/// `import` of that into an empty store makes a store of what this archive has of the keyspace. What is damaged, or a large value, is left out, and
/// told of: exit code 3 or 1.
#[derive(Args)]
struct Extract {
    /// The archive
    zip: PathBuf,
    #[command(flatten)]
    within: Within,
}

/// Read the whole archive and check every checksum; exit code 3 if there is damage
#[derive(Args)]
struct Verify {
    /// The archive
    zip: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Archive {
    pub(crate) fn run(self) -> Outcome {
        match self.verb {
            Verb::Ls(Ls { zip, json }) => {
                let facts = Opened::open(zip)?.facts();
                if json { Out::new().now(format_args!("{}", as_json(&facts))) } else { tell(&facts) }
            }
            Verb::Cat(Cat { zip, key, within, coding }) => {
                let key = coding.decode("KEY", &key)?;
                let archive = Opened::open(zip)?;
                let keyspace = within.in_archive(&archive)?;
                let value = archive.get_in(keyspace, &key)?.ok_or_else(|| get::absent(&key))?;
                let mut out = Out::new();
                out.bytes(&value)?;
                out.done()
            }
            Verb::Extract(Extract { zip, within }) => {
                let archive = Opened::open(zip)?;
                extract(&archive, within.in_archive(&archive)?)
            }
            Verb::Verify(Verify { zip, json }) => verify::tell(&Opened::open(zip)?.verify()?, json),
        }
    }
}

fn as_json(facts: &Facts) -> serde_json::Value {
    let entries: Vec<_> = facts
        .entries
        .iter()
        .map(|entry| {
            json!({
                "name": entry.name,
                "offset": entry.offset,
                "len": entry.len,
                "packed_len": entry.packed_len,
                "records": entry.records,
            })
        })
        .collect();
    json!({
        "archive": facts.id,
        "database": hex(&facts.database),
        "file_bytes": facts.file_bytes,
        "covers": [facts.covers.start(), facts.covers.end()],
        "replaces": facts.replaces,
        "first_seqno": u64::from(*facts.seqnos.start()),
        "last_seqno": u64::from(*facts.seqnos.end()),
        "records": facts.records,
        "keyspaces": facts.keyspaces,
        "entries": entries,
    })
}

fn tell(facts: &Facts) -> Outcome {
    let mut out = Out::new();
    let (covers, seqnos) = (&facts.covers, &facts.seqnos);
    out.line(format_args!("archive {} of the store {}", facts.id, hex(&facts.database)))?;
    out.line(format_args!("{}, {}", HumanBytes(facts.file_bytes), counted(facts.records, "record")))?;
    out.line(format_args!(
        "in place of segments {} to {}, writes {} to {}",
        covers.start(),
        covers.end(),
        seqnos.start(),
        seqnos.end()
    ))?;
    if !facts.replaces.is_empty() {
        let ids: Vec<_> = facts.replaces.iter().map(u64::to_string).collect();
        out.line(format_args!("and of archives {}", ids.join(", ")))?;
    }
    let keyspaces: Vec<_> = facts.keyspaces.iter().map(|name| shown(name.as_bytes())).collect();
    out.line(format_args!("keyspaces {}", keyspaces.join(", ")))?;
    out.line(format_args!("{:>14} {:>14} {:>14} {:>12}  entry", "offset", "bytes", "unpacked", "records"))?;
    for entry in &facts.entries {
        let count = |count: u64| HumanCount(count).to_string();
        let records = entry.records.map_or("-".to_string(), count);
        let [offset, packed, len] = [entry.offset, entry.packed_len, entry.len].map(count);
        out.line(format_args!("{offset:>14} {packed:>14} {len:>14} {records:>12}  {}", entry.name))?;
    }
    out.done()
}

fn extract(archive: &Opened, keyspace: &str) -> Outcome {
    let (mut pairs, mut left_out): (_, Vec<Error>) = (Vec::new(), Vec::new());
    for pair in archive.iter_in(keyspace) {
        match pair {
            Ok(pair) => pairs.push(pair),
            Err(error) if matches!(error.kind(), ErrorKind::Corruption | ErrorKind::NotFound) => left_out.push(error),
            Err(error) => return Err(error.into()),
        }
    }
    pairs.sort_unstable_by(|(a, _), (b, _)| a[..].cmp(&b[..]));
    let mut out = Out::new();
    for (key, value) in &pairs {
        let time = archive.expires_at_in(keyspace, key)?;
        out.bytes(&json::line(key, value, time.map(Time::from)))?;
    }
    out.done()?;
    // Damage is what matters most.
    let told = left_out.iter().find(|error| error.kind() == ErrorKind::Corruption).or(left_out.first());
    match told {
        None => Ok(()),
        Some(error) => {
            let code = if error.kind() == ErrorKind::Corruption { Code::Damage } else { Code::NotFound };
            let count = counted(left_out.len() as u64, "record");
            Err(Failure::new(code, format!("left out {count}, among them: {error}")))
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
