//! `ringbridge doctor`: whether this machine has the features that Ringbridge needs.
//!
//! Each check does what the engine does, in this process or a child of it, and looks at the result.

mod kernel;
mod machine;
pub(crate) mod session;

use std::{error::Error, process::ExitCode};

use serde_json::json;

use crate::print;

/// The exit code if Ringbridge cannot work.
const UNFIT: u8 = 3;

pub(crate) struct Check {
    name: &'static str,
    grade: Grade,
    remedy: &'static str,
    /// Tries the feature. Both results are for people.
    run: fn() -> Found,
}

/// The result of a check: the feature, or why it is missing.
type Found = Result<String, Box<dyn Error>>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Grade {
    /// Ringbridge works without it.
    Note,
    /// Ringbridge does not work without it.
    Fail,
}

impl Check {
    const fn required(name: &'static str, run: fn() -> Found, remedy: &'static str) -> Self {
        Self { name, grade: Grade::Fail, remedy, run }
    }

    const fn optional(name: &'static str, run: fn() -> Found, remedy: &'static str) -> Self {
        Self { name, grade: Grade::Note, remedy, run }
    }
}

pub(crate) fn run(json: bool) -> Result<ExitCode, Box<dyn Error>> {
    let mut code = ExitCode::SUCCESS;
    // Printed one by one: the last ones take a moment.
    for Check { name, grade, remedy, run } in
        kernel::CHECKS.iter().chain(machine::CHECKS).chain(session::CHECKS)
    {
        let (grade, found, remedy) = match run() {
            Ok(found) => ("ok", found, None),
            Err(missing) if *grade == Grade::Note => ("note", missing.to_string(), Some(remedy)),
            Err(missing) => {
                code = ExitCode::from(UNFIT);
                ("FAIL", missing.to_string(), Some(remedy))
            }
        };
        if json {
            let grade = grade.to_lowercase();
            print(json!({ "check": name, "grade": grade, "found": found, "remedy": remedy }))?;
        } else {
            print(format!("{grade:4}  {name:24}  {found}"))?;
            if let Some(remedy) = remedy {
                print(format!("      {:24}  -> {remedy}", ""))?;
            }
        }
    }
    Ok(code)
}
