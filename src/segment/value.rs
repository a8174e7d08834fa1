//! A value in the user's hands: mapped bytes and what keeps them mapped.
//!
//! Floor 2. Imports `error`, `segment`, `sync`.

use std::{fmt, ops::Deref, ptr::NonNull};

use crate::error::Result;
use crate::segment::{Record, Segment};
use crate::sync::Arc;

/// The bytes of a value (or of a key that an iterator shows), without a copy where the store is mapped.
///
/// It stays what it was when it was read, whatever happens to its key afterwards, and outlives the store's handles.
/// Cloning is cheap. The address of a value is a multiple of 8.
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
    Mapped(Arc<Segment>),
    Owned(Arc<[u64]>),
}

// SAFETY: the bytes are read-only and never change (W3); what keeps them alive is Send and Sync.
unsafe impl Send for Value {}
// SAFETY: as above.
unsafe impl Sync for Value {}

impl Value {
    /// The value of `record`, which lies in `segment`; checked.
    ///
    /// # Errors
    /// `Corruption` if its bytes fail their checksum; `Io` in positioned mode.
    pub(crate) fn of(segment: Arc<Segment>, record: &Record) -> Result<Value> {
        let (offset, at, header) = (record.offset, record.header.value(), record.header);
        Value::take(segment, offset + at.start, at.end - at.start, |segment, value| {
            header.check_value(value).map_err(|flaw| segment.flawed(offset, &flaw))
        })
    }

    /// The key of `record`, which lies in `segment`.
    ///
    /// # Errors
    /// `Io` in positioned mode.
    pub(crate) fn key_of(segment: Arc<Segment>, record: &Record) -> Result<Value> {
        let at = record.header.key();
        Value::take(segment, record.offset + at.start, at.end - at.start, |_, _| Ok(()))
    }

    fn take(
        segment: Arc<Segment>,
        offset: u64,
        len: u64,
        check: impl FnOnce(&Segment, &[u8]) -> Result<()>,
    ) -> Result<Value> {
        segment.check_range(offset, len)?;
        if let Some(bytes) = segment.mapped(offset, len) {
            check(&segment, bytes)?;
            let (bytes, len) = (NonNull::from(bytes).cast(), bytes.len());
            return Ok(Value { bytes, len, _keep: Keep::Mapped(segment) });
        }
        let len = len as usize;
        let mut words: Arc<[u64]> = std::iter::repeat_n(0, len.div_ceil(8)).collect();
        let owned = Arc::get_mut(&mut words).expect("nobody else has it yet");
        // SAFETY: `owned` has at least `len` bytes, all initialised, and any bytes make a u64.
        let bytes = unsafe { std::slice::from_raw_parts_mut(owned.as_mut_ptr().cast::<u8>(), len) };
        segment.read(bytes, offset)?;
        check(&segment, bytes)?;
        Ok(Value { bytes: NonNull::from(&words[..]).cast(), len, _keep: Keep::Owned(words) })
    }
}

impl Deref for Value {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: `take` formed the pointer from `len` readable bytes that never change, and `_keep` keeps them there.
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
