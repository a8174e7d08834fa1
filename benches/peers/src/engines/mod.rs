//! The engines behind one trait, each at the best that its API offers for the work.

mod emdb;
mod fjall;
mod lmdb;
mod memory;
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
mod sled;
pub(crate) mod zipcask;

use std::path::Path;

use crate::common::data::Key;
use crate::plan::Work;
use crate::turn::Turn;

/// What a single write waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Handed to the operating system.
    Os,
    /// On stable storage.
    Sync,
}

/// Which of an engine's ways to read; each is a row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// What everybody has.
    Plain,
    /// zipcask's `Reader`.
    Reader,
    /// Its `Range::visit`.
    Visit,
    /// Its `get_many`, so many keys at a time.
    Many(usize),
}

/// An open store. Every method panics on an error: a figure of a failing engine is no figure.
pub(crate) trait Engine: Sync {
    /// Makes this thread's view, and lets the turn go through it. An engine with read transactions may use one for all
    /// gets, unless the turn wants the newest.
    fn read(&self, way: Way, turn: &Turn<'_>);

    /// The same through a view that has an order.
    fn read_in_order(&self, _: Way, _: &Turn<'_>) {
        unreachable!("it has no order");
    }

    /// Says what the single writes that follow wait for.
    fn prepare(&mut self, mode: Mode);

    /// One write of its own.
    fn put(&self, key: &[u8], value: &[u8]);

    /// Many writes at once, not yet durable.
    fn batch(&mut self, pairs: &[(Key, Vec<u8>)]);

    /// Makes all of it durable.
    fn sync(&mut self);

    /// What zipcask says of itself.
    fn stats(&self) -> Option<::zipcask::Stats> {
        None
    }
}

/// An engine to measure.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Makes an empty store in a directory of its own, for so many bytes of keys and values.
    pub(crate) open: fn(&Path, u64) -> Box<dyn Engine>,
    /// In which works it takes part; all stores are loaded.
    pub(crate) takes: fn(&Work) -> bool,
    /// By which ways, if there are others than the plain one.
    pub(crate) ways: fn(&Work) -> &'static [Way],
}

fn all(_: &Work) -> bool {
    true
}

fn unordered(work: &Work) -> bool {
    !work.wants_order()
}

fn plain(_: &Work) -> &'static [Way] {
    &[Way::Plain]
}

/// All of them, zipcask first.
pub(crate) const KINDS: &[Kind] = &[
    zipcask::KIND,
    zipcask::ORDERED,
    zipcask::COMPACTED,
    emdb::KIND,
    lmdb::KIND,
    lmdb::WRITABLE,
    redb::KIND,
    fjall::KIND,
    sled::KIND,
    #[cfg(feature = "rocksdb")]
    rocksdb::KIND,
    memory::PLAIN,
    memory::LOCKED,
    memory::SHARDED,
];
