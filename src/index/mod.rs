//! From the hash of a key to the place of its record: lock-free for readers, one inserter at a time, no keys in memory.
//!
//! Floor 2. Imports nothing.
//!
//! The index never sees a file: it asks a closure whether the record at a location has the key.
//!
//! ```text
//! Table -> Directory -> Unit: a head line and up to 256 buckets -> Bucket: one cache line of 7 slots and its reach
//!          by the top bits of the hash                             by the low bits of the hash
//! ```
//!
//! Three kinds of threads meet here. Readers load, and follow nothing but published pointers. One inserter adds,
//! replaces and removes, and alone makes units, directories and chains. Movers replace one exact word by another.
//!
//! - I1 a slot changes only by compare-and-swap, because a mover may be at it.
//! - I2 unit and bucket come from different bits of the hash.
//! - I3 the closure compares the full key on every hit; a fragment only filters.
//! - I4 growth never blocks a reader, and copies one unit at a time.
//! - I5 a word that is frozen never changes again; a unit's children are made from its frozen words only.
//! - I6 a key never moves within a unit, so that whoever looks through the unit while the key is there meets it.
//! - I7 the reach of a key's home names where the key lies, from before it is there until after it has gone.
//! - I8 an image has the changes that came before it was begun, those since that said so, and no other.

pub(crate) mod ahead;
pub(crate) mod current;
pub(crate) mod hash;
pub(crate) mod image;
pub(crate) mod table;
pub(crate) mod unit;

mod bucket;
mod draft;
mod grow;
mod inserter;
mod published;
mod walk;

#[cfg(test)]
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
mod flood_tests;
#[cfg(test)]
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
mod image_tests;
#[cfg(test)]
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
mod tests;

#[cfg(all(test, zipcask_shuttle))]
#[path = "../../loom-tests/schedules.rs"]
mod schedules;
