//! Following a writer in another process while it writes, packs, compacts, is killed, and leaves less than it showed.
//!
//! The writer is this executable again, running one test that does nothing unless it is told a directory.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::bytes::copy;
use zipcask::sim::{Random, SimDisk};
use zipcask::{Db, Durability, ErrorKind, Options, ReadMode, Result, Seqno, Value};

use crate::hook::HookDisk;
use crate::report::report;

const DIR: &str = "ZIPCASK_FOLLOWERS_DIR";
const SEED: &str = "ZIPCASK_FOLLOWERS_SEED";
const KEYS: usize = 150;
/// Records that each child writes at least.
const WRITES: u64 = 12_000;
/// Batches that it writes between two jobs: a follower that lists the files must come to an end now and then, however slow it is.
const BATCHES_A_JOB: u64 = 500;

pub(crate) fn small() -> Options {
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
    let (jobs, written) = (db.clone(), Arc::new(AtomicU64::new(0)));
    let progress = Arc::clone(&written);
    std::thread::spawn(move || {
        for i in 1.. {
            while progress.load(Ordering::Relaxed) < i * BATCHES_A_JOB {
                std::thread::yield_now();
            }
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
        written.store(version, Ordering::Relaxed);
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

/// Ends a watch, also where somebody panics.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
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
            let stopping = Stopping(&stop);
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
            drop(stopping);
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

fn owned(pair: Result<(Value, Value)>) -> (Vec<u8>, Vec<u8>) {
    let (key, value) = pair.unwrap();
    (key.to_vec(), value.to_vec())
}

/// What a snapshot says of what it has, if the last writes were lost.
fn expected<T>(lost: usize, has: T) -> std::result::Result<T, ErrorKind> {
    if lost == 0 { Ok(has) } else { Err(ErrorKind::NotFound) }
}

/// Puts zeros in place of the last `count` records, of 144 bytes each, of the newest segment: as if they had never reached the
/// device, and only the cache had shown them.
pub(crate) fn lose(dir: &Path, count: usize) {
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
        let (gone, before) = (db.snapshot(), all(&db));
        let mut listed = gone.iter(&db);
        let first = listed.next().map(owned);
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
        // Where something was lost it is of a log that is there no more.
        assert_eq!(gone.contains_key(&db, "key 3").map_err(|error| error.kind()), expected(lost, true));
        let value = gone.get(&db, "key 3").map_err(|error| error.kind());
        assert_eq!(value.map(|value| value.unwrap()[0]), expected(lost, 2));
        let pairs: Result<BTreeMap<_, _>> = gone.iter(&db).map(|pair| pair.map(|pair| owned(Ok(pair)))).collect();
        assert_eq!(pairs.map_err(|error| error.kind()), expected(lost, before.clone()));
        // A pass that had begun before goes on, but for what was lost.
        let pairs: BTreeMap<_, _> =
            first.into_iter().chain(listed.filter_map(|pair| Some(owned(Ok(pair.ok()?))))).collect();
        assert!(pairs.iter().all(|(key, value)| before.get(key) == Some(value)) && pairs.len() + lost >= before.len());
        assert_eq!(db.stats().live_bytes, writer.stats().live_bytes);
        put(&writer, 3, 4);
        db.refresh().unwrap();
        assert!(all(&db) == all(&writer), "{lost} lost, way {way}, and on");
        let (snapshot, shown) = (db.snapshot(), all(&db));
        drop(gone);
        (0..10).for_each(|i| put(&writer, i, 5));
        db.refresh().unwrap();
        let pairs = snapshot.iter(&db).map(|pair| pair.map(|(k, v)| (k.to_vec(), v.to_vec())).unwrap());
        assert!(pairs.collect::<BTreeMap<_, _>>() == shown, "{lost} lost, way {way}, a snapshot");
    }
}

/// Runs once, at a call of a disk.
type Act = Box<dyn FnMut() + Send>;

/// What is to happen, at which of the calls to come.
type Due = Arc<Mutex<(u32, Option<Act>)>>;

/// A disk for the reader of a store, and what happens at one of its calls: set afterwards.
fn disk_with_act(disk: &SimDisk) -> (Arc<HookDisk>, Due) {
    let act = Due::default();
    let shared = Arc::clone(&act);
    let hook = move |_: &str, _: &str| {
        let due = {
            let mut act = shared.lock().unwrap();
            act.0 = act.0.wrapping_sub(1);
            if act.0 == 0 { act.1.take() } else { None }
        };
        due.into_iter().for_each(|mut act| act());
        Ok(())
    };
    (Arc::new(HookDisk::new(disk.clone(), Arc::new(hook))), act)
}

/// What a store had after each write.
type History = BTreeMap<u64, BTreeMap<Vec<u8>, Vec<u8>>>;

/// Puts and deletes.
fn write(db: &Db, random: &mut Random, history: &Mutex<History>) {
    let mut history = history.lock().unwrap();
    for _ in 0..[1, 10, 60][random.below(3)] {
        let key = [random.below(12) as u8];
        let mut model = history.last_key_value().map(|(_, model)| model.clone()).unwrap_or_default();
        if random.below(3) == 0 {
            db.delete(key).unwrap();
            model.remove(&key[..]);
        } else {
            let value = vec![random.below(256) as u8; random.below(300)];
            db.put(key, &value).unwrap();
            model.insert(key.to_vec(), value);
        }
        history.insert(db.last_seqno().into(), model);
    }
}

/// Writes for a while, and perhaps seals, packs and compacts, once or twice.
fn work(db: &Db, random: &mut Random, history: &Mutex<History>) {
    for _ in 0..=random.below(2) {
        write(db, random, history);
        match random.below(4) {
            0 => db.seal().unwrap(),
            1 => drop(db.archive().unwrap()),
            _ => drop(db.compact().unwrap()),
        }
    }
}

/// A store that writes while it compacts, and what it had after each write.
fn busy_writer(inside: &SimDisk, seed: u64) -> (Db, Arc<Mutex<History>>) {
    let history = Arc::new(Mutex::new(History::from([(0, BTreeMap::new())])));
    let writer: Arc<Mutex<Option<Db>>> = Arc::default();
    let (random, shared) = (Mutex::new(Random::new(seed)), (Arc::clone(&writer), Arc::clone(&history)));
    let hook = move |call: &str, name: &str| {
        if (call, name.starts_with("archives/new-")) == ("create", true)
            && let Some(db) = shared.0.lock().unwrap().clone()
        {
            write(&db, &mut random.lock().unwrap(), &shared.1);
        }
        Ok(())
    };
    let disk = HookDisk::new(inside.clone(), Arc::new(hook));
    let db = zipcask::sim::open(Options::new().durability(Durability::Os), 8 << 10, Arc::new(disk)).unwrap();
    *writer.lock().unwrap() = Some(db.clone());
    (db, history)
}

#[test]
fn whatever_the_writer_does_between_two_calls_of_a_reader_it_shows_what_the_store_once_had() {
    for seed in 1..=4 {
        let (mut at, mut open_done) = (1, false);
        loop {
            // At this call, the writer does something: of an open first, then of a refresh after it.
            let mut random = Random::new(seed);
            let inside = SimDisk::new(seed);
            let (writer, history) = busy_writer(&inside, seed);
            work(&writer, &mut random, &history);
            work(&writer, &mut random, &history);
            let (disk, act) = disk_with_act(&inside);
            let again = (writer.clone(), Arc::clone(&history), Random::new(seed * 1000 + u64::from(at)));
            let set = || {
                let (writer, history, mut random) = again.clone();
                let act: Act = Box::new(move || work(&writer, &mut random, &history));
                (at, Some(act))
            };
            let what = format!("seed {seed}, call {at} of the {}", if open_done { "refresh" } else { "open" });
            if !open_done {
                *act.lock().unwrap() = set();
            }
            let db = zipcask::sim::open_read_only(Options::new(), disk);
            let db = db.unwrap_or_else(|error| panic!("{what}: {error:?}"));
            let holds = |last: Seqno| assert!(history.lock().unwrap()[&last.into()] == all(&db), "{what}: {last}");
            holds(db.last_seqno());
            if open_done {
                work(&writer, &mut random, &history);
                *act.lock().unwrap() = set();
            }
            holds(db.refresh().unwrap_or_else(|error| panic!("{what}: {error:?}")));
            let came = act.lock().unwrap().1.is_none();
            holds(db.refresh().unwrap());
            assert_eq!(db.last_seqno(), writer.last_seqno(), "{what}");
            at += 1;
            match (came, open_done) {
                (true, _) => {}
                (false, false) => (at, open_done) = (1, true),
                (false, true) => break,
            }
        }
    }
}

#[test]
fn what_vouches_for_a_place_that_was_looked_at_before_is_no_damage() {
    for at in 1.. {
        let inside = SimDisk::new(1);
        let writer = zipcask::sim::open(Options::new(), 1 << 20, Arc::new(inside.clone())).unwrap();
        let used = |db: &Db| db.stats().segments.last().map_or(0, |segment| segment.used_bytes);
        // The records end a little before the first window that is read of them does.
        let goal = (256 << 10) - 136;
        while used(&writer) + 4000 < goal {
            writer.put("key", [1; 1000]).unwrap();
        }
        writer.put("key", vec![2; (goal - used(&writer) - 40) as usize]).unwrap();
        assert_eq!(used(&writer), goal);
        let (disk, act) = disk_with_act(&inside);
        let write = move || (0..3).for_each(|i: u8| assert!(writer.put("key", [i; 100]).is_ok()));
        *act.lock().unwrap() = (at, Some(Box::new(write)));
        let db = zipcask::sim::open_read_only(Options::new(), disk);
        assert_eq!(db.unwrap_or_else(|error| panic!("call {at}: {error:?}")).len(), 1);
        if act.lock().unwrap().1.is_some() {
            return;
        }
    }
}

/// A writer, and what happens once, when a job of it is about to name its archive.
fn writer_with_act(inside: &SimDisk) -> (Db, Arc<Mutex<Option<Act>>>) {
    let act: Arc<Mutex<Option<Act>>> = Arc::default();
    let shared = Arc::clone(&act);
    let hook = move |call: &str, name: &str| {
        if (call, name.starts_with("archives/")) == ("rename", true) {
            let due = shared.lock().unwrap().take();
            due.into_iter().for_each(|mut act| act());
        }
        Ok(())
    };
    let disk = HookDisk::new(inside.clone(), Arc::new(hook));
    let options = Options::new().durability(Durability::Os).background(false);
    (zipcask::sim::open(options, 64 << 10, Arc::new(disk)).unwrap(), act)
}

#[test]
fn a_job_that_copied_what_was_replaced_meanwhile_takes_no_key_back_to_it() {
    let inside = SimDisk::new(1);
    let (writer, act) = writer_with_act(&inside);
    let put = |db: &Db, value: &str| db.put("key", value).map(drop).unwrap();
    put(&writer, "old");
    // Worth a job that copies.
    (0..100_u8).for_each(|i| writer.put([i / 2], [i; 100]).map(drop).unwrap());
    writer.seal().unwrap();
    let reader = zipcask::sim::open_read_only(Options::new(), Arc::new(inside.clone())).unwrap();
    let (db, follower) = (writer.clone(), reader.clone());
    *act.lock().unwrap() = Some(Box::new(move || {
        put(&db, "new");
        follower.refresh().unwrap();
    }));
    writer.compact().unwrap();
    assert!(act.lock().unwrap().is_none(), "there was a job");
    // The copy of the old record and the file that has the new one come in one refresh.
    writer.seal().unwrap();
    writer.archive().unwrap();
    let snapshot = reader.snapshot();
    reader.refresh().unwrap();
    assert_eq!(reader.get("key").unwrap().as_deref(), Some(&b"new"[..]));
    assert!(all(&reader) == all(&writer));
    put(&writer, "newer");
    reader.refresh().unwrap();
    assert_eq!(reader.get("key").unwrap().as_deref(), Some(&b"newer"[..]));
    assert_eq!(snapshot.get(&reader, "key").unwrap().as_deref(), Some(&b"new"[..]));
    let shown: Vec<_> = snapshot.iter(&reader).map(Result::unwrap).filter(|(key, _)| **key == *b"key").collect();
    assert_eq!(shown.iter().map(|(_, value)| &**value).collect::<Vec<_>>(), [b"new"]);
}
