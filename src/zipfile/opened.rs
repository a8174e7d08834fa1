//! The chunks that were opened last, unpacked.
//!
//! Floor 2. Imports `limits`, `sync`.
//!
//! One cache for all stores of the process: the bound is one of the process, too, however many archives are open. A reader holds
//! one part for as long as it takes to look through a few numbers; nothing is unpacked meanwhile. Nobody waits for a part: whoever
//! finds it held goes without after some tries, as a forked child must whose parent held it just then. Readers that want the
//! same chunk at once unpack it each.

use std::collections::VecDeque;

use crate::limits::{OPENED_LEN, OPENED_PARTS};
use crate::sync::Arc;
use crate::sync::plain::{Mutex, MutexGuard, TryLockError, thread};

/// Which chunk: the number of whoever reads it, and its own.
pub(super) type Key = (u64, usize);

/// In the order of their last use.
type Part = VecDeque<(Key, Arc<Vec<u8>>)>;

/// How often a part is tried for: to unpack a chunk takes longer.
const TRIES: usize = 16;

static PARTS: [Mutex<Part>; OPENED_PARTS] = [const { Mutex::new(VecDeque::new()) }; OPENED_PARTS];

/// The chunk, if it is there.
pub(super) fn find(key: Key) -> Option<Arc<Vec<u8>>> {
    let mut part = part(key)?;
    let at = part.iter().rposition(|(other, _)| *other == key)?;
    let found = part.remove(at)?;
    let bytes = Arc::clone(&found.1);
    part.push_back(found);
    Some(bytes)
}

/// Keeps the chunk, in the place of those that were not asked for the longest. One that is longer than a part is the only
/// one of it.
pub(super) fn keep(key: Key, bytes: &Arc<Vec<u8>>) {
    let Some(mut part) = part(key) else { return };
    part.retain(|(other, _)| *other != key);
    part.push_back((key, Arc::clone(bytes)));
    let mut len: usize = part.iter().map(|(_, bytes)| bytes.len()).sum();
    while len > OPENED_LEN && part.len() > 1 {
        len -= part.pop_front().map_or(0, |(_, bytes)| bytes.len());
    }
}

/// Lets go of what one reader of chunks has left; of what cannot be had just now it is others that take the place.
pub(super) fn forget(number: u64) {
    for mut part in PARTS.iter().filter_map(hold) {
        part.retain(|((of, _), _)| *of != number);
    }
}

fn part((number, index): Key) -> Option<MutexGuard<'static, Part>> {
    let part = (number as usize).wrapping_add(index) % OPENED_PARTS;
    hold(&PARTS[part])
}

/// The part, unless others hold it all the time.
fn hold(part: &'static Mutex<Part>) -> Option<MutexGuard<'static, Part>> {
    (0..TRIES).find_map(|_| match part.try_lock() {
        Ok(part) => Some(part),
        Err(TryLockError::Poisoned(part)) => Some(part.into_inner()),
        Err(TryLockError::WouldBlock) => {
            thread::yield_now();
            None
        }
    })
}

#[cfg(test)]
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
mod tests {
    use super::{find, forget, keep};
    use crate::limits::{OPENED_LEN, OPENED_PARTS};
    use crate::sync::Arc;

    #[test]
    fn what_was_not_asked_for_the_longest_goes_first_and_memory_is_bounded() {
        // Other tests use the cache, but no such numbers.
        let (number, chunk) = (u64::MAX, Arc::new(vec![7; OPENED_LEN / 4]));
        let key = |nth: usize| (number, nth * OPENED_PARTS);
        for nth in 0..4 {
            keep(key(nth), &chunk);
        }
        assert!(find(key(0)).is_some(), "all four fit, and this is the youngest from here on");
        keep(key(4), &chunk);
        let there: Vec<_> = (0..5).map(|nth| find(key(nth)).is_some()).collect();
        assert_eq!(there, [true, false, true, true, true]);
        keep(key(5), &Arc::new(vec![7; 2 * OPENED_LEN]));
        assert_eq!(
            (0..6).filter(|nth| find(key(*nth)).is_some()).collect::<Vec<_>>(),
            [5],
            "one that is too long stands alone"
        );
        forget(number);
        assert!(find(key(5)).is_none());
    }
}
