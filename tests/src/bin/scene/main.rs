//! The renderers of the tests, and main processes where those must die: `scene NAME [ARGUMENTS]`.
//!
//! A scene is in the file with the name of the test's. It fails by panicking.

mod attachments;
mod attacks;
mod context_bridge;
mod fairness;
mod handshake;
mod hot_path;
mod invoke_and_handle;
#[cfg(feature = "kill-points")]
mod kill_points;
mod leftovers;
mod lifecycle;
mod limits;
mod policy;
mod push;
mod quotas;
mod reconnect;
mod sandbox;
mod send_and_on;
mod supervision;
mod topic;
mod validators;
mod wake;

use std::{
    env,
    fmt::Display,
    io::Read,
    time::{Duration, Instant},
};

use ringbridge::{Config, IpcRenderer};
use tests::{
    allocations::CountingAllocator,
    contract::{CONTRACT, CUE, REPORT},
    processes::LIMIT,
    stage::Notes,
};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// A scene, with the arguments after its name.
type Scene = fn(&[String]);

const FILES: &[&[(&str, Scene)]] = &[
    attachments::SCENES,
    attacks::SCENES,
    context_bridge::SCENES,
    fairness::SCENES,
    handshake::SCENES,
    hot_path::SCENES,
    invoke_and_handle::SCENES,
    #[cfg(feature = "kill-points")]
    kill_points::SCENES,
    leftovers::SCENES,
    lifecycle::SCENES,
    limits::SCENES,
    policy::SCENES,
    push::SCENES,
    quotas::SCENES,
    reconnect::SCENES,
    sandbox::SCENES,
    send_and_on::SCENES,
    supervision::SCENES,
    topic::SCENES,
    validators::SCENES,
    wake::SCENES,
];

fn main() {
    let mut arguments = env::args().skip(1);
    let name = arguments.next().expect("usage: scene NAME [ARGUMENTS]");
    let scene = FILES.iter().copied().flatten().find(|(known, _)| *known == name);
    let (_, scene) = scene.unwrap_or_else(|| panic!("there is no scene '{name}'"));
    scene(&arguments.collect::<Vec<_>>());
}

/// Connects to the main process that launched this scene.
fn connect() -> IpcRenderer {
    connect_with(Config::default())
}

fn connect_with(config: Config) -> IpcRenderer {
    IpcRenderer::connect_with(CONTRACT, config).expect("main is there and speaks the same contract")
}

/// Tells the test something.
fn report(ipc: &IpcRenderer, what: impl Display) {
    ipc.send(REPORT, &what.to_string()).expect("main listens");
}

/// Main's signs to go on, as they came.
struct Cues<'a> {
    ipc: &'a IpcRenderer,
    came: Notes<String>,
}

impl<'a> Cues<'a> {
    fn listen(ipc: &'a IpcRenderer) -> Self {
        let came = Notes::new();
        let notes = came.clone();
        ipc.on(CUE, move |_, text| notes.add(text.to_owned())).expect("it is allowed");
        Self { ipc, came }
    }

    /// Runs the loop until main's next sign.
    fn wait(&self) {
        run_until(self.ipc, "main's sign", || !self.came.is_empty());
        self.came.take();
    }
}

/// Runs the loop until the condition holds.
fn run_until(ipc: &IpcRenderer, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        ipc.run_for(Duration::from_millis(2)).expect("main is there");
    }
}

/// The argument at this place, as a number.
fn number(arguments: &[String], place: usize) -> u64 {
    arguments[place].parse().expect("it is a number")
}

/// Waits for a sign on the standard input, without running the loop.
fn wait_for_input() {
    std::io::stdin().read_exact(&mut [0]).expect("the test gives a sign");
}
