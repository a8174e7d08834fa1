//! What stands between two system calls: kills, errors and rot where they hurt most, and what is told then.

use std::io;
use std::sync::{Arc, Mutex};

use zipcask::sim::{Call, Disk, Fault, FaultDisk, Lasts, Random, SimDisk, Written};
use zipcask::{Db, Durability, ErrorKind, Options, PutOptions, ReadMode};

use crate::faults::{EIO, EMFILE, ENOMEM, ENOSPC, SEGMENT, fault};
use crate::hook::{Hook, HookDisk, cut, nothing};

fn open(disk: &(impl Disk + Clone + 'static)) -> zipcask::Result<Db> {
    zipcask::sim::open(Options::new(), SEGMENT, Arc::new(disk.clone()))
}

/// A store read by system calls, with "key" in it.
fn positioned() -> (FaultDisk, Db) {
    let disk = FaultDisk::simulated(SimDisk::new(1));
    let options = Options::new().read_mode(ReadMode::Positioned);
    let db = zipcask::sim::open(options, SEGMENT, Arc::new(disk.clone())).unwrap();
    db.put("key", "value").unwrap();
    (disk, db)
}

/// Creates a store with one failed call, opens it again, and cuts the power: no acknowledgement rests on an unsynced name.
fn creation_goes_on_after(call: Call, nth: u64) {
    let inside = SimDisk::new(1);
    inside.record();
    let disk = FaultDisk::simulated(inside.clone());
    disk.inject(fault(call, nth, EIO));
    open(&disk).expect_err("the sync failed");
    assert_eq!(disk.injected(), 1);
    // (A process killed just before that call leaves the same.) Again, on the same running system:
    let db = open(&disk).unwrap();
    db.put("acknowledged", "durably").unwrap();
    let mut lost = Vec::new();
    for image in cut(&inside, 500) {
        match open(&image) {
            Ok(db) if db.get("acknowledged").is_ok_and(|got| got.is_some()) => {}
            Ok(_) => lost.push("a new, empty store".to_string()),
            Err(error) => lost.push(error.to_string()),
        }
    }
    assert!(lost.is_empty(), "lost in {} images: {}", lost.len(), lost[0]);
}

#[test]
fn a_creation_cut_short_before_its_last_directory_sync_is_finished_by_the_next_open() {
    creation_goes_on_after(Call::SyncDir, 2);
}

#[test]
fn a_creation_cut_short_before_the_sync_of_its_parent_is_finished_by_the_next_open() {
    creation_goes_on_after(Call::SyncParent, 1);
}

/// A process dies (or is told of an error) between the rename of a segment and the sync of its
/// folder; the next one finds the name in the cache and goes on behind it. The power goes at the next rotation: the
/// later name reached the device, the earlier did not, and a healthy store is refused as damaged.
#[test]
fn a_segment_named_but_not_synced_before_a_kill_is_no_gap_after_a_power_cut() {
    let inside = SimDisk::new(1);
    inside.record();
    let disk = FaultDisk::new(Arc::new(HookDisk::of_killed(inside.clone(), nothing())));
    let db = open(&disk).unwrap();
    db.put("before", "1").unwrap();
    db.seal().unwrap();
    let from = inside.position();
    disk.inject(fault(Call::SyncDir, disk.calls(Call::SyncDir) + 1, EIO));
    db.put("unknown", "x").unwrap_err();
    // Killed.
    std::mem::forget(db);
    let db = open(&disk).unwrap();
    db.put("acknowledged", "2").unwrap();
    let (mut recording, mut random, mut refused) = (inside.recording(), Random::new(1), Vec::new());
    for point in from..=inside.position() {
        for image in recording.images(point, 200, &mut random) {
            match open(&image) {
                Ok(db) => assert!(db.contains_key("before").unwrap()),
                Err(error) => refused.push(format!("point {point}: {error}")),
            }
        }
    }
    assert!(refused.is_empty(), "{} images refused: {}", refused.len(), refused[0]);
}

/// While another process makes the store, a look without the lock sees a directory that is half old, half new.
#[test]
fn an_open_beside_a_creation_is_locked_not_invalid() {
    let inside = SimDisk::new(1);
    let first: Arc<Mutex<Option<Db>>> = Arc::default();
    let (other, mine) = (inside.clone(), first.clone());
    inside.create_dir("segments").unwrap();
    let hook: Hook = Arc::new(move |call, name| {
        let mut first = mine.lock().unwrap();
        if call == "list" && name == "segments" && first.is_none() {
            // Between the list of the directory and that of its folder another process makes the store.
            let db = open(&other).unwrap();
            db.put("a", "1").unwrap();
            *first = Some(db);
        }
        Ok(())
    });
    let disk = HookDisk::new(inside, hook);
    let error = open(&disk).expect_err("another has it");
    assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
}

#[test]
fn a_read_error_that_passes_is_an_error_and_not_an_absent_key() {
    let (disk, db) = positioned();
    for ahead in 1..=2 {
        disk.inject(fault(Call::ReadAt, disk.calls(Call::ReadAt) + ahead, EIO));
        assert!(!matches!(db.get("key"), Ok(None)), "get, {ahead}");
        disk.heal();
        disk.inject(fault(Call::ReadAt, disk.calls(Call::ReadAt) + ahead, EIO));
        assert!(!matches!(db.contains_key("key"), Ok(false)), "contains_key, {ahead}");
        disk.heal();
    }
}

#[test]
fn a_read_error_that_passes_does_not_make_a_delete_say_that_nothing_was_there() {
    let (disk, db) = positioned();
    disk.inject(fault(Call::ReadAt, disk.calls(Call::ReadAt) + 1, EIO));
    assert!(!matches!(db.delete("key"), Ok(false)));
}

#[test]
fn a_read_error_while_publishing_does_not_show_a_key_twice() {
    let (disk, db) = positioned();
    disk.inject(fault(Call::ReadAt, disk.calls(Call::ReadAt) + 1, EIO));
    assert_eq!(db.put("key", "new").unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(db.put("key", "newer").unwrap_err().kind(), ErrorKind::Poisoned);
    let keys: Vec<_> = db.iter().map(|pair| pair.unwrap().0.to_vec()).collect();
    assert_eq!((db.len(), keys.len()), (1, 1), "{keys:?}");
}

/// Where room cannot be reserved (copy-on-write file systems), the footer needs room, too.
#[test]
fn a_disk_that_stays_full_for_a_while_is_no_space_also_where_room_cannot_be_reserved() {
    let disk = FaultDisk::simulated(SimDisk::new(1));
    let db = open(&disk).unwrap();
    db.put("before", "1").unwrap();
    disk.inject(Fault { lasts: Lasts::FromThenOn, ..fault(Call::WriteAt, disk.calls(Call::WriteAt) + 1, ENOSPC) });
    let error = db.put("full", "x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    disk.heal();
    db.put("after", "2").unwrap();
    assert_eq!(db.stats().segments.len(), 2, "the range that failed is never written again");
    db.close().unwrap();
    assert_eq!(open(&disk).unwrap().len(), 2);
}

/// A write does say ENOMEM, in a full memory group: `ResourceLimit` would promise that everything is as it was.
#[test]
fn a_write_for_which_memory_lacks_is_not_told_as_a_limit_that_changed_nothing() {
    let disk = FaultDisk::simulated(SimDisk::new(1));
    let db = open(&disk).unwrap();
    db.put("before", "1").unwrap();
    disk.inject(Fault { written: Written::AllButOne, ..fault(Call::WriteAt, disk.calls(Call::WriteAt) + 1, ENOMEM) });
    let error = db.put("key", "value").unwrap_err();
    let as_it_was = db.put("after", "2").is_ok();
    assert!(error.kind() == ErrorKind::Io || as_it_was, "told {:?}, and the store is poisoned", error.kind());
}

#[test]
fn a_lack_of_descriptors_in_the_middle_of_a_rotation_is_a_limit_and_heals() {
    let disk = FaultDisk::simulated(SimDisk::new(1));
    let db = open(&disk).unwrap();
    db.put("before", "1").unwrap();
    db.seal().unwrap();
    disk.inject(fault(Call::Rename, disk.calls(Call::Rename) + 1, EMFILE));
    let error = db.put("key", "value").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceLimit, "{error}");
    db.put("key", "value").unwrap();
}

#[test]
fn what_recovery_could_not_seal_is_not_called_durable() {
    let inside = SimDisk::new(1);
    inside.record();
    let db = zipcask::sim::open(Options::new().durability(Durability::Os), SEGMENT, Arc::new(inside.clone())).unwrap();
    for i in 0..5_u32 {
        db.put(i.to_le_bytes(), [7; 500]).unwrap();
    }
    // A killed process: the page cache has it all, the device has not. Forgetting the handle is as good.
    let hook: Hook = Arc::new(|call, _| match call {
        "barrier" => Err(io::Error::from_raw_os_error(EIO)),
        _ => Ok(()),
    });
    std::mem::forget(db);
    let disk = HookDisk::of_killed(inside.clone(), hook);
    let db = open(&disk).unwrap();
    assert_eq!(db.len(), 5);
    assert_eq!(db.put("more", "x").unwrap_err().kind(), ErrorKind::Poisoned, "it could not be sealed");
    let told = db.wait_durable(db.last_seqno());
    let survive = cut(&inside, 500).iter().map(|image| open(image).unwrap().len()).min().unwrap();
    assert!(
        told.is_err() && db.durable_seqno() < db.last_seqno() || survive == 5,
        "wait_durable: {told:?}, durable_seqno {} of {}, and {survive} of 5 writes survive",
        db.durable_seqno(),
        db.last_seqno()
    );
}

fn crc_at(sector: &mut [u8]) {
    let body = sector.len() - 4;
    let crc = crc32c::crc32c(&sector[..body]);
    sector[body..].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn a_header_that_says_first_seqno_zero_is_corruption_and_no_panic() {
    let disk = SimDisk::new(1);
    let db = open(&disk).unwrap();
    db.put("a", "1").unwrap();
    db.seal().unwrap();
    db.put("b", "2").unwrap();
    db.close().unwrap();
    for footer_too in [false, true] {
        let mut bytes = disk.read_file("segments/0000000002.seg").unwrap();
        for at in [0, 7 * 512] {
            bytes[at + 56..at + 64].fill(0);
            crc_at(&mut bytes[at..at + 512]);
        }
        disk.write_file("segments/0000000002.seg", &bytes);
        if footer_too {
            let mut bytes = disk.read_file("segments/0000000001.seg").unwrap();
            let end = bytes.len();
            bytes[end - 64..].fill(0);
            disk.write_file("segments/0000000001.seg", &bytes);
        }
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| open(&disk).map(drop)));
        let outcome = outcome.unwrap_or_else(|_| panic!("it panicked"));
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Corruption);
    }
}

/// A record whose value rotted in what was durable costs that key alone; the torn record behind it was never durable,
/// is cut, and the value that its key had before is still there.
#[test]
fn a_rotten_value_before_a_torn_one_costs_that_key_alone() {
    let disk = SimDisk::new(1);
    let db = open(&disk).unwrap();
    let os = || PutOptions::new().durability(Durability::Os);
    db.put("y", [1; 100]).unwrap();
    db.put("x", [2; 100]).unwrap();
    db.put_with("y", [3; 100], os()).unwrap();
    db.put_with("z", [4; 100], os()).unwrap();
    let mut bytes = disk.read_file("segments/0000000001.seg").unwrap();
    db.close().unwrap();
    // The power went: of the second y its value's sector did not reach the device. And the value of x rots.
    for value in [2, 3] {
        let at = bytes.windows(100).position(|window| window.iter().all(|byte| *byte == value)).unwrap();
        bytes[at + 50] ^= 1;
    }
    disk.write_file("segments/0000000001.seg", &bytes);
    let db = open(&disk).unwrap();
    assert_eq!(db.get("x").unwrap_err().kind(), ErrorKind::Corruption);
    let y = db.get("y").map_err(|error| error.to_string());
    assert_eq!(y.expect("y was acknowledged, and did not rot").unwrap(), [1; 100]);
}

#[test]
fn verify_finds_a_rotten_horizon_slot_of_a_sealed_segment() {
    let disk = SimDisk::new(1);
    let db = open(&disk).unwrap();
    db.put("a", "1").unwrap();
    db.close().unwrap();
    let mut bytes = disk.read_file("segments/0000000001.seg").unwrap();
    bytes[512 + 8] ^= 1;
    disk.write_file("segments/0000000001.seg", &bytes);
    let report = open(&disk).unwrap().verify().unwrap();
    assert!(!report.is_clean(), "a slot with a wrong crc went unnoticed");
}

/// The record's last byte is padding, so that all but one byte of it is all of it.
#[test]
fn a_write_that_was_told_no_space_is_not_there_after_a_crash_although_the_seal_found_none_either() {
    for calls in [2, 1000] {
        let inside = SimDisk::new(1);
        inside.record();
        let disk = FaultDisk::simulated(inside.clone());
        let db = open(&disk).unwrap();
        db.put("before", "1").unwrap();
        let nth = disk.calls(Call::WriteAt);
        for i in 1..=calls {
            disk.inject(Fault { written: Written::AllButOne, ..fault(Call::WriteAt, nth + i, ENOSPC) });
        }
        let error = db.put("key", "12345").unwrap_err();
        assert_eq!(db.get("key").unwrap(), None);
        if calls == 2 {
            // Append and slot found none; the record could be taken back.
            assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
            for image in crate::hook::cut(&inside, 100) {
                assert_eq!(open(&image).unwrap().get("key").unwrap(), None, "told NoSpace: not in the store");
            }
            disk.heal();
            db.put("key", "healed").unwrap();
        } else {
            assert_eq!(error.kind(), ErrorKind::Io, "it cannot be taken back: unknown, {error}");
            assert_eq!(db.put("later", "x").unwrap_err().kind(), ErrorKind::Poisoned);
        }
    }
}

#[test]
fn a_lack_of_descriptors_at_the_first_write_of_a_session_is_a_limit_and_heals() {
    let disk = FaultDisk::simulated(SimDisk::new(1));
    let db = open(&disk).unwrap();
    disk.inject(fault(Call::SyncParent, disk.calls(Call::SyncParent) + 1, EMFILE));
    assert_eq!(db.put("key", "1").unwrap_err().kind(), ErrorKind::ResourceLimit);
    db.put("key", "2").unwrap();
    assert_eq!(db.get("key").unwrap().unwrap(), "2");
}

#[test]
fn verify_without_a_descriptor_is_an_error_and_no_damage() {
    let disk = FaultDisk::simulated(SimDisk::new(1));
    let db = open(&disk).unwrap();
    db.put("key", "1").unwrap();
    db.seal().unwrap();
    // The identity is opened first, then the segment, whose own descriptor was given back.
    disk.inject(fault(Call::Open, disk.calls(Call::Open) + 2, EMFILE));
    assert_eq!(db.verify().unwrap_err().kind(), ErrorKind::ResourceLimit);
    assert!(db.verify().unwrap().is_clean());
}

/// "Sync: on stable storage before return", whatever the answer: it is about writes that were not durable yet.
#[test]
fn an_answer_about_earlier_writes_is_as_durable_as_was_asked_for() {
    let inside = SimDisk::new(1);
    inside.record();
    let disk = FaultDisk::simulated(inside.clone());
    let db = zipcask::sim::open(Options::new(), 8192, Arc::new(disk.clone())).unwrap();
    db.put("key", "value").unwrap();
    assert!(db.delete_with("key", Durability::Os).unwrap());
    assert!(!db.delete("key").unwrap(), "it is gone");
    for image in inside.images(inside.position(), 64, &mut Random::new(1)) {
        let db = zipcask::sim::open(Options::new(), 8192, Arc::new(image)).unwrap();
        assert!(!db.contains_key("key").unwrap(), "it is back");
    }
    let written = db.put_with("other", "value", PutOptions::new().durability(Durability::Os)).unwrap();
    assert!(db.durable_seqno() < written);
    assert_eq!(db.batch().commit_with(Durability::Os).unwrap(), written);
    assert!(db.durable_seqno() < written, "nobody asked for more");
    assert_eq!(db.batch().commit().unwrap(), written);
    assert!(db.durable_seqno() >= written);

    assert!(db.delete_with("other", Durability::Os).unwrap());
    disk.inject(fault(Call::Barrier, disk.calls(Call::Barrier) + 1, 5));
    assert_eq!(db.delete("other").unwrap_err().kind(), ErrorKind::Io, "nobody knows whether it is gone for good");
    assert_eq!(db.put("other", "value").unwrap_err().kind(), ErrorKind::Poisoned);
}
