//! `ringbridge doctor`: whether this machine has the features that Ringbridge needs.
//!
//! Each check uses the feature as the engine does, in this process or a child of it.

mod kernel;
mod machine;
pub(crate) mod session;

use std::{error::Error, process::ExitCode};

use serde_json::json;

use crate::print;

/// The exit code if Ringbridge cannot work.
const UNFIT: u8 = 3;

/// A check: the feature, the grade if it is missing, the attempt to use it, and what to do if it is missing.
struct Check(&'static str, Grade, fn() -> Found, &'static str);

/// The result of a check: the feature, or why it is missing.
type Found = Result<String, Box<dyn Error>>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Grade {
    /// Ringbridge works without it.
    Note,
    /// Ringbridge does not work without it.
    Fail,
}

pub(crate) fn run(json: bool) -> Result<ExitCode, Box<dyn Error>> {
    let mut code = ExitCode::SUCCESS;
    // Printed one by one: the last ones take a moment.
    for Check(name, grade, run, remedy) in
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
