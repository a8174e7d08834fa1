//! System calls that fail while jobs run: nothing is lost, nothing is wrong, and what was left is cleaned up.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use zipcask::sim::{Call, Fault, FaultDisk, Lasts, Random, SimDisk, Written};
use zipcask::{Db, Durability, ErrorKind, Options, PutOptions};

use crate::faults::{EDQUOT, EIO, EMFILE, ENOMEM, ENOSPC, SEGMENT, fault};
use crate::hook::HookDisk;

const EINTR: i32 = 4;
const EROFS: i32 = 30;

/// A key whose record is in a segment with dead ones.
const OVERWRITTEN: u32 = 20;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;
type Job = fn(&Db) -> zipcask::Result<u64>;

fn compact(db: &Db) -> zipcask::Result<u64> {
    let report = db.compact()?;
    assert_eq!(report.damaged, 0, "a call that failed is no damage");
    Ok(report.archives)
}

fn archive(db: &Db) -> zipcask::Result<u64> {
    let report = db.archive()?;
    assert_eq!(report.damaged, 0, "a call that failed is no damage");
    Ok(report.archives)
}

fn open(disk: &FaultDisk) -> Db {
    zipcask::sim::open(Options::new(), SEGMENT, Arc::new(disk.clone())).unwrap()
}

fn put(db: &Db, model: &mut Model, key: u32, len: usize, durability: Durability) {
    let (key, value) = (key.to_le_bytes().to_vec(), vec![model.len() as u8 ^ len as u8; len]);
    db.put_with(&key, &value, PutOptions::new().durability(durability)).unwrap();
    model.insert(key, value);
}

/// A closed store with archives and segments, dead records, tombstones and large values; on a disk that records.
fn store() -> (SimDisk, Model) {
    let (inside, mut model) = (SimDisk::new(1), Model::new());
    inside.record();
    let db = open(&FaultDisk::simulated(inside.clone()));
    for round in 0..4_u32 {
        for i in 0..12 {
            put(&db, &mut model, round * 6 + i, 300 + round as usize, Durability::Os);
        }
        put(&db, &mut model, 100 + round / 2, 5000 + round as usize, Durability::Os);
        assert_eq!(
            db.delete((round * 5).to_le_bytes()).unwrap(),
            model.remove(&(round * 5).to_le_bytes()[..]).is_some()
        );
        if round < 3 {
            db.compact().unwrap();
        }
    }
    db.close().unwrap();
    (inside, model)
}

fn image(store: &SimDisk) -> SimDisk {
    let (last, mut random) = (store.position(), Random::new(1));
    store.images(last, 1, &mut random).next().unwrap()
}

fn assert_holds(db: &Db, model: &Model, context: &str) {
    assert_eq!(db.len(), model.len() as u64, "{context}");
    for (key, value) in model {
        let got = db.get(key).unwrap_or_else(|error| panic!("{context}: {key:?}: {error:?}"));
        assert!(got.is_some_and(|got| got == *value), "{context}: {key:?} is lost or wrong");
    }
}

/// Whether an error after a fault of this call may have to do with the log, which refuses writes from then on.
fn may_poison(call: Call) -> bool {
    matches!(call, Call::Barrier | Call::WriteAt)
}

/// Whether the call may fail once the archive has its name, so that no job follows before the store is opened again.
fn may_stop_jobs(call: Call) -> bool {
    matches!(call, Call::SyncDir | Call::Open | Call::Len | Call::ReadAt)
}

/// Lets the nth call of its kind in a job fail; whether it struck.
fn one_fault(store: &SimDisk, before: &Model, job: Job, mut fault: Fault, cut: bool) -> bool {
    let context = format!("{fault:?}");
    let (inside, mut model) = (image(store), before.clone());
    inside.record();
    let disk = FaultDisk::simulated(inside.clone());
    let db = open(&disk);
    for i in 0..4 {
        put(&db, &mut model, 14 + i, 350, Durability::Os);
    }
    fault.nth += disk.calls(fault.call);
    disk.inject(fault);
    let told = job(&db);
    if disk.injected() == 0 {
        return false;
    }
    disk.heal();
    assert_holds(&db, &model, &context);
    if cut {
        assert_cut_holds(&inside, before, &model, &context);
    }
    let later = db.put("later", "x");
    match &told {
        Ok(_) => assert!(later.is_ok(), "{context}: {later:?}"),
        Err(error) => {
            assert!(!matches!(error.kind(), ErrorKind::Corruption | ErrorKind::Poisoned), "{context}: {error:?}");
            assert!(later.is_ok() || may_poison(fault.call), "{context}: {error:?}, then {later:?}");
            assert!(later.is_err() || fault.call != Call::Barrier, "{context}: {error:?}, and writes go on");
            if error.kind() == ErrorKind::NoSpace {
                later.as_ref().unwrap_or_else(|later| panic!("{context}: {error:?}, then {later:?}"));
                job(&db).unwrap_or_else(|later| panic!("{context}: {error:?}, then {later:?}"));
            }
        }
    }
    // Without a barrier since, what was not durable may go with a failed one.
    let settled = later.is_ok();
    match later {
        Ok(_) => {
            model.insert(b"later".to_vec(), b"x".to_vec());
            if let Err(error) = job(&db) {
                assert!(may_stop_jobs(fault.call) && error.kind() == ErrorKind::Io, "{context}: {error:?}");
            }
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Poisoned, "{context}"),
    }
    assert_holds(&db, &model, &context);
    let before = if settled { &model } else { before };
    drop(db);
    let db = open(&disk);
    let leftovers: Vec<_> = inside.files().into_iter().filter(|name| name.contains("/new-")).collect();
    assert!(leftovers.is_empty(), "{context}: {leftovers:?}");
    assert_between(&db, before, &model, &context);
    assert!(db.verify().unwrap().is_clean(), "{context}");
    job(&db).unwrap_or_else(|error| panic!("{context}: once it is opened again: {error:?}"));
    assert_between(&db, before, &model, &context);
    db.close().unwrap();
    assert_between(&open(&disk), before, &model, &context);
    true
}

/// After a power cut now each key has the value that it had when the store was opened, or one that it was given since.
fn assert_cut_holds(inside: &SimDisk, before: &Model, after: &Model, context: &str) {
    for image in inside.images(inside.position(), 6, &mut Random::new(1)) {
        assert_between(&open(&FaultDisk::simulated(image)), before, after, &format!("{context}, cut"));
    }
}

fn assert_between(db: &Db, before: &Model, after: &Model, context: &str) {
    let mut count = 0;
    for (key, new) in after {
        let got = db.get(key).unwrap_or_else(|error| panic!("{context}: {error:?}"));
        count += u64::from(got.is_some());
        let (got, old) = (got.as_deref(), before.get(key).map(Vec::as_slice));
        assert!(got == Some(new.as_slice()) || got == old, "{context}: {key:?} is lost or wrong");
    }
    assert_eq!(db.len(), count, "{context}");
}

#[test]
fn every_call_of_a_job_may_fail_once_or_for_ever_with_every_errno() {
    let (store, model) = store();
    let (mut cases, mut cuts) = (0_u64, 0_u64);
    for job in [compact as Job, archive] {
        for call in Call::ALL {
            for errno in [EIO, ENOSPC, EDQUOT, EINTR, EMFILE, ENOMEM, EROFS] {
                for lasts in [Lasts::Once, Lasts::FromThenOn] {
                    for nth in 1.. {
                        let written = [Written::Nothing, Written::OneByte, Written::AllButOne][cases as usize % 3];
                        let cut = (cases + errno as u64).is_multiple_of(4);
                        if !one_fault(&store, &model, job, Fault { lasts, written, ..fault(call, nth, errno) }, cut) {
                            break;
                        }
                        (cases, cuts) = (cases + 1, cuts + u64::from(cut));
                    }
                }
            }
        }
    }
    crate::report::report(&format!(
        "errno sweep of jobs: {cases} cases, {cuts} with a power cut, 0 acknowledged lost, 0 wrong, 0 refused afterwards"
    ));
    assert!(cases > 1000);
}

#[test]
fn the_folder_of_archives_has_its_name_before_an_archive_in_it_takes_the_place_of_anything() {
    let inside = SimDisk::new(1);
    inside.record();
    let disk = FaultDisk::simulated(inside.clone());
    let (db, mut model) = (open(&disk), Model::new());
    put(&db, &mut model, 1, 300, Durability::Sync);
    db.seal().unwrap();
    // The folder is made, and its name is not synced.
    disk.inject(fault(Call::SyncDir, disk.calls(Call::SyncDir) + 1, EIO));
    db.archive().unwrap_err();
    db.archive().unwrap();
    assert_cut_holds(&inside, &model, &model, "the folder's name");
}

#[test]
fn a_job_that_cannot_make_durable_what_replaces_the_dead_poisons_and_leaves_the_sources() {
    for errno in [EIO, ENOSPC] {
        let (store, mut model) = store();
        let inside = image(&store);
        // A write that waits for nothing comes when the job has begun; from then on no sync of the log succeeds.
        let running: Arc<Mutex<Option<Db>>> = Arc::default();
        let (shared, begun) = (running.clone(), Mutex::new(false));
        let hook = move |call: &str, name: &str| {
            if call == "create" && name.starts_with("archives/") {
                let db = shared.lock().unwrap().take();
                if let Some(db) = db {
                    db.put_with(OVERWRITTEN.to_le_bytes(), "newer", PutOptions::new().durability(Durability::Os))
                        .unwrap();
                    *begun.lock().unwrap() = true;
                }
            }
            match call == "barrier" && name.starts_with("segments/") && *begun.lock().unwrap() {
                true => Err(io::Error::from_raw_os_error(errno)),
                false => Ok(()),
            }
        };
        let disk = HookDisk::new(inside.clone(), Arc::new(hook));
        let db = zipcask::sim::open(Options::new(), SEGMENT, Arc::new(disk)).unwrap();
        *running.lock().unwrap() = Some(db.clone());
        let (before, files) = (model.clone(), inside.files());
        assert_eq!(db.compact().unwrap_err().kind(), ErrorKind::Io, "errno {errno}");
        assert_eq!(db.compact().unwrap_err().kind(), ErrorKind::Poisoned);
        assert_eq!(db.put("later", "x").unwrap_err().kind(), ErrorKind::Poisoned);
        model.insert(OVERWRITTEN.to_le_bytes().to_vec(), b"newer".to_vec());
        assert_holds(&db, &model, "poisoned");
        drop(db);
        let left = inside.files();
        assert!(files.iter().all(|name| left.contains(name)), "the sources stay: {files:?}, {left:?}");
        let db = open(&FaultDisk::simulated(inside));
        assert_between(&db, &before, &model, "reopened");
        compact(&db).unwrap();
        assert_between(&db, &before, &model, "reopened and compacted");
    }
}
