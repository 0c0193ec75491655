//! The command line.

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "ringbridge",
    version,
    about = "Looks after Ringbridge's main processes: lists and inspects them, sweeps leftovers, and checks this machine",
    after_help = AFTER_HELP,
    disable_help_subcommand = true
)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Prints JSON: one object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Lists the endpoints of this user: alive, or stale since their main process was killed
    List,
    /// Shows the state of a main process: its windows, the contents of their rings, every counter
    #[command(after_help = INSPECT_HELP)]
    Inspect {
        /// The endpoint's name
        endpoint: String,
    },
    /// Shows the state of a main process live: rates per second, sorted by traffic. Needs a terminal, except with --json
    #[command(after_help = TOP_HELP)]
    Top {
        /// The endpoint's name
        endpoint: String,
    },
    /// Removes the leftovers of killed main processes: sockets and lock files. Never touches a live one
    Sweep,
    /// Tries every feature of this machine that Ringbridge needs, and says what to do about missing ones
    #[command(after_help = DOCTOR_HELP)]
    Doctor,
}

const AFTER_HELP: &str = "\
Examples:
  ringbridge list                        ringbridge-demo  alive  4711
  ringbridge inspect ringbridge-demo     once
  ringbridge inspect ringbridge-demo --json | jq '.windows[].counters.violations'
  ringbridge top ringbridge-demo         live; q ends it
  ringbridge sweep                       after a main process was killed
  ringbridge doctor                      before anything else, on a new machine

A main process shows its state only to processes of its own user: numbers and names of channels, never messages. It
updates that state ten times a second while a process attaches, and spends nothing on it otherwise.

Exit codes:
  0  done
  1  failed: there is no such endpoint, its main process is gone ...; the reason is on stderr
  2  bad arguments
  3  doctor: a feature is missing that Ringbridge cannot work without";

const INSPECT_HELP: &str = "\
Columns:
  STATE      launching, joining, live; held: over its quota; storming: it rings without sending;
             ending: its session is over, but its process still runs;
             asleep: it sleeps now
  TO IT      bytes in its ring that it has not read
  FROM IT    unread: it has sent messages that main has not read
  ASKED      unanswered invokes: of main in it / of it in main
  PARKS      how often it went to sleep
  RUNG       how often main had to wake it

Counters that are 0 are left out; --json has all of them.";

const TOP_HELP: &str = "\
Keys:
  q, Esc, Ctrl-C   ends it
  Up, Down         scrolls, if there are more windows than lines

With --json, it prints one object a second, until Ctrl-C or until main is gone.";

const DOCTOR_HELP: &str = "\
It uses each feature, rather than conclude from the kernel's version. A line begins with
  ok    the feature works
  note  it does not, and Ringbridge works without it; the next line says what to do
  FAIL  it does not, and Ringbridge cannot work without it; the next line says what to do
The exit code is 3 if there is a FAIL.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_is_understood_and_nothing_else() {
        Options::command().debug_assert();
        let parse = |line: &str| Options::try_parse_from(line.split_whitespace());
        for line in ["list", "list --json", "inspect demo --json", "top demo", "sweep", "doctor"] {
            assert!(parse(&format!("ringbridge {line}")).is_ok(), "{line}");
        }
        for line in ["", "inspect", "top", "sweep demo", "look demo"] {
            assert!(parse(&format!("ringbridge {line}")).is_err(), "{line:?}");
        }
    }
}
