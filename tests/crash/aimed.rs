//! A history that chance seldom makes: it leads to where one rule alone decides what is there.

use std::sync::Arc;

use zipcask::sim::{Random, SimDisk};
use zipcask::{Db, Options, PutOptions};

use crate::history::SEGMENT;
use crate::world::{self, HOURS, hours, wrong};

fn open(disk: &SimDisk) -> Result<Db, String> {
    zipcask::sim::open(Options::new(), SEGMENT, Arc::new(disk.clone())).map_err(wrong)
}

/// Has `check` look at what a cut leaves at any point from a position on.
fn cut(disk: &SimDisk, seed: u64, from: usize, check: impl Fn(&Db) -> Result<(), String>) -> Result<(), String> {
    let (mut recording, mut random) = (disk.recording(), Random::new(seed));
    for point in recording.points().skip_while(|point| *point < from) {
        for image in recording.images(point, 8, &mut random) {
            check(&open(&image)?).map_err(|what| format!("point {point}: {what}"))?;
        }
    }
    Ok(())
}

/// A job drops what has expired, and the archive before has what that had replaced.
pub(crate) fn expired_before_a_job(seed: u64) -> Result<(), String> {
    let disk = SimDisk::new(seed);
    disk.record();
    world::set_hour(&disk, 0);
    let db = open(&disk)?;
    let fill = |from: u8| (from..from + 50).try_for_each(|key| db.put([key], [key; 100]).map(drop)).map_err(wrong);
    db.put("key", "older").map_err(wrong)?;
    fill(0)?;
    db.seal().and_then(|()| db.archive()).map_err(wrong)?;
    db.put_with("key", vec![1; 2000], PutOptions::new().ttl(hours(1))).map_err(wrong)?;
    fill(100)?;
    db.seal().map_err(wrong)?;
    world::set_hour(&disk, 5 * HOURS);
    let from = disk.position();
    let report = db.compact().map_err(wrong)?;
    if report.archives == 0 || db.len() != 100 {
        return Err(format!("wrong: {} keys after {} jobs", db.len(), report.archives));
    }
    cut(&disk, seed, from, |db| match db.get("key").map_err(wrong)? {
        Some(found) => Err(format!("wrong: what expired is back, with {} bytes", found.len())),
        None => Ok(()),
    })
}
