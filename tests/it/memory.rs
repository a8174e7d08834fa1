//! A process that gets no more memory: what asks for as much as a file says is told so, nothing is lost, and it heals.
//!
//! The limit is the process's, so the test runs in a child: this executable again, asked for one test.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use zipcask::{Db, Durability, ErrorKind, Options, ReadMode};

const DIR: &str = "ZIPCASK_MEMORY_DIR";

const LARGE: u64 = 512 << 20;
/// What a process may take beyond what it has: enough for all but the large value.
const MORE: u64 = 128 << 20;

fn options(mode: ReadMode) -> Options {
    Options::new().durability(Durability::Os).segment_size(64 << 10).background(false).read_mode(mode)
}

/// Limits the address space to what it is and a little.
fn limit_memory() -> libc::rlimit {
    let pages: u64 = fs::read_to_string("/proc/self/statm").unwrap().split(' ').next().unwrap().parse().unwrap();
    let mut free = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes the struct alone.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut free) }, 0);
    set(libc::rlimit { rlim_cur: pages * 4096 + MORE, ..free });
    free
}

fn set(limit: libc::rlimit) {
    // SAFETY: changes nothing but a limit of this process, which is the test's own.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
}

fn check(db: &Db) {
    for i in 0..100_u32 {
        assert_eq!(db.get(i.to_le_bytes()).unwrap().unwrap(), vec![i as u8; 900]);
    }
}

fn ask_for_too_much(dir: &Path, mode: ReadMode) {
    let free = limit_memory();
    let db = options(mode).open(dir).unwrap();
    let short = |error: zipcask::Error| {
        assert_eq!(error.kind(), ErrorKind::ResourceLimit, "{mode:?}: {error:?}");
        assert!(error.to_string().contains("memory"), "{mode:?}: {error:?}");
    };
    for _ in 0..3 {
        short(db.get("large").unwrap_err());
        short(db.get_range("large", 1..LARGE).unwrap_err());
        short(db.snapshot().get(&db, "large").unwrap_err());
        // Neither what is small nor a part of what is large is harmed.
        assert_eq!(db.get_range("large", LARGE - 8..LARGE).unwrap().unwrap(), [7; 8]);
        check(&db);
        db.put("written", "meanwhile").unwrap();
    }
    assert!(db.verify().unwrap().is_clean(), "it reads in pieces");
    set(free);
    assert_eq!(db.get("large").unwrap().unwrap().len() as u64, LARGE);
    assert_eq!(db.get("written").unwrap().unwrap(), "meanwhile");
}

#[test]
fn child_with_little_memory() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    ask_for_too_much(Path::new(&dir), ReadMode::Positioned);
    ask_for_too_much(Path::new(&dir), ReadMode::Mmap);
}

#[test]
fn a_value_for_which_there_is_no_memory_is_a_limit_that_harms_nothing_else_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    let db = options(ReadMode::Positioned).open(dir.path()).unwrap();
    for i in 0..100_u32 {
        db.put(i.to_le_bytes(), vec![i as u8; 900]).unwrap();
    }
    let mut writer = db.put_writer("large", LARGE).unwrap();
    let piece = vec![7; 1 << 20];
    (0..LARGE >> 20).for_each(|_| writer.write_all(&piece).unwrap());
    writer.finish().unwrap();
    db.close().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "memory::child_with_little_memory", "--test-threads=1"])
        .env(DIR, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&child.stderr));
}
