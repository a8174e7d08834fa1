//! Every constant of the engine, tied together by compile-time asserts.
//!
//! Floor 0. Imports nothing.

/// Bounds and default of `Options::compact_when_dead`.
pub(crate) const COMPACT_WHEN_DEAD_MIN: f64 = 0.05;
pub(crate) const COMPACT_WHEN_DEAD_MAX: f64 = 0.95;
pub(crate) const COMPACT_WHEN_DEAD_DEFAULT: f64 = 0.3;

/// Default of `Options::cursors_hold_max`.
pub(crate) const CURSORS_HOLD_DEFAULT: u64 = 1 << 30;

/// Longest key, in bytes: its length is a u16 on disk.
pub(crate) const KEY_LEN_MAX: usize = u16::MAX as usize;
/// Longest value, in bytes: its length is a u32 on disk.
pub(crate) const VALUE_LEN_MAX: u64 = u32::MAX as u64;

/// Values longer than this have a file of their own (and shorter ones do in small segments).
pub(crate) const INLINE_VALUE_LEN_MAX: u64 = 1 << 20;
/// Bytes of what a record says of a value in a file of its own.
pub(crate) const LARGE_VALUE_LEN: usize = 32;

/// Bits of a seqno on disk.
pub(crate) const SEQNO_BITS: u32 = 48;
/// Largest seqno.
pub(crate) const SEQNO_MAX: u64 = (1 << SEQNO_BITS) - 1;

/// The smallest unit a disk writes whole: what a power cut may tear a write into.
pub(crate) const SECTOR: usize = 512;
/// Records, headers and lengths of files are multiples of this.
pub(crate) const RECORD_ALIGN: u64 = 8;
/// Bytes of a record's fixed header.
pub(crate) const RECORD_HEADER_LEN: usize = 24;
/// Bytes of each header extension.
pub(crate) const EXTENSION_LEN: usize = 8;
/// In what a device's room is given back: no smaller than the blocks of usual file systems.
pub(crate) const BLOCK: u64 = 4096;
/// Where a segment's records begin: header, horizon slots and header copy lie before.
pub(crate) const RECORDS_START: u64 = 4096;
/// Offset of the first horizon slot; the second follows in the next sector.
pub(crate) const HORIZON_SLOT: u64 = SECTOR as u64;
/// Offset of the second copy of a segment's header.
pub(crate) const HEADER_COPY: u64 = 7 * SECTOR as u64;
/// Bytes of the footer, the last of a segment.
pub(crate) const FOOTER_LEN: u64 = 64;
/// What a segment's length exceeds its largest batch by.
pub(crate) const SEGMENT_OVERHEAD: u64 = 8 * 1024;

/// Lengths of segments are multiples of this: whole pages.
pub(crate) const SEGMENT_LEN_STEP: u64 = 4096;

/// Bounds and default of `Options::segment_size`.
pub(crate) const SEGMENT_SIZE_MIN: u64 = 64 * 1024;
pub(crate) const SEGMENT_SIZE_MAX: u64 = 1 << 30;
pub(crate) const SEGMENT_SIZE_DEFAULT: u64 = 64 << 20;
/// Length of the first segment of a session; the next ones double, while the store grows.
pub(crate) const SEGMENT_SIZE_FIRST: u64 = 1 << 20;
/// Segments need not be shorter than this, and jobs no smaller, however little a store holds: each costs some syncs.
pub(crate) const PART_LEN_MIN: u64 = 8 << 20;
/// A segment, or a job, takes one part of so many of what is live, so that what is written ahead and what is there twice
/// stays little beside it.
pub(crate) const LIVE_PARTS: u64 = 16;
/// Zeros that a durable write puts behind itself where blocks were never written.
pub(crate) const ZEROS_AHEAD: u64 = 64 << 10;
/// What an active segment keeps for deletes in a store that finds no space: one part of so many, and no more than this.
pub(crate) const RESERVE_PART: u64 = 64;
pub(crate) const RESERVE_LEN_MAX: u64 = 64 << 10;
/// A spare is asked for once the active segment is full by one part of so many: early enough to have it when it is full,
/// and not in a session that writes little.
pub(crate) const SPARE_ASKED_PART: u64 = 4;
/// Zeros are written in pieces of this, since Linux keeps in one folio what came in one piece. Small writes into folios of
/// 1 MiB take twice the time; into those of 16 KiB as long as into single pages, and gets are 6 % faster than with pages.
pub(crate) const ZEROS_LEN: u64 = 4 * BLOCK;
/// Largest batch, in encoded bytes.
pub(crate) const BATCH_LEN_MAX: u64 = SEGMENT_SIZE_MAX - SEGMENT_OVERHEAD;

/// The data of an archive's entries begins at multiples of this: whole pages.
pub(crate) const ENTRY_ALIGN: u64 = 4096;
/// How long a chunk of a compressed segment is at most, unpacked, unless it is one record.
pub(crate) const CHUNK_LEN: usize = 64 << 10;
/// How long it is then, at most.
pub(crate) const CHUNK_LEN_MAX: u64 = 2 << 20;
/// Chunks of all stores of a process that stay in memory, unpacked: in so many parts, each of so many bytes, or of one chunk that is longer.
pub(crate) const OPENED_PARTS: usize = 8;
pub(crate) const OPENED_LEN: usize = 512 << 10;

/// Longest manifest, and longest directory, of an archive.
pub(crate) const MANIFEST_LEN_MAX: usize = 16 << 20;

/// Longest list of what does not count in a copy.
pub(crate) const PENDING_LEN_MAX: usize = 64 << 20;

/// Most bytes of records, and most records, of a packed segment: what a job keeps in memory of it is its hint.
pub(crate) const PACKED_LEN_MAX: u64 = 256 << 20;
pub(crate) const PACKED_RECORDS_MAX: u64 = 1 << 20;
/// Most bytes of records of the files that one job takes, unless it takes one.
pub(crate) const JOB_LEN_MAX: u64 = 512 << 20;

/// Sealed segments that keep their files open where they are read by position: the oldest.
pub(crate) const FILES_KEPT_MAX: u64 = 64;

/// Bytes of a unit of the index, where it is written down.
pub(crate) const INDEX_UNIT_LEN: u64 = 64 + 256 * 64;

/// The index is written down in pieces of this, since Linux keeps in one folio what came in one piece: a mapping of folios
/// of 2 MiB has 128 MiB in 0.1 ms, one of single pages in 18.
pub(crate) const INDEX_PIECE_LEN: usize = 2 << 20;

/// Bits of an address: it counts units of `RECORD_ALIGN` bytes in one linear space of 16 TiB.
pub(crate) const ADDRESS_BITS: u32 = 41;
/// Bytes of one place of the registry; a file takes as many as it spans.
pub(crate) const PLACE_LEN: u64 = 1 << 20;
/// Places in all.
pub(crate) const PLACE_COUNT: u64 = (RECORD_ALIGN << ADDRESS_BITS) / PLACE_LEN;

const _: () = {
    assert!(RECORDS_START >= HEADER_COPY + SECTOR as u64);
    assert!(RECORDS_START.is_multiple_of(RECORD_ALIGN) && FOOTER_LEN.is_multiple_of(RECORD_ALIGN));
    assert!(SEGMENT_OVERHEAD >= RECORDS_START + FOOTER_LEN);
    assert!(SEGMENT_SIZE_MIN > SEGMENT_OVERHEAD && SEGMENT_SIZE_FIRST <= SEGMENT_SIZE_DEFAULT);
    assert!(SEGMENT_SIZE_FIRST <= PART_LEN_MIN && PART_LEN_MIN.is_multiple_of(PLACE_LEN));
    assert!(SEGMENT_SIZE_MAX.is_multiple_of(PLACE_LEN));
    assert!(PLACE_COUNT == 1 << 24);
    assert!(CHUNK_LEN_MAX > INLINE_VALUE_LEN_MAX + KEY_LEN_MAX as u64 + 8 * RECORD_HEADER_LEN as u64);
    assert!(RECORD_ALIGN.is_power_of_two() && PLACE_LEN.is_power_of_two());
};

/// The keyspace that a `Db` itself is.
pub(crate) const DEFAULT_KEYSPACE: u16 = 0;

/// Places that are taken out of the index while writers wait.
pub(crate) const INDEXED_AT_ONCE: usize = 256;

/// A clock that is set back by more was wrong before.
pub(crate) const CLOCK_STEP_MS: u64 = 60 * 1000;

/// How long what has expired stays where it is: a clock that is ahead for less, and is set right again, takes nothing away.
pub(crate) const EXPIRY_GRACE_MS: u64 = 24 * 60 * 60 * 1000;
