//! What checking checksums costs a read, by when it is done.
//!
//! Each side has a store of its own with the same records, loaded and synced, everything in the page cache. Of values of 100
//! bytes every byte is looked at; of the others length, first and last eight bytes, so that a read that verifies nothing
//! touches little of them.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod common;
#[path = "common/large.rs"]
mod large;

use std::path::PathBuf;
use std::time::Duration;

use common::data::{Key, VALUE_LEN, check, mix, value};
use common::{Scale, timed};
use zipcask::{Db, Durability, Options, Verify};

const MODES: [Verify; 3] = [Verify::Always, Verify::FirstTouch, Verify::ScrubOnly];

fn main() {
    let scale = Scale::new("verify: gets by a reader, against gets that check no value", 200_000);
    for (value_len, name) in [(VALUE_LEN, "100 bytes"), (4 << 10, "4 KiB"), (64 << 10, "64 KiB")] {
        let keys = (scale.keys * 1024 / value_len as u64).clamp(16, scale.keys);
        println!("{keys} values of {name}:");
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder can be written");
        let stores = MODES.map(|mode| Store { mode, path: home.path().join(format!("{mode:?}")), keys, value_len });
        stores.iter().for_each(Store::load);
        let [checking @ .., bare] = &stores;
        for store in checking {
            let (db, floor) = (store.open(), bare.open());
            let run: Vec<_> = (0..scale.of(50_000) as u64).map(|at| Key::new(mix(at) % keys)).collect();
            store.read(&db, &run);
            bare.read(&floor, &run);
            let name = format!("  again, {:?} / ScrubOnly", store.mode);
            scale.ratio(&name, 51, |_| store.read(&db, &run), |_| bare.read(&floor, &run));
        }
        let all: Vec<_> = (0..keys).map(|at| Key::new(mix(at) % keys)).collect();
        for store in checking {
            let name = format!("  first after open, {:?} / ScrubOnly", store.mode);
            scale.ratio(&name, 15, |_| store.read(&store.open(), &all), |_| bare.read(&bare.open(), &all));
        }
    }
}

struct Store {
    mode: Verify,
    path: PathBuf,
    keys: u64,
    value_len: usize,
}

impl Store {
    fn open(&self) -> Db {
        Options::new().verify_values(self.mode).open(&self.path).expect("the store opens")
    }

    fn load(&self) {
        let db = self.open();
        let len = (1 << 20) / self.value_len as u64;
        for from in (0..self.keys).step_by(len as usize) {
            let mut batch = db.batch();
            for id in from..self.keys.min(from + len) {
                batch.put(&*db, Key::new(id), self.value(id));
            }
            batch.commit_with(Durability::Os).expect("a batch is taken");
        }
        db.close().expect("the store closes");
    }

    fn value(&self, id: u64) -> Vec<u8> {
        if self.value_len == VALUE_LEN { value(id, 0).to_vec() } else { large::value(id, self.value_len) }
    }

    fn read(&self, db: &Db, run: &[Key]) -> Duration {
        let mut reader = db.reader();
        timed(|| {
            for key in run {
                let found = reader.get(key).expect("a get does not fail").expect("a key that was loaded");
                if self.value_len == VALUE_LEN {
                    check(key.id, found);
                } else {
                    large::check(key.id, self.value_len, found);
                }
            }
            reader.refresh();
        })
    }
}
