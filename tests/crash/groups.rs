//! Groups of several members: what each is told when its group fails, and what a power cut leaves of them.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use zipcask::sim::{Random, SimDisk};
use zipcask::{Db, Durability, Options, PutOptions};

use crate::history::{self, SEGMENT};
use crate::hook::{Hook, HookDisk};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// Rounds of each test: which members come together in a group is up to the scheduler.
const ROUNDS: u64 = 60;

/// Holds the leader of a group in a call, so that others queue behind it.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    shut: bool,
    waiting: bool,
}

impl Gate {
    fn shut(&self) {
        self.state.lock().unwrap().shut = true;
    }

    fn open(&self) {
        self.state.lock().unwrap().shut = false;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        while state.shut {
            state.waiting = true;
            self.changed.notify_all();
            state = self.changed.wait(state).unwrap();
        }
    }

    fn await_waiting(&self) {
        let mut state = self.state.lock().unwrap();
        while !state.waiting {
            state = self.changed.wait(state).unwrap();
        }
    }
}

/// A store on a disk whose barriers wait at a gate and whose writes are counted, and fail when told to.
struct Gated {
    inside: SimDisk,
    db: Db,
    gate: Arc<Gate>,
    writes: Arc<AtomicUsize>,
    failing: Arc<AtomicBool>,
}

fn gated(errno: i32) -> Gated {
    let (gate, writes, failing) =
        (Arc::new(Gate::default()), Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
    let (passing, counted, fails) = (gate.clone(), writes.clone(), failing.clone());
    let hook: Hook = Arc::new(move |call, _| {
        match call {
            "barrier" => passing.pass(),
            "write_at" => {
                counted.fetch_add(1, Ordering::Relaxed);
                if fails.load(Ordering::Relaxed) {
                    return Err(io::Error::from_raw_os_error(errno));
                }
            }
            _ => {}
        }
        Ok(())
    });
    let inside = SimDisk::new(1);
    inside.record();
    let disk = HookDisk::new(inside.clone(), hook);
    let db = zipcask::sim::open(Options::new(), SEGMENT, Arc::new(disk)).unwrap();
    Gated { inside, db, gate, writes, failing }
}

impl Gated {
    /// Calls all members while a leader is held at the gate, lets it go, and returns what they were told.
    fn together<T: Send>(&self, members: usize, call: impl Fn(usize) -> T + Sync) -> Vec<T> {
        self.gate.shut();
        let begun = AtomicUsize::new(0);
        let (begun, call) = (&begun, &call);
        std::thread::scope(|scope| {
            let leader = scope.spawn(|| self.db.put("leader", "x").unwrap());
            self.gate.await_waiting();
            let members: Vec<_> = (0..members)
                .map(|member| {
                    scope.spawn(move || {
                        begun.fetch_add(1, Ordering::Relaxed);
                        call(member)
                    })
                })
                .collect();
            while begun.load(Ordering::Relaxed) < members.len() {
                std::thread::yield_now();
            }
            // They are about to queue: most of them will have.
            (0..100).for_each(|_| std::thread::yield_now());
            self.writes.store(0, Ordering::Relaxed);
            self.gate.open();
            leader.join().unwrap();
            members.into_iter().map(|member| member.join().unwrap()).collect()
        })
    }
}

/// Deletes of one key, together, on a disk that takes no more writes: every one is an error, and the key stays.
fn deletes_in_a_group_that_fails(errno: i32) {
    for round in 0..ROUNDS {
        let store = gated(errno);
        store.db.put("key", "value").unwrap();
        let failing = &store.failing;
        let answers = store.together(3, |_| {
            // The leader has written, and is held in its barrier.
            failing.store(true, Ordering::Relaxed);
            store.db.delete("key")
        });
        assert!(answers.iter().all(Result::is_err), "round {round}: {answers:?}");
        assert!(store.db.contains_key("key").unwrap(), "round {round}: a failed group changed nothing");
    }
}

#[test]
fn of_many_deletes_of_a_key_in_a_group_one_says_that_it_was_there() {
    for round in 0..ROUNDS {
        let store = gated(EIO);
        store.db.put("key", "value").unwrap();
        let before = u64::from(store.db.last_seqno());
        let answers = store.together(3, |_| store.db.delete("key").unwrap());
        assert_eq!(answers.iter().filter(|was| **was).count(), 1, "round {round}: {answers:?}");
        // The leader's put, and one delete.
        assert_eq!(u64::from(store.db.last_seqno()), before + 2, "round {round}: deleting nothing writes nothing");
    }
}

#[test]
fn no_delete_of_a_group_without_space_says_that_the_key_was_not_there() {
    deletes_in_a_group_that_fails(ENOSPC);
}

#[test]
fn no_delete_of_a_group_that_fails_says_that_the_key_was_not_there() {
    deletes_in_a_group_that_fails(EIO);
}

#[test]
fn a_member_that_asked_for_sync_is_durable_in_a_group_of_os_members() {
    let mut shared = 0;
    for round in 0..ROUNDS as usize {
        let store = gated(EIO);
        let told = store.together(4, |member| {
            let durability = if member == round % 4 { Durability::Sync } else { Durability::Os };
            store.db.put_with(format!("{member}"), "x", PutOptions::new().durability(durability)).unwrap();
            (durability == Durability::Sync).then(|| store.inside.position())
        });
        shared += u64::from(store.writes.load(Ordering::Relaxed) < 4);
        let (key, point) = (format!("{}", round % 4), told.into_iter().flatten().next().unwrap());
        for image in store.inside.recording().images(point, 100, &mut Random::new(round as u64)) {
            let db = history::open(&image).unwrap();
            assert!(db.contains_key(&key).unwrap(), "round {round}: {key} was acknowledged");
        }
    }
    assert!(shared > 0, "no two members ever shared a group");
}

/// What a writer was told of one put.
struct Told {
    seqno: u64,
    key: String,
    issued: usize,
    /// From which point on it must survive.
    durable: Option<usize>,
}

/// Four writers at once, with and without durability.
fn write_together(db: &Db, inside: &SimDisk, seed: u64) -> Vec<Told> {
    let writer = |thread: u64| {
        let mut random = Random::new(seed << 8 | thread);
        let put = |i: u32| {
            let durability = [Durability::Sync, Durability::Os][random.below(2)];
            let key = format!("{thread} {i}");
            let value = vec![thread as u8; [10, 200, 900, 2500][random.below(4)]];
            let issued = inside.position();
            let options = PutOptions::new().durability(durability);
            let seqno = u64::from(db.put_with(&key, value, options).unwrap());
            let durable = (durability == Durability::Sync).then(|| inside.position());
            Told { seqno, key, issued, durable }
        };
        (0..12).map(put).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4).map(|thread| scope.spawn(move || writer(thread))).collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    })
}

#[test]
fn power_cuts_in_groups_of_several_members_leave_a_prefix_with_all_that_was_acknowledged() {
    for seed in 0..20_u64 {
        let inside = SimDisk::new(seed);
        inside.record();
        // A device that takes its time, so that groups form.
        let hook: Hook = Arc::new(|call, _| {
            if call == "barrier" || call == "write_at" {
                (0..20).for_each(|_| std::thread::yield_now());
            }
            Ok(())
        });
        let disk = HookDisk::new(inside.clone(), hook);
        let db = zipcask::sim::open(Options::new(), SEGMENT, Arc::new(disk)).unwrap();
        let told = write_together(&db, &inside, seed);
        let mut recording = inside.recording();
        let mut random = Random::new(seed);
        for point in recording.points().step_by(7) {
            for image in recording.images(point, 12, &mut Random::new(random.next_u64())) {
                let context = format!("seed {seed}, point {point}");
                let db = history::open(&image).unwrap_or_else(|error| panic!("{context}: {error:?}"));
                let last = u64::from(db.last_seqno());
                for Told { seqno, key, issued, durable } in &told {
                    let there = db.contains_key(key).unwrap();
                    assert_eq!(there, *seqno <= last, "{context}: {key}: not a prefix");
                    assert!(there || durable.is_none_or(|durable| durable > point), "{context}: lost {key}");
                    assert!(!there || *issued < point, "{context}: {key} before it was written");
                }
            }
        }
    }
}
