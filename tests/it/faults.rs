//! System calls that fail: the right kind of error, everything acknowledged kept, and reopening heals.

use std::sync::Arc;

use zipcask::sim::{Call, Fault, FaultDisk, Lasts, SimDisk, Written};
use zipcask::{Db, Durability, ErrorKind, Options, PutOptions};

pub(crate) const SEGMENT: u64 = 8192;
const EINTR: i32 = 4;
pub(crate) const EIO: i32 = 5;
pub(crate) const ENOMEM: i32 = 12;
pub(crate) const EMFILE: i32 = 24;
pub(crate) const ENOSPC: i32 = 28;
const EROFS: i32 = 30;
pub(crate) const EDQUOT: i32 = 122;

/// One call that fails, once, having done nothing.
pub(crate) fn fault(call: Call, nth: u64, errno: i32) -> Fault {
    Fault { call, nth, errno, lasts: Lasts::Once, written: Written::Nothing }
}

fn open(disk: &FaultDisk) -> zipcask::Result<Db> {
    zipcask::sim::open(Options::new(), SEGMENT, Arc::new(disk.clone()))
}

fn new_disk() -> FaultDisk {
    FaultDisk::simulated(SimDisk::new(1))
}

fn value(i: u32) -> Vec<u8> {
    vec![i as u8; 500]
}

/// Puts until one fails; returns how many did not, and the error.
fn fill(db: &Db, from: u32) -> (u32, zipcask::Error) {
    for i in from..from + 100 {
        if let Err(error) = db.put(i.to_le_bytes(), value(i)) {
            return (i, error);
        }
    }
    panic!("nothing failed");
}

/// Whether the first `count` values are there, and no others.
fn assert_holds(db: &Db, count: u32) {
    for i in 0..count {
        assert_eq!(db.get(i.to_le_bytes()).unwrap().unwrap(), value(i), "{i}");
    }
    assert_eq!(db.len(), u64::from(count));
}

#[test]
fn no_space_for_a_new_segment_is_no_space_and_heals_by_itself() {
    let disk = new_disk();
    let db = open(&disk).unwrap();
    disk.inject(Fault { lasts: Lasts::FromThenOn, ..fault(Call::Allocate, 3, ENOSPC) });
    let (count, error) = fill(&db, 0);
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    assert_eq!(db.put("again", value(1)).unwrap_err().kind(), ErrorKind::NoSpace);
    assert_holds(&db, count);
    db.sync().unwrap();
    assert_eq!(db.durable_seqno(), db.last_seqno());
    disk.heal();
    db.put(count.to_le_bytes(), value(count)).unwrap();
    assert_holds(&db, count + 1);
    db.close().unwrap();
    assert_holds(&open(&disk).unwrap(), count + 1);
}

#[test]
fn no_space_while_appending_seals_the_segment_there_and_never_writes_that_range_again() {
    for (errno, written) in [(ENOSPC, Written::Nothing), (EDQUOT, Written::OneByte), (ENOSPC, Written::AllButOne)] {
        let disk = new_disk();
        let db = open(&disk).unwrap();
        db.put(0_u32.to_le_bytes(), value(0)).unwrap();
        let nth = disk.calls(Call::WriteAt) + 1;
        disk.inject(Fault { written, ..fault(Call::WriteAt, nth, errno) });
        let (count, error) = fill(&db, 1);
        assert_eq!((count, error.kind()), (1, ErrorKind::NoSpace));
        assert_holds(&db, 1);
        let segments = db.stats().segments.len();
        db.put(1_u32.to_le_bytes(), value(1)).unwrap();
        assert_eq!(db.stats().segments.len(), segments + 1, "the next write starts another segment");
        assert_holds(&db, 2);
        db.close().unwrap();
        let db = open(&disk).unwrap();
        assert_eq!(db.stats().recovery.torn_bytes, 0);
        assert_holds(&db, 2);
    }
}

#[test]
fn no_descriptors_for_a_new_segment_is_a_resource_limit_and_a_retry_succeeds() {
    for call in [Call::Create, Call::Allocate] {
        let disk = new_disk();
        let db = open(&disk).unwrap();
        db.put(0_u32.to_le_bytes(), value(0)).unwrap();
        disk.inject(fault(call, disk.calls(call) + 1, EMFILE));
        let (count, error) = fill(&db, 1);
        assert_eq!(error.kind(), ErrorKind::ResourceLimit);
        db.put(count.to_le_bytes(), value(count)).unwrap();
        assert_holds(&db, count + 1);
        db.close().unwrap();
        assert_holds(&open(&disk).unwrap(), count + 1);
    }
}

#[test]
fn any_other_failed_write_is_io_then_poisoned_and_reopening_heals() {
    for errno in [EIO, EINTR, ENOMEM, EROFS] {
        for written in [Written::Nothing, Written::OneByte, Written::AllButOne] {
            let disk = new_disk();
            let db = open(&disk).unwrap();
            db.put(0_u32.to_le_bytes(), value(0)).unwrap();
            let nth = disk.calls(Call::WriteAt) + 2;
            disk.inject(Fault { written, ..fault(Call::WriteAt, nth, errno) });
            let (count, error) = fill(&db, 1);
            assert_ne!(error.kind(), ErrorKind::Poisoned, "the first to be told gets the cause");
            let later = db.put("later", "x").unwrap_err();
            assert_eq!(later.kind(), ErrorKind::Poisoned);
            assert!(std::error::Error::source(&later).is_some(), "the cause is there");
            assert_holds(&db, count);
            assert_eq!(db.close().unwrap_err().kind(), ErrorKind::Poisoned);
            disk.heal();
            let db = open(&disk).unwrap();
            // The write that failed may be there, but only whole: all but its last byte, a zero, is all of it.
            assert_holds(&db, count + u32::from(written == Written::AllButOne));
            db.put(count.to_le_bytes(), value(count)).unwrap();
            assert_holds(&db, count + 1);
        }
    }
}

#[test]
fn a_seal_that_fails_says_so() {
    // Its writes: zeros, which it can do without, both horizons, the footer.
    for nth in 2..=4 {
        let disk = new_disk();
        let db = open(&disk).unwrap();
        db.put_with(0_u32.to_le_bytes(), value(0), PutOptions::new().durability(Durability::Os)).unwrap();
        disk.inject(fault(Call::WriteAt, disk.calls(Call::WriteAt) + nth, EIO));
        assert_eq!(db.seal().unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(db.seal().unwrap_err().kind(), ErrorKind::Poisoned);
        assert_holds(&db, 1);
    }
}

#[test]
fn every_waiter_of_a_failed_barrier_gets_the_error_and_nobody_is_told_ok_after_it() {
    for nth in [1, 2, 5, 9, 30] {
        let disk = new_disk();
        let db = open(&disk).unwrap();
        disk.inject(Fault { lasts: Lasts::FromThenOn, ..fault(Call::Barrier, nth, EIO) });
        let mut acknowledged: Vec<u32> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8_u32)
                .map(|writer| {
                    let db = &db;
                    scope.spawn(move || {
                        let mut told = Vec::new();
                        for i in 0..100 {
                            let key = writer * 100 + i;
                            match db.put(key.to_le_bytes(), value(key)) {
                                Ok(_) => told.push(key),
                                Err(error) => {
                                    assert!(matches!(error.kind(), ErrorKind::Io | ErrorKind::Poisoned), "{error:?}");
                                    let again = db.put(key.to_le_bytes(), value(key)).unwrap_err();
                                    assert_eq!(again.kind(), ErrorKind::Poisoned);
                                    return told;
                                }
                            }
                        }
                        panic!("writer {writer} was never told");
                    })
                })
                .collect();
            writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
        });
        assert_eq!(db.len(), acknowledged.len() as u64, "only what was acknowledged is visible");
        drop(db);
        disk.heal();
        let db = open(&disk).unwrap();
        acknowledged.sort_unstable();
        for key in acknowledged {
            assert_eq!(db.get(key.to_le_bytes()).unwrap().unwrap(), value(key));
        }
    }
}

#[test]
fn a_segment_that_cannot_be_mapped_is_read_all_the_same() {
    let disk = new_disk();
    disk.inject(Fault { lasts: Lasts::FromThenOn, ..fault(Call::Map, 1, ENOMEM) });
    let db = open(&disk).unwrap();
    for i in 0..30_u32 {
        db.put(i.to_le_bytes(), value(i)).unwrap();
    }
    assert_holds(&db, 30);
    assert!(disk.injected() > 0);
    db.close().unwrap();
    assert_holds(&open(&disk).unwrap(), 30);
}

#[test]
fn a_torn_tail_that_cannot_be_sealed_leaves_the_store_open_for_reading() {
    let inside = SimDisk::new(1);
    inside.record();
    let db = zipcask::sim::open(Options::new().durability(Durability::Os), SEGMENT, Arc::new(inside.clone())).unwrap();
    for i in 0..5_u32 {
        db.put(i.to_le_bytes(), value(i)).unwrap();
    }
    // What a killed process leaves: everything written, nothing closed.
    let mut random = zipcask::sim::Random::new(1);
    let point = inside.position();
    let killed = inside.images(point, 2, &mut random).nth(1).expect("the image that has everything");
    let disk = FaultDisk::simulated(killed);
    disk.inject(Fault { lasts: Lasts::FromThenOn, ..fault(Call::Barrier, 1, EIO) });
    let db = open(&disk).unwrap();
    assert_holds(&db, 5);
    assert_eq!(db.put("more", "x").unwrap_err().kind(), ErrorKind::Poisoned);
    drop(db);
    disk.heal();
    let db = open(&disk).unwrap();
    assert_holds(&db, 5);
    db.put(5_u32.to_le_bytes(), value(5)).unwrap();
    assert_holds(&db, 6);
}

#[test]
fn removing_the_lock_file_is_noticed_by_the_next_durable_write_seal_or_close() {
    type Call = fn(&Db) -> Option<zipcask::Error>;
    let calls: [Call; 4] = [
        |db| db.put_with("b", "2", PutOptions::new().durability(Durability::Sync)).err(),
        |db| db.sync().err(),
        |db| db.seal().err(),
        |db| db.clone().close().err(),
    ];
    for call in calls {
        let dir = tempfile::tempdir().unwrap();
        let db = Options::new().segment_size(64 * 1024).durability(Durability::Os).open(dir.path()).unwrap();
        db.put("a", "1").unwrap();
        std::fs::remove_file(dir.path().join("LOCK")).unwrap();
        let other = Db::open(dir.path()).unwrap();
        assert_eq!(other.get("a").unwrap().unwrap(), "1");
        let error = call(&db).expect("it is noticed");
        assert_eq!(error.kind(), ErrorKind::Poisoned);
        assert!(error.to_string().contains("LOCK"), "{error}");
        drop(db);
        other.put("c", "3").unwrap();
        other.close().unwrap();
        let db = Db::open(dir.path()).unwrap();
        assert_eq!(db.len(), 2, "two openers did not write over each other");
    }
}

/// What a run of the sweep was told.
#[derive(Default)]
struct Told {
    acknowledged: Vec<u32>,
    /// Told that they failed, or not told: they may be there, whole.
    unknown: Vec<u32>,
}

/// Opens, writes through several segments, closes, opens again and writes on. Stops where an open fails.
fn cycle(disk: &FaultDisk) -> Told {
    let mut told = Told::default();
    for session in 0..2 {
        let Ok(db) = open(disk) else { return told };
        for i in session * 20..session * 20 + 20_u32 {
            match db.put(i.to_le_bytes(), value(i)) {
                Ok(_) => told.acknowledged.push(i),
                Err(_) => told.unknown.push(i),
            }
            if i % 9 == 0 {
                let _ = db.seal();
            }
        }
        let _ = db.sync();
        let _ = db.close();
    }
    told
}

#[test]
fn every_call_may_fail_once_or_for_ever_with_every_errno() {
    let healthy = new_disk();
    assert_eq!(cycle(&healthy).acknowledged.len(), 40);
    let (mut cases, mut struck) = (0_u64, 0_u64);
    for call in Call::ALL {
        for nth in 1..=healthy.calls(call) {
            for errno in [EIO, ENOSPC, EDQUOT, EINTR, EMFILE, ENOMEM, EROFS] {
                for lasts in [Lasts::Once, Lasts::FromThenOn] {
                    let disk = new_disk();
                    let written = [Written::Nothing, Written::OneByte, Written::AllButOne][cases as usize % 3];
                    disk.inject(Fault { call, nth, errno, lasts, written });
                    let told = cycle(&disk);
                    cases += 1;
                    struck += u64::from(disk.injected() > 0);
                    disk.heal();
                    let context = format!("{call:?} {nth}, errno {errno}, {lasts:?}, {written:?}");
                    let db = open(&disk).unwrap_or_else(|error| panic!("{context}: reopening heals: {error:?}"));
                    for i in &told.acknowledged {
                        let got = db.get(i.to_le_bytes()).unwrap_or_else(|error| panic!("{context}: {error:?}"));
                        assert!(got.is_some_and(|got| got == value(*i)), "{context}: acknowledged {i} is lost");
                    }
                    let mut found = 0;
                    for i in &told.unknown {
                        let got = db.get(i.to_le_bytes()).unwrap_or_else(|error| panic!("{context}: {error:?}"));
                        found += u64::from(got.is_some());
                        assert!(got.is_none_or(|got| got == value(*i)), "{context}: {i} is wrong");
                    }
                    assert_eq!(db.len(), told.acknowledged.len() as u64 + found, "{context}");
                    db.put("after", "x").unwrap_or_else(|error| panic!("{context}: {error:?}"));
                }
            }
        }
    }
    crate::report::report(&format!(
        "errno sweep: {cases} cases, {struck} struck, 0 acknowledged lost, 0 wrong, 0 refused afterwards"
    ));
    assert_eq!(cases, struck);
}
