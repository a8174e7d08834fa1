//! Packing segments as they are: records, places and checksums stay.
//!
//! Floor 4. Imports `compact`, `error`, `format`, `limits`, `reclaim`, `segment`, `store`, `zipfile`.

use crate::compact::pace::Pace;
use crate::compact::rewrite::{Rewritten, write_entry};
use crate::error::Result;
use crate::format::names;
use crate::limits::FOOTER_LEN;
use crate::reclaim::hold::Hold;
use crate::segment::Segment;
use crate::segment::source::Source;
use crate::store::{Store, hints};
use crate::zipfile::write::Writer;

/// Bytes that are copied at once.
const PIECE_LEN: u64 = 256 << 10;

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
        writer.start(&name, footer.end + FOOTER_LEN)?;
        let (mut at, mut piece) = (0, vec![0; PIECE_LEN.min(footer.end) as usize]);
        while at < footer.end {
            let len = PIECE_LEN.min(footer.end - at) as usize;
            Source::Cache.read_exact(&*file, segment.path(), &mut piece[..len], at)?;
            writer.write(&piece[..len])?;
            pace.work(2 * len as u64)?;
            at += len as u64;
        }
        writer.write(&footer.encode(segment.salt()))?;
        done.entries.push(writer.end());
        done.entries.push(write_entry(writer, &names::hint_entry(&name), &hint)?);
        done.records += footer.record_count;
    }
    Ok(done)
}
