//! Renderers and main processes of the tests: functions of the test program, called in a second run of it.
//!
//! A test names a function, or a closure without captures. The new process gets the distance of that function from a known
//! one, since the program is loaded at another address each time. [`scenes!`](crate::scenes!) makes the test program call
//! it before the test harness starts. A scene fails by panicking.

use std::{
    env,
    fmt::Display,
    io::{self, PipeWriter, Read},
    mem,
    ops::Deref,
    panic, process, ptr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use crate::{backend, prelude::*};

/// The environment variable with the kind of a scene and the distance of its function.
pub const VARIABLE: &str = "RINGBRIDGE_TEST_SCENE";

/// Makes a test program able to launch itself. Each test program with scenes needs it once. With `one at a time` its
/// tests run one after another, since they look at their whole process.
#[macro_export]
macro_rules! scenes {
    () => {
        #[used]
        #[unsafe(link_section = ".init_array")]
        static PLAY_SCENE: extern "C" fn() = $crate::scene::play_if_told;
    };
    (one at a time) => {
        $crate::scenes!();

        #[used]
        #[unsafe(link_section = ".init_array")]
        static RUN_ALONE: extern "C" fn() = $crate::scene::run_one_test_at_a_time;
    };
}

/// A renderer that main has launched and that has connected.
pub type RendererScene = fn(&Renderer);
/// Any other process.
pub type ProcessScene = fn(&Arguments);

/// The program has [`scenes!`](crate::scenes!).
static CAN_PLAY: AtomicBool = AtomicBool::new(false);

/// Calls the scene that this process was launched for, and ends the process; returns if there is none. Runs before
/// `main`, when glibc has already given the standard library the arguments.
pub extern "C" fn play_if_told() {
    CAN_PLAY.store(true, Relaxed);
    let Ok(scene) = env::var(VARIABLE) else { return };
    // SAFETY: no other thread runs yet. The standard library does the same before `main`.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let arguments = Arguments(env::args().skip(1).collect());
    let played = panic::catch_unwind(|| {
        let (kind, distance) = scene.split_once(' ').expect("a kind and a distance");
        let distance: usize = distance.parse().expect("it is a number");
        let address = anchor().wrapping_add(distance);
        let function = ptr::with_exposed_provenance::<()>(address);
        if kind == "renderer" {
            // SAFETY: `renderer` took the distance of such a function in another run of this program file.
            let scene = unsafe { mem::transmute::<*const (), RendererScene>(function) };
            scene(&arguments.connect_with(Config::default()));
        } else {
            // SAFETY: as above, by `process`.
            let scene = unsafe { mem::transmute::<*const (), ProcessScene>(function) };
            scene(&arguments);
        }
    });
    process::exit(if played.is_ok() { 0 } else { 101 });
}

/// Tells the test harness, which has not started yet.
pub extern "C" fn run_one_test_at_a_time() {
    // SAFETY: no other thread runs yet.
    unsafe { env::set_var("RUST_TEST_THREADS", "1") };
}

/// The address that distances count from.
fn anchor() -> usize {
    (play_if_told as *const ()).expose_provenance()
}

pub fn renderer(scene: RendererScene, arguments: &[&str]) -> Command {
    command("renderer", scene as *const (), arguments)
}

/// The command that starts a process that connects by itself, if at all.
pub fn process(scene: ProcessScene, arguments: &[&str]) -> Command {
    command("process", scene as *const (), arguments)
}

fn command(kind: &str, scene: *const (), arguments: &[&str]) -> Command {
    assert!(CAN_PLAY.load(Relaxed), "the test program lacks `tests::scenes!();`");
    let distance = scene.expose_provenance().wrapping_sub(anchor());
    let mut command = Command::new(env::current_exe().expect("a running program has a path"));
    command.args(arguments).env(VARIABLE, format!("{kind} {distance}"));
    backend::tell(&mut command);
    command
}

/// Gives a command a pipe as its standard input, for signs to a process that does not run its loop. Each byte is a sign.
pub fn with_input(mut command: Command) -> (Command, PipeWriter) {
    let (reader, writer) = io::pipe().expect("descriptors are left");
    command.stdin(reader);
    (command, writer)
}

/// Waits for a sign on the standard input, without running the loop.
pub fn wait_for_input() {
    io::stdin().read_exact(&mut [0]).expect("the test gives a sign");
}

#[derive(Clone)]
pub struct Arguments(Vec<String>);

impl Deref for Arguments {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0
    }
}

impl Arguments {
    pub fn number(&self, place: usize) -> u64 {
        self.0[place].parse().expect("it is a number")
    }

    /// Connects to the main process that launched this one.
    pub fn connect_with(&self, config: Config) -> Renderer {
        self.connect_as(CONTRACT, config)
    }

    /// Connects with a contract of its own.
    pub fn connect_as(&self, contract: Contract, config: Config) -> Renderer {
        let ipc = IpcRenderer::connect_with(contract, config)
            .expect("main is there and speaks the same contract");
        Renderer { ipc, arguments: self.clone() }
    }
}

/// A renderer that has connected, with the arguments of its scene.
#[derive(Clone)]
pub struct Renderer {
    pub(crate) ipc: IpcRenderer,
    pub arguments: Arguments,
}

impl Deref for Renderer {
    type Target = IpcRenderer;

    fn deref(&self) -> &IpcRenderer {
        &self.ipc
    }
}

impl Renderer {
    pub fn number(&self, place: usize) -> u64 {
        self.arguments.number(place)
    }

    pub fn report(&self, what: impl Display) {
        self.send(REPORT, &what.to_string()).expect("main listens");
    }

    pub fn run_until(&self, what: &str, condition: impl FnMut() -> bool) {
        let run = || self.run_for(Duration::from_millis(2)).expect("main is there");
        assert!(within_by(LIMIT, run, condition), "not within {LIMIT:?}: {what}");
    }

    pub fn cues(&self) -> Cues {
        Cues { ipc: self.clone(), came: self.notes(CUE) }
    }
}

/// Main's cues to go on, as they came.
pub struct Cues {
    ipc: Renderer,
    came: Notes<String>,
}

impl Cues {
    /// Returns whether a cue has come since the last look.
    pub fn came(&self) -> bool {
        !self.came.take().is_empty()
    }

    /// Runs the loop until main's next cue.
    pub fn wait(&self) {
        self.ipc.run_until("main's cue", || self.came());
    }
}
