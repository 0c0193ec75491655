//! Bounded waits, the files of endpoints, and the programs under test.

use std::{
    env,
    fs::{self, DirBuilder},
    io::{self, BufRead, BufReader, Read},
    ops::Deref,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
};

use rustix::{
    process::{Pid, kill_process},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

use crate::{prelude::*, proc::SEGMENTS};

/// The limit of any wait. Far more than it needs.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Waits for a condition that other processes bring about.
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    assert!(within(LIMIT, condition), "not within {LIMIT:?}: {what}");
}

/// Waits for a condition, and returns whether it came to hold in time.
pub fn within(limit: Duration, condition: impl FnMut() -> bool) -> bool {
    within_by(limit, || thread::sleep(Duration::from_millis(1)), condition)
}

/// Does `step` again and again until the condition holds, and returns whether that was in time.
pub fn within_by(
    limit: Duration,
    mut step: impl FnMut(),
    mut condition: impl FnMut() -> bool,
) -> bool {
    let deadline = Instant::now() + limit;
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        step();
    }
    true
}

/// Calls a function with 0, 1, 2 and so on. Returns the number at which it failed, and the error.
pub fn until_error<E>(mut step: impl FnMut(u64) -> Result<(), E>) -> (u64, E) {
    let failed = (0..).find_map(|number| step(number).err().map(|error| (number, error)));
    failed.expect("numbers have no end")
}

/// A name that no other test has, in this process or another.
pub fn unique_name(purpose: &str) -> String {
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
        // A rest of it disturbs no other test.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A program of this workspace, from the folder that this one was built into.
pub fn program(name: &str) -> PathBuf {
    let this = env::current_exe().expect("a running program has a path");
    // Tests are built one folder further down.
    let mut places = this.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    let found = places.find(|path| path.exists());
    found.unwrap_or_else(|| panic!("'{name}' has not been built beside {}", this.display()))
}

/// Returns whether a program is in the PATH. If not, prints that the test is left out, or fails if
/// `RINGBRIDGE_REQUIRE_TOOLS` is 1, as on a build machine.
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

/// Prints that a test, or a part of it, is left out, and why.
pub fn left_out(why: &str) {
    let thread = thread::current();
    // Not by `eprintln`, which the test harness captures.
    let _ = writeln!(io::stderr(), "LEFT OUT: {}: {why}", thread.name().unwrap_or("a test"));
}

/// The folder of the demo's programs, the operator's tool and the engine's examples. Cargo builds them for the whole
/// workspace, as it has built this program, so that it compiles nothing twice with other features.
pub fn programs() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let this = env::current_exe().expect("a running program has a path");
        // target/PROFILE/deps/TEST
        let folder = this.ancestors().nth(2).expect("tests are built into a folder of folders");
        let profile = match folder.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(profile) => profile,
        };
        let built = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--quiet", "--workspace", "--examples", "--bin=main-proc"])
            .args(["--bin=renderer-proc", "--bin=ringbridge", "--profile", profile, "--target-dir"])
            .arg(folder.parent().expect("a profile's folder is in the target folder"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo can be started");
        assert!(built.success(), "the programs cannot be built");
        folder.to_owned()
    })
}

/// The existing files of an endpoint. None exists once its main process has closed it.
pub fn endpoint_files(name: &str) -> Vec<PathBuf> {
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(|at| Path::new(&at).join("ringbridge"));
    let shared = PathBuf::from(format!("/tmp/ringbridge-{}", rustix::process::getuid().as_raw()));
    let files =
        |folder: PathBuf| ["sock", "lock"].map(|kind| folder.join(format!("{name}.{kind}")));
    let files = runtime.into_iter().chain([shared]).flat_map(files);
    files.filter(|path| path.exists()).collect()
}

/// The name of an endpoint whose main process may be killed. Removes the dead process's files when dropped.
pub struct SweptName(pub String);

impl Drop for SweptName {
    fn drop(&mut self) {
        if endpoint_files(&self.0).is_empty() {
            return;
        }
        // `bind` removes what a dead process has left of the name, segments too.
        let config =
            Config { backend: Backend::Portable, protect_memory: false, ..Config::default() };
        if IpcMain::bind_with(&self.0, CONTRACT, config).is_ok() {
            return;
        }
        // Another process may have removed a file meanwhile.
        endpoint_files(&self.0).into_iter().for_each(|file| _ = fs::remove_file(file));
    }
}

/// The beginning of the names of one endpoint's segments, among those of tests that run at the same time.
#[derive(Clone, Debug)]
pub struct SegmentNames(String);

impl SegmentNames {
    /// Finds those of the portable endpoint whose directory a process maps.
    pub fn of_process(process_id: u32) -> Option<Self> {
        let segments = mappings(process_id, |path| path.starts_with(SEGMENTS));
        let (name, _number) = segments.first()?.1.split_once('.')?;
        Some(Self(format!("{name}.")))
    }

    /// The segment that lists the others.
    pub fn directory(&self) -> PathBuf {
        PathBuf::from(format!("{}0", self.0))
    }

    pub fn existing(&self) -> Vec<PathBuf> {
        let of_this = |path: &PathBuf| path.to_string_lossy().starts_with(&self.0);
        shared_memory_files().into_iter().filter(of_this).collect()
    }
}

pub fn shared_memory_files() -> Vec<PathBuf> {
    let files = fs::read_dir("/dev/shm").into_iter().flatten().flatten().map(|entry| entry.path());
    files.filter(|path| path.to_string_lossy().contains("ringbridge")).collect()
}

pub fn first_core() -> usize {
    let allowed = sched_getaffinity(None).expect("it can be asked for");
    (0..CpuSet::MAX_CPU).find(|&core| allowed.is_set(core)).expect("this thread runs")
}

pub fn keep_to_core(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).expect("the core is there");
}

/// Sends a signal to a process of the test's own.
pub fn signal(process_id: u32, signal: Signal) {
    let process_id = Pid::from_raw(process_id as i32).expect("process ids are positive");
    // It fails only if the process has ended already.
    let _ = kill_process(process_id, signal);
}

/// The lines that a process prints, mostly one JSON object each.
pub struct Lines(mpsc::Receiver<String>);

impl Lines {
    /// Reads them in a thread of its own, so that a wait for one can have a limit.
    pub fn of(output: impl Read + Send + 'static) -> Self {
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut read = BufReader::new(output).lines().map_while(Result::ok);
            read.try_for_each(|line| sender.send(line))
        });
        Self(lines)
    }

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

    /// The next line with this `event`. Those before it are dropped.
    pub fn next_of(&self, event: &str) -> Value {
        let found = std::iter::from_fn(|| self.next()).find(|line| line["event"] == event);
        found.unwrap_or_else(|| panic!("it ended without a line of '{event}'"))
    }

    pub fn rest(&self) -> Vec<Value> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

/// A child of this process. Killed if it is dropped alive.
pub struct Killed(pub Child);

impl Killed {
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("it is this process's child")
    }

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

    /// Waits until it ends with success, and returns the remaining lines.
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
