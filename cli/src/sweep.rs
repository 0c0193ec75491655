//! `ringbridge sweep`: what killed main processes have left.
//!
//! Sealed memory needs no sweeping: it goes with the last process that has it mapped. What has a name does: sockets,
//! lock files, and the segments of the portable backend.

use std::error::Error;

use ringbridge::SweptEndpoint;
use serde_json::json;

use crate::output;

pub(crate) fn run(json: bool) -> Result<(), Box<dyn Error>> {
    for SweptEndpoint { name, segments, bytes, .. } in ringbridge::sweep_endpoints()? {
        if json {
            let swept =
                json!({ "swept": "endpoint", "name": name, "segments": segments, "bytes": bytes });
            output::line(&swept)?;
        } else if segments == 0 {
            output::line(&format!("swept the endpoint {name}"))?;
        } else {
            output::line(&format!(
                "swept the endpoint {name}, {segments} segments, {bytes} bytes"
            ))?;
        }
    }
    Ok(())
}
