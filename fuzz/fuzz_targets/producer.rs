//! Main's end of a ring whose reader lies about what it has read.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringbridge::fuzzing::producer(bytes));
