//! The main process's command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{CommandFactory, Parser, ValueEnum, error::ErrorKind};
use renderer_proc::options::{CommonOptions, View, duration};
use ringbridge::{RestartPolicy, Restarts};
use tracing_subscriber::filter::Targets;

use crate::exporter;

pub(crate) const WINDOWS_MAX: u16 = 1024;

/// The options of main.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "main-proc",
    version,
    about = "The main process of the Ringbridge demo",
    long_about = "The main process of the Ringbridge demo.\n\n\
        It launches renderer processes, pushes live statistics of the machine to them through shared \
        memory, answers their invokes and prints their log messages. Other renderers of the same user \
        may attach by the endpoint's name.\n\n\
        In a terminal the renderer that it launches shows a dashboard (press ? in it), and main prints its own \
        lines after that has ended. Main ends with it. Several renderers cannot share one terminal: with \
        --renderers other than 1 all print lines, as with --view text.",
    after_help = AFTER_HELP
)]
pub(crate) struct Options {
    /// The options that renderers have too.
    #[command(flatten)]
    pub(crate) common: CommonOptions,

    /// Removes the leftovers of this user's killed main processes (sockets, locks, segments of shared memory), prints
    /// them, and ends
    #[arg(long)]
    pub(crate) sweep: bool,

    /// The number of renderers to launch; with 0, main only serves renderers that attach
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(0..=i64::from(WINDOWS_MAX)))]
    pub(crate) renderers: u16,

    /// The renderers' program, launched with --wait, --view and the sandbox as given here [default: main-proc itself]
    #[arg(long, value_name = "PATH")]
    pub(crate) renderer: Option<PathBuf>,

    /// The time between two pushes of statistics to each renderer, such as 1ms; 'off' for no pushes
    #[arg(long, value_name = "DURATION", value_parser = interval, default_value = "1ms")]
    pub(crate) push_interval: Interval,

    /// The time between two samples of the machine; 'off' for no samples. CPU figures change at most every 200ms
    #[arg(long, value_name = "DURATION", value_parser = interval, default_value = "250ms")]
    pub(crate) sample_interval: Interval,

    /// Runs main on one processor, and each renderer that it launches on another. Needs two
    #[arg(long)]
    pub(crate) pin: bool,

    /// Lets renderers read the regular files below this folder, up to 1 MiB each
    #[arg(long, value_name = "DIR")]
    pub(crate) files: Option<PathBuf>,

    /// The renderers' policy, in TOML, in place of the demo's own; see policy.toml beside main-proc's source
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,

    /// When to launch a renderer again that was launched here
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Restart::Never)]
    pub(crate) restart: Restart,

    /// Serves metrics for Prometheus at http://127.0.0.1:PORT/metrics; with an IP address, there
    #[arg(long, value_name = "[IP:]PORT", value_parser = exporter::address)]
    pub(crate) metrics: Option<SocketAddr>,

    /// Logs sessions, violations and refusals to stderr: error, warn, info, debug, or targets such as ringbridge=debug
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log: Option<Targets>,
}

impl Options {
    /// Parses the command line. A mistake is reported, and ends the process.
    pub(crate) fn from_command_line() -> Self {
        Self::parse().check().unwrap_or_else(|error| error.exit())
    }

    fn check(self) -> Result<Self, clap::Error> {
        let conflict = match self.view() {
            View::Tui if self.log.is_some() => {
                "a log on stderr and a dashboard cannot share one terminal: choose another --view"
            }
            View::Tui if self.renderers > 1 => {
                "several dashboards cannot share one terminal: choose another --view, or --renderers 1"
            }
            _ => return Ok(self),
        };
        Err(Self::command().error(ErrorKind::ArgumentConflict, conflict))
    }

    pub(crate) fn view(&self) -> View {
        self.common.view(self.renderers == 1 && self.log.is_none())
    }

    /// Returns whether a renderer that is launched here owns the terminal.
    pub(crate) fn has_dashboard(&self) -> bool {
        self.view() == View::Tui && self.renderers == 1
    }
}

/// [`RestartPolicy`] by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Restart {
    /// Never
    Never,
    /// When it crashed, up to 5 times in a row: after 100ms, 200ms, 400ms ...
    OnCrash,
}

impl From<Restart> for RestartPolicy {
    fn from(restart: Restart) -> Self {
        match restart {
            Restart::Never => Self::Never,
            Restart::OnCrash => Self::OnCrash(Restarts::default()),
        }
    }
}

/// The time between two repetitions, or `None` for none.
pub(crate) type Interval = Option<Duration>;

/// A sleeping thread cannot keep a shorter interval.
const INTERVAL_MIN: Duration = Duration::from_micros(1);

fn interval(text: &str) -> Result<Interval, String> {
    match duration(text) {
        _ if text == "off" => Ok(None),
        Ok(interval) if interval < INTERVAL_MIN => {
            Err(format!("{INTERVAL_MIN:?} is the shortest; 'off' is never"))
        }
        Ok(interval) => Ok(Some(interval)),
        Err(error) => Err(format!("{error}; or 'off'")),
    }
}

const AFTER_HELP: &str = "\
Examples:
  main-proc                                one renderer, statistics at 1 kHz, until q or Ctrl-C: a dashboard
  main-proc --view text                    the same by lines
  main-proc --duration 5s --json           the same for five seconds, for programs
  main-proc --renderers 4 --push-interval 100us
  main-proc --backend portable             segments and events with names, among processes that trust each other
  main-proc --renderers 0 --files .        for renderers that attach: renderer-proc --read-file Cargo.toml
  main-proc --metrics 9464 --log info      with metrics and a log for operators

Its renderers share its output. Ctrl-C and --duration end them first: each prints its summary, and
main's is the last line.

Exit codes:
  0  ended by q, Ctrl-C or SIGTERM, or by --duration
  1  failed: the endpoint is in use, a renderer cannot be launched ...; the reason is on stderr
  2  bad arguments";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &str) -> Result<Options, clap::Error> {
        Options::try_parse_from(["main-proc"].into_iter().chain(arguments.split_whitespace()))
    }

    #[test]
    fn without_arguments_one_renderer_gets_a_push_every_millisecond() {
        Options::command().debug_assert();
        let options = parse("").unwrap();
        assert_eq!(options.common.endpoint, contract::ENDPOINT);
        assert_eq!((options.renderers, options.common.duration), (1, None));
        assert_eq!(options.push_interval, Some(Duration::from_millis(1)));
        assert_eq!(options.sample_interval, Some(Duration::from_millis(250)));
        assert_eq!(options.common.view(false), View::Text);
    }

    #[test]
    fn a_mistake_is_refused() {
        let intervals =
            "--push-interval 0s|--push-interval 10ns|--push-interval OFF|--push-interval 1";
        let others = "--json --view text|--renderers -1|--renderers 9999|--wait never|--metrics here|\
                      --log ringbridge=loudly|x";
        for bad in intervals.split('|').chain(others.split('|')) {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_terminal_has_space_for_one_dashboard() {
        let check = |arguments: &str| parse(arguments).unwrap().check();
        assert_eq!(check("--view tui").unwrap().view(), View::Tui);
        assert_eq!(check("--renderers 2").unwrap().view(), View::Text);
        assert_eq!(check("--renderers 2 --view json").unwrap().view(), View::Json);
        for conflict in ["--renderers 2 --view tui", "--log info --view tui"] {
            let refused = check(conflict).unwrap_err().to_string();
            assert!(refused.contains("cannot share"), "{refused}");
        }
        assert!(!check("--renderers 0 --view tui").unwrap().has_dashboard());
    }
}
