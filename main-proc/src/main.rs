//! The demo's main process.
//!
//! ```text
//!   sampler ──▶ latest ──▶ pusher ──▶ renderers      threads of their own; neither waits for a renderer
//!                            ▲
//!                            │ windows that come and go
//!   the loop: sessions, log messages, invokes ──▶ reader of files
//!   exporter: metrics for Prometheus              a thread of its own, with --metrics
//! ```
//!
//! Its renderers run this program too. It notices that a main process launched it.

mod dashboard;
mod exporter;
mod files;
mod main_process;
mod options;
mod pusher;
mod report;
mod sampler;
mod schedule;

use std::process::ExitCode;

use clap::Parser;
use ringbridge::IpcRenderer;

use crate::options::Options;

fn main() -> ExitCode {
    let ended = if IpcRenderer::was_launched() {
        renderer_proc::run(renderer_proc::Options::parse())
    } else {
        main_process::run(&Options::from_command_line())
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("main-proc: {error}");
            ExitCode::FAILURE
        }
    }
}
