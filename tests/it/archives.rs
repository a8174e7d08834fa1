//! One archive, opened without its store: it gives what was written, or an error that says why not.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use tempfile::TempDir;
use zipcask::archive::Archive;
use zipcask::sim::Random;
use zipcask::{Db, Durability, ErrorKind, Options, PutOptions, Value};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn small() -> Options {
    Options::new().durability(Durability::Os).segment_size(64 << 10).background(false)
}

/// A store's directory; another handle of it may look at the files.
fn store() -> (TempDir, Db) {
    let dir = tempfile::tempdir().unwrap();
    let db = small().open(dir.path()).unwrap();
    (dir, db)
}

/// The archives of a store, oldest first.
fn archives(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = fs::read_dir(dir.join("archives")).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

fn only(dir: &Path) -> PathBuf {
    let all = archives(dir);
    assert_eq!(all.len(), 1, "{all:?}");
    all.into_iter().next().unwrap()
}

/// Puts, overwrites and deletes at random.
fn churn(db: &Db, model: &mut Model, random: &mut Random, writes: usize) {
    for _ in 0..writes {
        let key = format!("key {}", random.below(300)).into_bytes();
        if random.below(4) == 0 {
            assert_eq!(db.delete(&key).unwrap(), model.remove(&key).is_some());
        } else {
            let mut value = vec![0; [0, 7, 100, 900][random.below(4)]];
            random.fill(&mut value);
            db.put(&key, &value).unwrap();
            model.insert(key, value);
        }
    }
}

fn pairs(archive: &Archive) -> zipcask::Result<Model> {
    archive.iter().map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect()
}

#[test]
fn a_compacted_archive_has_what_its_store_has() {
    for seed in 1..=4 {
        let ((dir, db), mut random, mut model) = (store(), Random::new(seed), Model::new());
        churn(&db, &mut model, &mut random, 2000);
        db.compact().unwrap();
        let archive = Archive::open(only(dir.path())).unwrap();
        assert_eq!(pairs(&archive).unwrap(), model, "seed {seed}");
        assert_eq!(archive.keys().unwrap(), model.len() as u64);
        for number in 0..400 {
            let key = format!("key {number}");
            let expected = model.get(key.as_bytes());
            assert_eq!(archive.get(&key).unwrap().as_deref(), expected.map(|value| &value[..]), "seed {seed}: {key}");
        }
        let report = archive.verify().unwrap();
        assert!(report.is_clean() && report.records >= model.len() as u64, "{report:?}");
    }
}

#[test]
fn of_packed_segments_the_newest_record_of_a_key_counts_and_a_deleted_key_is_gone() {
    let ((dir, db), mut random, mut model) = (store(), Random::new(9), Model::new());
    let mut told = 0;
    for _ in 0..3 {
        churn(&db, &mut model, &mut random, 1500);
        db.put("twice", "first").unwrap();
        db.put("gone", "value").unwrap();
        db.put("twice", "second").unwrap();
        db.delete("gone").unwrap();
        db.seal().unwrap();
        db.archive().unwrap();
        let newest = Archive::open(archives(dir.path()).pop().unwrap()).unwrap();
        assert_eq!(newest.get("twice").unwrap().unwrap(), *b"second");
        assert_eq!(newest.get("gone").unwrap(), None);
        told = newest.facts().entries.iter().filter(|entry| entry.records.is_some()).count();
    }
    assert!(told > 1, "an archive of several segments");
    model.insert(b"twice".to_vec(), b"second".to_vec());
    let all: Vec<_> = archives(dir.path()).iter().map(|path| Archive::open(path).unwrap()).collect();
    assert!(all.len() > 3, "{}", all.len());
    for (key, value) in &model {
        let found = all.iter().rev().find_map(|archive| archive.get(key).unwrap());
        assert_eq!(found.unwrap(), *value);
    }
}

#[test]
fn iter_shows_each_key_once_in_the_order_of_the_writes() {
    let (dir, db) = store();
    for number in (0..500).rev() {
        db.put(format!("{number:03}"), "old").unwrap();
    }
    for number in (0..500).rev() {
        db.put(format!("{number:03}"), "new").unwrap();
    }
    db.seal().unwrap();
    db.archive().unwrap();
    let archive = Archive::open(only(dir.path())).unwrap();
    let iter = archive.iter();
    drop((archive, db, dir));
    let seen: Vec<_> = thread::spawn(move || iter.map(Result::unwrap).collect()).join().unwrap();
    let expected: Vec<_> = (0..500).rev().map(|number| format!("{number:03}").into_bytes()).collect();
    assert_eq!(seen.iter().map(|(key, _): &(Value, Value)| key.to_vec()).collect::<Vec<_>>(), expected);
    assert!(seen.iter().all(|(_, value)| *value == *b"new"));
}

#[test]
fn values_outlive_the_handle_and_the_file() {
    let (dir, db) = store();
    db.put("key", [7; 5000]).unwrap();
    db.compact().unwrap();
    db.close().unwrap();
    let copy = dir.path().join("a copy: of another name");
    fs::rename(only(dir.path()), &copy).unwrap();
    let archive = Archive::open(&copy).unwrap();
    let again = archive.clone();
    drop(dir);
    assert!(!copy.exists());
    let value = thread::spawn(move || again.get("key").unwrap().unwrap()).join().unwrap();
    assert_eq!(archive.get("absent").unwrap(), None);
    drop(archive);
    assert_eq!(value, [7; 5000]);
    assert!(value.as_ptr().addr().is_multiple_of(8));
}

#[test]
fn the_default_keyspace_has_a_name_and_there_is_no_other() {
    let (dir, db) = store();
    db.put("key", "value").unwrap();
    db.compact().unwrap();
    let archive = Archive::open(only(dir.path())).unwrap();
    assert_eq!(archive.get_in("default", "key").unwrap().unwrap(), *b"value");
    assert_eq!(archive.get_in("other", "key").unwrap(), None);
    assert_eq!(archive.facts().keyspaces, ["default"]);
    assert_eq!((archive.iter_in("default").count(), archive.iter_in("other").count()), (1, 0));
}

#[test]
fn an_archive_names_its_keyspaces_and_shows_each_by_itself() {
    for rewritten in [false, true] {
        let (dir, db) = store();
        let [b, a, gone] = ["b", "a", "gone"].map(|name| db.keyspace(name).unwrap());
        for (keyspace, value) in [(&*db, "0"), (&b, "1"), (&a, "2"), (&gone, "3"), (&b, "4")] {
            keyspace.put("key", value).unwrap();
        }
        b.put("other", "5").unwrap();
        b.delete("other").unwrap();
        db.drop_keyspace("gone").unwrap();
        db.seal().unwrap();
        let archives = if rewritten { db.compact().unwrap().archives } else { db.archive().unwrap().archives };
        assert_eq!(archives, 1);
        let archive = Archive::open(only(dir.path())).unwrap();
        assert_eq!(archive.facts().keyspaces, ["a", "b", "default"]);
        let shown = |name: &str| -> Vec<_> {
            let pairs = archive.iter_in(name).map(Result::unwrap);
            pairs.map(|(key, value)| format!("{}={}", key.escape_ascii(), value.escape_ascii())).collect()
        };
        for (name, expected) in [("default", "key=0"), ("b", "key=4"), ("a", "key=2")] {
            assert_eq!(shown(name), [expected], "{rewritten}");
        }
        assert!(shown("gone").is_empty());
    }
}

#[test]
fn an_archive_tells_when_a_key_expires_and_shows_it_no_longer() {
    let (dir, db) = store();
    let other = db.keyspace("other").unwrap();
    let moment = UNIX_EPOCH + Duration::from_secs(5_000_000_000);
    db.put("key", "1").unwrap();
    other.put_with("key", "2", PutOptions::new().expires_at(moment)).unwrap();
    other.put_with("gone", "3", PutOptions::new().expires_at(UNIX_EPOCH + Duration::from_millis(7))).unwrap();
    other.put("deleted", "4").unwrap();
    other.delete("deleted").unwrap();
    db.seal().unwrap();
    db.archive().unwrap();
    let archive = Archive::open(only(dir.path())).unwrap();
    let expires = |keyspace: &str, key: &str| archive.expires_at_in(keyspace, key).unwrap();
    assert_eq!((expires("default", "key"), expires("other", "key")), (None, Some(moment)));
    assert_eq!(expires("other", "gone"), Some(UNIX_EPOCH + Duration::from_millis(7)), "though that has come");
    assert_eq!(archive.get_in("other", "gone").unwrap(), None);
    assert_eq!((expires("other", "deleted"), expires("other", "absent"), expires("none", "key")), (None, None, None));
    assert_eq!(archive.iter_in("other").count(), 1);
}

#[test]
fn a_large_value_is_an_error_that_names_its_file_and_costs_no_other_key() {
    let (dir, db) = store();
    db.put("small", "here").unwrap();
    db.put("large", vec![1; 2_000_000]).unwrap();
    db.put("other", "here, too").unwrap();
    db.compact().unwrap();
    let archive = Archive::open(only(dir.path())).unwrap();
    let error = archive.get("large").unwrap_err();
    let file = fs::read_dir(dir.path().join("large")).unwrap().next().unwrap().unwrap().file_name();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    assert_eq!(archive.get("small").unwrap().unwrap(), *b"here");
    let (shown, refused): (Vec<_>, Vec<_>) = archive.iter().partition(Result::is_ok);
    assert_eq!((shown.len(), refused.len()), (2, 1));
    assert!(archive.verify().unwrap().is_clean());
}

#[test]
fn facts_are_what_was_written() {
    let (dir, db) = store();
    for number in 0..100 {
        db.put(format!("key {number}"), "value").unwrap();
    }
    db.seal().unwrap();
    db.delete("key 7").unwrap();
    db.seal().unwrap();
    db.archive().unwrap();
    let path = only(dir.path());
    let archive = Archive::open(&path).unwrap();
    let facts = archive.facts();
    assert_eq!((facts.id, facts.records), (1, 101));
    assert_eq!((facts.covers, facts.replaces), (1..=2, vec![]));
    assert_eq!(facts.seqnos, 1.into()..=101.into());
    assert_eq!(facts.file_bytes, fs::metadata(&path).unwrap().len());
    assert_eq!(archive.path(), fs::canonicalize(&path).unwrap());
    let entries: Vec<_> = facts.entries.iter().map(|entry| (entry.name.as_str(), entry.records)).collect();
    let expected = [
        ("log/0000000001.seg", Some(100)),
        ("hints/log/0000000001.hint", None),
        ("log/0000000002.seg", Some(1)),
        ("hints/log/0000000002.hint", None),
    ];
    assert_eq!(entries, expected);
    let bytes = fs::read(&path).unwrap();
    assert!(facts.entries.iter().all(|entry| (entry.offset + entry.len) as usize <= bytes.len()));
    for number in 20..100 {
        db.delete(format!("key {number}")).unwrap();
    }
    db.compact().unwrap();
    let facts = Archive::open(only(dir.path())).unwrap().facts();
    assert!(facts.id > 1 && facts.replaces == [1] && facts.covers == (1..=3), "{facts:?}");
    assert_eq!((facts.seqnos, facts.records), (1.into()..=181.into(), 19));
}

#[test]
fn an_archive_of_nothing_is_one() {
    let (dir, db) = store();
    db.put("key", "value").unwrap();
    db.delete("key").unwrap();
    db.compact().unwrap();
    let archive = Archive::open(only(dir.path())).unwrap();
    assert_eq!((archive.iter().count(), archive.facts().records), (0, 0));
    assert!(archive.verify().unwrap().is_clean());
}

#[test]
fn what_is_no_archive_is_refused() {
    let (dir, db) = store();
    db.put("key", "value").unwrap();
    db.close().unwrap();
    let kind = |path: &Path| Archive::open(path).unwrap_err().kind();
    assert_eq!(kind(&dir.path().join("none.zip")), ErrorKind::NotFound);
    assert_eq!(kind(dir.path()), ErrorKind::Invalid);
    for (name, bytes) in [("empty", vec![]), ("text", b"a text".to_vec()), ("long", vec![b'x'; 100_000])] {
        let path = dir.path().join(name);
        fs::write(&path, &bytes).unwrap();
        assert_eq!(kind(&path), ErrorKind::Corruption, "{name}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
    assert_eq!(kind(&dir.path().join("segments/0000000001.seg")), ErrorKind::Corruption);
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_without_waiting_and_a_link_is_followed() {
    let (dir, db) = store();
    db.put("key", "value").unwrap();
    db.compact().unwrap();
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert_eq!(Archive::open(&pipe).unwrap_err().kind(), ErrorKind::Invalid);
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(only(dir.path()), &link).unwrap();
    assert!(Archive::open(&link).unwrap().get("key").unwrap().is_some());
}

/// A small archive of one segment as it was, or of a rewritten one, and what is in it.
fn specimen(rewritten: bool) -> (TempDir, Vec<u8>, Model) {
    let ((dir, db), mut model) = (store(), Model::new());
    let mut random = Random::new(3);
    for number in 0..24 {
        let mut value = vec![0; random.below(60)];
        random.fill(&mut value);
        let key = format!("key {}", number % 15).into_bytes();
        db.put(&key, &value).unwrap();
        model.insert(key, value);
    }
    db.delete("key 3").unwrap();
    model.remove(&b"key 3"[..]);
    db.seal().unwrap();
    let archives = if rewritten { db.compact().unwrap().archives } else { db.archive().unwrap().archives };
    assert_eq!(archives, 1);
    let bytes = fs::read(only(dir.path())).unwrap();
    (dir, bytes, model)
}

/// What reading these bytes as an archive comes to.
#[derive(Debug, PartialEq)]
enum Read {
    /// All as it was written.
    Right,
    /// An error, naming the file.
    Refused,
    Wrong,
}

fn read(path: &Path, model: &Model) -> Read {
    let said = |error: zipcask::Error| {
        let text = error.to_string();
        assert!(matches!(error.kind(), ErrorKind::Corruption | ErrorKind::FormatVersion), "{error:?}");
        assert!(text.contains(path.file_name().unwrap().to_str().unwrap()), "{text}");
        Read::Refused
    };
    let archive = match Archive::open(path) {
        Ok(archive) => archive,
        Err(error) => return said(error),
    };
    let mut read = Read::Right;
    for number in 0..16 {
        let key = format!("key {number}").into_bytes();
        match archive.get(&key) {
            Ok(value) if value.as_deref() == model.get(&key).map(Vec::as_slice) => {}
            Ok(_) => return Read::Wrong,
            Err(error) => read = said(error),
        }
    }
    let mut shown = 0;
    for pair in archive.iter() {
        match pair {
            Ok((key, value)) if model.get(&*key).is_some_and(|expected| value == *expected) => shown += 1,
            Ok(_) => return Read::Wrong,
            Err(error) => read = said(error),
        }
    }
    if read == Read::Right && shown < model.len() { Read::Wrong } else { read }
}

fn is_found_by_verify(path: &Path) -> bool {
    match Archive::open(path) {
        Ok(archive) => !archive.verify().unwrap().is_clean(),
        Err(_) => true,
    }
}

#[test]
fn a_flipped_bit_is_detected_and_never_gives_what_was_not_written() {
    let (mut flipped, mut detected, mut at_reading, mut harmless, mut wrong) = (0, 0, 0, 0, 0);
    for rewritten in [false, true] {
        let (dir, bytes, model) = specimen(rewritten);
        let path = dir.path().join("flipped.zip");
        fs::write(&path, &bytes).unwrap();
        assert_eq!(read(&path, &model), Read::Right);
        assert!(!is_found_by_verify(&path));
        let mut random = Random::new(u64::from(rewritten));
        for at in 0..bytes.len() {
            // Each byte, but of the many zeros of the padding only some.
            let plain = at > 0 && at + 1 < bytes.len() && bytes[at - 1..=at + 1] == [0; 3];
            if plain && random.below(40) > 0 {
                continue;
            }
            let mut changed = bytes.clone();
            changed[at] ^= 1 << random.below(8);
            fs::write(&path, &changed).unwrap();
            flipped += 1;
            match read(&path, &model) {
                Read::Wrong => wrong += 1,
                Read::Refused => (detected, at_reading) = (detected + 1, at_reading + 1),
                Read::Right if is_found_by_verify(&path) => detected += 1,
                Read::Right => harmless += 1,
            }
        }
    }
    println!(
        "archive bits: {flipped} flipped, {detected} detected ({at_reading} by reading), {harmless} harmless, {wrong} wrong"
    );
    assert_eq!((wrong, harmless), (0, 0));
    assert!(at_reading > 1000 && detected == flipped);
}

#[test]
fn an_archive_that_was_cut_is_refused_wherever_it_was() {
    for rewritten in [false, true] {
        let (dir, bytes, model) = specimen(rewritten);
        let path = dir.path().join("cut.zip");
        for len in (0..bytes.len()).step_by(61).chain(bytes.len() - 200..bytes.len()) {
            fs::write(&path, &bytes[..len]).unwrap();
            assert_eq!(read(&path, &model), Read::Refused, "{len}");
            assert_eq!(fs::metadata(&path).unwrap().len(), len as u64, "nothing is written");
        }
    }
}

/// Where `what` begins in `bytes`.
fn places(bytes: &[u8], what: &[u8]) -> Vec<usize> {
    (0..bytes.len() + 1 - what.len()).filter(|at| bytes[*at..].starts_with(what)).collect()
}

/// `bytes` with another name, of the same length, wherever an entry has it; the checksum of the manifest is right.
fn renamed(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let found = places(&bytes, from.as_bytes());
    assert_eq!(found.len(), 3, "header, manifest, directory");
    found.into_iter().for_each(|at| bytes[at..at + to.len()].copy_from_slice(to.as_bytes()));
    let (start, end) = (places(&bytes, b"{\n  \"format\"")[0], places(&bytes, b"]\n}\n")[0] + 4);
    let crc = crc32fast::hash(&bytes[start..end]).to_le_bytes();
    let [local, listed] = places(&bytes, b"manifest.json")[..] else { panic!("header and directory") };
    bytes[local - 16..local - 12].copy_from_slice(&crc);
    bytes[listed - 30..listed - 26].copy_from_slice(&crc);
    bytes
}

#[test]
fn hostile_names_are_refused_though_all_checksums_are_right() {
    let (dir, db) = store();
    for _ in 0..2 {
        db.put("key", "value").unwrap();
        db.seal().unwrap();
    }
    db.archive().unwrap();
    let bytes = fs::read(only(dir.path())).unwrap();
    let path = dir.path().join("hostile.zip");
    let name = "log/0000000002.seg";
    fs::write(&path, renamed(&bytes, name, name)).unwrap();
    assert_eq!(
        Archive::open(&path).unwrap().get("key").unwrap().unwrap(),
        *b"value",
        "the forging itself harms nothing"
    );
    for to in [
        "log/0000000001.seg",
        "log/0000000003.seg",
        "../../../etc/x.seg",
        "/og/0000000002.seg",
        "..\\00000000000.seg",
        "log/../00000002.se",
        "log/00000000\u{0}2.seg",
        "packed/00000001.se",
        "log/00000000-2.seg",
    ] {
        fs::write(&path, renamed(&bytes, name, to)).unwrap();
        let error = Archive::open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption, "{to}: {error}");
        assert!(error.to_string().contains("hostile.zip is damaged at offset"), "{error}");
    }
    let newer = renamed(&bytes, name, name);
    let at = places(&newer, b"\"version\": 1")[0] + 11;
    let mut newer = newer;
    newer[at] = b'2';
    let newer = renamed(&newer, name, name);
    fs::write(&path, newer).unwrap();
    assert_eq!(Archive::open(&path).unwrap_err().kind(), ErrorKind::FormatVersion);
    let names: Vec<OsString> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name == "etc"), "{names:?}");
}

#[test]
fn a_damaged_value_costs_its_key_and_a_damaged_key_costs_all() {
    let (dir, db) = store();
    for key in ["first", "second", "third"] {
        db.put(key, format!("value of {key}")).unwrap();
    }
    db.compact().unwrap();
    let bytes = fs::read(only(dir.path())).unwrap();
    let path = dir.path().join("rotten.zip");
    let rotten = |what: &str| {
        let mut rotten = bytes.clone();
        rotten[places(&bytes, what.as_bytes())[0]] ^= 1;
        fs::write(&path, rotten).unwrap();
        Archive::open(&path).unwrap()
    };
    let archive = rotten("value of second");
    let error = archive.get("second").unwrap_err();
    assert!(error.kind() == ErrorKind::Corruption && error.to_string().contains("log/0000000001.seg"), "{error}");
    assert_eq!(archive.get("third").unwrap().unwrap(), *b"value of third");
    assert_eq!(archive.iter().filter(Result::is_ok).count(), 2);
    assert_eq!(archive.iter().filter(Result::is_err).count(), 1);
    let problems = archive.verify().unwrap();
    assert_eq!(problems.problems().len(), 2, "the entry, and the record in it: {problems:?}");
    let archive = rotten("second");
    assert!(archive.get("first").is_err() && archive.get("absent").is_err());
    assert_eq!(archive.iter().map(|pair| pair.unwrap_err().kind()).collect::<Vec<_>>(), [ErrorKind::Corruption]);
    assert!(!archive.verify().unwrap().is_clean());
}

/// Each gets the archive's path behind these.
const TOOLS: [&[&str]; 4] =
    [&["unzip", "-t"], &["7z", "t"], &["python3", "-W", "error", "-m", "zipfile", "-t"], &["bsdtar", "-tf"]];

#[test]
fn stock_tools_take_the_archives_of_a_store() {
    let ((dir, db), mut random, mut model) = (store(), Random::new(5), Model::new());
    churn(&db, &mut model, &mut random, 2000);
    db.compact().unwrap();
    churn(&db, &mut model, &mut random, 1000);
    db.put("large", vec![1; 2_000_000]).unwrap();
    db.seal().unwrap();
    db.archive().unwrap();
    db.close().unwrap();
    let archives = archives(dir.path());
    assert!(archives.len() > 1, "{archives:?}");
    for tool in TOOLS {
        for path in &archives {
            let output = match Command::new(tool[0]).args(&tool[1..]).arg(path).output() {
                Ok(output) => output,
                Err(error) => {
                    println!("stock tools: {} skipped: {error}", tool[0]);
                    break;
                }
            };
            let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).to_lowercase();
            assert!(output.status.success() && !said.contains("warning"), "{tool:?}: {}, {said}", output.status);
        }
    }
}
