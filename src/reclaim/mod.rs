//! When something may go that others are looking at: pins for a moment, and holds for as long as one likes.
//!
//! Floor 1. Imports nothing.
//!
//! A `Pin` belongs to one call, and keeps everything that the call can reach. What leaves the call, a value or what a
//! reader shows, is kept by a `Hold` of just what it shows, so that whoever parks one holds up nothing else.

pub(crate) mod hold;
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
pub(crate) mod pin;
#[cfg(any(zipcask_loom, zipcask_shuttle))]
#[path = "unpinned.rs"]
pub(crate) mod pin;
