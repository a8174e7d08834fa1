//! How far back the log is whole, and what of it cursors hold.
//!
//! Floor 3. Imports `address`, `format`, `sabotage`, `segment`, `store`.
//!
//! A cursor holds the files of the log from its position on: no job rewrites them. It holds nothing once that would be more than the
//! store allows, or once a part of it is gone: then its consumer has lost something, whatever is held.

use crate::address::Seqno;
use crate::format::segment::SegmentKind;
use crate::sabotage::{Sabotage, planted};
use crate::segment::Segment;
use crate::store::Store;

/// A cursor, and what it holds.
pub(crate) struct Held {
    pub(crate) name: String,
    /// The first write that its consumer has still to see.
    pub(crate) position: Seqno,
    /// The first write in the file that it is in.
    from: Seqno,
    /// Bytes of the files of the log from there on, and of large values that are dead but for them.
    pub(crate) bytes: u64,
    /// Whether a write from there on is not kept any more.
    pub(crate) lost: bool,
    /// Whether there are more bytes than cursors may hold, so that they are not held.
    pub(crate) too_far: bool,
}

/// A file of the log.
struct Kept {
    first: Seqno,
    last: Seqno,
    bytes: u64,
}

impl Store {
    /// What each cursor holds, in the order of their names.
    pub(crate) fn held(&self) -> Vec<Held> {
        let cursors = self.spaces().cursors().all();
        if cursors.is_empty() {
            return Vec::new();
        }
        // Before the files are listed: what is visible then is in one of them, and what is written meanwhile is no gap behind them.
        let visible = self.watermark().visible();
        let kept = self.kept_log(visible);
        let first = kept.last().map_or(u64::from(visible).saturating_add(1).into(), |file| file.first);
        let held = |(name, position)| {
            let ahead = || kept.iter().take_while(|file| position <= file.last);
            let (bytes, from) =
                (ahead().map(|file| file.bytes).sum(), ahead().last().map_or(position, |file| file.first));
            let too_far = bytes > self.settings().cursors_hold_max;
            Held { name, position, from, bytes, lost: position < first, too_far }
        };
        cursors.into_iter().map(held).collect()
    }

    /// The first write in the first file that a cursor holds; `None` if none holds any.
    pub(crate) fn held_from(&self) -> Option<Seqno> {
        if planted(Sabotage::CursorHoldsNothing) {
            return None;
        }
        self.held().iter().filter(|cursor| !cursor.lost && !cursor.too_far).map(|cursor| cursor.from).min()
    }

    /// The files of the log that have writes up to `visible`, the newest first, as far back as none is missing.
    fn kept_log(&self, visible: Seqno) -> Vec<Kept> {
        let mut segments = self.segments();
        segments.retain(|segment| segment.used_bytes() > 0 && segment.first_seqno() <= visible);
        segments.sort_by_key(|segment| (segment.first_seqno(), segment.place()));
        let (mut kept, mut next) = (Vec::<Kept>::new(), u64::from(visible).saturating_add(1));
        for segment in segments.iter().rev() {
            // The one that is being written has no footer, and goes to the end.
            let ends_before = |last: Seqno| u64::from(last) + 1 < next;
            if segment.kind() != SegmentKind::Log || last_of(segment).is_some_and(ends_before) {
                break;
            }
            let (first, last) = (segment.first_seqno(), Seqno::from(next.saturating_sub(1)));
            kept.push(Kept { first, last, bytes: segment.used_bytes() + segment.dead_large_bytes() });
            next = first.into();
        }
        kept
    }
}

fn last_of(segment: &Segment) -> Option<Seqno> {
    segment.footer().ok().map(|footer| footer.last_seqno)
}
