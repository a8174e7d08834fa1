//! Several keyspaces in one store.

use std::collections::BTreeMap;
use std::time::Duration;

use zipcask::{Db, Durability, ErrorKind, Keyspace, KeyspaceOptions, Options, PutOptions, ReadMode, Value};

fn open(dir: &std::path::Path) -> Db {
    Options::new().durability(Durability::Os).segment_size(64 << 10).background(false).open(dir).unwrap()
}

#[test]
fn the_same_key_is_another_one_in_another_keyspace() {
    let db = Options::new().open_in_memory().unwrap();
    let (one, two) = (db.keyspace("one").unwrap(), db.keyspace("two").unwrap());
    db.put("key", "default").unwrap();
    one.put("key", "one").unwrap();
    two.put("key", "two").unwrap();
    two.delete("key").unwrap();
    assert_eq!(db.get("key").unwrap().unwrap(), b"default");
    assert_eq!(one.get("key").unwrap().unwrap(), b"one");
    assert_eq!(two.get("key").unwrap(), None);
    assert_eq!((db.len(), one.len(), two.len()), (1, 1, 0));
    assert_eq!(db.keyspaces(), ["default", "one", "two"]);
    let pairs: Vec<_> = one.iter().map(Result::unwrap).collect();
    assert_eq!(pairs.len(), 1);
    assert_eq!(&*pairs[0].1, b"one");
}

#[test]
fn keyspaces_come_back_with_what_is_in_them_whatever_they_are_read_from() {
    let dir = tempfile::tempdir().unwrap();
    let options = KeyspaceOptions::new().value_align(64);
    for step in 0..6_u32 {
        let db = open(dir.path());
        let one = db.keyspace_with("one", options).unwrap();
        let two = db.keyspace("two").unwrap();
        for key in 0..3_000_u32 {
            let value = (key * 7 + step).to_le_bytes();
            if key % 6 >= step {
                one.put(key.to_le_bytes(), value).unwrap();
                two.put(key.to_be_bytes(), [value, value].concat()).unwrap();
            }
            if key % 11 == step {
                db.put(key.to_le_bytes(), value).unwrap();
            }
        }
        match step {
            1 => db.checkpoint().unwrap(),
            2 => drop(db.compact().unwrap()),
            3 => {
                db.seal().unwrap();
                db.archive().unwrap();
                db.checkpoint().unwrap();
            }
            4 => std::mem::forget(db.clone().close()),
            _ => {}
        }
        if step != 4 {
            db.close().unwrap();
        }
        for read_only in [false, true] {
            let db = if read_only { Db::open_read_only(dir.path()).unwrap() } else { open(dir.path()) };
            assert_eq!(db.keyspaces(), ["default", "one", "two"]);
            let (one, two) = (db.keyspace("one").unwrap(), db.keyspace("two").unwrap());
            assert_eq!((one.len(), two.len()), (3_000, 3_000), "step {step}, read only {read_only}");
            for key in 0..3_000_u32 {
                let newest = step.min(key % 6);
                let value = (key * 7 + newest).to_le_bytes();
                assert_eq!(one.get(key.to_le_bytes()).unwrap().unwrap(), value);
                assert_eq!(two.get(key.to_be_bytes()).unwrap().unwrap(), [value, value].concat());
            }
            assert_eq!(one.iter().count(), 3_000);
        }
    }
}

#[test]
fn clearing_and_dropping_are_kept_and_give_their_space_back() {
    let dir = tempfile::tempdir().unwrap();
    for way in ["replay", "checkpoint", "compact", "archive"] {
        let dir = dir.path().join(way);
        let db = open(&dir);
        let names = ["cleared", "dropped", "kept"];
        for name in names {
            let keyspace = db.keyspace(name).unwrap();
            for key in 0..2_000_u32 {
                keyspace.put(key.to_le_bytes(), [9; 50]).unwrap();
            }
        }
        if way == "archive" {
            db.seal().unwrap();
            db.archive().unwrap();
        }
        let (cleared, dropped) = (db.keyspace("cleared").unwrap(), db.keyspace("dropped").unwrap());
        cleared.clear().unwrap();
        assert!(db.drop_keyspace("dropped").unwrap());
        assert!(!db.drop_keyspace("dropped").unwrap());
        assert_eq!(dropped.get("key").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(dropped.put("key", "value").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!((cleared.len(), dropped.len(), dropped.iter().count()), (0, 0, 1), "an error, and no more");
        cleared.put("new", "value").unwrap();
        assert!(db.stats().live_bytes < db.stats().dead_bytes, "{way}: {:?}", db.stats());
        match way {
            "checkpoint" => db.checkpoint().unwrap(),
            "compact" => {
                db.compact().unwrap();
                assert!(db.stats().dead_bytes < 8192, "{:?}", db.stats());
            }
            _ => {}
        }
        db.close().unwrap();
        for _ in 0..2 {
            let db = open(&dir);
            assert_eq!(db.keyspaces(), ["cleared", "default", "kept"], "{way}");
            let (cleared, kept) = (db.keyspace("cleared").unwrap(), db.keyspace("kept").unwrap());
            assert_eq!((cleared.len(), kept.len()), (1, 2_000), "{way}");
            assert_eq!(cleared.get("new").unwrap().unwrap(), b"value");
            assert_eq!(cleared.get(1_u32.to_le_bytes()).unwrap(), None);
            assert!(kept.iter().all(|pair| *pair.unwrap().1 == [9; 50]));
            // One of that name, and maybe of that number, has nothing of the old one.
            let again = db.keyspace("dropped").unwrap();
            assert_eq!((again.len(), again.get(1_u32.to_le_bytes()).unwrap()), (0, None));
            again.put("again", way).unwrap();
            db.drop_keyspace("dropped").unwrap();
            db.compact().unwrap();
            assert!(db.verify().unwrap().is_clean());
            db.close().unwrap();
        }
    }
}

#[test]
fn every_write_to_a_dropped_keyspace_is_not_found_and_to_one_that_is_only_read_read_only() {
    let refusals = |db: &Db, keyspace: &Keyspace| -> Vec<_> {
        let mut transaction = db.begin();
        let mut batch = db.batch();
        batch.put(keyspace, "key", "value");
        let put = |options| keyspace.put_with("key", "value", options).map(drop);
        let all = [
            keyspace.put("key", "value").map(drop),
            put(PutOptions::new().no_ttl()),
            keyspace.put_writer("key", 5).map(drop),
            keyspace.delete("key").map(drop),
            keyspace.delete_with("key", Durability::Os).map(drop),
            keyspace.compare_and_swap("key", None, Some(b"value")).map(drop),
            keyspace.update("key", |_| None).map(drop),
            keyspace.increment("key", 1).map(drop),
            keyspace.clear(),
            batch.commit().map(drop),
            transaction.put(keyspace, "key", "value"),
            transaction.delete(keyspace, "key").map(drop),
        ];
        all.into_iter().map(|done| done.unwrap_err().kind()).collect()
    };
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let options = KeyspaceOptions::new().ordered(true);
    let (kept, dropped) = (db.keyspace("kept").unwrap(), db.keyspace_with("dropped", options).unwrap());
    let transaction = db.begin();
    assert_eq!(dropped.iter().count(), 0);
    db.drop_keyspace("dropped").unwrap();
    assert_eq!(refusals(&db, &dropped), [ErrorKind::NotFound; 12]);
    let reads = [
        dropped.get("key").map(drop),
        dropped.contains_key("key").map(drop),
        dropped.range("a"..).map(drop),
        transaction.get(&dropped, "key").map(drop),
    ];
    assert_eq!(reads.map(|done| done.unwrap_err().kind()), [ErrorKind::NotFound; 4]);
    kept.put("key", "value").unwrap();
    let reading = Db::open_read_only(dir.path()).unwrap();
    assert_eq!(refusals(&reading, &reading.keyspace("kept").unwrap()), [ErrorKind::ReadOnly; 12]);
    assert_eq!(kept.get("key").unwrap().unwrap(), *b"value");
}

#[test]
fn a_batch_over_keyspaces_is_one_and_snapshots_show_it_whole() {
    let db = Options::new().open_in_memory().unwrap();
    let (one, two) = (db.keyspace("one").unwrap(), db.keyspace("two").unwrap());
    let mut batch = db.batch();
    batch.put(&one, "a", "1").put(&two, "a", "2").put(&db, "a", "3");
    batch.commit().unwrap();
    let before = db.snapshot();
    let mut batch = db.batch();
    batch.delete(&one, "a").put(&two, "a", "22").delete(&db, "b");
    batch.commit().unwrap();
    let changes: Vec<_> = db.tail(1.into()).unwrap().flat_map(|batch| batch.unwrap().changes().to_vec()).collect();
    assert!(changes.iter().any(|change| change.keyspace == "two"));
    two.clear().unwrap();
    two.put("b", "new").unwrap();
    let after = db.snapshot();
    one.put("c", "x").unwrap();
    db.drop_keyspace("one").unwrap();
    db.seal().unwrap();
    db.compact().unwrap();
    assert_eq!(before.get(&one, "a").unwrap().unwrap(), b"1");
    assert_eq!(before.get(&two, "a").unwrap().unwrap(), b"2");
    assert_eq!(before.get(&two, "b").unwrap(), None);
    assert_eq!(before.get(&db, "a").unwrap().unwrap(), b"3");
    assert_eq!(before.iter(&two).map(|pair| pair.unwrap().1.to_vec()).collect::<Vec<_>>(), [b"2"]);
    assert_eq!(before.iter(&one).count(), 1);
    assert_eq!(after.get(&two, "a").unwrap(), None);
    assert_eq!(after.get(&two, "b").unwrap().unwrap(), b"new");
    assert_eq!(after.get(&one, "a").unwrap(), None);
    assert_eq!(after.iter(&one).count(), 0);
}

#[test]
fn a_keyspace_keeps_its_options_and_takes_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let ordered = KeyspaceOptions::new().ordered(true);
    let db = Options::new().default_keyspace(ordered).open(dir.path()).unwrap();
    db.keyspace_with("one", ordered).unwrap();
    let refused = db.keyspace_with("one", KeyspaceOptions::new().default_ttl(Duration::from_secs(1))).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    let text = "\"one\" was made with other options: ordered is true, not false, default_ttl is None, not Some(1s)";
    assert!(refused.to_string().contains(text), "{refused}");
    let one = db.keyspace("one").unwrap();
    assert_eq!((one.name(), one.options()), ("one", ordered));
    assert_eq!((db.name(), db.options()), ("default", ordered.value_align(8)));
    let other = KeyspaceOptions::new().value_align(64).default_ttl(Duration::from_millis(1_500));
    assert_eq!(db.keyspace_with("other", other).unwrap().options(), other);
    for bad in [KeyspaceOptions::new().value_align(3), KeyspaceOptions::new().value_align(8192)] {
        assert_eq!(db.keyspace_with("bad", bad).unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert_eq!(db.keyspace("").unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(db.drop_keyspace("default").unwrap_err().kind(), ErrorKind::Invalid);
    db.close().unwrap();
    let refused = Options::new().default_keyspace(KeyspaceOptions::new()).open(dir.path());
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
    Db::open(dir.path()).unwrap().close().unwrap();
    Options::new().default_keyspace(ordered).open(dir.path()).unwrap().close().unwrap();
}

#[test]
fn options_out_of_range_are_refused_by_every_open_and_make_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (there, none) = (dir.path().join("there"), dir.path().join("none"));
    open(&there).close().unwrap();
    let new = KeyspaceOptions::new;
    for bad in [new().value_align(3), new().value_align(8192), new().default_ttl(Duration::ZERO)] {
        let options = || Options::new().default_keyspace(bad);
        let opened = [options().open(&there), options().open_read_only(&there), options().open(&none)];
        for (at, opened) in opened.into_iter().chain([options().open_in_memory()]).enumerate() {
            assert_eq!(opened.err().map(|error| error.kind()), Some(ErrorKind::Invalid), "{at}: {bad:?}");
        }
        assert!(!none.exists(), "{bad:?}");
    }
}

#[test]
fn an_open_for_reading_takes_no_other_options_than_the_store_has() {
    let dir = tempfile::tempdir().unwrap();
    let ordered = KeyspaceOptions::new().ordered(true);
    open(dir.path()).close().unwrap();
    let read = |options| Options::new().default_keyspace(options).open_read_only(dir.path());
    assert_eq!(read(ordered).unwrap_err().kind(), ErrorKind::Invalid, "nothing was written yet");
    Options::new().default_keyspace(ordered).open(dir.path()).unwrap().close().unwrap();
    read(ordered).unwrap();
    assert_eq!(read(KeyspaceOptions::new()).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_reader_beside_the_writer_sees_keyspaces_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let reader = Db::open_read_only(dir.path()).unwrap();
    assert_eq!(reader.keyspace("one").unwrap_err().kind(), ErrorKind::NotFound);
    let one = db.keyspace("one").unwrap();
    one.put("a", "1").unwrap();
    reader.refresh().unwrap();
    let seen = reader.keyspace("one").unwrap();
    assert_eq!(seen.get("a").unwrap().unwrap(), b"1");
    let before = reader.snapshot();
    one.clear().unwrap();
    one.put("b", "2").unwrap();
    db.keyspace("two").unwrap().put("c", "3").unwrap();
    db.compact().unwrap();
    reader.refresh().unwrap();
    assert_eq!((seen.get("a").unwrap(), seen.len()), (None, 1));
    assert_eq!(before.get(&seen, "a").unwrap().unwrap(), b"1");
    assert_eq!(reader.keyspaces(), ["default", "one", "two"]);
    db.drop_keyspace("one").unwrap();
    reader.refresh().unwrap();
    assert_eq!(seen.get("b").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn writers_of_many_keyspaces_at_once_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let threads: Vec<_> = (0..4_u32)
        .map(|thread| {
            let db = db.clone();
            std::thread::spawn(move || {
                let mut model = BTreeMap::new();
                for round in 0..400_u32 {
                    let name = format!("{}-{}", thread, round % 5);
                    let keyspace = db.keyspace(&name).unwrap();
                    keyspace.put(round.to_le_bytes(), name.as_bytes()).unwrap();
                    model.entry(name.clone()).or_insert_with(Vec::new).push(round);
                    if round % 97 == 0 {
                        keyspace.clear().unwrap();
                        model.get_mut(&name).unwrap().clear();
                    }
                    if round == 200 {
                        db.drop_keyspace(&name).unwrap();
                        model.remove(&name);
                    }
                }
                model
            })
        })
        .collect();
    let models: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let check = |db: &Db| {
        for (name, keys) in models.iter().flatten() {
            let keyspace = db.keyspace(name).unwrap();
            assert_eq!(keyspace.len(), keys.len() as u64, "{name}");
            assert!(keys.iter().all(|key| keyspace.get(key.to_le_bytes()).unwrap().unwrap() == name.as_bytes()));
        }
    };
    check(&db);
    db.close().unwrap();
    check(&open(dir.path()));
}

#[test]
fn values_lie_where_their_keyspace_wants_them() {
    let db = Options::new().open_in_memory().unwrap();
    for align in [8, 64, 4096] {
        let options = KeyspaceOptions::new().value_align(align).ordered(align == 64);
        let keyspace = db.keyspace_with(&align.to_string(), options).unwrap();
        for key in 0..20_u8 {
            keyspace.put([key], vec![key; 100]).unwrap();
        }
        let (snapshot, transaction) = (db.snapshot(), db.begin());
        let lies = |value: &[u8], key: u8| {
            assert_eq!((value.as_ptr().addr() % align, value), (0, &vec![key; 100][..]));
        };
        for key in 0..20_u8 {
            lies(&keyspace.get([key]).unwrap().unwrap(), key);
            lies(&snapshot.get(&keyspace, [key]).unwrap().unwrap(), key);
            lies(&transaction.get(&keyspace, [key]).unwrap().unwrap(), key);
        }
        for (key, value) in keyspace.iter().chain(snapshot.iter(&keyspace)).map(Result::unwrap) {
            lies(&value, key[0]);
        }
    }
}

#[test]
fn so_do_empty_values_those_of_the_feed_and_those_that_an_update_returns() {
    for mode in [ReadMode::Mmap, ReadMode::Positioned] {
        let db = Options::new().read_mode(mode).open_in_memory().unwrap();
        let pages = db.keyspace_with("pages", KeyspaceOptions::new().value_align(4096)).unwrap();
        let lies = |value: &Value| assert_eq!(value.as_ptr().addr() % 4096, 0, "{} bytes, {mode:?}", value.len());
        for len in [0, 1, 100, 5_000] {
            lies(&pages.update("a", |_| Some(vec![7; len])).unwrap().unwrap());
            lies(&pages.get("a").unwrap().unwrap());
            lies(&db.snapshot().get(&pages, "a").unwrap().unwrap());
            pages.iter().for_each(|pair| lies(&pair.unwrap().1));
        }
        let lens = db.tail(1.into()).unwrap().map(|batch| {
            let value = batch.unwrap().changes()[0].value.clone().unwrap();
            lies(&value);
            value.len()
        });
        assert_eq!(lens.collect::<Vec<_>>(), [0, 1, 100, 5_000]);
    }
}
