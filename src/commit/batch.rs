//! What a writer brings to the queue: encoded records and what they ask for.
//!
//! Floor 4. Imports `address`, `error`, `format`, `limits`, `platform`, `segment`, `store`.

use crate::address::Seqno;
use crate::error::{Error, ErrorKind, Result};
use crate::format::catalogue::CatalogueRecord;
use crate::format::large::LargeValue;
use crate::format::record::{self, Draft, Header, Kind};
use crate::limits::{BATCH_LEN_MAX, EXTENSION_LEN, KEY_LEN_MAX, VALUE_LEN_MAX};
use crate::platform::Barrier;
use crate::segment::large::new::Unnamed;
use crate::store::range::Bounds;

/// Records that will be on disk whole or not at all: encoded, values checksummed, not yet placed.
#[derive(Debug, Default)]
pub(crate) struct Records {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// The files of large values that they are to name.
    pub(super) files: Vec<Unnamed>,
    /// Whether one of them at least is more than a delete.
    puts: bool,
    conditions: Vec<Condition>,
}

/// Where a put goes, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct To {
    pub(crate) keyspace: u16,
    /// When it is no more, in milliseconds since 1970.
    pub(crate) expiry: Option<u64>,
}

impl From<u16> for To {
    fn from(keyspace: u16) -> To {
        To { keyspace, expiry: None }
    }
}

/// What must hold when records are written, or none of them is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Condition {
    /// The key's record is still the one with this seqno; `None`: there is still none.
    Same { keyspace: u16, hash: u64, key: Box<[u8]>, seqno: Option<Seqno> },
    /// No key of the keyspace that lies within one of these bounds was written after this, which is a moment that is open.
    Unchanged { keyspace: u16, within: Vec<Bounds>, since: Seqno },
}

/// One record of `Records`, or of a group of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) keyspace: u16,
    pub(super) expires: bool,
    pub(super) hash: u64,
    /// Encoded bytes, without the horizon that the first of a group gets.
    pub(super) len: usize,
}

/// When the records of a member are written at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rule {
    Always,
    /// Only if the key of its one record is there: a delete.
    IfPresent,
}

/// One ticket's worth of work.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) records: Records,
    pub(crate) rule: Rule,
    /// The barrier to wait for, over everything written so far.
    pub(crate) barrier: Option<Barrier>,
    /// Close the active segment afterwards.
    pub(crate) seal: bool,
}

impl Records {
    pub(crate) fn new() -> Records {
        Records::default()
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds a put.
    ///
    /// # Errors
    /// `TooLarge` if key, value or the whole passes its limit; nothing is added then.
    pub(crate) fn put(&mut self, to: impl Into<To>, hash: u64, key: &[u8], value: &[u8]) -> Result<()> {
        let To { keyspace, expiry } = to.into();
        self.add(hash, Draft { kind: Kind::Put, keyspace, key, value, expiry })
    }

    /// Adds a put of a large value, whose file goes again if the records are dropped.
    ///
    /// # Errors
    /// As `put`.
    pub(super) fn put_large(
        &mut self,
        To { keyspace, expiry }: To,
        hash: u64,
        key: &[u8],
        file: Unnamed,
        large: &LargeValue,
    ) -> Result<()> {
        let value = &large.encode();
        self.add(hash, Draft { kind: Kind::PutLarge, keyspace, key, value, expiry })?;
        self.files.push(file);
        Ok(())
    }

    /// Adds a delete.
    ///
    /// # Errors
    /// As `put`.
    pub(crate) fn delete(&mut self, keyspace: u16, hash: u64, key: &[u8]) -> Result<()> {
        self.add(hash, Draft { kind: Kind::Delete, keyspace, key, value: &[], expiry: None })
    }

    /// Adds what is to be said of a keyspace or cursor.
    ///
    /// # Errors
    /// As `put`.
    pub(crate) fn say(&mut self, record: &CatalogueRecord<'_>) -> Result<()> {
        self.add(0, record.draft(&record.encode()))
    }

    fn add(&mut self, hash: u64, draft: Draft<'_>) -> Result<()> {
        check_lens(draft.key, draft.value.len() as u64)?;
        let len = draft.encoded_len();
        check_len("an encoded batch", (self.bytes.len() + len + EXTENSION_LEN) as u64, BATCH_LEN_MAX)?;
        if let Some(last) = self.entries.last() {
            let start = self.bytes.len() - last.len;
            record::set_more_follows(&mut self.bytes[start..]);
        }
        self.bytes.reserve(len);
        draft.encode(&mut self.bytes);
        self.entries.push(Entry {
            kind: draft.kind,
            keyspace: draft.keyspace,
            expires: draft.expiry.is_some(),
            hash,
            len,
        });
        self.puts |= !matches!(draft.kind, Kind::Delete | Kind::KeyspaceDrop | Kind::KeyspaceClear);
        Ok(())
    }

    /// Has them written only if this holds then.
    pub(crate) fn require(&mut self, condition: Condition) {
        self.conditions.push(condition);
    }

    pub(super) fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// Keyspace, hash and key of each, by decoding them.
    pub(super) fn keys(&self) -> impl Iterator<Item = (u16, u64, &[u8])> {
        let mut rest = &self.bytes[..];
        self.entries.iter().map(move |entry| {
            let (record, after) = rest.split_at(entry.len);
            rest = after;
            (entry.keyspace, entry.hash, key_of(record))
        })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether they take more than they give back.
    pub(super) fn puts(&self) -> bool {
        self.puts
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

/// The key of the encoded record at the start of `record`: our own bytes, encoded by `Draft`.
pub(super) fn key_of(record: &[u8]) -> &[u8] {
    match Header::decode(record) {
        Ok(header) => &record[header.key().start as usize..header.key().end as usize],
        Err(_) => unreachable!("a record encoded by `Draft` decodes"),
    }
}

/// The value of the encoded record at the start of `record`, as `key_of`.
pub(super) fn value_of(record: &[u8]) -> &[u8] {
    match Header::decode(record) {
        Ok(header) => &record[header.value().start as usize..header.value().end as usize],
        Err(_) => unreachable!("a record encoded by `Draft` decodes"),
    }
}

/// # Errors
/// `TooLarge` if the key or a value of this length passes its limit.
pub(crate) fn check_lens(key: &[u8], value_len: u64) -> Result<()> {
    check_len("a key", key.len() as u64, KEY_LEN_MAX as u64)?;
    check_len("a value", value_len, VALUE_LEN_MAX)
}

fn check_len(what: &str, len: u64, limit: u64) -> Result<()> {
    if len <= limit {
        return Ok(());
    }
    let text = format!("{what} of {len} bytes is longer than {limit}; nothing was written");
    Err(Error::new(ErrorKind::TooLarge, text))
}
