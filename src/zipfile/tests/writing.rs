//! What a writer does when the disk fails, and how it writes.
//!
//! Floor 2. Imports `error`, `platform`, `sync`, `zipfile`.

use std::error::Error as _;
use std::io;

use crate::error::{Error, ErrorKind};
use crate::platform::Disk;
use crate::platform::memory::MemoryDisk;
use crate::platform::sim::fault::{Call, Fault, FaultDisk, Lasts, Written};
use crate::sync::Arc;
use crate::zipfile::tests::{PATH, log, manifest, packed, write};
use crate::zipfile::write::Writer;

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

fn errno(error: &Error) -> Option<i32> {
    error.source()?.downcast_ref::<io::Error>()?.raw_os_error()
}

#[test]
fn each_write_that_finds_no_space_is_told_as_such_and_is_the_last() {
    let pairs = [log(1, 300_000), packed(1, 5000)];
    let count = {
        let disk = FaultDisk::new(Arc::new(MemoryDisk::new()));
        write(disk.create("file").unwrap(), &pairs).unwrap();
        disk.calls(Call::WriteAt)
    };
    assert!(count > 8, "{count}");
    for lasts in [Lasts::Once, Lasts::FromThenOn] {
        for nth in 1..=count {
            let disk = FaultDisk::new(Arc::new(MemoryDisk::new()));
            disk.inject(Fault { call: Call::WriteAt, nth, errno: ENOSPC, lasts, written: Written::OneByte });
            let error = write(disk.create("file").unwrap(), &pairs).unwrap_err();
            assert_eq!((error.kind(), errno(&error)), (ErrorKind::NoSpace, Some(ENOSPC)), "{nth}: {error:?}");
            assert!(error.to_string().contains(PATH), "{error}");
            assert_eq!(disk.calls(Call::WriteAt), nth, "nothing is written behind");
            assert_eq!(disk.calls(Call::Sync), 0);
        }
    }
}

#[test]
fn a_failed_sync_is_told() {
    let disk = FaultDisk::new(Arc::new(MemoryDisk::new()));
    disk.inject(Fault { call: Call::Sync, nth: 1, errno: EIO, lasts: Lasts::Once, written: Written::Nothing });
    let error = write(disk.create("file").unwrap(), &[log(1, 300)]).unwrap_err();
    assert_eq!((error.kind(), errno(&error)), (ErrorKind::Io, Some(EIO)));
}

#[test]
fn a_writer_that_failed_stays_failed() {
    let disk = FaultDisk::new(Arc::new(MemoryDisk::new()));
    disk.inject(Fault { call: Call::WriteAt, nth: 1, errno: ENOSPC, lasts: Lasts::Once, written: Written::Nothing });
    let mut writer = Writer::new(disk.create("file").unwrap(), PATH.to_owned());
    writer.start("log/0000000001.seg", 1 << 20).unwrap();
    assert_eq!(writer.write(&[1; 1 << 19]).unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(writer.write(&[1; 1 << 19]).unwrap_err().kind(), ErrorKind::Io);
    writer.end();
    assert!(writer.start("hints/log/0000000001.hint", 1).is_err());
}

#[test]
fn a_writer_that_is_dropped_writes_nothing_more() {
    let disk = FaultDisk::new(Arc::new(MemoryDisk::new()));
    let mut writer = Writer::new(disk.create("file").unwrap(), PATH.to_owned());
    writer.start("log/0000000001.seg", 1 << 20).unwrap();
    writer.write(&[1; 1 << 19]).unwrap();
    let calls = disk.calls(Call::WriteAt);
    drop(writer);
    assert_eq!(disk.calls(Call::WriteAt), calls);
    assert_eq!(disk.calls(Call::Sync), 0);
}

#[test]
fn small_pieces_are_gathered_and_no_more_than_a_little_is_kept_back() {
    let disk = FaultDisk::new(Arc::new(MemoryDisk::new()));
    let file = disk.create("file").unwrap();
    let mut writer = Writer::new(Arc::clone(&file), PATH.to_owned());
    writer.start("log/0000000001.seg", 8 << 20).unwrap();
    for written in (0..8_u64 << 20).step_by(64) {
        writer.write(&[7; 64]).unwrap();
        assert!(file.len().unwrap() + (256 << 10) >= written);
    }
    writer.end();
    assert!((32..40).contains(&disk.calls(Call::WriteAt)), "{}", disk.calls(Call::WriteAt));
}

#[test]
#[should_panic(expected = "at most 10")]
fn an_entry_longer_than_announced_is_a_bug() {
    let mut writer = Writer::new(MemoryDisk::new().create("file").unwrap(), PATH.to_owned());
    writer.start("log/0000000001.seg", 10).unwrap();
    writer.write(&[0; 11]).unwrap();
}

#[test]
#[should_panic(expected = "names the entries that were written")]
fn a_manifest_of_other_entries_is_a_bug() {
    let mut writer = Writer::new(MemoryDisk::new().create("file").unwrap(), PATH.to_owned());
    writer.start("log/0000000001.seg", 10).unwrap();
    writer.end();
    writer.finish(&manifest(Vec::new())).unwrap();
}
