//! A policy file: what it says is a policy, or wrong in a line that there is.

#![no_main]

use contract::CONTRACT;
use ringbridge::{PolicyFile, PolicyFileError};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let read = PolicyFile::parse(text).and_then(|policy| policy.policy(CONTRACT));
    if let Err(
        PolicyFileError::Invalid { line, .. } | PolicyFileError::UnknownChannel { line, .. },
    ) = read
    {
        let lines = 1 + text.matches('\n').count();
        assert!((1..=lines).contains(&line), "line {line} of {lines}");
    }
});
