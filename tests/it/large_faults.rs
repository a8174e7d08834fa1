//! Large values when system calls fail: whole or absent, no file left over, and a full disk is not a failure.

use std::io::Write;
use std::sync::Arc;

use zipcask::sim::{Call, Fault, FaultDisk, Lasts, SimDisk, Written};
use zipcask::{Db, ErrorKind, Options, ReadMode};

use crate::faults::{EIO, EMFILE, ENOMEM, ENOSPC, SEGMENT, fault};

const EINTR: i32 = 4;
const EDQUOT: i32 = 122;
const EROFS: i32 = 30;

fn open(disk: &FaultDisk) -> zipcask::Result<Db> {
    zipcask::sim::open(Options::new(), SEGMENT, Arc::new(disk.clone()))
}

fn new_disk() -> (SimDisk, FaultDisk) {
    let inside = SimDisk::new(1);
    (inside.clone(), FaultDisk::simulated(inside))
}

/// Longer than half a segment.
fn value(i: u8) -> Vec<u8> {
    (0..5000 + usize::from(i)).map(|at| (at / 7) as u8 ^ i).collect()
}

/// Files in `large/`.
fn file_count(disk: &SimDisk) -> usize {
    disk.files().iter().filter(|name| name.starts_with("large/")).count()
}

/// The keys that are there, each with its whole value.
fn present(db: &Db, context: &str) -> Vec<u8> {
    let there = (1..=KEYS).filter(|i| match db.get([*i]) {
        Ok(None) => false,
        Ok(Some(got)) => {
            assert!(got == value(*i), "{context}: {i} is wrong");
            true
        }
        Err(error) => panic!("{context}: {i}: {error:?}"),
    });
    there.collect()
}

/// Keys of a run of the sweep; each has a large value.
const KEYS: u8 = 6;

/// Opens, writes large values in each way there is, closes, opens again and goes on. Returns the keys that were
/// acknowledged, and those that were told to have failed while the store went on.
fn cycle(disk: &FaultDisk, inside: &SimDisk, context: &str) -> (Vec<u8>, Vec<u8>) {
    let (mut acknowledged, mut refused) = (Vec::new(), Vec::new());
    for session in 0..2 {
        let Ok(db) = open(disk) else { break };
        let first = session * KEYS / 2 + 1;
        let batch = {
            let mut batch = db.batch();
            batch.put(&db, [first + 1], value(first + 1)).put(&db, "small", "1");
            batch
        };
        let writer = db.put_writer([first + 2], value(first + 2).len() as u64).map_err(std::io::Error::other);
        let writer = writer.and_then(|mut writer| writer.write_all(&value(first + 2)).map(|()| writer));
        let told = [
            (first, db.put([first], value(first)).is_ok()),
            (first + 1, batch.commit().is_ok()),
            (first + 2, writer.is_ok_and(|writer| writer.finish().is_ok())),
        ];
        let goes_on = db.put("goes", "on").is_ok();
        for (key, ok) in told {
            match ok {
                true => acknowledged.push(key),
                false if goes_on => refused.push(key),
                false => {}
            }
        }
        // (In the second session one may be there that the first was told is in doubt.)
        if goes_on && session == 0 && !context.starts_with("Remove") {
            assert_eq!(file_count(inside), acknowledged.len(), "{context}: a failed write leaves no file");
        }
        let _ = db.close();
    }
    (acknowledged, refused)
}

#[test]
fn every_call_of_a_large_put_may_fail_once_or_for_ever_with_every_errno() {
    let (inside, healthy) = new_disk();
    assert_eq!(cycle(&healthy, &inside, "healthy").0.len(), usize::from(KEYS));
    let (mut cases, mut struck) = (0_u64, 0_u64);
    for call in Call::ALL {
        for nth in 1..=healthy.calls(call) {
            for errno in [EIO, ENOSPC, EDQUOT, EINTR, EMFILE, ENOMEM, EROFS] {
                for lasts in [Lasts::Once, Lasts::FromThenOn] {
                    let written = [Written::Nothing, Written::OneByte, Written::AllButOne][cases as usize % 3];
                    let context = format!("{call:?} {nth}, errno {errno}, {lasts:?}, {written:?}");
                    let (inside, disk) = new_disk();
                    disk.inject(Fault { call, nth, errno, lasts, written });
                    let (acknowledged, refused) = cycle(&disk, &inside, &context);
                    cases += 1;
                    struck += u64::from(disk.injected() > 0);
                    disk.heal();
                    let db = open(&disk).unwrap_or_else(|error| panic!("{context}: reopening heals: {error:?}"));
                    let there = present(&db, &context);
                    assert!(
                        acknowledged.iter().all(|key| there.contains(key)),
                        "{context}: an acknowledged one is lost"
                    );
                    assert!(!refused.iter().any(|key| there.contains(key)), "{context}: a refused one is there");
                    assert_eq!(file_count(&inside), there.len(), "{context}: an open leaves no file that nobody names");
                    db.put([1], value(1)).unwrap_or_else(|error| panic!("{context}: {error:?}"));
                    assert!(db.verify().unwrap().is_clean(), "{context}");
                }
            }
        }
    }
    crate::report::report(&format!(
        "errno sweep of large values: {cases} cases, {struck} struck, 0 acknowledged lost, 0 wrong, 0 files left over"
    ));
    assert_eq!(cases, struck);
}

#[test]
fn no_space_or_no_descriptor_for_a_large_value_leaves_everything_as_it_was() {
    for (call, errno, kind) in [
        (Call::Create, ENOSPC, ErrorKind::NoSpace),
        (Call::Allocate, ENOSPC, ErrorKind::NoSpace),
        (Call::WriteAt, EDQUOT, ErrorKind::NoSpace),
        (Call::Sync, ENOSPC, ErrorKind::NoSpace),
        (Call::Create, EMFILE, ErrorKind::ResourceLimit),
        // No record names the file yet: it is given up, and nothing else is in doubt.
        (Call::WriteAt, EIO, ErrorKind::Io),
        (Call::Sync, EIO, ErrorKind::Io),
    ] {
        for written in [Written::Nothing, Written::OneByte, Written::AllButOne] {
            let (inside, disk) = new_disk();
            let db = open(&disk).unwrap();
            db.put([1], value(1)).unwrap();
            let before = (file_count(&inside), db.last_seqno());
            disk.inject(Fault { written, ..fault(call, disk.calls(call) + 1, errno) });
            let error = db.put([2], value(2)).unwrap_err();
            assert_eq!(error.kind(), kind, "{call:?} {errno}");
            assert_eq!((file_count(&inside), db.last_seqno()), before);
            assert_eq!(present(&db, "after it"), [1]);
            db.put([2], value(2)).unwrap();
            assert_eq!(present(&db, "again"), [1, 2]);
            db.close().unwrap();
            assert_eq!(present(&open(&disk).unwrap(), "reopened"), [1, 2]);
        }
    }
}

#[test]
fn what_a_writer_could_not_write_may_be_given_again() {
    let (_, disk) = new_disk();
    let db = open(&disk).unwrap();
    let bytes: Vec<u8> = (0..900_000_u32).map(|i| (i % 253) as u8).collect();
    let mut writer = db.put_writer("key", bytes.len() as u64).unwrap();
    for piece in bytes.chunks(300_000) {
        disk.inject(Fault { written: Written::OneByte, ..fault(Call::WriteAt, disk.calls(Call::WriteAt) + 2, ENOSPC) });
        assert_eq!(writer.write_all(piece).unwrap_err().kind(), std::io::ErrorKind::StorageFull);
        writer.write_all(piece).unwrap();
    }
    writer.finish().unwrap();
    assert!(db.get("key").unwrap().unwrap() == bytes);
}

#[test]
fn a_failed_sync_of_the_folder_poisons_and_nothing_is_there() {
    for nth in [1, 2] {
        let (inside, disk) = new_disk();
        let db = open(&disk).unwrap();
        disk.inject(fault(Call::SyncDir, disk.calls(Call::SyncDir) + nth, EIO));
        assert_eq!(db.put([1], value(1)).unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(db.put([2], value(2)).unwrap_err().kind(), ErrorKind::Poisoned);
        assert_eq!((db.get([1]).unwrap(), file_count(&inside)), (None, 0));
    }
}

#[test]
fn a_large_value_that_cannot_be_mapped_is_read_and_one_that_cannot_be_read_is_an_error_for_now() {
    let (_, disk) = new_disk();
    let db = open(&disk).unwrap();
    db.put([1], value(1)).unwrap();
    disk.inject(fault(Call::Map, disk.calls(Call::Map) + 1, ENOMEM));
    assert!(db.get([1]).unwrap().unwrap() == value(1));
    db.close().unwrap();
    for mode in [ReadMode::Mmap, ReadMode::Positioned] {
        let db = zipcask::sim::open(Options::new().read_mode(mode), SEGMENT, Arc::new(disk.clone())).unwrap();
        for (errno, kind) in [(EIO, ErrorKind::Io), (EMFILE, ErrorKind::ResourceLimit)] {
            for call in [Call::Open, Call::Len] {
                disk.inject(fault(call, disk.calls(call) + 1, errno));
                assert_eq!(db.get([1]).unwrap_err().kind(), kind, "{call:?}");
            }
        }
        assert!(db.get([1]).unwrap().unwrap() == value(1));
        db.close().unwrap();
    }
}

#[test]
fn a_large_value_that_is_mapped_is_read_listed_and_replaced_without_opening_anything() {
    let (_, disk) = new_disk();
    let db = open(&disk).unwrap();
    db.put([1], value(1)).unwrap();
    db.seal().unwrap();
    db.put([2], "in the log").unwrap();
    let (reader, live_bytes) = (db.reader(), db.stats().live_bytes);
    db.get([1]).unwrap();
    disk.inject(Fault { lasts: Lasts::FromThenOn, ..fault(Call::Open, disk.calls(Call::Open) + 1, EMFILE) });
    assert!(db.get([1]).unwrap().unwrap() == value(1) && db.get_range([1], 0..7).unwrap().unwrap() == value(1)[..7]);
    assert!(reader.get([1]).unwrap().unwrap() == value(1));
    assert_eq!(db.iter().filter(Result::is_ok).count(), 2);
    reader.for_each(|_, _| std::ops::ControlFlow::Continue(())).unwrap();
    db.put([1], "small").unwrap();
    assert!(db.stats().live_bytes < live_bytes - 5000, "the large one is known to be dead");
    assert_eq!(disk.injected(), 0);
}

#[test]
fn a_poisoned_store_leaves_no_file_of_what_it_refuses() {
    let (inside, disk) = new_disk();
    let db = open(&disk).unwrap();
    let mut writer = db.put_writer([1], value(1).len() as u64).unwrap();
    writer.write_all(&value(1)).unwrap();
    let mut batch = db.batch();
    batch.put(&db, [2], value(2));
    disk.inject(fault(Call::Barrier, 1, EIO));
    assert_eq!(db.put("small", "1").unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(writer.finish().unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(batch.commit().unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(file_count(&inside), 0);
}

#[test]
fn a_batch_that_cannot_be_committed_writes_no_more_large_values() {
    let (_, disk) = new_disk();
    let db = open(&disk).unwrap();
    let mut batch = db.batch();
    batch.put(&db, vec![0; 65_536], "no key is that long");
    let before = (disk.calls(Call::Create), disk.calls(Call::WriteAt), disk.calls(Call::Sync));
    batch.put(&db, [1], value(1)).delete(&db, [2]).put(&db, [3], "small");
    assert_eq!((disk.calls(Call::Create), disk.calls(Call::WriteAt), disk.calls(Call::Sync)), before);
    assert!(batch.is_empty());
    assert_eq!(batch.commit().unwrap_err().kind(), ErrorKind::TooLarge);
    assert!(db.is_empty());
}
