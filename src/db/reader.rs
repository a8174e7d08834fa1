//! The fastest way to read: one a thread, nothing to let go of until it is refreshed.
//!
//! Floor 6. Imports `db`, `error`, `reclaim`, `segment`, `store`.

use std::cell::RefCell;
use std::fmt;
use std::ops::ControlFlow;

use crate::db::keyspace::Keyspace;
use crate::error::Result;
use crate::reclaim::pin::Pin;
use crate::segment::holds::Holds;
use crate::segment::kept::Kept;
use crate::store::Store;
use crate::store::pass::Pass;
use crate::store::read::{self, At, Spot};

/// Keys looked up together: enough that their cache misses overlap, few enough that the lines asked for stay in the
/// nearest cache.
const GROUP: usize = 32;

/// Reads a keyspace from one thread: the fastest way.
///
/// It sees the newest published state of each key at the moment it looks, takes no lock, and hands out bytes that stay where
/// they are until [`Reader::refresh`], or until it is dropped. A reader that is parked keeps the files that it has shown
/// something of, and holds up nothing else; of what is not mapped ([`ReadMode::Positioned`](crate::ReadMode::Positioned)) it
/// keeps a copy of every value that it has shown, and of large values their files, each once. It is a handle of the store, like a [`Keyspace`]: may
/// be sent to another thread, but not shared with one.
///
/// ```
/// # fn main() -> zipcask::Result<()> {
/// let db = zipcask::Options::new().open_in_memory()?;
/// db.put("apple", "red")?;
/// let mut reader = db.reader();
/// assert_eq!(reader.get("apple")?, Some(&b"red"[..]));
/// reader.get_many(&["apple", "pear"], |i, found| assert_eq!(found.unwrap().is_some(), i == 0));
/// reader.refresh(); // lets go of what was handed out
/// # Ok(())
/// # }
/// ```
pub struct Reader {
    keyspace: Keyspace,
    /// Keeps the mapped bytes that were handed out.
    holds: RefCell<Holds>,
    /// Keeps the others.
    kept: RefCell<Kept>,
}

impl Reader {
    pub(super) fn new(keyspace: &Keyspace) -> Reader {
        Reader { keyspace: keyspace.clone(), holds: RefCell::default(), kept: RefCell::default() }
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// As [`Keyspace::get`](crate::Keyspace::get).
    #[inline]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<&[u8]>> {
        let (store, key, pin) = (self.keyspace.open_store()?, key.as_ref(), Pin::new());
        self.answer(store, store.hash(key), key, &pin)
    }

    #[inline]
    fn answer(&self, store: &Store, hash: u64, key: &[u8], pin: &Pin) -> Result<Option<&[u8]>> {
        match store.spot(&self.keyspace.space, hash, key, pin) {
            Spot::Absent => Ok(None),
            Spot::At(at) => self.show(store, &at),
            Spot::Unsure => self.answer_slowly(store, hash, key, pin),
        }
    }

    /// The same of what expires, or was not found at a glance.
    #[inline(never)]
    fn answer_slowly(&self, store: &Store, hash: u64, key: &[u8], pin: &Pin) -> Result<Option<&[u8]>> {
        match store.find_to_read(&self.keyspace.space, hash, key, pin)? {
            Some(at) => self.show(store, &at),
            None => Ok(None),
        }
    }

    /// The value at a place, which is kept from here on.
    #[inline]
    fn show(&self, store: &Store, at: &At<'_>) -> Result<Option<&[u8]>> {
        let Some(value) = at.mapped()? else {
            return self.show_elsewhere(store, *at);
        };
        self.holds.borrow_mut().keep(at.segment);
        // SAFETY: the bytes are in a segment that is held until `refresh`, which nobody can call, or the drop of the
        // reader, while the slice is borrowed from it.
        Ok(Some(unsafe { std::slice::from_raw_parts(value.as_ptr(), value.len()) }))
    }

    /// `show` where the value is not mapped with its record: seldom. (By value, so that `at` stays in registers there.)
    #[cold]
    #[inline(never)]
    fn show_elsewhere(&self, store: &Store, at: At<'_>) -> Result<Option<&[u8]>> {
        let record = at.fetch()?;
        if record.has_expired(|| store.now_ms()) {
            return Ok(None);
        }
        let bytes = std::ptr::from_ref(self.kept.borrow_mut().keep(store.large(), &record)?);
        // SAFETY: the bytes are kept as long as what `show` holds, and stay where they are meanwhile.
        Ok(Some(unsafe { &*bytes }))
    }

    /// Calls `each` with the position and the value of every one of `keys`, once each, in any order.
    ///
    /// What waits for memory in a single get waits here for many keys at a time: from 16 keys on that is several times
    /// as fast. The keys are looked up one by one, not at one moment.
    ///
    /// # Errors
    /// Each key has its own, as [`Keyspace::get`](crate::Keyspace::get).
    pub fn get_many<'r, K: AsRef<[u8]>>(&'r self, keys: &[K], mut each: impl FnMut(usize, Result<Option<&'r [u8]>>)) {
        let mut base = 0;
        for group in keys.chunks(GROUP) {
            // Answered before any is shown: `each` may do what it likes, and is not waited for under a pin.
            let mut answers: [Result<Option<&[u8]>>; GROUP] = [const { Ok(None) }; GROUP];
            self.look_up(group, &mut answers);
            for (i, answer) in answers.into_iter().take(group.len()).enumerate() {
                each(base + i, answer);
            }
            base += group.len();
        }
    }

    fn look_up<'r, K: AsRef<[u8]>>(&'r self, keys: &[K], answers: &mut [Result<Option<&'r [u8]>>; GROUP]) {
        // Before the pin, too: a key may do what it likes to give its bytes.
        let mut bytes: [&[u8]; GROUP] = [&[]; GROUP];
        bytes.iter_mut().zip(keys).for_each(|(bytes, key)| *bytes = key.as_ref());
        let keys = &bytes[..keys.len()];
        let store = match self.keyspace.open_store() {
            Ok(store) => store,
            Err(error) => return answers.fill_with(|| Err(error.clone())),
        };
        let pin = Pin::new();
        let table = self.keyspace.space.table(&pin);
        let mut hashes = [0; GROUP];
        for (hash, key) in hashes.iter_mut().zip(keys) {
            *hash = store.hash(key);
            table.prefetch(*hash, &pin);
        }
        for hash in &hashes[..keys.len()] {
            read::prefetch_record(store.registry(), table, *hash, &pin);
        }
        for ((answer, key), hash) in answers.iter_mut().zip(keys).zip(hashes) {
            *answer = self.answer(store, hash, key, &pin);
        }
    }

    /// Calls `each` with every key and its value, in the order of the log, until it breaks: the fastest full pass.
    ///
    /// Shows every key that is there throughout the call once, with a value that it had meanwhile; a key that comes or
    /// goes meanwhile may be shown or not, and one that goes and comes again twice. Takes 4 to 8 bytes of memory a key.
    /// [`Keyspace::iter`](crate::Keyspace::iter) shows one moment.
    ///
    /// # Errors
    /// As [`Keyspace::get`](crate::Keyspace::get), of the first record that cannot be read; the pass ends there.
    pub fn for_each(&self, each: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>) -> Result<()> {
        Pass::new(self.keyspace.open_store()?, &self.keyspace.space).show(each).map(drop)
    }

    /// Lets go of all that was handed out.
    pub fn refresh(&mut self) {
        self.holds.get_mut().release();
        self.kept.get_mut().release();
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("path", &self.keyspace.shared.store.disk().path()).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
mod tests {
    use crate::Options;
    use crate::reclaim::pin::{self, Pin};
    use crate::sync::Arc;
    use crate::sync::plain::{AtomicBool, Ordering};

    /// Whether what is retired now is freed. Other tests of this process may be within a pin for a moment.
    fn is_anything_freed() -> bool {
        let gone = Arc::new(AtomicBool::new(false));
        let sign = Arc::clone(&gone);
        // SAFETY: it frees nothing.
        unsafe { Pin::new().retire(move || sign.store(true, Ordering::Relaxed)) };
        (0..1_000_000).any(|_| {
            pin::collect();
            std::thread::yield_now();
            gone.load(Ordering::Relaxed)
        })
    }

    /// Notes whether anything is freed while it is asked for its bytes.
    struct Key(AtomicBool);

    impl AsRef<[u8]> for Key {
        fn as_ref(&self) -> &[u8] {
            self.0.store(is_anything_freed(), Ordering::Relaxed);
            b"key"
        }
    }

    #[test]
    fn what_the_user_does_within_a_call_holds_nothing_up() {
        let db = Options::new().open_in_memory().unwrap();
        db.put("key", "value").unwrap();
        let (reader, keys) = (db.reader(), [Key(AtomicBool::new(false))]);
        reader.get_many(&keys, |_, found| {
            assert_eq!(found.unwrap(), Some(&b"value"[..]));
            assert!(is_anything_freed(), "within the callback");
        });
        assert!(keys[0].0.load(Ordering::Relaxed), "within the key");
        let each = |_: &[u8], _: &[u8]| {
            assert!(is_anything_freed(), "within the pass");
            std::ops::ControlFlow::Continue(())
        };
        reader.for_each(each).unwrap();
        assert!(db.get_with("key", |_| is_anything_freed()).unwrap().unwrap(), "within get_with");
    }
}
