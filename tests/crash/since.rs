//! Power cuts between jobs and the next time that the index is written down.

use std::collections::BTreeMap;
use std::sync::Arc;

use zipcask::sim::{Random, SimDisk};
use zipcask::{Db, Options};

use crate::hook::cut;

/// Keys that stay as they are, and those of which each round overwrites some.
const CALM: u64 = 300;
const BUSY: u64 = 40;

type Model = BTreeMap<String, Option<Vec<u8>>>;

fn open(disk: &SimDisk) -> Result<Db, String> {
    zipcask::sim::open(Options::new(), 64 << 10, Arc::new(disk.clone())).map_err(|error| format!("refused: {error:?}"))
}

/// Runs some lives of a store. Returns how many images opened with all that was written, and read less than all of it.
pub(crate) fn run(seed: u64) -> Result<usize, String> {
    let mut images = 0;
    for seed in seed..seed + 4 {
        let mut random = Random::new(seed);
        images += live(&mut random).map_err(|what| format!("seed {seed}: {what}"))?;
    }
    Ok(images)
}

fn live(random: &mut Random) -> Result<usize, String> {
    let failed = |error: zipcask::Error| format!("wrong: {error:?}");
    let disk = SimDisk::new(random.next_u64());
    disk.record();
    let (db, mut model, mut images) = (open(&disk)?, Model::new(), 0);
    // A file that no job will rewrite, and whose keys the deletes below are kept for.
    for i in 0..CALM {
        write(&db, &mut model, format!("calm {i}"), Some(random))?;
    }
    db.seal().map_err(failed)?;
    for round in 0..4 {
        // A file that one will: it has these deletes, and little else that is live.
        for _ in 0..3 * BUSY {
            write(&db, &mut model, format!("busy {}", random.below(BUSY as usize)), Some(random))?;
        }
        write(&db, &mut model, format!("calm {round}"), None)?;
        write(&db, &mut model, format!("calm {}", round + 100), None)?;
        db.seal().map_err(failed)?;
        // And one that is as live as the first, and newer than the deletes.
        for i in 0..CALM {
            write(&db, &mut model, format!("round {round}, {i}"), Some(random))?;
        }
        write(&db, &mut model, format!("calm {round}"), Some(random))?;
        db.checkpoint().map_err(failed)?;
        for _ in 0..2 {
            let jobs = db.compact().map_err(failed)?.archives;
            let some = random.below(30);
            for _ in 0..some {
                write(&db, &mut model, format!("busy {}", random.below(BUSY as usize)), Some(random))?;
            }
            db.sync().map_err(failed)?;
            for image in cut(&disk, 3) {
                let (db, all) = (open(&image)?, model.len() as u64);
                compare(&db, &model)?;
                if !db.verify().is_ok_and(|report| report.is_clean()) {
                    return Err("wrong: a recovered store does not verify".to_owned());
                }
                let read = db.stats().recovery.records;
                if jobs > 0 && read >= all {
                    return Err(format!("slow: {read} records were read of {all} keys"));
                }
                images += 1;
            }
        }
    }
    Ok(images)
}

/// Puts a random value, or deletes.
fn write(db: &Db, model: &mut Model, key: String, random: Option<&mut Random>) -> Result<(), String> {
    let failed = |error: zipcask::Error| format!("wrong: {error:?}");
    let value = random.map(|random| {
        let mut value = vec![0; 20 + random.below(80)];
        random.fill(&mut value);
        value
    });
    match &value {
        Some(value) => drop(db.put(&key, value).map_err(failed)?),
        None => drop(db.delete(&key).map_err(failed)?),
    }
    model.insert(key, value);
    Ok(())
}

fn compare(db: &Db, model: &Model) -> Result<(), String> {
    for (key, value) in model {
        let got = db.get(key).map_err(|error| format!("wrong: {key}: {error:?}"))?;
        if got.as_deref() != value.as_deref() {
            return Err(format!("wrong: {key} is there: {}, expected: {}", got.is_some(), value.is_some()));
        }
    }
    let live = model.values().flatten().count() as u64;
    if db.len() != live {
        return Err(format!("wrong: {} keys, {live} expected", db.len()));
    }
    Ok(())
}
