//! Fences in other threads.
//!
//! Floor 1. Imports `platform`.

use crate::platform::os;

/// A call that has every thread of this process pass a full memory fence before it returns, and says whether it did;
/// `None` where the system has none, or does not allow it.
pub(crate) fn all_threads() -> Option<fn() -> bool> {
    os::fence_all()
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_offered_works() {
        assert!(super::all_threads().is_none_or(|fence_all| fence_all()));
    }
}
