//! Kills, stops and starves processes that talk, and counts what got lost; see [`tests::stress`].

use std::process::ExitCode;

fn main() -> ExitCode {
    tests::stress::main()
}
