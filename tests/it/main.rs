//! The contract of the public API, one sentence a test.

mod bad_input;
mod basics;
mod batches;
mod faults;
mod handles;
mod recovery;
#[path = "../crash/report.rs"]
mod report;
mod threads;
