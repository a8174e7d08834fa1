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
    let dump = folder.run(&["dump", "store"]);
    assert_eq!(dump.failed(3), "1 problem found", "as verify --deep says");
    let dump = dump.stdout();
    assert!(dump.contains("DAMAGED: no record: ") && dump.contains("  2 put \"second\", 1 bytes\n"), "{dump}");
    let dump = folder.run(&["dump", "--json", "store"]);
    dump.failed(3);
    for line in dump.stdout().lines() {
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
        &["restore", "none", "out"],
    ] {
        assert_eq!(folder.run(verb).failed(1), "there is no store in none", "{verb:?}");
    }
    let line = folder.run(&["doctor", "none"]).failed(1);
    assert!(line.starts_with("there is no directory none; "), "{line}");
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

#[test]
fn what_a_crash_left_at_the_end_of_the_log_is_no_damage_to_dump_as_it_is_none_to_verify() {
    let folder = Folder::new();
    folder.run(&["put", "store", "first", "1"]).fine();
    let path = folder.path("store/segments/0000000001.seg");
    let killed = zipcask::Db::open(folder.path("store")).unwrap();
    killed.put("second", "2").unwrap();
    let files = folder.path("copy");
    fs::create_dir_all(files.join("segments")).unwrap();
    for name in ["ZIPCASK", "segments/0000000001.seg", "segments/0000000002.seg"] {
        fs::copy(folder.path("store").join(name), files.join(name)).unwrap();
    }
    killed.close().unwrap();
    assert!(path.exists());
    let newest = files.join("segments/0000000002.seg");
    let mut bytes = fs::read(&newest).unwrap();
    bytes[4096 + 24] ^= 1;
    fs::write(&newest, bytes).unwrap();
    folder.run(&["verify", "--deep", "copy"]).fine();
    let dump = folder.run(&["dump", "copy"]).fine();
    assert!(dump.contains("DAMAGED: no record: "), "{dump}");
}

#[test]
fn dump_names_keyspaces() {
    let folder = Folder::new();
    // Without a thread that takes away what is dead.
    let db = zipcask::Options::new().background(false).open(folder.path("s")).unwrap();
    for keyspace in ["default", "users", "of\tothers"] {
        db.keyspace(keyspace).unwrap().put("a", "1").unwrap();
    }
    db.drop_keyspace("users").unwrap();
    db.close().unwrap();
    let dump = folder.run(&["dump", "s"]).fine();
    for line in [
        " put \"a\", 1 bytes\n",
        " keyspace create in keyspace \"users\" (1) \"\", ",
        " put in keyspace \"users\" (1) \"a\", 1 bytes\n",
        " put in keyspace \"of\\tothers\" (2) \"a\", 1 bytes\n",
        " keyspace drop in keyspace \"users\" (1) \"\", ",
    ] {
        assert!(dump.contains(line), "{line:?} in {dump}");
    }
    let names = || -> Vec<_> {
        let lines = folder.run(&["dump", "s", "--json"]).fine();
        let puts = lines.lines().map(json).filter(|line| line["record"] == "put");
        puts.map(|line| (line["keyspace"].clone(), line["keyspace_name"].clone())).collect()
    };
    assert_eq!(names(), [(0, "default"), (1, "users"), (2, "of\tothers")].map(|(id, name)| (id.into(), name.into())));
    folder.run(&["compact", "s"]).fine();
    assert_eq!(names(), [(0, "default"), (2, "of\tothers")].map(|(id, name)| (id.into(), name.into())));
}

#[cfg(unix)]
#[test]
fn doctor_tells_of_a_folder_that_others_may_write() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    folder.run(&["put", "s", "a", "1"]).fine();
    for (mode, told) in [
        (0o700, "permissions       0700                        nobody but the owner may write into it"),
        (0o755, "permissions       0755                        nobody but the owner may write into it"),
        (0o770, "permissions       0770                        its group may remove and forge what is in it: "),
        (0o703, "permissions       0703                        EVERYBODY may remove and forge what is in it: "),
        (0o1777, "permissions       1777                        EVERYBODY may remove and forge what is in it: "),
    ] {
        fs::set_permissions(folder.path("s"), fs::Permissions::from_mode(mode)).unwrap();
        let doctor = folder.run(&["doctor", "s"]).fine();
        assert!(doctor.lines().any(|line| line.starts_with(told)), "{told:?} in {doctor}");
        assert_eq!(zipcask::inspect::doctor(folder.path("s")).unwrap().mode, Some(mode));
    }
}
