//! Backups that are cut short, by a power cut or by a call that fails: the copy is what it was, or what it was to be.

use std::collections::BTreeMap;
use std::sync::Arc;

use zipcask::sim::{Call, Disk, Fault, FaultDisk, Random, SimDisk, Written};
use zipcask::{Db, ErrorKind, Options, Seqno};

use crate::faults::{EIO, ENOSPC, SEGMENT, fault};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn open(disk: &SimDisk) -> zipcask::Result<Db> {
    zipcask::sim::open(Options::new().create_if_missing(false), SEGMENT, Arc::new(disk.clone()))
}

fn backup(db: &Db, target: &(impl Disk + Clone + 'static)) -> zipcask::Result<zipcask::BackupReport> {
    let target: Arc<dyn Disk> = Arc::new(target.clone());
    zipcask::sim::backup(db, &target)
}

/// A store that changes between backups: segments, archives of both sorts, large values, tombstones.
struct Source {
    db: Db,
    model: Model,
    round: u32,
}

impl Source {
    fn new() -> Source {
        let db = zipcask::sim::open(Options::new(), SEGMENT, Arc::new(SimDisk::new(1))).unwrap();
        let mut source = Source { db, model: Model::new(), round: 0 };
        source.change();
        source
    }

    /// Writes, and has what was there before packed, rewritten, or left.
    fn change(&mut self) {
        for i in 0..14_u32 {
            let key = ((self.round * 7 + i * 3) % 23).to_le_bytes().to_vec();
            if i % 5 == 4 {
                assert_eq!(self.db.delete(&key).unwrap(), self.model.remove(&key).is_some());
            } else {
                let value = vec![self.round as u8; if i == 6 { 5000 } else { 700 }];
                self.db.put(&key, &value).unwrap();
                self.model.insert(key, value);
            }
            if i == 6 {
                match self.round % 3 {
                    0 => drop(self.db.archive().unwrap()),
                    1 => drop(self.db.compact().unwrap()),
                    _ => {}
                }
            }
        }
        self.round += 1;
    }
}

fn pairs(db: &Db) -> Model {
    db.iter().map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect()
}

/// What the copy shows, to readers and to who writes: one of `states`, or that there is no store, if that is one of them.
#[track_caller]
fn assert_is_one_of(disk: &SimDisk, states: &[Option<(Model, Seqno)>], context: &str) {
    let options = Options::new().create_if_missing(false);
    let read = zipcask::sim::open_read_only(options, Arc::new(disk.clone()));
    let state = |db: zipcask::Result<&Db>| match db {
        Ok(db) => {
            let report = db.verify().unwrap();
            assert!(report.is_clean(), "{context}: {:?}", report.problems());
            Some((pairs(db), db.last_seqno()))
        }
        Err(error) if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::NotFound) => None,
        Err(error) => panic!("{context}: {error:?}"),
    };
    let shown = state(read.as_ref().map_err(Clone::clone));
    assert!(states.contains(&shown), "{context}: as of {:?}", shown.map(|(_, seqno)| seqno));
    let written = open(disk);
    assert!(state(written.as_ref().map_err(Clone::clone)) == shown, "{context}: another state for who writes");
    if let Ok(db) = written {
        let mut model = shown.unwrap().0;
        for i in 0..20_u32 {
            db.put(i.to_le_bytes(), vec![9; 600]).unwrap();
            model.insert(i.to_le_bytes().to_vec(), vec![9; 600]);
        }
        db.compact().unwrap();
        db.close().unwrap();
        assert!(pairs(&open(disk).unwrap()) == model, "{context}: it cannot go its own way");
    }
}

/// What a power cut now may leave.
fn images(disk: &SimDisk, point: usize, count: usize) -> Vec<SimDisk> {
    disk.images(point, count, &mut Random::new(point as u64)).collect()
}

#[test]
fn a_power_cut_at_any_moment_of_a_backup_leaves_the_last_one_or_this_one() {
    let (mut source, target) = (Source::new(), SimDisk::new(2));
    target.record();
    let (mut cuts, mut before, mut unfinished) = (0, None, Vec::new());
    for _ in 0..7 {
        let start = target.position();
        let seqno = backup(&source.db, &target).unwrap().seqno;
        let after = Some((source.model.clone(), seqno));
        // What was cut short in the round before, with other files: this backup is as good as any.
        for (context, image) in std::mem::take(&mut unfinished) {
            backup(&source.db, &image).unwrap_or_else(|error| panic!("{context}, a round later: {error:?}"));
            assert_is_one_of(&image, std::slice::from_ref(&after), &format!("{context}, a round later"));
        }
        for point in start..=target.position() {
            for (i, image) in images(&target, point, 5).into_iter().enumerate() {
                let context = format!("round {}, point {point}, image {i}", source.round);
                // The next backup finishes it, or starts over; on an image of its own, since opening one for writing ends that.
                image.record();
                let again = images(&image, image.position(), 1).remove(0);
                backup(&source.db, &again).unwrap_or_else(|error| panic!("{context}: {error:?}"));
                assert_is_one_of(&again, std::slice::from_ref(&after), &format!("{context}, again"));
                if cuts % 8 == 0 {
                    unfinished.push((context.clone(), images(&image, image.position(), 1).remove(0)));
                }
                assert_is_one_of(&image, &[before.clone(), after.clone()], &context);
                cuts += 1;
            }
        }
        before = after;
        source.change();
    }
    crate::report::report(&format!("power cuts in backups: {cuts}, 0 neither old nor new, 0 not finished by the next"));
    assert!(cuts > 1000);
}

#[test]
fn a_call_that_fails_leaves_the_last_backup_or_this_one_and_the_next_finishes_it() {
    let mut source = Source::new();
    let target = SimDisk::new(3);
    target.record();
    let (mut cases, mut before) = (0_u64, None);
    for _ in 0..4 {
        let point = target.position();
        let seqno = backup(&source.db, &target).unwrap().seqno;
        let after = Some((source.model.clone(), seqno));
        for call in Call::ALL {
            for nth in 1.. {
                let inside = images(&target, point, 1).remove(0);
                inside.record();
                let disk = FaultDisk::simulated(inside.clone());
                let written = [Written::Nothing, Written::OneByte, Written::AllButOne][cases as usize % 3];
                let fault = Fault { written, ..fault(call, nth, [EIO, ENOSPC][cases as usize % 2]) };
                disk.inject(fault);
                let told = backup(&source.db, &disk);
                if disk.injected() == 0 {
                    break;
                }
                let context = format!("{fault:?}: {told:?}");
                let states = if told.is_ok() { vec![after.clone()] } else { vec![before.clone(), after.clone()] };
                for (i, image) in images(&inside, inside.position(), 3).into_iter().enumerate() {
                    assert_is_one_of(&image, &states, &format!("{context}, cut {i}"));
                }
                disk.heal();
                backup(&source.db, &disk).unwrap_or_else(|error| panic!("{context}, again: {error:?}"));
                assert_is_one_of(&inside, std::slice::from_ref(&after), &format!("{context}, again"));
                cases += 1;
            }
        }
        before = after;
        source.change();
    }
    crate::report::report(&format!(
        "calls that fail in backups: {cases}, 0 neither old nor new, 0 not finished by the next"
    ));
    assert!(cases > 200);
}

#[test]
fn a_restore_that_is_cut_short_leaves_no_store_or_all_of_it() {
    let mut source = Source::new();
    let copy = SimDisk::new(4);
    (0..3).for_each(|_| source.change());
    let seqno = backup(&source.db, &copy).unwrap().seqno;
    let whole = Some((source.model.clone(), seqno));
    let target = SimDisk::new(5);
    target.record();
    let disk: Arc<dyn Disk> = Arc::new(target.clone());
    zipcask::sim::restore(Arc::new(copy), &disk, None).unwrap();
    for point in 0..=target.position() {
        for image in images(&target, point, 5) {
            assert_is_one_of(&image, &[None, whole.clone()], &format!("point {point}"));
        }
    }
    assert_is_one_of(&target, &[whole], "at the end");
}

#[test]
fn who_reads_a_copy_follows_the_backups_into_it() {
    let (mut source, target) = (Source::new(), SimDisk::new(6));
    backup(&source.db, &target).unwrap();
    let reader = zipcask::sim::open_read_only(Options::new(), Arc::new(target.clone())).unwrap();
    for round in 0..9 {
        assert!(pairs(&reader) == source.model, "round {round}");
        source.change();
        let seqno = backup(&source.db, &target).unwrap().seqno;
        assert_eq!(reader.refresh().unwrap(), seqno, "round {round}");
    }
}
