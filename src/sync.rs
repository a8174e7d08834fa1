//! The door to the standard library's synchronisation: std, or loom or shuttle when their models run.
//!
//! Floor 0. Imports nothing.
//!
//! Under `--cfg zipcask_loom` the types here are loom's, and panic outside a `loom::model`. What no model looks at
//! (statics, handles that only keep things alive) stays with std through `plain`, and so do `Arc` and `Weak`: loom's cannot hold
//! a `dyn` type, and only finds leaks. Under `--cfg zipcask_shuttle` they are shuttle's.

pub(crate) use std::sync::{Arc, Weak};

/// Reference counts, which loom can follow where what is counted has a size.
pub(crate) mod counted {
    #[cfg(zipcask_loom)]
    pub(crate) use loom::sync::Arc;
    #[cfg(not(zipcask_loom))]
    pub(crate) use std::sync::Arc;
}

/// std's own types, whatever the build: for what no model looks at.
pub(crate) mod plain {
    #[expect(unused_imports, reason = "each room takes what it needs")]
    pub(crate) use std::sync::{
        Condvar, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, TryLockError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
        mpsc,
    };
    pub(crate) use std::thread;
    pub(crate) use std::thread::{Builder as ThreadBuilder, JoinHandle};
}

#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, atomic};
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
pub(crate) use std::thread::yield_now;

#[cfg(zipcask_loom)]
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard, atomic};
#[cfg(zipcask_loom)]
pub(crate) use loom::thread::yield_now;

#[cfg(zipcask_shuttle)]
pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard, atomic};
#[cfg(zipcask_shuttle)]
pub(crate) use shuttle::thread::yield_now;
