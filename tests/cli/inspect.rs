//! The verbs for a store that nobody has open: `verify --deep`, `dump`, `repair`, `doctor`.

use std::fs;

use crate::{Folder, json};

#[test]
fn a_store_that_does_not_open_is_looked_at_and_saved() {
    let folder = Folder::new();
    folder.run(&["put", "store", "first", "1"]).fine();
    folder.run(&["put", "store", "second", "2"]).fine();
    let deep = json(&folder.run(&["verify", "--deep", "store", "--json"]).fine());
    assert_eq!((deep["clean"].as_bool(), deep["records"].as_u64()), (Some(true), Some(2)));
    let path = folder.path("store/segments/0000000001.seg");
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096 + 24] ^= 1;
    fs::write(&path, bytes).unwrap();
    folder.run(&["get", "store", "second"]).failed(3);
    let run = folder.run(&["verify", "--deep", "store"]);
    assert_eq!(run.failed(3), "1 problem found");
    assert!(run.stdout().contains("0000000001.seg is damaged at offset 4096: "), "{}", run.stdout());
    let dump = folder.run(&["dump", "store"]).fine();
    assert!(dump.contains("DAMAGED: no record: ") && dump.contains("  2 put \"second\", 1 bytes\n"), "{dump}");
    for line in folder.run(&["dump", "--json", "store"]).fine().lines() {
        assert!(json(line)["offset"].is_u64(), "{line}");
    }
    let run = folder.run(&["repair", "--salvage", "saved", "store"]);
    assert_eq!(run.failed(3), "not everything could be saved");
    assert!(run.stdout().contains("from offset 4096 on are lost: "), "{}", run.stdout());
    assert_eq!(folder.run(&["scan", "saved"]).fine(), "second\t2\n");
    let line = folder.run(&["repair", "--salvage", "saved", "store"]).failed(4);
    assert!(line.ends_with("is not empty; choose another directory for what is saved"), "{line}");
    assert_eq!(folder.run(&["scan", "saved"]).fine(), "second\t2\n");
    for verb in [
        &["verify", "--deep", "none"][..],
        &["dump", "none"],
        &["repair", "--salvage", "out", "none"],
        &["doctor", "none"],
    ] {
        assert!(folder.run(verb).failed(1).starts_with("there is no store in none"), "{verb:?}");
    }
    assert!(!folder.path("out").exists());
}

#[test]
fn doctor_says_what_the_machine_gives_and_leaves_nothing_behind() {
    let folder = Folder::new();
    folder.file("dir/notes.txt", "mine");
    let told = folder.run(&["doctor", "dir"]).fine();
    for name in
        ["file system", "free", "reserving room", "flush of 4 KiB", "lock", "page of memory", "open files", "mappings"]
    {
        assert!(told.lines().any(|line| line.starts_with(name)), "{name} in {told}");
    }
    assert!(told.contains("nobody has the store open for writing"), "{told}");
    assert_eq!(fs::read_dir(folder.path("dir")).unwrap().count(), 1);
    let db = zipcask::Db::open(folder.path("store")).unwrap();
    db.put("a", "b").unwrap();
    let told = folder.run(&["doctor", "store"]).fine();
    assert!(told.contains(&format!("by process {}, zipcask ", std::process::id())), "{told}");
    db.put("c", "d").unwrap();
    db.close().unwrap();
}
