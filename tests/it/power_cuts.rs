//! Power cuts on real file systems: shut down under a writer, mounted anew, and what was acknowledged is there. For
//! root, on Linux.
//!
//! The kernel's call for it stops all writes at once: what only the page cache has is gone. The cache of the device is
//! no part of this, since the device is a file.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::mpsc;

use zipcask::{Db, Durability, Options, PutOptions};

use crate::mount::Mount;
use crate::report::report;

/// Rounds on each file system in a run of `cargo test`; `ZIPCASK_POWER_ROUNDS` asks for more.
const ROUNDS: u64 = 10;

/// From linux/fs.h and xfs_fs.h.
const FS_IOC_SHUTDOWN: libc::c_ulong = 0x8004_587d;

/// With what of the journal is in memory written first, and without.
const FLAGS: [u32; 2] = [1, 2];

fn options() -> Options {
    Options::new().segment_size(64 * 1024)
}

fn key(round: u64, i: u64) -> String {
    format!("{round} {i}")
}

fn value(round: u64, i: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(round << 32 | i);
    let len = if i.is_multiple_of(17) { 40_000 } else { random.usize(0..3000) };
    (0..len).map(|_| random.u8(..)).collect()
}

/// Lets no more of the file system reach its device.
fn shut_down(root: &File, flags: u32) {
    // SAFETY: the call reads one u32 through the pointer, which lives until it returns.
    let result = unsafe { libc::ioctl(root.as_raw_fd(), FS_IOC_SHUTDOWN, &raw const flags) };
    assert_eq!(result, 0, "the file system takes a shutdown: {}", io::Error::last_os_error());
}

/// Writes until the file system is shut down under it, and says what was acknowledged as it is.
fn write_until_it_fails(db: &Db, round: u64, told: &mpsc::Sender<u64>) {
    for i in 0.. {
        let durability = if i % 4 == 3 { Durability::Os } else { Durability::Sync };
        if db.put_with(key(round, i), value(round, i), PutOptions::new().durability(durability)).is_err() {
            return;
        }
        if durability == Durability::Sync {
            told.send(i).unwrap();
        }
        // A job now and then, whatever becomes of it.
        if i % 25 == 24 {
            let _ = if i % 2 == 0 { db.compact().map(drop) } else { db.archive().map(drop) };
        }
        if i % 40 == 39 {
            let _ = db.checkpoint();
        }
    }
}

/// One power cut; how many writes were acknowledged.
fn cut(root: &Path, round: u64, random: &mut fastrand::Rng) -> u64 {
    let db = options().open(root.join("store")).unwrap();
    let handle = File::open(root).unwrap();
    let (told, acknowledged) = mpsc::channel();
    let mut last = 0;
    std::thread::scope(|scope| {
        let db = &db;
        scope.spawn(move || write_until_it_fails(db, round, &told));
        // Behind a random number of writes, while the writer is somewhere in the next ones.
        for i in acknowledged.iter().take(random.usize(1..100)) {
            last = i;
        }
        (0..random.u32(0..50_000)).for_each(|_| std::hint::spin_loop());
        shut_down(&handle, FLAGS[random.usize(0..FLAGS.len())]);
        last = acknowledged.iter().last().unwrap_or(last);
    });
    last + 1
}

/// All that was acknowledged in a round is there, and what was not is right if it is there.
fn check(db: &Db, round: u64, acknowledged: u64) {
    let mut gone = false;
    for i in 0..acknowledged + 8 {
        match db.get(key(round, i)).unwrap() {
            Some(got) => {
                assert!(!gone, "round {round}: write {i} is there, one before it is not");
                assert!(got == value(round, i), "round {round}: write {i} is wrong");
            }
            None => {
                assert!(i >= acknowledged, "round {round}: acknowledged write {i} of {acknowledged} is lost");
                gone = true;
            }
        }
    }
}

fn rounds(what: &str, made: Result<Mount, String>) {
    let mut mount = match made {
        Ok(mount) => mount,
        Err(why) => return report(&format!("skipped: no {what} to cut the power of ({why})")),
    };
    let number = |name, default| {
        let text = std::env::var(name).ok();
        text.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
    };
    let (seed, rounds) = (number("ZIPCASK_SEED", 1), number("ZIPCASK_POWER_ROUNDS", ROUNDS));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut sum = 0;
    for round in 0..rounds {
        let acknowledged = cut(&mount.root(), round, &mut random);
        mount.mount_again().unwrap_or_else(|why| panic!("seed {seed}, round {round}: {why}"));
        let db = options().open(mount.root().join("store"));
        let db = db.unwrap_or_else(|error| panic!("seed {seed}, round {round}: refused: {error:?}"));
        check(&db, round, acknowledged);
        assert!(db.verify().unwrap().is_clean(), "seed {seed}, round {round}");
        sum += acknowledged;
        // So that many rounds need no more room than few.
        for i in 0..acknowledged + 8 {
            db.delete_with(key(round, i), Durability::Os).unwrap();
        }
        db.compact().unwrap();
        db.close().unwrap();
    }
    report(&format!(
        "power cuts on {what}: {rounds} rounds, {sum} writes up to the last acknowledged, 0 lost, 0 wrong, 0 refused (seed {seed})"
    ));
}

#[test]
fn what_is_acknowledged_survives_a_power_cut_on_ext4() {
    rounds("ext4", Mount::ext4(96 << 20, &["-J", "size=4"]));
}

#[test]
fn what_is_acknowledged_survives_a_power_cut_on_xfs() {
    rounds("xfs", Mount::xfs(320 << 20));
}
