//! Keyspaces that are made late or badly, times to live of all sizes, and consumers that nobody listens to.

use std::process::{Command, Stdio};

use crate::Folder;

fn position(folder: &Folder, cursor: &str) -> u64 {
    let listed = folder.run(&["cursors", "s"]).fine();
    let line = listed.lines().find(|line| line.split('\t').next() == Some(cursor));
    line.map_or(0, |line| line.split('\t').nth(1).unwrap().parse().unwrap())
}

#[test]
fn a_cursor_stays_where_it_was_if_nobody_took_what_was_shown() {
    let folder = Folder::new();
    let db = zipcask::Db::open(folder.path("s")).unwrap();
    let mut batch = db.batch();
    (0..2_000).for_each(|i| assert!(!batch.put(&db, format!("key {i}"), [b'x'; 100]).is_empty()));
    batch.commit().unwrap();
    (0..5).for_each(|i| assert!(db.put(format!("later {i}"), "1").is_ok()));
    db.cursor_from("consumer", 1.into()).unwrap();
    db.close().unwrap();
    let tail = |stdout: Stdio| {
        Command::new(env!("CARGO_BIN_EXE_zipcask"))
            .args(["tail", "s", "--cursor", "consumer"])
            .current_dir(folder.path(""))
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let mut nobody = tail(Stdio::piped());
    drop(nobody.stdout.take());
    nobody.wait().unwrap();
    assert_eq!(position(&folder, "consumer"), 1, "nobody read it");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    assert!(!tail(full.into()).wait().unwrap().success());
    assert_eq!(position(&folder, "consumer"), 1, "there was no room for it");
    // Stopped by force, where it is.
    let mut killed = tail(Stdio::piped());
    std::io::Read::read_exact(killed.stdout.as_mut().unwrap(), &mut [0; 1000]).unwrap();
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(position(&folder, "consumer"), 1, "it was killed");
    assert_eq!(folder.run(&["tail", "s", "--cursor", "consumer"]).fine().lines().count(), 2_005);
    assert_eq!(position(&folder, "consumer"), 2_006);
    assert_eq!(folder.run(&["tail", "s", "--cursor", "consumer", "--from", "1"]).fine(), "");
    folder.run(&["put", "s", "key", "1"]).fine();
    assert_eq!(folder.run(&["tail", "s", "--cursor", "consumer", "--json"]).fine().lines().count(), 1);
}

#[test]
fn a_cursor_that_cannot_be_made_is_not_made() {
    let folder = Folder::new();
    folder.run(&["put", "s", "a", "1"]).fine();
    folder.run(&["tail", "s", "--cursor", ""]).failed(4);
    folder.run(&["tail", "s", "--cursor", "far", "--from", "1000"]).failed(4);
    assert_eq!(folder.run(&["cursors", "s"]).fine(), "");
    let db = zipcask::Db::open(folder.path("s")).unwrap();
    assert_ne!(folder.run(&["tail", "s", "--cursor", "c"]).code(), 0);
    db.close().unwrap();
    assert_eq!(folder.run(&["tail", "s", "--cursor", "zero", "--from", "0"]).fine().lines().count(), 1);
}

#[test]
fn the_default_keyspace_keeps_its_options_once_something_is_in_it() {
    let folder = Folder::new();
    folder.run(&["put", "s", "a", "1"]).fine();
    folder.run(&["keyspaces", "s", "--make", "default", "--ordered"]).failed(4);
    folder.run(&["keyspaces", "s", "--make", "default", "--ttl", "5"]).failed(4);
    folder.run(&["keyspaces", "s", "--make", "default"]).fine();
    folder.run(&["keyspaces", "s", "--make", "other", "--ordered", "--ttl", "100"]).fine();
    folder.run(&["keyspaces", "s", "--make", "other", "--ordered"]).failed(4);
    folder.run(&["put", "s", "b", "2", "--keyspace", "other"]).fine();
    folder.run(&["del", "s", "a"]).fine();
    folder.run(&["compact", "s"]).fine();
    folder.run(&["keyspaces", "s", "--make", "default", "--ordered"]).failed(4);
    assert_eq!(folder.run(&["keyspaces", "s"]).fine(), "default\t0\nother\t1\n");
    assert_eq!(folder.run(&["scan", "s", "--keyspace", "other"]).fine(), "b\t2\n");
}

#[test]
fn the_default_keyspace_is_made_as_is_said_while_nothing_is_written_or_made() {
    let folder = Folder::new();
    folder.run(&["keyspaces", "s", "--make", "default", "--ordered", "--ttl", "1000"]).fine();
    folder.run(&["keyspaces", "s", "--make", "other"]).fine();
    folder.run(&["keyspaces", "late", "--make", "other"]).fine();
    folder.run(&["keyspaces", "late", "--make", "default", "--ordered"]).failed(4);
    let db = zipcask::Db::open(folder.path("s")).unwrap();
    assert!(db.range("a".."b").is_ok());
    assert_eq!(db.keyspaces(), ["default", "other"]);
}

#[test]
fn what_cannot_be_made_makes_no_store() {
    let folder = Folder::new();
    let all: [&[&str]; 7] = [
        &["keyspaces", "s", "--make", "x", "--ttl", "inf"],
        &["keyspaces", "s", "--make", "x", "--ttl", "nan"],
        &["keyspaces", "s", "--make", "x", "--ttl=-1"],
        &["keyspaces", "s", "--make", "x", "--ttl", "1e300"],
        &["put", "s", "a", "1", "--ttl", "inf"],
        &["put", "s", "a", "1", "--ttl=-1"],
        &["keyspaces", "s", "--make", "", "--drop", "x"],
    ];
    for args in all {
        folder.run(args).failed(2);
        assert!(!folder.path("s").exists(), "{args:?}");
    }
}

#[test]
fn a_keyspace_that_cannot_be_made_leaves_no_store_that_was_made_for_it() {
    let (folder, too_long) = (Folder::new(), "x".repeat(70_000));
    for args in [
        &["keyspaces", "s", "--make", "x", "--ttl", "0"][..],
        &["keyspaces", "s", "--make", "default", "--ttl", "0"],
        &["keyspaces", "s", "--make", ""],
        &["keyspaces", "s", "--make", &too_long],
    ] {
        folder.run(args).failed(4);
        assert!(!folder.path("s").exists(), "{:?}", &args[..3]);
    }
}

#[test]
fn times_of_all_sizes_are_taken() {
    let folder = Folder::new();
    for (key, ttl) in [("zero", "0"), ("tiny", "1e-12"), ("long", "1e15"), ("longest", "1.8e19")] {
        folder.run(&["put", "s", key, "1", "--ttl", ttl]).fine();
    }
    let there = folder.run(&["scan", "s"]).fine();
    assert_eq!(there, "long\t1\nlongest\t1\n");
    folder.run(&["keyspaces", "s", "--make", "longest", "--ttl", "1.8e16"]).fine();
    folder.run(&["put", "s", "a", "1", "--keyspace", "longest"]).fine();
    assert_eq!(folder.run(&["get", "s", "a", "--keyspace", "longest"]).fine(), "1");
    folder.run(&["compact", "s"]).fine();
    assert_eq!(folder.run(&["scan", "s"]).fine(), there);
}

#[test]
fn what_a_keyspace_is_made_with_is_not_said_of_one_that_is_removed() {
    let folder = Folder::new();
    folder.run(&["keyspaces", "s", "--make", "x"]).fine();
    folder.run(&["keyspaces", "s", "--drop", "x", "--ordered"]).failed(2);
    folder.run(&["keyspaces", "s", "--drop", "x", "--ttl", "1"]).failed(2);
    assert_eq!(folder.run(&["keyspaces", "s"]).fine(), "default\t0\nx\t0\n");
}
