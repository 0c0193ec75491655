//! Over which backend a test runs.
//!
//! The tests in `tests/portable.rs` are those of other files, over named segments and events. They are a program of
//! their own, and so are the scenes that they start: so what decides is the program's name, which a scene is told.

use std::{env, process::Command};

use ringbridge::Backend;

/// By which a scene learns what its test runs over.
const VARIABLE: &str = "RINGBRIDGE_TEST_BACKEND";

/// Of this process.
pub fn backend() -> Backend {
    let told = env::var(VARIABLE).is_ok_and(|backend| backend == "portable");
    let named = || {
        let program = env::current_exe().expect("a running program has a path");
        program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("portable"))
    };
    if told || named() { Backend::Portable } else { Backend::Sealed }
}

/// Passes it on.
pub fn tell(command: &mut Command) {
    if backend() == Backend::Portable {
        command.env(VARIABLE, "portable");
    }
}
