//! The operator's tool.
//!
//! | command | what it answers |
//! | --- | --- |
//! | `list` | which main processes are there? |
//! | `inspect`, `top` | how is this one doing? |
//! | `sweep` | what have killed ones left? |
//! | `doctor` | is this machine fit for them? |
//!
//! It looks at a main process through memory that only that can write (`ringbridge::Inspector`), so watching
//! disturbs nobody. Every number that it prints has the name that it has in the library.

mod doctor;
mod figures;
mod inspect;
mod list;
mod options;
mod output;
mod sweep;
mod top;

use std::{error::Error, process::ExitCode};

use clap::Parser;
use ringbridge::IpcRenderer;

use options::{Command, Options};

fn main() -> ExitCode {
    // `doctor` launches this very program to try a session out.
    if IpcRenderer::was_launched() {
        return doctor::session::renderer();
    }
    match run(&Options::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ringbridge: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<ExitCode, Box<dyn Error>> {
    match command {
        Command::List { json } => list::run(*json)?,
        Command::Inspect { endpoint, json } => inspect::run(endpoint, *json)?,
        Command::Top { endpoint, json } => top::run(endpoint, *json)?,
        Command::Sweep { json } => sweep::run(*json)?,
        Command::Doctor { json } => return doctor::run(*json),
    }
    Ok(ExitCode::SUCCESS)
}
