//! Calls on one key from several threads: there is an order of them that agrees with their answers and with who came before whom.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};

use zipcask::{Db, Durability, Options, ReadMode};

const THREADS: u64 = 4;
/// Calls of each thread on each key.
const CALLS: u64 = 14;

/// A call with its answer. Values are numbers, each put once.
#[derive(Clone, Copy, Debug)]
enum Call {
    Put(u64),
    /// Whether the key was there.
    Delete(bool),
    Get(Option<u64>),
}

#[derive(Clone, Copy, Debug)]
struct Event {
    call: Call,
    invoked: u64,
    answered: u64,
}

impl Call {
    /// What the key has after this call, if it may be the next one.
    fn after(self, now: Option<u64>) -> Option<Option<u64>> {
        match self {
            Call::Put(value) => Some(Some(value)),
            Call::Delete(was) => (was == now.is_some()).then_some(None),
            Call::Get(seen) => (seen == now).then_some(now),
        }
    }
}

/// Whether there is such an order: tries them, by Wing and Gong, and none twice that comes to the same.
fn is_linear(events: &[Event]) -> bool {
    assert!(events.len() < 64, "more than a word has bits");
    let all = (1_u64 << events.len()) - 1;
    let (mut tried, mut open) = (HashSet::new(), vec![(0_u64, None)]);
    while let Some((done, now)) = open.pop() {
        if done == all {
            return true;
        }
        let left = || events.iter().enumerate().filter(|(at, _)| done & 1 << at == 0);
        // Who was called after another had its answer comes after it.
        let first = left().map(|(_, event)| event.answered).min().unwrap_or(u64::MAX);
        for (at, event) in left().filter(|(_, event)| event.invoked < first) {
            let next = event.call.after(now).map(|now| (done | 1 << at, now));
            open.extend(next.filter(|next| tried.insert(*next)));
        }
    }
    false
}

fn number(value: &[u8]) -> u64 {
    u64::from_le_bytes(value.try_into().expect("eight bytes"))
}

fn thread(db: &Db, id: u64, seed: u64, keys: u32, clock: &AtomicU64, begin: &Barrier, all: &[Mutex<Vec<Event>>]) {
    let mut random = fastrand::Rng::with_seed(seed ^ id << 48);
    let reader = db.reader();
    for key in 0..keys {
        begin.wait();
        let mut events = Vec::new();
        for call in 0..CALLS {
            let name = key.to_le_bytes();
            let value = id << 32 | call;
            let kind = random.u8(..8);
            let invoked = clock.fetch_add(1, Ordering::SeqCst);
            let call = match kind {
                0..3 => db.put(name, value.to_le_bytes()).map(|_| Call::Put(value)),
                3 => db.delete(name).map(Call::Delete),
                4..6 => db.get(name).map(|seen| Call::Get(seen.map(|value| number(&value)))),
                _ => reader.get(name).map(|seen| Call::Get(seen.map(number))),
            };
            let answered = clock.fetch_add(1, Ordering::SeqCst);
            events.push(Event { call: call.expect("no call fails"), invoked, answered });
        }
        all[key as usize].lock().unwrap().extend(events);
    }
}

/// How many calls were made, and how many pairs of them overlapped.
pub(crate) fn run(seed: u64, read_mode: ReadMode, keys: u32) -> Result<(usize, usize), String> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let options = Options::new().durability(Durability::Os).segment_size(64 << 10).read_mode(read_mode);
    let db = options.background(false).open(dir.path()).map_err(|error| error.to_string())?;
    let (clock, begin) = (AtomicU64::new(0), Barrier::new(THREADS as usize));
    let all: Vec<_> = (0..keys).map(|_| Mutex::new(Vec::new())).collect();
    std::thread::scope(|scope| {
        for id in 1..=THREADS {
            let (db, clock, begin, all) = (&db, &clock, &begin, &all);
            scope.spawn(move || thread(db, id, seed, keys, clock, begin, all));
        }
        for _ in 0..6 {
            db.seal().and_then(|()| db.compact()).map_err(|error| error.to_string())?;
        }
        Ok::<_, String>(())
    })?;
    let (mut calls, mut overlaps) = (0, 0);
    for (key, events) in all.into_iter().enumerate() {
        let mut events = events.into_inner().unwrap();
        events.sort_by_key(|event| event.invoked);
        if !is_linear(&events) {
            return Err(format!("no order of the calls on key {key} explains them: {events:?}"));
        }
        calls += events.len();
        let overlap = |(at, one): (usize, &Event)| events[..at].iter().filter(|e| one.invoked < e.answered).count();
        overlaps += events.iter().enumerate().map(overlap).sum::<usize>();
    }
    Ok((calls, overlaps))
}

/// That the checker tells what is no order, and takes what is one.
pub(crate) fn check_the_checker() {
    let event = |call, invoked, answered| Event { call, invoked, answered };
    // Overlapping: either order.
    assert!(is_linear(&[event(Call::Put(1), 0, 3), event(Call::Get(None), 1, 2), event(Call::Get(Some(1)), 4, 5)]));
    assert!(is_linear(&[event(Call::Put(1), 0, 3), event(Call::Get(Some(1)), 1, 2), event(Call::Delete(true), 4, 5)]));
    // A stale get, one that goes back, one of what nobody put, and a delete of nothing that says it was there.
    assert!(!is_linear(&[event(Call::Put(1), 0, 1), event(Call::Get(None), 2, 3)]));
    let back = [event(Call::Put(1), 0, 5), event(Call::Get(Some(1)), 1, 2), event(Call::Get(None), 3, 4)];
    assert!(!is_linear(&back));
    assert!(!is_linear(&[event(Call::Put(1), 0, 1), event(Call::Get(Some(2)), 2, 3)]));
    assert!(!is_linear(&[event(Call::Delete(true), 0, 1)]));
}
