//! Measures the cost of being watched by `ringbridge top`; see [`benches::watched`].

fn main() -> std::process::ExitCode {
    benches::watched::main()
}
