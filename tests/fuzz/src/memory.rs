//! How much memory a decoder takes for what it is given: no length that bytes say may lead to more than the bytes that are there.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

fn taken(bytes: usize) {
    // A thread that ends has no counts any more.
    let _ = NOW.try_with(|now| {
        now.set(now.get().wrapping_add(bytes));
        if now.get() <= isize::MAX as usize {
            let _ = MOST.try_with(|most| most.set(most.get().max(now.get())));
        }
    });
}

fn given(bytes: usize) {
    let _ = NOW.try_with(|now| now.set(now.get().wrapping_sub(bytes)));
}

// SAFETY: all is the system's allocator's, but for numbers that are not memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        given(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(start, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        given(layout.size());
        taken(len);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(start, layout, len) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Runs `f`, which may take `bytes_max` bytes at once on this thread.
pub fn bounded<T>(bytes_max: usize, f: impl FnOnce() -> T) -> T {
    let before = NOW.get();
    let outer = MOST.replace(before);
    let out = f();
    let most = MOST.replace(outer.max(MOST.get())).wrapping_sub(before);
    assert!(most <= bytes_max, "it took {most} bytes of memory, {bytes_max} at most");
    out
}

/// What a decoder may take for an input of this length: a window, and some words for each byte.
pub fn fair(len: usize) -> usize {
    (1 << 20) + 64 * len
}

/// What a store may take: nothing that a test writes is large.
pub const STORE: usize = 64 << 20;
