//! What a follower shows of a log that took the place of one that was lost, while somebody still holds a snapshot of the one before.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::bytes::copy;
use crate::followers::{lose, small};
use zipcask::{Db, ErrorKind, Keyspace, KeyspaceOptions, Snapshot};

type Pairs = Vec<(Vec<u8>, u8)>;

/// A writer, what of it reaches the device of another, and who follows that.
struct Setting {
    _dir: tempfile::TempDir,
    first: PathBuf,
    second: PathBuf,
    writer: Db,
}

fn put(space: &Keyspace, i: u32, value: u8) {
    space.put(format!("key {i}"), [value; 100]).unwrap();
}

fn setting() -> Setting {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let writer = small().open(&first).unwrap();
    Setting { _dir: dir, first, second, writer }
}

/// A keyspace of ten keys in a file, of which the next one has nine again.
fn overwritten(writer: &Db, ordered: bool) -> Keyspace {
    let space = writer.keyspace_with("space", KeyspaceOptions::new().ordered(ordered)).unwrap();
    (0..10).for_each(|i| put(&space, i, 1));
    writer.seal().unwrap();
    (0..9).for_each(|i| put(&space, i, 2));
    space
}

fn found(pairs: impl Iterator<Item = zipcask::Result<(zipcask::Value, zipcask::Value)>>) -> Result<Pairs, String> {
    let pairs: zipcask::Result<Vec<_>> = pairs.collect();
    let pairs = pairs.map_err(|error| format!("{error:?}"))?;
    let mut pairs: Pairs =
        pairs.into_iter().map(|(key, value)| (key.to_vec(), value.first().copied().unwrap_or(0))).collect();
    pairs.sort();
    Ok(pairs)
}

/// What each way of looking has to say, and what it says, where these differ.
fn complaints(what: &str, of: &Snapshot, space: &Keyspace, expected: &Pairs) -> Vec<String> {
    let mut complaints = Vec::new();
    let shown = found(of.iter(space));
    if shown.as_ref() != Ok(expected) {
        complaints.push(format!("{what}: iter: {shown:?}"));
    }
    if let Ok(range) = of.range(space, "".."z") {
        let shown = found(range);
        if shown.as_ref() != Ok(expected) {
            complaints.push(format!("{what}: range: {shown:?}"));
        }
    }
    let expected: BTreeMap<_, _> = expected.iter().cloned().collect();
    for i in 0..12 {
        let key = format!("key {i}").into_bytes();
        let got = of.get(space, &key).map(|value| value.map(|value| value[0])).map_err(|error| format!("{error:?}"));
        if got != Ok(expected.get(&key).copied()) {
            complaints.push(format!("{what}: key {i}: {got:?}, not {:?}", expected.get(&key)));
        }
    }
    complaints
}

#[test]
fn a_snapshot_of_the_new_log_shows_nothing_of_the_one_that_was_lost_though_one_of_that_is_still_open() {
    let mut all = Vec::new();
    for ordered in [false, true] {
        for held in [false, true] {
            let Setting { _dir, first, second, writer } = setting();
            let space = overwritten(&writer, ordered);
            put(&space, 10, 2);
            copy(&first, &second);
            let db = small().open_read_only(&second).unwrap();
            let of_db = db.keyspace("space").unwrap();
            let old = held.then(|| db.snapshot());
            // It replaces what the snapshot shows, and all of that is lost together with some of what it shows.
            (0..9).for_each(|i| put(&space, i, 3));
            put(&space, 10, 3);
            copy(&first, &second);
            db.refresh().unwrap();
            assert_eq!(of_db.get("key 10").unwrap().unwrap()[0], 3);
            lose(&second, 14);
            let writer = small().open(&second).unwrap();
            let space = writer.keyspace("space").unwrap();
            db.refresh().unwrap();
            assert_eq!(db.last_seqno(), writer.last_seqno());
            if let Some(old) = &old {
                assert_eq!(old.get(&of_db, "key 1").unwrap_err().kind(), ErrorKind::NotFound);
            }
            let expected = found(space.iter()).unwrap();
            let what = format!("ordered {ordered}, an older snapshot {held}");
            let shown = found(of_db.iter());
            if shown.as_ref() != Ok(&expected) {
                all.push(format!("{what}: the follower itself: {shown:?}"));
            }
            let new = db.snapshot();
            all.extend(complaints(&format!("{what}, at once"), &new, &of_db, &expected));
            (0..11).for_each(|i| put(&space, i, 4));
            db.refresh().unwrap();
            all.extend(complaints(&format!("{what}, after more"), &new, &of_db, &expected));
            let expected = found(space.iter()).unwrap();
            all.extend(complaints(&format!("{what}, a newer one"), &db.snapshot(), &of_db, &expected));
            drop(old);
            all.extend(complaints(&format!("{what}, when it is gone"), &db.snapshot(), &of_db, &expected));
        }
    }
    assert!(all.is_empty(), "{}:\n{}", all.len(), all.join("\n"));
}

#[test]
fn a_snapshot_of_the_new_log_shows_what_a_keyspace_had_before_it_was_cleared_there_and_not_what_it_had_in_the_lost_one()
{
    let mut all = Vec::new();
    for ordered in [false, true] {
        for held in [false, true] {
            let Setting { _dir, first, second, writer } = setting();
            let space = overwritten(&writer, ordered);
            copy(&first, &second);
            let db = small().open_read_only(&second).unwrap();
            let of_db = db.keyspace("space").unwrap();
            let old = held.then(|| db.snapshot());
            space.clear().unwrap();
            let cleared = {
                (0..5).for_each(|i| put(&space, i, 3));
                copy(&first, &second);
                db.refresh().unwrap()
            };
            // Five puts of 144 bytes, the clear, which is shorter, and four puts.
            lose(&second, 10);
            let writer = small().open(&second).unwrap();
            let space = writer.keyspace("space").unwrap();
            assert!(writer.last_seqno() < cleared);
            put(&space, 0, 5);
            let expected = found(space.iter()).unwrap();
            db.refresh().unwrap();
            let what = format!("ordered {ordered}, an older snapshot {held}");
            let new = db.snapshot();
            all.extend(complaints(&format!("{what}, at once"), &new, &of_db, &expected));
            space.clear().unwrap();
            put(&space, 1, 6);
            db.refresh().unwrap();
            all.extend(complaints(&format!("{what}, when it was cleared"), &new, &of_db, &expected));
            let expected = found(space.iter()).unwrap();
            all.extend(complaints(&format!("{what}, a newer one"), &db.snapshot(), &of_db, &expected));
            drop(old);
        }
    }
    assert!(all.is_empty(), "{}:\n{}", all.len(), all.join("\n"));
}

#[test]
fn a_range_of_the_lost_log_says_so_once_and_ends() {
    let Setting { _dir, first, second, writer } = setting();
    let space = writer.keyspace_with("space", KeyspaceOptions::new().ordered(true)).unwrap();
    (0..10).for_each(|i| put(&space, i, 1));
    writer.seal().unwrap();
    (0..9).for_each(|i| put(&space, i, 2));
    copy(&first, &second);
    let db = small().open_read_only(&second).unwrap();
    let of_db = db.keyspace("space").unwrap();
    let old = db.snapshot();
    let mut ranges = vec![
        of_db.range("key 1"..).unwrap(),
        old.range(&of_db, "key 1"..).unwrap(),
        old.prefix(&of_db, "key").unwrap(),
        of_db.prefix("key").unwrap(),
    ];
    for range in &mut ranges {
        range.next().unwrap().unwrap();
        range.next_back().unwrap().unwrap();
    }
    lose(&second, 4);
    let writer = small().open(&second).unwrap();
    put(&writer.keyspace("space").unwrap(), 3, 5);
    db.refresh().unwrap();
    for (i, mut range) in ranges.into_iter().enumerate() {
        let error = if i % 2 == 0 { range.next() } else { range.next_back() };
        assert_eq!(error.unwrap().unwrap_err().kind(), ErrorKind::NotFound, "range {i}");
        assert!(range.next().is_none() && range.next_back().is_none(), "range {i}");
    }
    assert_eq!(old.range(&of_db, "".."z").err().map(|error| error.kind()), Some(ErrorKind::NotFound));
    assert_eq!(old.iter(&of_db).next().unwrap().unwrap_err().kind(), ErrorKind::NotFound);
    let mut seen = 0;
    let mut count = |_: &[u8], _: &[u8]| {
        seen += 1;
        std::ops::ControlFlow::Continue(())
    };
    of_db.range("".."z").unwrap().visit(&mut count).unwrap();
    assert_eq!(seen, 10);
}

#[test]
fn a_visit_during_which_the_log_is_lost_shows_nothing_of_the_new_one() {
    for of_snapshot in [false, true] {
        let Setting { _dir, first, second, writer } = setting();
        let space = writer.keyspace_with("space", KeyspaceOptions::new().ordered(true)).unwrap();
        (0..10).for_each(|i| put(&space, i, 1));
        writer.seal().unwrap();
        (0..9).for_each(|i| put(&space, i, 2));
        copy(&first, &second);
        let db = small().open_read_only(&second).unwrap();
        let of_db = db.keyspace("space").unwrap();
        let old = db.snapshot();
        let mut range = if of_snapshot { old.range(&of_db, "".."z") } else { of_db.range("".."z") }.unwrap();
        let mut seen = Vec::new();
        let visited = range.visit(|key, value| {
            seen.push((key.to_vec(), value[0]));
            if seen.len() == 3 {
                lose(&second, 4);
                let writer = small().open(&second).unwrap();
                put(&writer.keyspace("space").unwrap(), 3, 5);
                db.refresh().unwrap();
            }
            std::ops::ControlFlow::Continue(())
        });
        assert_eq!(visited.unwrap_err().kind(), ErrorKind::NotFound);
        assert!(seen.len() == 3 && seen.iter().all(|(_, value)| *value == 2), "{seen:?}");
    }
}

#[test]
fn the_feed_of_a_follower_leaves_out_no_write_of_the_log_that_took_the_place_of_the_lost_one() {
    let Setting { _dir, first, second, writer } = setting();
    (0..10).for_each(|i| put(&writer, i, 1));
    writer.seal().unwrap();
    (0..9).for_each(|i| put(&writer, i, 2));
    copy(&first, &second);
    let db = small().open_read_only(&second).unwrap();
    let mut tail = db.tail(1.into()).unwrap();
    assert_eq!(tail.by_ref().map(|batch| u64::from(batch.unwrap().seqno())).max(), Some(19));
    lose(&second, 4);
    let writer = small().open(&second).unwrap();
    assert_eq!(writer.last_seqno(), 15.into());
    (0..9).for_each(|i| put(&writer, i, 3));
    db.refresh().unwrap();
    // It says that it cannot go on, or goes on with the first write that it has not shown.
    match tail.next() {
        Some(Err(_)) => {}
        Some(Ok(batch)) => assert_eq!(batch.seqno(), 16.into(), "writes 16 to 19 of this log were never shown"),
        None => panic!("there is more"),
    }
}

/// Follows a log that makes a keyspace, and loses that before it was synced; then the next session makes `next`, or nothing.
fn remade(next: Option<(&str, KeyspaceOptions)>) -> (Setting, Db, Db) {
    let setting = setting();
    let (writer, before) = (&setting.writer, setting._dir.path().join("before"));
    (0..10).for_each(|i| put(writer, i, 1));
    writer.seal().unwrap();
    (0..3).for_each(|i| put(writer, i, 2));
    copy(&setting.first, &before);
    (3..6).for_each(|i| put(writer, i, 2));
    let lost = writer.keyspace_with("lost", KeyspaceOptions::new().ordered(true)).unwrap();
    put(&lost, 0, 7);
    copy(&setting.first, &setting.second);
    let db = small().open_read_only(&setting.second).unwrap();
    assert_eq!(db.keyspaces(), ["default", "lost"]);
    copy(&before, &setting.second);
    let writer = small().open(&setting.second).unwrap();
    if let Some((name, options)) = next {
        put(&writer.keyspace_with(name, options).unwrap(), 1, 8);
    }
    (0..9).for_each(|i| put(&writer, i, 3));
    db.refresh().unwrap();
    assert_eq!(db.last_seqno(), writer.last_seqno());
    assert_eq!(found(db.iter()), found(writer.iter()));
    (setting, writer, db)
}

#[test]
fn a_keyspace_of_the_lost_log_is_not_there_in_the_new_one() {
    let (_setting, writer, db) = remade(None);
    assert_eq!(db.keyspaces(), writer.keyspaces());
}

#[test]
fn a_keyspace_that_takes_the_number_of_one_of_the_lost_log_is_followed() {
    let mut all = Vec::new();
    for (name, ordered) in [("other", true), ("other", false), ("lost", false), ("lost", true)] {
        let (_setting, writer, db) = remade(Some((name, KeyspaceOptions::new().ordered(ordered))));
        let shown = |db: &Db| {
            let space = |name: String| {
                let space = db.keyspace(&name).unwrap();
                (name, space.options(), found(space.iter()))
            };
            db.keyspaces().into_iter().map(space).skip(1).collect::<Vec<_>>()
        };
        if shown(&db) != shown(&writer) {
            all.push(format!("{name}, ordered {ordered}: {:?}, not {:?}", shown(&db), shown(&writer)));
        }
    }
    assert!(all.is_empty(), "{}:\n{}", all.len(), all.join("\n"));
}
