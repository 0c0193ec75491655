//! Over which backend a test runs.
//!
//! The tests in `tests/portable.rs` are those of other files, over named segments and events. They are a program of
//! their own, and so are the scenes that they start: so what decides is the program's name, which a scene is told.

use std::{env, fmt, process::Command};

use clap::ValueEnum;
use ringbridge::Backend;
use serde::{Deserialize, Serialize};

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

/// The backend, as it is said on a command line and in a summary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    #[default]
    Sealed,
    Portable,
}

impl From<Over> for Backend {
    fn from(over: Over) -> Self {
        match over {
            Over::Sealed => Self::Sealed,
            Over::Portable => Self::Portable,
        }
    }
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sealed => "sealed",
            Self::Portable => "portable",
        })
    }
}
