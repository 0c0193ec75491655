//! The renderer's command line, and the kinds of arguments that main's has too.

use std::{
    net::{Ipv4Addr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use clap::{Args, Parser, ValueEnum};
use ringbridge::{Backend, WaitStrategy};

use crate::terminal;

/// What a renderer is told on its command line.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "renderer-proc",
    version,
    about = "A renderer process of the Ringbridge demo",
    long_about = "A renderer process of the Ringbridge demo.\n\n\
        It attaches to a running main process by name, sends it a log message, asks it what machine \
        this is, and listens to the machine's statistics: in a terminal by a dashboard (press ? there), else \
        by lines. At its end it prints how many of them came, how many were lost, and how long they and its \
        invokes took.\n\n\
        Once connected it enters a sandbox: no files, no network, no other processes, and few system \
        calls. What the kernel lacks of it is said.\n\n\
        Launched by main-proc it uses the connection that it inherits, and --endpoint does not matter.",
    after_help = AFTER_HELP
)]
pub struct Options {
    /// The name under which the main process can be found
    #[arg(long, value_name = "NAME", default_value = contract::ENDPOINT)]
    pub endpoint: String,

    /// How main shares memory with those who attach: as main's own --backend says
    #[arg(long, value_enum, value_name = "BACKEND", default_value_t = SharedBy::Sealed)]
    pub backend: SharedBy,

    /// How to wait for messages
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Wait::Adaptive)]
    pub wait: Wait,

    /// Ends after this time, such as 500ms or 1m; until Ctrl-C or main's end without it
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub duration: Option<Duration>,

    /// Reads a file below the folder that main serves (its --files); may be given several times
    #[arg(long, value_name = "PATH")]
    pub read_file: Vec<String>,

    /// When main is gone, waits so long for one to come back by the endpoint's name, and goes on with that. Who
    /// does so needs sockets, and has no sandbox
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "require_sandbox")]
    pub reconnect: Option<Duration>,

    /// Whether it gives up what it does not need.
    #[command(flatten)]
    pub sandbox: SandboxOptions,

    /// How it shows what it hears.
    #[command(flatten)]
    pub view: ViewOptions,

    /// Where the page is served.
    #[command(flatten)]
    pub web: WebOptions,
}

/// Where the page of `--view web` is served.
#[derive(Clone, Copy, Debug, Args)]
pub struct WebOptions {
    /// With --view web: the address of the page; port 0 is any that is free [default: 127.0.0.1:0]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,

    /// With --view web: lets --listen be an address that other machines reach. Nothing is encrypted
    #[arg(long, requires = "listen")]
    pub(crate) listen_anywhere: bool,
}

impl WebOptions {
    /// Whether anything is said about it.
    pub(crate) fn is_given(self) -> bool {
        self.listen.is_some()
    }

    /// Where it is.
    pub(crate) fn address(self) -> SocketAddr {
        self.listen.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }
}

/// How a renderer shows what it hears; main passes it on.
#[derive(Clone, Copy, Debug, Args)]
pub struct ViewOptions {
    /// What is shown [default: tui in a terminal, if it is for one renderer alone; else text]
    #[arg(long = "view", value_enum, value_name = "VIEW", conflicts_with = "json")]
    chosen: Option<View>,

    /// Short for --view json
    #[arg(long)]
    json: bool,
}

/// What can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum View {
    /// A dashboard in this terminal, with keys
    Tui,
    /// Lines for people
    Text,
    /// One JSON object a line, each with an "event", the last one a "summary"
    Json,
    /// A web page; its address is printed. If it was not launched by main it waits for one, also when one has gone, for
    /// ever unless --reconnect says how long. It has no sandbox
    Web,
}

impl ViewOptions {
    /// What was chosen; by default a dashboard, where there is a terminal and room for one.
    pub fn view(self, room_for_dashboard: bool) -> View {
        match self.chosen {
            _ if self.json => View::Json,
            Some(view) => view,
            None if room_for_dashboard && terminal::is_ours() => View::Tui,
            None => View::Text,
        }
    }
}

impl View {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tui => "tui",
            Self::Text => "text",
            Self::Json => "json",
            Self::Web => "web",
        }
    }
}

/// How a renderer goes about its sandbox; main passes it on. By default it takes what the kernel has.
#[derive(Clone, Copy, Debug, Args)]
pub struct SandboxOptions {
    /// Leaves the sandbox out: a renderer keeps all the rights of its user
    #[arg(long, conflicts_with = "require_sandbox")]
    pub no_sandbox: bool,

    /// Has a renderer refuse to run where the kernel lacks a part of the sandbox
    #[arg(long)]
    pub require_sandbox: bool,
}

impl SandboxOptions {
    /// The same, for the command line of another process.
    pub fn arguments(self) -> impl Iterator<Item = &'static str> {
        let flags =
            [(self.no_sandbox, "--no-sandbox"), (self.require_sandbox, "--require-sandbox")];
        flags.into_iter().filter_map(|(is_set, flag)| is_set.then_some(flag))
    }
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
  1  could not reach the main process, was refused, or the sandbox was; the reason is on stderr
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

impl Wait {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spin => "spin",
            Self::Adaptive => "adaptive",
            Self::Park => "park",
        }
    }
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

/// How often something happens: a time, or `off` for never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval(pub Option<Duration>);

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        match duration(text) {
            Ok(interval) if interval < INTERVAL_MIN => {
                Err(format!("{INTERVAL_MIN:?} is the shortest; 'off' is never"))
            }
            Ok(interval) => Ok(Self(Some(interval))),
            Err(error) => Err(format!("{error}; or 'off'")),
        }
    }
}

/// Shorter than this nothing can be paced by sleeping.
const INTERVAL_MIN: Duration = Duration::from_micros(1);

/// Reads a time with its unit, such as `250ms`.
///
/// # Errors
///
/// What is wrong with it, as a sentence.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write a number and its unit, such as 250ms"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Options::command().debug_assert();
    }

    #[test]
    fn without_arguments_it_attaches_to_the_demo_and_stays() {
        let options = Options::try_parse_from(["renderer-proc"]).unwrap();
        assert_eq!(options.endpoint, contract::ENDPOINT);
        assert_eq!(options.wait, Wait::Adaptive);
        assert_eq!(options.duration, None);
        assert_eq!(options.view.view(false), View::Text);
        assert_eq!(options.sandbox.arguments().count(), 0);
    }

    #[test]
    fn what_is_said_about_the_sandbox_is_passed_on_and_makes_sense() {
        let parse =
            |flags: &[&'static str]| Options::try_parse_from([&["renderer-proc"], flags].concat());
        for flag in ["--no-sandbox", "--require-sandbox"] {
            assert!(parse(&[flag]).unwrap().sandbox.arguments().eq([flag]));
        }
        assert!(parse(&["--no-sandbox", "--require-sandbox"]).is_err());
    }

    #[test]
    fn a_view_is_chosen_by_name_and_json_has_a_short_form() {
        let parse =
            |arguments: &[&str]| Options::try_parse_from([&["renderer-proc"], arguments].concat());
        for view in View::value_variants() {
            assert_eq!(parse(&["--view", view.name()]).unwrap().view.view(true), *view);
        }
        assert_eq!(parse(&["--json"]).unwrap().view.view(true), View::Json);
        assert!(parse(&["--json", "--view", "text"]).is_err());
        assert!(parse(&["--view", "hologram"]).is_err());
    }

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(duration("1500us"), Ok(Duration::from_micros(1500)));
        for bad in ["", "5", "fast", "-1s", "1 parsec"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_interval_is_a_time_or_off_but_never_nothing() {
        assert_eq!("off".parse(), Ok(Interval(None)));
        assert_eq!("1ms".parse(), Ok(Interval(Some(Duration::from_millis(1)))));
        for bad in ["0s", "10ns", "OFF", "1"] {
            assert!(bad.parse::<Interval>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn every_way_of_waiting_is_called_as_it_is_parsed() {
        for wait in Wait::value_variants() {
            assert_eq!(Wait::from_str(wait.name(), false), Ok(*wait));
        }
    }
}
