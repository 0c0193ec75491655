//! `ringbridge sweep`: what killed main processes have left.
//!
//! Memory needs no sweeping: it goes with the last process that has it mapped. What has a name in the
//! file system does.

use std::error::Error;

use serde_json::json;

use crate::output;

/// Removes what is left of one kind, and names it.
type Sweep = fn() -> Result<Vec<String>, Box<dyn Error>>;

/// What is swept, by its kind.
const KINDS: &[(&str, Sweep)] = &[("endpoint", || Ok(ringbridge::sweep_endpoints()?))];

pub(crate) fn run(json: bool) -> Result<(), Box<dyn Error>> {
    for (kind, sweep) in KINDS {
        for name in sweep()? {
            if json {
                output::line(&json!({ "swept": kind, "name": name }))?;
            } else {
                output::line(&format!("swept the {kind} {name}"))?;
            }
        }
    }
    Ok(())
}
