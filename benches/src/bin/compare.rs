//! Measures Ringbridge beside its peers; see [`benches::compare`].

fn main() -> std::process::ExitCode {
    benches::compare::main()
}
