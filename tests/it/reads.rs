//! Reads under attack: rot in every bit, forks, threads that end, code of the user's inside of a read.

use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;

use zipcask::{Db, Durability, Error, ErrorKind, Options, ReadMode, Reader, Verify};

use crate::bytes::{FIRST, records};

type Told = Result<Option<Vec<u8>>, Error>;

/// What every way of reading a key says of it.
fn ways(db: &Db, reader: &Reader, key: &[u8]) -> Vec<(&'static str, Told)> {
    let mut ways = vec![
        ("get", db.get(key).map(|found| found.map(|value| value.to_vec()))),
        ("get_with", db.get_with(key, <[u8]>::to_vec)),
        ("Reader::get", reader.get(key).map(|found| found.map(<[u8]>::to_vec))),
    ];
    reader.get_many(&[key], |_, found| ways.push(("get_many", found.map(|found| found.map(<[u8]>::to_vec)))));
    ways
}

/// Whatever rotted: each way of reading the key gives its value or says that it is damaged, and so do the passes.
fn assert_right_or_refused(db: &Db, key: &[u8], value: &[u8], what: &str) {
    let reader = db.reader();
    for (way, told) in ways(db, &reader, key) {
        match told {
            Ok(found) => assert_eq!(found.as_deref(), Some(value), "{way}, {what}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corruption, "{way}, {what}"),
        }
    }
    match db.contains_key(key) {
        Ok(found) => assert!(found, "contains_key, {what}"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Corruption, "contains_key, {what}"),
    }
    for pair in db.iter() {
        match pair {
            Ok((shown, with)) if shown == *key => assert_eq!(with, value, "iter, {what}"),
            Ok((shown, _)) => assert_eq!(shown[..5], *b"other", "iter, {what}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corruption, "iter, {what}"),
        }
    }
    let passed = reader.for_each(|shown, with| {
        match shown == key {
            true => assert_eq!(with, value, "for_each, {what}"),
            false => assert_eq!(shown[..5], *b"other", "for_each, {what}"),
        }
        ControlFlow::Continue(())
    });
    assert!(passed.is_ok() || passed.is_err_and(|error| error.kind() == ErrorKind::Corruption), "{what}");
}

/// Changes bits of the first segment, and changes them back when it goes.
struct Rot(std::fs::File, u64, u8);

impl Rot {
    fn new(dir: &Path, at: usize, bits: u8) -> Rot {
        let file = std::fs::File::options().read(true).write(true).open(dir.join(FIRST)).unwrap();
        let rot = Rot(file, at as u64, bits);
        rot.turn();
        rot
    }

    fn turn(&self) {
        let mut byte = [0];
        self.0.read_exact_at(&mut byte, self.1).unwrap();
        self.0.write_all_at(&[byte[0] ^ self.2], self.1).unwrap();
    }
}

impl Drop for Rot {
    fn drop(&mut self) {
        self.turn();
    }
}

/// A store with the key between two others, and where its record begins and ends.
fn between_others(dir: &Path, key: &[u8], value: &[u8], filling: usize) -> (usize, usize) {
    let db = Options::new().durability(Durability::Os).open(dir).unwrap();
    let mut batch = db.batch();
    batch
        .put(&db, "other 0", vec![1; 8 * filling])
        .put(&db, "other 1", "other")
        .put(&db, key, value)
        .put(&db, "other 2", "other");
    batch.commit().unwrap();
    db.close().unwrap();
    let at = records(&std::fs::read(dir.join(FIRST)).unwrap());
    (at[2], at[3])
}

const SHAPES: [(&[u8], &[u8]); 5] =
    [(b"", b""), (b"", b"v"), (b"key", b""), (b"key", b"the value"), (b"a key of words..", b"a value of words")];

#[test]
fn no_bit_of_a_record_rots_unseen_where_every_read_checks() {
    for mode in [ReadMode::Mmap, ReadMode::Positioned] {
        for (key, value) in SHAPES {
            let dir = tempfile::tempdir().unwrap();
            let (start, end) = between_others(dir.path(), key, value, 0);
            let db = Options::new().read_mode(mode).verify_values(Verify::Always).open(dir.path()).unwrap();
            for (at, bit) in (start..end).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
                let _rot = Rot::new(dir.path(), at, 1 << bit);
                let what = format!("{mode:?} {key:?}: byte {} bit {bit}", at - start);
                assert_right_or_refused(&db, key, value, &what);
            }
        }
    }
}

/// Where the record lies among those around it must not matter: what is remembered of one says nothing of another.
#[test]
fn no_bit_of_a_record_rots_unseen_before_its_first_read() {
    for (filling, (key, value)) in (0..4).flat_map(|filling| SHAPES.map(|shape| (filling, shape))) {
        let dir = tempfile::tempdir().unwrap();
        let (start, end) = between_others(dir.path(), key, value, filling);
        for (at, bit) in (start..end).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let db = Options::new().verify_values(Verify::FirstTouch).open(dir.path()).unwrap();
            for other in ["other 0", "other 1", "other 2"] {
                assert!(db.get(other).unwrap().is_some());
            }
            let rot = Rot::new(dir.path(), at, 1 << bit);
            let what = format!("{key:?} behind {filling} words: byte {} bit {bit}", at - start);
            assert_right_or_refused(&db, key, value, &what);
            drop((rot, db));
        }
    }
}

/// Reads when its thread ends.
struct Last(Db, std::cell::RefCell<Option<Reader>>, std::sync::mpsc::Sender<u64>);

impl Drop for Last {
    fn drop(&mut self) {
        let mut count = 0;
        let reader = self.1.take().unwrap();
        count += u64::from(self.0.get("a").unwrap().unwrap() == "b");
        count += u64::from(reader.get("a").unwrap() == Some(b"b"));
        self.0.reader().get_many(&["a"], |_, found| count += u64::from(found.unwrap() == Some(b"b")));
        self.0
            .reader()
            .for_each(|_, _| {
                count += 1;
                ControlFlow::Continue(())
            })
            .unwrap();
        count += self.0.iter().map(|pair| u64::from(pair.unwrap().1 == "b")).sum::<u64>();
        for i in 0..5000_u32 {
            self.0.put(i.to_le_bytes(), "c").unwrap();
        }
        self.2.send(count).unwrap();
    }
}

std::thread_local! {
    static LAST: std::cell::OnceCell<Last> = const { std::cell::OnceCell::new() };
}

#[test]
fn a_thread_that_ends_may_still_read_and_write_and_close() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        // Before the thread reads for the first time: what is made first goes last.
        LAST.with(|last| {
            let db = Options::new().durability(Durability::Os).open(path).unwrap();
            let reader = db.reader();
            assert!(last.set(Last(db, std::cell::RefCell::new(Some(reader)), sender)).is_ok());
        });
        LAST.with(|last| last.get().unwrap().0.put("a", "b").unwrap());
    });
    assert_eq!(receiver.recv().unwrap(), 5);
    thread.join().unwrap();
    let db = Options::new().open(dir.path()).unwrap();
    assert_eq!(db.len(), 5001);
}
