//! The renderer's command line, and the options that main has too.

use std::{net::SocketAddr, time::Duration};

use clap::{Args, Parser, ValueEnum};
use ringbridge::{Backend, WaitStrategy};

use crate::terminal;

/// The options of a renderer.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "renderer-proc",
    version,
    about = "A renderer process of the Ringbridge demo",
    long_about = "A renderer process of the Ringbridge demo.\n\n\
        It attaches to a running main process by name, sends it a log message, asks it about the machine, \
        and listens to the machine's statistics. In a terminal it shows a dashboard (press ? there), elsewhere it \
        prints lines. At its end it prints how many pushes it received and lost, and the latencies of pushes and \
        invokes.\n\n\
        Once connected it enters a sandbox: no files, no network, no other processes, and few system \
        calls. It reports which parts the kernel lacks.\n\n\
        If main-proc launched it, it uses the connection that it inherits, and ignores --endpoint.",
    after_help = AFTER_HELP
)]
pub struct Options {
    /// The options that main has too.
    #[command(flatten)]
    pub common: CommonOptions,

    /// Reads a file below the folder that main serves (its --files); may be given several times
    #[arg(long, value_name = "PATH")]
    pub read_file: Vec<String>,

    /// When main is gone, waits this long for another main process with the endpoint's name, and continues with it.
    /// This needs sockets, so there is no sandbox
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "require_sandbox")]
    pub reconnect: Option<Duration>,

    /// Runs on this processor alone. main-proc --pin sets it for the renderers that it launches
    #[arg(long, value_name = "CPU")]
    pub pin: Option<usize>,

    /// With --view web: the address of the page; port 0 is any free port [default: 127.0.0.1:0]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,

    /// With --view web: allows an address in --listen that other machines can reach. Nothing is encrypted
    #[arg(long, requires = "listen")]
    pub listen_anywhere: bool,
}

/// The options that both programs have.
#[derive(Clone, Debug, Args)]
pub struct CommonOptions {
    /// The endpoint's name, by which renderers find main; one main process at a time can have it
    #[arg(long, value_name = "NAME", default_value = contract::ENDPOINT)]
    pub endpoint: String,

    /// The memory that main and its renderers share; a renderer that attaches needs the same value as main
    #[arg(long, value_enum, value_name = "BACKEND", default_value_t = SharedBy::Sealed)]
    pub backend: SharedBy,

    /// The way to wait for messages
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Wait::Adaptive)]
    pub wait: Wait,

    /// Ends after this time, such as 500ms or 1m; without it, at Ctrl-C
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub duration: Option<Duration>,

    /// Leaves the sandbox out: a renderer keeps all the rights of its user
    #[arg(long, conflicts_with = "require_sandbox")]
    pub no_sandbox: bool,

    /// Makes a renderer refuse to run where the kernel lacks a part of the sandbox
    #[arg(long)]
    pub require_sandbox: bool,

    /// The view [default: tui in a terminal with one renderer; else text]
    #[arg(long, value_enum, value_name = "VIEW", conflicts_with = "json")]
    view: Option<View>,

    /// Short for --view json
    #[arg(long)]
    json: bool,
}

impl CommonOptions {
    /// Returns the command line of a renderer that main launches with these options.
    pub fn renderer_arguments(&self, view: View) -> Vec<String> {
        let mut arguments =
            vec![format!("--wait={}", name(self.wait)), format!("--view={}", name(view))];
        arguments.extend(self.no_sandbox.then(|| "--no-sandbox".to_owned()));
        arguments.extend(self.require_sandbox.then(|| "--require-sandbox".to_owned()));
        arguments
    }

    /// Returns the chosen view. The default is a dashboard, where there is a terminal and space for one.
    pub fn view(&self, has_space: bool) -> View {
        match self.view {
            _ if self.json => View::Json,
            Some(view) => view,
            None if has_space && terminal::is_ours() => View::Tui,
            None => View::Text,
        }
    }
}

/// Returns the name of a value on the command line.
fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().expect("no value is skipped").get_name().to_owned()
}

/// A way to present a renderer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum View {
    /// A dashboard in this terminal, with keys
    Tui,
    /// Lines for people
    Text,
    /// One JSON object a line, each with an "event", the last one a "summary"
    Json,
    /// A web page; its address is printed. A renderer that main did not launch waits for a main process, at the start
    /// and when main is gone, without limit unless --reconnect sets one. It has no sandbox
    Web,
}

const AFTER_HELP: &str = "\
Examples:
  main-proc --renderers 0 --files .        in one terminal
  renderer-proc                            in another: a dashboard
  renderer-proc --view text                the same by lines
  renderer-proc --read-file Cargo.toml --duration 1s
  renderer-proc --duration 10s --json | tail -n 1
  renderer-proc --reconnect 1m             survives restarts of main-proc
  renderer-proc --backend portable         if main-proc was started with that, too
  renderer-proc --view web                 prints the address of a page for a browser

Exit codes:
  0  ended by q, Ctrl-C or SIGTERM, by --duration, or because main is gone
  1  main cannot be reached or refused, or the sandbox failed; the reason is on stderr
  2  bad arguments";

/// [`Backend`] by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SharedBy {
    /// Memory with one writer each, handed over by main: renderers need not be trusted
    Sealed,
    /// Segments and events with names, among processes that trust each other; without the sandbox
    Portable,
}

impl From<SharedBy> for Backend {
    fn from(shared_by: SharedBy) -> Self {
        match shared_by {
            SharedBy::Sealed => Self::Sealed,
            SharedBy::Portable => Self::Portable,
        }
    }
}

/// [`WaitStrategy`] by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Wait {
    /// Never sleep: the lowest latency, a whole core
    Spin,
    /// Spin while that pays, sleep otherwise
    Adaptive,
    /// Sleep at once: the least CPU time
    Park,
}

impl From<Wait> for WaitStrategy {
    fn from(wait: Wait) -> Self {
        match wait {
            Wait::Spin => Self::Spin,
            Wait::Adaptive => Self::Adaptive,
            Wait::Park => Self::Park,
        }
    }
}

/// Parses a time with its unit, such as `250ms`. The error is a sentence.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write a number and its unit, such as 250ms"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(arguments: &str) -> Result<Options, clap::Error> {
        Options::try_parse_from(["renderer-proc"].into_iter().chain(arguments.split_whitespace()))
    }

    #[test]
    fn a_launched_renderer_gets_the_same_options() {
        Options::command().debug_assert();
        for arguments in [
            "--wait=spin --view=text",
            "--wait=park --view=web --no-sandbox",
            "--wait=adaptive --view=json --require-sandbox",
            "--wait=adaptive --view=tui",
        ] {
            let common = parse(arguments).unwrap().common;
            assert_eq!(common.renderer_arguments(common.view(false)).join(" "), arguments);
        }
        assert_eq!(parse("--json").unwrap().common.view(true), View::Json);
        for bad in ["--no-sandbox --require-sandbox", "--json --view text", "--view hologram"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
