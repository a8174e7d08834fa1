//! Packing segments as they are: records, places and checksums stay.
//!
//! Floor 4. Imports `compact`, `error`, `format`, `limits`, `platform`, `reclaim`, `segment`, `store`, `sync`, `zipfile`.

use std::ops::Range;

use crate::compact::pace::Pace;
use crate::compact::rewrite::{PIECE_LEN, Rewritten, write_entry};
use crate::error::Result;
use crate::format::compression::Compression;
use crate::format::names;
use crate::limits::{CHUNK_LEN, FOOTER_LEN, RECORDS_START};
use crate::platform::File;
use crate::reclaim::hold::Hold;
use crate::segment::Segment;
use crate::segment::scan::{Scan, Scanned, Step, Values};
use crate::segment::source::Source;
use crate::store::{Store, hints};
use crate::sync::Arc;
use crate::zipfile::write::Writer;

/// Writes each segment without its free space, and its hint.
///
/// # Errors
/// `Corruption` if one has no valid footer, or records that cannot be walked; as the system says.
pub(super) fn pack(
    store: &Store,
    writer: &mut Writer,
    pace: &Pace<'_>,
    segments: &[Hold<Segment>],
) -> Result<Rewritten> {
    let mut done = Rewritten::default();
    for segment in segments {
        let name = names::log_entry(segment.id());
        let (file, footer) = (segment.file()?, segment.footer()?);
        let hint = hints::build(segment, &segment.header_facts(store.identity().database), store.hasher(), |len| {
            pace.work(len)
        })?;
        let compression = store.settings().archive_compression;
        writer.start_packed(&name, footer.end + FOOTER_LEN, compression)?;
        match compression {
            Compression::None => copy(writer, pace, segment, &file, 0..footer.end)?,
            _ => {
                copy(writer, pace, segment, &file, 0..RECORDS_START)?;
                copy_records(writer, pace, segment, &*file, footer.end)?;
            }
        }
        writer.write(&footer.encode(segment.salt()))?;
        done.entries.push(writer.end());
        done.entries.push(write_entry(writer, &names::hint_entry(&name), &hint)?);
        done.records += footer.record_count;
    }
    Ok(done)
}

/// Copies what lies in `bytes` of a segment.
fn copy(
    writer: &mut Writer,
    pace: &Pace<'_>,
    segment: &Segment,
    file: &Arc<dyn File>,
    bytes: Range<u64>,
) -> Result<()> {
    let (mut at, mut piece) = (bytes.start, vec![0; PIECE_LEN.min((bytes.end - bytes.start) as usize)]);
    while at < bytes.end {
        let len = piece.len().min((bytes.end - at) as usize);
        Source::Cache.read_exact(&**file, segment.path(), &mut piece[..len], at)?;
        writer.write_from(&piece[..len], file, at)?;
        pace.work(2 * len as u64)?;
        at += len as u64;
    }
    Ok(())
}

/// Copies the records of a segment that end at `end`, as many at once as a chunk has.
fn copy_records(writer: &mut Writer, pace: &Pace<'_>, segment: &Segment, file: &dyn File, end: u64) -> Result<()> {
    let mut scan = Scan::new(file, segment.path(), segment.salt(), end, Source::Cache, Values::Bring);
    let mut chunk = Vec::new();
    while scan.offset() < end {
        match scan.step()? {
            Step::Record(Scanned { record, .. }) => {
                if chunk.len() + record.len() > CHUNK_LEN && !chunk.is_empty() {
                    writer.write(&chunk)?;
                    pace.work(2 * chunk.len() as u64)?;
                    chunk.clear();
                }
                chunk.extend_from_slice(record);
            }
            Step::Stop(flaw) => return Err(segment.flawed(scan.offset(), &flaw)),
        }
    }
    if chunk.is_empty() { Ok(()) } else { writer.write(&chunk) }
}
