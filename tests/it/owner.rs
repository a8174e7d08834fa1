//! Who may read what a store makes: its owner alone, whatever the umask lets through; and stores of others.
//!
//! A umask and a user are the process's, so each test runs in a child: this executable again, asked for one test.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use zipcask::sim::make_hints;
use zipcask::{Compression, Db, Durability, ErrorKind, KeyspaceOptions, Options, PutOptions, inspect};

use crate::bytes::{FIRST, copy, edit, records};
use crate::report::report;

const DIR: &str = "ZIPCASK_OWNER_DIR";
/// Somebody else, by number: it needs no name.
const OTHER: libc::uid_t = 65_534;

fn told_directory() -> Option<PathBuf> {
    std::env::var_os(DIR).map(PathBuf::from)
}

/// Runs one of the tests here in a process of its own.
fn run_child(test: &str, dir: &Path) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("owner::{test}"), "--test-threads=1"])
        .env(DIR, dir)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// All that lies below `dir`, by name.
fn all_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        found.push(entry.path());
        if entry.file_type().unwrap().is_dir() {
            found.extend(all_below(&entry.path()));
        }
    }
    found
}

fn options() -> Options {
    Options::new().segment_size(8 << 20).durability(Durability::Os)
}

/// A store with a file of each kind: written in several segments, packed both ways, with hints, large values, a cursor, and an
/// index that was written down.
fn fill(dir: &Path) -> Db {
    let db = options().background(false).archive_compression(Compression::Deflate).open(dir).unwrap();
    for i in 0..500_u32 {
        db.put(i.to_le_bytes(), vec![i as u8; 900]).unwrap();
    }
    db.archive().unwrap();
    db.close().unwrap();
    let db = options().background(false).open(dir).unwrap();
    for i in 500..20_000_u32 {
        db.put(i.to_le_bytes(), vec![i as u8; 900]).unwrap();
    }
    db.compact().unwrap();
    let space = db.keyspace_with("users", KeyspaceOptions::new().ordered(true)).unwrap();
    for i in 0..20_000_u32 {
        space.put(i.to_le_bytes(), vec![i as u8; 900]).unwrap();
    }
    db.put("large", vec![7; 2 << 20]).unwrap();
    db.seal().unwrap();
    make_hints(&db).unwrap();
    db.cursor("consumer").unwrap();
    db.checkpoint().unwrap();
    db.put_with("last", "durable", PutOptions::new().durability(Durability::Sync)).unwrap();
    db
}

/// A store as a kill leaves it in the middle of a write, whose bytes an open keeps in a file of their own.
fn torn(dir: &Path) {
    let home = tempfile::tempdir().unwrap();
    let db = options().open(home.path()).unwrap();
    for i in 0..10_u32 {
        db.put(i.to_le_bytes(), [1; 100]).unwrap();
    }
    copy(home.path(), dir);
    // Folders of a copy are as the umask wants them.
    for folder in all_below(dir).into_iter().chain([dir.to_owned()]).filter(|path| path.is_dir()) {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
    }
    edit(&dir.join(FIRST), |bytes| {
        let last = *records(bytes).last().unwrap();
        bytes[last + 100..last + 120].fill(0);
    });
    let db = options().open(dir).unwrap();
    assert!(db.stats().recovery.torn_copy.is_some());
}

#[test]
fn child_without_a_umask() {
    let Some(dir) = told_directory() else { return };
    // SAFETY: changes nothing but the mask of this process, which is the test's own.
    unsafe { libc::umask(0) };
    let at = |name: &str| dir.join(name);
    let db = fill(&at("store"));
    db.backup(at("backup")).unwrap();
    db.put("more", "for the next backup").unwrap();
    db.backup(at("backup")).unwrap();
    drop(Db::open_read_only(at("store")).unwrap());
    db.close().unwrap();
    Db::restore(at("backup"), at("restored"), None).unwrap();
    drop(options().open(at("restored")).unwrap());
    inspect::salvage(at("store"), at("saved")).unwrap();
    torn(&at("torn"));
    // Who is killed leaves what says who has the store, and what was made ahead.
    let held = Options::new().segment_size(64 << 10).open(at("held")).unwrap();
    for i in 0..100_u32 {
        held.put(i.to_le_bytes(), [1; 500]).unwrap();
    }
    std::mem::forget(held);
}

#[test]
fn whatever_is_made_is_for_its_owner_alone_though_the_umask_lets_all_through() {
    let dir = tempfile::tempdir().unwrap();
    run_child("child_without_a_umask", dir.path());
    let all = all_below(dir.path());
    let names: Vec<_> = all.iter().map(|path| path.strip_prefix(dir.path()).unwrap().to_str().unwrap()).collect();
    for kind in [
        "store/ZIPCASK",
        "store/LOCK",
        "held/HOLDER",
        "store/segments/",
        "store/archives/",
        "store/hints/",
        "store/large/",
        "store/checkpoint/index",
        "torn/torn/",
        "backup/archives/",
        "backup/segments/",
        "restored/segments/",
        "saved/segments/",
    ] {
        assert!(names.iter().any(|name| name.starts_with(kind)), "there is no {kind}: {names:?}");
    }
    for (path, name) in all.iter().zip(names) {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(path), expected, "{name} has the mode {:o}", mode(path));
    }
}

#[test]
fn a_folder_that_was_there_stays_as_it_was_and_what_is_made_in_it_is_its_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    Db::open(dir.path()).unwrap().put("key", "value").unwrap();
    assert_eq!(mode(dir.path()), 0o755);
    for path in all_below(dir.path()) {
        assert_eq!(mode(&path) & 0o077, 0, "{path:?}");
    }
}

/// What somebody else gets of stores: one that is its owner's alone, one that all may read, and a folder to which nobody may add.
#[test]
fn child_of_somebody_else() {
    let Some(dir) = told_directory() else { return };
    // SAFETY: these change nothing but who this process is, which is the test's own.
    let became = unsafe { (libc::setgroups(0, std::ptr::null()), libc::setgid(OTHER), libc::setuid(OTHER)) };
    assert_eq!(became, (0, 0, 0));
    for denied in ["closed", "empty/store"] {
        for options in [options(), options().create_if_missing(false)] {
            let error = options.open(dir.join(denied)).unwrap_err();
            assert!(error.to_string().contains(dir.to_str().unwrap()), "{denied}: {error:?}");
            assert!(DENIED.contains(&error.kind()), "{denied}: {error:?}");
        }
        assert!(Db::open_read_only(dir.join(denied)).is_err());
    }
    assert_eq!(options().open(dir.join("open")).unwrap_err().kind(), ErrorKind::ReadOnly);
    let db = Db::open_read_only(dir.join("open")).unwrap();
    assert_eq!(db.get("key").unwrap().unwrap(), "value");
    assert_eq!(db.put("key", "other").unwrap_err().kind(), ErrorKind::ReadOnly);
    assert!(db.verify().unwrap().is_clean());
}

const DENIED: [ErrorKind; 3] = [ErrorKind::Io, ErrorKind::ReadOnly, ErrorKind::NotFound];

#[test]
fn somebody_else_reads_what_the_owner_lets_him_and_writes_nothing() {
    // SAFETY: asks, and changes nothing.
    if unsafe { libc::geteuid() } != 0 {
        return report("skipped: only root may become somebody else");
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(dir.path().join("empty")).unwrap();
    for name in ["open", "closed"] {
        let db = options().open(dir.path().join(name)).unwrap();
        db.put("key", "value").unwrap();
        db.close().unwrap();
    }
    let open = dir.path().join("open");
    for path in all_below(&open).into_iter().chain([open]) {
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let bytes = |path: &PathBuf| fs::read(path).unwrap_or_default();
    let before: Vec<_> = all_below(dir.path()).into_iter().map(|path| (bytes(&path), mode(&path), path)).collect();
    run_child("child_of_somebody_else", dir.path());
    let after: Vec<_> = all_below(dir.path()).into_iter().map(|path| (bytes(&path), mode(&path), path)).collect();
    assert!(before == after, "nothing was made, changed or removed");
}
