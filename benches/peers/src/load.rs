//! Loads: batches of about a megabyte of large values, or of a thousand small ones, and one sync at the end.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::bare;
use crate::common::data::{Key, VALUE_LEN, value};
use crate::engines::Engine;
use crate::large;

/// Ids `0..keys`, in version 0.
fn batches(keys: u64, value_len: usize) -> impl Iterator<Item = Vec<(Key, Vec<u8>)>> {
    let len = if value_len == VALUE_LEN { 1_000 } else { (1 << 20) / value_len as u64 };
    let bytes = move |id| if value_len == VALUE_LEN { value(id, 0).to_vec() } else { large::value(id, value_len) };
    let batch = move |from: u64| (from..keys.min(from + len)).map(|id| (Key::new(id), bytes(id))).collect();
    (0..keys).step_by(len as usize).map(batch)
}

/// Fills an empty store; only the engine's calls are timed.
pub(crate) fn load(engine: &mut dyn Engine, keys: u64, value_len: usize) -> Duration {
    let mut spent = Duration::ZERO;
    for batch in batches(keys, value_len) {
        let start = Instant::now();
        engine.batch(&batch);
        spent += start.elapsed();
    }
    let start = Instant::now();
    engine.sync();
    spent + start.elapsed()
}

/// Writes the same to a new file, one call a batch, and syncs it.
pub(crate) fn load_bare(path: &Path, keys: u64, value_len: usize) -> Duration {
    let file = File::create_new(path).expect("the floor's file is made");
    let (mut spent, mut bytes) = (Duration::ZERO, Vec::new());
    for batch in batches(keys, value_len) {
        let start = Instant::now();
        bytes.clear();
        for (key, value) in &batch {
            bare::encode(&mut bytes, key.as_bytes(), value);
        }
        (&file).write_all(&bytes).expect("the floor writes");
        spent += start.elapsed();
    }
    let start = Instant::now();
    file.sync_data().expect("the floor syncs");
    spent + start.elapsed()
}
