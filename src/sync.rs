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

/// std's own types: for what no model looks at. Those that one thread may have while others wait for them are shuttle's under shuttle,
/// since its threads are coroutines on one: whoever waits for std's would let nobody go on.
pub(crate) mod plain {
    #[cfg(zipcask_shuttle)]
    pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard};
    #[cfg(zipcask_shuttle)]
    pub(crate) use shuttle::thread::{Builder as ThreadBuilder, JoinHandle};
    #[cfg(not(zipcask_shuttle))]
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
    pub(crate) use std::sync::{
        LazyLock, OnceLock, PoisonError, TryLockError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
        mpsc,
    };
    pub(crate) use std::thread;
    #[cfg(not(zipcask_shuttle))]
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
