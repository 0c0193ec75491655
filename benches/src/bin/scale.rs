//! Measures the cost of many renderers to one main process; see [`benches::scale`].

fn main() -> std::process::ExitCode {
    benches::scale::main()
}
