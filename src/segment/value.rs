//! A value in the user's hands: mapped bytes and what keeps them mapped.
//!
//! Floor 2. Imports `reclaim`, `segment`, `sync`.

use std::fmt;
use std::num::NonZero;
use std::ops::{Deref, Range};
use std::ptr::NonNull;

use crate::reclaim::hold::Hold;
use crate::segment::Segment;
use crate::segment::fetched::{self, Fetched};
use crate::segment::large::file::LargeFile;
use crate::sync::Arc;

/// The bytes of a value (or of a key that an iterator shows), without a copy where the store is mapped.
///
/// It stays what it was when it was read, whatever happens to its key afterwards, and outlives the store's handles.
/// Cloning is cheap. The address of a whole value is a multiple of 8, or of more where its keyspace asks for that
/// ([`KeyspaceOptions::value_align`](crate::KeyspaceOptions::value_align)): then it may be a copy.
#[derive(Clone)]
pub struct Value {
    bytes: NonNull<u8>,
    len: usize,
    _keep: Keep,
}

/// What keeps the bytes where they are. Never read: it is there to be dropped.
#[derive(Clone)]
#[expect(dead_code, reason = "held for its drop")]
enum Keep {
    Mapped(Hold<Segment>),
    Fetched(Arc<Box<[u64]>>),
    Large(Arc<LargeFile>),
}

// SAFETY: the bytes are read-only and never change (W3); what keeps them alive is Send and Sync.
unsafe impl Send for Value {}
// SAFETY: as above.
unsafe impl Sync for Value {}

impl Value {
    /// Mapped bytes of `segment`.
    #[inline]
    pub(crate) fn mapped(segment: Hold<Segment>, bytes: &[u8]) -> Value {
        Value { bytes: NonNull::from(bytes).cast(), len: bytes.len(), _keep: Keep::Mapped(segment) }
    }

    /// A large value.
    pub(crate) fn large(file: Arc<LargeFile>) -> Value {
        let bytes = file.bytes();
        Value { bytes: NonNull::from(bytes).cast(), len: bytes.len(), _keep: Keep::Large(file) }
    }

    /// The part of it that lies in `range`, which is cut off at its end.
    pub(crate) fn part(mut self, range: &Range<u64>) -> Value {
        let range = clip(range, self.len as u64);
        // The lengths of both are at most this one's.
        let part = &self[range.start as usize..range.end as usize];
        (self.bytes, self.len) = (NonNull::from(part).cast(), part.len());
        self
    }

    /// A copy of these bytes, aligned as any value.
    pub(crate) fn copied(bytes: &[u8]) -> Value {
        Value::copied_to(bytes, size_of::<u64>())
    }

    /// A copy of them at an address that is a multiple of `align`, a power of two.
    pub(crate) fn copied_to(bytes: &[u8], align: usize) -> Value {
        if bytes.is_empty() {
            // No byte is ever read there, so it takes no room.
            let start = NonZero::new(align).map_or(NonNull::dangling(), NonNull::without_provenance);
            return Value { bytes: start, len: 0, _keep: Keep::Fetched(Arc::default()) };
        }
        let word = size_of::<u64>();
        let mut words = vec![0; (bytes.len() + align.saturating_sub(word)).div_ceil(word)].into_boxed_slice();
        let room = fetched::bytes_mut(&mut words);
        let skipped = room.as_ptr().addr().wrapping_neg() & (align - 1);
        room[skipped..skipped + bytes.len()].copy_from_slice(bytes);
        let words = Arc::new(words);
        let start = NonNull::from(&fetched::bytes(&words)[skipped..]).cast();
        Value { bytes: start, len: bytes.len(), _keep: Keep::Fetched(words) }
    }

    /// The same at an address that is a multiple of `align`, a power of two: a copy, if need be.
    #[inline]
    pub(crate) fn aligned_to(self, align: usize) -> Value {
        if self.bytes.addr().get() & (align - 1) == 0 { self } else { self.moved_to(align) }
    }

    #[cold]
    fn moved_to(&self, align: usize) -> Value {
        Value::copied_to(self, align)
    }

    /// What `part` shows of a record that was fetched.
    pub(crate) fn fetched(record: &Fetched, part: fn(&Fetched) -> &[u8]) -> Value {
        let bytes = part(record);
        Value { bytes: NonNull::from(bytes).cast(), len: bytes.len(), _keep: Keep::Fetched(record.words()) }
    }
}

/// What of `range` lies in a value of `len` bytes: nothing where it ends before it starts.
pub(crate) fn clip(range: &Range<u64>, len: u64) -> Range<u64> {
    let start = range.start.min(len);
    start..range.end.clamp(start, len)
}

impl Deref for Value {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the pointer was made from a slice of readable bytes that never change, and `_keep` keeps them there.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr(), self.len) }
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Value {
    fn eq(&self, other: &T) -> bool {
        **self == *other.as_ref()
    }
}

impl Eq for Value {}
