//! Calls that fail on order, on any disk.
//!
//! Floor 1. Imports `platform`, `sync`.

use std::{io, path::Path};

use crate::platform::sim::disk::SimDisk;
use crate::platform::sim::file::SimFile;
use crate::platform::{Access, Barrier, Clock, Disk, File, Lock, LockError, Mapping, PrivateMapping, Room};
use crate::sync::Arc;
use crate::sync::plain::{Mutex, MutexGuard, PoisonError};

/// A call of [`Disk`] or [`File`] that can fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "each is the call of its name")]
pub enum Call {
    List,
    CreateDir,
    Open,
    Create,
    Rename,
    Remove,
    SyncDir,
    SyncParent,
    Lock,
    Random,
    Len,
    ReadAt,
    ReadDeviceAt,
    WriteAt,
    Allocate,
    Punch,
    Taken,
    Barrier,
    Sync,
    Map,
    MapPrivate,
}

impl Call {
    /// All of them, for sweeps.
    pub const ALL: [Call; 21] = [
        Call::List,
        Call::CreateDir,
        Call::Open,
        Call::Create,
        Call::Rename,
        Call::Remove,
        Call::SyncDir,
        Call::SyncParent,
        Call::Lock,
        Call::Random,
        Call::Len,
        Call::ReadAt,
        Call::ReadDeviceAt,
        Call::WriteAt,
        Call::Allocate,
        Call::Punch,
        Call::Taken,
        Call::Barrier,
        Call::Sync,
        Call::Map,
        Call::MapPrivate,
    ];
}

/// How long a fault lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lasts {
    /// One call.
    Once,
    /// That call and all later ones of its kind.
    FromThenOn,
}

/// What a `write_at` that is to fail writes before it does. Other calls do nothing before they fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Written {
    /// Nothing.
    Nothing,
    /// The first byte.
    OneByte,
    /// All but the last byte.
    AllButOne,
    /// All, with this bit wrong, counted round; and the call says that it succeeded. So does a `len`, whose answer has the
    /// wrong bit.
    Wrong(usize),
}

/// A call that is to fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Which.
    pub call: Call,
    /// The how many-th of its kind, from 1, since the disk was made.
    pub nth: u64,
    /// With which error of the system.
    pub errno: i32,
    /// Whether it heals.
    pub lasts: Lasts,
    /// What a write leaves.
    pub written: Written,
}

/// A disk whose calls fail on order; all others go to the disk inside. A clone is the same disk.
///
/// On a [`SimDisk`] a barrier or sync that fails leaves what it does on real ones: see [`SimFile::fail_sync`].
#[derive(Clone, Debug)]
pub struct FaultDisk {
    inside: Arc<dyn Disk>,
    /// The disk inside, if it is a simulated one: it is told of failed syncs.
    simulated: Option<SimDisk>,
    plan: Arc<Mutex<Plan>>,
}

#[derive(Default, Debug)]
struct Plan {
    calls: [u64; Call::ALL.len()],
    faults: Vec<Fault>,
    injected: u64,
}

impl FaultDisk {
    /// Wraps any disk.
    pub fn new(inside: Arc<dyn Disk>) -> Self {
        FaultDisk { inside, simulated: None, plan: Arc::default() }
    }

    /// Wraps a simulated disk, which then models failed syncs.
    pub fn simulated(inside: SimDisk) -> Self {
        let simulated = Some(inside.clone());
        FaultDisk { inside: Arc::new(inside), simulated, plan: Arc::default() }
    }

    /// Orders a fault, beside those already ordered.
    pub fn inject(&self, fault: Fault) {
        self.plan().faults.push(fault);
    }

    /// Takes all orders back.
    pub fn heal(&self) {
        self.plan().faults.clear();
    }

    /// How many calls of this kind there were, failed ones included.
    pub fn calls(&self, call: Call) -> u64 {
        self.plan().calls[call as usize]
    }

    /// How many calls failed on order: a sweep whose fault never struck proves nothing.
    pub fn injected(&self) -> u64 {
        self.plan().injected
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call, and finds whether it is to fail.
    fn strike(&self, call: Call) -> Result<(), Fault> {
        let mut plan = self.plan();
        plan.calls[call as usize] += 1;
        let count = plan.calls[call as usize];
        let hit = plan.faults.iter().copied().find(|fault| {
            let due = match fault.lasts {
                Lasts::Once => fault.nth == count,
                Lasts::FromThenOn => fault.nth <= count,
            };
            fault.call == call && due
        });
        plan.injected += u64::from(hit.is_some());
        hit.map_or(Ok(()), Err)
    }

    fn file(&self, inside: Arc<dyn File>, simulated: Option<SimFile>) -> Arc<dyn File> {
        Arc::new(FaultFile { inside, simulated, disk: self.clone() })
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        io::Error::from_raw_os_error(fault.errno)
    }
}

impl Disk for FaultDisk {
    fn path(&self) -> &Path {
        self.inside.path()
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.strike(Call::List)?;
        self.inside.list(folder)
    }

    fn create_dir(&self, folder: &str) -> io::Result<()> {
        self.strike(Call::CreateDir)?;
        self.inside.create_dir(folder)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        self.strike(Call::Open)?;
        let Some(disk) = &self.simulated else {
            return Ok(self.file(self.inside.open(name, access)?, None));
        };
        let file = disk.open_file(name, access)?;
        Ok(self.file(Arc::new(file.clone()), Some(file)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.strike(Call::Create)?;
        let Some(disk) = &self.simulated else {
            return Ok(self.file(self.inside.create(name)?, None));
        };
        let file = disk.create_file(name)?;
        Ok(self.file(Arc::new(file.clone()), Some(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.strike(Call::Rename)?;
        self.inside.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.strike(Call::Remove)?;
        self.inside.remove(name)
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        self.strike(Call::SyncDir)?;
        self.inside.sync_dir(folder)
    }

    fn sync_parent(&self) -> io::Result<()> {
        self.strike(Call::SyncParent)?;
        self.inside.sync_parent()
    }

    fn lock(&self) -> Result<Box<dyn Lock>, LockError> {
        self.strike(Call::Lock).map_err(io::Error::from)?;
        self.inside.lock()
    }

    fn room(&self) -> Room {
        self.inside.room()
    }

    fn random(&self, bytes: &mut [u8]) -> io::Result<()> {
        self.strike(Call::Random)?;
        self.inside.random(bytes)
    }

    fn clock(&self) -> &dyn Clock {
        self.inside.clock()
    }
}

#[derive(Debug)]
struct FaultFile {
    inside: Arc<dyn File>,
    simulated: Option<SimFile>,
    disk: FaultDisk,
}

impl FaultFile {
    /// Like `strike`, for the calls whose failure leaves the file in doubt.
    fn strike_sync(&self, call: Call) -> io::Result<()> {
        self.disk.strike(call).map_err(|fault| {
            if let Some(file) = &self.simulated {
                file.fail_sync();
            }
            io::Error::from(fault)
        })
    }
}

impl File for FaultFile {
    fn len(&self) -> io::Result<u64> {
        match self.disk.strike(Call::Len) {
            Err(Fault { written: Written::Wrong(bit), .. }) => Ok(self.inside.len()? ^ 1 << (bit % 64)),
            struck => struck.map_err(io::Error::from).and_then(|()| self.inside.len()),
        }
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.strike(Call::ReadAt)?;
        self.inside.read_at(bytes, offset)
    }

    fn read_device_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.strike(Call::ReadDeviceAt)?;
        self.inside.read_device_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let Err(fault) = self.disk.strike(Call::WriteAt) else {
            return self.inside.write_at(bytes, offset);
        };
        let count = match fault.written {
            Written::Nothing => 0,
            Written::OneByte => bytes.len().min(1),
            Written::AllButOne => bytes.len().saturating_sub(1),
            Written::Wrong(bit) => {
                let mut wrong = bytes.to_vec();
                if let Some(byte) = wrong.get_mut(bit / 8 % bytes.len().max(1)) {
                    *byte ^= 1 << (bit % 8);
                }
                return self.inside.write_at(&wrong, offset);
            }
        };
        self.inside.write_at(&bytes[..count], offset)?;
        Err(fault.into())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.disk.strike(Call::Allocate)?;
        self.inside.allocate(len)
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.disk.strike(Call::Punch)?;
        self.inside.punch(offset, len)
    }

    fn taken(&self) -> io::Result<u64> {
        self.disk.strike(Call::Taken)?;
        self.inside.taken()
    }

    fn barrier(&self, level: Barrier) -> io::Result<Barrier> {
        self.strike_sync(Call::Barrier)?;
        self.inside.barrier(level)
    }

    fn sync(&self) -> io::Result<()> {
        self.strike_sync(Call::Sync)?;
        self.inside.sync()
    }

    fn map(&self, len: usize) -> io::Result<Box<dyn Mapping>> {
        self.disk.strike(Call::Map)?;
        self.inside.map(len)
    }

    fn map_private(&self, len: usize) -> io::Result<Box<dyn PrivateMapping>> {
        self.disk.strike(Call::MapPrivate)?;
        self.inside.map_private(len)
    }
}

#[cfg(test)]
mod tests {
    use super::{Call, Fault, FaultDisk, Lasts, Written};
    use crate::platform::sim::disk::SimDisk;
    use crate::platform::{Access, Barrier, Disk};
    use crate::sync::Arc;

    fn fault(call: Call, nth: u64, lasts: Lasts) -> Fault {
        Fault { call, nth, errno: 5, lasts, written: Written::Nothing }
    }

    /// Makes every call once and returns which of them failed.
    fn call_everything(disk: &FaultDisk) -> Vec<Call> {
        let mut failed = Vec::new();
        let mut note = |call, ok: bool| failed.extend((!ok).then_some(call));
        let file = disk.open("a", Access::ReadWrite);
        note(Call::Open, file.is_ok());
        let file = file.unwrap_or_else(|_| disk.open("a", Access::ReadWrite).unwrap());
        note(Call::Create, disk.create("e").is_ok());
        note(Call::Rename, disk.rename("a", "c").is_ok());
        note(Call::Remove, disk.remove("b").is_ok());
        note(Call::List, disk.list("").is_ok());
        note(Call::CreateDir, disk.create_dir("d").is_ok());
        note(Call::SyncDir, disk.sync_dir("").is_ok());
        note(Call::SyncParent, disk.sync_parent().is_ok());
        note(Call::Lock, disk.lock().is_ok());
        note(Call::Random, disk.random(&mut [0]).is_ok());
        note(Call::Len, file.len().is_ok());
        note(Call::ReadAt, file.read_at(&mut [0], 0).is_ok());
        note(Call::ReadDeviceAt, file.read_device_at(&mut [0], 0).is_ok());
        note(Call::WriteAt, file.write_at(b"x", 0).is_ok());
        note(Call::Allocate, file.allocate(10).is_ok());
        note(Call::Punch, file.punch(0, 1).is_ok());
        note(Call::Taken, file.taken().is_ok());
        note(Call::Barrier, file.barrier(Barrier::Ordered).is_ok());
        note(Call::Sync, file.sync().is_ok());
        note(Call::Map, file.map(1).is_ok());
        note(Call::MapPrivate, file.map_private(1).is_ok());
        failed
    }

    #[test]
    fn every_call_fails_on_order_and_no_other_with_it() {
        for call in Call::ALL {
            for simulated in [true, false] {
                let sim = SimDisk::new(1);
                sim.write_file("a", b"12345678");
                sim.write_file("b", b"");
                let disk = match simulated {
                    true => FaultDisk::simulated(sim),
                    false => FaultDisk::new(Arc::new(sim)),
                };
                disk.inject(fault(call, 1, Lasts::Once));
                assert_eq!(call_everything(&disk), [call]);
                assert_eq!(disk.injected(), 1);
                assert!(disk.calls(call) >= 1);
            }
        }
    }

    #[test]
    fn a_fault_strikes_the_nth_call_once_or_from_then_on_until_healed() {
        let disk = FaultDisk::simulated(SimDisk::new(1));
        let file = disk.create("a").unwrap();
        let run = |lasts, errno| -> Vec<bool> {
            let nth = disk.calls(Call::WriteAt) + 2;
            disk.inject(Fault { errno, ..fault(Call::WriteAt, nth, lasts) });
            let write = || file.write_at(b"x", 0).map_err(|error| error.raw_os_error());
            let results = [write(), write(), write()];
            disk.heal();
            assert!(results.iter().all(|result| result.is_ok() || *result == Err(Some(errno))));
            results.iter().map(Result::is_ok).collect()
        };
        assert_eq!(run(Lasts::Once, 28), [true, false, true]);
        assert_eq!(run(Lasts::FromThenOn, 122), [true, false, false]);
        assert_eq!(disk.calls(Call::WriteAt), 6);
        assert_eq!(disk.injected(), 3);
        file.write_at(b"x", 0).unwrap();
    }

    #[test]
    fn a_failing_write_leaves_as_much_as_ordered() {
        let disk = SimDisk::new(1);
        let faulty = FaultDisk::simulated(disk.clone());
        let states = [(Written::Nothing, ""), (Written::OneByte, "1"), (Written::AllButOne, "123")];
        for (nth, (written, left)) in (1..).zip(states) {
            faulty.inject(Fault { written, ..fault(Call::WriteAt, nth, Lasts::Once) });
            let name = format!("{nth}");
            faulty.create(&name).unwrap().write_at(b"1234", 0).unwrap_err();
            assert_eq!(disk.read_file(&name).unwrap(), left.as_bytes());
        }
        faulty.inject(Fault { written: Written::Wrong(17), ..fault(Call::WriteAt, 4, Lasts::Once) });
        faulty.create("lie").unwrap().write_at(b"1234", 0).unwrap();
        assert_eq!(disk.read_file("lie").unwrap(), b"1214");
        faulty.inject(Fault { written: Written::Wrong(3), ..fault(Call::Len, 1, Lasts::Once) });
        let file = faulty.open("lie", Access::Read).unwrap();
        assert_eq!((file.len().unwrap(), file.len().unwrap()), (12, 4));
    }
}
