//! A disk without space, simulated: puts are told so, deletes have a reserve, and it heals.

use std::sync::Arc;

use zipcask::sim::{Call, Fault, FaultDisk, Lasts, SimDisk};
use zipcask::{Db, Durability, ErrorKind, Options};

use crate::faults::{EDQUOT, ENOSPC, fault};
use crate::hook::cut;

const SEGMENT: u64 = 32 * 1024;

fn open(disk: &FaultDisk, durability: Durability) -> Db {
    zipcask::sim::open(Options::new().durability(durability), SEGMENT, Arc::new(disk.clone())).unwrap()
}

/// Every call that takes space fails from here on.
fn fill_up(disk: &FaultDisk, errno: i32) {
    for call in [Call::Create, Call::CreateDir, Call::Allocate] {
        disk.inject(Fault { lasts: Lasts::FromThenOn, ..fault(call, disk.calls(call) + 1, errno) });
    }
}

fn value(i: u32) -> Vec<u8> {
    vec![i as u8; 300]
}

/// Puts until there is no space; returns how many were taken.
fn put_all(db: &Db) -> u32 {
    for i in 0_u32.. {
        if let Err(error) = db.put(i.to_le_bytes(), value(i)) {
            assert_eq!(error.kind(), ErrorKind::NoSpace, "{error:?}");
            return i;
        }
    }
    unreachable!("u32 has an end")
}

/// Deletes from the first on until there is no space; returns how many went.
fn delete_all(db: &Db) -> u32 {
    for i in 0_u32.. {
        match db.delete(i.to_le_bytes()) {
            Ok(there) => assert!(there, "{i}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NoSpace, "{error:?}");
                return i;
            }
        }
    }
    unreachable!("u32 has an end")
}

fn assert_holds(db: &Db, deleted: u32, count: u32) {
    for i in 0..count {
        let got = db.get(i.to_le_bytes()).unwrap();
        assert_eq!(got.map(|got| got.to_vec()), (i >= deleted).then(|| value(i)), "{i}");
    }
    assert_eq!(db.len(), u64::from(count - deleted));
}

#[test]
fn a_full_disk_takes_deletes_until_the_reserve_is_used_up_and_heals() {
    for (durability, errno) in [(Durability::Sync, ENOSPC), (Durability::Os, EDQUOT)] {
        let disk = FaultDisk::simulated(SimDisk::new(1));
        let db = open(&disk, durability);
        db.put("first", "1").unwrap();
        db.delete("first").unwrap();
        fill_up(&disk, errno);
        let count = put_all(&db);
        let deleted = delete_all(&db);
        // A delete takes 40 bytes, the reserve has 512, and less than a put's was left before it.
        assert!((12..=21).contains(&deleted), "{deleted}");
        assert_holds(&db, deleted, count);
        assert_eq!(db.put("more", "x").unwrap_err().kind(), ErrorKind::NoSpace);
        db.sync().unwrap();
        assert!(db.verify().unwrap().is_clean());
        disk.heal();
        db.delete(deleted.to_le_bytes()).unwrap();
        db.put(count.to_le_bytes(), value(count)).unwrap();
        assert_eq!(db.stats().segments.len(), 2);
        assert_holds(&db, deleted + 1, count + 1);
        db.close().unwrap();
        let db = open(&disk, durability);
        assert_eq!(db.stats().recovery.torn_bytes, 0);
        assert_holds(&db, deleted + 1, count + 1);
    }
}

#[test]
fn puts_leave_the_reserve_alone_and_so_do_deletes_while_there_is_space() {
    let disk = FaultDisk::simulated(SimDisk::new(1));
    let db = open(&disk, Durability::Os);
    for i in 0..100_u32 {
        db.put(i.to_le_bytes(), "").unwrap();
    }
    let mut turns = (0..100_u32).cycle();
    while db.stats().segments.len() == 1 {
        let i = turns.next().unwrap();
        db.delete(i.to_le_bytes()).unwrap();
        db.put(i.to_le_bytes(), "").unwrap();
    }
    let end = db.stats().segments[0].used_bytes;
    let room = SEGMENT - 4096 - 64;
    assert!(end <= room - SEGMENT / 64 && end > room - SEGMENT / 64 - 64, "{end} of {room}");
}

#[test]
fn a_batch_that_only_deletes_goes_into_the_reserve_and_one_that_also_puts_does_not() {
    let disk = FaultDisk::simulated(SimDisk::new(1));
    let db = open(&disk, Durability::Sync);
    db.put("first", "1").unwrap();
    fill_up(&disk, ENOSPC);
    let count = put_all(&db);
    let mut mixed = db.batch();
    mixed.delete(&db, 0_u32.to_le_bytes()).put(&db, "replaced", value(0));
    assert_eq!(mixed.commit().unwrap_err().kind(), ErrorKind::NoSpace);
    let mut deletes = db.batch();
    for i in 0..5_u32 {
        deletes.delete(&db, i.to_le_bytes());
    }
    deletes.commit().unwrap();
    assert!(db.delete("first").unwrap());
    assert!(!db.delete("first").unwrap(), "deleting nothing writes nothing");
    assert_holds(&db, 5, count);
}

#[test]
fn a_delete_in_the_reserve_survives_a_power_cut() {
    let inside = SimDisk::new(1);
    inside.record();
    let disk = FaultDisk::simulated(inside.clone());
    let db = open(&disk, Durability::Sync);
    db.put("first", "1").unwrap();
    fill_up(&disk, ENOSPC);
    let count = put_all(&db);
    for i in 0..3_u32 {
        assert!(db.delete(i.to_le_bytes()).unwrap());
    }
    for image in cut(&inside, 100) {
        let db = zipcask::sim::open(Options::new(), SEGMENT, Arc::new(image)).unwrap();
        assert!(db.delete("first").unwrap());
        assert_holds(&db, 3, count);
    }
}

/// Where room cannot be reserved a write into the segment itself finds no space. That ends the segment, and its reserve.
#[test]
fn a_segment_that_a_failed_write_ended_has_no_reserve() {
    let disk = FaultDisk::simulated(SimDisk::new(1));
    let db = open(&disk, Durability::Sync);
    for i in 0..5_u32 {
        db.put(i.to_le_bytes(), value(i)).unwrap();
    }
    fill_up(&disk, ENOSPC);
    disk.inject(fault(Call::WriteAt, disk.calls(Call::WriteAt) + 1, ENOSPC));
    assert_eq!(put_all(&db), 0);
    assert_eq!(delete_all(&db), 0);
    assert_holds(&db, 0, 5);
    assert_eq!(disk.calls(Call::Punch), 0, "what was written in vain stays, for whoever looks");
    disk.heal();
    assert!(db.delete(0_u32.to_le_bytes()).unwrap());
    assert_holds(&db, 1, 5);
}

#[test]
fn writers_of_all_kinds_at_once_get_no_space_or_what_they_ask_for() {
    const KEYS: u32 = 10;
    for round in 0..20_u32 {
        let disk = FaultDisk::simulated(SimDisk::new(1));
        let db = open(&disk, Durability::Sync);
        db.put("first", "1").unwrap();
        db.delete("first").unwrap();
        fill_up(&disk, ENOSPC);
        let count = put_all(&db);
        std::thread::scope(|scope| {
            for writer in 0..3_u32 {
                let db = &db;
                scope.spawn(move || {
                    for i in 0..50 {
                        let error = db.put([round as u8, writer as u8, i], [7; 1000]).unwrap_err();
                        assert_eq!(error.kind(), ErrorKind::NoSpace);
                        assert!(!db.delete([round as u8, writer as u8, i]).unwrap(), "it was never there");
                    }
                });
            }
            for i in 0..2 {
                let db = &db;
                scope.spawn(move || {
                    for key in (0..KEYS).filter(|key| key % 2 == i) {
                        assert!(db.delete(key.to_le_bytes()).unwrap(), "there is room in the reserve");
                    }
                });
            }
        });
        assert_holds(&db, KEYS, count);
        drop(db);
        disk.heal();
        assert_holds(&open(&disk, Durability::Sync), KEYS, count);
    }
}

/// A folder whose names need another block, say.
#[test]
fn a_name_for_which_its_folder_has_no_space_is_no_space_and_heals() {
    for (call, kind) in [(Call::Rename, ErrorKind::NoSpace), (Call::SyncDir, ErrorKind::Io)] {
        let disk = FaultDisk::simulated(SimDisk::new(1));
        let db = open(&disk, Durability::Sync);
        db.put(0_u32.to_le_bytes(), value(0)).unwrap();
        db.seal().unwrap();
        disk.inject(fault(call, disk.calls(call) + 1, ENOSPC));
        let error = db.put(1_u32.to_le_bytes(), value(1)).unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        let again = db.put(1_u32.to_le_bytes(), value(1)).map_err(|error| error.kind());
        let heals = kind == ErrorKind::NoSpace;
        assert_eq!(again.err(), (!heals).then_some(ErrorKind::Poisoned));
        drop(db);
        assert_holds(&open(&disk, Durability::Sync), 0, 1 + u32::from(heals));
    }
}

#[test]
fn a_batch_that_has_a_segment_to_itself_may_fill_it() {
    let disk = FaultDisk::simulated(SimDisk::new(1));
    let db = open(&disk, Durability::Sync);
    // Header and key take 32, the first record's horizon 8.
    let room = (SEGMENT - 4096 - 64) as usize - 8;
    for _ in 0..3 {
        let mut batch = db.batch();
        for i in 0..room as u32 / 1032 {
            batch.put(&db, i.to_le_bytes(), [1; 1000]);
        }
        batch.put(&db, "last", vec![1; room % 1032 - 32]);
        batch.commit().unwrap();
    }
    let segments = db.stats().segments;
    assert!(segments.iter().all(|segment| segment.file_bytes == SEGMENT), "{segments:?}");
    assert_eq!(segments.len(), 3);
}
