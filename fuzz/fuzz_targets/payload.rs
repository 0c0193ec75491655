//! Payloads of fixed layout, texts and slices.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringbridge_fuzz::payloads::fixed(bytes));
