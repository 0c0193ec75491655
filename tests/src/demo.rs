//! The demo's two programs and the operator's tool, built once and started as users start them.

use std::{
    io,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Stdio},
};

use crate::prelude::*;

pub fn demo_program(name: &str) -> PathBuf {
    programs().join(name)
}

/// The two programs under a name of their own.
pub struct Demo {
    name: SweptName,
    /// The segments that were there before.
    segments: Vec<PathBuf>,
}

impl Default for Demo {
    fn default() -> Self {
        Self::new()
    }
}

impl Demo {
    pub fn new() -> Self {
        Self { name: SweptName(unique_name("demo")), segments: shared_memory_files() }
    }

    pub fn endpoint(&self) -> &str {
        &self.name.0
    }

    pub fn main(&self, arguments: &[&str]) -> Command {
        self.command("main-proc", arguments)
    }

    pub fn start(&self, arguments: &[&str]) -> Program {
        Program::start(&mut self.main(arguments))
    }

    /// The segments that have come since.
    pub fn new_segments(&self) -> Vec<PathBuf> {
        let mut segments = shared_memory_files();
        segments.retain(|segment| !self.segments.contains(segment));
        segments
    }

    /// Starts a main process that launches no renderer, and waits until it listens.
    pub fn serve(&self, arguments: &[&str]) -> Program {
        let main = self.start(&[&["--renderers", "0"], arguments].concat());
        main.lines.next_of("listening");
        main
    }

    pub fn attach(&self, arguments: &[&str]) -> Program {
        Program::start(&mut self.renderer(arguments))
    }

    pub fn renderer(&self, arguments: &[&str]) -> Command {
        self.command("renderer-proc", arguments)
    }

    /// The command that starts a renderer which attaches and serves its page. It prints lines for people.
    pub fn page(&self, arguments: &[&str]) -> Command {
        let mut command = self.plain("renderer-proc", &["--view", "web"]);
        command.args(arguments).process_group(0);
        command
    }

    /// With `--json`, and in a process group of its own, as a shell does it.
    fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = self.plain(name, &["--json"]);
        command.args(arguments).process_group(0);
        command
    }

    /// The command that starts one of the programs, as it shows itself by default.
    pub fn plain(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(demo_program(name));
        command.args(["--endpoint", self.endpoint()]).args(arguments);
        command
    }
}

/// Runs a command that ends soon. Returns its exit code and its standard output and error, each less than a pipe holds.
pub fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Killed(command.spawn().expect("it can be started"));
    let code = child.end().code();
    let Child { stdout, stderr, .. } = &mut child.0;
    let (output, errors) = (stdout.take().expect("a pipe"), stderr.take().expect("a pipe"));
    let output = io::read_to_string(output).expect("it is text");
    (code, output, io::read_to_string(errors).expect("it is text"))
}
