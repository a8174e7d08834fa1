//! Disks that are really full: for root, on Linux.

use std::fs;
use std::path::Path;

use zipcask::{Db, Durability, ErrorKind, Options};

use crate::mount::Mount;
use crate::report::report;

fn options(durability: Durability, background: bool) -> Options {
    Options::new().segment_size(256 << 10).durability(durability).background(background)
}

fn value(i: u32) -> Vec<u8> {
    vec![i as u8; 8000 + i as usize % 100]
}

/// Puts from `from` on until there is no space; returns the first that was not taken.
fn put_from(db: &Db, from: u32) -> u32 {
    for i in from..from + 100_000 {
        if let Err(error) = db.put(i.to_le_bytes(), value(i)) {
            assert_eq!(error.kind(), ErrorKind::NoSpace, "{error:?}");
            return i;
        }
    }
    panic!("it is never full")
}

fn assert_holds(db: &Db, deleted: u32, count: u32) {
    for i in 0..count {
        let got = db.get(i.to_le_bytes()).unwrap();
        assert_eq!(got.map(|got| got.to_vec()), (i >= deleted).then(|| value(i)), "{i}");
    }
    assert_eq!(db.len(), u64::from(count - deleted));
}

/// Fills the file system, deletes, reopens, makes space, goes on.
fn live_through(what: &str, root: &Path, durability: Durability, background: bool) {
    let (ballast, store) = (root.join("ballast"), root.join("store"));
    // A process that another test is starting may hold files that are gone, for a moment.
    let start = std::time::Instant::now();
    while fs::write(&ballast, vec![1; 1 << 20]).is_err() {
        assert!(start.elapsed().as_secs() < 60, "there is no space on a file system without files");
        std::thread::yield_now();
    }
    let db = options(durability, background).open(&store).unwrap();
    let count = put_from(&db, 0);
    assert_holds(&db, 0, count);
    let mut deleted = 0_u32;
    while deleted < count {
        match db.delete(deleted.to_le_bytes()) {
            Ok(there) => assert!(there, "{deleted}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NoSpace, "{error:?}");
                break;
            }
        }
        deleted += 1;
    }
    // A spare that was being made when there was no space may be a segment after all.
    assert!(background || deleted < count, "the reserve has an end");
    assert!(deleted >= 64, "a reserve of 4 KiB takes more than {deleted} deletes");
    assert_holds(&db, deleted, count);
    db.sync().unwrap();
    assert_eq!(db.durable_seqno(), db.last_seqno());

    // Space comes back under an open store.
    fs::remove_file(&ballast).unwrap();
    // As above: it comes back once nobody has that file.
    let (start, mut more) = (std::time::Instant::now(), put_from(&db, count));
    while more <= count + 50 {
        assert!(start.elapsed().as_secs() < 60, "{count}, then {more}");
        more = put_from(&db, more);
    }
    assert_holds(&db, deleted, more);
    assert!(db.verify().unwrap().is_clean());
    db.close().unwrap();

    // A full disk does not hold up an open, nor a close, and what a killed process leaves neither.
    let db = options(durability, background).open(&store).unwrap();
    assert_eq!(db.stats().recovery.torn_bytes, 0);
    assert_holds(&db, deleted, more);
    let end = put_from(&db, more);
    assert_holds(&db, deleted, end);
    db.close().unwrap();
    let db = options(durability, background).open(&store).unwrap();
    assert_holds(&db, deleted, end);
    assert!(db.verify().unwrap().is_clean());
    db.close().unwrap();
    fs::remove_dir_all(&store).unwrap();
    report(&format!(
        "{what}, {durability:?}, background {background}: full after {count} puts, {deleted} deletes in the reserve, then {} and {} more puts",
        more - count,
        end - more
    ));
}

#[test]
fn a_full_file_system_loses_nothing_takes_deletes_and_heals() {
    let mounts = [
        ("tmpfs of 4 MiB", Mount::tmpfs(4 << 20)),
        ("ext4 of 16 MiB", Mount::ext4(16 << 20, &[])),
        ("ext4 of 16 MiB without a journal", Mount::ext4(16 << 20, &["-O", "^has_journal"])),
    ];
    for (what, mount) in mounts {
        let mount = match mount {
            Ok(mount) => mount,
            Err(why) => {
                report(&format!("skipped: no {what} to fill ({why})"));
                continue;
            }
        };
        for (durability, background) in [(Durability::Sync, false), (Durability::Os, false), (Durability::Sync, true)] {
            live_through(what, &mount.root(), durability, background);
        }
    }
}

/// The first segment of a session has 1 MiB, the next ones twice as much each.
#[test]
fn what_is_too_little_for_a_long_segment_is_used_by_shorter_ones() {
    let mount = match Mount::tmpfs(4 << 20) {
        Ok(mount) => mount,
        Err(why) => return report(&format!("skipped: no tmpfs to fill to the brim ({why})")),
    };
    let db = Options::new().background(false).open(mount.root().join("store")).unwrap();
    let count = put_from(&db, 0);
    let bytes: usize = (0..count).map(|i| value(i).len()).sum();
    assert!(bytes > 3500 << 10, "{bytes} bytes of values fit into 4 MiB");
    assert_holds(&db, 0, count);
    db.close().unwrap();
}

/// A spare segment is nobody's yet: it makes room for what is wanted now.
#[test]
fn a_spare_segment_gives_way_to_who_needs_its_room() {
    // A process that another test is about to start has the spare's descriptor for a moment, and with it its room.
    let when_it_is_free = |write: &dyn Fn() -> zipcask::Result<()>| {
        let tries = (0..10_000).map(|_| write()).find(|outcome| {
            std::thread::yield_now();
            !outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::NoSpace)
        });
        tries.expect("the spare gives way").unwrap();
    };
    let put_large = |db: &Db| when_it_is_free(&|| db.put("large", vec![1; 12 << 20]).map(drop));
    let commit_long = |db: &Db| {
        when_it_is_free(&|| {
            let mut batch = db.batch();
            for i in 0..18_u32 {
                batch.put(db, i.to_le_bytes(), vec![1; 1 << 20]);
            }
            batch.commit().map(drop)
        });
    };
    for write in [&put_large as &dyn Fn(&Db), &commit_long] {
        let mount = match Mount::tmpfs(40 << 20) {
            Ok(mount) => mount,
            Err(why) => return report(&format!("skipped: no tmpfs to fill with a spare ({why})")),
        };
        let options = Options::new().segment_size(16 << 20).background(false);
        let db = options.open(mount.root().join("store")).unwrap();
        // Segments of 1, 2, 4 and 8 MiB, and a spare of 16.
        for i in 0..8_u32 {
            db.put(i.to_be_bytes(), vec![2; 1 << 20]).unwrap();
        }
        assert!(zipcask::sim::make_spare(&db));
        assert!(db.stats().preallocated_bytes > 16 << 20);
        write(&db);
        assert!(db.stats().preallocated_bytes < 16 << 20, "the spare is gone");
        assert!(db.verify().unwrap().is_clean());
        db.close().unwrap();
    }
}
