//! The packets of the handshake, both ways.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringbridge::fuzzing::handshake(bytes));
