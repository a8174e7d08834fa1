//! Following a writer in another process while it writes, packs, compacts, is killed, and leaves less than it showed.
//!
//! The writer is this executable again, running one test that does nothing unless it is told a directory.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use zipcask::sim::Random;
use zipcask::{Db, Durability, Options, ReadMode, Seqno};

use crate::report::report;

const DIR: &str = "ZIPCASK_FOLLOWERS_DIR";
const SEED: &str = "ZIPCASK_FOLLOWERS_SEED";
const KEYS: usize = 150;
/// Records that each child writes at least.
const WRITES: u64 = 12_000;

fn small() -> Options {
    Options::new().durability(Durability::Os).segment_size(64 << 10).background(false)
}

fn all(db: &Db) -> BTreeMap<Vec<u8>, Vec<u8>> {
    db.iter().map(|pair| pair.map(|(k, v)| (k.to_vec(), v.to_vec())).unwrap()).collect()
}

/// The child: each write is a batch that says in `mark i` what becomes of `key i`, while another thread packs and compacts.
#[test]
fn child() {
    let (Ok(dir), Ok(seed)) = (std::env::var(DIR), std::env::var(SEED)) else {
        return;
    };
    let mut random = Random::new(seed.parse().unwrap());
    let db = small().open(dir).unwrap();
    let jobs = db.clone();
    std::thread::spawn(move || {
        for i in 0.. {
            let done = if i % 3 == 0 { jobs.archive().map(drop) } else { jobs.compact().map(drop) };
            done.unwrap();
        }
    });
    println!("\nready");
    std::io::stdout().flush().unwrap();
    for version in 1_u64.. {
        let (i, alive) = (random.below(KEYS), random.below(3) > 0);
        let mut batch = db.batch();
        batch.put(&db, format!("mark {i}"), [&version.to_le_bytes()[..], &[u8::from(alive)]].concat());
        if alive {
            let mut value = vec![0; [0, 100, 2000][random.below(3)]];
            random.fill(&mut value);
            batch.put(&db, format!("key {i}"), [&version.to_le_bytes()[..], &value].concat());
        } else {
            batch.delete(&db, format!("key {i}"));
        }
        batch.commit().unwrap();
        if random.below(400) == 0 {
            db.seal().unwrap();
        }
    }
}

fn spawn(dir: &Path, seed: u64) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "followers::child", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "ready"), "the child opened the store");
    child
}

fn version(value: &[u8]) -> u64 {
    u64::from_le_bytes(value[..8].try_into().unwrap())
}

/// What `mark i` says of `key i` is so, for each, and no version is older than one that was seen.
fn check(db: &Db, seen: &mut [u64; KEYS], what: &str) {
    let mut keys = 0;
    for (i, seen) in seen.iter_mut().enumerate() {
        let Some(mark) = db.get(format!("mark {i}")).unwrap() else {
            assert_eq!(*seen, 0, "{what}: mark {i} is gone");
            continue;
        };
        let (marked, alive) = (version(&mark), mark[8] == 1);
        assert!(marked >= *seen, "{what}: mark {i} goes back from {seen} to {marked}");
        let key = db.get(format!("key {i}")).unwrap_or_else(|error| panic!("{what}: key {i}: {error:?}"));
        assert_eq!(key.map(|value| version(&value)), alive.then_some(marked), "{what}: key {i}");
        (*seen, keys) = (marked, keys + 1 + u64::from(alive));
    }
    assert_eq!(db.len(), keys, "{what}");
}

/// Looks at the marks while somebody else refreshes: none is ever missing, and none goes back.
fn watch(db: &Db, stop: &AtomicBool) -> u64 {
    let (mut seen, mut looks) = ([0; KEYS], 0);
    while !stop.load(Ordering::Relaxed) {
        let mut reader = db.reader();
        for (i, seen) in seen.iter_mut().enumerate() {
            let mark = reader.get(format!("mark {i}")).unwrap().map_or(0, version);
            assert!(mark >= *seen, "mark {i} goes back from {seen} to {mark} within a refresh");
            *seen = mark;
            looks += 1;
        }
        reader.refresh();
    }
    looks
}

#[test]
fn a_key_never_goes_back_nor_missing_whatever_the_writer_does_meanwhile() {
    if std::env::var(DIR).is_ok() {
        return;
    }
    let seed = std::env::var("ZIPCASK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let rounds = std::env::var("ZIPCASK_FOLLOWERS_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    let dir = tempfile::tempdir().unwrap();
    drop(small().open(dir.path()).unwrap());
    let modes = [ReadMode::Mmap, ReadMode::Positioned];
    let readers = modes.map(|mode| small().read_mode(mode).open_read_only(dir.path()).unwrap());
    let (mut refreshes, mut opens, mut looks, mut archives) = (0, 0, 0, 0);
    for round in 0..rounds {
        // Versions begin anew with each child.
        let (mut seen, stop) = ([[0; KEYS]; 2], AtomicBool::new(false));
        let mut random = Random::new(seed + round);
        let mut child = spawn(dir.path(), seed + round);
        looks += std::thread::scope(|scope| {
            let watcher = (round == 0).then(|| scope.spawn(|| watch(&readers[0], &stop)));
            let (start, mut turn) = (readers[0].last_seqno(), 0);
            while turn < 200 || u64::from(readers[0].last_seqno()) < u64::from(start) + WRITES {
                turn += 1;
                let i = random.below(2);
                let what = format!("seed {seed}, round {round}, turn {turn}, {:?}", modes[i]);
                let (before, db) = (readers[i].last_seqno(), &readers[i]);
                let last = db.refresh().unwrap_or_else(|error| panic!("{what}: {error:?}"));
                assert!(last >= before, "{what}");
                check(db, &mut seen[i], &what);
                if turn % 50 == 0 {
                    let new = small().open_read_only(dir.path()).unwrap_or_else(|error| panic!("{what}: {error:?}"));
                    assert!(new.last_seqno() >= last);
                    check(&new, &mut [0; KEYS], &what);
                    assert!(new.verify().unwrap().is_clean(), "{what}");
                    opens += 1;
                }
                refreshes += 1;
            }
            stop.store(true, Ordering::Relaxed);
            watcher.map_or(0, |watcher| watcher.join().unwrap())
        });
        child.kill().unwrap();
        child.wait().unwrap();
        readers[0].refresh().unwrap();
        let left = all(&readers[0]);
        let writer = small().open(dir.path()).unwrap();
        assert!(all(&writer) == left, "seed {seed}, round {round}: a killed process leaves what it showed");
        archives += fs::read_dir(dir.path().join("archives")).unwrap().count();
        writer.compact().unwrap();
        // The next child starts with nothing.
        left.keys().for_each(|key| assert!(writer.delete(key).unwrap()));
        writer.close().unwrap();
        readers.iter().for_each(|reader| assert!(reader.refresh().is_ok() && reader.is_empty()));
    }
    report(&format!("{refreshes} refreshes, {opens} opens, {looks} looks meanwhile, {archives} archives left"));
}

/// The files of `from`, as a killed process would leave them.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.metadata().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
}

/// Puts zeros in place of the last `count` records, of 144 bytes each, of the newest segment: as if they had never reached the
/// device, and only the cache had shown them.
fn lose(dir: &Path, count: usize) {
    let mut names: Vec<_> = fs::read_dir(dir.join("segments")).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let (name, len) = (names.last().unwrap(), count * 144);
    let bytes = fs::read(name).unwrap();
    let end = (bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1).next_multiple_of(8);
    let file = fs::File::options().write(true).open(name).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &vec![0; len], (end - len) as u64).unwrap();
}

#[test]
fn a_writer_that_leaves_less_than_it_showed_is_followed_back() {
    for (lost, way) in [0, 1, 3, 9].into_iter().flat_map(|lost| (0..4).map(move |way| (lost, way))) {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("first"), dir.path().join("second"));
        let writer = small().open(&first).unwrap();
        let put = |db: &Db, i: u32, value: u8| db.put(format!("key {}", i % 10), [value; 100]).map(drop).unwrap();
        (0..20).for_each(|i| put(&writer, i, 1));
        writer.delete("key 7").unwrap();
        writer.seal().unwrap();
        (0..9).for_each(|i| put(&writer, i, 2));
        copy(&first, &second);
        let db = small().open_read_only(&second).unwrap();
        assert!(all(&db) == all(&writer));
        lose(&second, lost);
        let writer = small().open(&second).unwrap();
        assert_eq!(writer.last_seqno(), Seqno::from(30 - lost as u64));
        (5..5 + way * 4).for_each(|i| put(&writer, i, 3));
        match way {
            1 => drop(writer.compact().unwrap()),
            2 => drop(writer.seal().and_then(|()| writer.archive()).unwrap()),
            _ => {}
        }
        let last = db.refresh().unwrap_or_else(|error| panic!("{lost} lost, way {way}: {error:?}"));
        assert_eq!(last, writer.last_seqno(), "{lost} lost, way {way}");
        assert!(all(&db) == all(&writer), "{lost} lost, way {way}");
        assert_eq!(db.stats().live_bytes, writer.stats().live_bytes);
        put(&writer, 3, 4);
        db.refresh().unwrap();
        assert!(all(&db) == all(&writer), "{lost} lost, way {way}, and on");
    }
}
