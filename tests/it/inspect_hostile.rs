//! The tools over directories that hold archives, large values, and things that no store ever wrote.

use std::fs;
use std::path::Path;

use fastrand::Rng;
use tempfile::TempDir;
use zipcask::inspect::{self, What};
use zipcask::{Db, Options};

use crate::bytes::{FIRST, RECORDS, edit, fix_record, records};
use crate::inspect::{files, small};

const ARCHIVE: &str = "archives/0000000001.zip";

/// Keys and values, in order.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// What is saved of a store.
fn saved(dir: &Path) -> (Pairs, inspect::SalvageReport) {
    let out = TempDir::new().unwrap();
    let report = inspect::salvage(dir, out.path()).unwrap();
    (pairs(&Db::open_read_only(out.path()).unwrap()), report)
}

fn pairs(db: &Db) -> Pairs {
    let mut pairs: Vec<_> = db.iter().map(Result::unwrap).map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    pairs.sort();
    pairs
}

/// A store whose records are in an archive, but for the last.
fn archived(dir: &Path) -> Pairs {
    let db = small(dir);
    for i in 0..40_u8 {
        db.put([i], vec![i; 200]).unwrap();
    }
    db.delete([7]).unwrap();
    db.put([8], "newer").unwrap();
    db.compact().unwrap();
    db.put("last", "in the log").unwrap();
    let pairs = pairs(&db);
    db.close().unwrap();
    pairs
}

#[test]
fn an_archive_is_saved_whatever_byte_of_its_structure_is_damaged() {
    let dir = TempDir::new().unwrap();
    let all = archived(dir.path());
    assert_eq!(inspect::verify(dir.path()).unwrap().problems(), []);
    let (whole, report) = saved(dir.path());
    assert!(whole == all && report.is_complete(), "{report:?}");
    let path = dir.path().join(ARCHIVE);
    let bytes = fs::read(&path).unwrap();
    let segment = bytes.windows(8).position(|window| window == b"ZCSEGMNT").unwrap();
    let first = segment + RECORDS;
    let behind = bytes.windows(8).position(|window| window == b"ZCFOOTER").unwrap();
    for at in (0..first).step_by(97).chain((first..behind).step_by(41)).chain((behind..bytes.len()).step_by(13)) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&path, &flipped).unwrap();
        assert!(!inspect::verify(dir.path()).unwrap().is_clean(), "byte {at}");
        let (saved, report) = saved(dir.path());
        let lost = all.len() - saved.len();
        assert!(saved.iter().all(|pair| all.contains(pair)), "byte {at}: {report:?}");
        assert_eq!(lost, usize::from((first..behind).contains(&at)), "byte {at}: {report:?}");
    }
    for len in [0, 1, 100, segment, segment + 700, first, first + 1000, behind, behind + 64, bytes.len() - 1] {
        fs::write(&path, &bytes[..len]).unwrap();
        assert!(!inspect::verify(dir.path()).unwrap().is_clean(), "{len} bytes");
        let (saved, report) = saved(dir.path());
        assert!(saved.iter().all(|pair| all.contains(pair)), "{len} bytes: {report:?}");
        let lost = all.len() - saved.len();
        assert!(if len < behind { lost > 0 && !report.is_complete() } else { lost == 0 }, "{len} bytes: {report:?}");
    }
}

#[test]
fn a_deleted_key_does_not_come_back_from_files_that_a_job_left_half_removed() {
    let dir = TempDir::new().unwrap();
    let db = small(dir.path());
    db.put("gone", "long ago").unwrap();
    db.put("kept", "still").unwrap();
    db.seal().unwrap();
    let first = fs::read(dir.path().join(FIRST)).unwrap();
    db.delete("gone").unwrap();
    db.compact().unwrap();
    db.close().unwrap();
    assert!(!dir.path().join(FIRST).exists());
    fs::write(dir.path().join(FIRST), first).unwrap();
    assert!(inspect::verify(dir.path()).unwrap().is_clean(), "the next open removes it");
    let (saved, report) = saved(dir.path());
    assert_eq!(saved, [(b"kept".to_vec(), b"still".to_vec())], "{report:?}");
}

#[test]
fn a_large_value_is_saved_whole_or_told_of() {
    let dir = TempDir::new().unwrap();
    let db = small(dir.path());
    let large = vec![5; 3 << 20];
    db.put("large", "small first").unwrap();
    db.put("large", &large).unwrap();
    db.put("other", &large).unwrap();
    db.put("other", "small again").unwrap();
    db.close().unwrap();
    assert_eq!(inspect::verify(dir.path()).unwrap().problems(), []);
    let all = [(b"large".to_vec(), large), (b"other".to_vec(), b"small again".to_vec())];
    assert_eq!(saved(dir.path()).0, all);
    for name in files(dir.path()).into_keys().filter(|name| name.ends_with(".val")) {
        edit(&dir.path().join(name), |bytes| bytes[1 << 20] ^= 1);
    }
    let report = inspect::verify(dir.path()).unwrap();
    assert_eq!(report.problems().len(), 1, "nobody misses the other: {:?}", report.problems());
    assert!(report.problems()[0].file.contains("large"));
    let (saved, report) = saved(dir.path());
    assert_eq!(saved, [(b"large".to_vec(), b"small first".to_vec()), all[1].clone()]);
    assert_eq!(report.damaged.len(), 1, "{report:?}");
    assert_eq!(report.damaged[0].taken.map(u64::from), Some(1));
}

#[test]
fn a_dump_shows_every_byte_of_a_segment_once_and_every_record() {
    let dir = TempDir::new().unwrap();
    let db = small(dir.path());
    db.put("one", "1").unwrap();
    db.delete("one").unwrap();
    db.put("two", "a value").unwrap();
    db.close().unwrap();
    let before = files(dir.path());
    let shown = |damaged: bool| {
        let items: Vec<_> = inspect::dump(dir.path()).unwrap().filter(|item| item.file.ends_with(FIRST)).collect();
        let mut at = 0;
        for item in &items {
            // The sectors between the slots and the second header are not used.
            assert!(item.offset == at || (at, item.offset) == (1536, 3584), "{item:?} at {at}");
            at = item.offset + item.len;
        }
        assert_eq!(at, 64 << 10);
        assert_eq!(items.iter().any(|item| matches!(item.what, What::Damaged(_))), damaged);
        let records = items.into_iter().filter_map(|item| match item.what {
            What::Record(record) => Some((record.kind, record.key, u64::from(record.seqno), record.damage.is_some())),
            _ => None,
        });
        records.collect::<Vec<_>>()
    };
    let all =
        [("put", b"one".to_vec(), 1, false), ("delete", b"one".to_vec(), 2, false), ("put", b"two".to_vec(), 3, false)];
    assert_eq!(shown(false), all);
    assert_eq!(files(dir.path()), before);
    let second = records(&before[FIRST])[1];
    edit(&dir.path().join(FIRST), |bytes| bytes[second + 24] ^= 1);
    assert_eq!(shown(true), [all[0].clone(), all[2].clone()]);
    edit(&dir.path().join(FIRST), |bytes| {
        let value = bytes.windows(7).position(|window| window == b"a value").unwrap();
        bytes[value] ^= 1;
    });
    assert_eq!(shown(true)[1], ("put", b"two".to_vec(), 3, true));
}

/// Runs every tool, and sees to it that none writes into the directory.
fn all_tools(dir: &Path, story: &str) {
    let before = files(dir);
    let out = TempDir::new().unwrap();
    let _ = inspect::verify(dir);
    if let Ok(items) = inspect::dump(dir) {
        assert!(items.count() > 0, "{story}");
    }
    let _ = inspect::salvage(dir, out.path());
    assert!(files(dir) == before, "{story}");
}

#[test]
fn random_bytes_in_any_file_are_survived() {
    let mut rng = Rng::with_seed(7);
    for round in 0..60 {
        let dir = TempDir::new().unwrap();
        archived(dir.path());
        fs::create_dir_all(dir.path().join("hints")).unwrap();
        fs::create_dir_all(dir.path().join("checkpoint")).unwrap();
        let mut names: Vec<_> = files(dir.path()).into_keys().filter(|name| name != "LOCK").collect();
        names.extend(
            ["hints/0000000002.hint", "checkpoint/index", "archives/0000000009.zip", "segments/0000000009.seg"]
                .map(String::from),
        );
        let mut story = format!("round {round}:");
        for _ in 0..rng.usize(1..4) {
            let name = rng.choice(&names).unwrap();
            let mut bytes = fs::read(dir.path().join(name)).unwrap_or_default();
            let at = rng.usize(0..bytes.len() + 1);
            let noise: Vec<u8> = (0..rng.usize(0..9000)).map(|_| rng.u8(..)).collect();
            bytes.truncate(at + if rng.bool() { 0 } else { bytes.len() });
            bytes.splice(at.min(bytes.len()).., noise.iter().copied());
            story.push_str(&format!(" {name} {at}+{}", noise.len()));
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        all_tools(dir.path(), &story);
    }
}

#[cfg(unix)]
#[test]
fn links_and_folders_in_the_place_of_files_are_told_of_and_never_followed() {
    use std::os::unix::fs::symlink;
    let victim = TempDir::new().unwrap();
    archived(victim.path());
    for name in ["ZIPCASK", ARCHIVE, "segments/0000000002.seg", "segments", "archives"] {
        for link in [true, false] {
            let dir = TempDir::new().unwrap();
            archived(dir.path());
            let path = dir.path().join(name);
            if path.is_dir() {
                fs::remove_dir_all(&path).unwrap()
            } else {
                fs::remove_file(&path).unwrap()
            }
            match link {
                true => symlink(victim.path().join(name), &path).unwrap(),
                false if name.contains('.') || name == "ZIPCASK" => fs::create_dir(&path).unwrap(),
                false => fs::write(&path, "no folder").unwrap(),
            }
            let report = inspect::verify(dir.path()).unwrap();
            assert!(!report.is_clean(), "{name}, link: {link}");
            assert!(report.problems().iter().any(|problem| problem.file.contains(name)), "{:?}", report.problems());
            all_tools(dir.path(), name);
        }
    }
}

#[test]
fn a_file_that_says_it_is_huge_takes_neither_memory_nor_time() {
    let dir = TempDir::new().unwrap();
    archived(dir.path());
    for name in
        ["segments/0000000003.seg", "archives/0000000002.zip", "checkpoint/index", "hints/0000000002.hint", "ZIPCASK"]
    {
        fs::create_dir_all(dir.path().join("checkpoint")).unwrap();
        fs::create_dir_all(dir.path().join("hints")).unwrap();
        let file = fs::File::options().write(true).create(true).truncate(false).open(dir.path().join(name)).unwrap();
        file.set_len(256 << 20).unwrap();
        assert!(!inspect::verify(dir.path()).unwrap().is_clean(), "{name}");
    }
    let (saved, report) = saved(dir.path());
    assert!(!saved.is_empty() && !report.is_complete());
}

#[test]
fn a_store_with_a_written_index_and_hints_is_read_to_its_last_byte() {
    let dir = TempDir::new().unwrap();
    let db = Options::new().background(false).open(dir.path()).unwrap();
    for i in 0..20_000_u32 {
        db.put(i.to_be_bytes(), vec![i as u8; 900]).unwrap();
    }
    db.seal().unwrap();
    zipcask::sim::make_hints(&db).unwrap();
    db.checkpoint().unwrap();
    db.close().unwrap();
    assert_eq!(inspect::verify(dir.path()).unwrap().problems(), []);
    let whole = files(dir.path());
    let around: Vec<_> =
        whole.iter().filter(|(name, _)| name.contains("hint") || name.contains("checkpoint")).collect();
    assert!(around.len() >= 2, "{:?}", whole.keys());
    for (name, bytes) in around {
        for at in (0..512).chain(4096..bytes.len()).step_by(bytes.len() / 23) {
            edit(&dir.path().join(name), |bytes| bytes[at] ^= 4);
            let report = inspect::verify(dir.path()).unwrap();
            assert_eq!(report.problems().len(), 1, "{name}, byte {at}");
            assert!(report.problems()[0].what.contains("remove the file"), "{:?}", report.problems());
            edit(&dir.path().join(name), |bytes| bytes[at] ^= 4);
        }
    }
}

/// What was cleared or deleted in another keyspace stays away.
#[test]
fn what_is_in_another_keyspace_is_saved_apart() {
    let dir = TempDir::new().unwrap();
    let db = small(dir.path());
    db.put("ours", "stays").unwrap();
    let create = [&[4, 0, 5, 0, 8, 0, 4, 0][..], &[0; 8], b"logs"].concat();
    let kinds: [(&str, &[u8], u8); 6] = [
        ("", &create, 4),
        ("cleared", b"1", 1),
        ("", &[6, 0, 5, 0, 0, 0, 0, 0], 6),
        ("kept", b"2", 1),
        ("too", b"3", 1),
        ("too", b"", 3),
    ];
    for (key, value, _) in &kinds {
        db.put(key, value).unwrap();
    }
    db.close().unwrap();
    edit(&dir.path().join(FIRST), |bytes| {
        for (at, (_, _, kind)) in records(bytes).into_iter().skip(1).zip(&kinds) {
            (bytes[at + 20], bytes[at + 22]) = (5, *kind);
            fix_record(bytes, at);
        }
    });
    let (saved, report) = saved(dir.path());
    assert_eq!(saved, [(b"ours".to_vec(), b"stays".to_vec())]);
    assert_eq!((report.keys, report.is_complete()), (2, true), "{report:?}");
}

#[test]
fn keyspaces_whose_names_are_lost_or_anothers_are_kept_apart() {
    let (dir, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let db = small(dir.path());
    // Their numbers, and what each is called; the newest of a name has the right to it.
    let names =
        [(5, Some("logs")), (6, Some("logs")), (7, Some("default")), (8, Some("")), (9, None), (4, Some("lost-9"))];
    let mut numbers = Vec::new();
    for (number, name) in names {
        if let Some(name) = name {
            db.put("", [&[4, 0, number, 0, 8, 0, name.len() as u8, 0][..], &[0; 8], name.as_bytes()].concat()).unwrap();
            numbers.push((number, 4));
        }
        db.put("key", [number]).unwrap();
        numbers.push((number, 1));
    }
    db.close().unwrap();
    edit(&dir.path().join(FIRST), |bytes| {
        for (at, (number, kind)) in records(bytes).into_iter().zip(numbers) {
            (bytes[at + 20], bytes[at + 22]) = (number, kind);
            fix_record(bytes, at);
        }
    });
    assert_eq!(inspect::salvage(dir.path(), out.path()).unwrap().keys, 6);
    let saved = Db::open_read_only(out.path()).unwrap();
    let of = |name: &String| saved.keyspace(name).unwrap().get("key").unwrap().map(|value| value[0]);
    let found: Vec<_> = saved.keyspaces().iter().map(|name| (name.clone(), of(name))).collect();
    let wanted = [
        ("default", None),
        ("logs", Some(6)),
        ("lost-5", Some(5)),
        ("lost-7", Some(7)),
        ("lost-8", Some(8)),
        ("lost-9", Some(4)),
        ("lost-9-", Some(9)),
    ];
    assert_eq!(found, wanted.map(|(name, number)| (name.to_string(), number)));
}

#[test]
fn a_missing_file_is_told_of_and_the_others_are_saved() {
    let dir = TempDir::new().unwrap();
    let db = small(dir.path());
    for i in 0..3_u8 {
        db.put([i], [i]).unwrap();
        db.seal().unwrap();
    }
    db.close().unwrap();
    fs::remove_file(dir.path().join("segments/0000000002.seg")).unwrap();
    let report = inspect::verify(dir.path()).unwrap();
    assert!(
        report.problems().iter().any(|problem| problem.file.ends_with("0000000002.seg")),
        "{:?}",
        report.problems()
    );
    let (there, report) = saved(dir.path());
    assert_eq!(there, [(vec![0], vec![0]), (vec![2], vec![2])]);
    assert!(report.lost.iter().any(|lost| lost.file.ends_with("0000000002.seg")), "{report:?}");
    fs::remove_file(dir.path().join("ZIPCASK")).unwrap();
    assert!(!inspect::verify(dir.path()).unwrap().is_clean());
    assert_eq!(saved(dir.path()).0, there, "the segments know whose they are");
}
