//! Main's end of a ring that a renderer writes.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringbridge::fuzzing::consumer(bytes));
