//! An archive as a file: a ZIP of few, large, stored entries, or of many small, compressed ones, written by the crate `zip` and read by nobody but us and whoever
//! has any tool at all.
//!
//! Floor 2. Imports nothing.
//!
//! What lies in the entries is opaque here. Where all of it lies, and every byte around it, follows from a few numbers
//! (`layout`): the reader (`read`) takes those from the directory, and then asks for exactly the bytes that follow from them.

pub(crate) mod chunked;
mod codec;
mod cursor;
mod input;
mod layout;
mod opened;
pub(crate) mod read;
#[cfg(test)]
mod tests;
pub(crate) mod verify;
pub(crate) mod write;
