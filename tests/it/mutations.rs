//! Random damage, and fields of random values under right checksums: no panic, and no value that was never written.
//!
//! `ZIPCASK_SEED` chooses others, `ZIPCASK_MUTATIONS` more of them.

use std::collections::HashMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use fastrand::Rng;
use zipcask::{Db, Durability, ErrorKind, Options, ReadMode};

use crate::bytes::{FOOTER, fix_footer, fix_record, fix_sector, fix_slot, headers, records, small};

/// Damaged stores in a run of `cargo test`.
const ROUNDS: u64 = 100;

/// Names and contents of a store's files.
type Files = Vec<(String, Vec<u8>)>;

/// What was ever written to each key.
type Written = HashMap<Vec<u8>, Vec<Vec<u8>>>;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// A number that a bound might have forgotten.
fn edge(rng: &mut Rng) -> u64 {
    match rng.u8(0..7) {
        0 => 0,
        1 => u64::MAX,
        2 => 1 << rng.u8(0..64),
        3 => (1 << rng.u8(0..64)) - 1,
        4 => rng.u64(0..70_000) / 8 * 8,
        5 => rng.u64(0..300),
        _ => rng.u64(..),
    }
}

fn load(dir: &Path) -> Files {
    let mut files = vec![("ZIPCASK".to_string(), fs::read(dir.join("ZIPCASK")).unwrap())];
    for entry in fs::read_dir(dir.join("segments")).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("segments/{}", path.file_name().unwrap().to_str().unwrap());
        files.push((name, fs::read(path).unwrap()));
    }
    files.sort();
    files
}

/// A store as a kill leaves it, and as a close does.
fn stores(rng: &mut Rng) -> ([Files; 2], Written) {
    let dir = tempfile::tempdir().unwrap();
    let mut written = Written::new();
    let db = small(dir.path());
    for i in 0..400_u32 {
        let key = vec![b'a' + (i % 20) as u8; (i % 40) as usize];
        let value = vec![i as u8; rng.usize(0..900)];
        if i % 7 == 0 {
            db.delete(&key).unwrap();
        }
        let mut batch = db.batch();
        batch.put(&db, &key, &value);
        if i % 11 == 0 {
            batch.put(&db, "batch", &value).delete(&db, "q");
            written.entry(b"batch".to_vec()).or_default().push(value.clone());
        }
        batch.commit_with(if i % 3 == 0 { Durability::Sync } else { Durability::Os }).unwrap();
        written.entry(key).or_default().push(value);
    }
    let killed = load(dir.path());
    db.close().unwrap();
    ([killed, load(dir.path())], written)
}

/// Damage that checksums are there for.
fn damage(bytes: &mut Vec<u8>, rng: &mut Rng) -> String {
    let at = rng.usize(0..bytes.len());
    let len = |rng: &mut Rng, most: usize| rng.usize(1..most).min(bytes.len() - at);
    match rng.u8(0..6) {
        0 => {
            let len = len(rng, 600);
            rng.fill(&mut bytes[at..at + len]);
            format!("noise {at}+{len}")
        }
        1 => {
            let len = len(rng, 9000);
            bytes[at..at + len].fill(0);
            format!("zeros {at}+{len}")
        }
        2 => {
            bytes.truncate(at);
            format!("cut {at}")
        }
        3 => {
            bytes[at] ^= 1 << rng.u8(0..8);
            format!("flip {at}")
        }
        4 => {
            let to = rng.usize(0..bytes.len()) / 512 * 512;
            let len = 512.min(bytes.len() - at).min(bytes.len() - to);
            bytes.copy_within(at..at + len, to);
            format!("copy {at} to {to}")
        }
        _ => {
            bytes.resize(bytes.len() + rng.usize(1..100_000), rng.u8(..));
            format!("longer: {}", bytes.len())
        }
    }
}

/// A field of the identity, in both copies, with right checksums.
fn craft_identity(bytes: &mut [u8], rng: &mut Rng) -> String {
    let (at, value) = ([8, 12, 16, 24, 32, 40, 56, 72, 73, 80, 96][rng.usize(0..11)], edge(rng));
    for copy in bytes.chunks_exact_mut(512) {
        copy[at..at + 8].copy_from_slice(&value.to_le_bytes());
        fix_sector(copy);
    }
    format!("identity {at} = {value:#x}")
}

/// A field of a segment, with right checksums.
fn craft_segment(bytes: &mut [u8], rng: &mut Rng) -> String {
    let (value, footer) = (edge(rng), bytes.len() - FOOTER);
    match rng.u8(0..4) {
        0 => {
            let at = [8, 12, 16, 32, 40, 56, 64, 72][rng.usize(0..8)];
            headers(bytes, |header| header[at..at + 8].copy_from_slice(&value.to_le_bytes()));
            if rng.bool() {
                fix_footer(bytes);
            }
            format!("header {at} = {value:#x}")
        }
        1 => {
            let (at, len) = [(0, 8), (8, 8), (16, 8), (24, 8), (32, 4), (36, 4)][rng.usize(0..6)];
            bytes[footer + at..footer + at + len].copy_from_slice(&value.to_le_bytes()[..len]);
            fix_footer(bytes);
            format!("footer {at} = {value:#x}")
        }
        2 => {
            let (slot, seqno) = (512 + 512 * rng.usize(0..2), edge(rng));
            bytes[slot..slot + 512].fill(0);
            bytes[slot..slot + 8].copy_from_slice(b"ZCHORIZN");
            bytes[slot + 8..slot + 16].copy_from_slice(&value.to_le_bytes());
            bytes[slot + 16..slot + 24].copy_from_slice(&seqno.to_le_bytes());
            fix_slot(bytes, slot);
            format!("horizon {slot} = {value:#x}, {seqno:#x}")
        }
        _ => {
            let Some(record) = rng.choice(records(bytes)) else { return "no record".into() };
            let fields = [(4, 4), (8, 6), (14, 2), (16, 4), (20, 2), (22, 1), (23, 1), (24, 8), (32, 8)];
            let (at, len) = fields[rng.usize(0..fields.len())];
            bytes[record + at..record + at + len].copy_from_slice(&value.to_le_bytes()[..len]);
            fix_record(bytes, record);
            if rng.bool() {
                bytes[footer..].fill(0);
            }
            if rng.bool() {
                bytes[512..1536].fill(0);
            }
            format!("record {record}, field {at} = {value:#x}")
        }
    }
}

/// Changes a store in a few places. Returns what was done, and whether anything was crafted: then any value may show.
fn mutate(files: &mut Files, rng: &mut Rng) -> (String, bool) {
    let (mut story, mut crafted) = (Vec::new(), false);
    for _ in 0..rng.usize(1..4) {
        let which = if rng.u8(0..3) == 0 { rng.usize(0..files.len()) } else { files.len() - 1 };
        let (name, bytes) = &mut files[which];
        let craft = rng.bool() && bytes.len() >= 1024;
        let what = match (craft, name == "ZIPCASK") {
            (true, true) => craft_identity(bytes, rng),
            (true, false) if bytes.len() > 5000 => craft_segment(bytes, rng),
            _ if bytes.is_empty() => continue,
            _ => damage(bytes, rng),
        };
        crafted |= craft;
        story.push(format!("{name}: {what}"));
    }
    if rng.u8(0..40) == 0 {
        let (name, _) = files.remove(rng.usize(0..files.len()));
        story.push(format!("{name} removed"));
    }
    (story.join("; "), crafted)
}

/// Opens what may be damaged; whether it opened. What opens shows nothing but what was written, and takes writes.
fn look(dir: &Path, mode: ReadMode, written: &Written, crafted: bool) -> bool {
    let options = || Options::new().read_mode(mode).segment_size(64 << 10).durability(Durability::Os);
    let db = match options().open(dir) {
        Ok(db) => db,
        Err(error) => {
            let kinds = [ErrorKind::Corruption, ErrorKind::FormatVersion, ErrorKind::Invalid, ErrorKind::ResourceLimit];
            assert!(kinds.contains(&error.kind()), "{error:?}");
            let text = error.to_string();
            assert!(text.contains("ZIPCASK") || text.contains("segments"), "{error:?} names no file");
            return false;
        }
    };
    let known =
        |key: &[u8], value: &[u8]| crafted || written.get(key).is_some_and(|all| all.iter().any(|v| v == value));
    for pair in db.iter() {
        match pair {
            Ok((key, value)) => assert!(known(&key, &value), "iter: {key:?} was never so"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corruption, "{error:?}"),
        }
    }
    let mut batch = db.batch();
    for key in written.keys() {
        match db.get(key) {
            Ok(value) => assert!(value.is_none_or(|value| known(key, &value)), "get: {key:?} was never so"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corruption, "{error:?}"),
        }
        batch.delete(&db, key);
    }
    db.verify().unwrap();
    batch.put(&db, "new", "x");
    batch.commit().unwrap();
    db.close().unwrap();
    let db = options().open(dir).expect("what opened and was written opens again");
    assert_eq!(db.get("new").unwrap().unwrap(), "x");
    true
}

/// Opens these files in a folder of their own.
fn opens(files: &Files, rng: &mut Rng, written: &Written, crafted: bool) -> bool {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("segments")).unwrap();
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    let mode = if rng.bool() { ReadMode::Mmap } else { ReadMode::Positioned };
    look(dir.path(), mode, written, crafted)
}

#[test]
fn no_mutation_of_a_store_makes_it_panic_or_show_what_was_never_written() {
    let seed = number("ZIPCASK_SEED", 1);
    let mut rng = Rng::with_seed(seed);
    let (stores, written) = stores(&mut rng);
    let (rounds, mut opened) = (number("ZIPCASK_MUTATIONS", ROUNDS), 0);
    for round in 0..rounds {
        let mut files = stores[rng.usize(0..2)].clone();
        let (story, crafted) = mutate(&mut files, &mut rng);
        let outcome = catch_unwind(AssertUnwindSafe(|| opens(&files, &mut rng, &written, crafted)));
        opened += u64::from(outcome.unwrap_or_else(|_| panic!("seed {seed}, round {round}: {story}")));
    }
    crate::report::report(&format!(
        "mutations: {rounds} stores, {opened} opened, {} refused, 0 wrong, 0 panics (seed {seed})",
        rounds - opened
    ));
    assert!(opened > 0 && opened < rounds);
}

#[test]
fn a_store_copied_while_it_is_open_opens_with_everything() {
    let ([killed, closed], written) = stores(&mut Rng::with_seed(1));
    for files in [killed, closed] {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("segments")).unwrap();
        for (name, bytes) in &files {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        assert_eq!(Db::open(dir.path()).unwrap().len(), written.len() as u64);
    }
}
