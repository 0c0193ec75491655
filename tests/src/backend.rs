//! The backend of a test.
//!
//! The tests in `tests/portable/` are those of other files over the portable backend, in a program of their own. So the
//! program's name decides, and its scenes are told.

use std::{env, process::Command};

use clap::ValueEnum;
use ringbridge::Backend;
use serde::{Deserialize, Serialize};

/// Tells a scene its test's backend.
const VARIABLE: &str = "RINGBRIDGE_TEST_BACKEND";

pub fn backend() -> Backend {
    let told = env::var(VARIABLE).is_ok_and(|backend| backend == "portable");
    let named = || {
        let program = env::current_exe().expect("a running program has a path");
        program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("portable"))
    };
    if told || named() { Backend::Portable } else { Backend::Sealed }
}

pub fn tell(command: &mut Command) {
    if backend() == Backend::Portable {
        command.env(VARIABLE, "portable");
    }
}

/// The backend, on a command line and in a summary.
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
