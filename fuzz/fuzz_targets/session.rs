//! A hostile renderer, byte by byte, against main's loop.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringbridge_fuzz::session::session(bytes));
