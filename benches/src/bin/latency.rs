//! Measures one pattern between two processes, beside the machine's floor; see [`benches::latency`].

fn main() -> std::process::ExitCode {
    benches::latency::main()
}
