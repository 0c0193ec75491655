//! Counts the instructions of the hot path; see [`benches::instructions`].

fn main() -> std::process::ExitCode {
    benches::instructions::main()
}
