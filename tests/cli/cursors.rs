//! `cursors`, and what other verbs say of them.

use crate::Folder;

#[test]
fn cursors_are_listed_and_removed() {
    let folder = Folder::new();
    let db = zipcask::Db::open(folder.path("s")).unwrap();
    db.put("a", "1").unwrap();
    db.cursor("one\ttwo").unwrap();
    let behind = db.cursor_from("behind", 1.into()).unwrap().position().unwrap();
    db.close().unwrap();
    let listed = folder.run(&["cursors", "s"]).fine();
    let lines: Vec<Vec<_>> = listed.lines().map(|line| line.split('\t').collect()).collect();
    assert!(lines.len() == 2 && lines[0][..2] == ["behind", &behind.to_string()], "{listed}");
    assert!(lines[0][2].parse::<u64>().unwrap() > 0 && lines[0].len() == 3, "{listed}");
    assert_eq!(lines[1][..2], ["one\\ttwo", "2"]);
    let stats = folder.run(&["stats", "s"]).fine();
    assert!(stats.contains("cursor behind is at 1 and holds "), "{stats}");
    let json: serde_json::Value = serde_json::from_str(&folder.run(&["stats", "s", "--json"]).fine()).unwrap();
    assert_eq!((&json["cursors"][0]["name"], &json["cursors"][0]["position"]), (&"behind".into(), &1.into()));

    assert_eq!(folder.run(&["cursors", "s", "--drop", "behind"]).fine(), "removed behind\n");
    let told = folder.run(&["cursors", "s", "--drop", "behind"]).failed(1);
    assert!(told.contains("there is no cursor \"behind\""), "{told}");
    assert_eq!(folder.run(&["cursors", "s"]).fine().lines().count(), 1);
    folder.run(&["cursors", "nothing"]).failed(1);
}

#[test]
fn tail_goes_on_where_its_cursor_stands() {
    let folder = Folder::new();
    folder.run(&["put", "s", "a", "1"]).fine();
    let tail = || folder.run(&["tail", "s", "--cursor", "consumer"]).fine();
    assert_eq!(tail(), "1\tput\ta\t1\n");
    assert_eq!(tail(), "");
    folder.run(&["put", "s", "a", "2"]).fine();
    folder.run(&["compact", "s"]).fine();
    folder.run(&["del", "s", "a"]).fine();
    let shown = tail();
    let writes: Vec<_> = shown.lines().map(|line| line.split_once('\t').unwrap().1).collect();
    assert_eq!(writes, ["put\ta\t2", "delete\ta"]);
    assert_eq!(tail(), "");
    folder.run(&["tail", "s", "--cursor", "consumer", "--follow"]).failed(2);
    folder.run(&["tail", "nothing", "--cursor", "consumer"]).failed(1);
}

#[test]
fn tail_begins_at_the_first_write_that_is_left_if_asked() {
    let folder = Folder::new();
    let oldest = || folder.run(&["tail", "s", "--from", "oldest"]).fine();
    // In one file, which a compaction has to rewrite.
    let db = zipcask::Options::new().background(false).open(folder.path("s")).unwrap();
    (1..3).for_each(|value| assert!(db.put("a", value.to_string()).is_ok()));
    db.close().unwrap();
    assert_eq!(oldest(), "1\tput\ta\t1\n2\tput\ta\t2\n");
    folder.run(&["compact", "s"]).fine();
    assert_eq!(oldest(), "", "nothing is left");
    folder.run(&["put", "s", "a", "3"]).fine();
    for args in [&["tail", "s"][..], &["tail", "s", "--cursor", "new"]] {
        let told = folder.run(args).failed(4);
        assert!(told.contains("the first write that is left is 3; "), "{told}");
        assert!(told.ends_with("; --from oldest begins with it"), "{told}");
    }
    let told = folder.run(&["tail", "s", "--from", "9"]).failed(4);
    assert!(told.ends_with("the last write is 3"), "{told}");
    assert_eq!(oldest(), "3\tput\ta\t3\n");
    assert_eq!(folder.run(&["tail", "s", "--cursor", "new", "--from", "oldest"]).fine(), "3\tput\ta\t3\n");
    assert_eq!(folder.run(&["tail", "s", "--cursor", "new", "--from", "oldest"]).fine(), "");
    let told = folder.run(&["tail", "s", "--cursor", ""]).failed(4);
    assert!(told.ends_with("this one 0"), "{told}");
    let told = folder.run(&["tail", "s", "--from", "newest"]).failed(2);
    assert!(told.contains("neither a number nor \"oldest\""), "{told}");
}
