//! The operator's tool.
//!
//! | command | question |
//! | --- | --- |
//! | `list` | which main processes are there? |
//! | `inspect`, `top` | how is this main process doing? |
//! | `sweep` | what have killed main processes left? |
//! | `doctor` | can this machine run Ringbridge? |
//!
//! It reads a main process's state from memory that only that process can write (`ringbridge::Inspector`), so watching
//! disturbs nobody. Numbers have the names that they have in the library.

mod doctor;
mod inspect;
mod options;
mod top;

use std::{
    error::Error,
    fmt::Display,
    io::{self, ErrorKind, Write},
    process::{self, ExitCode},
};

use clap::Parser;
use ringbridge::{EndpointInfo, IpcRenderer, SweptEndpoint};
use serde_json::json;

use options::{Command, Options};

fn main() -> ExitCode {
    // `doctor` launches this program as a renderer.
    let ended = if IpcRenderer::was_launched() {
        doctor::session::run_renderer().map(|()| ExitCode::SUCCESS)
    } else {
        run(&Options::parse())
    };
    ended.unwrap_or_else(|error| {
        eprintln!("ringbridge: {error}");
        ExitCode::FAILURE
    })
}

fn run(Options { command, json }: &Options) -> Result<ExitCode, Box<dyn Error>> {
    match command {
        Command::List => list(*json)?,
        Command::Inspect { endpoint } => inspect::run(endpoint, *json)?,
        Command::Top { endpoint } => top::run(endpoint, *json)?,
        Command::Sweep => sweep(*json)?,
        Command::Doctor => return doctor::run(*json),
    }
    Ok(ExitCode::SUCCESS)
}

fn list(json: bool) -> Result<(), Box<dyn Error>> {
    let endpoints = ringbridge::endpoints()?;
    let width = endpoints.iter().map(|endpoint| endpoint.name.len()).max().unwrap_or(0);
    for EndpointInfo { name, alive, pid, .. } in endpoints {
        let state = if alive { "alive" } else { "stale" };
        if json {
            print(json!({ "endpoint": name, "state": state, "pid": pid }))?;
        } else {
            let pid = pid.map(|pid| pid.to_string()).unwrap_or_default();
            print(format!("{name:width$}  {state}  {pid}").trim_end())?;
        }
    }
    Ok(())
}

/// Removes the leftovers of killed main processes: sockets, lock files, and the segments of the portable backend. Sealed
/// memory has no name, and goes with the last process that maps it.
fn sweep(json: bool) -> Result<(), Box<dyn Error>> {
    for SweptEndpoint { name, segments, bytes, .. } in ringbridge::sweep_endpoints()? {
        let swept = format!("swept the endpoint {name}");
        match segments {
            _ if json => print(
                json!({ "swept": "endpoint", "name": name, "segments": segments, "bytes": bytes }),
            )?,
            0 => print(swept)?,
            _ => print(format!("{swept}, {segments} segments, {bytes} bytes"))?,
        }
    }
    Ok(())
}

/// Prints a line. Ends this process well if nobody reads on: `ringbridge list | head -1` is no error.
fn print(line: impl Display) -> io::Result<()> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => process::exit(0),
        written => written,
    }
}
