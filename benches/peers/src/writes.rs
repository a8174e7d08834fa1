//! Single writes, and the bare file beside them.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use crate::bare::BareLog;
use crate::clock::together;
use crate::common::data::{Key, value};
use crate::engines::{Engine, Mode, Way};
use crate::turn::{Task, Turn};

/// A number that no other write of this work has, and never 0, which the load writes.
pub(crate) fn version(round: usize, thread: usize, at: usize) -> u64 {
    1 + ((round as u64) << 40) + ((thread as u64) << 32) + at as u64
}

/// Puts each thread's keys; afterwards every key must have the last value that was put.
pub(crate) fn puts(engine: &dyn Engine, runs: &[Vec<Key>], round: usize) -> Duration {
    let spent = together(runs.len(), |thread, clock| {
        clock.time(|| {
            for (at, key) in runs[thread].iter().enumerate() {
                engine.put(key.as_bytes(), &value(key.id, version(round, thread, at)));
            }
        });
    });
    for (thread, keys) in runs.iter().enumerate() {
        let last: HashMap<_, _> = (0..).zip(keys).map(|(at, key)| (key.id, version(round, thread, at))).collect();
        let versions: Vec<_> = keys.iter().map(|key| last[&key.id]).collect();
        let task = Task::Versions(&versions);
        together(1, |_, clock| engine.read(Way::Plain, &Turn { task, warm: &[], keys, clock, engine }));
    }
    spent
}

/// Appends the same to the bare file, and syncs it after each record or at the end, untimed.
pub(crate) fn puts_bare(log: &Mutex<BareLog>, runs: &[Vec<Key>], round: usize, mode: Mode) -> Duration {
    let spent = together(runs.len(), |thread, clock| {
        clock.time(|| {
            for (at, key) in runs[thread].iter().enumerate() {
                let value = value(key.id, version(round, thread, at));
                let mut log = log.lock().expect("nobody panicked");
                log.append([(key.as_bytes(), &value[..])].into_iter());
                if mode == Mode::Sync {
                    log.sync();
                }
            }
        });
    });
    log.lock().expect("nobody panicked").sync();
    spent
}
