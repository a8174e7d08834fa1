//! What was handed out stays what it was: whatever happens to its key, to the store, and in whichever thread.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use zipcask::{Db, Durability, Options, ReadMode, Reader, Value};

use crate::over::Over;
use crate::plan::{self, Plan};
use crate::ways::{Checked, told};

/// More than a few buckets, so that overwriting meets growth, too.
const KEYS: u32 = 3000;

/// How often all keys are written anew while things are held.
const GENERATIONS: u32 = 4;

/// Threads that hold what a reader showed.
const HOLDERS: u32 = 4;

/// A value that was handed out: which key's, and as which version.
struct Held(u32, u32, Value);

impl Held {
    fn look(&self, plan: Plan) -> Checked<()> {
        let Held(key, version, value) = self;
        look(plan, *key, *version, value)
    }
}

fn look(plan: Plan, key: u32, version: u32, bytes: &[u8]) -> Checked<()> {
    if plan.shows(key, version, Some(bytes)) {
        return Ok(());
    }
    Err(format!("what was handed out of key {key} as version {version} has changed: {} bytes", bytes.len()))
}

fn write_all(db: &Db, plan: Plan, version: u32) -> Checked<()> {
    for key in 0..KEYS {
        match plan.value(key, version) {
            Some(value) => drop(told(db.put(plan::name(key), value))?),
            None => drop(told(db.delete(plan::name(key)))?),
        }
    }
    Ok(())
}

/// Adds every value, by `get` and by `iter`, and the keys that `iter` shows.
fn take_values(db: &Db, plan: Plan, version: u32, values: &mut Vec<Held>, keys: &mut Vec<(u32, Value)>) -> Checked<()> {
    for key in 0..KEYS {
        values.extend(told(db.get(plan::name(key)))?.map(|value| Held(key, version, value)));
    }
    for pair in db.iter() {
        let (key, value) = told(pair)?;
        let number = plan::key_of(&key).ok_or("a key that nobody wrote")?;
        keys.push((number, key));
        values.push(Held(number, version, value.clone()));
    }
    values.iter().try_for_each(|held| held.look(plan))
}

/// Holds what readers and `get` showed of each generation while the next ones are written, the store is closed, opened
/// again and written to, and its files are removed. Returns how often it looked again.
pub(crate) fn run(seed: u64, read_mode: ReadMode) -> Checked<u64> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let open = || {
        let options = Options::new().segment_size(64 * 1024).durability(Durability::Os).read_mode(read_mode);
        told(options.open(dir.path()))
    };
    let (db, plan) = (open()?, Plan { seed });
    write_all(&db, plan, 1)?;
    let (mut values, mut keys) = (Vec::new(), Vec::new());
    let (over, looks) = (AtomicBool::new(false), mpsc::channel());
    std::thread::scope(|scope| {
        // Each holder keeps what its reader showed of generation 1 until the store is gone.
        let (mut holders, until_over) = (Vec::new(), Over(&over));
        let (told_ready, ready) = mpsc::channel();
        for number in 0..HOLDERS {
            let (reader, over, told_ready) = (db.reader(), &over, told_ready.clone());
            holders.push(scope.spawn(move || hold_slices(&reader, plan, number, told_ready, over)));
        }
        drop(told_ready);
        // A holder that fails is not among them.
        let _ = ready.iter().take(HOLDERS as usize).count();
        let mut others: Vec<_> = (0..20).map(|_| db.reader()).collect();
        let written = (2..2 + GENERATIONS).try_for_each(|version| {
            take_values(&db, plan, version - 1, &mut values, &mut keys)?;
            write_all(&db, plan, version)?;
            // Other readers let go: that frees nothing of what is held here.
            for reader in &mut others {
                told(reader.get(plan::name(version)))?;
                reader.refresh();
            }
            Ok::<_, String>(())
        });
        drop(others);
        let closed = told(db.clone().close());
        drop(db);
        // After this, no file of the store that was is the same, but for those held.
        let rewritten = open().and_then(|db| {
            write_all(&db, plan, 9)?;
            told(db.close())
        });
        let removed = std::fs::remove_dir_all(dir.path()).map_err(|error| error.to_string());
        drop(until_over);
        for holder in holders {
            let looked = holder.join().map_err(|_| "a holder panicked".to_string()).and_then(|looked| looked);
            let _ = looks.0.send(looked);
        }
        written.and(closed).and(rewritten).and(if cfg!(unix) { removed } else { Ok(()) })
    })?;
    drop(looks.0);
    let held = looks.1.iter().sum::<Checked<u64>>()?;
    // In another thread, where the last of them is dropped, too.
    let looked = std::thread::spawn(move || {
        values.iter().try_for_each(|held| held.look(plan))?;
        let wrong = keys.iter().find(|(number, key)| plan::name(*number) != **key);
        wrong.map_or(Ok(()), |(number, _)| Err(format!("the key {number} that iter showed has changed")))?;
        Ok::<_, String>((values.len() + keys.len()) as u64)
    });
    Ok(held + looked.join().map_err(|_| "the last thread panicked")??)
}

/// Takes slices of generation 1 in every way in which a reader shows them, and looks at them until the store is over.
fn hold_slices(reader: &Reader, plan: Plan, number: u32, ready: mpsc::Sender<()>, over: &AtomicBool) -> Checked<u64> {
    let mut slices = Vec::new();
    for key in (number..KEYS).step_by(HOLDERS as usize) {
        let slice = told(reader.get(plan::name(key)))?.ok_or("a key of the first generation is missing")?;
        slices.push((key, slice));
    }
    // Reads that keep nothing for the caller.
    let names: Vec<_> = (0..KEYS).map(plan::name).collect();
    reader.get_many(&names, |_, _| {});
    told(reader.for_each(|_, _| ControlFlow::Continue(())))?;
    // Dropped, too: those who wait for all learn from it that there is none left to wait for.
    let _ = ready.send(());
    drop(ready);
    let mut looked = 0;
    loop {
        let last = over.load(Ordering::Acquire);
        for (key, slice) in &slices {
            look(plan, *key, 1, slice)?;
        }
        looked += slices.len() as u64;
        if last {
            return Ok(looked);
        }
        std::thread::yield_now();
    }
}
