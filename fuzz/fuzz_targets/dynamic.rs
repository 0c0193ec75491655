//! Payloads that travel as MessagePack.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringbridge_fuzz::payloads::dynamic(bytes));
