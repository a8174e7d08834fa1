//! `backup` and `restore`.

use crate::{Folder, json};

#[test]
fn a_backup_is_restored_whole_or_as_of_a_write() {
    let folder = Folder::new();
    // In two sessions without a thread that compacts: else older states may be gone.
    let open = || zipcask::Options::new().background(false).open(folder.path("s")).unwrap();
    let db = open();
    for (key, value) in [("a", "1"), ("b", "2"), ("a", "3")] {
        db.put(key, value).unwrap();
    }
    db.close().unwrap();
    let told = json(&folder.run(&["backup", "s", "copy", "--json"]).fine());
    assert_eq!((told["seqno"].as_u64(), told["kept_files"].as_u64()), (Some(3), Some(0)));
    let db = open();
    db.delete("b").unwrap();
    db.close().unwrap();
    let told = folder.run(&["backup", "s", "copy"]).fine();
    assert!(told.contains("were there 1 file of ") && told.ends_with("up to write 4\n"), "{told}");
    folder.run(&["restore", "copy", "now"]).fine();
    assert_eq!(folder.run(&["scan", "now"]).fine(), "a\t3\n");
    let told = json(&folder.run(&["restore", "copy", "then", "--at", "2", "--json"]).fine());
    assert_eq!((told["seqno"].as_u64(), told["files"].as_u64()), (Some(2), Some(1)));
    assert_eq!(folder.run(&["scan", "then"]).fine(), "a\t1\nb\t2\n");
    let late = folder.run(&["restore", "copy", "late", "--at", "5"]).failed(4);
    assert!(late.ends_with("cannot be restored as of write 5: of the writes 0 to 4, it can be as of 0 to 4"), "{late}");
    assert!(folder.run(&["restore", "copy", "now"]).failed(4).contains("into an empty directory"));
    folder.run(&["restore", "nothing", "new"]).failed(1);
    folder.run(&["backup", "nothing", "new"]).failed(1);
    assert!(!folder.path("new").exists() && !folder.path("late").exists() && !folder.path("nothing").exists());
    folder.file("diary/today", "mine");
    assert!(folder.run(&["backup", "s", "diary"]).failed(4).contains("holds today, and is no backup of this store"));
}
