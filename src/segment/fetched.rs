//! A record in memory of its own, for what is not read in place.
//!
//! Floor 2. Imports `error`, `format`, `segment`, `sync`.

use std::ops::Range;

use crate::error::Result;
use crate::format::large::LargeValue;
use crate::format::record::{Flaw, Header, Kind};
use crate::segment::Segment;
use crate::segment::source::zeros;
use crate::sync::Arc;

/// A whole record, checked.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    /// Words, so that what is aligned in the record is aligned here.
    words: Arc<Box<[u64]>>,
    key: Range<usize>,
    value: Range<usize>,
    large: Option<LargeValue>,
    expiry: Option<u64>,
}

impl Fetched {
    /// Copies the record at `offset`: from the mapping where there is one, so that no descriptor is needed.
    ///
    /// # Errors
    /// `Corruption` if it fails a checksum; `Io`, `ResourceLimit`.
    pub(crate) fn read(segment: &Segment, offset: u64) -> Result<Fetched> {
        let len = segment.header(offset)?.record_len();
        segment.check_range(offset, len)?;
        let mut words = zeros::<u64>(len, segment.path())?.into_boxed_slice();
        match segment.mapped(offset, len) {
            Some(record) => bytes_mut(&mut words).copy_from_slice(record),
            None => segment.read(bytes_mut(&mut words), offset)?,
        }
        let read = bytes(&words);
        let header = Header::decode(read).and_then(|header| match header.record_len() == len {
            true => Ok(header),
            false => Err(Flaw::Damaged("its header changed while it was read".to_owned())),
        });
        let header = header.map_err(|flaw| segment.flawed(offset, &flaw))?;
        segment.check_record(offset, &header, read)?;
        let place = |at: Range<u64>| at.start as usize..at.end as usize;
        let (key, value) = (place(header.key()), place(header.value()));
        let large = match header.kind {
            Kind::PutLarge => {
                Some(LargeValue::decode(&read[value.clone()]).map_err(|flaw| segment.flawed(offset, &flaw))?)
            }
            _ => None,
        };
        let expiry = header.expiry(read);
        Ok(Fetched { key, value, large, expiry, words: Arc::new(words) })
    }

    /// What key and value lie in.
    pub(crate) fn words(&self) -> Arc<Box<[u64]>> {
        Arc::clone(&self.words)
    }

    pub(crate) fn key(&self) -> &[u8] {
        &bytes(&self.words)[self.key.clone()]
    }

    /// The value, unless it is a large one.
    pub(crate) fn value(&self) -> &[u8] {
        &bytes(&self.words)[self.value.clone()]
    }

    /// Whether it is no more at a time, in milliseconds since 1970.
    pub(crate) fn has_expired(&self, time_ms: impl FnOnce() -> u64) -> bool {
        self.expiry.is_some_and(|expiry| expiry <= time_ms())
    }

    /// What the record says of a large value, if it has one.
    pub(crate) fn large(&self) -> Option<&LargeValue> {
        self.large.as_ref()
    }
}

/// The bytes of these words.
pub(crate) fn bytes(words: &[u64]) -> &[u8] {
    // SAFETY: words are that many initialised bytes.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}

/// As `bytes`, to be written.
pub(crate) fn bytes_mut(words: &mut [u64]) -> &mut [u8] {
    // SAFETY: words are that many initialised bytes, ours alone, and any bytes make words.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), size_of_val(words)) }
}
