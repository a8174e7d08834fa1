//! Barriers that fail: everyone is told, nothing is shown, nothing is retried, reopening heals.

use std::sync::Arc;

use zipcask::sim::{Call, FailedSync, Fault, FaultDisk, Lasts, SimDisk, Written};
use zipcask::{Db, ErrorKind, Options};

use crate::history::SEGMENT;

const EIO: i32 = 5;

fn open(disk: &FaultDisk) -> zipcask::Result<Db> {
    zipcask::sim::open(Options::new(), SEGMENT, Arc::new(disk.clone()))
}

/// Lets the nth barrier fail in a run of durable puts and checks everything that is promised then.
///
/// # Errors
/// What was not as promised. `Ok(false)` if there are fewer barriers.
pub(crate) fn fail_barrier(nth: u64, mode: FailedSync, errno: i32) -> Result<bool, String> {
    let inside = SimDisk::new(nth);
    inside.set_failed_sync(mode);
    let disk = FaultDisk::simulated(inside.clone());
    let db = open(&disk).map_err(|error| format!("open: {error:?}"))?;
    disk.inject(Fault { call: Call::Barrier, nth, errno, lasts: Lasts::Once, written: Written::Nothing });
    let (mut acknowledged, mut failed) = (0_u32, None);
    for i in 0..40_u32 {
        match db.put(i.to_le_bytes(), [i as u8; 300]) {
            Ok(_) => acknowledged += 1,
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    let Some(error) = failed else { return Ok(false) };
    if error.kind() != ErrorKind::Io {
        return Err(format!("the first to be told got {error:?}"));
    }
    let expect = |what: &str, ok: bool| if ok { Ok(()) } else { Err(what.to_string()) };
    let missing = |i: u32| db.get(i.to_le_bytes()).is_ok_and(|got| got.is_none());
    expect("a failed group was visible", missing(acknowledged))?;
    let barriers = disk.calls(Call::Barrier);
    let kind = |error: zipcask::Error| error.kind();
    expect("put is Poisoned", db.put("a", "1").map_err(kind) == Err(ErrorKind::Poisoned))?;
    expect("sync is Poisoned", db.sync().map_err(kind) == Err(ErrorKind::Poisoned))?;
    expect("seal is Poisoned", db.seal().map_err(kind) == Err(ErrorKind::Poisoned))?;
    expect("nothing is retried", disk.calls(Call::Barrier) == barriers)?;
    for i in 0..acknowledged {
        let got = db.get(i.to_le_bytes()).map_err(|error| format!("reads go on: {error:?}"))?;
        expect("reads go on", got.is_some_and(|got| got == [i as u8; 300]))?;
    }
    expect("close is Poisoned", db.close().map_err(kind) == Err(ErrorKind::Poisoned))?;

    // What the page cache still shows never reached the device. First it is there to mislead, then it is gone.
    disk.heal();
    let db = open(&disk).map_err(|error| format!("reopen: {error:?}"))?;
    let survivors = db.len() as u32;
    expect("acknowledged writes are there", survivors >= acknowledged)?;
    db.put("healed", "yes").map_err(|error| format!("reopening heals: {error:?}"))?;
    db.close().map_err(|error| format!("close: {error:?}"))?;
    inside.drop_clean();
    let db = open(&disk).map_err(|error| format!("reopen without the cache: {error:?}"))?;
    expect("what an open showed stays", db.len() as u32 == survivors + 1)?;
    for i in 0..survivors {
        let got = db.get(i.to_le_bytes()).map_err(|error| format!("after the cache went: {error:?}"))?;
        expect("what an open showed stays as it was", got.is_some_and(|got| got == [i as u8; 300]))?;
    }
    expect("the store is clean", db.verify().is_ok_and(|report| report.is_clean()))?;
    Ok(true)
}

/// Every barrier of the run, in both modes, with each errno.
///
/// # Errors
/// As `fail_barrier`, with what failed.
pub(crate) fn sweep() -> Result<u64, String> {
    let mut cases = 0;
    for mode in [FailedSync::NothingWritten, FailedSync::PartWritten] {
        for errno in [EIO, 28, 122, 4] {
            for nth in 1.. {
                let struck = fail_barrier(nth, mode, errno);
                if !struck.map_err(|what| format!("barrier {nth}, errno {errno}, {mode:?}: {what}"))? {
                    break;
                }
                cases += 1;
            }
        }
    }
    Ok(cases)
}
