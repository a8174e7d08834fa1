//! Transactions count as one step, one after the other; so do changes that rest on what a key was.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex};

use zipcask::sim::{Random, SimDisk};
use zipcask::{
    Db, Durability, Error, ErrorKind, Keyspace, KeyspaceOptions, Options, PutOptions, Range, Result, Transaction, Value,
};

fn db() -> Db {
    Options::new().durability(Durability::Os).segment_size(1 << 20).background(false).open_in_memory().unwrap()
}

fn is_conflict<T>(outcome: Result<T>) -> bool {
    matches!(outcome, Err(error) if error.kind() == ErrorKind::Conflict)
}

#[test]
fn a_transaction_sees_its_moment_and_its_own_writes_and_nobody_sees_them_before_it_is_committed() {
    let db = db();
    db.put("a", "1").unwrap();
    let mut transaction = db.begin();
    db.put("b", "later").unwrap();
    transaction.put(&db, "c", "mine").unwrap();
    assert!(transaction.delete(&db, "a").unwrap());
    assert!(!transaction.delete(&db, "a").unwrap(), "it is deleted already");
    assert_eq!(transaction.get(&db, "a").unwrap(), None);
    assert_eq!(transaction.get(&db, "b").unwrap(), None);
    assert_eq!(transaction.get(&db, "c").unwrap().as_deref(), Some(&b"mine"[..]));
    let all: Vec<_> = transaction.iter(&db).map(|pair| pair.unwrap().0.to_vec()).collect();
    assert_eq!(all, [b"c"]);
    assert!(db.contains_key("a").unwrap() && !db.contains_key("c").unwrap());
    drop(transaction);
    assert!(db.contains_key("a").unwrap() && !db.contains_key("c").unwrap(), "rolled back");
}

#[test]
fn what_was_read_and_changed_meanwhile_is_a_conflict_and_what_was_only_written_is_not() {
    let db = db();
    db.put("read", "1").unwrap();
    let writing = |read: &dyn Fn(&Transaction)| {
        let mut transaction = db.begin();
        read(&transaction);
        transaction.put(&db, "written", "mine").unwrap();
        transaction
    };
    let get = |key: &'static str| {
        let db = &db;
        move |transaction: &Transaction| drop(transaction.get(db, key).unwrap())
    };
    let blind = writing(&|_| ());
    let (changed, absent, same) = (writing(&get("read")), writing(&get("absent")), writing(&get("same")));
    let all = writing(&|transaction| drop(transaction.iter(&db)));
    db.put("read", "1").unwrap();
    db.put("absent", "no more").unwrap();
    db.put("written", "theirs").unwrap();
    let before = db.last_seqno();
    for transaction in [changed, absent, all] {
        assert!(is_conflict(transaction.commit()));
    }
    assert_eq!(db.last_seqno(), before, "nothing of them was written");
    assert_eq!(db.get("written").unwrap().unwrap(), b"theirs");
    assert_eq!(same.commit().unwrap(), db.last_seqno());
    blind.commit().unwrap();
    let all = writing(&|transaction| drop(transaction.iter(&db)));
    all.commit().unwrap();
    let reader = db.begin();
    reader.get(&db, "read").unwrap();
    db.put("read", "2").unwrap();
    assert!(reader.commit().unwrap() < db.last_seqno(), "who only reads is never refused");
}

#[test]
fn write_skew_does_not_happen() {
    let db = db();
    db.put("one on duty", "yes").unwrap();
    db.put("two on duty", "yes").unwrap();
    let leave = |who: &str, other: &str| {
        let mut transaction = db.begin();
        if transaction.contains_key(&db, other).unwrap() {
            transaction.delete(&db, who).unwrap();
        }
        transaction
    };
    let (one, two) = (leave("one on duty", "two on duty"), leave("two on duty", "one on duty"));
    one.commit().unwrap();
    assert!(is_conflict(two.commit()));
    assert_eq!(db.len(), 1);
}

#[test]
fn the_closure_runs_until_there_is_no_conflict_and_its_errors_and_panics_roll_back() {
    let db = db();
    db.put("count", [0]).unwrap();
    let mut runs = 0;
    let answer = db.transaction(|transaction| {
        runs += 1;
        let count = transaction.get(&db, "count")?.map_or(0, |value| value[0]);
        if runs == 1 {
            db.put("count", [10])?;
        }
        transaction.put(&db, "count", [count + 1])?;
        Ok(count)
    });
    assert_eq!((answer.unwrap(), runs), (10, 2));
    let refused: Result<()> = db.transaction(|transaction| {
        transaction.put(&db, "count", [0])?;
        Err(transaction.put(&db, vec![0; 70_000], "").unwrap_err())
    });
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::TooLarge);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        db.transaction::<()>(|transaction| {
            transaction.put(&db, "count", [0])?;
            panic!("on purpose")
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(db.get("count").unwrap().unwrap(), [11]);
    assert_eq!(db.stats().snapshots, 0);
}

#[test]
fn large_values_are_committed_and_rolled_back_like_others() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().durability(Durability::Os).background(false).open(dir.path()).unwrap();
    let value = vec![7; 3 << 20];
    let mut transaction = db.begin();
    transaction.put(&db, "large", &value).unwrap();
    assert_eq!(transaction.get(&db, "large").unwrap().unwrap(), value);
    transaction.commit().unwrap();
    let mut refused = db.begin();
    refused.get(&db, "large").unwrap();
    refused.put(&db, "large", vec![8; 3 << 20]).unwrap();
    db.put("large", &value[1..]).unwrap();
    assert!(is_conflict(refused.commit()));
    assert_eq!(db.get("large").unwrap().unwrap(), &value[1..]);
    let files = std::fs::read_dir(dir.path().join("large")).unwrap().count();
    assert_eq!(files, 2, "that of the refused one is gone");
}

#[test]
fn a_store_that_takes_no_writes_says_so_at_the_first_step() {
    let dir = tempfile::tempdir().unwrap();
    Db::open(dir.path()).unwrap().close().unwrap();
    let db = Db::open_read_only(dir.path()).unwrap();
    let mut transaction = db.begin();
    assert_eq!(transaction.put(&db, "a", "1").unwrap_err().kind(), ErrorKind::ReadOnly);
    assert_eq!(transaction.commit().unwrap_err().kind(), ErrorKind::ReadOnly);
    assert_eq!(db.increment("a", 1).unwrap_err().kind(), ErrorKind::ReadOnly);
    let other = self::db();
    let (begun, keyspace) = (other.begin(), other.clone());
    assert_eq!(other.begin().get(&db, "a").unwrap_err().kind(), ErrorKind::Invalid);
    other.close().unwrap();
    assert_eq!(begun.get(&keyspace, "a").unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(begun.commit().unwrap_err().kind(), ErrorKind::Closed, "though there is nothing to write");
}

#[test]
fn compare_and_swap_changes_what_is_as_expected_and_nothing_else() {
    let db = db();
    assert!(!db.compare_and_swap("a", Some(b"1"), Some(b"2")).unwrap(), "it is not there");
    assert!(db.compare_and_swap("a", None, Some(b"1")).unwrap());
    assert!(!db.compare_and_swap("a", None, Some(b"2")).unwrap(), "it is there");
    assert!(!db.compare_and_swap("a", Some(b"2"), None).unwrap());
    assert!(db.compare_and_swap("a", Some(b"1"), Some(b"2")).unwrap());
    let before = db.last_seqno();
    assert!(db.compare_and_swap("a", Some(b"2"), Some(b"2")).unwrap());
    assert!(db.compare_and_swap("b", None, None).unwrap());
    assert_eq!(db.last_seqno(), before, "nothing was to be written");
    assert!(db.compare_and_swap("a", Some(b"2"), None).unwrap());
    assert!(db.is_empty());
}

#[test]
fn update_writes_what_the_closure_says_and_a_panic_changes_nothing() {
    let db = db();
    let grown = db.update("a", |old| Some([old.unwrap_or_default(), b"x"].concat()));
    assert_eq!(grown.unwrap().unwrap(), b"x");
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| db.update("a", |_| panic!("on purpose"))));
    assert!(panicked.is_err());
    let mut asked = Vec::new();
    let new = db.update("a", |old| {
        asked.push(old.unwrap().to_vec());
        if asked.len() == 1 {
            db.put("a", "theirs").unwrap();
        }
        Some([old.unwrap(), b"y"].concat())
    });
    assert_eq!(new.unwrap().unwrap(), b"theirsy");
    assert_eq!(asked, [b"x".to_vec(), b"theirs".to_vec()]);
    assert_eq!(db.update("a", |_| None).unwrap(), None);
    let before = db.last_seqno();
    assert_eq!(db.update("a", |_| None).unwrap(), None);
    assert_eq!(db.last_seqno(), before, "nothing was to be written");
    assert!(db.is_empty());
}

#[test]
fn increment_adds_and_refuses_what_is_no_number_or_does_not_fit() {
    let db = db();
    assert_eq!(db.increment("a", 5).unwrap(), 5);
    assert_eq!(db.increment("a", -7).unwrap(), -2);
    assert_eq!(db.get("a").unwrap().unwrap(), (-2_i64).to_le_bytes());
    db.put("text", "1").unwrap();
    db.put("max", i64::MAX.to_le_bytes()).unwrap();
    for (key, value) in [("text", b"1".to_vec()), ("max", i64::MAX.to_le_bytes().to_vec())] {
        assert_eq!(db.increment(key, 1).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(db.get(key).unwrap().unwrap(), value);
    }
}

#[test]
fn no_increment_and_no_update_is_lost_among_threads() {
    let db = db();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    db.increment("count", 1).unwrap();
                    db.update("list", |old| Some([old.unwrap_or_default(), b"."].concat())).unwrap();
                    db.transaction(|transaction| {
                        let sum = transaction
                            .get(&db, "sum")?
                            .map_or(0, |value| u64::from_le_bytes((*value).try_into().unwrap()));
                        transaction.put(&db, "sum", (sum + 1).to_le_bytes())
                    })
                    .unwrap();
                }
            });
        }
    });
    assert_eq!(db.increment("count", 0).unwrap(), 2_000);
    assert_eq!(db.get("list").unwrap().unwrap().len(), 2_000);
    assert_eq!(db.get("sum").unwrap().unwrap(), 2_000_u64.to_le_bytes());
}

#[test]
fn a_transaction_is_as_durable_as_the_most_demanding_of_its_writes() {
    let db = db();
    let commit = |asked: &[Option<Durability>]| {
        let mut transaction = db.begin();
        for (key, asked) in (0_u8..).zip(asked) {
            let options = asked.map_or(PutOptions::new(), |asked| PutOptions::new().durability(asked));
            transaction.put_with(&db, [key], "", options).unwrap();
        }
        transaction.commit().unwrap()
    };
    let handed = commit(&[None, Some(Durability::Os)]);
    assert!(db.durable_seqno() < handed);
    let synced = commit(&[None, Some(Durability::Sync), Some(Durability::Os)]);
    assert_eq!(db.durable_seqno(), synced);
}

/// What a transaction did that was committed as the last write of `seqno`, or saw no later one.
struct Step {
    seqno: u64,
    writes: bool,
    read: Vec<(u8, Option<u64>)>,
    passed: Option<BTreeMap<u8, u64>>,
    wrote: Vec<(u8, Option<u64>)>,
}

/// Each value is written once, so that what was read says by whom it was written.
fn number(value: &[u8]) -> u64 {
    u64::from_le_bytes(value.try_into().unwrap())
}

fn random_step(db: &Db, random: &mut Random, next: &mut u64) -> Result<Step> {
    let mut step = Step { seqno: 0, writes: false, read: Vec::new(), passed: None, wrote: Vec::new() };
    let mut transaction = db.begin();
    for _ in 0..random.below(5) {
        let key = random.below(8) as u8;
        if step.wrote.iter().any(|(wrote, _)| *wrote == key) {
            continue;
        }
        match random.below(10) {
            0..5 => {
                let value = transaction.get(db, [key])?;
                step.read.push((key, value.map(|value| number(&value))));
            }
            5..9 => {
                *next += 1;
                transaction.put(db, [key], next.to_le_bytes())?;
                step.wrote.push((key, Some(*next)));
            }
            _ => {
                if transaction.delete(db, [key])? {
                    step.wrote.push((key, None));
                } else {
                    step.read.push((key, None));
                }
            }
        }
    }
    if random.below(20) == 0 && step.wrote.is_empty() {
        let pairs = transaction.iter(db).map(|pair| pair.map(|(key, value)| (key[0], number(&value))));
        step.passed = Some(pairs.collect::<Result<_>>()?);
        *next += 1;
        transaction.put(db, [200], next.to_le_bytes())?;
        step.wrote.push((200, Some(*next)));
    }
    step.writes = !step.wrote.is_empty();
    step.seqno = transaction.commit()?.into();
    Ok(step)
}

#[test]
fn histories_of_concurrent_transactions_are_serial_in_the_order_of_their_seqnos() {
    for seed in 1..=3 {
        println!("seed {seed}");
        let (db, steps, conflicts) = (db(), Mutex::new(Vec::new()), Mutex::new(0_u64));
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let (db, steps, conflicts) = (&db, &steps, &conflicts);
                scope.spawn(move || {
                    let (mut random, mut next) = (Random::new(seed * 10 + thread), thread << 32);
                    for _ in 0..2_000 {
                        match random_step(db, &mut random, &mut next) {
                            Ok(step) => steps.lock().unwrap().push(step),
                            Err(error) if error.kind() == ErrorKind::Conflict => *conflicts.lock().unwrap() += 1,
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
            }
        });
        let mut steps = steps.into_inner().unwrap();
        // Who only read saw everything up to its seqno.
        steps.sort_by_key(|step| (step.seqno, !step.writes));
        println!("{} committed, {} conflicts", steps.len(), conflicts.into_inner().unwrap());
        let mut model = BTreeMap::new();
        for step in &steps {
            for (key, value) in &step.read {
                assert_eq!(model.get(key), value.as_ref(), "key {key} read by the one that ends with {}", step.seqno);
            }
            if let Some(passed) = &step.passed {
                assert_eq!(*passed, model);
            }
            for (key, value) in &step.wrote {
                match value {
                    Some(value) => drop(model.insert(*key, *value)),
                    None => drop(model.remove(key)),
                }
            }
        }
        let left: BTreeMap<_, _> = db
            .iter()
            .map(|pair| pair.map(|(key, value)| (key[0], number(&value))))
            .collect::<Result<_, Error>>()
            .unwrap();
        assert_eq!(left, model);
    }
}

/// What an answer rests on that had nothing to write: an earlier write that waited for nothing, as any power cut from now on leaves it.
fn after_any_power_cut(earlier: impl Fn(&Db), answer: impl Fn(&Db), check: impl Fn(Option<&[u8]>) -> bool) {
    let disk = SimDisk::new(1);
    disk.record();
    let db = zipcask::sim::open(Options::new(), 8192, Arc::new(disk.clone())).unwrap();
    db.put("key", "old").unwrap();
    earlier(&db);
    answer(&db);
    for image in crate::hook::cut(&disk, 64) {
        let db = zipcask::sim::open(Options::new(), 8192, Arc::new(image)).unwrap();
        assert!(check(db.get("key").unwrap().as_deref()), "what the answer rested on is lost");
    }
}

#[test]
fn an_answer_that_has_nothing_to_write_is_as_durable_as_one_that_has() {
    let replaced = |db: &Db| {
        db.put_with("key", "new", PutOptions::new().durability(Durability::Os)).unwrap();
    };
    let deleted = |db: &Db| assert!(db.delete_with("key", Durability::Os).unwrap());
    let same = |db: &Db| assert!(db.compare_and_swap("key", Some(b"new"), Some(b"new")).unwrap());
    after_any_power_cut(replaced, same, |value| value == Some(b"new"));
    let refused = |db: &Db| assert!(!db.compare_and_swap("key", Some(b"old"), None).unwrap());
    let updated = |db: &Db| assert_eq!(db.update("key", |_| None).unwrap(), None);
    let transaction = |db: &Db| {
        let mut transaction = db.begin();
        assert!(!transaction.delete(db, "key").unwrap());
        transaction.commit().unwrap();
    };
    after_any_power_cut(deleted, refused, |value| value.is_none());
    after_any_power_cut(deleted, updated, |value| value.is_none());
    after_any_power_cut(deleted, transaction, |value| value.is_none());
}

#[test]
fn ranges_of_a_transaction_have_its_own_writes_from_both_ends_and_are_part_of_what_it_read() {
    let db = Options::new().open_in_memory().unwrap();
    let ordered = db.keyspace_with("ordered", ordered()).unwrap();
    for key in ["b", "d", "f", "h"] {
        ordered.put(key, "old").unwrap();
    }
    let mut transaction = db.begin();
    for key in ["a", "d", "e", "z"] {
        transaction.put(&ordered, key, "own").unwrap();
    }
    transaction.delete(&ordered, "f").unwrap();
    let keys = |pairs: Vec<zipcask::Result<(zipcask::Value, zipcask::Value)>>| {
        pairs
            .into_iter()
            .map(|pair| pair.map(|(key, value)| format!("{}{}", key[0] as char, value[0] as char)).unwrap())
            .collect::<Vec<_>>()
    };
    let forth = ["ao", "bo", "do", "eo", "ho", "zo"];
    let back: Vec<_> = forth.iter().rev().copied().collect();
    assert_eq!(keys(transaction.iter(&ordered).collect()), forth);
    assert_eq!(keys(transaction.range::<&str>(&ordered, ..).unwrap().collect()), forth);
    assert_eq!(keys(transaction.range::<&str>(&ordered, ..).unwrap().rev().collect()), back);
    assert_eq!(keys(transaction.range(&ordered, "b"..="e").unwrap().collect()), forth[1..4]);
    assert_eq!(keys(transaction.prefix(&ordered, "z").unwrap().collect()), ["zo"]);
    // By turns, whichever end begins.
    for start in [0, 1] {
        let mut range = transaction.range::<&str>(&ordered, ..).unwrap();
        let (mut low, mut high, mut turn) = (Vec::new(), Vec::new(), start);
        while let Some(pair) = if turn % 2 == 0 { range.next() } else { range.next_back() } {
            if turn % 2 == 0 {
                low.push(pair)
            } else {
                high.push(pair)
            }
            turn += 1;
        }
        high.reverse();
        assert_eq!(keys(low.into_iter().chain(high).collect()), forth);
    }
    assert_eq!(transaction.range::<&str>(&db, ..).unwrap_err().kind(), ErrorKind::Invalid);
    ordered.put("c", "phantom").unwrap();
    assert_eq!(transaction.commit().unwrap_err().kind(), ErrorKind::Conflict);
}

/// A transaction that has scanned `c..f` and the prefix "x" of an ordered keyspace, and writes elsewhere.
fn scanned(db: &Db, ordered: &Keyspace) -> Transaction {
    let mut transaction = db.begin();
    assert_eq!(transaction.range(ordered, "c".."f").unwrap().count(), 2);
    // Not read to its end.
    assert!(transaction.prefix(ordered, "x").unwrap().next().is_some());
    transaction.put(db, "elsewhere", "is written").unwrap();
    transaction
}

#[test]
fn a_scanned_range_is_in_conflict_with_what_is_written_within_it_and_with_nothing_else() {
    type Write = fn(&Db, &Keyspace) -> Result<()>;
    let within: [(&str, Write); 9] = [
        ("a key that was not there", |_, ordered| ordered.put("d", "phantom").map(drop)),
        ("the first", |_, ordered| ordered.put("c", "new").map(drop)),
        ("one that is deleted", |_, ordered| ordered.delete("e").map(drop)),
        ("one that was not read", |_, ordered| ordered.put("xz", "new").map(drop)),
        ("one that came and went", |_, ordered| {
            ordered.put("dd", "phantom")?;
            ordered.delete("dd").map(drop)
        }),
        ("one of a batch", |db, ordered| {
            let mut batch = db.batch();
            batch.put(ordered, "a", "new").put(ordered, "cc", "phantom");
            batch.commit().map(drop)
        }),
        ("a clearing", |_, ordered| ordered.clear()),
        ("a clearing, and what comes behind it", |_, ordered| {
            ordered.clear()?;
            ordered.put("a", "new").map(drop)
        }),
        ("a drop", |db, _| db.drop_keyspace("ordered").map(drop)),
    ];
    let beside: [(&str, Write); 5] = [
        ("nothing", |_, _| Ok(())),
        ("a key before", |_, ordered| ordered.put("b", "new").map(drop)),
        ("the end, which is excluded", |_, ordered| ordered.put("f", "new").map(drop)),
        ("behind the prefix", |_, ordered| ordered.put("y", "new").map(drop)),
        ("another keyspace", |db, _| db.put("d", "new").map(drop)),
    ];
    for (what, write, conflict) in within
        .map(|(what, write)| (what, write, true))
        .into_iter()
        .chain(beside.map(|(what, write)| (what, write, false)))
    {
        let db = db();
        let ordered = db.keyspace_with("ordered", ordered()).unwrap();
        for key in ["b", "c", "e", "f", "xa", "xz", "y"] {
            ordered.put(key, "old").unwrap();
        }
        let transaction = scanned(&db, &ordered);
        write(&db, &ordered).unwrap();
        assert_eq!(is_conflict(transaction.commit()), conflict, "{what}");
        assert_eq!(db.contains_key("elsewhere").unwrap(), !conflict, "{what}");
    }
}

#[test]
fn many_scanned_ranges_are_looked_at_as_one_that_has_all() {
    let db = db();
    let ordered = db.keyspace_with("ordered", ordered()).unwrap();
    for (ranges, conflict) in [(10_u8, false), (100, true)] {
        let mut transaction = db.begin();
        for first in 0..ranges {
            assert_eq!(transaction.prefix(&ordered, [first]).unwrap().count(), 0);
        }
        transaction.put(&db, "elsewhere", "is written").unwrap();
        ordered.put([200], "beside").unwrap();
        assert_eq!(is_conflict(transaction.commit()), conflict, "{ranges} ranges");
        ordered.delete([200]).unwrap();
    }
}

fn ordered() -> KeyspaceOptions {
    KeyspaceOptions::new().ordered(true)
}

fn text(value: Option<Value>) -> Option<String> {
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

#[test]
fn a_transaction_knows_a_keyspace_from_another_of_its_name() {
    let db = db();
    let old = db.keyspace_with("space", ordered()).unwrap();
    old.put("key", "old").unwrap();
    let (mut read, mut written, mut passed) = (db.begin(), db.begin(), db.begin());
    assert_eq!(text(read.get(&old, "key").unwrap()).as_deref(), Some("old"));
    read.put(&db, "read", "1").unwrap();
    written.put(&old, "written", "1").unwrap();
    written.put(&db, "written", "1").unwrap();
    assert_eq!(passed.iter(&old).count(), 1);
    passed.put(&db, "passed", "1").unwrap();
    let before = db.snapshot();
    assert!(db.drop_keyspace("space").unwrap());
    let new = db.keyspace_with("space", ordered()).unwrap();
    new.put("key", "old").unwrap();
    assert_eq!(read.get(&old, "key").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(read.get(&new, "key").unwrap(), None, "it was not there");
    assert_eq!(read.commit().unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(written.commit().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(passed.commit().unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(db.iter().count(), 0);
    assert_eq!(text(before.get(&old, "key").unwrap()).as_deref(), Some("old"));
    assert_eq!((before.iter(&new).count(), before.range(&old, "a"..).unwrap().count()), (0, 1));
    let answer: Result<()> = db.transaction(|transaction| {
        transaction.put(&db, "lost", "1")?;
        transaction.put(&old, "lost", "1")
    });
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::NotFound);
    let mut batch = db.batch();
    batch.put(&db, "batch", "1").put(&new, "batch", "1");
    db.drop_keyspace("space").unwrap();
    db.keyspace("space").unwrap();
    assert_eq!(batch.commit().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(db.iter().count(), 0);
}

#[test]
fn a_transaction_makes_and_uses_a_keyspace_that_is_younger_than_it_is() {
    let db = db();
    let mut times = 0;
    db.transaction(|transaction| {
        times += 1;
        assert!(times < 5);
        let space = db.keyspace_with("young", ordered())?;
        if times == 1 {
            space.put("other", "0")?;
        }
        assert_eq!(transaction.get(&space, "a")?, None);
        transaction.put(&space, "a", "1")?;
        transaction.put(&space, "b", "1")?;
        transaction.delete(&space, "b")?;
        let expected = if times == 1 { 1 } else { 2 };
        assert_eq!(transaction.range(&space, "a"..)?.count(), expected);
        Ok(())
    })
    .unwrap();
    assert_eq!((times, db.keyspace("young").unwrap().len()), (2, 2));
    let mut transaction = db.begin();
    let space = db.keyspace("young").unwrap();
    space.clear().unwrap();
    assert_eq!(transaction.iter(&space).count(), 2, "of its moment");
    assert_eq!(text(transaction.get(&space, "a").unwrap()).as_deref(), Some("1"));
    transaction.put(&db, "x", "1").unwrap();
    assert_eq!(transaction.commit().unwrap_err().kind(), ErrorKind::Conflict);
}

#[test]
fn ranges_of_a_transaction_have_odd_bounds_and_its_own_deletes_at_both_ends() {
    let db = Options::new().background(false).default_keyspace(ordered()).open_in_memory().unwrap();
    for key in ["a", "b", "c", "d", "e"] {
        db.put(key, "old").unwrap();
    }
    let mut transaction = db.begin();
    for key in ["a", "c", "e"] {
        assert!(transaction.delete(&db, key).unwrap());
    }
    transaction.put(&db, "", "new").unwrap();
    transaction.put(&db, "d", "new").unwrap();
    transaction.put(&db, "f", "new").unwrap();
    assert!(transaction.delete(&db, "f").unwrap());
    let keys = |range: Range| range.map(|pair| String::from_utf8(pair.unwrap().0.to_vec()).unwrap());
    assert_eq!(keys(transaction.range::<&str>(&db, ..).unwrap()).collect::<Vec<_>>(), ["", "b", "d"]);
    assert_eq!(keys(transaction.range::<&str>(&db, ..).unwrap()).rev().collect::<Vec<_>>(), ["d", "b", ""]);
    for (from, to) in [("e", "a"), ("b", "b"), ("f", "")] {
        assert_eq!(transaction.range(&db, from..to).unwrap().count(), 0, "{from:?}..{to:?}");
        assert_eq!(transaction.range::<&str>(&db, (Bound::Excluded(from), Bound::Excluded(to))).unwrap().count(), 0);
        assert_eq!(
            transaction.range::<&str>(&db, (Bound::Excluded(from), Bound::Included(to))).unwrap().rev().count(),
            0
        );
    }
    assert_eq!(transaction.range(&db, "b"..="b").unwrap().count(), 1);
    let mut both = transaction.range(&db, "a"..="e").unwrap();
    let next = |pair: Option<Result<(Value, Value)>>| pair.map(|pair| pair.unwrap().0.to_vec());
    assert_eq!(next(both.next_back()), Some(b"d".to_vec()));
    transaction.put(&db, "c", "later").unwrap();
    assert_eq!((next(both.next()), next(both.next()), next(both.next_back())), (Some(b"b".to_vec()), None, None));
    assert_eq!(transaction.iter(&db).count(), 4);
    assert_eq!(transaction.prefix(&db, "").unwrap().count(), 4);
    transaction.commit().unwrap();
    assert_eq!(keys(db.range::<&str>(..).unwrap()).collect::<Vec<_>>(), ["", "b", "c", "d"]);
}
