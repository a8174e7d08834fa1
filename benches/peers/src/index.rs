//! What the index takes of memory, over one doubling of the keys.

use zipcask::{Durability, Options as Store};

use crate::common::data::{Key, value};
use crate::options::Options;

/// How often it is looked at while the keys become twice as many.
const LOOKS: u64 = 256;

/// Of those, how many are printed.
const PRINTED: u64 = 8;

/// Prints a table: bytes a key at some sizes, in the mean over all looks, and at worst.
pub(crate) fn print(options: &Options) {
    let db = Store::new().durability(Durability::Os).open_in_memory().expect("a store in memory opens");
    let (mut loaded, mut looks) = (0, Vec::new());
    for look in 0..=LOOKS {
        let keys = options.keys + options.keys * look / LOOKS;
        let mut batch = db.batch();
        for id in loaded..keys {
            batch.put(&*db, Key::new(id), value(id, 0));
            if batch.len() == 1_000 {
                std::mem::replace(&mut batch, db.batch()).commit().expect("a batch is taken");
            }
        }
        batch.commit().expect("a batch is taken");
        let stats = db.stats();
        assert_eq!(stats.live_keys, keys, "every key is there");
        looks.push((keys, stats.index_bytes as f64 / keys as f64));
        loaded = keys;
    }
    println!();
    println!("| index of zipcask, keys | bytes a key |");
    println!("|--:|--:|");
    for (keys, bytes) in looks.iter().step_by((LOOKS / PRINTED) as usize) {
        println!("| {keys} | {bytes:.1} |");
    }
    let mean = looks.iter().map(|(_, bytes)| bytes).sum::<f64>() / looks.len() as f64;
    let worst = looks.iter().map(|(_, bytes)| *bytes).fold(0.0, f64::max);
    println!("| mean of {} sizes | {mean:.1} |", looks.len());
    println!("| at worst | {worst:.1} |");
    println!();
    println!(
        "As `stats().index_bytes` says it; no key is kept in memory. None of the other engines says what its own takes."
    );
}
