//! A disk that lies: an archive that is not what was written takes nothing's place.

use std::sync::Arc;

use zipcask::sim::{Call, Fault, FaultDisk, Lasts, Random, SimDisk, Written};
use zipcask::{Db, Options};

use crate::history::{self, Kind, Model, SEGMENT};
use crate::rot;

/// What became of archives that a wrong bit was written to. One that was written over went unnoticed.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Lies {
    pub(crate) told: u64,
    pub(crate) noticed: u64,
}

/// Names and bytes.
type Files = Vec<(String, Option<Vec<u8>>)>;

type Job = fn(&Db) -> zipcask::Result<u64>;

/// Lets every write of a job on a closed store go wrong, by one of so many bits.
///
/// # Errors
/// What was lost or wrong then.
pub(crate) fn sweep(seed: u64, bits: usize) -> Result<Lies, String> {
    let (store, model) = rot::closed_store(seed, Kind::Log, false);
    let jobs: [Job; 2] =
        [|db| db.compact().map(|report| report.archives), |db| db.archive().map(|report| report.archives)];
    let (mut random, mut lies) = (Random::new(seed), Lies::default());
    for job in jobs {
        let healthy = rot::image(&store);
        let db = history::open(&healthy).expect("a closed store opens");
        job(&db).expect("a healthy disk takes archives");
        let honest = archives(&healthy);
        for nth in 1.. {
            let mut struck = false;
            for _ in 0..bits {
                let wrong = Written::Wrong(random.below(1 << 30));
                struck = one_lie(&rot::image(&store), &model, job, nth, wrong, &honest, &mut lies)
                    .map_err(|what| format!("write {nth}, {wrong:?}: {what}"))?;
            }
            if !struck {
                break;
            }
        }
    }
    Ok(lies)
}

/// The archives of a store: the same history on the same disk makes the same.
fn archives(disk: &SimDisk) -> Files {
    let files = disk.files().into_iter().filter(|name| name.starts_with("archives/"));
    files.map(|name| (name.clone(), disk.read_file(&name))).collect()
}

fn one_lie(
    image: &SimDisk,
    model: &Model,
    job: Job,
    nth: u64,
    written: Written,
    honest: &Files,
    lies: &mut Lies,
) -> Result<bool, String> {
    let failed = |what: &'static str| move |error: zipcask::Error| format!("{what}: {error:?}");
    let disk = FaultDisk::simulated(image.clone());
    let db = zipcask::sim::open(Options::new(), SEGMENT, Arc::new(disk.clone())).map_err(failed("open"))?;
    let nth = disk.calls(Call::WriteAt) + nth;
    disk.inject(Fault { call: Call::WriteAt, nth, errno: 0, lasts: Lasts::Once, written });
    let told = job(&db);
    if disk.injected() == 0 {
        return Ok(false);
    }
    lies.told += 1;
    lies.noticed += u64::from(told.is_err());
    if told.is_ok() && archives(image) != *honest {
        return Err("an archive is not what was written".into());
    }
    rot::holds(&db, model)?;
    // The disk is told not to lie again.
    disk.heal();
    job(&db).map_err(failed("again"))?;
    rot::holds(&db, model)?;
    db.close().map_err(failed("close"))?;
    let db = history::open(image).map_err(failed("reopen"))?;
    rot::holds(&db, model)?;
    match db.verify() {
        Ok(report) if report.is_clean() => Ok(true),
        other => Err(format!("it does not verify: {other:?}")),
    }
}
