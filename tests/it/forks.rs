//! What a forked child may do with its parent's store: nothing.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use zipcask::{Db, Durability, Error, ErrorKind, Options};

use crate::bytes::small;

/// Seconds after which a child that hangs is ended.
const PATIENCE: u32 = 20;

/// Runs `call` in a forked child; fails if it does not return `true`.
fn in_child(call: impl FnOnce() -> bool) {
    // SAFETY: the child runs `call` alone, which takes no lock that another thread of the parent may hold but the
    // allocator's, which fork keeps usable; it leaves by `_exit`, or by the alarm.
    let status = unsafe {
        let pid = libc::fork();
        assert!(pid >= 0, "no fork");
        if pid == 0 {
            libc::alarm(PATIENCE);
            let held = catch_unwind(AssertUnwindSafe(call)).unwrap_or(false);
            libc::_exit(i32::from(!held));
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid);
        status
    };
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the child did not hold: status {status}");
}

fn is_forked<T>(told: Result<T, Error>) -> bool {
    told.is_err_and(|error| error.kind() == ErrorKind::Forked)
}

#[test]
fn a_forked_child_neither_writes_nor_removes_a_large_value_of_its_parent() {
    let dir = tempfile::tempdir().unwrap();
    let db = small(dir.path());
    let mut writer = Some(db.put_writer("a", 100_000).unwrap());
    writer.as_mut().unwrap().write_all(&[1; 50_000]).unwrap();
    let mut batch = Some(db.batch());
    batch.as_mut().unwrap().put(&db, "b", vec![2; 100_000]);
    in_child(|| {
        let (mut writer, batch) = (writer.take().unwrap(), batch.take().unwrap());
        let told = writer.write(&[9; 50_000]).err().and_then(|error| error.into_inner()?.downcast::<Error>().ok());
        drop(batch);
        told.is_some_and(|told| is_forked::<()>(Err(*told)))
            && is_forked(writer.finish())
            && is_forked(db.put_writer("c", 100_000))
            && is_forked(db.get_range("a", 0..1))
    });
    let (mut writer, batch) = (writer.unwrap(), batch.unwrap());
    writer.write_all(&[1; 50_000]).unwrap();
    writer.finish().unwrap();
    batch.commit().unwrap();
    assert_eq!(db.get("a").unwrap().unwrap(), [1; 100_000]);
    assert_eq!(db.get("b").unwrap().unwrap(), [2; 100_000]);
}

#[test]
fn a_forked_child_cannot_follow_what_its_parent_follows() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Db::open(dir.path()).unwrap();
    let db = Db::open_read_only(dir.path()).unwrap();
    writer.put("a", "b").unwrap();
    in_child(|| is_forked(db.refresh()) && is_forked(db.put("x", "y")) && is_forked(db.get("a")) && db.is_empty());
    db.refresh().unwrap();
    assert_eq!(db.get("a").unwrap().unwrap(), b"b");
}

#[test]
fn every_call_of_a_forked_child_is_forked() {
    let dir = tempfile::tempdir().unwrap();
    let db = small(dir.path());
    let seqno = db.put("a", "b").unwrap();
    let mut batch = Some(db.batch());
    in_child(|| {
        let mut batch = batch.take().unwrap();
        batch.put(&db, "q", "r");
        is_forked(db.put("x", "y"))
            && is_forked(db.get("a"))
            && is_forked(db.get_with("a", |_| ()))
            && is_forked(db.contains_key("a"))
            && is_forked(db.delete("a"))
            && is_forked(db.delete_with("a", Durability::Os))
            && is_forked(db.sync())
            && is_forked(db.seal())
            && is_forked(db.verify())
            && is_forked(db.wait_durable(seqno))
            && is_forked(db.iter().next().unwrap())
            && is_forked(batch.commit())
            && is_forked(db.clone().close())
    });
    db.put("c", "d").unwrap();
    drop(batch);
    db.close().unwrap();
    assert_eq!(small(dir.path()).len(), 2, "the parent goes on");
}

#[test]
fn figures_are_zero_in_a_forked_child() {
    let db = Options::new().open_in_memory().unwrap();
    db.put("a", "b").unwrap();
    in_child(|| {
        let seqnos = u64::from(db.last_seqno()) + u64::from(db.durable_seqno());
        seqnos + db.len() + db.stats().live_keys == 0
    });
}

#[test]
fn a_value_that_was_got_before_the_fork_is_whole_in_the_child() {
    let dir = tempfile::tempdir().unwrap();
    let db = small(dir.path());
    db.put("a", "b").unwrap();
    let value = db.get("a").unwrap().unwrap();
    in_child(|| value == "b");
}

#[test]
fn a_child_that_opens_its_parents_store_is_locked_out_and_another_store_is_its_own() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let db = small(dir.path());
    in_child(|| {
        let locked = Db::open(dir.path()).is_err_and(|error| error.kind() == ErrorKind::Locked);
        let own = small(other.path());
        own.put("z", "z").unwrap();
        locked && own.get("z").unwrap().unwrap() == "z" && own.close().is_ok()
    });
    db.close().unwrap();
    assert_eq!(small(other.path()).len(), 1);
}

#[test]
fn a_child_that_drops_its_handles_leaves_the_parent_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let db = small(dir.path());
    let mut clone = Some(db.clone());
    in_child(|| {
        drop(clone.take());
        true
    });
    assert_eq!(Db::open(dir.path()).unwrap_err().kind(), ErrorKind::Locked);
    db.put("a", "b").unwrap();
}

#[test]
fn a_child_forked_off_while_threads_write_neither_hangs_nor_harms() {
    let dir = tempfile::tempdir().unwrap();
    let db = small(dir.path());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..3_u32 {
            let (db, stop) = (&db, &stop);
            scope.spawn(move || {
                for i in (0..500_u32).cycle().take_while(|_| !stop.load(Ordering::Relaxed)) {
                    db.put([writer.to_le_bytes(), i.to_le_bytes()].concat(), [7; 300]).unwrap();
                }
            });
        }
        let held = catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..20 {
                in_child(|| {
                    let _ = (db.len(), db.stats(), db.last_seqno(), db.durable_seqno());
                    is_forked(db.put("x", "y")) && is_forked(db.iter().next().unwrap())
                });
            }
        }));
        stop.store(true, Ordering::Relaxed);
        assert!(held.is_ok(), "see above");
    });
    db.close().unwrap();
    let db = small(dir.path());
    assert!(db.verify().unwrap().is_clean());
    assert_eq!(db.get("x").unwrap(), None);
}

/// Makes stores, and leaves what their indexes retired.
fn fill(stores: usize, keys: u32) {
    for _ in 0..stores {
        let db = Options::new().durability(Durability::Os).open_in_memory().unwrap();
        let mut batch = db.batch();
        for i in 0..keys {
            batch.put(&db, i.to_le_bytes(), "");
        }
        batch.commit().unwrap();
    }
}

/// What was retired in the parent, by whom and for how long, is of no concern here.
#[test]
fn a_child_forked_off_while_threads_write_can_write_to_a_store_of_its_own() {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    fill(1, 30_000);
                }
            });
        }
        let held = catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..40 {
                in_child(|| {
                    fill(1, 10_000);
                    true
                });
            }
        }));
        stop.store(true, Ordering::Relaxed);
        assert!(held.is_ok(), "see above");
    });
}

/// Threads of the parent that were reading when it forked look on for ever in the child.
#[test]
fn a_child_forked_off_while_threads_read_and_write_can_drop_what_it_has_and_end_threads() {
    let dir = tempfile::tempdir().unwrap();
    let db = small(dir.path());
    db.put("a", "b").unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                fill(1, 30_000);
            }
        });
        scope.spawn(|| {
            let reader = db.reader();
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(reader.get("a").unwrap().unwrap(), b"b");
            }
        });
        let held = catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..40 {
                // The last to hold the file that it lies in.
                let gone = Options::new().open_in_memory().unwrap();
                gone.put("a", "b").unwrap();
                let alone = gone.get("a").unwrap().unwrap();
                drop(gone);
                let reader = db.reader();
                reader.get("a").unwrap();
                let mut mine = Some((alone, db.get("a").unwrap().unwrap(), reader, db.iter(), db.batch(), db.clone()));
                in_child(|| {
                    drop(mine.take());
                    std::thread::spawn(|| fill(1, 10_000)).join().is_ok()
                });
            }
        }));
        stop.store(true, Ordering::Relaxed);
        assert!(held.is_ok(), "see above");
    });
    assert_eq!(db.get("a").unwrap().unwrap(), "b", "the parent goes on");
}
