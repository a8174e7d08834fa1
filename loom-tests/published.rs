//! Models of a published pointer: who follows it sees what it leads to.

use loom::cell::UnsafeCell;
use loom::thread;

use super::Published;
use crate::model::{self, Flaw};
use crate::sync::Arc;

fn model(planted: Option<Flaw>) {
    model::plant(planted);
    loom::model(|| {
        let published = Arc::new(Published::new(std::ptr::null_mut()));
        let inserter = thread::spawn({
            let published = Arc::clone(&published);
            move || {
                let made = Box::new(UnsafeCell::new(0));
                // SAFETY: nobody else knows of it yet.
                made.with_mut(|value| unsafe { *value = 7 });
                published.store(Box::into_raw(made));
            }
        });
        // SAFETY: null, or what the inserter made, which is freed below.
        if let Some(made) = unsafe { published.load().as_ref() } {
            // SAFETY: it does not change after it is published, which is what loom checks here.
            made.with(|value| assert_eq!(unsafe { *value }, 7));
        }
        inserter.join().unwrap();
        // SAFETY: it came from a box, and nobody uses it any more.
        drop(unsafe { Box::from_raw(published.load()) });
    });
}

#[test]
fn who_sees_the_pointer_sees_what_it_leads_to() {
    model(None);
}

#[test]
#[should_panic]
fn a_pointer_written_relaxed_is_noticed() {
    model(Some(Flaw::PointerWrittenRelaxed));
}

#[test]
#[should_panic]
fn a_pointer_read_relaxed_is_noticed() {
    model(Some(Flaw::PointerReadRelaxed));
}
