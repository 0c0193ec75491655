//! The main process's command line.

use std::{path::PathBuf, time::Duration};

use clap::{CommandFactory, Parser, ValueEnum, error::ErrorKind};
use renderer_proc::options::{
    Interval, SandboxOptions, SharedBy, View, ViewOptions, Wait, duration,
};
use ringbridge::{RestartPolicy, Restarts};
use tracing_subscriber::filter::Targets;

use crate::exporter::Address;

/// How many windows there may be, launched and attached ones together.
pub(crate) const WINDOWS_MAX: u16 = 1024;

/// What main is told on its command line.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "main-proc",
    version,
    about = "The main process of the Ringbridge demo",
    long_about = "The main process of the Ringbridge demo.\n\n\
        It launches renderer processes, pushes live statistics of the machine to them through shared \
        memory, answers their invokes and prints their log messages. Renderers that it did not launch \
        may attach by the endpoint's name, if they belong to the same user.\n\n\
        In a terminal the renderer that it launches shows a dashboard there (press ? in it), and main's own \
        lines come when that has ended. Main ends with it. Several renderers cannot share one terminal so: with \
        --renderers other than 1 all print lines, as with --view text.",
    after_help = AFTER_HELP
)]
pub(crate) struct Options {
    /// The name under which renderers can attach; one main process at a time has it
    #[arg(long, value_name = "NAME", default_value = contract::ENDPOINT)]
    pub(crate) endpoint: String,

    /// How main and its renderers share memory
    #[arg(long, value_enum, value_name = "BACKEND", default_value_t = SharedBy::Sealed)]
    pub(crate) backend: SharedBy,

    /// Removes what killed main processes of this user have left (sockets, locks, segments of shared memory), says what
    /// that was, and ends
    #[arg(long)]
    pub(crate) sweep: bool,

    /// How many renderers to launch; 0 serves those that attach
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(0..=i64::from(WINDOWS_MAX)))]
    pub(crate) renderers: u16,

    /// The renderers' program, launched with --wait, --view and the sandbox as given here [default: main-proc itself]
    #[arg(long, value_name = "PATH")]
    pub(crate) renderer: Option<PathBuf>,

    /// How often statistics are pushed to each renderer, such as 1ms; 'off' for never
    #[arg(long, value_name = "DURATION", default_value = "1ms")]
    pub(crate) push_interval: Interval,

    /// How often the machine is sampled; 'off' for never. CPU figures change every 200ms at the most
    #[arg(long, value_name = "DURATION", default_value = "250ms")]
    pub(crate) sample_interval: Interval,

    /// Lets renderers read the regular files below this folder, up to 1 MiB each
    #[arg(long, value_name = "DIR")]
    pub(crate) files: Option<PathBuf>,

    /// What renderers may do, in TOML, in place of the demo's own policy; see policy.toml beside main-proc's source
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,

    /// Whether a renderer that was launched here is launched again: 'on-crash', after a growing wait, or 'never'
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Restart::Never)]
    pub(crate) restart: Restart,

    /// Ends after this time, such as 500ms or 1m; until Ctrl-C without it
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) duration: Option<Duration>,

    /// How main and the renderers that it launches wait for messages
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Wait::Adaptive)]
    pub(crate) wait: Wait,

    /// The renderers' sandbox.
    #[command(flatten)]
    pub(crate) sandbox: SandboxOptions,

    /// Serves metrics for Prometheus at http://127.0.0.1:PORT/metrics; with an IP address, there
    #[arg(long, value_name = "[IP:]PORT")]
    pub(crate) metrics: Option<Address>,

    /// Logs sessions, violations and refusals to stderr: error, warn, info, debug, or targets such as ringbridge=debug
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log: Option<Targets>,

    /// What main and the renderers that it launches show.
    #[command(flatten)]
    pub(crate) view: ViewOptions,
}

impl Options {
    /// Those of the command line; a mistake there is said, and ends the process.
    pub(crate) fn from_command_line() -> Self {
        Self::parse().check().unwrap_or_else(|error| error.exit())
    }

    fn check(self) -> Result<Self, clap::Error> {
        if self.view() == View::Tui && self.log.is_some() {
            let why =
                "a log on stderr and a dashboard cannot share one terminal: choose another --view";
            return Err(Self::command().error(ErrorKind::ArgumentConflict, why));
        }
        if self.view() == View::Tui && self.renderers > 1 {
            let why = "several dashboards cannot share one terminal: choose another --view, or --renderers 1";
            return Err(Self::command().error(ErrorKind::ArgumentConflict, why));
        }
        Ok(self)
    }

    /// What main and its renderers show.
    pub(crate) fn view(&self) -> View {
        self.view.view(self.renderers == 1 && self.log.is_none())
    }

    /// Whether a renderer that is launched here has the terminal for itself.
    pub(crate) fn has_dashboard(&self) -> bool {
        self.view() == View::Tui && self.renderers == 1
    }
}

/// [`RestartPolicy`] by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Restart {
    /// When it is gone it is gone
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

const AFTER_HELP: &str = "\
Examples:
  main-proc                                one renderer, statistics at 1 kHz, until q or Ctrl-C: a dashboard
  main-proc --view text                    the same by lines
  main-proc --duration 5s --json           the same for five seconds, for programs
  main-proc --renderers 4 --push-interval 100us
  main-proc --backend portable             segments and events with names, among processes that trust each other
  main-proc --renderers 0 --files .        serves what attaches: renderer-proc --read-file Cargo.toml
  main-proc --metrics 9464 --log info      with numbers and a log for those who operate it

Its renderers share its output. Ctrl-C and --duration end them first: each prints its summary, and
main's is the last line.

Exit codes:
  0  ended by q, Ctrl-C or SIGTERM, or by --duration
  1  could not do it: the endpoint is in use, a renderer cannot be launched ...; the reason is on stderr
  2  bad arguments";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &str) -> Result<Options, clap::Error> {
        Options::try_parse_from(std::iter::once("main-proc").chain(arguments.split_whitespace()))
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Options::command().debug_assert();
    }

    #[test]
    fn without_arguments_one_renderer_hears_from_main_every_millisecond() {
        let options = parse("").unwrap();
        assert_eq!(options.endpoint, contract::ENDPOINT);
        assert_eq!(options.renderers, 1);
        assert_eq!(options.push_interval, Interval(Some(Duration::from_millis(1))));
        assert_eq!(options.sample_interval, Interval(Some(Duration::from_millis(250))));
        assert_eq!((options.duration, options.view.view(false)), (None, View::Text));
    }

    #[test]
    fn every_argument_is_understood() {
        let options = parse(
            "--endpoint other --renderers 0 --renderer ./r --push-interval off --sample-interval 1s \
             --files . --policy policy.toml --restart on-crash --duration 5s --wait park --no-sandbox --metrics 9464 --log ringbridge=debug --json --backend portable --sweep",
        )
        .unwrap();
        assert_eq!(options.push_interval, Interval(None));
        assert_eq!(options.duration, Some(Duration::from_secs(5)));
        assert_eq!(options.wait, Wait::Park);
        assert!(options.sandbox.no_sandbox && options.sweep);
        assert_eq!(options.backend, SharedBy::Portable);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in [
            "--json --view text",
            "--renderers -1",
            "--renderers 9999",
            "--push-interval 0s",
            "--wait never",
            "--metrics here",
            "--log ringbridge=loudly",
            "x",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_terminal_has_room_for_one_dashboard() {
        let view =
            |arguments: &str| parse(arguments).unwrap().check().map(|checked| checked.view());
        assert_eq!(view("--view tui").unwrap(), View::Tui);
        assert_eq!(view("--renderers 2").unwrap(), View::Text);
        assert_eq!(view("--renderers 2 --view json").unwrap(), View::Json);
        let refused = view("--renderers 2 --view tui").unwrap_err();
        assert!(refused.to_string().contains("cannot share"), "{refused}");
        assert!(!parse("--renderers 0 --view tui").unwrap().check().unwrap().has_dashboard());
    }
}
