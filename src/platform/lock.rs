//! The lock of a store on a real disk.
//!
//! Floor 1. Imports `platform`, `sync`.
//!
//! The lock is the system's, on the file `LOCK`, which is never removed: whoever removes it lets in a second holder.
//! `HOLDER` beside it tells a human who has it, and a process whether that is itself. It only chooses what an error says,
//! and may be missing or stale.

use std::io::{Read, Write};
use std::time::SystemTime;
use std::{fs, io, process};

use crate::platform::fork::ForkGuard;
use crate::platform::os::Dir;
use crate::platform::{Access, Lock, LockError, random};
use crate::sync::Arc;
use crate::sync::plain::LazyLock;

const LOCK: &str = "LOCK";
const HOLDER: &str = "HOLDER";
/// How much of `HOLDER` is looked at.
const HOLDER_LEN_MAX: u64 = 200;
/// How often a `LOCK` that was replaced between opening and locking is opened anew.
const ATTEMPTS_MAX: u32 = 16;
/// What tells this process from another of the same number, in another container for one. None where randomness fails.
static NONCE: LazyLock<Option<u64>> = LazyLock::new(|| {
    let mut bytes = [0; 8];
    random::fill(&mut bytes).ok().map(|()| u64::from_le_bytes(bytes))
});

/// The lock, held by this process.
#[derive(Debug)]
pub(crate) struct RealLock {
    dir: Arc<Dir>,
    file: fs::File,
    owner: ForkGuard,
}

impl RealLock {
    /// Takes the lock of `dir`, or says who has it.
    ///
    /// # Errors
    ///
    /// At once `Held` if another process has it, `HeldHere` if another handle of this one. `Io` keeps errno: where the
    /// medium or the mode forbids writing, that of opening `LOCK` (EROFS, EACCES).
    pub(crate) fn take(dir: &Arc<Dir>) -> Result<RealLock, LockError> {
        for _ in 0..ATTEMPTS_MAX {
            let file = dir.open_or_create(LOCK)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => return Err(held(dir)),
                Err(fs::TryLockError::Error(error)) => return Err(LockError::Io(error)),
            }
            // Only now: a file that was removed while we waited to lock it locks nobody out.
            if dir.is_named(&file, LOCK)? {
                sign(dir);
                return Ok(RealLock { dir: Arc::clone(dir), file, owner: ForkGuard::new() });
            }
        }
        Err(LockError::Io(io::Error::other("LOCK is removed again and again")))
    }
}

impl Lock for RealLock {
    fn still_ours(&self) -> io::Result<bool> {
        self.dir.is_named(&self.file, LOCK)
    }
}

impl Drop for RealLock {
    fn drop(&mut self) {
        // In a forked child the lock is still the parent's; closing a descriptor it shares releases nothing.
        if self.owner.forked() {
            return;
        }
        // Where LOCK was replaced, HOLDER may be another's.
        if self.still_ours().unwrap_or(false) {
            let _ = self.dir.remove(HOLDER);
        }
        // Not by closing alone: a child between fork and exec may hold the descriptor too.
        let _ = self.file.unlock();
    }
}

/// Who has a lock, as far as can be told without taking it for good.
#[derive(Debug)]
pub(crate) enum Holder {
    Nobody,
    /// "process 4711, zipcask 0.1.0"
    Known(String),
    Unknown,
}

/// Looks who has the lock of `dir`, and makes no file for that. Whoever wants to take it at the same moment may find it taken.
///
/// # Errors
/// As the system says.
pub(crate) fn look(dir: &Dir) -> io::Result<Holder> {
    let file = match dir.open(LOCK, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Holder::Nobody),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => file.unlock().map(|()| Holder::Nobody),
        Err(fs::TryLockError::Error(error)) => Err(error),
        Err(fs::TryLockError::WouldBlock) => Ok(match held(dir) {
            LockError::Held(Some(who)) => Holder::Known(who),
            LockError::HeldHere => Holder::Known(format!("process {}, this one", process::id())),
            _ => Holder::Unknown,
        }),
    }
}

/// The second line of `HOLDER`, for ourselves. A forked child has the nonce too, but another number.
fn mark() -> Option<String> {
    NONCE.map(|nonce| format!("mark {}-{nonce:016x}", process::id()))
}

/// Writes who has the lock; advice only, so that failing to is no error.
fn sign(dir: &Dir) {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (pid, version) = (process::id(), env!("CARGO_PKG_VERSION"));
    let line = format!("process {pid}, zipcask {version}, since {}\n{}\n", utc(since), mark().unwrap_or_default());
    // A fresh file, never one that lies there: that might be a link to something of worth.
    let _ = dir.remove(HOLDER);
    if let Ok(mut file) = dir.create(HOLDER) {
        let _ = file.write_all(line.as_bytes());
    }
}

/// A moment in seconds after 1970, as date and time of day.
fn utc(seconds: u64) -> String {
    // Counted from 1 March of a year 0, leap days fall on the ends of years (Neri and Schneider 2022 give the sums).
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, year) = if month < 10 { (month + 3, era * 400 + year) } else { (month - 9, era * 400 + year + 1) };
    let time = seconds % 86_400;
    format!("{year}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", time / 3600, time / 60 % 60, time % 60)
}

/// Who has the lock, as far as `HOLDER` tells.
fn held(dir: &Dir) -> LockError {
    let mut bytes = Vec::new();
    let read = dir.open(HOLDER, Access::Read).and_then(|file| file.take(HOLDER_LEN_MAX).read_to_end(&mut bytes));
    let mut lines = bytes.split(|&byte| byte == b'\n');
    let (first, second) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    match read {
        Err(_) => LockError::Held(None),
        Ok(_) if mark().is_some_and(|mark| mark.as_bytes() == second) => LockError::HeldHere,
        Ok(_) => LockError::Held(shown(first)),
    }
}

/// A line without anything that could upset a terminal.
fn shown(line: &[u8]) -> Option<String> {
    let printable = line.iter().filter(|byte| matches!(byte, b' '..=b'~'));
    let text: String = printable.map(|&byte| char::from(byte)).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::{Holder, look, utc};
    use crate::platform::real::RealDisk;
    use crate::platform::{Disk, LockError};
    use std::io::{BufRead, BufReader, Read};
    use std::path::Path;
    use std::process::{self, Child, Command, Stdio};
    use std::{env, fs, io};

    const CHILD_DIR: &str = "ZIPCASK_TEST_LOCK_DIR";

    fn disk(path: &Path) -> RealDisk {
        RealDisk::open(path, false).unwrap()
    }

    fn holder_of(path: &Path) -> Option<String> {
        match disk(path).lock() {
            Err(LockError::Held(holder)) => holder,
            other => panic!("the lock is not held: {other:?}"),
        }
    }

    /// Starts a process that takes the lock of `path` and keeps it until its input ends.
    fn holding_child(path: &Path) -> Child {
        let test = "platform::lock::tests::child_that_holds_the_lock";
        let mut child = Command::new(env::current_exe().unwrap())
            .args([test, "--exact", "--ignored", "--nocapture"])
            .env(CHILD_DIR, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.as_mut().unwrap());
        let mut lines = output.lines().map(Result::unwrap);
        assert!(lines.any(|line| line.ends_with("locked")), "no lock in the child");
        child
    }

    #[test]
    #[ignore = "the other half of the tests below, started by them"]
    fn child_that_holds_the_lock() {
        let Some(path) = env::var_os(CHILD_DIR) else {
            return;
        };
        let _lock = disk(Path::new(&path)).lock().unwrap();
        println!("locked");
        io::stdin().read_to_end(&mut Vec::new()).unwrap();
    }

    fn is_held_here(path: &Path) -> bool {
        matches!(disk(path).lock(), Err(LockError::HeldHere))
    }

    #[test]
    fn a_second_handle_is_told_that_this_process_holds_the_lock() {
        let temp = tempfile::tempdir().unwrap();
        let lock = disk(temp.path()).lock().unwrap();
        assert!(is_held_here(temp.path()));
        let text = fs::read_to_string(temp.path().join("HOLDER")).unwrap();
        assert!(text.starts_with(&format!("process {}, zipcask ", process::id())), "{text}");
        drop(lock);
        assert!(!temp.path().join("HOLDER").exists());
        assert!(temp.path().join("LOCK").exists());
    }

    #[test]
    fn a_process_of_the_same_number_is_not_taken_for_this_one() {
        let temp = tempfile::tempdir().unwrap();
        let _lock = disk(temp.path()).lock().unwrap();
        let name = temp.path().join("HOLDER");
        let text = fs::read_to_string(&name).unwrap();
        let (first, mark) = text.trim_end().split_once('\n').unwrap();
        let other = if mark.ends_with('0') { "1" } else { "0" };
        fs::write(&name, format!("{first}\n{}{other}\n", &mark[..mark.len() - 1])).unwrap();
        assert_eq!(holder_of(temp.path()).unwrap(), first);
    }

    #[test]
    fn another_process_is_told_who_holds_the_lock() {
        let temp = tempfile::tempdir().unwrap();
        let mut child = holding_child(temp.path());
        let holder = holder_of(temp.path()).unwrap();
        assert!(holder.starts_with(&format!("process {}, ", child.id())), "{holder}");
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
        disk(temp.path()).lock().unwrap();
    }

    #[test]
    fn whoever_looks_who_holds_the_lock_takes_nothing_and_makes_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let dir = crate::platform::os::Dir::open_at(temp.path()).unwrap();
        let told = || match look(&dir).unwrap() {
            Holder::Nobody => String::new(),
            Holder::Known(who) => who,
            Holder::Unknown => "?".to_owned(),
        };
        assert_eq!(told(), "");
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
        let lock = disk(temp.path()).lock().unwrap();
        assert!(told().ends_with("this one"));
        drop(lock);
        assert_eq!(told(), "");
        let mut child = holding_child(temp.path());
        assert!(told().starts_with(&format!("process {}, zipcask ", child.id())));
        fs::remove_file(temp.path().join("HOLDER")).unwrap();
        assert_eq!(told(), "?");
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
        disk(temp.path()).lock().expect("nothing is left of the looks");
    }

    #[test]
    fn a_killed_process_leaves_no_lock_behind() {
        let temp = tempfile::tempdir().unwrap();
        let mut child = holding_child(temp.path());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(temp.path().join("HOLDER").exists(), "it had no time to tidy up");
        let _lock = disk(temp.path()).lock().unwrap();
        assert!(is_held_here(temp.path()), "HOLDER is written anew");
    }

    #[test]
    fn a_removed_or_replaced_lock_file_is_noticed() {
        let temp = tempfile::tempdir().unwrap();
        let first = disk(temp.path()).lock().unwrap();
        assert!(first.still_ours().unwrap());
        fs::remove_file(temp.path().join("LOCK")).unwrap();
        assert!(!first.still_ours().unwrap());
        let second = disk(temp.path()).lock().unwrap();
        assert!(second.still_ours().unwrap());
        assert!(!first.still_ours().unwrap(), "the new LOCK is not the one we hold");
        drop(first);
        assert!(temp.path().join("HOLDER").exists(), "it is the second one's");
        assert!(is_held_here(temp.path()));
    }

    #[test]
    fn whatever_lies_in_holder_is_only_shown() {
        let temp = tempfile::tempdir().unwrap();
        let _lock = disk(temp.path()).lock().unwrap();
        let holder = temp.path().join("HOLDER");
        fs::write(&holder, b"\x1b[31mred\x00\xff\nmore").unwrap();
        assert_eq!(holder_of(temp.path()).unwrap(), "[31mred");
        fs::write(&holder, vec![b'x'; 1 << 20]).unwrap();
        assert_eq!(holder_of(temp.path()).unwrap().len(), 200);
        fs::write(&holder, b"").unwrap();
        assert_eq!(holder_of(temp.path()), None);
        fs::remove_file(&holder).unwrap();
        assert_eq!(holder_of(temp.path()), None);
        fs::create_dir(&holder).unwrap();
        assert_eq!(holder_of(temp.path()), None);
    }

    #[test]
    fn an_unwritable_holder_does_not_keep_the_lock_from_us() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("HOLDER")).unwrap();
        let lock = disk(temp.path()).lock().unwrap();
        assert!(lock.still_ours().unwrap());
    }

    #[test]
    fn a_holder_that_is_a_link_to_something_of_worth_does_it_no_harm() {
        let temp = tempfile::tempdir().unwrap();
        let worthy = temp.path().join("worthy");
        fs::write(&worthy, "precious").unwrap();
        fs::hard_link(&worthy, temp.path().join("HOLDER")).unwrap();
        drop(disk(temp.path()).lock().unwrap());
        assert_eq!(fs::read_to_string(worthy).unwrap(), "precious");
    }

    #[test]
    fn seconds_become_dates_over_leap_days_and_centuries() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_399), "2000-02-28 23:59:59 UTC");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(utc(1_709_251_199), "2024-02-29 23:59:59 UTC");
        assert_eq!(utc(4_107_542_400), "2100-03-01 00:00:00 UTC");
    }
}
