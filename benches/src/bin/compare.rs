//! Measures Ringbridge beside its peers; see [`benches::compare`].

use std::process::ExitCode;

fn main() -> ExitCode {
    benches::compare::main()
}
