//! When checksums are looked at: always, at first touch, by scrubbing alone.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use zipcask::sim::{Access, Call, Disk, FaultDisk, SimDisk};
use zipcask::{Db, Durability, ErrorKind, Options, ReadMode, Result, Verify};

use crate::faults::{EIO, SEGMENT, fault};

const KEYS: u8 = 20;
/// The key whose record is damaged.
const BAD: u8 = 7;

fn key(i: u8) -> [u8; 9] {
    [b'k', b'e', b'y', b' ', i, i, i, i, i]
}

fn value(i: u8) -> Vec<u8> {
    vec![0x80 | i; 300]
}

/// A store of some keys in one file, with options to open it again.
fn filled(dir: &Path) {
    let db = Options::new().durability(Durability::Os).open(dir).unwrap();
    for i in 0..KEYS {
        db.put(key(i), value(i)).unwrap();
    }
    db.close().unwrap();
}

/// Flips one bit of the only segment, `at` bytes from where `needle` is.
fn flip(dir: &Path, needle: &[u8], at: isize) {
    use std::os::unix::fs::FileExt;
    let path = dir.join("segments/0000000001.seg");
    let bytes = std::fs::read(&path).unwrap();
    let found = bytes.windows(needle.len()).position(|window| window == needle).expect("it was written");
    let offset = found.checked_add_signed(at).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[bytes[offset] ^ 4], offset as u64).unwrap();
}

fn flip_value(dir: &Path) {
    flip(dir, &value(BAD), 100);
}

/// What every way of reading says of a key; all must agree.
fn read(db: &Db, i: u8) -> Result<Option<Vec<u8>>> {
    let reader = db.reader();
    let mut ways = vec![
        db.get(key(i)).map(|found| found.map(|value| value.to_vec())),
        db.get_with(key(i), <[u8]>::to_vec),
        reader.get(key(i)).map(|found| found.map(<[u8]>::to_vec)),
    ];
    reader.get_many(&[key(i)], |_, found| ways.push(found.map(|found| found.map(<[u8]>::to_vec))));
    let told = |way: &Result<Option<Vec<u8>>>| way.clone().map_err(|error| error.kind());
    assert!(ways.iter().all(|way| told(way) == told(&ways[0])), "{ways:?}");
    ways.remove(0)
}

/// The key with the damage is an error, whichever way it is read, however often; no other is.
fn assert_only_the_bad_one_is_refused(db: &Db) {
    for _ in 0..2 {
        for i in 0..KEYS {
            match read(db, i) {
                Ok(found) => assert_eq!((found, i != BAD), (Some(value(i)), true)),
                Err(error) => assert_eq!((error.kind(), i), (ErrorKind::Corruption, BAD)),
            }
        }
    }
    let mut errors = 0;
    for pair in db.iter() {
        match pair {
            Ok((key, value)) => assert_eq!(value[0] & 0x7f, key[4]),
            Err(error) => errors += u32::from(error.kind() == ErrorKind::Corruption),
        }
    }
    assert_eq!(errors, 1);
    let passed = db.reader().for_each(|_, _| ControlFlow::Continue(()));
    assert_eq!(passed.unwrap_err().kind(), ErrorKind::Corruption);
}

#[test]
fn what_rots_before_the_first_read_is_refused_for_that_key_alone() {
    for verify in [Verify::default(), Verify::FirstTouch, Verify::Always] {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        let db = Options::new().verify_values(verify).open(dir.path()).unwrap();
        flip_value(dir.path());
        assert_only_the_bad_one_is_refused(&db);
    }
}

#[test]
fn what_rots_after_it_was_read_is_refused_if_every_read_checks() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let db = Options::new().verify_values(Verify::Always).open(dir.path()).unwrap();
    (0..KEYS).for_each(|i| assert_eq!(read(&db, i).unwrap(), Some(value(i))));
    flip_value(dir.path());
    assert_only_the_bad_one_is_refused(&db);
}

#[test]
fn without_checks_a_read_shows_what_is_there_and_verify_finds_it() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let db = Options::new().verify_values(Verify::ScrubOnly).open(dir.path()).unwrap();
    flip_value(dir.path());
    let mut rotten = value(BAD);
    rotten[100] ^= 4;
    for i in 0..KEYS {
        assert_eq!(read(&db, i).unwrap(), Some(if i == BAD { rotten.clone() } else { value(i) }));
    }
    assert_eq!(db.verify().unwrap().problems().len(), 1);
}

/// Whatever the mode: a key that does not match is not believed to be another's without its checksum.
#[test]
fn a_rotten_key_is_never_an_absent_one() {
    for verify in [Verify::Always, Verify::FirstTouch, Verify::ScrubOnly] {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        let db = Options::new().verify_values(verify).open(dir.path()).unwrap();
        flip(dir.path(), &key(BAD), 1);
        assert_eq!(read(&db, BAD).unwrap_err().kind(), ErrorKind::Corruption, "{verify:?}");
        assert_eq!(db.contains_key(key(BAD)).unwrap_err().kind(), ErrorKind::Corruption, "{verify:?}");
    }
}

/// A length that would lead behind the end of the log, or to another kind of record, is damage and no panic.
#[test]
fn a_rotten_header_is_refused_in_every_mode_that_checks() {
    for verify in [Verify::Always, Verify::FirstTouch] {
        // From the key back to: kind, keyspace, the value length's bytes, the key length, the value crc.
        for back in [2, 4, 5, 6, 7, 8, 10, 20] {
            let dir = tempfile::tempdir().unwrap();
            filled(dir.path());
            let db = Options::new().verify_values(verify).open(dir.path()).unwrap();
            flip(dir.path(), &key(BAD), -back);
            assert_only_the_bad_one_is_refused(&db);
        }
    }
}

/// W4. After a failed sync the page cache may hold what the device does not, so nothing is trusted any more.
#[test]
fn after_a_failed_sync_every_read_checks() {
    let inside = SimDisk::new(1);
    let disk = FaultDisk::simulated(inside.clone());
    let options = Options::new().durability(Durability::Os).verify_values(Verify::FirstTouch);
    let db = zipcask::sim::open(options, SEGMENT, Arc::new(disk.clone())).unwrap();
    for i in 0..KEYS {
        db.put(key(i), value(i)).unwrap();
    }
    (0..KEYS).for_each(|i| assert_eq!(read(&db, i).unwrap(), Some(value(i))));
    disk.inject(fault(Call::Barrier, disk.calls(Call::Barrier) + 1, EIO));
    assert_eq!(db.sync().unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(db.put("x", "y").unwrap_err().kind(), ErrorKind::Poisoned);

    for name in inside.list("segments").unwrap() {
        let file = inside.open(&format!("segments/{name}"), Access::ReadWrite).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        if let Some(at) = bytes.windows(300).position(|window| window == value(BAD)) {
            file.write_at(&[bytes[at] ^ 4], at as u64).unwrap();
        }
    }
    assert_only_the_bad_one_is_refused(&db);
}

/// The record of an empty key with an empty value is shorter than what a check is remembered for.
#[test]
fn the_smallest_record_does_not_vouch_for_its_neighbour() {
    for filling in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        let db = Options::new().durability(Durability::Os).open(dir.path()).unwrap();
        let mut batch = db.batch();
        batch.put(&db, "filling", vec![1; 8 * filling]).put(&db, "", "").put(&db, "neighbour", "12345678");
        batch.commit().unwrap();
        assert_eq!(db.get("").unwrap().unwrap(), b"");
        flip(dir.path(), b"12345678", 3);
        assert_eq!(db.get("neighbour").unwrap_err().kind(), ErrorKind::Corruption, "{filling} words before");
    }
}

#[test]
fn a_key_whose_record_cannot_be_recognised_counts_twice_once_it_is_put_again() {
    for mode in [ReadMode::Mmap, ReadMode::Positioned] {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        let db = Options::new().durability(Durability::Os).read_mode(mode).open(dir.path()).unwrap();
        flip(dir.path(), &key(BAD), 0);
        assert_eq!(read(&db, BAD).unwrap_err().kind(), ErrorKind::Corruption);
        db.put(key(BAD), "new").unwrap();
        assert_eq!(read(&db, BAD).unwrap().unwrap(), b"new");
        assert_eq!(db.len(), u64::from(KEYS) + 1);
        let (whole, errors): (Vec<_>, Vec<_>) = db.iter().partition(|pair| pair.is_ok());
        assert_eq!((whole.len(), errors.len()), (usize::from(KEYS), 1));
        db.put(key(BAD), "newer").unwrap();
        assert_eq!(db.len(), u64::from(KEYS) + 1, "the new one is recognised");
    }
}

#[test]
fn a_key_that_counts_twice_does_so_until_its_keyspace_is_cleared_or_the_store_is_saved_into_a_new_one() {
    for put_before_it_rots in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let open = || Options::new().durability(Durability::Os).background(false).open(dir.path()).unwrap();
        let db = open();
        (0..KEYS).for_each(|i| assert!(db.put(key(i), value(i)).is_ok()));
        // So that the store opens whatever rots.
        db.seal().unwrap();
        zipcask::sim::make_hints(&db).unwrap();
        db.checkpoint().unwrap();
        let counts =
            |db: &Db| (db.len(), db.iter().filter(Result::is_ok).count(), db.iter().filter(Result::is_err).count());
        let once = (u64::from(KEYS), usize::from(KEYS), 0);
        let twice = (once.0 + 1, once.1, 1);
        if put_before_it_rots {
            db.put(key(BAD), "new").unwrap();
            flip(dir.path(), &key(BAD), 0);
            assert_eq!(counts(&db), once, "nobody asks for the old one any more");
        } else {
            flip(dir.path(), &key(BAD), 0);
            db.put(key(BAD), "new").unwrap();
            assert_eq!(counts(&db), twice);
        }
        db.close().unwrap();
        let db = open();
        assert_eq!(counts(&db), twice);
        db.compact().unwrap();
        db.close().unwrap();
        let db = open();
        assert_eq!(counts(&db), twice, "a compaction keeps what it cannot recognise");
        assert_eq!(read(&db, BAD).unwrap().unwrap(), b"new");
        assert!(!db.verify().unwrap().is_clean());

        let saved = tempfile::tempdir().unwrap();
        db.clone().close().unwrap();
        zipcask::inspect::salvage(dir.path(), saved.path()).unwrap();
        let whole = Db::open(saved.path()).unwrap();
        assert_eq!(counts(&whole), once);
        assert_eq!(read(&whole, BAD).unwrap().unwrap(), b"new");
        let db = open();
        db.clear().unwrap();
        assert_eq!(counts(&db), (0, 0, 0));
    }
}
