//! Batches, beside a bare file that gets the same bytes by one call.
//!
//! `Os` waits for nothing, `Sync` for fdatasync, on both sides.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

#[path = "common/bare.rs"]
mod bare;
mod common;
#[path = "common/store.rs"]
mod store;

use std::time::Duration;

use bare::BareLog;
use common::data::{Key, check, mix, value};
use common::{Scale, timed};
use store::{load, store};
use zipcask::{Db, Durability};

fn main() {
    let scale = Scale::new("batch: overwrites, on the disk that has the build", 200_000);
    let (dir, db) = store();
    load(&db, scale.keys);
    let mut log = BareLog::new(&dir.path().join("bare.log"));

    for (size, durability) in [(1_000, Durability::Os), (1_000, Durability::Sync), (10, Durability::Sync)] {
        let run = |round: u64| -> Vec<(Key, [u8; 100])> {
            let ids = (0..size).map(|at| mix(round << 32 | at) % scale.keys);
            ids.map(|id| (Key::new(id), value(id, round + 1))).collect()
        };
        scale.ratio(
            &format!("batch of {size}, {durability:?} / the same by pwrite"),
            201,
            |round| batch(&db, &run(round), round + 1, durability),
            |round| bare(&mut log, &run(round), durability),
        );
    }
    scale.ratio(
        "load in batches of 1,000, new store / the same by pwrite",
        7,
        |_| {
            let (_dir, db) = store();
            timed(|| load(&db, scale.keys))
        },
        |_| bare_load(&mut log, scale.keys),
    );
}

fn batch(db: &Db, pairs: &[(Key, [u8; 100])], version: u64, durability: Durability) -> Duration {
    let spent = timed(|| {
        let mut batch = db.batch();
        for (key, value) in pairs {
            batch.put(&**db, key.as_bytes(), value);
        }
        batch.commit_with(durability).expect("a batch is taken");
    });
    for (key, _) in pairs {
        let found = db.get(key.as_bytes()).expect("a get does not fail").expect("a key that was put");
        assert_eq!(check(key.id, &found), version, "the last write wins");
    }
    spent
}

fn bare(log: &mut BareLog, pairs: &[(Key, [u8; 100])], durability: Durability) -> Duration {
    timed(|| {
        log.append(pairs.iter().map(|(key, value)| (key.as_bytes(), &value[..])));
        if durability == Durability::Sync {
            log.sync();
        }
    })
}

/// Makes keys and values as `load` does, so that both sides pay for that.
fn bare_load(log: &mut BareLog, keys: u64) -> Duration {
    timed(|| {
        for from in (0..keys).step_by(1_000) {
            let pairs: Vec<_> = (from..keys.min(from + 1_000)).map(|id| (Key::new(id), value(id, 0))).collect();
            log.append(pairs.iter().map(|(key, value)| (key.as_bytes(), &value[..])));
        }
        log.sync();
    })
}
