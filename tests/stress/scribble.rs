//! An allocator that writes over what is freed: who still reads it sees no record, and no word of an index.

use std::alloc::{GlobalAlloc, Layout, System};

pub(crate) struct Scribble;

// SAFETY: the system's allocator, which is given back exactly what came from it.
unsafe impl GlobalAlloc for Scribble {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: by the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: by the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, bytes: *mut u8, layout: Layout) {
        // SAFETY: by the caller's promise the block is as long, and nobody uses it any more.
        unsafe { bytes.write_bytes(0x5b, layout.size()) };
        // What is written to a block about to be freed may be left out, unless somebody might look at it.
        std::hint::black_box(bytes);
        // SAFETY: by the caller's promise.
        unsafe { System.dealloc(bytes, layout) };
    }
}
