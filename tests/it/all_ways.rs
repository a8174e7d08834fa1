//! Keys that expire, alignment and times to live, in all the ways to look at a store.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use crate::expiry::{DAY_MS, disk, ttl};
use zipcask::sim::{self, Random};
use zipcask::{
    Compression, Db, Durability, Keyspace, KeyspaceOptions, Options, PutOptions, ReadMode, Snapshot, Transaction, Value,
};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn quiet() -> Options {
    Options::new().durability(Durability::Os).background(false)
}

#[test]
fn a_followers_snapshot_still_has_what_expired_and_left_the_files() {
    let mut all = Vec::new();
    for ordered in [false, true] {
        for later in [false, true] {
            let disk = disk();
            let open = || quiet().default_keyspace(KeyspaceOptions::new().ordered(ordered));
            let writer = sim::open(open(), 64 << 10, Arc::new(disk.clone())).unwrap();
            for key in 0..400_u32 {
                let options = if key % 4 == 0 { PutOptions::new() } else { ttl(1_000) };
                writer.put_with(key.to_be_bytes(), [key as u8; 60], options).unwrap();
            }
            writer.sync().unwrap();
            let db = sim::open_read_only(quiet(), Arc::new(disk.clone())).unwrap();
            let before = db.snapshot();
            assert_eq!(before.iter(&db).count(), 400);
            disk.advance_ms(3 * DAY_MS);
            if later {
                writer.put("later", "1").unwrap();
            }
            for _ in 0..2 {
                writer.seal().unwrap();
                writer.compact().unwrap();
            }
            assert_eq!(writer.stats().live_keys, 100 + u64::from(later));
            db.refresh().unwrap();
            let what = format!("ordered {ordered}, something was written later {later}");
            assert_eq!(db.iter().count(), 100 + usize::from(later), "{what}");
            let shown = before.iter(&db).filter(Result::is_ok).count();
            let got = (0..400_u32).filter(|key| before.get(&db, key.to_be_bytes()).unwrap().is_some()).count();
            if (shown, got) != (400, 400) {
                all.push(format!("{what}: iter shows {shown} and get {got} of 400"));
            }
        }
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

const LENS: [usize; 7] = [0, 1, 8, 9, 300, 20_000, 70_000];

/// Everything that a keyspace shows, by each way that there is.
fn check(db: &Db, space: &Keyspace, model: &Model, align: usize, ordered: bool, what: &str) {
    // There are none of a follower.
    let (snapshot, transaction) = (db.snapshot(), (!what.ends_with("followed")).then(|| db.begin()));
    for round in 0..2 {
        let what = format!("{what}, round {round}");
        passes(space, &snapshot, transaction.as_ref(), model, align, ordered, &what);
        gets(space, &snapshot, transaction.as_ref(), model, align, &what);
    }
}

fn passes(
    space: &Keyspace,
    snapshot: &Snapshot,
    transaction: Option<&Transaction>,
    model: &Model,
    align: usize,
    ordered: bool,
    what: &str,
) {
    let owned = |pairs: &mut dyn Iterator<Item = zipcask::Result<(Value, Value)>>, way: &str| {
        let mut shown = Model::new();
        for pair in pairs {
            let (key, value) = pair.unwrap_or_else(|error| panic!("{what}, {way}: {error:?}"));
            assert!(
                value.as_ptr().addr().is_multiple_of(align),
                "{what}, {way}: a value of {} at {:p}",
                value.len(),
                value.as_ptr()
            );
            assert!(shown.insert(key.to_vec(), value.to_vec()).is_none(), "{what}, {way}: {key:?} twice");
        }
        assert!(shown == *model, "{what}, {way}: {} of {}, or others", shown.len(), model.len());
    };
    let mut seen = Model::new();
    space
        .reader()
        .for_each(|key, value| {
            assert!(seen.insert(key.to_vec(), value.to_vec()).is_none());
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(seen == *model, "{what}: for_each");
    owned(&mut space.iter(), "iter");
    owned(&mut snapshot.iter(space), "snapshot");
    if let Some(transaction) = transaction {
        owned(&mut transaction.iter(space), "transaction");
    }
    if ordered {
        owned(&mut space.range("".."z").unwrap(), "range");
        owned(&mut space.range("".."z").unwrap().rev(), "range back");
        owned(&mut snapshot.prefix(space, "k").unwrap(), "prefix of a snapshot");
        if let Some(transaction) = transaction {
            owned(&mut transaction.range(space, "".."z").unwrap(), "range of a transaction");
        }
        let mut seen = Model::new();
        space
            .range("".."z")
            .unwrap()
            .visit(|key, value| {
                seen.insert(key.to_vec(), value.to_vec());
                ControlFlow::Continue(())
            })
            .unwrap();
        assert!(seen == *model, "{what}: visit");
    }
}

fn gets(
    space: &Keyspace,
    snapshot: &Snapshot,
    transaction: Option<&Transaction>,
    model: &Model,
    align: usize,
    what: &str,
) {
    let reader = space.reader();
    let keys: Vec<_> = (0..80).map(|i| format!("k{i:02}").into_bytes()).collect();
    reader.get_many(&keys, |i, found| {
        assert_eq!(found.unwrap().map(<[u8]>::to_vec), model.get(&keys[i]).cloned(), "{what}: get_many");
    });
    for key in &keys {
        let has = model.get(key).map(Vec::as_slice);
        let of_transaction = transaction.map(|transaction| transaction.get(space, key));
        for got in [space.get(key), snapshot.get(space, key)].into_iter().chain(of_transaction) {
            let got = got.unwrap();
            assert_eq!(got.as_deref(), has, "{what}: get");
            assert!(got.is_none_or(|got| got.as_ptr().addr().is_multiple_of(align)), "{what}: get");
        }
        assert_eq!(reader.get(key).unwrap(), has, "{what}: reader");
        assert_eq!(space.contains_key(key).unwrap(), has.is_some(), "{what}: contains");
        assert_eq!(snapshot.contains_key(space, key).unwrap(), has.is_some(), "{what}: contains");
        assert_eq!(space.get_with(key, <[u8]>::to_vec).unwrap().as_deref(), has, "{what}: get_with");
        let part = space.get_range(key, 1..5).unwrap();
        assert_eq!(part.as_deref(), has.map(|has| &has[1.min(has.len())..5.min(has.len())]), "{what}: get_range");
        if has.is_none() {
            assert_eq!(space.expires_at(key).unwrap(), None);
        }
    }
}

/// One write of some kind, and what the keyspace has a second later.
fn write(db: &Db, space: &Keyspace, model: &mut Model, random: &mut Random, align: usize) {
    let key = format!("k{:02}", random.below(80)).into_bytes();
    let value = vec![random.below(256) as u8; LENS[random.below(LENS.len())]];
    match random.below(7) {
        0 => {
            space.put_with(&key, &value, PutOptions::new().ttl(Duration::ZERO)).unwrap();
            model.remove(&key);
        }
        1 => {
            space.put_with(&key, &value, ttl(1_000)).unwrap();
            model.remove(&key);
        }
        2 => {
            space.put_with(&key, &value, PutOptions::new().ttl(Duration::MAX)).unwrap();
            model.insert(key, value);
        }
        3 => {
            space.put_with(&key, &value, ttl(10).no_ttl()).unwrap();
            model.insert(key, value);
        }
        4 => {
            let new = space.update(&key, |_| Some(value.clone())).unwrap().unwrap();
            assert!(new == value && new.as_ptr().addr().is_multiple_of(align));
            // It keeps the time of what is there, which may be short: so give it another.
            space.put_with(&key, &value, ttl(1_000_000_000_000)).unwrap();
            model.insert(key, value);
        }
        5 => {
            space.delete(&key).unwrap();
            model.remove(&key);
        }
        _ => {
            let mut batch = db.batch();
            batch.put_with(space, &key, &value, PutOptions::new().no_ttl());
            batch.commit().unwrap();
            model.insert(key, value);
        }
    }
}

#[test]
fn whatever_the_alignment_the_mode_and_the_state_of_the_files_all_ways_show_the_same() {
    let mut looks = 0;
    for (seed, align) in [1, 8, 16, 64, 4096].into_iter().enumerate() {
        for mode in [ReadMode::Mmap, ReadMode::Positioned] {
            for compression in [Compression::None, Compression::Deflate] {
                for ordered in [false, true] {
                    let (disk, mut random) = (disk(), Random::new(seed as u64 + 7));
                    let options = || quiet().read_mode(mode).archive_compression(compression);
                    let open = || sim::open(options(), 64 << 10, Arc::new(disk.clone())).unwrap();
                    let of_space = KeyspaceOptions::new()
                        .ordered(ordered)
                        .value_align(align)
                        .default_ttl(Duration::from_secs(100));
                    let (mut db, mut model) = (open(), Model::new());
                    let mut space = db.keyspace_with("space", of_space).unwrap();
                    for stage in 0..5 {
                        for _ in 0..40 {
                            write(&db, &space, &mut model, &mut random, align);
                        }
                        disk.advance_ms(1_000);
                        let what =
                            format!("align {align}, {mode:?}, {compression:?}, ordered {ordered}, stage {stage}");
                        check(&db, &space, &model, align, ordered, &what);
                        match stage {
                            0 => db.seal().unwrap(),
                            1 => drop(db.archive().unwrap()),
                            2 => {
                                disk.advance_ms(2 * DAY_MS);
                                db.seal().unwrap();
                                db.compact().map(|_| ()).unwrap();
                            }
                            _ => {}
                        }
                        check(&db, &space, &model, align, ordered, &format!("{what}, after it"));
                        let follower = sim::open_read_only(options(), Arc::new(disk.clone())).unwrap();
                        let followed = follower.keyspace("space").unwrap();
                        check(&follower, &followed, &model, align, ordered, &format!("{what}, followed"));
                        drop(space);
                        db.close().unwrap();
                        db = open();
                        space = db.keyspace_with("space", of_space).unwrap();
                        check(&db, &space, &model, align, ordered, &format!("{what}, opened again"));
                        looks += 4;
                        drop(followed);
                        drop(follower);
                    }
                }
            }
        }
    }
    println!("{looks} states were looked at in all ways");
}

#[test]
fn what_lasts_in_a_keyspace_that_has_a_time_lasts_through_everything() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    // Whatever runs out does so at once.
    let of_space = KeyspaceOptions::new().default_ttl(Duration::from_millis(1));
    let open = |name: &str| quiet().segment_size(64 << 10).open(path(name)).unwrap();
    let db = open("store");
    let space = db.keyspace_with("space", of_space).unwrap();
    space.put_with("lasts", "1", PutOptions::new().no_ttl()).unwrap();
    space.put_with("for long", "1", PutOptions::new().ttl(Duration::MAX)).unwrap();
    space.put_with("not at all", "1", PutOptions::new().ttl(Duration::ZERO)).unwrap();
    for key in ["lasts", "for long"] {
        assert!(space.compare_and_swap(key, Some(b"1"), Some(b"2")).unwrap());
        space.update(key, |_| Some(b"3".to_vec())).unwrap();
    }
    let check = |db: &Db, value: &str, what: &str| {
        let space = db.keyspace_with("space", of_space).unwrap();
        assert_eq!(space.get("lasts").unwrap().unwrap(), value, "{what}");
        assert_eq!(space.get("for long").unwrap().unwrap(), value, "{what}");
        assert_eq!((space.expires_at("lasts").unwrap(), space.get("not at all").unwrap()), (None, None), "{what}");
        assert_eq!(space.iter().count(), 2, "{what}");
        db.verify().map(|report| assert!(report.is_clean(), "{what}")).unwrap();
    };
    check(&db, "3", "as it was written");
    db.backup(path("copy")).unwrap();
    db.compact().unwrap();
    check(&db, "3", "compacted");
    db.backup(path("copy")).unwrap();
    drop(space);
    db.close().unwrap();
    let db = open("store");
    check(&db, "3", "opened again");
    db.compact().unwrap();
    check(&db, "3", "compacted again");
    db.close().unwrap();
    check(&open("copy"), "3", "a copy");
    Db::restore(path("copy"), path("whole"), None).unwrap();
    check(&open("whole"), "3", "restored");
}

#[test]
fn what_was_not_there_yet_at_the_write_that_is_restored_has_the_time_that_it_had_then() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let of_space = KeyspaceOptions::new().default_ttl(Duration::from_secs(1_000_000));
    let db = quiet().open(path("store")).unwrap();
    let space = db.keyspace_with("space", of_space).unwrap();
    space.put_with("a", "1", PutOptions::new().no_ttl()).unwrap();
    let at = space.put("b", "1").unwrap();
    let then = (space.expires_at("a").unwrap(), space.expires_at("b").unwrap());
    space.put("a", "2").unwrap();
    space.put_with("b", "2", PutOptions::new().no_ttl()).unwrap();
    db.backup(path("copy")).unwrap();
    Db::restore(path("copy"), path("then"), Some(at)).unwrap();
    let db = quiet().open(path("then")).unwrap();
    let space = db.keyspace_with("space", of_space).unwrap();
    assert_eq!((space.expires_at("a").unwrap(), space.expires_at("b").unwrap()), then);
    for key in ["a", "b"] {
        assert_eq!(space.get(key).unwrap().unwrap(), b"1", "{key}");
    }
}

#[test]
fn a_keyspace_says_the_time_that_it_was_made_with_in_whole_milliseconds() {
    let db = Options::new().open_in_memory().unwrap();
    let asked = KeyspaceOptions::new().default_ttl(Duration::from_micros(1_900));
    let space = db.keyspace_with("space", asked).unwrap();
    assert_eq!(space.options(), KeyspaceOptions::new().default_ttl(Duration::from_millis(2)));
    db.keyspace_with("space", asked).unwrap();
}
