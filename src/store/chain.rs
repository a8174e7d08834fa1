//! The chain of a segment's records: where its footer says that it ends, and that it is whole.
//!
//! Floor 3. Imports `error`, `format`, `limits`, `platform`, `segment`, `store`.

use crate::error::{Error, Result};
use crate::format::catalogue::CatalogueRecord;
use crate::format::record::Header;
use crate::format::segment::{Footer, SegmentHeader, SegmentKind};
use crate::limits::{FOOTER_LEN, RECORDS_START};
use crate::platform::File;
use crate::segment::Segment;
use crate::segment::scan::{Scan, Scanned, Step, Values};
use crate::segment::source::Source;
use crate::store::torn::{End, Unsealed};

/// Where a sealed segment ends, by its footer; `None` without a valid one.
///
/// # Errors
/// `Corruption` if the footer says what cannot be; as the system says.
pub(super) fn footer(segment: &Unsealed<'_>, header: &SegmentHeader) -> Result<Option<End>> {
    if segment.readable < segment.len {
        return Ok(None);
    }
    let mut bytes = [0; FOOTER_LEN as usize];
    let offset = segment.len - FOOTER_LEN;
    segment.source.read_exact(segment.file, segment.path, &mut bytes, offset)?;
    let footer = Footer::decode(&bytes, segment.salt);
    footer.map(|footer| checked(&footer, header, segment.path)).transpose()
}

/// Shows `each` the records of a segment below `end`: all, or those from an earlier end on. Their chain must be whole.
///
/// # Errors
/// `Corruption` if it is not; `FormatVersion`; those of `each`.
pub(super) fn read_records(
    file: &dyn File,
    segment: &Segment,
    from: Option<&End>,
    end: &End,
    mut each: impl FnMut(&Scanned<'_>) -> Result<()>,
) -> Result<()> {
    let (path, start) = (segment.path(), from.map_or(RECORDS_START, |from| from.offset));
    let mut scan = Scan::new(file, path, segment.salt(), end.offset, Source::Cache, Values::Skip).from(start);
    let mut order = from.map_or_else(|| Order::before(segment.kind(), end), Order::after);
    while scan.offset() < end.offset {
        match scan.step()? {
            Step::Record(record) => {
                order.take(&record, path)?;
                check_catalogue(&record, path)?;
                each(&record)?;
            }
            Step::Stop(flaw) => {
                let what =
                    format_args!("{flaw}; what follows cannot be found without it; restore the file from a backup");
                return Err(Error::corruption(path, scan.offset(), what));
            }
        }
    }
    if !order.is_complete(end) {
        let what = format_args!("the records end with {}, {} is expected", order.last, end.last_seqno);
        return Err(Error::corruption(path, end.offset, what));
    }
    Ok(())
}

/// Refuses what the catalogue cannot say.
///
/// # Errors
/// `Corruption` if a record of the catalogue is damaged: what it says is of more than one key.
pub(crate) fn check_catalogue(record: &Scanned<'_>, path: &str) -> Result<()> {
    let Header { kind, keyspace, .. } = record.header;
    if kind.is_catalogue() {
        let flaw = match record.catalogue {
            None => Some("its value fails its checksum".to_owned()),
            Some(said) => CatalogueRecord::of(kind, keyspace, said).err().map(|flaw| flaw.to_string()),
        };
        if let Some(flaw) = flaw {
            let what =
                format_args!("what it says of a keyspace or cursor is damaged: {flaw}; restore the file from a backup");
            return Err(Error::corruption(path, record.offset, what));
        }
    }
    Ok(())
}

/// A footer's numbers, if they fit the segment that it stands in.
///
/// # Errors
/// `Corruption` if they do not: its checksum holds, so this is not a torn write.
fn checked(footer: &Footer, header: &SegmentHeader, path: &str) -> Result<End> {
    let records = u64::from(footer.last_seqno).checked_sub(u64::from(header.first_seqno) - 1);
    let in_range = (RECORDS_START..=header.len - FOOTER_LEN).contains(&footer.end);
    if !in_range || records != Some(footer.record_count) {
        let what = format_args!(
            "the footer says {} records up to {} and offset {}, which cannot be",
            footer.record_count, footer.last_seqno, footer.end
        );
        return Err(Error::corruption(path, header.len - FOOTER_LEN, what));
    }
    Ok(End { offset: footer.end, last_seqno: footer.last_seqno, record_count: footer.record_count, crc: footer.crc })
}

/// The seqnos of a segment's records, one after the other: contiguous in the log; where records were rewritten in any order, up to the
/// one that the footer says.
struct Order {
    kind: SegmentKind,
    /// The highest so far.
    last: u64,
    count: u64,
    /// The highest that one may have.
    most: u64,
}

impl Order {
    /// Before the first record of a segment with this end.
    fn before(kind: SegmentKind, end: &End) -> Order {
        let last = match kind {
            SegmentKind::Log => u64::from(end.last_seqno) - end.record_count,
            SegmentKind::Packed => 0,
        };
        Order { kind, last, count: 0, most: end.last_seqno.into() }
    }

    /// After the last record before an end of a segment of the log.
    fn after(end: &End) -> Order {
        Order { kind: SegmentKind::Log, last: end.last_seqno.into(), count: end.record_count, most: u64::MAX }
    }

    fn take(&mut self, record: &Scanned<'_>, path: &str) -> Result<()> {
        let (seqno, next) = (u64::from(record.header.seqno), self.last + 1);
        if self.kind == SegmentKind::Log && seqno != next {
            let what = format_args!("record {seqno} where record {next} is expected");
            return Err(Error::corruption(path, record.offset, what));
        }
        if self.kind == SegmentKind::Packed && !(1..=self.most).contains(&seqno) {
            let what = format_args!("record {seqno} where none is behind {}", self.most);
            return Err(Error::corruption(path, record.offset, what));
        }
        (self.last, self.count) = (self.last.max(seqno), self.count + 1);
        Ok(())
    }

    fn is_complete(&self, end: &End) -> bool {
        self.count == end.record_count && (self.count == 0 || self.last == u64::from(end.last_seqno))
    }
}

#[cfg(test)]
mod tests {
    use super::{Order, checked, footer};
    use crate::address::{SegmentId, Seqno};
    use crate::format::checksum::Salt;
    use crate::format::record::{Draft, Header, Kind, stamp};
    use crate::format::segment::{Footer, SegmentHeader, SegmentKind};
    use crate::limits::FOOTER_LEN;
    use crate::platform::memory::MemoryDisk;
    use crate::platform::{Disk, File};
    use crate::segment::scan::Scanned;
    use crate::segment::source::Source;
    use crate::store::torn::{End, Unsealed};

    const LEN: u64 = 1 << 20;

    fn end(last_seqno: u64, record_count: u64) -> End {
        End { offset: 8192, last_seqno: last_seqno.into(), record_count, crc: 0 }
    }

    /// Whether a record of this seqno may come next.
    fn takes(order: &mut Order, seqno: u64) -> bool {
        let mut bytes = Vec::new();
        Draft { kind: Kind::Put, keyspace: 0, key: b"key", value: b"", expiry: None }.encode(&mut bytes);
        stamp(&mut bytes, Seqno::from(seqno), Salt(0), 4096);
        let header = Header::decode(&bytes).unwrap();
        let (head, value, large, catalogue) = (&bytes[..], None, None, None);
        order.take(&Scanned { offset: 4096, header, head, record: head, value, large, catalogue }, "file").is_ok()
    }

    fn header() -> SegmentHeader {
        let (database, id, epoch, kind) = ([1; 16], SegmentId(1), [2; 16], SegmentKind::Log);
        SegmentHeader { database, id, epoch, kind, first_seqno: Seqno::from(10), len: LEN }
    }

    #[test]
    fn a_file_that_ends_before_its_footer_has_none() {
        let (disk, header) = (MemoryDisk::new(), header());
        let file = disk.create("segment").unwrap();
        let written = Footer { end: 4096, last_seqno: Seqno::from(9), record_count: 0, crc: 7 };
        file.write_at(&written.encode(header.salt()), LEN - FOOTER_LEN).unwrap();
        let found = |file: &dyn File, readable| {
            let (path, salt, source) = ("segment", header.salt(), Source::Device);
            let (first_seqno, expected) = (header.first_seqno, None);
            footer(&Unsealed { file, path, salt, len: LEN, readable, first_seqno, expected, source }, &header).unwrap()
        };
        assert_eq!(found(&*file, LEN), Some(End { offset: 4096, last_seqno: 9.into(), record_count: 0, crc: 7 }));
        let cut = disk.create("cut").unwrap();
        cut.write_at(&[1; 100], 4096).unwrap();
        for readable in [4196, LEN - 1] {
            assert_eq!(found(&*cut, readable), None, "{readable} bytes");
        }
        cut.write_at(&[0], LEN - 1).unwrap();
        assert_eq!(found(&*cut, LEN), None, "zeros");
    }

    #[test]
    fn a_footer_counts_up_to_its_bounds_and_beyond_them_it_is_damage() {
        let header = header();
        for (end, last, record_count, sound) in [
            (4096, 9, 0, true),
            (LEN - 64, 19, 10, true),
            (4088, 9, 0, false),
            (LEN - 56, 19, 10, false),
            (8192, 18, 10, false),
            (8192, 20, 10, false),
            (8192, 8, 0, false),
        ] {
            let footer = Footer { end, last_seqno: Seqno::from(last), record_count, crc: 7 };
            match checked(&footer, &header, "file") {
                Ok(found) => {
                    assert!(sound, "{footer:?}");
                    let expected = End { offset: end, last_seqno: last.into(), record_count, crc: 7 };
                    assert_eq!(found, expected);
                }
                Err(error) => {
                    assert!(!sound, "{footer:?}");
                    assert_eq!(error.damage().map(|(file, offset, _)| (file, offset)), Some(("file", LEN - 64)));
                }
            }
        }
    }

    #[test]
    fn records_of_the_log_have_one_seqno_after_the_other_up_to_the_last() {
        let end = end(12, 3);
        let mut order = Order::before(SegmentKind::Log, &end);
        assert!(!takes(&mut order, 9) && !takes(&mut order, 11));
        assert!(takes(&mut order, 10) && !takes(&mut order, 10) && !takes(&mut order, 12));
        assert!(takes(&mut order, 11) && !order.is_complete(&end));
        assert!(takes(&mut order, 12) && order.is_complete(&end));
        let more = End { last_seqno: 13.into(), record_count: 4, ..end };
        let mut order = Order::after(&end);
        assert!(order.is_complete(&end) && !order.is_complete(&more) && !takes(&mut order, 12));
        assert!(takes(&mut order, 13) && order.is_complete(&more));
    }

    #[test]
    fn rewritten_records_come_in_any_order_and_the_newest_is_the_one_that_the_footer_says() {
        let end = end(12, 3);
        let mut order = Order::before(SegmentKind::Packed, &end);
        assert!(!takes(&mut order, 0) && !takes(&mut order, 13));
        assert!(takes(&mut order, 1) && takes(&mut order, 12) && !order.is_complete(&end));
        assert!(takes(&mut order, 7) && order.is_complete(&end));
        let mut without = Order::before(SegmentKind::Packed, &end);
        assert!([3, 1, 11].map(|seqno| takes(&mut without, seqno)).iter().all(|taken| *taken));
        assert!(!without.is_complete(&end), "the newest is missing");
        let none = End { record_count: 0, ..end };
        assert!(Order::before(SegmentKind::Packed, &none).is_complete(&none), "where nothing is left");
    }
}
