//! Each thing that a store does, with each of its calls to the system failing once and for ever, with every errno.

use std::collections::BTreeMap;
use std::sync::Arc;

use zipcask::sim::{Call, Disk, Fault, FaultDisk, Lasts, Random, SimDisk, Written};
use zipcask::{Db, Durability, ErrorKind, Options, PutOptions, Result};

use crate::faults::{EDQUOT, EIO, EMFILE, ENOMEM, ENOSPC, SEGMENT};
use crate::report::report;

const EINTR: i32 = 4;
const EROFS: i32 = 30;
const ERRNOS: [i32; 7] = [EIO, ENOSPC, EDQUOT, EINTR, EMFILE, ENOMEM, EROFS];

/// Keys that the operations write, behind those of the store.
const NEW: u8 = 200;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// What runs with a fault; `Db` is open for all but the opens themselves.
#[derive(Clone, Copy)]
enum Operation {
    /// Opens the store: none at all, one that was closed, or one whose process was killed.
    Open(From),
    On(fn(&Db) -> Result<()>),
    /// Copies the store to another disk; the fault is on the store's, or on the other.
    BackupFrom,
    BackupTo,
    /// Makes a store of a copy; the fault is on the disk of the new store.
    Restore,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Nothing,
    Closed,
    Killed,
}

const OPERATIONS: [(&str, Operation); 15] = [
    ("make", Operation::Open(From::Nothing)),
    ("open", Operation::Open(From::Closed)),
    ("recover", Operation::Open(From::Killed)),
    ("write", Operation::On(|db| put(db, NEW, 700, Durability::Sync))),
    ("write a large value", Operation::On(|db| put(db, NEW, 5000, Durability::Sync))),
    ("sync", Operation::On(|db| put(db, NEW, 90, Durability::Os).and_then(|()| db.sync().map(drop)))),
    ("rotate", Operation::On(|db| (0..12).try_for_each(|i| put(db, NEW + i, 900, Durability::Os)))),
    ("seal", Operation::On(|db| db.seal().map(drop))),
    ("pack", Operation::On(|db| db.archive().map(drop))),
    ("compact", Operation::On(|db| db.compact().map(drop))),
    ("checkpoint", Operation::On(|db| db.checkpoint().map(drop))),
    ("close", Operation::On(|db| db.clone().close())),
    ("back up from", Operation::BackupFrom),
    ("back up to", Operation::BackupTo),
    ("restore", Operation::Restore),
];

fn value(key: u8, len: usize) -> Vec<u8> {
    vec![key ^ len as u8; len]
}

fn put(db: &Db, key: u8, len: usize, durability: Durability) -> Result<()> {
    db.put_with([key], value(key, len), PutOptions::new().durability(durability)).map(drop)
}

fn open(disk: &FaultDisk) -> Result<Db> {
    zipcask::sim::open(Options::new(), SEGMENT, Arc::new(disk.clone()))
}

/// Stores to begin with: none, one that was closed, and one as a killed process leaves it.
struct Stores {
    nothing: SimDisk,
    closed: SimDisk,
    killed: SimDisk,
    model: Model,
}

impl Stores {
    fn new() -> Stores {
        let (disk, mut model) = (SimDisk::new(1), Model::new());
        disk.record();
        let db = open(&FaultDisk::simulated(disk.clone())).unwrap();
        let mut write = |keys: std::ops::Range<u8>, len| {
            for key in keys {
                put(&db, key, len, Durability::Os).unwrap();
                model.insert(vec![key], value(key, len));
            }
        };
        write(0..20, 800);
        write(5..12, 300);
        db.archive().unwrap();
        write(10..26, 700);
        write(30..31, 5000);
        db.checkpoint().unwrap();
        write(14..22, 200);
        assert!(db.delete_with([3], Durability::Os).unwrap());
        model.remove(&[3][..]);
        let killed = image(&disk, 1);
        db.close().unwrap();
        Stores { nothing: SimDisk::new(2), closed: image(&disk, 0), killed, model }
    }
}

/// What a power cut leaves at least (0), or at best (1), which is what a killed process leaves.
fn image(disk: &SimDisk, number: usize) -> SimDisk {
    disk.images(disk.position(), 2, &mut Random::new(1)).nth(number).expect("something waits to be written")
}

/// A disk like another one, which nobody uses.
fn like(disk: &SimDisk) -> FaultDisk {
    disk.record();
    FaultDisk::simulated(image(disk, 0))
}

/// Whether a store has what it should have, and of the keys of the operations nothing wrong.
fn holds(db: &Db, model: &Model, context: &str) {
    let mut count = model.len();
    for (key, value) in model {
        let got = db.get(key).unwrap_or_else(|error| panic!("{context}: {key:?}: {error:?}"));
        assert!(got.is_some_and(|got| got == *value), "{context}: {key:?} is lost or wrong");
    }
    for key in NEW..NEW + 20 {
        let Some(got) = db.get([key]).unwrap_or_else(|error| panic!("{context}: {key}: {error:?}")) else { continue };
        assert!(!model.contains_key(&[key][..]) && *got == value(key, got.len()), "{context}: {key} is wrong");
        count += 1;
    }
    assert_eq!(db.len(), count as u64, "{context}");
}

/// Orders the fault, counted from here on.
fn order(disk: &FaultDisk, mut fault: Fault) {
    fault.nth += disk.calls(fault.call);
    disk.inject(fault);
}

/// Runs the operation with the fault, and sees what is there then, in this session and in the next. Whether it struck.
fn strike(stores: &Stores, operation: Operation, fault: Fault, context: &str) -> bool {
    let (start, model) = match operation {
        Operation::Open(From::Nothing) => (&stores.nothing, &Model::new()),
        Operation::Open(From::Killed) => (&stores.killed, &stores.model),
        _ => (&stores.closed, &stores.model),
    };
    let (disk, target) = (like(start), FaultDisk::simulated(SimDisk::new(3)));
    let faulty = if matches!(operation, Operation::BackupTo | Operation::Restore) { &target } else { &disk };
    let onto: Arc<dyn Disk> = Arc::new(target.clone());
    let told = match operation {
        Operation::Open(_) => {
            order(faulty, fault);
            let told = open(&disk);
            disk.heal();
            told.map(|db| holds(&db, model, context))
        }
        Operation::On(act) => {
            let db = open(&disk).unwrap();
            // Something to sync, to seal and to pack.
            put(&db, 13, 10, Durability::Os).and_then(|()| put(&db, 13, 700, Durability::Sync)).unwrap();
            order(faulty, fault);
            let told = act(&db);
            disk.heal();
            if db.get([13]).is_ok() {
                holds(&db, model, context);
            }
            told
        }
        Operation::BackupFrom | Operation::BackupTo => {
            let db = open(&disk).unwrap();
            order(faulty, fault);
            let told = zipcask::sim::backup(&db, &onto).map(drop);
            faulty.heal();
            if told.is_err() {
                let again = zipcask::sim::backup(&db, &onto);
                again.unwrap_or_else(|error| panic!("{context}: {told:?}, again {error:?}"));
            }
            holds(&open(&target).unwrap(), model, context);
            told
        }
        Operation::Restore => {
            order(faulty, fault);
            let told = zipcask::sim::restore(Arc::new(disk.clone()), &onto, None).map(drop);
            faulty.heal();
            match zipcask::sim::open(Options::new().create_if_missing(false), SEGMENT, Arc::clone(&onto)) {
                Ok(db) => holds(&db, model, context),
                Err(error) => assert!(told.is_err(), "{context}: {error:?}"),
            }
            told
        }
    };
    if let Err(error) = told {
        assert_ne!(error.kind(), ErrorKind::Corruption, "{context}: a call that failed is no damage: {error:?}");
    }
    let struck = faulty.injected() > 0;
    if struck {
        let db = open(&disk).unwrap_or_else(|error| panic!("{context}: reopening heals: {error:?}"));
        holds(&db, model, context);
        db.put("after", "x").unwrap_or_else(|error| panic!("{context}: {error:?}"));
        assert!(db.verify().unwrap().is_clean(), "{context}");
    }
    struck
}

#[test]
fn whatever_a_store_does_each_call_may_fail_once_or_for_ever_with_every_errno() {
    let stores = Stores::new();
    let (mut sum, mut told) = (0_u64, Vec::new());
    for (name, operation) in OPERATIONS {
        let before = sum;
        for call in Call::ALL {
            for (errno, lasts) in
                ERRNOS.into_iter().flat_map(|errno| [(errno, Lasts::Once), (errno, Lasts::FromThenOn)])
            {
                for nth in 1.. {
                    let written = [Written::Nothing, Written::OneByte, Written::AllButOne][sum as usize % 3];
                    let fault = Fault { call, nth, errno, lasts, written };
                    if !strike(&stores, operation, fault, &format!("{name}: {fault:?}")) {
                        break;
                    }
                    sum += 1;
                }
            }
        }
        assert!(sum > before, "{name}: no fault strikes");
        told.push(format!("{name} {}", sum - before));
    }
    report(&format!(
        "errno sweep of each operation: {sum} cases ({}), all as promised: 0 acknowledged lost, 0 wrong, 0 refused afterwards",
        told.join(", ")
    ));
}
