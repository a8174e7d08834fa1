//! M1 and M2 under every interleaving.

use crate::store::watermark::Watermark;
use crate::sync::Arc;
use loom::{cell::UnsafeCell, thread};

/// M1. Fails if `show` or `visible` is weakened to Relaxed; checked by doing so.
#[test]
fn who_sees_a_seqno_finds_its_write() {
    loom::model(|| {
        let shared = Arc::new((Watermark::new(0.into(), 0.into()), UnsafeCell::new(0_u64)));
        let leader = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                // SAFETY: the leader is the only writer, and readers look only once the seqno is visible.
                shared.1.with_mut(|index| unsafe { *index = 1 });
                shared.0.show(1.into());
            })
        };
        if shared.0.visible() == 1.into() {
            // SAFETY: visible (M1), which is what loom checks here.
            shared.1.with(|index| assert_eq!(unsafe { *index }, 1));
        }
        leader.join().unwrap();
    });
}

/// M2. Fails if `settle` or `durable` is weakened to Relaxed; checked by doing so.
#[test]
fn what_is_durable_is_visible() {
    loom::model(|| {
        let marks = Arc::new(Watermark::new(0.into(), 0.into()));
        let leader = {
            let marks = Arc::clone(&marks);
            thread::spawn(move || {
                marks.show(1.into());
                marks.settle(1.into());
            })
        };
        let durable = marks.durable();
        assert!(durable <= marks.visible());
        leader.join().unwrap();
    });
}

/// The model above has teeth: reading in the other order shows a durable write that is not visible.
#[test]
#[should_panic(expected = "durable <= visible")]
fn reading_the_visible_mark_first_is_caught() {
    loom::model(|| {
        let marks = Arc::new(Watermark::new(0.into(), 0.into()));
        let leader = {
            let marks = Arc::clone(&marks);
            thread::spawn(move || {
                marks.show(1.into());
                marks.settle(1.into());
            })
        };
        let visible = marks.visible();
        let durable = marks.durable();
        assert!(durable <= visible, "durable <= visible");
        leader.join().unwrap();
    });
}
