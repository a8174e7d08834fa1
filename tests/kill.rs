//! kill -9 at random moments: what a child was told is written is there, and nothing is there by halves.
//!
//! The child is this executable again, running one test that does nothing unless it is told a directory.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

#[path = "crash/report.rs"]
mod report;

use report::report;
use zipcask::{Db, Durability, ErrorKind, Options, PutOptions};

const DIR: &str = "ZIPCASK_KILL_DIR";
const ROUND: &str = "ZIPCASK_KILL_ROUND";

/// Rounds in a run of `cargo test`; `ZIPCASK_KILL_ROUNDS` asks for more.
const ROUNDS: u64 = 200;
/// Rounds of one store: it grows with each, and what it holds is compacted and archived in the next.
const ROUNDS_OF_A_STORE: usize = 100;

fn options() -> Options {
    Options::new().segment_size(64 * 1024)
}

/// What step `i` of a round writes.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Put,
    /// Puts three keys at once.
    Batch,
    /// Deletes the key that step `i - 3` put (if it was a put).
    Delete,
    Seal,
    Compact,
    Archive,
}

fn step(i: u64) -> Step {
    match i % 11 {
        3 | 7 => Step::Batch,
        5 => Step::Delete,
        10 if i % 44 == 10 => Step::Seal,
        10 if i % 44 == 21 => Step::Compact,
        10 if i % 44 == 32 => Step::Archive,
        _ => Step::Put,
    }
}

fn key(round: u64, i: u64, part: u64) -> String {
    format!("{round} {i} {part}")
}

fn value(round: u64, i: u64, part: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(round << 40 | i << 8 | part);
    let len = if i.is_multiple_of(29) { 20_000 } else { random.usize(0..300) };
    (0..len).map(|_| random.u8(..)).collect()
}

/// The child: writes for ever, and says after each step that it was told so.
#[test]
fn child() {
    let (Ok(dir), Ok(round)) = (std::env::var(DIR), std::env::var(ROUND)) else {
        return;
    };
    let round: u64 = round.parse().unwrap();
    let db = options().open(dir).unwrap();
    // Every other child has its index written down beside its writer, whenever the last time is over.
    let (ask, asked) = std::sync::mpsc::sync_channel::<()>(1);
    if round % 2 == 1 {
        let beside = db.clone();
        std::thread::spawn(move || asked.iter().for_each(|()| beside.checkpoint().unwrap()));
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nready").unwrap();
    for i in 0.. {
        let durability = if i % 3 == 0 { Durability::Sync } else { Durability::Os };
        match step(i) {
            Step::Put => {
                let options = PutOptions::new().durability(durability);
                db.put_with(key(round, i, 0), value(round, i, 0), options).map(drop).unwrap();
            }
            Step::Batch => {
                let mut batch = db.batch();
                for part in 0..3 {
                    batch.put(&db, key(round, i, part), value(round, i, part));
                }
                batch.commit_with(durability).map(drop).unwrap();
            }
            Step::Delete => drop(db.delete_with(key(round, i - 3, 0), durability).unwrap()),
            Step::Seal => db.seal().unwrap(),
            Step::Compact => drop(db.compact().unwrap()),
            Step::Archive => drop(db.archive().unwrap()),
        }
        writeln!(out, "{i}").unwrap();
        out.flush().unwrap();
        let _ = ask.try_send(());
    }
}

fn spawn(dir: &Path, round: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Lets a child write and kills it; returns how many steps it was told are done.
fn run_and_kill(dir: &Path, round: u64, random: &mut fastrand::Rng) -> u64 {
    let mut child = spawn(dir, round);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.by_ref().map(|line| line.unwrap()).any(|line| line == "ready"), "the child opened the store");
    let mut steps = random.u64(0..150);
    if random.u8(0..3) == 0 {
        // A job is what comes next.
        steps = steps / 44 * 44 + [21, 32][random.usize(0..2)];
    }
    let mut acknowledged = 0;
    for _ in 0..steps {
        acknowledged = lines.next().unwrap().unwrap().parse::<u64>().unwrap() + 1;
    }
    // Somewhere within the next steps: while it writes, not while it waits for us.
    std::thread::sleep(Duration::from_micros(random.u64(0..3000)));
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had said before it died counts too.
    for line in lines.map_while(Result::ok) {
        acknowledged = line.parse::<u64>().map_or(acknowledged, |i| i + 1);
    }
    acknowledged
}

/// Every acknowledged step is there; at most one more is, whole.
fn check(db: &Db, round: u64, acknowledged: u64) -> u64 {
    let mut found = 0;
    for i in 0..acknowledged + 200 {
        let parts = match step(i) {
            Step::Put => 1,
            Step::Batch => 3,
            Step::Delete | Step::Seal | Step::Compact | Step::Archive => continue,
        };
        let deleted = (i + 3 < acknowledged && step(i + 3) == Step::Delete) && parts == 1;
        let maybe_deleted = step(i + 3) == Step::Delete && parts == 1;
        let present: Vec<_> = (0..parts as u64).map(|part| db.get(key(round, i, part)).unwrap()).collect();
        for (part, got) in present.iter().enumerate() {
            if let Some(got) = got {
                assert!(*got == value(round, i, part as u64), "round {round} step {i} part {part} is wrong");
            }
        }
        let count = present.iter().flatten().count();
        if i < acknowledged && !maybe_deleted {
            assert_eq!(count, parts, "round {round}: acknowledged step {i} is lost");
        }
        assert!(!deleted || count == 0, "round {round}: the acknowledged delete of step {i} is lost");
        assert!(count == 0 || count == parts, "round {round}: step {i} is there by halves");
        assert!(i <= acknowledged || count == 0, "round {round}: step {i} was never begun");
        found += count as u64;
    }
    found
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    if std::env::var(DIR).is_ok() {
        return;
    }
    let seed = std::env::var("ZIPCASK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let rounds = std::env::var("ZIPCASK_KILL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut steps, mut torn, mut jobs) = (0, 0, 0);
    for first in (0..rounds).step_by(ROUNDS_OF_A_STORE) {
        let dir = tempfile::tempdir().unwrap();
        let of_this = first..rounds.min(first + ROUNDS_OF_A_STORE as u64);
        let mut acknowledged = Vec::new();
        for round in of_this.clone() {
            let done = run_and_kill(dir.path(), round, &mut random);
            acknowledged.push(done);
            let db = match options().open(dir.path()) {
                Ok(db) => db,
                Err(error) => panic!("seed {seed}, round {round}: {error:?}"),
            };
            torn += u64::from(db.stats().recovery.torn_bytes > 0);
            jobs += u64::from(matches!(step(done), Step::Compact | Step::Archive));
            check(&db, round, done);
            db.close().unwrap();
        }
        let db = options().open(dir.path()).unwrap();
        let records: u64 = of_this.zip(&acknowledged).map(|(round, done)| check(&db, round, *done)).sum();
        assert_eq!(db.len(), records, "nothing else is there");
        assert!(db.verify().unwrap().is_clean());
        steps += acknowledged.iter().sum::<u64>();
        drop(db);
        assert_eq!(Db::open(dir.path().join("LOCK")).unwrap_err().kind(), ErrorKind::Invalid);
    }
    report(&format!(
        "kill -9: {rounds} rounds, {steps} acknowledged steps, {torn} torn tails, {jobs} killed where a job came next, \
         0 lost, 0 wrong (seed {seed})"
    ));
    assert!(steps > 0);
}
