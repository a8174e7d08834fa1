//! The contract of the public API, one sentence a test.

mod adversity;
mod bad_input;
mod basics;
mod batches;
mod faults;
mod handles;
#[path = "../crash/hook.rs"]
mod hook;
mod recovery;
#[path = "../crash/report.rs"]
mod report;
mod threads;
