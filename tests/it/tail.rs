//! The log as a feed: every batch, whole and in order.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use zipcask::sim::Random;
use zipcask::{Db, Durability, ErrorKind, KeyspaceOptions, Options, ReadMode, Seqno, Tail, TailBatch};

/// The seqno of a batch, and its writes.
type Plain = (u64, Vec<(Vec<u8>, Option<Vec<u8>>)>);
type Batches = Vec<Plain>;

fn small() -> Options {
    Options::new().durability(Durability::Os).segment_size(64 << 10).background(false)
}

fn plain(batch: &TailBatch) -> Plain {
    let plain = |change: &zipcask::Change| {
        assert_eq!(change.keyspace, "default");
        (change.key.to_vec(), change.value.as_ref().map(|value| value.to_vec()))
    };
    (batch.seqno().into(), batch.changes().iter().map(plain).collect())
}

fn all(tail: Tail) -> Batches {
    tail.map(|batch| plain(&batch.unwrap())).collect()
}

/// Single writes and batches, long and large values among them.
fn write(db: &Db, random: &mut Random, written: &mut Batches) {
    let mut batch = db.batch();
    let mut writes = Vec::new();
    for _ in 0..1 + random.below(4) * random.below(3) {
        let key = format!("key {}", random.below(40)).into_bytes();
        if random.below(4) == 0 {
            batch.delete(db, &key);
            writes.push((key, None));
        } else {
            let mut value = vec![0; [0, 7, 100, 900, 40_000][random.below(5)]];
            random.fill(&mut value);
            batch.put(db, &key, &value);
            writes.push((key, Some(value)));
        }
    }
    let seqno = batch.commit().unwrap();
    written.push((seqno.into(), writes));
}

fn history(dir: &Path, seed: u64, mode: ReadMode) -> (Db, Batches) {
    let (mut random, mut written) = (Random::new(seed), Batches::new());
    let mut db = small().read_mode(mode).open(dir).unwrap();
    for _ in 0..600 {
        match random.below(60) {
            0 => db.seal().unwrap(),
            1 => drop(db.archive().unwrap()),
            2 => {
                db.close().unwrap();
                db = small().read_mode(mode).open(dir).unwrap();
            }
            _ => write(&db, &mut random, &mut written),
        }
    }
    (db, written)
}

#[test]
fn the_feed_is_what_was_written_from_whatever_write_on_and_across_reopens_and_archives() {
    for (seed, mode) in [(1, ReadMode::Mmap), (2, ReadMode::Positioned)] {
        println!("seed {seed}");
        let dir = tempfile::tempdir().unwrap();
        let (db, written) = history(dir.path(), seed, mode);
        assert!(all(db.tail(Seqno::default()).unwrap()) == written);
        let last = u64::from(db.last_seqno());
        for from in (1..=last).step_by(7).chain([last + 1]) {
            let expected: Batches = written.iter().filter(|(seqno, _)| *seqno >= from).cloned().collect();
            assert!(all(db.tail(from.into()).unwrap()) == expected, "from {from}");
        }
        let reader = Db::open_read_only(dir.path()).unwrap();
        assert!(all(reader.tail(1.into()).unwrap()) == written);
    }
}

#[test]
fn what_a_compaction_rewrote_is_gone_from_the_feed_which_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (db, mut written) = history(dir.path(), 3, ReadMode::Mmap);
    let mut begun = db.tail(1.into()).unwrap();
    begun.next().unwrap().unwrap();
    db.compact().unwrap();
    let error = db.tail(1.into()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let first = u64::from(db.last_seqno()) + 1;
    assert!(error.to_string().contains(&format!("the first write that is left is {first}")), "{error}");
    assert!(begun.any(|batch| batch.is_err_and(|error| error.kind() == ErrorKind::Invalid)), "it fell behind");
    assert!(begun.next().is_none(), "and has ended");
    written.clear();
    write(&db, &mut Random::new(4), &mut written);
    assert!(all(db.tail(first.into()).unwrap()) == written);
    // From a later write on it is kept, and the first that is left is named.
    write(&db, &mut Random::new(5), &mut written);
    assert!(db.tail((first - 1).into()).unwrap_err().to_string().contains(&first.to_string()));
}

#[test]
fn the_feed_begins_at_the_oldest_write_that_nothing_is_missing_behind() {
    for mode in [ReadMode::Mmap, ReadMode::Positioned] {
        let dir = tempfile::tempdir().unwrap();
        let mut db = small().read_mode(mode).open(dir.path()).unwrap();
        let mut random = Random::new(7);
        assert_eq!(db.oldest_seqno().unwrap(), 1.into(), "nothing was written yet");
        let (mut written, mut begun) = (Batches::new(), 0);
        for step in 0..200 {
            match step % 40 {
                10 => drop(db.compact().unwrap()),
                20 => drop(db.archive().unwrap()),
                30 => {
                    db.close().unwrap();
                    db = small().read_mode(mode).open(dir.path()).unwrap();
                }
                _ => write(&db, &mut random, &mut written),
            }
            let oldest = db.oldest_seqno().unwrap();
            let expected: Vec<_> = written.iter().filter(|batch| Seqno::from(batch.0) >= oldest).cloned().collect();
            assert_eq!(all(db.tail(oldest).unwrap()), expected, "{step}");
            begun += usize::from(oldest <= db.last_seqno());
            if oldest > 1.into() {
                let before = Seqno::from(u64::from(oldest) - 1);
                assert_eq!(db.tail(before).err().map(|error| error.kind()), Some(ErrorKind::Invalid), "{step}");
            }
            let reading = small().read_mode(mode).open_read_only(dir.path()).unwrap();
            assert_eq!(reading.oldest_seqno().unwrap(), oldest, "{step}");
        }
        assert!(begun > 100, "{begun}");
        db.clone().close().unwrap();
        assert_eq!(db.oldest_seqno().unwrap_err().kind(), ErrorKind::Closed);
    }
}

#[test]
fn the_oldest_write_is_behind_what_is_missing_in_the_middle_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let db = small().open(dir.path()).unwrap();
    let fill = |name: &str, count: usize| {
        (0..count).for_each(|number| assert!(db.put(format!("{name} {number}"), [1; 1000]).is_ok()));
        db.seal().unwrap();
    };
    fill("stays", 20);
    let middle = db.last_seqno();
    fill("goes", 20);
    (0..20).for_each(|number| assert!(db.delete(format!("goes {number}")).unwrap()));
    db.seal().unwrap();
    fill("comes", 20);
    db.compact().unwrap();
    let oldest = db.oldest_seqno().unwrap();
    assert!(oldest > middle.next(), "{oldest}");
    assert!(db.tail(oldest).unwrap().all(|batch| batch.is_ok()));
}

#[test]
fn a_follower_gets_what_comes_and_ends_when_the_store_is_closed_or_dropped() {
    for close in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let db = small().open(dir.path()).unwrap();
        let (sender, receiver) = mpsc::channel();
        let tail = db.tail(1.into()).unwrap().follow(true);
        let follower = std::thread::spawn(move || {
            for batch in tail {
                sender.send(plain(&batch.unwrap())).unwrap();
            }
        });
        let (mut random, mut written) = (Random::new(6), Batches::new());
        for _ in 0..300 {
            write(&db, &mut random, &mut written);
            if random.below(3) == 0 {
                assert!(receiver.recv().unwrap() == written.remove(0));
            }
        }
        while !written.is_empty() {
            assert!(receiver.recv().unwrap() == written.remove(0));
        }
        if close {
            db.close().unwrap();
        } else {
            drop(db);
        }
        follower.join().unwrap();
        assert!(receiver.recv().is_err(), "nothing else came");
        small().open(dir.path()).unwrap().close().unwrap();
    }
}

#[test]
fn a_wait_has_an_end() {
    let db = small().open_in_memory().unwrap();
    let mut tail = db.tail(1.into()).unwrap();
    assert!(tail.next_timeout(Duration::ZERO).is_none());
    assert!(tail.next_timeout(Duration::from_millis(5)).is_none());
    db.put("a", "1").unwrap();
    assert_eq!(tail.next_timeout(Duration::MAX).unwrap().unwrap().seqno(), db.last_seqno());
    assert!(tail.next().is_none(), "without `follow` it ends at the end");
    db.put("a", "2").unwrap();
    assert_eq!(tail.next().unwrap().unwrap().changes()[0].value.as_deref(), Some(&b"2"[..]), "and goes on");
}

#[test]
fn who_has_seen_more_than_there_is_is_told_so() {
    let db = small().open_in_memory().unwrap();
    assert!(db.tail(1.into()).unwrap().next().is_none());
    let last = db.put("a", "1").unwrap();
    assert!(db.tail(Seqno::from(u64::from(last) + 1)).unwrap().next().is_none());
    let error = db.tail(Seqno::from(u64::from(last) + 2)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("the last write is 1"), "{error}");
}

#[test]
fn a_wait_has_an_end_while_what_is_written_is_no_batch() {
    let db = small().open_in_memory().unwrap();
    let (space, cursor) = (db.keyspace("space").unwrap(), db.cursor("cursor").unwrap());
    let mut tail = db.tail(db.last_seqno().next()).unwrap();
    let waits = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let writes = (0..400).take_while(|_| waits.load(Ordering::Relaxed)).map(|_| {
                space.clear().unwrap();
                cursor.advance(db.last_seqno()).unwrap();
                std::thread::sleep(Duration::from_millis(5));
            });
            writes.count()
        });
        assert!(tail.next_timeout(Duration::from_millis(50)).is_none());
        waits.store(false, Ordering::Relaxed);
        assert!(writer.join().unwrap() < 400, "it waited until nothing was written any more");
    });
}

#[test]
fn the_feed_tells_a_keyspace_from_an_earlier_one_of_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let names = |db: &Db, from: Seqno| -> Vec<String> {
        let changes = |batch: zipcask::Result<TailBatch>| batch.unwrap().changes()[0].keyspace.clone();
        db.tail(from).unwrap().map(changes).collect()
    };
    let db = small().open(dir.path()).unwrap();
    let cursor = db.cursor("cursor").unwrap();
    let from = cursor.position().unwrap();
    let old = db.keyspace("space").unwrap();
    old.put("key", "1").unwrap();
    old.clear().unwrap();
    old.put("key", "2").unwrap();
    assert_eq!(names(&db, from), ["space", "space"]);
    db.drop_keyspace("space").unwrap();
    let again = db.keyspace_with("space", KeyspaceOptions::new().ordered(true)).unwrap();
    again.put("key", "3").unwrap();
    assert_eq!(names(&db, from), ["#1", "#1", "space"]);
    db.seal().unwrap();
    db.compact().unwrap();
    assert_eq!(names(&db, from), ["#1", "#1", "space"]);
    db.checkpoint().unwrap();
    db.close().unwrap();
    let db = small().open(dir.path()).unwrap();
    assert_eq!(names(&db, from), ["#1", "#1", "space"]);
    assert_eq!(names(&Db::open_read_only(dir.path()).unwrap(), from), ["#1", "#1", "space"]);
    db.drop_keyspace("space").unwrap();
    db.checkpoint().unwrap();
    db.close().unwrap();
    let db = small().open(dir.path()).unwrap();
    let third = db.keyspace("space").unwrap();
    third.put("key", "4").unwrap();
    let found = names(&db, from);
    assert_eq!(found, ["#1", "#1", "#2", "space"]);
}
