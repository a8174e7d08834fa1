//! What every disk must do, whatever it is made of: run against the real one, the one in memory and the simulated one.
//!
//! Floor 1. Imports `sync`.

use std::{io, slice};

use crate::platform::{Access, Barrier, Disk, File, LockError, Mapping, PrivateMapping};
use crate::sync::Arc;

/// Checks all of it. The directory is empty at first, and is not at the end.
pub(crate) fn check(disk: &dyn Disk) {
    assert_eq!(disk.list("").unwrap(), Vec::<String>::new(), "the directory must be empty");
    names_are_made_once(disk);
    lists_are_sorted_and_folders_marked(disk);
    a_renamed_file_replaces_the_old_one(disk);
    a_rename_may_lead_to_another_folder(disk);
    a_removed_file_lives_on_while_it_is_open(disk);
    writes_are_read_back(disk);
    bytes_of_another_file_are_written(disk);
    a_file_opened_for_reading_takes_no_writes(disk);
    allocated_room_is_zeros(disk);
    room_that_was_given_back_leaves_the_rest(disk);
    a_mapping_shows_what_is_written_later(disk);
    what_is_written_to_a_private_mapping_stays_there(disk);
    the_device_holds_what_was_written(disk);
    syncs_succeed(disk);
    the_lock_has_one_holder(disk);
    time_does_not_go_back(disk);
    random_bytes_differ(disk);
}

pub(crate) fn names_are_made_once(disk: &dyn Disk) {
    assert_eq!(kind(disk.open("once", Access::Read)), io::ErrorKind::NotFound);
    assert_eq!(kind(disk.remove("once")), io::ErrorKind::NotFound);
    disk.create("once").unwrap();
    assert_eq!(kind(disk.create("once")), io::ErrorKind::AlreadyExists);
    assert_eq!(kind(disk.create_dir("once")), io::ErrorKind::AlreadyExists);

    assert_eq!(kind(disk.create("names/once")), io::ErrorKind::NotFound);
    disk.create_dir("names").unwrap();
    assert_eq!(kind(disk.create_dir("names")), io::ErrorKind::AlreadyExists);
    assert_eq!(kind(disk.create("names")), io::ErrorKind::AlreadyExists);
    assert!(disk.open("names", Access::Read).is_err(), "a folder is no file");
    disk.create("names/once").unwrap();
    assert_eq!(kind(disk.create("names/once")), io::ErrorKind::AlreadyExists);

    disk.remove("once").unwrap();
    assert_eq!(kind(disk.open("once", Access::Read)), io::ErrorKind::NotFound);
    disk.open("names/once", Access::Read).unwrap();
}

pub(crate) fn lists_are_sorted_and_folders_marked(disk: &dyn Disk) {
    assert_eq!(kind(disk.list("lists")), io::ErrorKind::NotFound);
    disk.create_dir("lists").unwrap();
    assert_eq!(disk.list("lists").unwrap(), Vec::<String>::new());
    for name in ["lists/b", "lists/a", "lists/10", "lists/9"] {
        disk.create(name).unwrap();
    }
    assert_eq!(disk.list("lists").unwrap(), ["10", "9", "a", "b"]);

    disk.create("lists!").unwrap();
    disk.create("listsz").unwrap();
    let names = disk.list("").unwrap();
    assert!(names.contains(&"lists/".to_string()), "{names:?}");
    assert!(names.is_sorted(), "{names:?}");
}

pub(crate) fn a_renamed_file_replaces_the_old_one(disk: &dyn Disk) {
    disk.create_dir("renames").unwrap();
    assert_eq!(kind(disk.rename("renames/a", "renames/b")), io::ErrorKind::NotFound);
    let old = disk.create("renames/b").unwrap();
    old.write_at(b"old", 0).unwrap();
    disk.create("renames/a").unwrap().write_at(b"new", 0).unwrap();
    disk.rename("renames/a", "renames/b").unwrap();
    assert_eq!(disk.list("renames").unwrap(), ["b"]);
    assert_eq!(read(&disk.open("renames/b", Access::Read).unwrap()), b"new");
    assert_eq!(read(&old), b"old", "who has it open keeps it");

    disk.rename("renames/b", "renames/c").unwrap();
    assert_eq!(disk.list("renames").unwrap(), ["c"]);
}

pub(crate) fn a_rename_may_lead_to_another_folder(disk: &dyn Disk) {
    disk.create_dir("moves").unwrap();
    disk.create_dir("moved").unwrap();
    disk.create("moves/a").unwrap().write_at(b"moved", 0).unwrap();
    assert_eq!(kind(disk.rename("moves/a", "nowhere/a")), io::ErrorKind::NotFound);
    disk.rename("moves/a", "moved/b").unwrap();
    assert_eq!(disk.list("moves").unwrap(), Vec::<String>::new());
    assert_eq!(read(&disk.open("moved/b", Access::Read).unwrap()), b"moved");
    disk.create("moves/a").unwrap().write_at(b"again", 0).unwrap();
    disk.rename("moves/a", "moved/b").unwrap();
    assert_eq!(read(&disk.open("moved/b", Access::Read).unwrap()), b"again");
}

pub(crate) fn a_removed_file_lives_on_while_it_is_open(disk: &dyn Disk) {
    let file = disk.create("removed").unwrap();
    file.allocate(4096).unwrap();
    let map = file.map(4096).unwrap();
    disk.remove("removed").unwrap();
    file.write_at(b"still", 100).unwrap();
    assert_eq!(read(&file)[100..105], *b"still");
    drop(file);
    assert_eq!(bytes(&*map, 100, 5), b"still");
    assert!(disk.list("").unwrap().iter().all(|name| name != "removed"));
}

pub(crate) fn writes_are_read_back(disk: &dyn Disk) {
    let file = disk.create("writes").unwrap();
    assert_eq!(file.len().unwrap(), 0);
    assert_eq!(file.read_at(&mut [0; 8], 0).unwrap(), 0);
    file.write_at(b"abc", 10).unwrap();
    assert_eq!(file.len().unwrap(), 13);
    assert_eq!(read(&file), b"\0\0\0\0\0\0\0\0\0\0abc", "a gap is zeros");
    file.write_at(b"xyz", 9).unwrap();
    assert_eq!(read(&file), b"\0\0\0\0\0\0\0\0\0xyzc");

    let mut part = [0; 8];
    assert_eq!(file.read_at(&mut part, 11).unwrap(), 2, "short only at the end");
    assert_eq!(part[..2], *b"zc");
    assert_eq!(file.read_at(&mut part, 13).unwrap(), 0);
    assert_eq!(file.read_at(&mut part, 1 << 40).unwrap(), 0);

    let other = disk.open("writes", Access::ReadWrite).unwrap();
    other.write_at(b"!", 0).unwrap();
    assert_eq!(read(&file)[0], b'!', "all handles show one file");
    file.write_at(b"", 500).unwrap();
    assert_eq!(file.len().unwrap(), 13, "no bytes, no growth");
}

pub(crate) fn a_file_opened_for_reading_takes_no_writes(disk: &dyn Disk) {
    disk.create("readonly").unwrap().write_at(b"abc", 0).unwrap();
    let file = disk.open("readonly", Access::Read).unwrap();
    assert!(file.write_at(b"x", 0).is_err());
    assert_eq!(read(&file), b"abc");
}

pub(crate) fn bytes_of_another_file_are_written(disk: &dyn Disk) {
    let bytes: Vec<u8> = (0..100_003_u32).map(|at| (at % 251) as u8).collect();
    let (source, copy) = (disk.create("source").unwrap(), disk.create("copy").unwrap());
    source.write_at(&bytes, 0).unwrap();
    // In whole blocks, or in none.
    for (from, len, to) in [(4096, 65_536, 8192), (0, 100_003, 131_072), (1, 3, 0), (7, 70_000, 300_001), (5, 0, 9)] {
        copy.write_from(&*source, from, &bytes[from as usize..][..len], to).unwrap();
        assert!(read(&copy)[to as usize..][..len] == bytes[from as usize..][..len], "{len} bytes from {from} on");
    }
    assert_eq!(copy.len().unwrap(), 370_001);
    assert_eq!(read(&source), bytes);
    source.write_at(&[255; 8192], 4096).unwrap();
    assert!(
        read(&copy)[8192..][..65_536] == bytes[4096..][..65_536],
        "what is shared is so until one of both is written"
    );
    let other = disk.open("copy", Access::Read).unwrap();
    assert!(other.write_from(&*source, 0, &bytes[..1], 0).is_err());
}

pub(crate) fn allocated_room_is_zeros(disk: &dyn Disk) {
    // Neither a whole number of pages nor more than a block that a file system may have given away already.
    for (name, len) in [("room-1", 1), ("room-2", 5000), ("room-3", 1 << 20)] {
        let file = disk.create(name).unwrap();
        file.allocate(len).unwrap();
        assert_eq!(file.len().unwrap(), len);
        let all = read(&file);
        assert_eq!(all.len() as u64, len);
        assert!(all.iter().all(|&byte| byte == 0));
    }
}

pub(crate) fn room_that_was_given_back_leaves_the_rest(disk: &dyn Disk) {
    let file = disk.create("holes").unwrap();
    file.write_at(&[7; 64 << 10], 0).unwrap();
    let map = file.map(64 << 10).unwrap();
    file.punch(16 << 10, 32 << 10).unwrap();
    let all = read(&file);
    assert_eq!(all.len(), 64 << 10, "the length stays");
    assert!(all[..16 << 10].iter().chain(&all[48 << 10..]).all(|&byte| byte == 7));
    let hole = &all[16 << 10..48 << 10];
    assert!(hole.iter().all(|byte| *byte == hole[0]) && [0, 7].contains(&hole[0]), "whole, or not at all");
    assert_eq!(bytes(&*map, 16 << 10, 32 << 10), hole);
    assert!(file.taken().unwrap() >= 32 << 10);
    file.write_at(b"again", 20 << 10).unwrap();
    assert_eq!(bytes(&*map, 20 << 10, 5), b"again");
    let other = disk.open("holes", Access::Read).unwrap();
    assert!(other.punch(0, 4096).is_err());
}

pub(crate) fn a_mapping_shows_what_is_written_later(disk: &dyn Disk) {
    let file = disk.create("mapped").unwrap();
    assert!(file.map(1).is_err(), "there is nothing to map");
    file.allocate(64 << 10).unwrap();
    file.write_at(b"before", 0).unwrap();
    let map = file.map(64 << 10).unwrap();
    assert_eq!(map.len(), 64 << 10);
    assert_eq!(map.as_ptr().align_offset(4096), 0);
    assert_eq!(bytes(&*map, 0, 6), b"before");
    assert_eq!(bytes(&*map, 60_000, 8), [0; 8]);

    let other = disk.open("mapped", Access::ReadWrite).unwrap();
    other.write_at(b"later", 60_000).unwrap();
    file.write_at(b"BE", 0).unwrap();
    assert_eq!(bytes(&*map, 60_000, 5), b"later");
    assert_eq!(bytes(&*map, 0, 6), b"BEfore");

    let second = disk.open("mapped", Access::Read).unwrap().map(4096).unwrap();
    assert_eq!(second.len(), 4096);
    assert_eq!(bytes(&*second, 0, 6), b"BEfore");
}

pub(crate) fn what_is_written_to_a_private_mapping_stays_there(disk: &dyn Disk) {
    let pattern: Vec<u8> = (0..200_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let file = disk.create("private").unwrap();
    assert!(file.map_private(1).is_err(), "there is nothing to map");
    file.write_at(&pattern, 0).unwrap();
    assert!(file.map_private(pattern.len() + 1).is_err());
    let file = disk.open("private", Access::Read).unwrap();
    let (one, other) = (file.map_private(pattern.len()).unwrap(), file.map_private(150_000).unwrap());
    // SAFETY: each mapping is this function's alone, and lives longer than the slice.
    let bytes = |map: &dyn PrivateMapping| unsafe { slice::from_raw_parts_mut(map.start().as_ptr(), map.len()) };
    assert!([&one, &other].iter().all(|map| map.start().as_ptr().align_offset(4096) == 0));
    assert!(*bytes(&*one) == pattern && *bytes(&*other) == pattern[..150_000]);
    one.read_ahead(99_999..123_456).unwrap();
    bytes(&*one)[100_000..].fill(7);
    bytes(&*other)[0] = !pattern[0];
    assert!(bytes(&*one)[..100_000] == pattern[..100_000] && bytes(&*one)[100_000..].iter().all(|&byte| byte == 7));
    assert!(bytes(&*other)[1..] == pattern[1..150_000]);
    assert!(read(&file) == pattern, "nothing reaches the file");
    disk.remove("private").unwrap();
    drop((file, one));
    assert_eq!(bytes(&*other)[..2], [!pattern[0], pattern[1]]);
}

pub(crate) fn the_device_holds_what_was_written(disk: &dyn Disk) {
    let file = disk.create("device").unwrap();
    let pattern: Vec<u8> = (0..3_000_001_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    file.write_at(&pattern, 0).unwrap();
    device_equals(&file, &pattern);
    // BARRIER: nothing is waiting to be written, so that only the device can answer.
    file.barrier(Barrier::Durable).unwrap();
    device_equals(&file, &pattern);
    file.write_at(b"dirty", 70_000).unwrap();
    let mut part = [0; 5];
    assert_eq!(file.read_device_at(&mut part, 70_000).unwrap(), 5);
    assert_eq!(part, *b"dirty");
}

fn device_equals(file: &Arc<dyn File>, pattern: &[u8]) {
    let ranges = [(0, 1), (0, 4096), (4095, 2), (511, 70_000), (8192, 2 << 20), (2_999_999, 2)];
    for (offset, len) in ranges {
        let mut part = vec![0; len];
        assert_eq!(file.read_device_at(&mut part, offset as u64).unwrap(), len);
        assert!(part == pattern[offset..offset + len], "{len} bytes at {offset}");
    }
    let mut part = vec![0; 10_000];
    assert_eq!(file.read_device_at(&mut part, 2_999_000).unwrap(), 1001, "short at the end");
    assert_eq!(part[..1001], pattern[2_999_000..]);
    assert_eq!(file.read_device_at(&mut part, 3_000_001).unwrap(), 0);
    assert_eq!(file.read_device_at(&mut part, 1 << 40).unwrap(), 0);
}

pub(crate) fn syncs_succeed(disk: &dyn Disk) {
    disk.create_dir("synced").unwrap();
    let file = disk.create("synced/a").unwrap();
    file.write_at(b"abc", 0).unwrap();
    // BARRIER: none is needed; every call of the kind must simply work.
    file.barrier(Barrier::Ordered).unwrap();
    file.barrier(Barrier::Durable).unwrap();
    file.sync().unwrap();
    disk.sync_dir("synced").unwrap();
    disk.sync_dir("").unwrap();
    disk.sync_parent().unwrap();
    assert_eq!(read(&file), b"abc");
}

pub(crate) fn the_lock_has_one_holder(disk: &dyn Disk) {
    let lock = disk.lock().unwrap();
    assert!(lock.still_ours().unwrap());
    assert!(matches!(disk.lock(), Err(LockError::Held(_) | LockError::HeldHere)));
    drop(lock);
    let lock = disk.lock().expect("a dropped lock is free");
    assert!(disk.list("").unwrap().contains(&"LOCK".to_string()));
    drop(lock);
    assert!(disk.list("").unwrap().contains(&"LOCK".to_string()), "LOCK stays");
}

pub(crate) fn time_does_not_go_back(disk: &dyn Disk) {
    let clock = disk.clock();
    let first = clock.monotonic_ns();
    for _ in 0..1000 {
        assert!(clock.monotonic_ns() >= first);
    }
    clock.wall_ms();
}

pub(crate) fn random_bytes_differ(disk: &dyn Disk) {
    let (mut one, mut other) = ([0; 32], [0; 32]);
    disk.random(&mut one).unwrap();
    disk.random(&mut other).unwrap();
    assert_ne!(one, other);
    assert_ne!(one, [0; 32]);
}

/// All of a file.
fn read(file: &Arc<dyn File>) -> Vec<u8> {
    let mut bytes = vec![1; file.len().unwrap() as usize + 1];
    let count = file.read_at(&mut bytes, 0).unwrap();
    bytes.truncate(count);
    bytes
}

/// A copy of what a mapping shows.
fn bytes(map: &dyn Mapping, offset: usize, len: usize) -> Vec<u8> {
    assert!(offset + len <= map.len());
    // SAFETY: the range lies in the mapping, and this thread is the only one that writes the file.
    unsafe { std::slice::from_raw_parts(map.as_ptr().add(offset), len) }.to_vec()
}

fn kind<T>(result: io::Result<T>) -> io::ErrorKind {
    result.err().expect("this must fail").kind()
}
