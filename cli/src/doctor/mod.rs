//! `ringbridge doctor`: whether this machine has what Ringbridge asks of it.
//!
//! Each check does what the engine does, in this process or a child of it, and looks at what came of it. None
//! concludes anything from a version.

mod kernel;
mod machine;
pub(crate) mod session;

use std::{error::Error, process::ExitCode};

use serde_json::json;

use crate::output;

/// Something that Ringbridge cannot do without is missing.
const UNFIT: u8 = 3;

/// What one check found.
pub(crate) struct Finding {
    /// What was tried.
    name: &'static str,
    grade: Grade,
    /// What came of it.
    found: String,
    /// What to do, if it is not as it should be.
    remedy: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Grade {
    Good,
    /// It is missing, and Ringbridge does without.
    Note,
    /// It is missing, and Ringbridge does not work.
    Fail,
}

impl Grade {
    fn name(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Note => "note",
            Self::Fail => "FAIL",
        }
    }
}

impl Finding {
    fn good(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, grade: Grade::Good, found: found.into(), remedy: None }
    }

    fn note(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, grade: Grade::Note, found: found.into(), remedy: Some(remedy.into()) }
    }

    fn fail(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, grade: Grade::Fail, found: found.into(), remedy: Some(remedy.into()) }
    }
}

pub(crate) fn run(json: bool) -> Result<ExitCode, Box<dyn Error>> {
    let checks = kernel::CHECKS.iter().chain(machine::CHECKS).chain(session::CHECKS);
    let mut unfit = false;
    for check in checks {
        // Printed as they come: the last ones take a moment.
        for finding in check() {
            let Finding { name, grade, found, remedy } = finding;
            unfit |= grade == Grade::Fail;
            if json {
                output::line(&json!({
                    "check": name,
                    "grade": grade.name().to_lowercase(),
                    "found": found,
                    "remedy": remedy,
                }))?;
            } else {
                output::line(&format!("{:4}  {name:24}  {found}", grade.name()))?;
                if let Some(remedy) = remedy {
                    output::line(&format!("      {:24}  -> {remedy}", ""))?;
                }
            }
        }
    }
    Ok(if unfit { ExitCode::from(UNFIT) } else { ExitCode::SUCCESS })
}
