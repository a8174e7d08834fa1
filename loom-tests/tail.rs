//! T1 under every interleaving: who sees the tail sees the bytes.

use crate::segment::tail::Tail;
use crate::sync::Arc;
use loom::{cell::UnsafeCell, thread};

/// T1. Fails if either side of `Tail` is weakened to Relaxed; checked by doing so.
#[test]
fn a_reader_never_sees_the_tail_before_the_bytes() {
    loom::model(|| {
        let shared = Arc::new((Tail::new(0), UnsafeCell::new([0_u8; 8])));
        let leader = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                // SAFETY: the leader is the only writer, and no reader looks above the tail.
                shared.1.with_mut(|bytes| unsafe { *bytes = [7; 8] });
                shared.0.publish(8);
            })
        };
        if shared.0.published() == 8 {
            // SAFETY: below the published tail (T1), which is what loom checks here.
            shared.1.with(|bytes| assert_eq!(unsafe { *bytes }, [7; 8]));
        }
        leader.join().unwrap();
    });
}

/// The model above has teeth: bytes written after the tail moved are a race.
#[test]
#[should_panic(expected = "Causality violation")]
fn publishing_before_writing_is_caught() {
    loom::model(|| {
        let shared = Arc::new((Tail::new(0), UnsafeCell::new([0_u8; 8])));
        let leader = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                shared.0.publish(8);
                // SAFETY: none; this is the bug.
                shared.1.with_mut(|bytes| unsafe { *bytes = [7; 8] });
            })
        };
        if shared.0.published() == 8 {
            // SAFETY: none; this is the bug.
            shared.1.with(|bytes| assert_eq!(unsafe { *bytes }, [7; 8]));
        }
        leader.join().unwrap();
    });
}
