//! A reader of a topic's memory with anything in it.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringbridge::fuzzing::topic(bytes));
