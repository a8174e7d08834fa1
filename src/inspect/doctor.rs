//! What the machine gives a store in a directory: file system, flushes, limits, who may write it, and who has it open.
//!
//! Floor 7. Imports `error`, `inspect`, `platform`.

use std::io;
use std::path::Path;

use crate::error::{Error, Result};
use crate::inspect::survey::open_real;
use crate::platform::lock::Holder;
use crate::platform::{Barrier, Disk, File, Room, facts};

/// The file that is measured with. It is removed.
const PROBE: &str = "new-DOCTOR";
const PROBE_LEN: u64 = 1 << 20;
/// Bytes written before each flush, and how many of these there are at most.
const WRITE_LEN: u64 = 4096;
const FLUSHES_MAX: u64 = 64;
/// No more flushes are begun after this.
const MEASURED_NS_MAX: u64 = 2_000_000_000;

/// What [`doctor`](crate::inspect::doctor()) found out.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct DoctorReport {
    /// Kind of the file system; `None` where the system does not say.
    pub file_system: Option<String>,
    /// Whether it writes to the same place each time, as far as is known, so that zeros are worth writing ahead.
    pub in_place: bool,
    /// Bytes that are free for this user.
    pub free_bytes: Option<u64>,
    /// Whether room for a file can be reserved.
    pub allocates: bool,
    /// Nanoseconds that a flush of 4 KiB took: the median, and the longest.
    pub flush_ns: Option<(u64, u64)>,
    /// Why nothing can be written, if so: then it was not measured.
    pub unwritable: Option<String>,
    /// Whether a process has the store open for writing, and which, as far as known.
    pub held: Option<String>,
    /// The permissions of the directory, as `chmod` has them, on systems with such. One that zipcask makes is for its owner alone, 0o700; where others may
    /// write (0o022), they can remove and forge what is in it.
    pub mode: Option<u32>,
    /// Bytes of a page of memory.
    pub page_bytes: Option<u64>,
    /// Files that a process may have open.
    pub open_files_max: Option<u64>,
    /// Mappings that a process may have.
    pub mappings_max: Option<u64>,
}

/// Looks at what the machine gives a store in `dir`, which need not hold one yet. Writes for at most some seconds, into a file of its own that it
/// removes; touches nothing else. Somebody may have the store open.
///
/// # Errors
/// `NotFound` if there is no such directory, `Invalid` if it is none; as the system says if its lock cannot be looked at.
pub fn doctor(dir: impl AsRef<Path>) -> Result<DoctorReport> {
    let disk = open_real(dir.as_ref())?;
    let holder = disk
        .holder()
        .map_err(|error| Error::io(format!("cannot look at the lock of {}", disk.path().display()), error))?;
    let mut report = DoctorReport {
        file_system: facts::file_system(disk.path()),
        in_place: disk.room() == Room::InPlace,
        free_bytes: facts::free_bytes(disk.path()),
        allocates: false,
        flush_ns: None,
        unwritable: None,
        held: match holder {
            Holder::Nobody => None,
            Holder::Known(who) => Some(who),
            Holder::Unknown => Some("somebody".to_owned()),
        },
        mode: facts::mode(disk.path()),
        page_bytes: facts::page_bytes(),
        open_files_max: facts::open_files_max(),
        mappings_max: facts::mappings_max(),
    };
    match disk.create(PROBE) {
        Ok(file) => {
            let measured = measure(&disk, &*file, &mut report);
            drop(file);
            let removed = disk.remove(PROBE);
            report.unwritable = measured.and(removed).err().map(|error| error.to_string());
        }
        Err(error) => report.unwritable = Some(format!("{PROBE}: {error}")),
    }
    Ok(report)
}

/// Reserves room, writes, and flushes for a while.
fn measure(disk: &dyn Disk, file: &dyn File, report: &mut DoctorReport) -> io::Result<()> {
    file.allocate(PROBE_LEN)?;
    report.allocates = file.taken()? >= PROBE_LEN;
    file.sync()?;
    let now = || disk.clock().monotonic_ns();
    let (begin, mut times) = (now(), Vec::new());
    for nth in 0..FLUSHES_MAX {
        let start = now();
        if start.saturating_sub(begin) > MEASURED_NS_MAX {
            break;
        }
        file.write_at(&[1; WRITE_LEN as usize], nth.saturating_mul(WRITE_LEN))?;
        file.barrier(Barrier::Durable)?;
        times.push(now().saturating_sub(start));
    }
    times.sort_unstable();
    report.flush_ns = times.get(times.len() / 2).copied().zip(times.last().copied());
    Ok(())
}
