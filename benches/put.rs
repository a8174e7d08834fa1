//! Single writes, beside a bare file.
//!
//! The durable ones wait for fdatasync; with more than one thread the floor is still one thread that syncs after each
//! record, so that the figure is how many commits there are for each bare sync. Writes to the OS wait for nothing.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

#[path = "common/bare.rs"]
mod bare;
#[path = "common/clock.rs"]
mod clock;
mod common;
#[path = "common/store.rs"]
mod store;

use std::sync::Mutex;
use std::time::Duration;

use bare::BareLog;
use clock::together;
use common::data::{Key, check, mix, value};
use common::{Scale, timed};
use store::{load, store};
use zipcask::{Db, Durability, PutOptions};

fn main() {
    let scale = Scale::new("put: overwrites of single keys, on the disk that has the build", 200_000);
    let (dir, db) = store();
    load(&db, scale.keys);
    let log = Mutex::new(BareLog::new(&dir.path().join("bare.log")));

    // For each thread a part of the commits; the floor's time is of all of them.
    for (threads, name) in [(1, "put, Sync, 1 thread"), (4, "put, Sync, 4 threads"), (16, "put, Sync, 16 threads")] {
        let count = scale.of(320) / threads + 1;
        scale.ratio(
            &format!("{name} / pwrite + fdatasync, 1 thread"),
            31,
            |round| puts(&db, &runs(&scale, round, threads, count), round, Durability::Sync),
            |round| bare_sync(&log, &runs(&scale, round, threads, count).concat()),
        );
    }
    for threads in [1, 2] {
        let count = scale.of(20_000) / threads;
        scale.ratio(
            &format!("put, Os, {threads} threads / pwrite of a log, {threads} threads"),
            31,
            |round| puts(&db, &runs(&scale, round, threads, count), round, Durability::Os),
            |round| bare_os(&log, &runs(&scale, round, threads, count)),
        );
    }
}

/// Keys for each thread, none for two of them.
fn runs(scale: &Scale, round: u64, threads: usize, count: usize) -> Vec<Vec<Key>> {
    let each = scale.keys / threads as u64;
    let key = |thread: u64, at: u64| Key::new(thread * each + mix(round << 40 | thread << 32 | at) % each);
    (0..threads as u64).map(|thread| (0..count as u64).map(|at| key(thread, at)).collect()).collect()
}

/// Each thread with its keys.
fn each(runs: &[Vec<Key>], f: impl Fn(&[Key]) + Sync) -> Duration {
    together(runs.len(), |thread, clock| clock.time(|| f(&runs[thread])))
}

fn puts(db: &Db, runs: &[Vec<Key>], round: u64, durability: Durability) -> Duration {
    let options = PutOptions::new().durability(durability);
    let version = round + 1;
    let spent = each(runs, |run| {
        for key in run {
            db.put_with(key.as_bytes(), value(key.id, version), options).expect("a put is taken");
        }
    });
    for key in runs.iter().flatten() {
        let found = db.get(key.as_bytes()).expect("a get does not fail").expect("a key that was put");
        assert_eq!(check(key.id, &found), version, "the last write wins");
    }
    spent
}

fn bare_sync(log: &Mutex<BareLog>, run: &[Key]) -> Duration {
    let mut log = log.lock().expect("nobody panicked");
    timed(|| {
        for key in run {
            log.append([(key.as_bytes(), &value(key.id, 1)[..])].into_iter());
            log.sync();
        }
    })
}

fn bare_os(log: &Mutex<BareLog>, runs: &[Vec<Key>]) -> Duration {
    each(runs, |run| {
        for key in run {
            let value = value(key.id, 1);
            log.lock().expect("nobody panicked").append([(key.as_bytes(), &value[..])].into_iter());
        }
    })
}
