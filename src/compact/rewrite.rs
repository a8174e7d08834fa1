//! Copying what is live of some segments into packed ones, in the entries of an archive.
//!
//! Floor 4. Imports `address`, `compact`, `error`, `format`, `limits`, `reclaim`, `sabotage`, `segment`, `store`, `sync`, `zipfile`.
//!
//! Memory is a window of the source, a batch of records, a buffer of the output and its hint: bounded, whatever the store's
//! size (C5). Puts of ordered keyspaces come last, in the order of their keys, which takes 12.5 bytes a record of the sources: those of one
//! job are bounded, too. A delete that stays is older than the put of its key that does, and so it may well stand before it.

use crate::address::{LargeId, Location, SegmentId, Seqno};
use crate::compact::older::Older;
use crate::compact::pace::Pace;
use crate::error::{Error, Result};
use crate::format::catalogue::CatalogueRecord;
use crate::format::checksum::{self, Salt};
use crate::format::compression::Compression;
use crate::format::hint::{Listed, ListedKind};
use crate::format::hint_build::Builder;
use crate::format::hint_header::HintHeader;
use crate::format::large::LargeValue;
use crate::format::manifest::ManifestEntry;
use crate::format::names;
use crate::format::record::{self, Flaw, Header, Kind};
use crate::format::segment::{Footer, SegmentHeader, SegmentKind};
use crate::limits::{CHUNK_LEN, FOOTER_LEN, HEADER_COPY, PACKED_LEN_MAX, PACKED_RECORDS_MAX, RECORDS_START, SECTOR};
use crate::reclaim::hold::Hold;
use crate::reclaim::pin::Pin;
use crate::sabotage::{Sabotage, planted};
use crate::segment::Segment;
use crate::segment::scan::{Scan, Scanned, Step, Values};
use crate::segment::source::Source;
use crate::store::Store;
use crate::store::apply::AHEAD;
use crate::store::merge::{Keys, Merge, Side, Taken};
use crate::store::space::{Finder, Space};
use crate::sync::Arc;
use crate::zipfile::write::Writer;

/// Bytes that are collected before they are judged.
const BATCH_LEN: usize = 256 << 10;

/// Bytes that are written at once.
pub(super) const PIECE_LEN: usize = 256 << 10;

/// What a rewriting came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Rewritten {
    pub(super) entries: Vec<ManifestEntry>,
    pub(super) records: u64,
    /// Records whose value fails its checksum: they are copied as they are, and stay damage to their keys alone.
    pub(super) rotten: u64,
    /// Tombstones that stay, because an older file may hold what they delete, and those that went.
    pub(super) tombstones_kept: u64,
    pub(super) tombstones_dropped: u64,
    /// Bytes of those that stay, and of what is said of keyspaces and cursors, in each segment that was written.
    pub(super) needed: Vec<u64>,
    /// Large values that only records of the sources name, which nobody sees any more.
    pub(super) dead_large: Vec<(LargeId, u64)>,
}

/// One rewriting.
pub(super) struct Rewriter<'a> {
    store: &'a Store,
    writer: &'a mut Writer,
    older: &'a Older<'a>,
    pace: &'a Pace<'a>,
    first_seqno: Seqno,
    /// Bytes of records that are still to be looked at: no output is longer.
    ahead: u64,
    output: Option<Output>,
    batch: Batch,
    /// Keyspaces whose puts are copied behind everything else, in the order of their keys.
    by_key: Vec<Arc<Space>>,
    done: Rewritten,
}

/// Records of one source that are not judged yet.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    members: Vec<Candidate>,
}

struct Candidate {
    header: Header,
    hash: u64,
    /// Where it lies.
    at: Location,
    large: Option<(LargeId, u64)>,
    /// Whether its value fails its checksum.
    rotten: bool,
    /// Of `Batch::bytes`.
    start: usize,
}

/// A packed segment that is being written.
struct Output {
    header: SegmentHeader,
    salt: Salt,
    /// Where the next record goes.
    end: u64,
    crc: u32,
    count: u64,
    last_seqno: Seqno,
    needed: u64,
    hint: Builder,
    bytes: Vec<u8>,
}

impl<'a> Rewriter<'a> {
    pub(super) fn new(
        store: &'a Store,
        writer: &'a mut Writer,
        older: &'a Older<'a>,
        pace: &'a Pace<'a>,
        sources: &[Hold<Segment>],
        first_seqno: Seqno,
    ) -> Rewriter<'a> {
        // Each record of another place in a packed segment would have a chunk unpacked.
        let can_go_by_key =
            |space: &Arc<Space>| sources.iter().all(|source| source.is_mapped() || source.is_sorted(space.id()));
        let ordered = store.spaces().ordered();
        let by_key = if ordered.iter().all(can_go_by_key) { ordered } else { Vec::new() };
        let ahead = sources.iter().map(|source| source.used_bytes()).sum();
        let (output, batch, done) = (None, Batch::default(), Rewritten::default());
        Rewriter { store, writer, older, pace, first_seqno, ahead, output, batch, by_key, done }
    }

    /// Takes all sources, oldest first: what has no order in the order of the log, and then the puts that have one in theirs.
    ///
    /// # Errors
    /// As the system says; `Corruption`.
    pub(super) fn take_all(&mut self, sources: &[Hold<Segment>]) -> Result<()> {
        sources.iter().try_for_each(|source| self.take(source))?;
        let by_key = self.by_key.clone();
        by_key.iter().try_for_each(|space| self.take_by_key(space, sources))
    }

    /// Takes the puts of a keyspace.
    fn take_by_key(&mut self, space: &Space, sources: &[Hold<Segment>]) -> Result<()> {
        let (mut merge, mut keys) = (self.store.puts_by_key(space, sources)?, Keys::default());
        loop {
            merge.take_many(Side::Below, AHEAD, &mut keys);
            if keys.is_empty() {
                break;
            }
            for same in keys.iter() {
                self.take_key(&merge, keys.records(same))?;
                if self.batch.members.len() >= AHEAD || self.batch.bytes.len() >= BATCH_LEN {
                    self.judge_deferred()?;
                }
            }
        }
        self.judge_deferred()?;
        merge.failed().map_or(Ok(()), Err)
    }

    /// Takes all puts of one key.
    fn take_key(&mut self, merge: &Merge, taken: &[Taken]) -> Result<()> {
        // The oldest first, as a replay wants them: sources are disjoint in age, and come oldest first.
        let mut places: Vec<_> = taken.iter().map(|taken| merge.lane(*taken).place(*taken)).collect();
        places.sort_by_key(|(source, offset)| (source.first_seqno(), source.place(), *offset));
        for (source, offset) in places {
            let (header, record, value) = source.whole(offset)?;
            let at = header.value();
            let large = match header.kind {
                Kind::PutLarge => {
                    let named = LargeValue::decode(&record[at.start as usize..at.end as usize]);
                    Some(named.map_err(|flaw| source.flawed(offset, &flaw))?)
                }
                _ => None,
            };
            let head = &record[..header.head_len() as usize];
            let record = Scanned { offset, header, head, record: &record, value, large, catalogue: None };
            self.collect(&record, Location::new(source.place(), offset));
        }
        Ok(())
    }

    fn judge_deferred(&mut self) -> Result<()> {
        let len = self.batch.bytes.len() as u64;
        self.judge()?;
        self.ahead = self.ahead.saturating_sub(len);
        Ok(())
    }

    /// Takes what has no order of the next source.
    ///
    /// # Errors
    /// `Corruption` if its records cannot be walked; as the system says.
    fn take(&mut self, source: &Segment) -> Result<()> {
        let mut deferred = 0;
        let (file, end) = (source.file()?, source.tail().published());
        let mut scan = Scan::new(&*file, source.path(), source.salt(), end, Source::Cache, Values::Bring);
        while scan.offset() < end {
            match scan.step()? {
                // Its hint could not name it, and a delete of its key would be dropped (C4).
                Step::Record(Scanned { offset, header: Header { kind: Kind::PutLarge, .. }, large: None, .. }) => {
                    let what = "what the record says of a large value is damaged".to_owned();
                    return Err(source.flawed(offset, &Flaw::Damaged(what)));
                }
                Step::Record(record)
                    if record.header.kind.is_put()
                        && self.by_key.iter().any(|space| space.id() == record.header.keyspace) =>
                {
                    deferred += record.header.record_len();
                }
                Step::Record(record) => self.collect(&record, Location::new(source.place(), record.offset)),
                Step::Stop(flaw) => return Err(source.flawed(scan.offset(), &flaw)),
            }
            if self.batch.members.len() == AHEAD || self.batch.bytes.len() >= BATCH_LEN {
                self.judge()?;
            }
        }
        self.judge()?;
        self.ahead = self.ahead.saturating_sub(source.used_bytes() - deferred);
        Ok(())
    }

    /// Ends the last segment and says what it came to.
    ///
    /// # Errors
    /// As the system says.
    pub(super) fn finish(mut self) -> Result<Rewritten> {
        self.end_output()?;
        Ok(self.done)
    }

    fn collect(&mut self, record: &Scanned<'_>, at: Location) {
        let start = self.batch.bytes.len();
        self.batch.bytes.extend_from_slice(record.record);
        let large = record.large.map(|large| (large.id, large.len));
        let hash = self.store.hash(record.key());
        let rotten = record.value.is_some();
        self.batch.members.push(Candidate { header: record.header, hash, at, large, rotten, start });
    }

    /// Copies what is live of the batch.
    fn judge(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        self.pace.work(batch.bytes.len() as u64)?;
        let live: Vec<bool> = {
            let (pin, mut finder) = (Pin::new(), Finder::new(self.store.spaces()));
            for member in &batch.members {
                if let Some(space) = finder.get(member.header.keyspace) {
                    space.table(&pin).prefetch(member.hash, &pin);
                }
            }
            let mut says = |member: &Candidate| {
                let space = finder.get(member.header.keyspace);
                space.is_some_and(|space| space.table(&pin).says(member.hash, member.at, &pin))
            };
            batch.members.iter().map(&mut says).collect()
        };
        // What expired and left the index hides what is older of its key, as a delete does.
        let hides =
            |member: &Candidate, live: bool| member.header.kind == Kind::Delete || member.header.has_expiry && !live;
        let hiding = batch.members.iter().zip(&live).filter(|(member, live)| hides(member, **live));
        let deletes = hiding.map(|(member, _)| member).map(|member| (member.hash, member.header.keyspace));
        let mut needed = self.older.may_hold(&deletes.collect::<Vec<_>>()).into_iter();
        for (member, live) in batch.members.iter().zip(live) {
            let record = &batch.bytes[member.start..member.start + member.header.record_len() as usize];
            match member.header.kind {
                Kind::Put | Kind::PutLarge if live => self.copy(member, record)?,
                Kind::Put | Kind::PutLarge if member.header.has_expiry && needed.next() == Some(true) => {
                    self.done.dead_large.extend(member.large);
                    if !planted(Sabotage::ExpiredHidesNothing) {
                        self.keep_delete(member, record)?;
                    }
                }
                Kind::Put | Kind::Pad => {}
                Kind::PutLarge => self.done.dead_large.extend(member.large),
                Kind::Delete if needed.next() == Some(true) => {
                    self.done.tombstones_kept += 1;
                    self.copy(member, record)?;
                }
                Kind::Delete => self.done.tombstones_dropped += 1,
                Kind::KeyspaceCreate | Kind::KeyspaceDrop | Kind::KeyspaceClear | Kind::Cursor => {
                    if self.is_said(&member.header, record) {
                        self.copy(member, record)?;
                    }
                }
            }
        }
        (self.batch.bytes, self.batch.members) = (batch.bytes, batch.members);
        self.batch.bytes.clear();
        self.batch.members.clear();
        Ok(())
    }

    /// Whether a record of the catalogue still says something.
    fn is_said(&self, header: &Header, record: &[u8]) -> bool {
        let at = header.value();
        let said = CatalogueRecord::of(header.kind, header.keyspace, &record[at.start as usize..at.end as usize]);
        said.is_ok_and(|said| self.store.spaces().is_said(&said, header.seqno, self.older.is_any()))
    }

    /// Puts a delete in the place of what has expired: it hides as much, and takes up less.
    fn keep_delete(&mut self, member: &Candidate, record: &[u8]) -> Result<()> {
        let mut delete = Vec::new();
        let header = record::delete_in_place_of(record, &member.header, &mut delete);
        self.done.tombstones_kept += 1;
        self.copy(&Candidate { header, large: None, rotten: false, ..*member }, &delete)
    }

    fn copy(&mut self, member: &Candidate, record: &[u8]) -> Result<()> {
        let full = self.output.as_ref().is_some_and(|output| {
            output.count >= PACKED_RECORDS_MAX || output.end + (record.len() as u64) + FOOTER_LEN > output.header.len
        });
        if full {
            self.end_output()?;
        }
        let output = match &mut self.output {
            Some(output) => output,
            None => self.output.insert(begin_output(
                self.store,
                self.writer,
                self.done.needed.len() as u64 + 1,
                self.first_seqno,
                self.ahead.max(record.len() as u64),
            )?),
        };
        let compressed = self.store.settings().archive_compression != Compression::None;
        if compressed && output.bytes.len() + record.len() > CHUNK_LEN {
            output.flush(self.writer, self.pace)?;
        }
        let (start, offset) = (output.bytes.len(), output.end);
        record::transplant(record, &member.header, output.salt, offset, &mut output.bytes);
        let len = (output.bytes.len() - start) as u64;
        output.end += len;
        output.count += 1;
        output.last_seqno = output.last_seqno.max(member.header.seqno);
        if !matches!(member.header.kind, Kind::Put | Kind::PutLarge) {
            output.needed += len;
        }
        let (hash, keyspace) = (member.hash, member.header.keyspace);
        match (member.large, ListedKind::of(member.header.kind)) {
            (_, None) => {}
            (Some(large), Some(kind)) => output.hint.add_large(Listed { hash, offset, kind, keyspace, len }, large),
            (None, Some(kind)) => output.hint.add(Listed { hash, offset, kind, keyspace, len }),
        }
        self.done.records += 1;
        self.done.rotten += u64::from(member.rotten);
        if output.bytes.len() >= PIECE_LEN { output.flush(self.writer, self.pace) } else { Ok(()) }
    }

    fn end_output(&mut self) -> Result<()> {
        let Some(mut output) = self.output.take() else { return Ok(()) };
        output.flush(self.writer, self.pace)?;
        let footer =
            Footer { end: output.end, last_seqno: output.last_seqno, record_count: output.count, crc: output.crc };
        self.writer.write(&footer.encode(output.salt))?;
        self.done.entries.push(self.writer.end());
        let header = HintHeader {
            kind: SegmentKind::Packed,
            hash_kind: self.store.identity().hash_kind,
            database: output.header.database,
            id: output.header.id,
            epoch: output.header.epoch,
            first_seqno: output.header.first_seqno,
            last_seqno: output.last_seqno,
            end: output.end,
            all_records: output.count,
        };
        let name = names::packed_entry(output.header.id);
        let hint = output.hint.finish(&header);
        self.done.entries.push(write_entry(self.writer, &names::hint_entry(&name), &hint)?);
        self.done.needed.push(output.needed);
        Ok(())
    }
}

/// Writes a whole entry.
///
/// # Errors
/// As the system says.
pub(super) fn write_entry(writer: &mut Writer, name: &str, bytes: &[u8]) -> Result<ManifestEntry> {
    writer.start(name, bytes.len() as u64)?;
    writer.write(bytes)?;
    Ok(writer.end())
}

/// Starts a packed segment for `len` bytes of records at most.
fn begin_output(store: &Store, writer: &mut Writer, number: u64, first_seqno: Seqno, len: u64) -> Result<Output> {
    let mut epoch = [0; 16];
    let drawn = store.disk().random(&mut epoch);
    drawn.map_err(|error| Error::io("cannot draw randomness for a packed segment", error))?;
    let len = (RECORDS_START + len.min(PACKED_LEN_MAX) + FOOTER_LEN).next_multiple_of(8);
    let header = SegmentHeader {
        database: store.identity().database,
        id: SegmentId(number),
        epoch,
        kind: SegmentKind::Packed,
        first_seqno,
        len,
    };
    writer.start_packed(&names::packed_entry(header.id), len, store.settings().archive_compression)?;
    let (mut start, sector) = ([0; RECORDS_START as usize], header.encode());
    start[..SECTOR].copy_from_slice(&sector);
    start[HEADER_COPY as usize..][..SECTOR].copy_from_slice(&sector);
    writer.write(&start)?;
    Ok(Output {
        salt: header.salt(),
        header,
        end: RECORDS_START,
        crc: 0,
        count: 0,
        last_seqno: (u64::from(first_seqno) - 1).into(),
        needed: 0,
        hint: Builder::default(),
        bytes: Vec::new(),
    })
}

impl Output {
    fn flush(&mut self, writer: &mut Writer, pace: &Pace<'_>) -> Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        self.crc = checksum::extend(self.crc, &self.bytes);
        writer.write(&self.bytes)?;
        let len = self.bytes.len() as u64;
        self.bytes.clear();
        pace.work(len)
    }
}
