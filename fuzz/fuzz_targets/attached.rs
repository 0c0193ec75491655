//! What a frame says about an attachment.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringbridge::fuzzing::attached(bytes));
