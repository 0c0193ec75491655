//! `ringbridge list`.

use std::error::Error;

use ringbridge::EndpointInfo;
use serde_json::json;

use crate::output;

pub(crate) fn run(json: bool) -> Result<(), Box<dyn Error>> {
    let endpoints = ringbridge::endpoints()?;
    let width = endpoints.iter().map(|endpoint| endpoint.name.len()).max().unwrap_or(0);
    for EndpointInfo { name, alive, pid, .. } in endpoints {
        let state = if alive { "alive" } else { "stale" };
        if json {
            output::line(&json!({ "endpoint": name, "state": state, "pid": pid }))?;
        } else {
            let pid = pid.map(|pid| pid.to_string()).unwrap_or_default();
            output::line(&format!("{name:width$}  {state}  {pid}").trim_end())?;
        }
    }
    Ok(())
}
