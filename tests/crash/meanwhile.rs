//! Writes that come while a job runs: from within its own calls, so that every run is the same.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use zipcask::sim::SimDisk;
use zipcask::{Db, Options};

use crate::history::{self, Prepared};
use crate::hook::HookDisk;

/// The calls on an archive before which a write may come: when it is begun, before anything was judged; when all was judged;
/// when it is read back; when it counts; when the index moves to it.
pub(crate) const CALLS: [&str; 6] = ["create", "create", "sync", "open", "rename", "sync_dir"];

/// A write that was done.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) prepared: Prepared,
    /// Positions of the trace: before it, and when it was told.
    pub(crate) issued: usize,
    pub(crate) told: usize,
    pub(crate) seqno: u64,
}

/// Writes, each with the call that it comes before. Shared by all disks of a history.
#[derive(Clone, Default, Debug)]
pub(crate) struct Meanwhile(Arc<Mutex<State>>);

#[derive(Default, Debug)]
struct State {
    /// None while no job runs, and while a write is under way.
    running: Option<(SimDisk, Db)>,
    due: Vec<(&'static str, Prepared)>,
    done: Vec<Done>,
    failure: Option<zipcask::Error>,
    /// Archives that were removed under their final names.
    removed: u64,
}

impl Meanwhile {
    /// A disk that lets the writes come.
    pub(crate) fn disk(&self, inside: &SimDisk) -> HookDisk {
        let shared = self.clone();
        let hook = move |call: &str, name: &str| {
            if name.starts_with("archives") {
                shared.called(call, name);
            }
            Ok(())
        };
        HookDisk::new(inside.clone(), Arc::new(hook))
    }

    /// A job begins.
    pub(crate) fn begin(&self, disk: &SimDisk, db: &Db, due: Vec<(&'static str, Prepared)>) {
        *self.enter() = State { running: Some((disk.clone(), db.clone())), due, ..State::default() };
    }

    /// It is done; which of the writes came, and how many archives went.
    pub(crate) fn end(&self) -> zipcask::Result<(Vec<Done>, u64)> {
        let state = std::mem::take(&mut *self.enter());
        state.failure.map_or(Ok((state.done, state.removed)), Err)
    }

    fn enter(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn called(&self, call: &str, name: &str) {
        let mut state = self.enter();
        let Some((disk, db)) = state.running.take() else { return };
        state.removed += u64::from(call == "remove" && name.ends_with(".zip"));
        let due: Vec<_> = state.due.extract_if(.., |(at, _)| *at == call).collect();
        drop(state);
        // Their own calls find no job running.
        for (_, prepared) in due {
            let issued = disk.position();
            let outcome = prepared.execute(&db);
            let mut state = self.enter();
            match outcome {
                Ok(seqno) => state.done.push(Done { prepared, issued, told: disk.position(), seqno: seqno.into() }),
                Err(error) => state.failure = Some(error),
            }
        }
        self.enter().running = Some((disk, db));
    }
}

/// Verifies a store before each call of its jobs on archives, which have their names some calls after they can be read; says how often.
///
/// # Errors
/// What it found, of which there is nothing.
pub(crate) fn verify_before_each_call() -> Result<u64, String> {
    let (disk, inside, verified) = (SimDisk::new(1), Arc::new(Mutex::new(None::<Db>)), Arc::new(AtomicU64::new(0)));
    let hook = {
        let (inside, verified) = (Arc::clone(&inside), Arc::clone(&verified));
        move |call: &str, name: &str| {
            // Who opens a file holds what verifying waits for.
            if call == "open" || !name.starts_with("archives") {
                return Ok(());
            }
            // Its own calls find no store.
            let Some(db) = inside.lock().unwrap().take() else { return Ok(()) };
            let report =
                db.verify().map_err(|error| io::Error::other(format!("before {call} of {name}: {error:?}")))?;
            verified.fetch_add(1, Ordering::Relaxed);
            *inside.lock().unwrap() = Some(db);
            report.is_clean().then_some(()).ok_or_else(|| io::Error::other("it is damaged"))
        }
    };
    let hooked: Arc<HookDisk> = Arc::new(HookDisk::new(disk, Arc::new(hook)));
    let db = zipcask::sim::open(Options::new(), history::SEGMENT, hooked).map_err(|error| format!("{error:?}"))?;
    for round in 0..6_u8 {
        for number in 0..30_u8 {
            db.put([number], [round; 200]).map_err(|error| format!("{error:?}"))?;
        }
        *inside.lock().unwrap() = Some(db.clone());
        let done = if round % 2 == 0 { db.archive().map(drop) } else { db.compact().map(drop) };
        *inside.lock().unwrap() = None;
        done.map_err(|error| format!("round {round}: {error:?}"))?;
    }
    Ok(verified.load(Ordering::Relaxed))
}
