//! Random histories against a map: the store says what the map says, across reopens, in both read modes.

use std::collections::BTreeMap;

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::{collection, test_runner::Config};
use zipcask::{Db, Durability, Options, ReadMode};

#[derive(Clone, Debug)]
enum Op {
    Put(u8, usize, u8),
    Delete(u8),
    Batch(Vec<(u8, Option<(usize, u8)>)>),
    Sync,
    Seal,
    Compact,
    Archive,
    Reopen(bool),
    /// Compares everything.
    Check,
}

fn len() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..64_usize, 2 => 64..2000_usize, 1 => 60_000..140_000_usize]
}

fn op() -> impl Strategy<Value = Op> {
    let write = (any::<u8>(), proptest::option::of((0..500_usize, any::<u8>())));
    prop_oneof![
        10 => (any::<u8>(), len(), any::<u8>()).prop_map(|(key, len, fill)| Op::Put(key, len, fill)),
        4 => any::<u8>().prop_map(Op::Delete),
        2 => collection::vec(write, 0..20).prop_map(Op::Batch),
        1 => Just(Op::Sync),
        1 => Just(Op::Seal),
        1 => Just(Op::Compact),
        1 => Just(Op::Archive),
        1 => any::<bool>().prop_map(Op::Reopen),
        1 => Just(Op::Check),
    ]
}

/// Keys of several lengths, the empty one among them.
fn key(key: u8) -> Vec<u8> {
    vec![key; usize::from(key % 48)]
}

fn open(dir: &std::path::Path, mapped: bool) -> Db {
    let mode = if mapped { ReadMode::Mmap } else { ReadMode::Positioned };
    Options::new().durability(Durability::Os).segment_size(64 * 1024).read_mode(mode).open(dir).unwrap()
}

fn check(db: &Db, model: &BTreeMap<Vec<u8>, Vec<u8>>) {
    assert_eq!(db.len(), model.len() as u64);
    for i in 0..=255 {
        let (key, got) = (key(i), db.get(key(i)).unwrap());
        assert_eq!(got.as_deref(), model.get(&key).map(Vec::as_slice));
        assert_eq!(db.contains_key(&key).unwrap(), model.contains_key(&key));
    }
    let all: BTreeMap<_, _> = db.iter().map(|p| p.map(|(k, v)| (k.to_vec(), v.to_vec())).unwrap()).collect();
    assert!(all == *model);
}

fn run(ops: Vec<Op>) {
    let dir = tempfile::tempdir().unwrap();
    let mut db = open(dir.path(), true);
    let mut model = BTreeMap::new();
    for op in ops {
        match op {
            Op::Put(k, len, fill) => {
                db.put(key(k), vec![fill; len]).unwrap();
                model.insert(key(k), vec![fill; len]);
            }
            Op::Delete(k) => {
                assert_eq!(db.delete(key(k)).unwrap(), model.remove(&key(k)).is_some());
            }
            Op::Batch(writes) => {
                let mut batch = db.batch();
                for (k, write) in writes {
                    match write {
                        Some((len, fill)) => {
                            batch.put(&db, key(k), vec![fill; len]);
                            model.insert(key(k), vec![fill; len]);
                        }
                        None => {
                            batch.delete(&db, key(k));
                            model.remove(&key(k));
                        }
                    }
                }
                batch.commit().unwrap();
            }
            Op::Sync => assert_eq!(db.sync().unwrap(), db.last_seqno()),
            Op::Seal => db.seal().unwrap(),
            Op::Compact => {
                db.compact().unwrap();
                check(&db, &model);
            }
            Op::Archive => drop(db.archive().unwrap()),
            Op::Reopen(mapped) => {
                let last = db.last_seqno();
                db.close().unwrap();
                db = open(dir.path(), mapped);
                assert_eq!(db.last_seqno(), last);
                assert_eq!(db.stats().recovery.torn_bytes, 0);
            }
            Op::Check => check(&db, &model),
        }
    }
    check(&db, &model);
    assert!(db.verify().unwrap().is_clean());
    db.close().unwrap();
    check(&open(dir.path(), true), &model);
}

proptest! {
    #![proptest_config(Config { cases: 200, ..Config::default() })]

    #[test]
    fn the_store_says_what_a_map_says(ops in collection::vec(op(), 1..120)) {
        run(ops);
    }
}
