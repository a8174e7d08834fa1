//! Bugs that can be planted on purpose, so that the crash tests can prove that they would find them.
//!
//! Floor 0. Imports nothing.
//!
//! Compiled in by the feature `sim` only; without it `planted` is the constant `false` and costs nothing.

#![cfg_attr(not(feature = "sim"), allow(unreachable_pub, reason = "public for the crash tests alone"))]

/// A protocol step left out or done in the wrong order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(feature = "sim"), expect(dead_code, reason = "planted by the crash tests only"))]
pub enum Sabotage {
    /// Directory syncs are skipped.
    NoDirectorySync,
    /// Writes are acknowledged without their barrier.
    AcknowledgeBeforeSync,
    /// Values are accepted whatever their checksum.
    NoValueCrc,
    /// Records are not bound to their segment, epoch and offset.
    NoSalt,
    /// Recovery goes on writing behind a torn tail instead of starting a new segment.
    AppendAfterTornTail,
    /// A segment with a bad header is taken for a leftover and removed.
    BadHeaderIsLeftover,
    /// A group becomes visible before its barrier.
    PublishBeforeBarrier,
    /// The next segment gets its name before the old one is durable.
    NameBeforeOldIsDurable,
    /// The identity gets its name before its bytes are durable.
    IdentityNamedBeforeWritten,
    /// A spare segment gets its final name before its header is durable.
    SpareNamedBeforeHeader,
    /// A spare segment is a file that an earlier session left, instead of a new one.
    RecycledSpare,
    /// The room that a sealed segment gives back begins below the end of its records.
    HoleBelowEnd,
    /// A record names the file of a large value that is not durable.
    LargeValueUnsynced,
    /// The file of a large value goes before what replaces it is durable.
    LargeValueGoesFirst,
    /// What an archive replaces counts as long as it is there.
    IgnoreReplaces,
    /// A job removes its sources before their copy is durable.
    SourcesGoFirst,
    /// A job removes its sources before the name of their copy is durable.
    ArchiveNameUnsynced,
    /// A job drops tombstones whatever older files hold.
    TombstoneDropped,
    /// An archive does not say what the archives it replaces covered.
    CoversForgotten,
    /// A job drops records before those that replace them are durable.
    DeadBeforeDurable,
    /// An archive takes its sources' place without having been read back.
    ArchiveUnverified,
    /// The index goes on pointing at some of the records that a job has moved.
    DanglingPlaces,
    /// A written index has the archive of a job that is not done.
    IndexBeforeSwap,
    /// A written index goes on leading to files that are gone.
    GoneFilesKept,
    /// A delete that a job kept counts whatever newer the written index has.
    OldDeleteWins,
    /// What expired leaves the index at once, and with it the records before it come back.
    ExpiredHidesNothing,
    /// A transaction is committed whatever has become of what it read.
    ReadsUnvalidated,
    /// Records of a scan are taken for the newest of their keys.
    StaleInOrder,
    /// Jobs rewrite what a cursor holds.
    CursorHoldsNothing,
    /// A written index has no cursors.
    CursorUnlisted,
}

#[cfg(feature = "sim")]
std::thread_local! {
    static PLANTED: std::cell::Cell<Option<Sabotage>> = const { std::cell::Cell::new(None) };
}

/// Plants `bug` in everything that this thread does from here on; `None` takes it out again.
#[cfg(feature = "sim")]
pub fn plant(bug: Option<Sabotage>) {
    PLANTED.set(bug);
}

/// Whether this bug is planted on this thread.
#[inline]
pub(crate) fn planted(bug: Sabotage) -> bool {
    #[cfg(feature = "sim")]
    return PLANTED.get() == Some(bug);
    #[cfg(not(feature = "sim"))]
    {
        let _ = bug;
        false
    }
}
