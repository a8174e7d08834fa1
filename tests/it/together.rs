//! Features at once: what each promises by itself holds beside the others, too.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use zipcask::sim::{self, SimDisk};
use zipcask::{Db, Durability, ErrorKind, Keyspace, KeyspaceOptions, Options, PutOptions, Seqno, Value};

fn small() -> Options {
    Options::new().durability(Durability::Os).segment_size(64 << 10).background(false)
}

fn ordered() -> KeyspaceOptions {
    KeyspaceOptions::new().ordered(true)
}

/// Fails a test that hangs, instead of hanging with it.
fn within(seconds: u64, f: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    let thread = thread::spawn(move || {
        f();
        let _ = done.send(());
    });
    match is_done.recv_timeout(Duration::from_secs(seconds)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        _ => thread.join().unwrap(),
    }
}

fn text(value: Option<Value>) -> Option<String> {
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

/// All of a store: its keyspaces, whether they have an order, and what is in them.
type State = (BTreeMap<String, (KeyspaceOptions, BTreeMap<Vec<u8>, usize>)>, Vec<(String, Seqno)>);

fn state(db: &Db) -> State {
    let space = |name: String| {
        let space = db.keyspace(&name).unwrap();
        let pairs = space.iter().map(|pair| pair.map(|(key, value)| (key.to_vec(), value.len())).unwrap()).collect();
        (name, (space.options(), pairs))
    };
    let cursors = db.stats().cursors.into_iter().map(|cursor| (cursor.name, cursor.position)).collect();
    (db.keyspaces().into_iter().map(space).collect(), cursors)
}

fn history(db: &Db, each: &mut dyn FnMut(&Db)) {
    let cursor = db.cursor("cursor").unwrap();
    each(db);
    for round in 0..2 {
        let space = db.keyspace_with("space", if round == 1 { KeyspaceOptions::new() } else { ordered() }).unwrap();
        each(db);
        db.increment("count", 1).unwrap();
        each(db);
        space.put_with("lasts", "1", PutOptions::new().ttl(Duration::from_secs(1 << 30))).unwrap();
        each(db);
        space.put_with("gone", "1", PutOptions::new().expires_at(UNIX_EPOCH)).unwrap();
        each(db);
        let mut batch = db.batch();
        batch
            .put(&space, "a", [1; 10])
            .put(db, "a", [1; 20])
            .delete(db, "a")
            .put(&space, "b", [1; 60_000])
            .delete(&space, "a");
        batch.commit().unwrap();
        each(db);
        cursor.advance(db.last_seqno()).unwrap();
        each(db);
        if round == 0 {
            space.clear().unwrap();
            each(db);
            db.seal().unwrap();
        }
        space.put("c", [2; 5]).unwrap();
        each(db);
        assert!(db.drop_keyspace("space").unwrap());
        each(db);
    }
    db.drop_cursor("cursor").unwrap();
    each(db);
    db.put("last", "1").unwrap();
    each(db);
}

#[test]
fn a_store_of_all_features_is_restored_as_of_each_write() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let db = small().open(at("store")).unwrap();
    let mut states = BTreeMap::from([(Seqno::from(0), state(&db))]);
    history(&db, &mut |db| drop(states.insert(db.last_seqno(), state(db))));
    let last = u64::from(db.last_seqno());
    for way in ["sealed", "archived"] {
        if way == "archived" {
            db.archive().unwrap();
        }
        let copy = at(way);
        assert_eq!(u64::from(db.backup(&copy).unwrap().seqno), last);
        for seqno in 0..=last {
            let out = at(&format!("{way} {seqno}"));
            let report = Db::restore(&copy, &out, Some(seqno.into())).unwrap();
            let (expected_seqno, expected) = states.range(..=Seqno::from(seqno)).next_back().unwrap();
            assert_eq!(report.seqno, *expected_seqno, "{way}, as of {seqno}");
            let reader = Db::open_read_only(&out).unwrap();
            assert!(state(&reader) == *expected, "{way}, as of {seqno}: {:?}, not {expected:?}", state(&reader));
            if seqno % 4 > 0 {
                continue;
            }
            let restored = small().open(&out).unwrap();
            assert!(state(&restored) == *expected, "{way}, as of {seqno}");
            assert!(restored.verify().unwrap().is_clean());
            restored.keyspace("another").unwrap().put("key", "value").unwrap();
            restored.compact().unwrap();
            restored.close().unwrap();
            let restored = small().open(&out).unwrap();
            let mut now = state(&restored);
            now.0.remove("another").unwrap();
            assert!(now == *expected, "{way}, as of {seqno}, and written");
        }
        for beyond in [last + 1, u64::MAX] {
            let error = Db::restore(&copy, at("beyond"), Some(beyond.into())).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(&format!("0 to {last}")), "{error}");
            assert!(!at("beyond").exists());
        }
    }
}

#[test]
fn a_copy_that_lacks_files_gets_them_again_and_one_within_the_store_is_none_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let db = small().open(at("store")).unwrap();
    for i in 0..200_u32 {
        db.put(i.to_le_bytes(), vec![i as u8; 900]).unwrap();
    }
    db.put("large", vec![7; 50_000]).unwrap();
    db.seal().unwrap();
    db.archive().unwrap();
    for i in 200..400_u32 {
        db.put(i.to_le_bytes(), vec![i as u8; 900]).unwrap();
    }
    let expected = state(&db);
    let copy = at("copy");
    db.backup(&copy).unwrap();
    let mut removed = 0;
    for folder in ["segments", "archives", "large", "."] {
        let names: Vec<_> = fs::read_dir(copy.join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
        for name in names.iter().filter(|name| name.is_file()) {
            if fs::remove_file(name).is_err() {
                continue;
            }
            removed += 1;
            db.backup(&copy).unwrap_or_else(|error| panic!("without {}: {error}", name.display()));
            assert!(state(&Db::open_read_only(&copy).unwrap()) == expected, "without {}", name.display());
        }
    }
    assert!(removed > 6, "{removed}");
    for folder in ["segments", "archives", "large"] {
        assert_eq!(db.backup(at("store").join(folder)).unwrap_err().kind(), ErrorKind::Invalid);
    }
    db.backup(at("store").join("copy")).unwrap();
    assert!(state(&Db::open_read_only(at("store").join("copy")).unwrap()) == expected);
    db.close().unwrap();
    let db = small().open(at("store")).unwrap();
    db.compact().unwrap();
    assert!(state(&db) == expected && db.verify().unwrap().is_clean());
}

#[test]
fn panics_of_closures_harm_nothing() {
    within(60, || {
        let db = small().default_keyspace(ordered()).open_in_memory().unwrap();
        for i in 0..100_u32 {
            db.put(i.to_be_bytes(), "value").unwrap();
        }
        let reader = db.reader();
        let mut range = db.range::<&[u8]>(..).unwrap();
        let mut transaction = db.begin();
        transaction.put(&db, "kept", "1").unwrap();
        let mut pending = transaction.range::<&[u8]>(&db, ..).unwrap();
        let (mut passed, mut passed_own) = (0, 0);
        let panics: [&mut dyn FnMut(); 7] = [
            &mut || {
                drop(range.visit(|_, _| {
                    passed += 1;
                    if passed == 10 {
                        panic!("planned")
                    }
                    ControlFlow::Continue(())
                }))
            },
            &mut || {
                drop(pending.visit(|_, _| {
                    passed_own += 1;
                    if passed_own == 10 {
                        panic!("planned")
                    }
                    ControlFlow::Continue(())
                }))
            },
            &mut || drop(reader.for_each(|_, _| panic!("planned"))),
            &mut || reader.get_many(&[0_u32.to_be_bytes()], |_, _| panic!("planned")),
            &mut || drop(db.update("key", |_| panic!("planned"))),
            &mut || {
                drop(db.transaction(|transaction| -> zipcask::Result<()> {
                    transaction.put(&db, "lost", "1")?;
                    panic!("planned")
                }))
            },
            &mut || drop(db.get_with(0_u32.to_be_bytes(), |_| panic!("planned"))),
        ];
        for panic in panics {
            assert!(catch_unwind(AssertUnwindSafe(panic)).is_err());
        }
        assert_eq!((range.count(), pending.count()), (90, 91), "what is left can be taken");
        drop(reader);
        transaction.commit().unwrap();
        assert_eq!(db.len(), 101);
        db.compact().unwrap();
        assert_eq!(db.iter().count(), 101);
        assert_eq!(db.stats().pinned_bytes, 0, "nothing is kept for anybody");
        db.close().unwrap();
    });
}

#[test]
fn a_report_of_progress_may_use_the_store() {
    within(60, || {
        let dir = tempfile::tempdir().unwrap();
        let (handle, calls) = (Arc::new(OnceLock::<Db>::new()), Arc::new(AtomicU64::new(0)));
        let (within, counted) = (Arc::clone(&handle), Arc::clone(&calls));
        let report = move |_: zipcask::Progress| {
            let Some(db) = within.get() else { return };
            counted.fetch_add(1, Ordering::Relaxed);
            db.stats();
            db.increment("calls", 1).unwrap();
            db.seal().unwrap();
            db.backup(dir.path().join("copy")).unwrap();
        };
        let store = tempfile::tempdir().unwrap();
        let db = small().on_progress(report).open(store.path()).unwrap();
        (0..200_u32).for_each(|i| assert!(db.put(i.to_le_bytes(), [1; 500]).is_ok()));
        handle.set(db.clone()).unwrap();
        db.verify().unwrap();
        db.compact().unwrap();
        assert!(calls.load(Ordering::Relaxed) > 0);
        db.close().unwrap();
    });
}

#[test]
fn the_last_write_of_a_key_counts_in_each_keyspace_of_a_batch_and_the_feed_has_all() {
    let dir = tempfile::tempdir().unwrap();
    let db = small().open(dir.path()).unwrap();
    let (one, two) = (db.keyspace("one").unwrap(), db.keyspace_with("two", ordered()).unwrap());
    let before = db.put("key", "0").unwrap();
    let mut batch = db.batch();
    batch.put(&one, "key", "1").delete(&one, "key").put(&two, "key", "1").put(&db, "key", "1");
    batch.delete(&two, "key").put(&two, "key", "2").delete(&db, "key").delete(&db, "absent");
    assert_eq!(batch.len(), 8);
    let seqno = batch.commit().unwrap();
    assert_eq!(seqno, Seqno::from(u64::from(before) + 8));
    let check = |db: &Db| {
        let (one, two) = (db.keyspace("one").unwrap(), db.keyspace("two").unwrap());
        assert_eq!((one.len(), two.len(), db.len()), (0, 1, 0));
        assert_eq!(text(two.get("key").unwrap()).as_deref(), Some("2"));
        assert_eq!(two.range("a"..).unwrap().count(), 1);
    };
    check(&db);
    let batch = db.tail(before.next()).unwrap().next().unwrap().unwrap();
    assert_eq!((batch.seqno(), batch.changes().len()), (seqno, 8));
    let (one_change, two_change) = (&batch.changes()[1], &batch.changes()[5]);
    assert_eq!((one_change.keyspace.as_str(), one_change.value.is_none()), ("one", true));
    assert_eq!((two_change.keyspace.as_str(), two_change.value.as_deref()), ("two", Some(&b"2"[..])));
    for _ in 0..2 {
        let home = tempfile::tempdir().unwrap();
        db.backup(home.path()).unwrap();
        check(&Db::open_read_only(home.path()).unwrap());
        db.compact().unwrap();
    }
    check(&Db::open_read_only(dir.path()).unwrap());
    db.close().unwrap();
    check(&small().open(dir.path()).unwrap());
}

#[test]
fn a_value_that_comes_in_pieces_meets_clears_and_drops() {
    for len in [100_usize, 60_000] {
        let dir = tempfile::tempdir().unwrap();
        let db = small().open(dir.path()).unwrap();
        let space = db.keyspace("space").unwrap();
        let bytes = vec![5; len];
        let (mut first, mut second) =
            (space.put_writer("a", len as u64).unwrap(), space.put_writer("b", len as u64).unwrap());
        first.write_all(&bytes).unwrap();
        second.write_all(&bytes[..len / 2]).unwrap();
        space.clear().unwrap();
        first.finish().unwrap();
        assert_eq!(space.get("a").unwrap().unwrap().len(), len);
        let snapshot = db.snapshot();
        db.drop_keyspace("space").unwrap();
        db.keyspace("space").unwrap();
        let _ = second.write_all(&bytes[len / 2..]);
        assert_eq!(second.finish().unwrap_err().kind(), ErrorKind::NotFound);
        db.compact().unwrap();
        assert_eq!(snapshot.get(&space, "a").unwrap().unwrap(), bytes, "{len}");
        drop(snapshot);
        db.compact().unwrap();
        assert_eq!(db.keyspace("space").unwrap().len(), 0);
        db.put("x", "1").unwrap();
        db.compact().unwrap();
        let large = fs::read_dir(dir.path().join("large")).map_or(0, Iterator::count);
        assert_eq!(large, 0, "{len}: files of large values stay");
    }
}

#[test]
fn times_of_a_keyspace_and_of_its_writes_meet_increments_and_swaps() {
    let db = small().open_in_memory().unwrap();
    let hour = Duration::from_secs(3600);
    let space = db.keyspace_with("space", ordered().default_ttl(hour)).unwrap();
    let left = |key: &str| {
        let time = space.expires_at(key).unwrap()?;
        Some(time.duration_since(SystemTime::now()).unwrap().as_secs().div_ceil(600))
    };
    let past = PutOptions::new().expires_at(UNIX_EPOCH);
    space.put_with("durable", "1", PutOptions::new().durability(Durability::Sync)).unwrap();
    assert_eq!(left("durable"), Some(6));
    space.put_with("lasting", 5_i64.to_le_bytes(), PutOptions::new().no_ttl()).unwrap();
    assert_eq!((space.increment("lasting", 1).unwrap(), left("lasting")), (6, None));
    space.put_with("gone", 5_i64.to_le_bytes(), past).unwrap();
    assert_eq!((space.increment("gone", 1).unwrap(), left("gone")), (1, Some(6)), "it begins anew");
    space.put_with("gone", "old", past).unwrap();
    assert!(!space.compare_and_swap("gone", Some(b"old"), Some(b"new")).unwrap());
    assert!(space.compare_and_swap("gone", None, Some(b"new")).unwrap());
    assert_eq!(left("gone"), Some(6));
    space.put_with("gone", "old", past).unwrap();
    let last = db.last_seqno();
    assert!(!space.delete("gone").unwrap());
    assert_eq!(
        space
            .update("gone", |now| {
                assert_eq!(now, None);
                None
            })
            .unwrap(),
        None
    );
    assert!(space.compare_and_swap("gone", None, None).unwrap());
    assert_eq!(db.last_seqno(), last, "deleting nothing writes nothing");
    db.transaction(|transaction| {
        assert_eq!(transaction.get(&space, "gone")?, None);
        assert!(!transaction.delete(&space, "gone")?);
        transaction.put(&space, "transaction", "1")?;
        transaction.put_with(&space, "for ever", "1", PutOptions::new().no_ttl())
    })
    .unwrap();
    assert_eq!((left("transaction"), left("for ever")), (Some(6), None));
    let mut batch = db.batch();
    batch.put(&space, "batch", "1").put_with(&space, "batch", "2", past).put(&space, "batch", "3");
    batch.put(&space, "last", "1").put_with(&space, "last", "2", past);
    batch.commit().unwrap();
    assert_eq!((left("batch"), space.get("last").unwrap()), (Some(6), None));
    let keys = |iter: &mut dyn Iterator<Item = zipcask::Result<(Value, Value)>>| iter.count();
    let all = 5;
    assert_eq!(keys(&mut space.iter()), all);
    assert_eq!(keys(&mut space.range("a"..).unwrap().rev()), all);
    assert_eq!(keys(&mut db.snapshot().iter(&space)), all);
    assert_eq!(keys(&mut db.begin().iter(&space)), all);
    db.compact().unwrap();
    assert_eq!(space.len(), all as u64);
    space.clear().unwrap();
    assert_eq!((space.len(), space.increment("durable", 1).unwrap(), left("durable")), (0, 1, Some(6)));
}

#[test]
fn names_of_all_sorts_and_lengths_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let longest = "x".repeat(65_535);
    let names = ["\0", "../up", "/", " ", "Default", "#1", "default ", "\u{1f980}", "a\nb", &longest];
    let db = small().open(dir.path()).unwrap();
    for (i, name) in names.iter().enumerate() {
        db.keyspace(name).unwrap().put("key", [i as u8]).unwrap();
        db.cursor(name).unwrap();
    }
    for name in ["", &*"x".repeat(65_536)] {
        assert_eq!(db.keyspace(name).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(db.cursor(name).unwrap_err().kind(), ErrorKind::Invalid);
        assert!(!db.drop_keyspace(name).unwrap() && !db.drop_cursor(name).unwrap());
    }
    for way in 0..3 {
        if way == 1 {
            db.compact().unwrap();
        }
        if way == 2 {
            db.checkpoint().unwrap();
        }
        let reader = Db::open_read_only(dir.path()).unwrap();
        assert_eq!(reader.keyspaces().len(), names.len() + 1);
        for (i, name) in names.iter().enumerate() {
            assert_eq!(*reader.keyspace(name).unwrap().get("key").unwrap().unwrap(), [i as u8]);
            reader.cursor(name).unwrap().position().unwrap();
        }
    }
}

#[test]
fn seqnos_that_never_were_are_refused() {
    let db = small().open_in_memory().unwrap();
    db.put("key", "value").unwrap();
    let never = Seqno::from(u64::MAX);
    let cursor = db.cursor("cursor").unwrap();
    assert_eq!(db.tail(never).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(db.cursor_from("other", never).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(cursor.advance(never).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(db.wait_durable(never).unwrap_err().kind(), ErrorKind::Invalid);
    assert!(never.next() >= never);
    assert_eq!(db.stats().cursors.len(), 1);
}

#[test]
fn a_cursor_beside_restores_and_removals() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let db = small().open(at("store")).unwrap();
    let cursor = db.cursor("c").unwrap();
    let mut batch = db.batch();
    batch.put(&db, "a", "1").put(&db, "b", "1").put(&db, "c", "1");
    let whole = batch.commit().unwrap();
    let inside = Seqno::from(u64::from(whole) - 1);
    cursor.advance(inside).unwrap();
    let next = cursor.tail().unwrap().next().unwrap().unwrap();
    assert_eq!((next.seqno(), next.changes().len()), (whole, 3), "a batch comes whole");
    let mut tail = cursor.tail().unwrap().follow(true);
    tail.next().unwrap().unwrap();
    assert!(db.drop_cursor("c").unwrap());
    assert_eq!(cursor.position().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(cursor.advance(whole).unwrap_err().kind(), ErrorKind::NotFound);
    db.put("d", "1").unwrap();
    assert_eq!(tail.next().unwrap().unwrap().changes()[0].key, b"d"[..]);
    db.cursor("c").unwrap();
    assert!(cursor.tail().unwrap().next().is_none(), "made anew at the end");
    let reader = Db::open_read_only(at("store")).unwrap();
    let (read, kind) = (reader.cursor("c").unwrap(), ErrorKind::ReadOnly);
    assert_eq!(read.advance(whole).unwrap_err().kind(), kind);
    assert_eq!(reader.drop_cursor("c").unwrap_err().kind(), kind);
    assert_eq!(reader.cursor("none").unwrap_err().kind(), ErrorKind::NotFound);
    db.backup(at("copy")).unwrap();
    Db::restore(at("copy"), at("back"), Some(inside)).unwrap();
    let back = small().open(at("back")).unwrap();
    assert_eq!((back.len(), back.cursor("c").unwrap().position().unwrap()), (0, 1.into()));
}

#[test]
fn numbers_that_expire_count_from_one_each_time() {
    let db = small().open_in_memory().unwrap();
    let space = db.keyspace_with("space", KeyspaceOptions::new().default_ttl(Duration::from_millis(3))).unwrap();
    let counts = thread::scope(|scope| {
        let count = || {
            let mut counts = BTreeMap::<i64, i64>::new();
            for _ in 0..3_000 {
                *counts.entry(space.increment("key", 1).unwrap()).or_default() += 1;
            }
            counts
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
        let mut all = BTreeMap::<i64, i64>::new();
        for thread in threads {
            for (number, count) in thread.join().unwrap() {
                *all.entry(number).or_default() += count;
            }
        }
        all
    });
    assert!(counts[&1] > 1, "it expires: {counts:?}");
    let (numbers, times): (Vec<_>, Vec<_>) = counts.into_iter().unzip();
    assert_eq!(numbers, (1..=numbers.len() as i64).collect::<Vec<_>>());
    assert!(times.is_sorted_by(|one, next| one >= next), "a number was given twice before it expired: {times:?}");
}

#[test]
fn closures_may_write_what_they_are_shown_and_have_it_compacted() {
    within(60, || {
        let dir = tempfile::tempdir().unwrap();
        let db = small().default_keyspace(ordered()).open(dir.path().join("store")).unwrap();
        let plain = db.keyspace("plain").unwrap();
        for i in 0..500_u32 {
            db.put(i.to_be_bytes(), vec![3; 400]).unwrap();
            plain.put(i.to_be_bytes(), vec![3; 400]).unwrap();
        }
        let new = db.update("outer", |_| {
            db.update("inner", |_| Some(b"1".to_vec())).unwrap();
            db.compact().unwrap();
            db.backup(dir.path().join("copy")).unwrap();
            Some(b"2".to_vec())
        });
        assert_eq!(text(new.unwrap()).as_deref(), Some("2"));
        let mut seen = 0;
        let each = |key: &[u8], _: &[u8]| {
            db.delete(key).unwrap();
            seen += 1;
            if seen % 100 == 0 {
                db.compact().unwrap();
                db.put([7, seen as u8], "new").unwrap();
            }
            ControlFlow::Continue(())
        };
        db.range::<&[u8]>(..).unwrap().visit(each).unwrap();
        assert_eq!(seen, 502, "what was there when it began");
        let mut seen = 0;
        let each = |key: &[u8], value: &[u8]| {
            assert_eq!(value, [3; 400], "each key once");
            plain.put(key, "overwritten").unwrap();
            seen += 1;
            if seen == 250 {
                db.compact().unwrap();
            }
            ControlFlow::Continue(())
        };
        plain.reader().for_each(each).unwrap();
        assert_eq!(seen, 500);
        for (i, pair) in plain.iter().enumerate() {
            assert_eq!(&pair.unwrap().1[..], b"overwritten");
            if i == 100 {
                plain.clear().unwrap();
                db.compact().unwrap();
            }
        }
    });
}

#[test]
fn closures_may_drop_and_close_what_they_are_asked_about() {
    within(60, || {
        let dir = tempfile::tempdir().unwrap();
        let db = small().open(dir.path()).unwrap();
        let plain = db.keyspace("plain").unwrap();
        db.put("a", "1").unwrap();
        let outcome = plain.update("key", |_| {
            db.drop_keyspace("plain").unwrap();
            Some(b"1".to_vec())
        });
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::NotFound);
        db.transaction(|transaction| {
            for pair in transaction.iter(&db).collect::<Vec<_>>() {
                transaction.delete(&db, pair?.0)?;
            }
            transaction.put(&db, "only", "1")
        })
        .unwrap();
        assert_eq!(db.iter().count(), 1);
        let close = |_: &[u8], _: &[u8]| {
            db.clone().close().unwrap();
            ControlFlow::Continue(())
        };
        let _ = db.reader().for_each(close);
        assert_eq!(db.get("only").unwrap_err().kind(), ErrorKind::Closed);
        let db = small().open(dir.path()).unwrap();
        let outcome = db.update("only", |_| {
            db.clone().close().unwrap();
            Some(b"2".to_vec())
        });
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Closed);
        let db = small().open(dir.path()).unwrap();
        assert_eq!(text(db.get("only").unwrap()).as_deref(), Some("1"));
    });
}

/// Not found is fine: another thread has dropped it.
fn unless_dropped<T>(outcome: zipcask::Result<T>) {
    assert!(outcome.as_ref().err().is_none_or(|error| error.kind() == ErrorKind::NotFound), "{:?}", outcome.err());
}

/// Five keys are written at once, again and again, to a keyspace that another thread clears and drops.
fn write_five(db: &Db, space: &Keyspace, round: u64) {
    let mut batch = db.batch();
    for key in 0..5_u8 {
        batch.put(space, [key], round.to_le_bytes());
    }
    unless_dropped(batch.commit());
    unless_dropped(db.transaction(|transaction| {
        let found = transaction.range::<&[u8]>(space, ..)?.count();
        assert!(found == 0 || found == 5, "{found}");
        (0..5_u8).try_for_each(|key| transaction.put(space, [key], round.to_le_bytes()))
    }));
}

fn assert_five_or_none(db: &Db, space: &Keyspace) {
    let snapshot = db.snapshot();
    let get = |key: u8| snapshot.get(space, [key]).unwrap().map(|value| value.to_vec());
    let first = get(0);
    assert!((0..5).chain(0..5).all(|key| get(key) == first), "at {:?}", snapshot.seqno());
    let values = |iter: &mut dyn Iterator<Item = zipcask::Result<(Value, Value)>>| -> Vec<_> {
        iter.map(|pair| Some(pair.unwrap().1.to_vec())).collect()
    };
    let expected = vec![first.clone(); if first.is_some() { 5 } else { 0 }];
    assert_eq!(values(&mut snapshot.iter(space)), expected);
    assert_eq!(values(&mut snapshot.range::<&[u8]>(space, ..).unwrap().rev()), expected);
}

#[test]
fn moments_and_copies_are_whole_while_keyspaces_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let db = small().open(dir.path().join("store")).unwrap();
    let stop = AtomicBool::new(false);
    let goes_on = || !stop.load(Ordering::Relaxed);
    let made = || db.keyspace_with("space", ordered()).unwrap();
    let until = Instant::now() + Duration::from_millis(500);
    thread::scope(|scope| {
        scope.spawn(|| (1..).take_while(|_| goes_on()).for_each(|round| write_five(&db, &made(), round)));
        scope.spawn(|| {
            for round in (0..).take_while(|_| goes_on()) {
                match round % 7 {
                    0 => assert!(db.drop_keyspace("space").is_ok()),
                    3 => unless_dropped(made().clear()),
                    5 => assert!(db.compact().is_ok()),
                    _ => thread::sleep(Duration::from_micros(200)),
                }
            }
        });
        scope.spawn(|| {
            let copy = dir.path().join("copy");
            while goes_on() {
                db.backup(&copy).unwrap();
                let copied = Db::open_read_only(&copy).unwrap();
                if copied.keyspaces().len() > 1 {
                    assert_five_or_none(&copied, &copied.keyspace("space").unwrap());
                }
            }
        });
        while Instant::now() < until {
            assert_five_or_none(&db, &made());
        }
        stop.store(true, Ordering::Relaxed);
    });
    db.drop_keyspace("space").unwrap();
    db.compact().unwrap();
    assert!(db.verify().unwrap().is_clean());
}

#[test]
fn a_number_that_was_given_again_has_nothing_of_the_keyspace_before() {
    let disk = SimDisk::new(1);
    let open = || sim::open(Options::new().durability(Durability::Os), 1 << 20, Arc::new(disk.clone())).unwrap();
    let db = open();
    for i in 0..65_535 {
        db.keyspace(&format!("space {i}")).unwrap();
    }
    let old = db.keyspace("space 77").unwrap();
    old.put("key", "old").unwrap();
    let snapshot = db.snapshot();
    assert!(db.drop_keyspace("space 77").unwrap());
    let new = db.keyspace_with("new", ordered()).unwrap();
    new.put("other", "new").unwrap();
    assert_eq!(text(snapshot.get(&old, "key").unwrap()).as_deref(), Some("old"));
    assert_eq!((snapshot.iter(&new).count(), snapshot.iter(&old).count()), (0, 1));
    drop(snapshot);
    let check = |db: &Db| {
        let new = db.keyspace("new").unwrap();
        assert_eq!((new.len(), new.get("key").unwrap(), new.range("a"..).unwrap().count()), (1, None, 1));
        assert_eq!(db.keyspaces().len(), 65_536);
        assert_eq!(db.keyspace("one more").unwrap_err().kind(), ErrorKind::ResourceLimit);
    };
    check(&db);
    db.close().unwrap();
    check(&open());
}

#[test]
fn a_follower_counts_what_expired_until_the_writer_has_removed_it() {
    let disk = SimDisk::new(1);
    disk.set_wall_ms(1_800_000_000_000);
    let db = sim::open(Options::new(), 64 << 10, Arc::new(disk.clone())).unwrap();
    db.put("stays", "1").unwrap();
    for i in 0..10_u8 {
        db.put_with([i], "1", PutOptions::new().ttl(Duration::from_millis(1))).unwrap();
    }
    let reader = sim::open_read_only(Options::new(), Arc::new(disk.clone())).unwrap();
    disk.advance_ms(5);
    assert_eq!((reader.len(), reader.iter().count()), (11, 1));
    db.compact().unwrap();
    reader.refresh().unwrap();
    assert_eq!((db.len(), reader.len()), (1, 11));
    disk.advance_ms(25 * 60 * 60 * 1000);
    db.compact().unwrap();
    db.compact().unwrap();
    reader.refresh().unwrap();
    assert_eq!((db.len(), reader.len(), reader.iter().count()), (1, 1, 1));
}
