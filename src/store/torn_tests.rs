//! The tests of `torn`: where segments end that were never sealed, written record by record, and damaged in one place.
//!
//! Floor 3. Imports `address`, `error`, `format`, `limits`, `platform`, `segment`, `store`, `sync`.

use std::ops::Range;

use crate::address::{SegmentId, Seqno};
use crate::error::{ErrorKind, Result};
use crate::format::checksum::{self, Salt};
use crate::format::record::{Draft, Kind, insert_horizon, set_more_follows, stamp};
use crate::format::segment::Horizon;
use crate::limits::{FOOTER_LEN, HORIZON_SLOT, RECORDS_START};
use crate::platform::memory::MemoryDisk;
use crate::platform::{Access, Disk, File};
use crate::segment::source::Source;
use crate::store::torn::{End, Ending, Unsealed, keep_copy};
use crate::sync::Arc;

const LEN: u64 = 64 << 10;
const SALT: Salt = Salt(0x5eed);
const FIRST: u64 = 10;

/// A segment as its bytes.
#[derive(Clone)]
struct Log {
    bytes: Vec<u8>,
    end: u64,
    last: u64,
    count: u64,
}

impl Log {
    fn new() -> Log {
        Log { bytes: vec![0; LEN as usize], end: RECORDS_START, last: FIRST - 1, count: 0 }
    }

    /// Three batches of one record.
    fn of_three() -> (Log, [Range<u64>; 3]) {
        let mut log = Log::new();
        let records = [(); 3].map(|()| log.add(None, false, 8));
        (log, records)
    }

    /// The next record, whose value has no padding if its length is a multiple of 8.
    fn add(&mut self, horizon: Option<u64>, more_follows: bool, value_len: usize) -> Range<u64> {
        let mut record = vec![0; 8];
        let value = vec![7; value_len];
        Draft { kind: Kind::Put, keyspace: 0, key: b"a key", value: &value, expiry: None }.encode(&mut record);
        if more_follows {
            set_more_follows(&mut record[8..]);
        }
        match horizon {
            Some(horizon) => insert_horizon(&mut record, 8, horizon),
            None => drop(record.drain(..8)),
        }
        self.last += 1;
        self.count += 1;
        stamp(&mut record, Seqno::from(self.last), SALT, self.end);
        let start = self.end;
        self.end += record.len() as u64;
        self.bytes[start as usize..self.end as usize].copy_from_slice(&record);
        start..self.end
    }

    fn flip(&mut self, at: u64) {
        self.bytes[at as usize] ^= 1;
    }

    fn set_slot(&mut self, slot: u64, offset: u64) {
        let sector = Horizon { offset, seqno: Seqno::from(FIRST) }.encode(SALT);
        self.bytes[(HORIZON_SLOT + slot * 512) as usize..][..512].copy_from_slice(&sector);
    }

    /// The end as it is, whatever was damaged.
    fn end(&self) -> End {
        let crc = checksum::crc(&self.bytes[RECORDS_START as usize..self.end as usize]);
        End { offset: self.end, last_seqno: self.last.into(), record_count: self.count, crc }
    }

    fn with<T>(&self, look: impl FnOnce(&mut Unsealed<'_>) -> T) -> T {
        let disk = MemoryDisk::new();
        let file = disk.create("file").unwrap();
        file.write_at(&self.bytes, 0).unwrap();
        look(&mut unsealed(&*file))
    }

    fn found(&self) -> Result<Ending> {
        self.with(|segment| segment.find_end())
    }
}

fn unsealed(file: &dyn File) -> Unsealed<'_> {
    Unsealed {
        file,
        path: "file",
        salt: SALT,
        len: LEN,
        readable: LEN,
        first_seqno: FIRST.into(),
        expected: None,
        source: Source::Cache,
    }
}

/// Where the damage is, or nothing is lost.
#[track_caller]
fn damaged<T>(result: Result<T>) -> u64 {
    let error = result.err().expect("it is damaged");
    assert_eq!(error.kind(), ErrorKind::Corruption);
    let (file, offset, _) = error.damage().expect("it says where");
    assert_eq!(file, "file");
    offset
}

#[test]
fn a_batch_counts_once_its_last_record_is_there() {
    let mut log = Log::new();
    assert_eq!(log.found().unwrap(), Ending { end: End::before(FIRST.into()), torn_len: 0 });
    log.add(None, false, 8);
    log.add(Some(RECORDS_START), true, 16);
    log.add(None, false, 8);
    let whole = log.end();
    assert_eq!(log.found().unwrap(), Ending { end: whole, torn_len: 0 });
    log.add(None, true, 8);
    log.add(None, true, 8);
    assert_eq!(log.found().unwrap(), Ending { end: whole, torn_len: log.end - whole.offset });
    log.add(None, false, 8);
    assert_eq!(log.found().unwrap(), Ending { end: log.end(), torn_len: 0 });
}

#[test]
fn a_record_with_another_seqno_than_the_next_is_none() {
    let (mut log, _) = Log::of_three();
    let end = log.end();
    for next in [end.last_seqno, (u64::from(end.last_seqno) + 2).into()] {
        let mut log = log.clone();
        log.last = u64::from(next) - 1;
        log.add(None, false, 8);
        assert_eq!(log.found().unwrap().end, end, "{next}");
    }
    log.add(None, false, 8);
    assert_eq!(log.found().unwrap().end, log.end());
}

#[test]
fn what_a_slot_says_to_be_durable_is_damage_where_it_is_not_there() {
    let (whole, [_, second, third]) = Log::of_three();
    let mut log = whole.clone();
    log.flip(third.start + 24);
    let torn = log.found().unwrap();
    assert_eq!((torn.end.offset, torn.end.record_count, torn.torn_len), (second.end, 2, third.end - third.start));
    for slot in [0, 1] {
        let mut log = log.clone();
        log.set_slot(slot, second.end);
        assert_eq!(log.found().unwrap(), torn, "all is there that was durable");
        log.set_slot(slot, second.end + 8);
        assert_eq!(damaged(log.found()), second.end);
        log.set_slot(1 - slot, RECORDS_START);
        assert_eq!(damaged(log.found()), second.end, "the higher one counts");
    }
    let mut log = whole;
    log.set_slot(0, third.end);
    assert_eq!(log.found().unwrap().end, log.end());
}

#[test]
fn what_a_later_record_says_to_be_durable_is_damage_where_it_is_not_there() {
    for behind in [0, 8] {
        let mut log = Log::new();
        let first = log.add(None, false, 8);
        let second = log.add(None, false, 8);
        log.add(Some(first.end + behind), false, 8);
        log.flip(second.start + 24);
        match behind {
            0 => assert_eq!(log.found().unwrap().end.offset, first.end),
            _ => assert_eq!(damaged(log.found()), second.start),
        }
    }
}

#[test]
fn a_value_that_is_not_whole_ends_the_log_unless_it_was_durable_once() {
    let mut log = Log::new();
    let first = log.add(None, false, 8);
    let before = log.end();
    let second = log.add(None, false, 8);
    log.flip(second.end - 1);
    let with = |horizon| {
        let mut log = log.clone();
        log.add(horizon, false, 8);
        log.add(None, false, 8);
        log
    };
    let torn = with(None);
    let len = torn.end - first.end;
    assert_eq!(torn.found().unwrap(), Ending { end: before, torn_len: len }, "nothing vouches for it");
    assert_eq!(with(Some(first.end)).found().unwrap(), Ending { end: before, torn_len: len + 8 });
    let rotten = with(Some(second.end));
    assert_eq!(rotten.found().unwrap(), Ending { end: rotten.end(), torn_len: 0 }, "a record vouches for it");
    let mut rotten = with(None);
    rotten.set_slot(1, second.end);
    assert_eq!(rotten.found().unwrap(), Ending { end: rotten.end(), torn_len: 0 }, "a slot vouches for it");
    rotten.set_slot(1, second.end - 8);
    assert_eq!(damaged(rotten.found()), rotten.end, "a part of it was durable");
    log.set_slot(1, second.end);
    assert_eq!(log.found().unwrap(), Ending { end: log.end(), torn_len: 0 }, "the slot vouches for the last one, too");
}

#[test]
fn a_segment_with_a_successor_ends_where_that_begins_and_nowhere_else() {
    let (log, [_, second, third]) = Log::of_three();
    let until = |expected: u64| {
        log.with(|segment| {
            segment.expected = Some(expected.into());
            segment.find_end()
        })
    };
    let two = until(FIRST + 1).unwrap();
    assert_eq!((two.end.offset, u64::from(two.end.last_seqno), two.torn_len), (second.end, FIRST + 1, 0));
    assert_eq!(until(FIRST + 2).unwrap(), Ending { end: log.end(), torn_len: 0 });
    assert_eq!(damaged(until(FIRST + 3)), third.end);
    assert_eq!(until(FIRST - 1).unwrap().end, End::before(FIRST.into()), "it has none");
}

#[test]
fn no_record_reaches_into_the_footer_or_beyond_the_file() {
    for over in [0, 8] {
        let mut log = Log::new();
        let first = log.add(None, false, 8);
        let room = LEN - FOOTER_LEN - first.end - 32;
        let second = log.add(None, false, (room + over) as usize);
        let expected = if over == 0 { second } else { first.clone() };
        assert_eq!(log.found().unwrap().end.offset, expected.end);
    }
    let (log, [_, second, third]) = Log::of_three();
    for (readable, end) in [(third.end, third.end), (third.end + 7, third.end), (third.end - 1, second.end)] {
        let found = log.with(|segment| {
            segment.readable = readable;
            segment.find_end()
        });
        assert_eq!(found.unwrap().end.offset, end, "{readable}");
    }
}

#[test]
fn what_was_a_footer_is_seen_wherever_a_byte_of_it_stands() {
    let has = |log: &Log| log.with(|segment| segment.has_footer_bytes().unwrap());
    let (whole, _) = Log::of_three();
    assert!(!has(&whole));
    for (at, there) in [(LEN - 1, true), (LEN - FOOTER_LEN, true), (LEN - FOOTER_LEN - 1, false)] {
        let mut log = whole.clone();
        log.flip(at);
        assert_eq!(has(&log), there, "{at}");
        let cut = log.with(|segment| {
            segment.readable = LEN - 1;
            segment.has_footer_bytes().unwrap()
        });
        assert!(!cut, "a file that was cut has none");
    }
}

#[test]
fn who_follows_goes_on_from_where_it_was_and_hears_of_the_highest_horizon() {
    let mut log = Log::new();
    log.add(None, false, 8);
    let from = log.end();
    let next = log.add(Some(RECORDS_START), false, 8);
    log.add(Some(next.end), false, 8);
    log.add(Some(from.offset), false, 8);
    let end = log.end();
    let found = |log: &Log| log.with(|segment| segment.find_end_from(from));
    let numbers = |(end, horizon): (End, u64)| (end.offset, end.last_seqno, end.record_count, horizon);
    let all = (end.offset, end.last_seqno, end.record_count, next.end);
    assert_eq!(numbers(found(&log).unwrap()), all);
    log.add(None, true, 8);
    assert_eq!(numbers(found(&log).unwrap()), all, "a batch that has not ended is not there yet");
    log.set_slot(0, end.offset);
    assert_eq!(numbers(found(&log).unwrap()), all);
    log.set_slot(1, end.offset + 8);
    assert_eq!(damaged(found(&log)), log.end);
}

/// A file of the segment `id`, its bytes telling where they stand.
fn long_file(disk: &MemoryDisk, len: usize) -> Arc<dyn File> {
    let file = disk.create("file").unwrap();
    let bytes: Vec<u8> = (0..len).map(|at| (at / 1000) as u8 ^ at as u8).collect();
    file.write_at(&bytes, 0).unwrap();
    file
}

#[test]
fn a_copy_of_what_is_cut_off_has_just_its_bytes_however_many_they_are() {
    let disk = MemoryDisk::new();
    let file = long_file(&disk, 700_000);
    for (len, is_there) in [(1, 1), (256 << 10, 256 << 10), (600_000, 600_000), (700_000, 699_000)] {
        for again in [false, true] {
            let path = keep_copy(&disk, SegmentId(7), &unsealed(&*file), 1000, len).unwrap();
            assert!(path.ends_with("torn/0000000007-1000.bin"), "{path:?}");
            let copy = disk.open("torn/0000000007-1000.bin", Access::Read).unwrap();
            let (mut found, mut expected) = (vec![0; 700_001], vec![0; is_there]);
            let found_len = copy.len().unwrap() as usize;
            assert_eq!(found_len, is_there, "{len} bytes, again: {again}");
            Source::Cache.read_exact(&*copy, "copy", &mut found[..found_len], 0).unwrap();
            Source::Cache.read_exact(&*file, "file", &mut expected, 1000).unwrap();
            assert!(found[..found_len] == expected, "{len} bytes, again: {again}");
        }
    }
}

#[test]
fn sixteen_copies_are_kept_and_the_oldest_go_first() {
    let disk = MemoryDisk::new();
    let file = long_file(&disk, 1000);
    for id in 1..=20 {
        keep_copy(&disk, SegmentId(id), &unsealed(&*file), 8, 8).unwrap();
        let mut kept = disk.list("torn").unwrap();
        kept.sort();
        let expected: Vec<_> = (1.max(id.saturating_sub(15))..=id).map(|id| format!("{id:010}-8.bin")).collect();
        assert_eq!(kept, expected);
    }
}
