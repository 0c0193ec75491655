//! Counts the instructions of the hot path, and compares them with a committed budget.
//!
//! Wall time on a shared machine changes by the minute; a number of instructions does not. So even a small
//! change of the hot path shows on any machine. Cache misses and waiting do not show; see `latency`.

mod hot_path;

use std::{
    collections::BTreeMap,
    env, fs,
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};

use self::hot_path::{CALLS, Operation, perform};
use crate::{
    Error,
    cli::{exit, progress},
};

/// Counts the instructions of the hot path with valgrind, and compares them with the budget.
///
/// Fails if an operation takes more than its budget allows. If that is intended, or if the compiler has
/// changed, `--update` writes the counts of this build as the new budget. Commit it with the change.
#[derive(Debug, Parser)]
#[command(name = "instructions", version)]
struct Arguments {
    /// Write the counts into the budget, instead of comparing with it.
    #[arg(long)]
    update: bool,
    /// Perform one operation, which valgrind counts.
    #[arg(long, value_enum, hide = true)]
    perform: Option<Operation>,
}

/// The default slack above the budget: more than the seeds of hash tables and the address of a stack cause.
const SLACK_PERCENT: f64 = 2.0;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Budget {
    rustc: String,
    slack_percent: f64,
    instructions: BTreeMap<Operation, f64>,
}

struct Row {
    operation: Operation,
    instructions: f64,
    budget: Option<f64>,
    /// The difference to the budget, in percent of it.
    above_percent: Option<f64>,
    ok: bool,
}

/// Runs the whole program.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.perform {
        Some(operation) => perform(operation).map(|()| true),
        None => compare(arguments.update),
    };
    exit("instructions", done)
}

fn compare(updates: bool) -> Result<bool, Error> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.json");
    let rustc = rustc_version();
    let counts = count_all()?;
    if updates {
        let budget = Budget { rustc, slack_percent: SLACK_PERCENT, instructions: counts };
        fs::write(&file, serde_json::to_string_pretty(&budget)? + "\n")?;
        println!("wrote {}", file.display());
        return Ok(true);
    }
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let budget: Budget = serde_json::from_str(&text)?;
    let rows: Vec<Row> =
        counts.iter().map(|(&operation, &count)| budget.judge(operation, count)).collect();
    print(&rows);
    let ok = rows.iter().all(|row| row.ok);
    let mut above = rows.iter().filter_map(|row| row.above_percent);
    if ok && above.any(|above| above < -budget.slack_percent) {
        eprintln!(
            "Fewer than the budget allows: run this with --update, so that it stays that way."
        );
    }
    if !ok {
        eprintln!(
            "The hot path takes more instructions than its budget ({}). Shorten it; or, if the change is \
             worth it, run this with --update and commit the new budget.",
            file.display(),
        );
        if budget.rustc != rustc {
            eprintln!("The budget was counted with {}, this is {rustc}.", budget.rustc);
        }
    }
    Ok(ok)
}

impl Budget {
    fn judge(&self, operation: Operation, instructions: f64) -> Row {
        let budget = self.instructions.get(&operation).copied();
        let above = budget.map(|budget| (instructions / budget - 1.0) * 100.0);
        Row {
            operation,
            instructions,
            budget,
            above_percent: above.map(|above| (above * 100.0).round() / 100.0),
            // An operation without a budget fails, so that it gets one.
            ok: above.is_some_and(|above| above <= self.slack_percent),
        }
    }
}

fn count_all() -> Result<BTreeMap<Operation, f64>, Error> {
    let bar = progress(Operation::value_variants().len(), "{wide_bar} {msg}")?;
    let counts = Operation::value_variants().iter().map(|&operation| {
        bar.set_message(name(operation));
        bar.inc(1);
        Ok((operation, count(operation)?))
    });
    let counts = counts.collect();
    bar.finish_and_clear();
    counts
}

fn count(operation: Operation) -> Result<f64, Error> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        // The count includes all callees, in other libraries too.
        .args(["--collect-atstart=no", "--toggle-collect=*hot_path*counted*"])
        .arg(env::current_exe()?)
        .args(["--perform", &name(operation)])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind: {error}; it is in the package 'valgrind'"))?;
    let messages = String::from_utf8_lossy(&output.stderr);
    match collected(&messages) {
        Some(collected) if output.status.success() && collected > CALLS => {
            Ok((collected as f64 / CALLS as f64 * 10.0).round() / 10.0)
        }
        _ => Err(format!("counting {} failed:\n{messages}", name(operation)).into()),
    }
}

fn collected(messages: &str) -> Option<u64> {
    let line = messages.lines().rev().find_map(|line| line.split_once("Collected :"))?;
    line.1.trim().parse().ok()
}

fn name(operation: Operation) -> String {
    operation.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn rustc_version() -> String {
    let output = Command::new("rustc").arg("--version").output();
    output.map_or_else(
        |_| "an unknown compiler".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

fn print(rows: &[Row]) {
    println!("{:<20}{:>14}{:>12}{:>10}", "operation", "instructions", "budget", "");
    for row in rows {
        let budget = row.budget.map_or_else(|| "none".to_owned(), |budget| format!("{budget:.1}"));
        let above = row.above_percent.map_or_else(String::new, |above| format!("{above:+.2} %"));
        let verdict = if row.ok { "ok" } else { "TOO MANY" };
        println!(
            "{:<20}{:>14.1}{budget:>12}{above:>10}  {verdict}",
            name(row.operation),
            row.instructions
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_from_what_callgrind_says() {
        let messages = "==7== Events    : Ir\n==7== Collected : 1234567\n==7== \n";
        assert_eq!(collected(messages), Some(1_234_567));
        assert_eq!(collected("==7== Events    : Ir\n"), None);
    }

    #[test]
    fn more_than_the_slack_is_too_many_and_what_has_no_budget_is_not_ok() {
        let instructions = BTreeMap::from([(Operation::Send, 100.0)]);
        let budget = Budget { rustc: String::new(), slack_percent: 2.0, instructions };
        assert!(budget.judge(Operation::Send, 101.9).ok);
        assert!(budget.judge(Operation::Send, 50.0).ok);
        assert!(!budget.judge(Operation::Send, 102.1).ok);
        assert!(!budget.judge(Operation::Push, 1.0).ok);
    }
}
