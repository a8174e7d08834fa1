//! S1 under every interleaving: of what a group changes, a snapshot sees all, or what there was before was kept. And who waits for
//! news gets them.

use crate::address::Seqno;
use crate::model::{self, Flaw};
use crate::store::moments::{Keep, Moments};
use crate::store::news::News;
use crate::sync::Arc;
use crate::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

/// One key. The index says the seqno of its record.
struct Shared {
    moments: Moments,
    visible: AtomicU64,
    index: AtomicU64,
    /// What the key was before the change of this seqno, and one, if that was told to keep it; else 0.
    kept: [AtomicU64; 3],
}

impl Shared {
    /// Writes the key as the next seqno.
    fn write(&self, seqno: u64) {
        let keep = self.moments.begin_publication();
        let was = self.index.load(Ordering::Relaxed);
        if keep.covers(Seqno::from(was)) {
            self.kept[seqno as usize].store(was + 1, Ordering::Relaxed);
        }
        self.index.store(seqno, Ordering::Release);
        self.visible.store(seqno, Ordering::Release);
        self.moments.end_publication();
    }

    /// What the key was at `moment`: each write changes it, so that is the seqno.
    fn read_at(&self, moment: Seqno) -> u64 {
        let now = self.index.load(Ordering::Acquire);
        if now <= u64::from(moment) {
            return now;
        }
        let behind = &self.kept[u64::from(moment) as usize + 1..];
        let first = behind.iter().map(|kept| kept.load(Ordering::Relaxed)).find(|kept| *kept > 0);
        first.expect("what was replaced behind a snapshot was kept") - 1
    }
}

/// One writer of two groups, and one who opens a snapshot, reads twice and closes it.
fn snapshot_beside_groups() {
    loom::model(|| {
        let shared = Arc::new(Shared {
            moments: Moments::new(),
            visible: AtomicU64::new(0),
            index: AtomicU64::new(0),
            kept: [0; 3].map(AtomicU64::new),
        });
        let writer = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || (1..=2).for_each(|seqno| shared.write(seqno)))
        };
        let moment = shared.moments.open(|| Seqno::from(shared.visible.load(Ordering::Acquire)));
        for _ in 0..2 {
            assert_eq!(shared.read_at(moment), u64::from(moment), "the snapshot moved");
        }
        shared.moments.close(moment, |left| assert!(left.is_empty()));
        writer.join().unwrap();
        assert_eq!(shared.moments.begin_publication(), Keep::Nothing);
    });
}

#[test]
fn a_snapshot_stays_what_it_was_beside_a_writer() {
    snapshot_beside_groups();
}

#[test]
#[should_panic(expected = "what was replaced behind a snapshot was kept")]
fn a_mark_that_may_come_late_is_caught() {
    model::plant(Some(Flaw::PublicationUnfenced));
    snapshot_beside_groups();
}

#[test]
#[should_panic(expected = "what was replaced behind a snapshot was kept")]
fn a_sign_that_may_come_late_is_caught() {
    model::plant(Some(Flaw::SignUnfenced));
    snapshot_beside_groups();
}

#[test]
#[should_panic(expected = "what was replaced behind a snapshot was kept")]
fn a_mark_that_releases_nothing_is_caught() {
    model::plant(Some(Flaw::MarkRelaxed));
    snapshot_beside_groups();
}

#[test]
#[should_panic(expected = "what was replaced behind a snapshot was kept")]
fn a_snapshot_that_does_not_wait_for_a_publication_is_caught() {
    model::plant(Some(Flaw::PublicationNotAwaited));
    snapshot_beside_groups();
}

/// One writer of one group, and one who waits for it.
fn news_beside_a_group(told_too_early: bool) {
    loom::model(move || {
        let shared = Arc::new((Moments::new(), News::new(), AtomicU64::new(0)));
        let writer = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (moments, news, visible) = &*shared;
                let _keep = moments.begin_publication();
                let awaited = news.is_awaited();
                if awaited && told_too_early {
                    news.tell();
                }
                visible.store(1, Ordering::Release);
                moments.end_publication();
                if awaited && !told_too_early {
                    news.tell();
                }
            })
        };
        let (moments, news, visible) = &*shared;
        assert!(news.wait(moments, None, || visible.load(Ordering::Acquire) == 1));
        writer.join().unwrap();
    });
}

#[test]
fn who_waits_for_news_gets_them() {
    news_beside_a_group(false);
}

/// loom says so when everybody sleeps.
#[test]
#[should_panic(expected = "deadlock")]
fn news_that_are_told_before_they_are_visible_are_missed() {
    news_beside_a_group(true);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_wait_that_is_said_too_late_is_caught() {
    model::plant(Some(Flaw::SignUnfenced));
    news_beside_a_group(false);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_wait_that_does_not_look_for_a_publication_is_caught() {
    model::plant(Some(Flaw::PublicationNotAwaited));
    news_beside_a_group(false);
}
