//! The engines behind one trait, each at the best that its API offers for the work.

mod emdb;
mod fjall;
mod lmdb;
mod memory;
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
mod sled;
mod zipcask;

use std::path::Path;

use crate::values::Key;

/// What a single write waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Handed to the operating system.
    Os,
    /// On stable storage.
    Sync,
}

/// An open store. Every method panics on an error: a figure of a failing engine is no figure.
pub(crate) trait Engine: Sync {
    /// Gives `f` the value of `key`, the newest that was acknowledged.
    fn get(&self, key: &[u8], f: &mut dyn FnMut(Option<&[u8]>));

    /// Gets many keys; an engine with read transactions may use one for all.
    fn get_all(&self, keys: &[Key], f: &mut dyn FnMut(&Key, Option<&[u8]>)) {
        for key in keys {
            self.get(key.as_bytes(), &mut |value| f(key, value));
        }
    }

    /// Says what the single writes that follow wait for.
    fn prepare(&mut self, mode: Mode);

    /// One write of its own.
    fn put(&self, key: &[u8], value: &[u8]);

    /// Many writes at once, not yet durable.
    fn batch(&mut self, pairs: &[(Key, [u8; 100])]);

    /// Makes all of it durable.
    fn sync(&mut self);

    /// Shows every key and value.
    fn pass(&self, f: &mut dyn FnMut(&[u8], &[u8]));

    /// Whether it is a map in memory: those are not asked for durable writes.
    fn floor(&self) -> Option<Floor> {
        None
    }
}

/// How a map in memory is shared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Floor {
    /// By nobody: one thread only.
    Alone,
    Shared,
}

/// An engine to measure.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Makes an empty store in a directory of its own.
    pub(crate) open: fn(&Path, u64) -> Box<dyn Engine>,
}

/// All of them, zipcask first.
pub(crate) const KINDS: &[Kind] = &[
    zipcask::KIND,
    emdb::KIND,
    lmdb::KIND,
    redb::KIND,
    fjall::KIND,
    sled::KIND,
    #[cfg(feature = "rocksdb")]
    rocksdb::KIND,
    memory::PLAIN,
    memory::LOCKED,
    memory::SHARDED,
];
