//! A file with a place in it, as the crate `zip` wants one.
//!
//! Floor 2. Imports `platform`, `sync`.

use std::io::{self, Seek, SeekFrom, Write};

use crate::platform::File;
use crate::sync::Arc;
use crate::sync::plain::{Mutex, MutexGuard, PoisonError};

/// What is kept back at most before it is written.
const BUFFER_LEN: usize = 256 << 10;

/// A place in a new file; a clone is the same place.
///
/// The first write that fails is the last one: it is kept for whoever asks (`zip` loses errnos), and all that is written after
/// it goes nowhere. That is what is wanted of a file that is given up: `zip` tries to finish it when it is dropped, and
/// complains on the standard error if it cannot.
#[derive(Clone)]
pub(super) struct Cursor(Arc<Mutex<State>>);

struct State {
    file: Arc<dyn File>,
    at: u64,
    /// Of all that was written.
    end: u64,
    buffer: Vec<u8>,
    /// Where the buffer's first byte belongs.
    buffered: u64,
    /// Another file that has the bytes that are written next, and where.
    source: Option<(Arc<dyn File>, u64)>,
    alive: bool,
    failure: Option<io::Error>,
}

impl Cursor {
    /// At the start of `file`, which is empty.
    pub(super) fn new(file: Arc<dyn File>) -> Cursor {
        let buffer = Vec::with_capacity(BUFFER_LEN);
        let state = State { file, at: 0, end: 0, buffer, buffered: 0, source: None, alive: true, failure: None };
        Cursor(Arc::new(Mutex::new(state)))
    }

    pub(super) fn position(&self) -> u64 {
        self.enter().at
    }

    /// What is written from here on are the bytes of this file from there on; until it is `None`.
    pub(super) fn follow(&self, source: Option<(Arc<dyn File>, u64)>) {
        self.enter().source = source;
    }

    /// Nothing is written any more.
    pub(super) fn give_up(&self) {
        self.enter().alive = false;
    }

    /// Whether all writes so far have succeeded, as far as they were tried.
    pub(super) fn is_alive(&self) -> bool {
        self.enter().alive
    }

    /// Why a write failed; only the first time it is asked.
    pub(super) fn take_failure(&self) -> Option<io::Error> {
        self.enter().failure.take()
    }

    /// Nothing here panics half way through a change.
    fn enter(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Writes what is kept back.
    fn drain(&mut self) {
        if self.alive && !self.buffer.is_empty() {
            let written = self.file.write_at(&self.buffer, self.buffered);
            self.note(written);
        }
        self.buffer.clear();
    }

    fn put(&mut self, bytes: &[u8]) {
        let follows = self.buffered + self.buffer.len() as u64 == self.at;
        if !follows || self.buffer.len() + bytes.len() > BUFFER_LEN {
            self.drain();
            self.buffered = self.at;
        }
        if bytes.len() < BUFFER_LEN {
            self.buffer.extend_from_slice(bytes);
        } else if self.alive {
            let written = match &self.source {
                Some((source, from)) => self.file.write_from(&**source, *from, bytes, self.at),
                None => self.file.write_at(bytes, self.at),
            };
            self.note(written);
        }
        if let Some((_, from)) = &mut self.source {
            *from += bytes.len() as u64;
        }
        self.at += bytes.len() as u64;
        self.end = self.end.max(self.at);
    }

    fn note(&mut self, written: io::Result<()>) {
        if let Err(failure) = written {
            self.alive = false;
            self.failure = Some(failure);
        }
    }
}

impl Write for Cursor {
    /// Takes all of `bytes`; who wants to know whether it worked asks `is_alive`.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.enter().put(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.enter().drain();
        Ok(())
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let mut state = self.enter();
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::End(distance) => state.end.checked_add_signed(distance),
            SeekFrom::Current(distance) => state.at.checked_add_signed(distance),
        };
        state.at = place.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(state.at)
    }
}
