//! Processes and what they leave: bounded waits, endpoints' files, the programs under test.

use std::{
    env,
    fs::{self, DirBuilder},
    io::{self, BufRead, BufReader, Read, Write},
    ops::Deref,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use ringbridge::{Backend, Config, IpcMain};
use rustix::{
    process::{Pid, Signal, kill_process},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};
use serde_json::Value;

use crate::{
    contract::CONTRACT,
    proc::{SEGMENTS, mappings},
};

/// How long anything may take before a test gives it up. Far more than it needs.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Waits for a condition that other processes bring about.
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    assert!(within(LIMIT, condition), "not within {LIMIT:?}: {what}");
}

/// Waits for a condition, and says whether it came to hold in time.
pub fn within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
    true
}

/// Does something with one number after the other. Returns the number at which it failed, and the error.
pub fn until_error<E>(mut step: impl FnMut(u64) -> Result<(), E>) -> (u64, E) {
    let failed = (0..).find_map(|number| step(number).err().map(|error| (number, error)));
    failed.expect("numbers have no end")
}

/// A name for an endpoint that no other test has, in this process or another.
pub fn unique_name(purpose: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{purpose}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A new folder for this user alone. Removed when dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(purpose: &str) -> Self {
        // Not in the target folder, whose path may be longer than a socket's may be.
        let path = env::temp_dir().join(unique_name(&format!("rb-{purpose}")));
        DirBuilder::new().mode(0o700).create(&path).expect("it is new");
        Self(path)
    }

    /// Writes a file, and returns its path.
    pub fn with(&self, file: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.join(file);
        fs::write(&path, content).expect("it is this user's");
        path.into_os_string().into_string().expect("it is text")
    }

    pub fn text(&self) -> &str {
        self.to_str().expect("it is text")
    }
}

impl Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it is in nobody's way.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A program of this workspace, from the folder that this one was built into.
pub fn program(name: &str) -> PathBuf {
    let this = env::current_exe().expect("a running program has a path");
    // Tests are built one folder further down.
    let found = this.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    found
        .into_iter()
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("'{name}' has not been built beside {}", this.display()))
}

/// Whether a program that a test needs is in the PATH. If not, says that the test is left out; or fails if
/// `RINGBRIDGE_REQUIRE_TOOLS` is 1, as on a build machine, which installs it.
pub fn has_tool(name: &str, debian_package: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).any(|folder| folder.join(name).is_file());
    let required = env::var("RINGBRIDGE_REQUIRE_TOOLS").is_ok_and(|required| required == "1");
    let lack = format!("`{name}` is not in the PATH (on Debian: package {debian_package})");
    assert!(found || !required, "{lack}");
    if !found {
        left_out(&lack);
    }
    found
}

/// Says that a test, or a part of it, is left out, and why.
pub fn left_out(why: &str) {
    let thread = thread::current();
    // Not by `eprintln`, which the test harness captures. A closed standard error concerns nobody.
    let _ = writeln!(io::stderr(), "LEFT OUT: {}: {why}", thread.name().unwrap_or("a test"));
}

/// The folder of the demo's programs, the operator's tool and the engine's examples. Cargo builds them as it has built
/// this program: for the whole workspace, so that nothing is compiled twice with other features.
pub fn programs() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build_programs)
}

fn build_programs() -> PathBuf {
    let this = env::current_exe().expect("a running program has a path");
    // target/PROFILE/deps/TEST
    let folder = this.ancestors().nth(2).expect("tests are built into a folder of folders");
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let target = folder.parent().expect("a profile's folder is in the target folder");
    let built = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--workspace", "--examples", "--bin=main-proc"])
        .args(["--bin=renderer-proc", "--bin=ringbridge", "--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo can be started");
    assert!(built.success(), "the programs cannot be built");
    folder.to_owned()
}

/// The files by which an endpoint is found. None is there once its main process has closed it.
pub fn endpoint_files(name: &str) -> Vec<PathBuf> {
    let runtime =
        env::var_os("XDG_RUNTIME_DIR").map(|folder| Path::new(&folder).join("ringbridge"));
    let shared = PathBuf::from(format!("/tmp/ringbridge-{}", rustix::process::getuid().as_raw()));
    let folders = [runtime, Some(shared)].into_iter().flatten();
    folders
        .flat_map(|folder| ["sock", "lock"].map(|kind| folder.join(format!("{name}.{kind}"))))
        .filter(|path| path.exists())
        .collect()
}

/// The name of an endpoint whose main process may be killed. Dropped, it removes what that has left.
pub struct SweptName(pub String);

impl Drop for SweptName {
    fn drop(&mut self) {
        if endpoint_files(&self.0).is_empty() {
            return;
        }
        // Who binds a name removes what the dead have left of it, segments too.
        let config =
            Config { backend: Backend::Portable, protect_memory: false, ..Config::default() };
        if IpcMain::bind_with(&self.0, CONTRACT, config).is_ok() {
            return;
        }
        for file in endpoint_files(&self.0) {
            // Whoever has removed it meanwhile did the same.
            let _ = fs::remove_file(file);
        }
    }
}

/// What the names of one endpoint's segments begin with. There may be others', of tests that run beside.
#[derive(Clone, Debug)]
pub struct SegmentNames(String);

impl SegmentNames {
    /// Those of the portable endpoint that a process has: it maps its directory.
    pub fn of_process(process_id: u32) -> Option<Self> {
        let segments = mappings(process_id, |path| path.starts_with(SEGMENTS));
        let (name, _number) = segments.first()?.1.split_once('.')?;
        Some(Self(format!("{name}.")))
    }

    /// That through which the others are found.
    pub fn directory(&self) -> PathBuf {
        PathBuf::from(format!("{}0", self.0))
    }

    pub fn existing(&self) -> Vec<PathBuf> {
        let of_this = |path: &PathBuf| path.to_string_lossy().starts_with(&self.0);
        shared_memory_files().into_iter().filter(of_this).collect()
    }
}

/// What lies in `/dev/shm` under this project's name.
pub fn shared_memory_files() -> Vec<PathBuf> {
    let files = fs::read_dir("/dev/shm").into_iter().flatten().flatten().map(|entry| entry.path());
    files.filter(|path| path.to_string_lossy().contains("ringbridge")).collect()
}

/// A core that this thread may use.
pub fn first_core() -> usize {
    let allowed = sched_getaffinity(None).expect("it can be asked for");
    (0..CpuSet::MAX_CPU).find(|&core| allowed.is_set(core)).expect("this thread runs")
}

/// Keeps this thread, and those that it starts, to one core.
pub fn keep_to_core(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).expect("the core is there");
}

/// Sends a signal to a process that a test knows to be its own.
pub fn signal(process_id: u32, signal: Signal) {
    let process_id = Pid::from_raw(process_id as i32).expect("process ids are positive");
    // It fails only if the process has ended already.
    let _ = kill_process(process_id, signal);
}

/// The lines that some process prints: one JSON object each, mostly.
pub struct Lines(mpsc::Receiver<String>);

impl Lines {
    /// Reads them in a thread of its own, so that waiting for one can have a bound.
    pub fn of(output: impl Read + Send + 'static) -> Self {
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self(lines)
    }

    /// The next line; `None` at the end of the output.
    pub fn next(&self) -> Option<Value> {
        let line = self.next_text()?;
        let value = serde_json::from_str(&line);
        Some(value.unwrap_or_else(|error| panic!("{line:?} is no JSON: {error}")))
    }

    /// The next line of a program that prints lines for people; `None` at the end of the output.
    pub fn next_text(&self) -> Option<String> {
        match self.0.recv_timeout(LIMIT) {
            Ok(line) => Some(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("it printed nothing within {LIMIT:?}"),
        }
    }

    /// The next line whose `event` is this one; those before it are passed over.
    pub fn next_of(&self, event: &str) -> Value {
        std::iter::from_fn(|| self.next())
            .find(|line| line["event"] == event)
            .unwrap_or_else(|| panic!("it ended without a line of '{event}'"))
    }

    pub fn rest(&self) -> Vec<Value> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

/// A child of this process. Killed if it is dropped alive.
pub struct Killed(pub Child);

impl Killed {
    /// How it has ended, if it has.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("it is this process's child")
    }

    /// Waits for its end.
    pub fn end(&mut self) -> ExitStatus {
        eventually("the program ends", || self.status().is_some());
        self.status().expect("it has ended")
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running program that prints lines of JSON. Killed if it is dropped alive.
pub struct Program {
    pub lines: Lines,
    child: Killed,
}

impl Program {
    pub fn start(command: &mut Command) -> Self {
        Self::start_with_input(command.stdin(Stdio::null()))
    }

    /// Starts it with the standard input that the command has.
    pub fn start_with_input(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let output = child.stdout.take().expect("it was asked for");
        Self { lines: Lines::of(output), child: Killed(child) }
    }

    pub fn id(&self) -> u32 {
        self.child.0.id()
    }

    pub fn signal(&self, kind: Signal) {
        signal(self.id(), kind);
    }

    pub fn end(&mut self) -> ExitStatus {
        self.child.end()
    }

    /// Waits for its good end, and returns the lines that it printed until then.
    pub fn finish(&mut self) -> Vec<Value> {
        let lines = self.lines.rest();
        assert!(self.end().success(), "{lines:?}");
        lines
    }

    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.end();
    }
}
