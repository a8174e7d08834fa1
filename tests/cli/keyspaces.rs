//! `keyspaces`, the verbs within one, and ranges of `scan`.

use crate::{Folder, archive_of, json};

#[test]
fn verbs_are_about_the_keyspace_that_is_named() {
    let folder = Folder::new();
    folder.run(&["put", "s", "a", "1"]).fine();
    folder.run(&["put", "s", "a", "2", "--keyspace", "other"]).fine();
    assert_eq!(folder.run(&["incr", "s", "n", "5", "--keyspace", "other"]).fine(), "5\n");
    assert_eq!(folder.run(&["get", "s", "a"]).fine(), "1");
    assert_eq!(folder.run(&["get", "s", "a", "--keyspace", "other"]).fine(), "2");
    assert_eq!(folder.run(&["keyspaces", "s"]).fine(), "default\t1\nother\t2\n");
    assert_eq!(folder.run(&["scan", "s", "--keys", "--keyspace", "other"]).fine(), "a\nn\n");
    folder.run(&["del", "s", "a", "--keyspace", "other"]).fine();
    folder.run(&["get", "s", "a", "--keyspace", "other"]).failed(1);
    assert_eq!(folder.run(&["scan", "s"]).fine(), "a\t1\n");
    for verb in ["get", "del"] {
        let told = folder.run(&[verb, "s", "a", "--keyspace", "none"]).failed(1);
        assert!(told.contains("there is no keyspace \"none\""), "{told}");
    }
    folder.run(&["scan", "s", "--keyspace", "none"]).failed(1);
    assert_eq!(folder.run(&["keyspaces", "s"]).fine(), "default\t1\nother\t1\n", "asking makes none");
    let lines = folder.run(&["export", "s", "--keyspace", "other"]).fine();
    assert_eq!(lines.lines().count(), 1);
    folder.file("lines", &lines);
    folder.run(&["import", "t", &folder.path("lines").display().to_string(), "--keyspace", "copy"]).fine();
    assert_eq!(folder.run(&["keyspaces", "t"]).fine(), "copy\t1\ndefault\t0\n");
    assert_eq!(folder.run(&["export", "t", "--keyspace", "copy"]).fine(), lines);
    folder.run(&["export", "s", "--keyspace", "none"]).failed(1);
    folder.run(&["keyspaces", "nothing"]).failed(1);
}

#[test]
fn a_scan_has_bounds_and_two_ways() {
    let folder = Folder::new();
    for key in ["a", "b", "ba", "c", "d"] {
        folder.run(&["put", "s", key, "x"]).fine();
    }
    let scan = |arguments: &[&str]| folder.run(&[&["scan", "s", "--keys"], arguments].concat()).fine();
    assert_eq!(scan(&["--from", "b"]), "b\nba\nc\nd\n");
    assert_eq!(scan(&["--to", "c"]), "a\nb\nba\n");
    assert_eq!(scan(&["--from", "b", "--to", "c", "--reverse"]), "ba\nb\n");
    assert_eq!(scan(&["--reverse", "--limit", "2"]), "d\nc\n");
    assert_eq!(scan(&["--from", "ba", "--prefix", "b"]), "ba\n");
    assert_eq!(scan(&["--from", "62", "--to", "63", "--hex"]), "b\nba\n");
    assert_eq!(scan(&["--from", "d", "--to", "b"]), "");
}

#[test]
fn tail_tells_which_keyspace_a_write_was_to() {
    let folder = Folder::new();
    let db = zipcask::Db::open(folder.path("s")).unwrap();
    let other = db.keyspace("the\tother").unwrap();
    db.put("key", "1").unwrap();
    other.put("key", "2").unwrap();
    other.delete("key").unwrap();
    db.delete("key").unwrap();
    db.close().unwrap();
    let lines = "2\tput\tkey\t1\n3\tput in the\\tother\tkey\t2\n4\tdelete in the\\tother\tkey\n5\tdelete\tkey\n";
    assert_eq!(folder.run(&["tail", "s"]).fine(), lines);
    let lines = "{\"seqno\":4,\"keyspace\":\"the\\tother\",\"key\":\"key\"}\n\
                 {\"seqno\":5,\"keyspace\":\"default\",\"key\":\"key\"}\n";
    assert_eq!(folder.run(&["tail", "s", "--json", "--from", "4"]).fine(), lines);
}

#[test]
fn a_keyspace_is_made_with_an_order_and_a_time_and_removed() {
    let folder = Folder::new();
    folder.run(&["keyspaces", "s", "--make", "default", "--ordered"]).fine();
    folder.run(&["keyspaces", "s", "--make", "short", "--ttl", "0.5"]).fine();
    folder.run(&["keyspaces", "s", "--make", "short", "--ttl", "0.5"]).fine();
    let told = folder.run(&["keyspaces", "s", "--make", "default"]).failed(4);
    assert!(told.contains("ordered is true, not false"), "{told}");
    folder.run(&["keyspaces", "s", "--make", "bad", "--ttl", "soon"]).failed(2);
    folder.run(&["keyspaces", "s", "--ordered"]).failed(2);
    let db = zipcask::Db::open(folder.path("s")).unwrap();
    assert_eq!(db.options(), zipcask::KeyspaceOptions::new().ordered(true));
    let half = std::time::Duration::from_millis(500);
    assert_eq!(db.keyspace("short").unwrap().options(), zipcask::KeyspaceOptions::new().default_ttl(half));
    db.close().unwrap();

    folder.run(&["put", "s", "key", "value", "--keyspace", "short", "--ttl", "1000"]).fine();
    folder.run(&["put", "s", "gone", "value", "--keyspace", "short", "--ttl", "0"]).fine();
    assert_eq!(folder.run(&["scan", "s", "--keyspace", "short"]).fine(), "key\tvalue\n");
    assert_eq!(folder.run(&["keyspaces", "s", "--drop", "short"]).fine(), "removed short\n");
    assert_eq!(folder.run(&["keyspaces", "s"]).fine(), "default\t0\n");
    let told = folder.run(&["keyspaces", "s", "--drop", "short"]).failed(1);
    assert!(told.contains("there is no keyspace \"short\""), "{told}");
    folder.run(&["keyspaces", "s", "--drop", "default"]).failed(4);
    folder.run(&["keyspaces", "nothing", "--drop", "x"]).failed(1);
}

#[test]
fn an_archive_is_asked_for_the_keyspace_that_is_named() {
    let folder = Folder::new();
    folder.run(&["put", "s", "a", "1"]).fine();
    folder.run(&["put", "s", "a", "2", "--keyspace", "the\tother"]).fine();
    folder.run(&["put", "s", "b", "3", "--keyspace", "the\tother"]).fine();
    let exported = folder.run(&["export", "s", "--keyspace", "the\tother"]).fine();
    folder.run(&["compact", "s"]).fine();
    let zip = archive_of(&folder, "s");
    let other = |verb: &[&str]| folder.run(&[&["archive"], verb, &["--keyspace", "the\tother"]].concat());
    assert_eq!(folder.run(&["archive", "cat", &zip, "a"]).fine(), "1");
    assert_eq!(other(&["cat", &zip, "a"]).fine(), "2");
    assert_eq!(other(&["cat", &zip, "c"]).failed(1), "there is no key \"c\"");
    assert_eq!(folder.run(&["archive", "extract", &zip]).fine(), "{\"key\":\"a\",\"value\":\"1\"}\n");
    assert_eq!(other(&["extract", &zip]).fine(), exported);
    for verb in [&["cat", &zip, "a"][..], &["extract", &zip]] {
        let told = folder.run(&[&["archive"], verb, &["--keyspace", "none"]].concat()).failed(1);
        assert_eq!(told, "there is no keyspace \"none\"");
    }
}

#[test]
fn an_archive_tells_which_keyspaces_it_knows() {
    let folder = Folder::new();
    for keyspace in ["late", "early\n", "default"] {
        folder.run(&["put", "s", "a", "1", "--keyspace", keyspace]).fine();
    }
    folder.run(&["compact", "s"]).fine();
    let zip = archive_of(&folder, "s");
    let text = folder.run(&["archive", "ls", &zip]).fine();
    assert!(text.contains("\nkeyspaces default, early\\n, late\n"), "{text}");
    let facts = json(&folder.run(&["archive", "ls", &zip, "--json"]).fine());
    assert_eq!(facts["keyspaces"], serde_json::json!(["default", "early\n", "late"]));
}
