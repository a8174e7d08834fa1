//! Reads, beside a map in memory that keeps nothing and, where each get waits for the one before, beside two bare misses.
//!
//! Durability plays no part: the store is loaded and synced before. Reads are mapped. A reader is made before the clock
//! starts, and refreshed once a round, within the time. Every get's keys are made before.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

#[path = "common/clock.rs"]
mod clock;
mod common;
#[path = "common/ours.rs"]
mod ours;
#[path = "common/raw.rs"]
mod raw;
#[path = "common/store.rs"]
mod store;
#[path = "common/view.rs"]
mod view;

use std::path::Path;
use std::time::Duration;

use clock::together;
use common::data::{Key, mix, value};
use common::{Scale, timed};
use ours::{Many, Map};
use raw::TwoMisses;
use store::{load, store};
use view::{Tally, View};
use zipcask::Db;

fn main() {
    let scale = Scale::new("get: mapped reads of a synced store", 1_000_000);
    let (dir, db) = store();
    load(&db, scale.keys);
    let map: Map = (0..scale.keys).map(|id| (Key::new(id).as_bytes().to_vec(), value(id, 0).to_vec())).collect();
    // First, so that every page that a get may touch has been touched.
    passes(&scale, &db, &map);
    for threads in [1, 2] {
        found(&scale, &db, &map, threads);
        absent(&scale, &db, &map, threads);
    }
    dependent(&scale, &db, &map, &dir.path().join("two-misses"));
}

fn found(scale: &Scale, db: &Db, map: &Map, threads: u64) {
    let keys = |round| runs(scale, round, threads, 0);
    let ratio = |name: &str, ours: &mut dyn FnMut(u64) -> Duration| {
        let name = format!("{name}, {threads} thr. / HashMap without a lock");
        scale.ratio(&name, 51, ours, |round| each(&keys(round), || map, view::found));
    };
    ratio("Reader::get", &mut |round| each(&keys(round), || db.reader(), view::found));
    ratio("Db::get", &mut |round| each(&keys(round), || db, view::found));
    for batch in [16, 64, 256] {
        let many = || Many { reader: db.reader(), batch };
        let name = format!("get_many of {batch}");
        ratio(&name, &mut |round| each(&keys(round), many, view::found));
    }
}

fn absent(scale: &Scale, db: &Db, map: &Map, threads: u64) {
    let keys = |round| runs(scale, round, threads, scale.keys);
    let ratio = |name: &str, ours: &mut dyn FnMut(u64) -> Duration| {
        let name = format!("{name} of absent keys, {threads} thr. / HashMap");
        scale.ratio(&name, 51, ours, |round| each(&keys(round), || map, view::absent));
    };
    ratio("Reader::get", &mut |round| each(&keys(round), || db.reader(), view::absent));
    ratio("Db::get", &mut |round| each(&keys(round), || db, view::absent));
}

/// The floor's index and log are as large as those of the store.
fn dependent(scale: &Scale, db: &Db, map: &Map, path: &Path) {
    let stats = db.stats();
    let raw = TwoMisses::new(path, scale.keys, stats.index_bytes, stats.live_bytes);
    let steps = scale.of(50_000);
    let ratio = |name: &str, ours: &mut dyn FnMut(u64) -> Duration| {
        let name = format!("{name}, dependent / two bare misses");
        scale.ratio(&name, 51, ours, |round| {
            raw.follow(mix(!round), steps);
            timed(|| raw.follow(mix(round), steps))
        });
    };
    ratio("Reader::get", &mut |round| follow(db.reader(), round, steps, scale.keys));
    ratio("Db::get", &mut |round| follow(db, round, steps, scale.keys));
    ratio("HashMap", &mut |round| follow(map, round, steps, scale.keys));
}

/// Warms up on as many steps from elsewhere.
fn follow(mut view: impl View, round: u64, steps: usize, ids: u64) -> Duration {
    view::dependent(&view, mix(!round) % ids, steps, ids);
    view.refresh();
    once(view, |view| view::dependent(view, mix(round) % ids, steps, ids))
}

fn passes(scale: &Scale, db: &Db, map: &Map) {
    let all = Tally::of(scale.keys);
    let floor = |_| once(map, |view| view::pass(view, all));
    scale.ratio("for_each / iter of HashMap", 21, |_| once(db.reader(), |view| view::pass(view, all)), floor);
    scale.ratio("iter / iter of HashMap", 21, |_| once(db, |view| view::pass(view, all)), floor);
}

/// The keys of each thread in a round, of ids `from` and above: a half to warm up with, a half to measure.
fn runs(scale: &Scale, round: u64, threads: u64, from: u64) -> Vec<Vec<Key>> {
    let key = |thread: u64, at: u64| Key::new(from + mix(round << 40 | thread << 32 | at) % scale.keys);
    (0..threads).map(|thread| (0..2 * scale.of(50_000) as u64).map(|at| key(thread, at)).collect()).collect()
}

fn once<V: View>(mut view: V, f: impl FnOnce(&V)) -> Duration {
    timed(|| {
        f(&view);
        view.refresh();
    })
}

/// Each thread with its keys and a view of its own. The first half of them is not measured: it brings the caches to where
/// they are for who reads all day, and not for who takes turns with another.
fn each<V: View>(runs: &[Vec<Key>], view: impl Fn() -> V + Sync, f: impl Fn(&V, &[Key]) + Sync) -> Duration {
    together(runs.len(), |thread, clock| {
        let mut view = view();
        let (warm, run) = runs[thread].split_at(runs[thread].len() / 2);
        f(&view, warm);
        view.refresh();
        clock.time(|| {
            f(&view, run);
            view.refresh();
        });
    })
}
