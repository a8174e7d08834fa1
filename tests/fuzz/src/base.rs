//! Small stores to be changed, what may be seen in them, and a look at what became of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use zipcask::sim::{self, SimDisk};
use zipcask::{Compression, Db, Durability, Error, ErrorKind, Options, PutOptions, Verify};

use crate::fix;

/// Bytes of a segment.
pub const SEGMENT: u64 = 8192;
/// Bytes of a value that has a file of its own.
const LARGE: usize = 4500;
const KEYS: u8 = 10;

/// Files by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What was ever written to each key.
pub type Written = BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>;

pub struct Bases {
    /// As a killed process leaves it.
    pub killed: Files,
    /// As a close does.
    pub closed: Files,
    /// The same with an index that is written down, and some records behind it.
    pub indexed: Files,
    /// What is left after jobs: packed, packed and compressed, and as it was.
    pub packed: Files,
    pub deflated: Files,
    pub archived: Files,
}

/// Always the same.
pub fn bases() -> &'static Bases {
    static BASES: OnceLock<Bases> = OnceLock::new();
    BASES.get_or_init(|| Bases {
        killed: store(Options::new(), |db, disk| {
            let files = load(disk);
            drop(db);
            files
        }),
        closed: store(Options::new(), |db, disk| {
            db.close().expect("it closes");
            load(disk)
        }),
        indexed: store(Options::new(), |db, disk| {
            db.checkpoint().expect("the index is written down");
            db.put("behind", "the index").expect("it is written");
            db.delete([b'a']).expect("it is written");
            db.close().expect("it closes");
            load(disk)
        }),
        packed: job(Compression::None),
        deflated: job(Compression::Deflate),
        archived: store(Options::new(), |db, disk| {
            db.seal().expect("it is sealed");
            db.archive().expect("it is packed");
            db.close().expect("it closes");
            load(disk)
        }),
    })
}

fn job(compression: Compression) -> Files {
    store(Options::new().archive_compression(compression), |db, disk| {
        db.compact().expect("it is packed");
        db.close().expect("it closes");
        load(disk)
    })
}

fn store(options: Options, then: impl FnOnce(Db, &SimDisk) -> Files) -> Files {
    let disk = SimDisk::new(1);
    let db = sim::open(options, SEGMENT, Arc::new(disk.clone())).expect("a new store opens");
    let os = PutOptions::new().durability(Durability::Os);
    for number in 0..36_u8 {
        let key = key(number % KEYS);
        match number % 12 {
            5 => drop(db.delete_with(&key, Durability::Os).expect("it is written")),
            7 => {
                let mut batch = db.batch();
                batch.put(&db, &key, value(number, 40)).put(&db, "batch", value(number, 9)).delete(&db, "none");
                batch.commit().expect("it is written");
            }
            9 if number == 21 => drop(db.put(&key, value(number, LARGE)).expect("it is written")),
            rest => {
                let len = [0, 7, 64, 200, 500, 900][usize::from(rest) % 6];
                db.put_with(&key, value(number, len), if rest % 2 == 0 { os } else { PutOptions::new() })
                    .expect("it is written");
            }
        }
    }
    then(db, &disk)
}

/// Keys of several lengths.
pub fn key(number: u8) -> Vec<u8> {
    vec![b'a' + number; 1 + usize::from(number) * 3]
}

/// Bytes that say whose they are; they pack well.
pub fn value(number: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| if at % 16 == 0 { number } else { at as u8 / 16 }).collect()
}

/// All files of a disk, but for the lock.
pub fn load(disk: &SimDisk) -> Files {
    let mut files = Files::new();
    for name in disk.files() {
        if name != "LOCK" && name != "HOLDER" {
            let bytes = disk.read_file(&name).expect("it was listed");
            files.insert(name, bytes);
        }
    }
    files
}

/// A disk with these files.
pub fn disk(files: &Files) -> SimDisk {
    use zipcask::sim::Disk;
    let disk = SimDisk::new(2);
    let folders: BTreeSet<&str> = files.keys().filter_map(|name| Some(name.split_once('/')?.0)).collect();
    for folder in folders {
        disk.create_dir(folder).expect("each folder once");
    }
    for (name, bytes) in files {
        disk.write_file(name, bytes);
    }
    disk
}

/// What the records of a segment give keys, whatever the checksums.
pub fn note(written: &mut Written, segment: &[u8], files: &Files) {
    for record in fix::records(segment) {
        let mut value = match record.kind {
            1 => Some(record.value(segment).to_vec()),
            2 => large(record.value(segment), files),
            _ => None,
        };
        if let Some(value) = value.take().filter(|_| record.keyspace == 0) {
            written.entry(record.key(segment).to_vec()).or_default().insert(value);
        }
    }
}

fn large(said: &[u8], files: &Files) -> Option<Vec<u8>> {
    let id: String = said.get(..16)?.iter().map(|byte| format!("{byte:02x}")).collect();
    let len = usize::try_from(crate::u64_at(said, 16)?).ok()?;
    files.get(&format!("large/{id}.val"))?.get(..len).map(<[u8]>::to_vec)
}

/// The same of all segments that lie in files of their own.
pub fn written(files: &Files) -> Written {
    let mut written = Written::new();
    for (_, bytes) in files.iter().filter(|(name, _)| name.starts_with("segments/")) {
        note(&mut written, bytes, files);
    }
    written
}

/// A made-up index may lead to some bytes behind the start of a record that was checked, and what is remembered of checks
/// (`Verify::FirstTouch`) is no finer than that: there every read checks.
fn open(disk: &SimDisk, index_made_up: bool) -> zipcask::Result<Db> {
    let verify = if index_made_up { Verify::Always } else { Verify::FirstTouch };
    sim::open(Options::new().verify_values(verify), SEGMENT, Arc::new(disk.clone()))
}

/// What damage may be answered by.
fn damaged(error: &Error) {
    let kinds = [ErrorKind::Corruption, ErrorKind::FormatVersion, ErrorKind::Invalid, ErrorKind::ResourceLimit];
    assert!(kinds.contains(&error.kind()), "{error:?}");
}

/// What is known of a store that may be damaged.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// What may be in it, if that is known.
    pub written: Option<&'a Written>,
    /// Its written index may be one that no store has written, with right checksums: it may hide what is there, and show what was
    /// there before, but nothing else.
    pub index_made_up: bool,
}

/// Opens what may be damaged, and whether it did. What opens shows nothing but what was written, takes writes, survives a job,
/// and opens again.
pub fn look(disk: &SimDisk, facts: Facts<'_>) -> u64 {
    let Facts { written, index_made_up } = facts;
    let db = match open(disk, index_made_up) {
        Ok(db) => db,
        Err(error) => {
            damaged(&error);
            return 0;
        }
    };
    let known = |key: &[u8], value: &[u8]| {
        written.is_none_or(|written| key == b"new" || written.get(key).is_some_and(|values| values.contains(value)))
    };
    let show = |db: &Db| {
        let mut shown = Shown::new();
        for pair in db.iter() {
            match pair {
                Ok((key, value)) => {
                    assert!(
                        known(&key, &value),
                        "a pass shows a value that was never written: {key:?} {:?}",
                        &value[..value.len().min(40)]
                    );
                    let before = shown.insert(key.to_vec(), value.to_vec());
                    assert!(before.is_none() || index_made_up, "a pass shows a key once");
                }
                Err(error) => damaged(&error),
            }
        }
        shown
    };
    let before = show(&db);
    for (key, value) in &before {
        // The same record: only damage that is found later may hide it.
        match db.get(key) {
            Ok(found) => {
                let same = found.is_some_and(|found| *found == **value);
                assert!(same || index_made_up, "a get says the same: {key:?}");
            }
            Err(error) => damaged(&error),
        }
    }
    for key in written.into_iter().flat_map(Written::keys) {
        match db.get(key) {
            Ok(value) => assert!(value.is_none_or(|value| known(key, &value)), "{key:?} was never so"),
            Err(error) => damaged(&error),
        }
    }
    follow(&db, &known);
    if let Err(error) = db.verify() {
        damaged(&error);
    }
    write_on(db, disk, if index_made_up { None } else { Some(&before) }, &show);
    1
}

fn follow(db: &Db, known: &impl Fn(&[u8], &[u8]) -> bool) {
    let tail = match db.tail(1.into()) {
        Ok(tail) => tail,
        Err(error) => return damaged(&error),
    };
    for batch in tail {
        match batch {
            Ok(batch) => {
                // What is known is of the default keyspace; the log may have records of others.
                for change in batch.changes().iter().filter(|change| change.keyspace == "default") {
                    let whole = change.value.as_ref().is_none_or(|value| known(&change.key, value));
                    assert!(whole, "the feed shows a value that was never written: {:?}", change.key);
                }
            }
            Err(error) => return damaged(&error),
        }
    }
}

/// What a pass shows.
type Shown = BTreeMap<Vec<u8>, Vec<u8>>;

fn write_on(db: Db, disk: &SimDisk, before: Option<&Shown>, show: &impl Fn(&Db) -> Shown) {
    match db.put("new", "x") {
        Ok(_) => {}
        Err(error) => return damaged(&error),
    }
    let check = |db: &Db| {
        let after = show(db);
        assert_eq!(after.get(&b"new"[..]).map(Vec::as_slice), Some(&b"x"[..]), "what was acknowledged is there");
        for (key, value) in after.iter().filter(|(key, _)| *key != b"new") {
            assert!(before.is_none_or(|before| before.get(key) == Some(value)), "a job changes nothing: {key:?}");
        }
    };
    if let Err(error) = db.compact() {
        damaged(&error);
    }
    check(&db);
    if let Err(error) = db.close() {
        return damaged(&error);
    }
    let db = open(disk, before.is_none()).expect("what opened and was written opens again");
    check(&db);
}
