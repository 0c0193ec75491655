//! The command line.

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "ringbridge",
    version,
    about = "Looks after Ringbridge's main processes: which there are, how they are doing, and whether this machine is fit",
    after_help = AFTER_HELP,
    disable_help_subcommand = true
)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Lists the endpoints of this user: alive, or stale since their main process was killed
    List {
        /// Prints one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Shows how a main process is doing: its windows, what waits in their rings, every counter
    #[command(after_help = INSPECT_HELP)]
    Inspect {
        /// The endpoint's name
        endpoint: String,
        /// Prints one JSON object with everything
        #[arg(long)]
        json: bool,
    },
    /// The same, live: what passes in a second, sorted by it. Needs a terminal
    #[command(after_help = TOP_HELP)]
    Top {
        /// The endpoint's name
        endpoint: String,
        /// Prints one JSON object a second, until Ctrl-C or until main is gone; needs no terminal
        #[arg(long)]
        json: bool,
    },
    /// Removes what killed main processes have left: sockets and lock files. Never touches a live one
    Sweep {
        /// Prints one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Tries out all that Ringbridge asks of this machine, and says what to do about what is missing
    #[command(after_help = DOCTOR_HELP)]
    Doctor {
        /// Prints one JSON object a line
        #[arg(long)]
        json: bool,
    },
}

const AFTER_HELP: &str = "\
Examples:
  ringbridge list                        ringbridge-demo  alive  4711
  ringbridge inspect ringbridge-demo     once
  ringbridge inspect ringbridge-demo --json | jq '.windows[].counters.violations'
  ringbridge top ringbridge-demo         live; q ends it
  ringbridge sweep                       after a main process was killed
  ringbridge doctor                      before anything else, on a new machine

A main process shows itself to processes of its own user, and to nobody else: numbers and names of channels,
never what is sent. It does so ten times a second while somebody looks, and spends nothing on it otherwise.

Exit codes:
  0  done
  1  could not do it: there is no such endpoint, its main process is gone ...; the reason is on stderr
  2  bad arguments
  3  doctor: something that Ringbridge cannot do without is missing";

const INSPECT_HELP: &str = "\
Columns:
  STATE      launching, joining, live; held: over its quota; storming: it rings without sending;
             ending: its session is over, and its process is not
  TO IT      what waits in its ring for it to take
  FROM IT    unread: it has sent something that main has not taken
  ASKED      invokes that are unanswered: main's in it / its in main
  PARKS      how often main went to sleep on it, and RUNG how often main had to wake it
  asleep     it says that it sleeps now

Counters that are 0 are left out; --json has all of them.";

const TOP_HELP: &str = "\
Keys:
  q, Esc, Ctrl-C   ends it
  Up, Down         scrolls, where there are more windows than lines";

const DOCTOR_HELP: &str = "\
Each feature is tried, not concluded from the kernel's version. A line begins with
  ok    it is there
  note  it is not, and Ringbridge does without: what that means, and what to do
  FAIL  it is not, and Ringbridge cannot work without: what to do
The exit code is 3 if there is a FAIL.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Options::command().debug_assert();
    }

    #[test]
    fn every_command_is_understood_and_nothing_else() {
        let parse = |line: &str| Options::try_parse_from(line.split_whitespace());
        for line in ["list", "list --json", "inspect demo --json", "top demo", "sweep", "doctor"] {
            assert!(parse(&format!("ringbridge {line}")).is_ok(), "{line}");
        }
        for line in ["", "inspect", "top", "sweep demo", "look demo"] {
            assert!(parse(&format!("ringbridge {line}")).is_err(), "{line:?}");
        }
    }
}
