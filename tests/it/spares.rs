//! Segments made ready ahead: never in the way, never missed, and gone when nobody needs them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use zipcask::sim::{Call, Fault, FaultDisk, Lasts, SimDisk, Written, make_spare};
use zipcask::{Db, Durability, ErrorKind, Options};

use crate::faults::{EIO, EMFILE, ENOMEM, ENOSPC, fault};

/// Long enough for a hole between the records and the footer.
const SEGMENT: u64 = 5 * 4096;
const EROFS: i32 = 30;
const EDQUOT: i32 = 122;

fn open(disk: &FaultDisk) -> Db {
    zipcask::sim::open(Options::new(), SEGMENT, Arc::new(disk.clone())).unwrap()
}

fn new_disk() -> (SimDisk, FaultDisk) {
    let inside = SimDisk::new(1);
    (inside.clone(), FaultDisk::simulated(inside))
}

fn spares(disk: &SimDisk) -> Vec<String> {
    disk.files().into_iter().filter(|name| name.starts_with("spare/")).collect()
}

fn put(db: &Db, i: u32) -> zipcask::Result<zipcask::Seqno> {
    db.put(i.to_le_bytes(), [i as u8; 500])
}

fn assert_holds(db: &Db, count: u32) {
    for i in 0..count {
        assert_eq!(db.get(i.to_le_bytes()).unwrap().unwrap(), [i as u8; 500], "{i}");
    }
    assert_eq!(db.len(), u64::from(count));
}

/// Lengths of the segments, oldest first, in MiB.
fn lengths(db: &Db) -> Vec<u64> {
    db.stats().segments.iter().map(|segment| segment.file_bytes >> 20).collect()
}

#[test]
fn segments_double_while_the_store_grows_and_are_short_while_it_does_not() {
    let db = Options::new().segment_size(16 << 20).background(false).open_in_memory().unwrap();
    let put = |key: u32| {
        db.put(key.to_le_bytes(), vec![1; 16 << 10]).unwrap();
    };
    // One write in four overwrites something.
    (0..2_200_u32).for_each(|i| put(i / 4 * 3 + i % 4 % 3));
    assert_eq!(lengths(&db), [1, 2, 4, 8, 16, 16]);
    // The length of the next was settled when the last began.
    (0..4_400_u32).for_each(|i| put(i % 1_500));
    assert_eq!(lengths(&db)[6..], [16, 8, 8, 8, 8, 8, 8]);
    // Growing again, it doubles again.
    (0..2_200_u32).for_each(|i| put(i + 10_000));
    assert_eq!(lengths(&db)[13..], [8, 16, 16]);
}

#[test]
fn a_spare_becomes_the_next_segment_and_is_zeros_until_then() {
    let (inside, disk) = new_disk();
    let db = open(&disk);
    put(&db, 0).unwrap();
    let before = db.stats().preallocated_bytes;
    assert!(make_spare(&db));
    let made = spares(&inside);
    assert_eq!(made.len(), 1);
    assert_eq!(inside.read_file(&made[0]).unwrap(), vec![0; SEGMENT as usize]);
    assert_eq!(db.stats().preallocated_bytes, before + SEGMENT);
    let creates = disk.calls(Call::Create);
    assert!(make_spare(&db), "there is one");
    assert_eq!(disk.calls(Call::Create), creates, "one is enough");

    db.seal().unwrap();
    put(&db, 1).unwrap();
    assert_eq!(disk.calls(Call::Create), creates, "no other file was made");
    assert_eq!(spares(&inside), Vec::<String>::new());
    assert_eq!(db.stats().segments.len(), 2);
    assert_holds(&db, 2);
    db.close().unwrap();
    assert_holds(&open(&disk), 2);
}

/// Zeros are written in pieces of so many bytes.
const PIECE: u64 = 16 << 10;

/// Zeros that nobody sees, but the device: pieces of them, each a write.
#[test]
fn zeros_are_written_into_spares_and_where_there_was_none_ahead_of_the_records_of_those_who_wait() {
    for (durability, pieces, ahead) in [(Durability::Sync, SEGMENT.div_ceil(PIECE), 2), (Durability::Os, 0, 0)] {
        let disk = FaultDisk::simulated(SimDisk::new(1));
        let options = Options::new().durability(durability);
        let db = zipcask::sim::open(options, SEGMENT, Arc::new(disk.clone())).unwrap();
        let writes = |f: &dyn Fn() -> bool| {
            let before = disk.calls(Call::WriteAt);
            assert!(f());
            disk.calls(Call::WriteAt) - before
        };
        put(&db, 0).unwrap();
        let first = writes(&|| put(&db, 1).is_ok());
        let syncs = disk.calls(Call::Sync);
        assert_eq!(writes(&|| make_spare(&db)), pieces);
        assert_eq!(disk.calls(Call::Sync), syncs + 1, "whoever takes it waits for no zeros");
        db.seal().unwrap();
        // The header, its copy, the records.
        assert_eq!(writes(&|| put(&db, 2).is_ok()), 3);
        assert_eq!(writes(&|| put(&db, 3).is_ok()), 1);
        db.seal().unwrap();
        let without = writes(&|| put(&db, 4).is_ok());
        // What lies behind the record, up to where a piece begins, and that piece.
        assert_eq!(without, 3 + ahead);
        assert_eq!((first, writes(&|| put(&db, 5).is_ok())), (1, 1), "once is enough");
        assert_holds(&db, 6);
    }
}

/// A writer that has taken a spare, and not named it yet, found it twice as long as its header says, and the store did not open again.
#[test]
fn making_a_spare_leaves_other_files_of_the_folder_alone() {
    let (disk, faults) = new_disk();
    let db = open(&faults);
    db.put("first", "1").unwrap();
    assert!(make_spare(&db));
    db.seal().unwrap();
    db.put("second", "2").unwrap();
    assert_eq!(spares(&disk), [""; 0], "it was taken");
    disk.write_file("spare/0123456789abcdef", &[0; 4096]);
    assert!(make_spare(&db));
    assert_eq!(disk.read_file("spare/0123456789abcdef").unwrap().len(), 4096);
    assert_eq!(spares(&disk).len(), 2);
}

#[test]
fn a_spare_that_is_too_short_for_a_batch_waits_for_its_turn() {
    let (inside, disk) = new_disk();
    let db = open(&disk);
    put(&db, 0).unwrap();
    assert!(make_spare(&db));
    db.put("long", vec![1; 2 * SEGMENT as usize]).unwrap();
    assert_eq!(spares(&inside).len(), 1);
    db.seal().unwrap();
    put(&db, 1).unwrap();
    assert_eq!(spares(&inside).len(), 0);
    assert_eq!(db.len(), 3);
}

#[test]
fn a_spare_is_gone_after_the_close_and_what_a_killed_session_left_after_the_next_open() {
    let (inside, disk) = new_disk();
    let db = open(&disk);
    put(&db, 0).unwrap();
    assert!(make_spare(&db));
    db.clone().close().unwrap();
    assert_eq!(spares(&inside), Vec::<String>::new());
    assert!(!make_spare(&db), "a closed store makes none");

    inside.write_file("spare/00c0ffee00c0ffee", &[7; 100]);
    inside.write_file("spare/mine", b"not ours");
    let db = open(&disk);
    assert_eq!(spares(&inside), ["spare/mine"]);
    assert_holds(&db, 1);
}

#[test]
fn a_store_that_is_only_read_makes_no_spare() {
    let dir = tempfile::tempdir().unwrap();
    Db::open(dir.path()).unwrap().close().unwrap();
    let db = Db::open(dir.path()).unwrap();
    assert!(db.get("a").unwrap().is_none());
    db.close().unwrap();
    assert!(!dir.path().join("spare").exists());
    let db = Options::new().open_in_memory().unwrap();
    put(&db, 0).unwrap();
    assert!(!make_spare(&db), "memory has nothing to gain");
}

#[test]
fn a_spare_that_cannot_be_made_harms_nobody() {
    let cycle = |errno_of: Option<(Call, u64, i32, Lasts)>| {
        let (inside, disk) = new_disk();
        let db = open(&disk);
        put(&db, 0).unwrap();
        let before = Call::ALL.map(|call| disk.calls(call));
        if let Some((call, nth, errno, lasts)) = errno_of {
            let nth = disk.calls(call) + nth;
            disk.inject(Fault { lasts, written: Written::OneByte, ..fault(call, nth, errno) });
        }
        let made = make_spare(&db);
        let calls: Vec<_> = Call::ALL.iter().zip(before).map(|(call, before)| disk.calls(*call) - before).collect();
        let struck = disk.injected() > 0;
        assert!(made || struck);
        disk.heal();
        for i in 1..100 {
            put(&db, i).unwrap_or_else(|error| panic!("{errno_of:?}: {error:?}"));
        }
        assert_holds(&db, 100);
        assert!(make_spare(&db), "{errno_of:?}: the next one can be made");
        db.close().unwrap();
        assert_holds(&open(&disk), 100);
        assert_eq!(spares(&inside), Vec::<String>::new());
        (calls, struck)
    };
    let (healthy, _) = cycle(None);
    let (mut cases, mut struck) = (0, 0);
    for (call, count) in Call::ALL.into_iter().zip(healthy) {
        for nth in 1..=count {
            for errno in [ENOSPC, EDQUOT, EMFILE, EIO, EROFS, ENOMEM] {
                for lasts in [Lasts::Once, Lasts::FromThenOn] {
                    cases += 1;
                    struck += u64::from(cycle(Some((call, nth, errno, lasts))).1);
                }
            }
        }
    }
    crate::report::report(&format!("spares: {cases} failures while one is made, {struck} struck, none was noticed"));
    assert_eq!(cases, struck);
    assert!(cases >= 50);
}

#[test]
fn a_spare_that_cannot_be_taken_is_no_space_or_poison_like_any_new_segment() {
    for (errno, kind) in [(ENOSPC, ErrorKind::NoSpace), (EIO, ErrorKind::Io)] {
        let (inside, disk) = new_disk();
        let db = open(&disk);
        put(&db, 0).unwrap();
        assert!(make_spare(&db));
        db.seal().unwrap();
        disk.inject(fault(Call::WriteAt, disk.calls(Call::WriteAt) + 1, errno));
        assert_eq!(put(&db, 1).unwrap_err().kind(), kind);
        assert_eq!(spares(&inside), Vec::<String>::new(), "it is not used for anything else");
        assert_eq!(put(&db, 1).is_ok(), errno == ENOSPC);
        drop(db);
        let db = open(&disk);
        assert_holds(&db, 1 + u32::from(errno == ENOSPC));
        put(&db, 1).unwrap();
    }
}

#[test]
fn room_that_cannot_be_given_back_is_only_that() {
    for (call, errno) in [(Call::Punch, EIO), (Call::Punch, ENOSPC), (Call::Taken, EIO)] {
        let (_, disk) = new_disk();
        disk.inject(Fault { lasts: Lasts::FromThenOn, ..fault(call, 1, errno) });
        let db = open(&disk);
        put(&db, 0).unwrap();
        db.seal().unwrap();
        put(&db, 1).unwrap();
        db.close().unwrap();
        assert!(disk.injected() > 0);
        let db = open(&disk);
        assert_holds(&db, 2);
        assert!(db.verify().unwrap().is_clean());
    }
}

#[test]
fn a_torn_tail_is_not_given_back() {
    let torn = |bytes: &[u8]| {
        let (inside, disk) = new_disk();
        let db = open(&disk);
        put(&db, 0).unwrap();
        let name = "segments/0000000001.seg";
        let mut segment = inside.read_file(name).unwrap();
        std::mem::forget(db);
        segment[8192..][..bytes.len()].copy_from_slice(bytes);
        let killed = SimDisk::new(2);
        zipcask::sim::Disk::create_dir(&killed, "segments").unwrap();
        killed.write_file("ZIPCASK", &inside.read_file("ZIPCASK").unwrap());
        killed.write_file(name, &segment);
        let disk = FaultDisk::simulated(killed);
        let db = open(&disk);
        assert_holds(&db, 1);
        (disk.calls(Call::Punch), db.stats().recovery.torn_bytes > 0)
    };
    assert_eq!(torn(&[0]), (1, false), "a session that was killed, and nothing torn");
    assert_eq!(torn(&[7]), (0, true));
}

#[cfg(target_os = "linux")]
#[test]
fn a_sealed_segment_gives_the_room_behind_its_records_back() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().durability(Durability::Os).open(dir.path()).unwrap();
    put(&db, 0).unwrap();
    let active = db.stats().preallocated_bytes;
    db.seal().unwrap();
    let sealed = db.stats().preallocated_bytes;
    // A file system without holes, or without room reserved, shows no difference.
    let holes = {
        use std::os::unix::fs::MetadataExt;
        let file = dir.path().join("segments/0000000001.seg");
        let metadata = std::fs::metadata(file).unwrap();
        assert_eq!(metadata.len(), 1 << 20, "the length stays");
        metadata.blocks() * 512 < 1 << 19
    };
    if !holes {
        crate::report::report("skipped: the file system of the temporary directory has no holes");
        return;
    }
    assert!(active == 0 || active > 1 << 19, "{active}");
    assert!(sealed < 64 << 10, "{sealed}");
    assert!(db.verify().unwrap().is_clean());
    db.close().unwrap();
    let db = Db::open(dir.path()).unwrap();
    assert!(db.stats().preallocated_bytes < 64 << 10);
    assert_holds(&db, 1);
}

/// Calls `done` until it says so.
fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited a minute for {what}");
        std::thread::yield_now();
    }
}

fn spare_files(dir: &std::path::Path) -> usize {
    std::fs::read_dir(dir.join("spare")).map_or(0, Iterator::count)
}

#[test]
fn the_thread_makes_a_spare_once_a_quarter_is_full_and_goes_with_the_store() {
    for durability in [Durability::Sync, Durability::Os] {
        let dir = tempfile::tempdir().unwrap();
        let db = Options::new().durability(durability).segment_size(8 << 20).open(dir.path()).unwrap();
        db.put("small", "1").unwrap();
        assert!(!dir.path().join("spare").exists(), "a session that writes little makes none");
        for segment in 2..5 {
            // Nothing is dead, so that no segment is compacted.
            db.put(
                format!("quarter {segment}"),
                vec![1; (db.stats().segments.last().unwrap().file_bytes / 4) as usize],
            )
            .unwrap();
            wait_for("a spare", || spare_files(dir.path()) == 1 && make_spare(&db));
            db.seal().unwrap();
            db.put(format!("next {segment}"), "1").unwrap();
            assert_eq!(spare_files(dir.path()), 0, "it was taken");
            assert_eq!(db.stats().segments.len(), segment);
        }
        db.put("quarter", vec![1; 2 << 20]).unwrap();
        drop(db);
        assert_eq!(spare_files(dir.path()), 0, "a spare under way goes, too");
        assert_eq!(Db::open(dir.path()).unwrap().len(), 8);
    }
}

#[test]
fn without_background_there_is_no_spare() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().background(false).segment_size(1 << 20).open(dir.path()).unwrap();
    for i in 0..5_u32 {
        db.put(i.to_le_bytes(), vec![1; 400 << 10]).unwrap();
    }
    assert!(db.stats().segments.len() > 1);
    assert!(!dir.path().join("spare").exists());
}
