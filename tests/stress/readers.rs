//! Readers as such: moved between threads, made and dropped by the thousand, used inside of their own calls, closed.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;

use zipcask::{Db, Durability, ErrorKind, Options, ReadMode, Reader};

use crate::bytes;
use crate::over::Over;
use crate::plan::{self, Board, Plan};

const KEYS: u32 = 2000;

/// Keys of a table that grows under passes: some units.
const GROWN: u32 = 6000;

fn open(read_mode: ReadMode) -> (tempfile::TempDir, Db) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().segment_size(64 * 1024).durability(Durability::Os).read_mode(read_mode);
    let db = options.open(dir.path()).unwrap();
    (dir, db)
}

/// Writes the next version of every key, one after the other.
fn write_all(db: &Db, plan: Plan, board: &Board) {
    for key in 0..KEYS {
        match plan.value(key, board.begin(key)) {
            Some(value) => drop(db.put(plan::name(key), value).unwrap()),
            None => drop(db.delete(plan::name(key)).unwrap()),
        }
        board.finish(key);
    }
}

fn check(reader: &Reader, board: &Board, key: u32) {
    let oldest = board.oldest(key);
    let seen = reader.get(plan::name(key)).unwrap();
    board.identify(key, oldest, board.newest(key), seen).unwrap();
}

/// Hands readers from thread to thread, and makes and drops many, while a writer goes from segment to segment.
/// Returns how many readers were made.
pub(crate) fn come_and_go(seed: u64, read_mode: ReadMode) -> u64 {
    let (_dir, db) = open(read_mode);
    let (plan, over) = (Plan { seed }, AtomicBool::new(false));
    let board = Board::new(plan, KEYS);
    write_all(&db, plan, &board);
    // More at once than any table of a fixed size is likely to have places for.
    let crowd: Vec<_> = (0..5000).map(|_| db.reader()).collect();
    crowd.iter().zip((0..KEYS).cycle()).for_each(|(reader, key)| check(reader, &board, key));
    let (give, take) = mpsc::channel::<(Reader, u32)>();
    std::thread::scope(|scope| {
        let (db, board, over) = (&db, &board, &over);
        scope.spawn(move || {
            let _over = Over(over);
            (0..15).for_each(|_| write_all(db, plan, board));
        });
        // Taken over with what it has handed out so far still held for it, used, and dropped here.
        let taker = scope.spawn(move || {
            for (mut reader, key) in take {
                check(&reader, board, key);
                reader.refresh();
                check(&reader, board, KEYS - 1 - key);
            }
        });
        let makers: Vec<_> = (0..3_u32)
            .map(|number| {
                let (give, mut made) = (give.clone(), 0);
                scope.spawn(move || {
                    while !over.load(Ordering::Acquire) || made < 1000 {
                        let (reader, key) = (db.reader(), (made as u32 * 7 + number) % KEYS);
                        check(&reader, board, key);
                        made += 1;
                        match made % 3 {
                            0 => drop(give.send((reader, key))),
                            1 => scope.spawn(move || check(&reader, board, key)).join().unwrap(),
                            _ => {}
                        }
                    }
                    made
                })
            })
            .collect();
        drop(give);
        let made: u64 = makers.into_iter().map(|maker| maker.join().unwrap()).sum();
        taker.join().unwrap();
        crowd.iter().zip((0..KEYS).cycle()).for_each(|(reader, key)| check(reader, board, key));
        made + crowd.len() as u64
    })
}

/// Calls a reader inside of its own calls, leaves them early and by panics, and writes meanwhile.
pub(crate) fn nest(seed: u64, read_mode: ReadMode) {
    let (_dir, db) = open(read_mode);
    let plan = Plan { seed };
    let board = Board::new(plan, KEYS);
    write_all(&db, plan, &board);
    let mut reader = db.reader();
    let names: Vec<_> = (0..KEYS).map(plan::name).collect();
    let mut calls = 0;
    reader
        .for_each(|key, value| {
            // A write in the midst of a pass changes nothing of what this call was given.
            let key = plan::key_of(key).unwrap();
            if key >= KEYS {
                // It may show what was written meanwhile.
                return ControlFlow::Continue(());
            }
            db.put(plan::name(KEYS + key), value).unwrap();
            check(&reader, &board, KEYS - 1 - key);
            reader.get_many(&names[..20], |at, seen| {
                board.identify(at as u32, 1, 1, seen.unwrap()).unwrap();
            });
            assert!(plan.shows(key, 1, Some(value)), "key {key} changed under for_each");
            calls += 1;
            if calls < 500 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .unwrap();
    assert_eq!(calls, 500);
    reader.get_many(&names, |at, seen| {
        let seen = seen.unwrap();
        check(&db.reader(), &board, at as u32);
        let same = db.get_with(&names[at], |value| Some(value) == seen && db.contains_key(&names[at]).unwrap());
        assert_eq!(same.unwrap(), Some(true));
    });
    for panicking in 0..3 {
        let caught = catch_unwind(AssertUnwindSafe(|| match panicking {
            0 => reader.get_many(&names, |at, _| assert!(at < 10, "on purpose")),
            1 => drop(reader.for_each(|_, _| panic!("on purpose"))),
            _ => drop(db.get_with(&names[1], |_| panic!("on purpose"))),
        }));
        assert!(caught.is_err());
        check(&reader, &board, 7);
        reader.refresh();
        db.put(plan::name(3 * KEYS), "still writable").unwrap();
    }
    reader.get_many(&[] as &[&[u8]], |_, _| panic!("there is no key"));
}

/// Closed: every call says so, and what was handed out stays.
pub(crate) fn close(seed: u64, read_mode: ReadMode) {
    let (_dir, db) = open(read_mode);
    let plan = Plan { seed };
    let board = Board::new(plan, KEYS);
    write_all(&db, plan, &board);
    let (mut reader, other, late) = (db.reader(), db.reader(), db.clone());
    let names: Vec<_> = (0..KEYS).map(plan::name).collect();
    let shown: Vec<_> = names.iter().map(|name| reader.get(name).unwrap().unwrap()).collect();
    db.close().unwrap();
    let is_closed = |error: Option<zipcask::Error>| assert_eq!(error.unwrap().kind(), ErrorKind::Closed);
    for reader in [&reader, &other, &late.reader()] {
        is_closed(reader.get(&names[1]).err());
        let mut calls = 0;
        reader.get_many(&names, |_, seen| {
            is_closed(seen.err());
            calls += 1;
        });
        assert_eq!(calls, KEYS);
        is_closed(reader.for_each(|_, _| panic!("it is closed")).err());
    }
    is_closed(late.get(&names[1]).err());
    is_closed(late.contains_key(&names[1]).err());
    is_closed(late.get_with(&names[1], |_| ()).err());
    drop(late);
    for (key, bytes) in (0..).zip(shown) {
        assert!(plan.shows(key, 1, Some(bytes)), "key {key} changed when the store was closed");
    }
    reader.refresh();
    is_closed(reader.get(&names[1]).err());
}

/// Lets readers go through tables that are small and grow: where a unit is split, most are at that very one. Returns how
/// many passes they made.
pub(crate) fn pass_through_growth(seed: u64, tables: u64) -> u64 {
    let mut passes = 0;
    for table in 0..tables {
        let db = Options::new().durability(Durability::Os).open_in_memory().unwrap();
        let name = |key: u32| bytes::mix(seed + table, u64::from(key)).to_le_bytes();
        let (written, over) = (AtomicU32::new(0), AtomicBool::new(false));
        passes += std::thread::scope(|scope| {
            let (db, written, over) = (&db, &written, &over);
            scope.spawn(move || {
                let _over = Over(over);
                for key in 0..GROWN {
                    db.put(name(key), key.to_le_bytes()).unwrap();
                    written.store(key + 1, Ordering::Release);
                }
            });
            let readers: Vec<_> = (0..6).map(|_| scope.spawn(move || pass_until(db, written, over))).collect();
            readers.into_iter().map(|reader| reader.join().unwrap()).sum::<u64>()
        });
    }
    passes
}

/// Whatever was written before a pass is shown in it, once.
fn pass_until(db: &Db, written: &AtomicU32, over: &AtomicBool) -> u64 {
    let (reader, mut passes) = (db.reader(), 0);
    let mut shown = vec![0_u64; GROWN as usize];
    while !over.load(Ordering::Acquire) {
        passes += 1;
        let least = written.load(Ordering::Acquire);
        reader
            .for_each(|_, value| {
                let shown = &mut shown[u32::from_le_bytes(value.try_into().unwrap()) as usize];
                assert!(*shown < passes, "shown twice");
                *shown = passes;
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(shown[..least as usize].iter().find(|pass| **pass != passes), None, "{least} were written");
    }
    passes
}
