//! Spare segments: files made ready ahead, in the background, so that an append into one costs a flush and nothing else.
//!
//! Floor 2. Imports `address`, `error`, `format`, `platform`, `sabotage`, `segment`, `sync`.
//!
//! A file system notes for each block whether it was ever written. A durable append into a block that never was costs a
//! commit of its journal and a second flush; into one that was, even if with zeros, one flush. So zeros are written ahead.
//!
//! The writer never waits for a spare. It asks for one early and takes it if it is there; else it makes a file itself.
//! What goes wrong here harms nobody: there is no spare then, and the next segment asks again.

use std::io;

use crate::address::SegmentId;
use crate::error::{Error, Result};
use crate::format::names;
use crate::platform::{Barrier, Disk, Room};
use crate::sabotage::{Sabotage, planted};
use crate::segment::blank::Blank;
use crate::sync::Arc;
use crate::sync::plain::{Condvar, JoinHandle, Mutex, MutexGuard, PoisonError, ThreadBuilder};

/// How spares are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Policy {
    /// Written with zeros: where a durable append pays for each block that never was.
    Zeroed,
    /// Room reserved: where writes go elsewhere anyway, and for writers who wait for no flush, to whom writing into what
    /// is in the page cache already costs more than into what is not.
    Reserve,
    /// Not at all.
    None,
}

impl Policy {
    /// For a disk, and what its writers wait for unless they say otherwise.
    fn choose(room: Room, barrier: Option<Barrier>) -> Policy {
        match (room, barrier) {
            (Room::Memory, _) => Policy::None,
            (Room::InPlace, Some(_)) => Policy::Zeroed,
            (Room::InPlace | Room::Elsewhere, _) => Policy::Reserve,
        }
    }
}

/// The spare segment of a store, and the thread that makes it.
///
/// Invariant P1: a spare is a new file, of zeros, durable but for its name; no file becomes one that was a segment before,
/// or was left by a session before: somebody may still show it, or it may have a second name.
/// Invariant P2: there is one spare at most, and after `close` there is none and no thread.
#[derive(Debug)]
pub(crate) struct Pool {
    maker: Arc<Maker>,
    /// Whether a thread may be started.
    background: bool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread holds on to: nothing that keeps the store alive.
#[derive(Debug)]
struct Maker {
    disk: Arc<dyn Disk>,
    policy: Policy,
    state: Mutex<State>,
    /// Signalled when something is wanted, and when the pool is closed.
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The length that was asked for.
    wanted: Option<u64>,
    /// The length of the spare that is being made.
    making: Option<u64>,
    ready: Option<Blank>,
    closed: bool,
}

impl Pool {
    /// A pool without a spare. Nothing is made before it is asked for.
    pub(crate) fn new(disk: &Arc<dyn Disk>, barrier: Option<Barrier>, background: bool) -> Pool {
        let policy = Policy::choose(disk.room(), barrier);
        let maker = Maker { disk: Arc::clone(disk), policy, state: Mutex::default(), wake: Condvar::new() };
        Pool { maker: Arc::new(maker), background, thread: Mutex::new(None) }
    }

    /// Asks for a spare of `len` bytes, and does not wait for it.
    pub(crate) fn ask(&self, len: u64) {
        if !self.background || self.maker.policy == Policy::None {
            return;
        }
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut state = self.maker.state();
            if state.closed {
                return;
            }
            state.wanted = Some(len);
        }
        self.maker.wake.notify_one();
        if thread.is_none() {
            let maker = Arc::clone(&self.maker);
            let started = ThreadBuilder::new().name("zipcask-spares".to_string()).spawn(move || maker.run());
            // Without a thread there are no spares; the next segment tries again.
            *thread = started.ok();
        }
    }

    /// Makes a spare of `len` bytes here and now, unless there is one; whether there is one afterwards.
    #[cfg(feature = "sim")]
    pub(crate) fn make(&self, len: u64) -> bool {
        self.maker.make(len);
        self.maker.state().ready.is_some()
    }

    /// The spare, if there is one of `needed` bytes at least.
    pub(crate) fn take(&self, needed: u64) -> Option<Blank> {
        self.maker.state().ready.take_if(|spare| spare.len() >= needed)
    }

    /// Removes the spare, if there is one, for somebody who needs its room more; whether there was one.
    pub(crate) fn give_up(&self) -> bool {
        let spare = self.maker.state().ready.take();
        spare.map(|spare| spare.remove(&*self.maker.disk)).is_some()
    }

    /// What the writer does without a spare: makes a file for the segment `id` itself, without waiting for zeros. Where they
    /// would pay, the segment writes them as it goes.
    ///
    /// # Errors
    /// As `Blank::create`.
    pub(crate) fn make_now(&self, id: SegmentId, len: u64) -> Result<Blank> {
        let disk = &*self.maker.disk;
        let blank = Blank::create(disk, names::new_segment(id), len)?;
        Ok(match self.maker.policy {
            Policy::Zeroed => blank,
            Policy::Reserve | Policy::None => blank.good_as_it_is(),
        })
    }

    /// Bytes that the spare takes up, finished or not.
    pub(crate) fn bytes(&self) -> u64 {
        let state = self.maker.state();
        state.ready.as_ref().map_or(0, Blank::len) + state.making.unwrap_or(0)
    }

    /// Ends the thread, and removes the spare.
    pub(crate) fn close(&self) {
        self.maker.state().closed = true;
        self.maker.wake.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // Should it have panicked, there is no spare.
            let _ = thread.join();
        }
        if let Some(spare) = self.maker.state().ready.take() {
            spare.remove(&*self.maker.disk);
        }
    }
}

impl Maker {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: makes what is wanted until the pool is closed.
    fn run(&self) {
        loop {
            let mut state = self.state();
            let len = loop {
                if state.closed {
                    return;
                }
                match state.wanted.take() {
                    Some(len) => break len,
                    None => state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(state);
            self.make(len);
        }
    }

    /// Makes a spare, unless there is one or the pool is closed.
    fn make(&self, len: u64) {
        {
            let mut state = self.state();
            let enough = state.making.is_some() || state.ready.is_some();
            if state.closed || enough || self.policy == Policy::None {
                return;
            }
            state.making = Some(len);
        }
        let made = self.try_make(len);
        let mut state = self.state();
        state.making = None;
        state.ready = made.ok().flatten();
    }

    /// `None` if the pool was closed meanwhile.
    ///
    /// # Errors
    /// As the system says; nothing is left then, as far as possible.
    fn try_make(&self, len: u64) -> Result<Option<Blank>> {
        let disk = &*self.disk;
        if planted(Sabotage::RecycledSpare)
            && let Some(spare) = recycled(disk, len)
        {
            return Ok(Some(spare));
        }
        let spare = Blank::create(disk, self.new_name()?, len)?.good_as_it_is();
        let filled = match self.policy {
            Policy::Zeroed => spare.fill(disk, || !self.state().closed),
            Policy::Reserve | Policy::None => Ok(()),
        };
        if self.state().closed {
            spare.remove(disk);
            return Ok(None);
        }
        // BARRIER: the zeros are on the device, and the file system knows it, before anyone appends (P1).
        filled.and_then(|()| spare.sync(disk)).inspect_err(|_| spare.remove(disk))?;
        Ok(Some(spare))
    }

    /// A name that no other file has, whichever process makes one.
    fn new_name(&self) -> Result<String> {
        let disk = &*self.disk;
        let mut random = [0; 8];
        let made = disk.random(&mut random).and_then(|()| match disk.create_dir(names::SPARE) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        });
        made.map_err(|error| Error::io("cannot name a spare segment", error))?;
        Ok(names::spare(u64::from_le_bytes(random)))
    }
}

/// Removes the spares that a session left which did not close. Best effort: they are in nobody's way.
pub(crate) fn remove_leftovers(disk: &dyn Disk) {
    if !planted(Sabotage::RecycledSpare) {
        leftovers(disk).iter().for_each(|name| drop(disk.remove(name)));
    }
}

fn leftovers(disk: &dyn Disk) -> Vec<String> {
    let names = disk.list(names::SPARE).unwrap_or_default();
    names.iter().filter_map(|name| names::parse_spare(name)).map(names::spare).collect()
}

/// The bug that P1 forbids: a spare that is no new file.
fn recycled(disk: &dyn Disk, len: u64) -> Option<Blank> {
    let name = leftovers(disk).pop()?;
    Blank::reuse(disk, name, len).ok()
}
