//! What compaction costs those who read meanwhile, and what it gives back.
//!
//! Each round overwrites a part of the keys, so that a third of every file is dead, and then compacts all of it, while one thread
//! reads random keys and checks what it gets: none may be missing, at any moment. The floor are the same gets of the same thread with
//! nothing beside them, right before. Anonymous memory is what /proc says of the process, sampled meanwhile.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

#[expect(dead_code, reason = "its rounds are of its own kind")]
mod common;
#[path = "common/files.rs"]
mod files;
#[path = "common/store.rs"]
#[expect(dead_code, reason = "its stores have options")]
mod store;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::Scale;
use common::data::{Key, VALUE_LEN, check, mix, value};
use common::figures::Figures;
use zipcask::{Db, Durability, Options};

/// Gets between two looks at the clock.
const STRIDE: u64 = 1_000;

fn main() {
    let scale = Scale::new("compact: gets beside a compaction, against gets alone", 1_000_000);
    let live = live_bytes(scale.keys);
    // `cargo bench --bench compact -- space` measures that alone.
    if !std::env::args().any(|arg| arg == "space") {
        beside(&scale, live);
    }
    steady(&scale, live);
}

/// Rounds of overwriting and `compact()`, with a reader beside them.
fn beside(scale: &Scale, live: u64) {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder can be written");
    let dir = home.path().join("store");
    let db = Options::new().background(false).open(&dir).expect("a new store opens");
    store::load(&db, scale.keys);
    let (mut ratios, mut grown, mut gets, mut version) = (Vec::new(), Vec::new(), 0, 0);
    for round in 0..scale.of(700) as u64 {
        version += 1;
        overwrite(&db, scale.keys, version, scale.keys / 3);
        let (alone, _) = read(&db, scale.keys, round, |since| since.elapsed() < Duration::from_millis(500));
        let (running, before) = (AtomicBool::new(true), files::anonymous_memory());
        let mut peak = 0;
        let beside = thread::scope(|scope| {
            scope.spawn(|| {
                db.compact().expect("a compaction succeeds");
                running.store(false, Ordering::Relaxed);
            });
            let (beside, most) = read(&db, scale.keys, round, |_| running.load(Ordering::Relaxed));
            peak = most;
            beside
        });
        gets += alone.1 + beside.1;
        ratios.push(alone.0 / beside.0);
        grown.push(peak.saturating_sub(before) as f64 / f64::from(1 << 20));
        if gets > 10_000_000 && round >= 6 {
            break;
        }
    }
    let (speed, memory) = (Figures::of(&ratios), Figures::of(&grown));
    println!(
        "gets beside a compaction / alone {:>6.2}x   [{:.2} .. {:.2}], {} rounds",
        speed.median,
        speed.p5,
        speed.p95,
        ratios.len()
    );
    println!("{gets} gets checked, 0 keys missing, 0 values wrong");
    println!("anonymous memory grows by {:.1} MiB [{:.1} .. {:.1}]", memory.median, memory.p5, memory.p95);
    println!("after compact(): {:.3} of the bytes of live keys and values", files::bytes(&dir) as f64 / live as f64);
    db.close().expect("the store closes");
}

/// Overwrites a second, as one busy thread of an application might.
const RATE: u64 = 100_000;

/// Overwrites at a steady rate with the background on, several times as much as there is.
fn steady(scale: &Scale, live: u64) {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder can be written");
    let dir = home.path().join("store");
    let db = Options::new().open(&dir).expect("a new store opens");
    store::load(&db, scale.keys);
    let before = db.stats().compaction;
    let (start, mut written, mut shares, mut ahead) = (Instant::now(), 0, Vec::new(), Vec::new());
    for version in 1..=scale.of(100) as u64 {
        for part in 0..10 {
            written += overwrite(&db, scale.keys, version << 8 | part, scale.keys / 30);
            thread::sleep(Duration::from_secs(written).div_f64(RATE as f64).saturating_sub(start.elapsed()));
            shares.push(files::bytes(&dir) as f64 / live as f64);
            ahead.push(db.stats().preallocated_bytes as f64 / live as f64);
        }
        if written > 4 * scale.keys {
            break;
        }
    }
    let (all, ahead) = (Figures::of(&shares[shares.len() / 2..]), Figures::of(&ahead[ahead.len() / 2..]));
    println!(
        "{RATE} overwrites a second, {written} in all: all files {:.2} of the live bytes [{:.2} .. {:.2}], {:.2} of it room for what is to come",
        all.median, all.p5, all.p95, ahead.median
    );
    let most = shares[shares.len() / 2..].iter().copied().fold(0.0, f64::max);
    let put = written as f64 * live as f64 / scale.keys as f64;
    let jobs = db.stats().compaction.written_bytes - before.written_bytes;
    println!("  at most {most:.2}; jobs wrote {:.2} bytes for each byte put", jobs as f64 / put);
}

/// Puts so many keys again, scattered; returns how many.
fn overwrite(db: &Db, keys: u64, version: u64, count: u64) -> u64 {
    for from in (0..count).step_by(1_000) {
        let mut batch = db.batch();
        for at in from..(from + 1_000).min(count) {
            let id = mix(at ^ version << 40) % keys;
            batch.put(&**db, Key::new(id), value(id, version));
        }
        batch.commit_with(Durability::Os).expect("a batch is taken");
    }
    count
}

/// Reads random keys as long as `go_on` says so; nanoseconds a get, and how many; and the most anonymous memory seen.
fn read(db: &Db, keys: u64, seed: u64, go_on: impl Fn(Instant) -> bool) -> ((f64, u64), u64) {
    let (start, mut gets, mut most, mut reader) = (Instant::now(), 0, 0, db.reader());
    while go_on(start) {
        for at in gets..gets + STRIDE {
            let id = mix(at ^ seed << 48) % keys;
            let found = reader.get(Key::new(id)).expect("a get does not fail").expect("a key that was loaded");
            check(id, found);
        }
        gets += STRIDE;
        reader.refresh();
        if gets % (100 * STRIDE) == 0 {
            most = most.max(files::anonymous_memory());
        }
    }
    ((start.elapsed().as_nanos() as f64 / gets as f64, gets), most)
}

fn live_bytes(keys: u64) -> u64 {
    (0..keys).map(|id| (Key::new(id).as_bytes().len() + VALUE_LEN) as u64).sum()
}
