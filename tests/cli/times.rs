//! Times at which keys expire, and how `export`, `import` and `archive extract` carry them.

use std::time::{Duration, SystemTime};

use crate::{Folder, archive_of, json};

#[test]
fn an_export_carries_the_time_at_which_a_key_expires_and_an_import_takes_it_over() {
    let folder = Folder::new();
    folder.run(&["put", "one", "ever", "1"]).fine();
    folder.run(&["put", "one", "long", "2", "--ttl", "1000.5"]).fine();
    folder.run(&["put", "one", "gone", "3", "--ttl", "0"]).fine();
    let exported = folder.run(&["export", "one"]).fine();
    let lines: Vec<_> = exported.lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, "{\"key\":\"ever\",\"value\":\"1\"}"));
    let expires_ms = json(lines[1])["expires_at_ms"].as_u64().unwrap();
    let now_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64;
    assert!((now_ms..=now_ms + 1_000_500).contains(&expires_ms), "{exported}");

    folder.run_with(&["import", "two", "-"], exported.as_bytes()).fine();
    assert_eq!(folder.run(&["export", "two"]).fine(), exported, "to the millisecond");
    let db = zipcask::Db::open(folder.path("two")).unwrap();
    let expires = SystemTime::UNIX_EPOCH + Duration::from_millis(expires_ms);
    assert_eq!((db.expires_at("long").unwrap(), db.expires_at("ever").unwrap()), (Some(expires), None));
    db.close().unwrap();

    folder.run(&["compact", "one"]).fine();
    assert_eq!(folder.run(&["archive", "extract", &archive_of(&folder, "one")]).fine(), exported);
}

#[test]
fn a_line_whose_time_has_come_is_as_if_it_had_been_put_and_had_expired() {
    let folder = Folder::new();
    folder.run(&["put", "s", "a", "1"]).fine();
    let lines =
        "{\"key\":\"a\",\"value\":\"2\",\"expires_at_ms\":1000}\n{\"key\":\"b\",\"value\":\"3\",\"expires_at_ms\":0}\n";
    assert_eq!(folder.run_with(&["import", "s", "-"], lines.as_bytes()).fine(), "imported 2 records\n");
    assert_eq!(folder.run(&["scan", "s"]).fine(), "");
}

#[test]
fn a_line_without_a_time_takes_that_of_its_keyspace() {
    let folder = Folder::new();
    folder.run(&["keyspaces", "s", "--make", "short", "--ttl", "1000"]).fine();
    let lines = "{\"key\":\"a\",\"value\":\"1\"}\n{\"key\":\"b\",\"value\":\"2\",\"expires_at_ms\":4102444800000}\n";
    folder.run_with(&["import", "s", "-", "--keyspace", "short"], lines.as_bytes()).fine();
    let exported = folder.run(&["export", "s", "--keyspace", "short"]).fine();
    let times: Vec<_> = exported.lines().map(|line| json(line)["expires_at_ms"].as_u64()).collect();
    assert!(times[0].unwrap() < 4_000_000_000_000 && times[1] == Some(4_102_444_800_000), "{exported}");
}

#[test]
fn import_refuses_a_time_that_is_no_number_of_milliseconds() {
    let folder = Folder::new();
    for time in ["-1", "1.5", "\"1\"", "null", "18446744073709551616"] {
        let line = format!("{{\"key\":\"a\",\"value\":\"\",\"expires_at_ms\":{time}}}");
        let failed = folder.run_with(&["import", "s", "-"], line.as_bytes()).failed(4);
        assert_eq!(failed, "stdin:1: field \"expires_at_ms\" is no number of milliseconds since 1970");
    }
}
