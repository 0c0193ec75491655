//! The header of a frame: two words that a renderer wrote.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringbridge::fuzzing::frame(bytes));
