#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zipcask_fuzz::run(zipcask_fuzz::records::target, data));
