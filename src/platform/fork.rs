//! Notices that the process was forked.
//!
//! Floor 1. Imports `platform`, `sync`.
//!
//! On Linux a page that the kernel wipes in a forked child holds a token, and looking is one load. Elsewhere the
//! process id is asked for.

use std::process;

use crate::platform::os;
use crate::sync::plain::{AtomicU64, Ordering};

/// The last token given out. Ordinary memory, which a child inherits, so that no token ever comes again in any
/// descendant of this process.
static LAST_TOKEN: AtomicU64 = AtomicU64::new(0);

/// Belongs to the process that made it, and knows in which one it is asked.
#[derive(Debug)]
pub(crate) struct ForkGuard {
    /// The wiped word, where the system has one; else the token is the process id.
    word: Option<&'static AtomicU64>,
    token: u64,
}

impl ForkGuard {
    /// A guard of this process. Works in forked children too: what they make is theirs.
    pub(crate) fn new() -> ForkGuard {
        let word = os::word_wiped_on_fork();
        let token = word.map_or(u64::from(process::id()), arm);
        ForkGuard { word, token }
    }

    /// Whether this is another process than the one that made the guard.
    #[inline]
    pub(crate) fn forked(&self) -> bool {
        let here = match self.word {
            Some(word) => word.load(Ordering::Relaxed),
            None => u64::from(process::id()),
        };
        here != self.token
    }
}

/// The token of this process; gives it one if it is new.
fn arm(word: &AtomicU64) -> u64 {
    let token = word.load(Ordering::Relaxed);
    if token != 0 {
        return token;
    }
    let fresh = LAST_TOKEN.fetch_add(1, Ordering::Relaxed) + 1;
    // Relaxed suffices: the word is all there is to agree on, and whoever loses takes the winner's.
    match word.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => fresh,
        Err(winner) => winner,
    }
}

#[cfg(test)]
mod tests {
    use crate::platform::fork::{ForkGuard, arm};
    use crate::sync::plain::{AtomicU64, Ordering};

    #[test]
    fn nothing_is_forked_where_nobody_forks() {
        assert!(!ForkGuard::new().forked());
        assert_eq!(ForkGuard::new().token, ForkGuard::new().token);
    }

    #[test]
    fn a_wiped_word_gets_a_token_that_was_never_used() {
        let word = AtomicU64::new(0);
        let first = arm(&word);
        assert_eq!(arm(&word), first, "one process, one token");
        word.store(0, Ordering::Relaxed);
        assert!(arm(&word) > first);
    }
}
