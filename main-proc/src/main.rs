//! The demo's main process.
//!
//! ```text
//!   sampler ──▶ latest ──▶ pusher ──▶ renderers      its own threads; neither waits for a renderer
//!                            ▲
//!                            │ renderers that came and went
//!   the loop: sessions, log messages, invokes ──▶ reader of files
//! ```
//!
//! Its renderers are this same program, which notices that it was launched by a main process.

mod dashboard;
mod files;
mod main_process;
mod options;
mod pusher;
mod report;
mod sampler;
mod schedule;
mod system_info;

use std::process::ExitCode;

use clap::Parser;
use ringbridge::IpcRenderer;

use crate::options::Options;

fn main() -> ExitCode {
    let ended = if IpcRenderer::was_launched() {
        renderer_proc::run(&renderer_proc::Options::parse())
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
