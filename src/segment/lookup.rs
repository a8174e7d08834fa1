//! Whether the record at an offset is a key's, and where its value is.
//!
//! Floor 2. Imports `address`, `error`, `format`, `limits`, `segment`.

use std::borrow::Cow;

use crate::address::Seqno;
use crate::error::{Error, Result};
use crate::format::record::{Flaw, Header, Kind, Shape};
use crate::limits::{RECORD_ALIGN, RECORD_HEADER_LEN};
use crate::segment::Segment;

/// A put that was found in its segment, below the tail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hit<'s> {
    /// Where the record begins.
    pub(crate) record: u64,
    /// Where it is mapped; neither checked nor trusted. `None` also of a large value, which is elsewhere.
    value: Option<&'s [u8]>,
}

/// What the record at an offset is to a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Look<'s> {
    Same(Hit<'s>),
    /// An intact record of another key.
    Other,
    /// Its bytes are damaged, or the device would not give them.
    Unreadable,
}

impl Segment {
    /// What the record at `offset` is to `key` of `keyspace`. Of a key's own record no checksum is looked at yet.
    #[inline]
    pub(crate) fn look(&self, offset: u64, keyspace: u16, key: &[u8]) -> Look<'_> {
        match self.put_of(offset, keyspace, key) {
            Some(hit) => Look::Same(hit),
            None => self.look_closely(offset, keyspace, key),
        }
    }

    /// `look` where the record is not mapped, is not the key's, or is damaged: seldom.
    #[cold]
    #[inline(never)]
    fn look_closely(&self, offset: u64, keyspace: u16, key: &[u8]) -> Look<'_> {
        match self.locate(offset, keyspace, key) {
            Ok(Some(hit)) => Look::Same(hit),
            Ok(None) => Look::Other,
            Err(_) => Look::Unreadable,
        }
    }

    /// The put at `offset`, if it is mapped, makes sense, and is of `keyspace` and `key`.
    #[inline(always)]
    pub(crate) fn put_of(&self, offset: u64, keyspace: u16, key: &[u8]) -> Option<Hit<'_>> {
        self.hit(offset, self.shape(offset, Shape::of_put)?, keyspace, key)
    }

    /// The same, if it never expires.
    #[inline(always)]
    pub(crate) fn lasting_put_of(&self, offset: u64, keyspace: u16, key: &[u8]) -> Option<Hit<'_>> {
        self.hit(offset, self.shape(offset, Shape::of_lasting_put)?, keyspace, key)
    }

    #[inline(always)]
    fn hit(&self, offset: u64, shape: Shape, keyspace: u16, key: &[u8]) -> Option<Hit<'_>> {
        let same = shape.keyspace == keyspace && usize::from(shape.key_len) == key.len();
        if !same || self.mapped(offset + u64::from(shape.key), u64::from(shape.key_len))? != key {
            return None;
        }
        let value = self.mapped(offset + u64::from(shape.value), u64::from(shape.value_len));
        Some(Hit { record: offset, value })
    }

    /// Where the put at `offset` has its key and value, below the tail. `None` where it is not mapped, and where the header
    /// makes no sense; nothing is checked beyond that.
    #[inline(always)]
    fn shape(&self, offset: u64, of: impl Fn(&[u8; RECORD_HEADER_LEN]) -> Option<Shape>) -> Option<Shape> {
        let room = self.tail.published().checked_sub(offset)?;
        if room < RECORD_HEADER_LEN as u64 {
            return None;
        }
        let shape = of(self.mapped(offset, RECORD_HEADER_LEN as u64)?.try_into().ok()?)?;
        (shape.end() <= room).then_some(shape)
    }

    /// The put at `offset`, if it is of `keyspace` and `key`.
    ///
    /// # Errors
    /// As `header_of`, and `Corruption` if it does not end below the tail.
    pub(crate) fn locate(&self, offset: u64, keyspace: u16, key: &[u8]) -> Result<Option<Hit<'_>>> {
        let Some(header) = self.header_of(offset, keyspace, key)? else {
            return Ok(None);
        };
        self.check_range(offset, header.record_len())?;
        let value = header.value();
        let inline = header.kind != Kind::PutLarge;
        let mapped = || self.mapped(offset + value.start, value.end - value.start);
        Ok(Some(Hit { record: offset, value: inline.then(mapped).flatten() }))
    }

    /// The header of the record at `offset`, if it is of `keyspace` and `key`: without checking its checksum where it is.
    ///
    /// # Errors
    /// `Corruption` if it is not, and not an intact record of another key either (R5); `Io` in positioned mode.
    pub(crate) fn header_of(&self, offset: u64, keyspace: u16, key: &[u8]) -> Result<Option<Header>> {
        let header = self.header(offset)?;
        let head = self.bytes(offset, header.head_len())?;
        // `bytes` gave `head_len` bytes, and the key lies within them.
        let at = header.key();
        let found = head.get(at.start as usize..at.end as usize);
        if header.keyspace == keyspace && found == Some(key) {
            return Ok(Some(header));
        }
        header.check_head(&head, self.salt, offset).map_err(|flaw| self.flawed(offset, &flaw))?;
        Ok(None)
    }

    /// The value's bytes, where they are mapped and trusted.
    #[inline(always)]
    pub(crate) fn trusted<'s>(&self, hit: &Hit<'s>) -> Option<&'s [u8]> {
        if self.trust.covers(hit.record) { hit.value } else { None }
    }

    /// The value's bytes, checked or trusted; `None` where they are not mapped, and of a large value.
    ///
    /// # Errors
    /// `Corruption` if the record fails a checksum.
    #[inline(always)]
    pub(crate) fn value<'s>(&self, hit: &Hit<'s>) -> Result<Option<&'s [u8]>> {
        if !self.trust.covers(hit.record) && hit.value.is_some() {
            self.check(hit.record)?;
        }
        Ok(hit.value)
    }

    /// Whether there is a time from which on the put at `offset` is no more; `None` where it is not mapped.
    #[inline]
    pub(crate) fn expires_in_place(&self, offset: u64) -> Option<bool> {
        self.mapped(offset, RECORD_HEADER_LEN as u64)?.first_chunk().map(Header::has_expiry_in)
    }

    /// The time from which on the record at `offset` is no more, in milliseconds since 1970; `None`: there is none.
    ///
    /// # Errors
    /// As `record`.
    pub(crate) fn expiry(&self, offset: u64) -> Result<Option<u64>> {
        let header = self.header(offset)?;
        let head = self.bytes(offset, header.head_len())?;
        header.check_head(&head, self.salt, offset).map_err(|flaw| self.flawed(offset, &flaw))?;
        Ok(header.expiry(&head))
    }

    /// Whether the record at `offset` was no more at that time; one that cannot be read is there still, as an error.
    #[inline]
    pub(crate) fn has_expired(&self, offset: u64, time_ms: u64) -> bool {
        let expires = self.expires_in_place(offset).unwrap_or(true);
        expires && self.expiry(offset).is_ok_and(|expiry| expiry.is_some_and(|expiry| expiry <= time_ms))
    }

    /// The key of the record at `offset`, checked.
    ///
    /// # Errors
    /// As `record`.
    pub(crate) fn key(&self, offset: u64) -> Result<Cow<'_, [u8]>> {
        let header = self.header(offset)?;
        let head = self.bytes(offset, header.head_len())?;
        header.check_head(&head, self.salt, offset).map_err(|flaw| self.flawed(offset, &flaw))?;
        let (start, end) = (header.key().start as usize, header.key().end as usize);
        Ok(match head {
            Cow::Borrowed(head) => Cow::Borrowed(&head[start..end]),
            Cow::Owned(head) => Cow::Owned(head[start..end].to_vec()),
        })
    }

    /// The key of the put at `offset`, where that is mapped and makes sense; nothing is checked.
    #[inline]
    pub(crate) fn key_in_place(&self, offset: u64) -> Option<&[u8]> {
        match self.shape(offset, Shape::of_put) {
            Some(shape) => self.mapped(offset + u64::from(shape.key), u64::from(shape.key_len)),
            None => self.key_of_large(offset),
        }
    }

    #[cold]
    fn key_of_large(&self, offset: u64) -> Option<&[u8]> {
        self.base.start?;
        let header = self.header(offset).ok().filter(|header| header.kind == Kind::PutLarge)?;
        let (key, len) = (header.key(), header.record_len());
        self.check_range(offset, len).ok()?;
        self.mapped(offset + key.start, key.end - key.start)
    }

    /// The same, checked where it is not mapped or makes no sense.
    ///
    /// # Errors
    /// As `key`.
    #[inline]
    pub(crate) fn key_of_put(&self, offset: u64) -> Result<Cow<'_, [u8]>> {
        match self.key_in_place(offset) {
            Some(key) => Ok(Cow::Borrowed(key)),
            None => self.key(offset),
        }
    }

    /// When the put at `offset` was written. Its checksum is not looked at where it is mapped.
    ///
    /// # Errors
    /// As `key`.
    #[inline]
    pub(crate) fn seqno_of_put(&self, offset: u64) -> Result<Seqno> {
        self.check_range(offset, RECORD_HEADER_LEN as u64)?;
        let header = self.mapped(offset, RECORD_HEADER_LEN as u64).and_then(<[u8]>::first_chunk);
        header.map_or_else(|| self.record(offset).map(|header| header.seqno), |header| Ok(Header::seqno_in(header)))
    }

    /// The record at `offset` and all its bytes, its head checked, and what is wrong with its value.
    ///
    /// # Errors
    /// As `record`.
    pub(crate) fn whole(&self, offset: u64) -> Result<(Header, Cow<'_, [u8]>, Option<Flaw>)> {
        let header = self.record(offset)?;
        let record = self.bytes(offset, header.record_len())?;
        // `bytes` gave `record_len` bytes.
        let (value, padding) =
            record[header.head_len() as usize..].split_at((header.value().end - header.value().start) as usize);
        let flaw = header.check_value(value).and_then(|()| header.check_padding(padding)).err();
        Ok((header, record, flaw))
    }

    /// Of the record at `offset`, which is mapped, the keyspace if it is a put, and how long it is. Nothing is checked but that it
    /// makes sense.
    ///
    /// # Errors
    /// `Corruption` if it does not.
    #[inline]
    pub(crate) fn step_in_place(&self, offset: u64) -> Result<(Option<u16>, u64)> {
        if let Some(shape) = self.shape(offset, Shape::of_put) {
            return Ok((Some(shape.keyspace), shape.end().next_multiple_of(RECORD_ALIGN)));
        }
        let header = self.header(offset)?;
        self.check_range(offset, header.record_len())?;
        Ok((header.kind.is_put().then_some(header.keyspace), header.record_len()))
    }

    /// Key and value of the put at `offset`, checked or trusted; `None` where they are not mapped, and of a large value.
    ///
    /// # Errors
    /// `Corruption` if the record fails a checksum.
    #[inline]
    pub(crate) fn pair(&self, offset: u64) -> Result<Option<(&[u8], &[u8])>> {
        if self.base.start.is_none() {
            return Ok(None);
        }
        if !self.trust.covers(offset) {
            self.check(offset)?;
        }
        let Some(shape) = self.shape(offset, Shape::of_put) else {
            return match self.record(offset)?.kind {
                Kind::PutLarge => Ok(None),
                _ => Err(self.no_put(offset)),
            };
        };
        let key = self.mapped(offset + u64::from(shape.key), u64::from(shape.key_len));
        let value = self.mapped(offset + u64::from(shape.value), u64::from(shape.value_len));
        Ok(key.zip(value))
    }

    /// Key and value of the put at `offset` where a glance tells: it is mapped, was checked before, and never expires.
    #[inline(always)]
    pub(crate) fn lasting_pair(&self, offset: u64) -> Option<(&[u8], &[u8])> {
        if !self.trust.covers(offset) {
            return None;
        }
        let shape = self.shape(offset, Shape::of_lasting_put)?;
        let key = self.mapped(offset + u64::from(shape.key), u64::from(shape.key_len));
        let value = self.mapped(offset + u64::from(shape.value), u64::from(shape.value_len));
        key.zip(value)
    }

    #[cold]
    fn no_put(&self, offset: u64) -> Error {
        Error::corruption(&self.path, offset, "the index points at a record that is no put")
    }
}
