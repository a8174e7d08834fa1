//! Values with files of their own: they are values like others, and leave nothing behind that nobody wants.

use std::ffi::CString;
use std::io::Write;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use zipcask::{Db, Durability, Error, ErrorKind, Options, PutWriter, ReadMode, Value, Verify};

const MODES: [ReadMode; 2] = [ReadMode::Mmap, ReadMode::Positioned];

/// The longest value that is in the log, with these segments.
const INLINE: usize = 32 * 1024;

fn options() -> Options {
    Options::new().durability(Durability::Os).segment_size(64 * 1024).background(false)
}

/// Bytes that differ everywhere, by seed.
fn bytes(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251 + seed * 7) as u8).collect()
}

/// What is in `large/`.
fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir.join("large")) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// The one file in `large/`.
fn only_file(dir: &Path) -> PathBuf {
    let [path] = files(dir).try_into().expect("one large value");
    path
}

/// Whether every way to read says that `key` has `value`, and that it is the only one.
fn check_everywhere(db: &Db, key: &str, value: &[u8]) {
    assert!(db.get(key).unwrap().unwrap() == value);
    assert!(db.get_with(key, |got| got == value).unwrap().unwrap());
    assert!(db.get_range(key, 0..u64::MAX).unwrap().unwrap() == value);
    assert!(db.contains_key(key).unwrap());
    let mut reader = db.reader();
    let (first, second) = (reader.get(key).unwrap().unwrap(), reader.get(key).unwrap().unwrap());
    assert!(first == value && second == value);
    reader.get_many(&[key, "absent"], |i, got| assert!(got.unwrap() == [Some(value), None][i]));
    let mut shown = 0;
    let each = |k: &[u8], v: &[u8]| {
        assert!(k == key.as_bytes() && v == value);
        shown += 1;
        ControlFlow::Continue(())
    };
    reader.for_each(each).unwrap();
    assert_eq!(shown, 1);
    reader.refresh();
    let pairs: Vec<(Value, Value)> = db.iter().map(Result::unwrap).collect();
    assert!(pairs.len() == 1 && pairs[0].0 == key && pairs[0].1 == value);
    assert!(db.verify().unwrap().is_clean());
}

#[test]
fn a_large_value_is_read_like_any_other_in_both_modes_and_after_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let value = bytes(1, 300_001);
    options().open(dir.path()).unwrap().put("key", &value).unwrap();
    for mode in MODES {
        for verify in [Verify::Always, Verify::FirstTouch, Verify::ScrubOnly] {
            let db = options().read_mode(mode).verify_values(verify).open(dir.path()).unwrap();
            check_everywhere(&db, "key", &value);
            db.close().unwrap();
        }
    }
    let path = only_file(dir.path());
    assert!(std::fs::read(&path).unwrap() == value, "its bytes are plain");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let db = options().open_in_memory().unwrap();
    db.put("key", &value).unwrap();
    check_everywhere(&db, "key", &value);
}

#[test]
fn only_what_is_longer_than_half_a_segment_or_a_mebibyte_has_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let db = options().open(dir.path()).unwrap();
    db.put("key", bytes(1, INLINE)).unwrap();
    assert!(!dir.path().join("large").exists());
    db.put("key", bytes(1, INLINE + 1)).unwrap();
    assert_eq!(files(dir.path()).len(), 1);
    db.close().unwrap();
    let db = Options::new().background(false).open(dir.path()).unwrap();
    db.put("key", bytes(2, 1 << 20)).unwrap();
    assert_eq!(files(dir.path()).len(), 1);
    db.put("key", bytes(2, (1 << 20) + 1)).unwrap();
    assert_eq!(files(dir.path()).len(), 2);
}

#[test]
fn a_large_value_outlives_its_overwrite_its_deletion_and_the_store() {
    for mode in MODES {
        let dir = tempfile::tempdir().unwrap();
        let db = options().read_mode(mode).open(dir.path()).unwrap();
        let (old, new) = (bytes(1, 50_000), bytes(2, 60_000));
        db.put("key", &old).unwrap();
        let (value, part) = (db.get("key").unwrap().unwrap(), db.get_range("key", 10..20).unwrap().unwrap());
        let mut iter = db.iter();
        db.put("key", &new).unwrap();
        assert!(db.get("key").unwrap().unwrap() == new);
        assert!(db.delete("key").unwrap() && !db.delete("key").unwrap());
        assert_eq!(db.get("key").unwrap(), None);
        db.close().unwrap();
        let db = options().open(dir.path()).unwrap();
        assert!(db.is_empty());
        assert!(iter.next().unwrap().unwrap().1 == old);
        drop((db, dir));
        assert!(value == old && part == old[10..20]);
        assert!(std::thread::spawn(move || value.clone()).join().unwrap() == old);
    }
}

#[test]
fn a_batch_has_large_values_too_and_leaves_no_file_if_it_is_dropped_or_spoilt() {
    let dir = tempfile::tempdir().unwrap();
    let db = options().open(dir.path()).unwrap();
    let mut batch = db.batch();
    batch.put(&db, "a", bytes(1, 40_000)).put(&db, "small", "1").put(&db, "b", bytes(2, 50_000));
    assert!(db.is_empty() && files(dir.path()).len() == 2);
    assert_eq!(u64::from(batch.commit().unwrap()), 3);
    let mut dropped = db.batch();
    dropped.put(&db, "c", bytes(3, 40_000));
    drop(dropped);
    let mut spoilt = db.batch();
    spoilt.put(&db, "c", bytes(3, 40_000)).put(&db, vec![0; 65_536], bytes(4, 40_000));
    assert_eq!(spoilt.commit().unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(files(dir.path()).len(), 2);
    db.close().unwrap();
    let db = options().open(dir.path()).unwrap();
    assert_eq!(db.len(), 3);
    assert!(db.get("a").unwrap().unwrap() == bytes(1, 40_000) && db.get("b").unwrap().unwrap() == bytes(2, 50_000));
}

#[test]
fn a_writer_takes_pieces_of_any_size() {
    let dir = tempfile::tempdir().unwrap();
    let db = options().open(dir.path()).unwrap();
    for len in [0, 1, 1000, INLINE, INLINE + 1, 300_000, 2_000_000] {
        let value = bytes(len, len);
        for piece in [1, 7, 4096, 262_143, 262_144, 262_145, usize::MAX] {
            if len / piece > 50_000 {
                continue;
            }
            let mut writer = db.put_writer("key", len as u64).unwrap();
            for piece in value.chunks(piece) {
                writer.write_all(piece).unwrap();
                if piece.len() == 4096 {
                    writer.flush().unwrap();
                }
            }
            let seqno = writer.finish().unwrap();
            assert_eq!(db.last_seqno(), seqno);
            assert!(db.get("key").unwrap().unwrap() == value, "{len} bytes in pieces of {piece}");
        }
    }
    assert!(db.verify().unwrap().is_clean());
}

fn is_send<T: Send>(writer: T) -> T {
    writer
}

#[test]
fn a_writer_refuses_what_was_not_announced_and_loses_nothing_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let db = options().open(dir.path()).unwrap();
    for len in [1000, 100_000_usize] {
        db.put("key", "before").unwrap();
        let before = files(dir.path()).len();
        let value = bytes(1, len);
        let mut writer = is_send(db.put_writer("key", len as u64).unwrap());
        writer.write_all(&value[1..]).unwrap();
        let error = writer.write_all(b"xy").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{error}");
        let text = format!("{len} bytes was announced, {} were given so far, and 2 more do not fit", len - 1);
        assert!(error.to_string().ends_with(&text), "{error}");
        assert_eq!(writer.finish().unwrap_err().kind(), ErrorKind::Invalid, "one is missing");
        assert_eq!(db.get("key").unwrap().unwrap(), "before");
        assert_eq!(files(dir.path()).len(), before, "nothing is left of what was given up");

        let mut writer = db.put_writer("key", len as u64).unwrap();
        writer.write_all(&value).unwrap();
        writer.write_all(b"x").unwrap_err();
        writer.finish().unwrap();
        assert!(db.get("key").unwrap().unwrap() == value);
    }
    let before = files(dir.path()).len();
    let mut writer = db.put_writer("key", 100_000).unwrap();
    writer.write_all(&[1; 300]).unwrap();
    assert_eq!(files(dir.path()).len(), before + 1);
    drop(writer);
    assert_eq!(files(dir.path()).len(), before);
    assert_eq!(db.put_writer(vec![0; 65_536], 100_000).unwrap_err().kind(), ErrorKind::TooLarge);
}

#[test]
fn a_writer_is_a_handle_and_is_closed_with_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let (value, open) = (bytes(1, 100_000), || options().open(dir.path()).unwrap());
    let write = |writer: &mut PutWriter| writer.write_all(&value);
    let mut writer = open().put_writer("key", 100_000).unwrap();
    write(&mut writer).unwrap();
    writer.finish().unwrap();

    let db = open();
    assert!(db.get("key").unwrap().unwrap() == value, "the writer was the last handle");
    let (mut early, mut late) = (db.put_writer("a", 100_000).unwrap(), db.put_writer("b", 100_000).unwrap());
    write(&mut early).unwrap();
    db.clone().close().unwrap();
    assert_eq!(early.finish().unwrap_err().kind(), ErrorKind::Closed);
    let error = write(&mut late).unwrap_err();
    let told = error.get_ref().and_then(|error| error.downcast_ref::<Error>()).map(Error::kind);
    assert_eq!(told, Some(ErrorKind::Closed));
    assert_eq!(db.put_writer("c", 100_000).unwrap_err().kind(), ErrorKind::Closed);
    // Another opener clears away what the writer has not given up yet, and the writer finds nothing to give up.
    let other = open();
    assert_eq!(files(dir.path()).len(), 1);
    drop(late);
    assert!(other.get("key").unwrap().unwrap() == value && other.len() == 1);
}

#[test]
fn a_range_is_the_part_of_a_value_that_lies_in_it() {
    let dir = tempfile::tempdir().unwrap();
    for mode in MODES {
        for len in [0, 1000, 100_000_usize] {
            let value = bytes(len, len);
            let db = options().read_mode(mode).open(dir.path()).unwrap();
            db.put("key", &value).unwrap();
            let part = |start, end| db.get_range("key", start..end).unwrap().unwrap();
            let end = len as u64;
            for (a, b) in [(0, end), (0, u64::MAX), (1, 2), (500, 40_000), (end, end), (end + 1, end + 2), (7, 3)] {
                let (a_in, b_in) = (a.min(end) as usize, b.clamp(a.min(end), end) as usize);
                assert!(part(a, b) == value[a_in..b_in], "{a}..{b} of {len}, {mode:?}");
                assert!(part(a, b).clone() == value[a_in..b_in]);
            }
            assert_eq!(part(u64::MAX, u64::MAX).len(), 0);
            assert_eq!(db.get_range("absent", 0..1).unwrap(), None);
            db.close().unwrap();
        }
    }
}

#[test]
fn what_is_kept_of_a_large_value_is_kept_once_however_often_it_is_read() {
    // More than stay mapped by themselves.
    const KEYS: usize = 20;
    let dir = tempfile::tempdir().unwrap();
    let db = options().open(dir.path()).unwrap();
    for i in 0..KEYS {
        db.put([i as u8], bytes(i, 40_000)).unwrap();
    }
    db.close().unwrap();
    for mode in MODES {
        let db = options().read_mode(mode).open(dir.path()).unwrap();
        let mut reader = db.reader();
        for _ in 0..2 {
            let first: Vec<&[u8]> = (0..KEYS).map(|i| reader.get([i as u8]).unwrap().unwrap()).collect();
            for _ in 0..3 {
                for (i, first) in first.iter().enumerate() {
                    let again = reader.get([i as u8]).unwrap().unwrap();
                    assert!(std::ptr::eq(again, *first) && again == bytes(i, 40_000), "{i}, {mode:?}");
                }
            }
            reader.refresh();
        }
    }
    let db = options().open(dir.path()).unwrap();
    let kept: Vec<Value> = (0..10 * KEYS).map(|i| db.get([(i % KEYS) as u8]).unwrap().unwrap()).collect();
    assert!((KEYS..kept.len()).all(|i| kept[i].as_ptr() == kept[i - KEYS].as_ptr()), "each is mapped once");
    let parts = (0..KEYS).map(|i| db.get_range([i as u8], 7..8).unwrap().unwrap());
    assert!(parts.zip(&kept).all(|(part, whole)| part.as_ptr() == whole[7..].as_ptr()), "a part lies in the whole");
}

/// Opens the store and expects the key to be damaged, its file to be named, and everything else to be as it was.
fn assert_one_is_lost(dir: &Path, what: &str) {
    let path = only_file(dir).display().to_string();
    for mode in MODES {
        let db = options().read_mode(mode).open(dir).unwrap();
        let errors = [
            db.get("large").err(),
            db.reader().get("large").err(),
            db.iter().find_map(Result::err),
            db.reader().for_each(|_, _| ControlFlow::Continue(())).err(),
        ];
        for error in errors {
            let error = error.unwrap_or_else(|| panic!("{what}, {mode:?}: nothing was noticed"));
            assert_eq!(error.kind(), ErrorKind::Corruption, "{what}");
            assert!(error.to_string().contains(&path), "{what}: {error}");
        }
        assert_eq!(db.get("small").unwrap().unwrap(), "1", "{what}");
        assert!(db.contains_key("large").unwrap(), "{what}: nobody looks at the file for that");
        let report = db.verify().unwrap();
        assert_eq!(report.problems().len(), 1, "{what}");
        assert_eq!(report.problems()[0].file, path, "{what}");
        db.close().unwrap();
    }
}

#[test]
fn a_large_value_that_rots_shrinks_grows_or_goes_is_damage_to_its_key_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (db, value) = (options().open(dir.path()).unwrap(), bytes(1, 100_000));
    db.put("large", &value).unwrap();
    db.put("small", "1").unwrap();
    db.close().unwrap();
    let path = only_file(dir.path());
    for at in [0, 1, 4095, 4096, 65_535, 99_999] {
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.write_all_at(&[value[at] ^ 0x10], at as u64).unwrap();
        assert_one_is_lost(dir.path(), &format!("byte {at} flipped"));
        file.write_all_at(&[value[at]], at as u64).unwrap();
    }
    for (len, what) in [(0, "empty"), (99_999, "short"), (100_001, "long"), (50, "very short")] {
        let mut other = value.clone();
        other.resize(len, 0);
        std::fs::write(&path, &other).unwrap();
        assert_one_is_lost(dir.path(), what);
    }
    std::fs::write(&path, &value).unwrap();
    let db = options().open(dir.path()).unwrap();
    assert!(db.get("large").unwrap().unwrap() == value && db.verify().unwrap().is_clean());
    db.close().unwrap();

    std::fs::remove_file(&path).unwrap();
    let db = options().open(dir.path()).unwrap();
    let error = db.get("large").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert_eq!(db.get("small").unwrap().unwrap(), "1");
    assert_eq!(db.verify().unwrap().problems().len(), 1);
    assert!(db.delete("large").unwrap() && db.len() == 1, "it can be deleted");
}

#[test]
fn what_is_no_file_in_the_place_of_a_large_value_is_damage_to_its_key_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let db = options().open(&store).unwrap();
    db.put("large", bytes(1, 100_000)).unwrap();
    db.put("small", "1").unwrap();
    db.close().unwrap();
    let (path, moved) = (only_file(&store), dir.path().join("moved"));
    std::fs::rename(&path, &moved).unwrap();
    for target in [&moved, &dir.path().join("nowhere")] {
        symlink(target, &path).unwrap();
        assert_one_is_lost(&store, "a link");
        std::fs::remove_file(&path).unwrap();
    }
    let name = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the name is a string that ends in a zero.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    assert_one_is_lost(&store, "a pipe");
    std::fs::remove_file(&path).unwrap();
    // (A socket's name is short.)
    let socket = dir.path().join("socket");
    drop(UnixListener::bind(&socket).unwrap());
    std::fs::rename(&socket, &path).unwrap();
    assert_one_is_lost(&store, "a socket");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert_one_is_lost(&store, "a folder");
    let db = options().open(&store).unwrap();
    db.put("large", bytes(2, 100_000)).unwrap();
    assert!(db.get("large").unwrap().unwrap() == bytes(2, 100_000));
}

#[test]
fn the_lost_file_of_a_value_that_no_key_has_any_more_is_no_problem() {
    for (mode, deleted) in [(ReadMode::Mmap, false), (ReadMode::Positioned, true)] {
        let dir = tempfile::tempdir().unwrap();
        let db = options().read_mode(mode).open(dir.path()).unwrap();
        db.put("key", bytes(1, 100_000)).unwrap();
        std::fs::remove_file(only_file(dir.path())).unwrap();
        assert_eq!(db.verify().unwrap().problems().len(), 1);
        if deleted {
            db.delete("key").unwrap();
        } else {
            db.put("key", bytes(2, 100_000)).unwrap();
        }
        assert!(db.verify().unwrap().is_clean());
        db.close().unwrap();
        assert!(options().open(dir.path()).unwrap().verify().unwrap().is_clean());
    }
}

#[test]
fn rot_of_what_a_record_says_of_a_large_value_costs_that_key_and_removes_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let db = options().open(dir.path()).unwrap();
    db.put("large", bytes(1, 100_000)).unwrap();
    db.put("small", "1").unwrap();
    db.close().unwrap();
    let path = only_file(dir.path());
    let id = u128::from_str_radix(path.file_stem().unwrap().to_str().unwrap(), 16).unwrap().to_be_bytes();
    let segment = dir.path().join("segments/0000000001.seg");
    let healthy = std::fs::read(&segment).unwrap();
    let start = healthy.windows(16).position(|window| window == id).expect("the record names the file");
    for at in start..start + 32 {
        let mut damaged = healthy.clone();
        damaged[at] ^= 1;
        std::fs::write(&segment, damaged).unwrap();
        for mode in MODES {
            let db = options().read_mode(mode).open(dir.path()).unwrap();
            let error = db.get("large").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption, "byte {at}");
            assert!(error.to_string().contains("segments"), "{error}");
            assert_eq!(db.get("small").unwrap().unwrap(), "1");
            assert_eq!(db.verify().unwrap().problems().len(), 1);
            db.close().unwrap();
            assert!(path.exists(), "what may be named stays");
        }
    }
    std::fs::write(&segment, healthy).unwrap();
    assert!(options().open(dir.path()).unwrap().get("large").unwrap().unwrap() == bytes(1, 100_000));
}

#[test]
fn an_open_removes_the_files_that_no_record_names_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let db = options().open(dir.path()).unwrap();
    for seed in 0..3 {
        db.put("key", bytes(seed, 40_000)).unwrap();
    }
    db.delete("key").unwrap();
    db.close().unwrap();
    let named = files(dir.path());
    assert_eq!(named.len(), 3, "the log has them still");
    let in_large = |name: &str| dir.path().join("large").join(name);
    std::fs::write(in_large("00000000000000000000000000000000.val"), "garbage").unwrap();
    std::fs::write(in_large("notes.txt"), "somebody's").unwrap();
    let db = options().open(dir.path()).unwrap();
    let mut left = files(dir.path());
    left.retain(|path| !named.contains(path));
    assert_eq!(left, [in_large("notes.txt")]);
    assert!(named.iter().all(|path| path.exists()) && db.is_empty());
    assert!(db.verify().unwrap().is_clean());
}

#[test]
fn figures_count_the_bytes_of_large_values() {
    let dir = tempfile::tempdir().unwrap();
    let db = options().open(dir.path()).unwrap();
    let figures = |db: &Db| (db.stats().live_bytes / 10_000, db.stats().dead_bytes / 10_000);
    db.put("a", bytes(1, 100_000)).unwrap();
    db.put("b", bytes(2, 200_000)).unwrap();
    assert_eq!(figures(&db), (30, 0));
    db.put("a", bytes(3, 50_000)).unwrap();
    assert_eq!(figures(&db), (25, 10));
    db.delete("b").unwrap();
    assert_eq!(figures(&db), (5, 30));
    assert!(db.verify().unwrap().bytes > 350_000);
    db.close().unwrap();
    let db = options().open(dir.path()).unwrap();
    assert_eq!(figures(&db), (5, 30));
    db.put("a", "small").unwrap();
    assert_eq!(figures(&db), (0, 35));
}

#[test]
fn writers_of_large_values_in_a_crowd_each_get_their_own() {
    let db = options().open_in_memory().unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4_usize {
            let db = &db;
            scope.spawn(move || {
                let reader = db.reader();
                for turn in 0..20 {
                    let value = bytes(writer * 100 + turn, 33_000 + turn * 1000);
                    db.put([writer as u8], &value).unwrap();
                    assert!(reader.get([writer as u8]).unwrap().unwrap() == value);
                    if turn % 3 == 0 {
                        assert!(db.delete([writer as u8]).unwrap());
                        assert!(db.get([writer as u8]).unwrap().is_none());
                    }
                }
            });
        }
    });
    assert_eq!(db.len(), 4);
}

/// The other half of the test below, in a process of its own: what it has used at most is asked for there.
#[test]
#[cfg(target_os = "linux")]
#[ignore = "the other half of the test below, started by it"]
fn child_that_streams() {
    let dir = std::env::var("ZIPCASK_STREAM_TO").unwrap();
    let db = Options::new().durability(Durability::Os).open(dir).unwrap();
    let (piece, pieces) = (bytes(1, 1 << 20), 200);
    let mut writer = db.put_writer("film", pieces << 20).unwrap();
    for _ in 0..pieces {
        writer.write_all(&piece).unwrap();
    }
    writer.finish().unwrap();
    let part = db.get_range("film", (150 << 20)..(151 << 20)).unwrap().unwrap();
    assert!(part == piece);
    // Not getrusage: its maximum begins with that of the process that this one was forked off.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")).unwrap();
    assert!(most.parse::<u64>().unwrap() < 64 << 10, "{most} KiB were used at most");
}

#[test]
#[cfg(target_os = "linux")]
fn two_hundred_mebibytes_pass_through_a_fraction_of_that_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "large::child_that_streams", "--ignored"])
        .env("ZIPCASK_STREAM_TO", dir.path())
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    let db = Db::open(dir.path()).unwrap();
    assert_eq!(db.get("film").unwrap().unwrap().len(), 200 << 20);
}
