//! A renderer process: it attaches to a running main process, or is launched by one.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match renderer_proc::run(renderer_proc::Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("renderer-proc: {error}");
            ExitCode::FAILURE
        }
    }
}
