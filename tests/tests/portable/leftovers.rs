//! Named segments outlive their process. The next main process or the sweep removes those of a dead one, and never
//! those of a living one. A foreign segment in their place is an error and no crash.

#![allow(unsafe_code, reason = "a process forks as a C program would")]

use std::{
    env,
    fs::{self, Permissions},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::Stdio,
};

use fastrand::Rng;
use rustix::process::{Pid, WaitOptions, getuid, kill_process_group, waitpid};
use tests::prelude::*;

/// Chooses the moments.
const SEED: u64 = 20_261_126;
const KILLS: u32 = 200;
/// A main process is killed at most so long after its start.
const LIFE_MAX_US: u64 = 30_000;
/// The next one binds the name within this.
const AT_ONCE: Duration = Duration::from_secs(1);

fn bind(endpoint: &str) -> Result<IpcMain, BindError> {
    IpcMain::bind_with(endpoint, CONTRACT, config())
}

/// Binds an endpoint, which must be the only one of this process. Returns its name and its segments' names too.
fn endpoint(purpose: &str) -> (SweptName, IpcMain, SegmentNames) {
    let name = SweptName(unique_name(purpose));
    let ipc = bind(&name.0).unwrap();
    let segments = SegmentNames::of_process(std::process::id()).expect("its directory is mapped");
    assert!(!segments.existing().is_empty());
    (name, ipc, segments)
}

/// The environment variable of a process with one test only, and with a folder for endpoints that no other sweeps.
const ALONE: &str = "RINGBRIDGE_TEST_ALONE";

/// Runs the calling test once more, in a process of its own; `false` in that process.
fn is_run_alone() -> bool {
    if env::var_os(ALONE).is_some() {
        return false;
    }
    let folder = Folder::new("alone");
    let thread = thread::current();
    let output = Command::new(env::current_exe().unwrap())
        .args([thread.name().expect("a test's thread has its name"), "--exact", "--nocapture"])
        .env(ALONE, "1")
        .env("XDG_RUNTIME_DIR", &*folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    println!("{}", text[0]);
    assert!(output.status.success() && text[0].contains("1 passed"), "{}", text[1]);
    true
}

#[test]
fn main_processes_killed_with_their_renderers_at_any_moment_leave_nothing() {
    if is_run_alone() {
        return;
    }
    let (name, ipc, segments) = endpoint("killed");
    drop(ipc);
    assert_eq!(segments.existing(), Vec::<PathBuf>::new());
    let mut rng = Rng::with_seed(SEED);
    let (mut left, mut slowest) = (0, Duration::ZERO);
    for round in 0..KILLS {
        let life = Duration::from_micros(rng.u64(..LIFE_MAX_US));
        let mut main = process(is_killed_at_any_moment, &[&name.0])
            .process_group(0)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        if round % 2 == 0 {
            // Its life counts from its first step as a main process, which comes late on a busy machine.
            assert!(within(10 * AT_ONCE, || !endpoint_files(&name.0).is_empty()));
        }
        thread::sleep(life);
        let group = Pid::from_raw(main.id() as i32).unwrap();
        kill_process_group(group, Signal::KILL).unwrap();
        let status = main.wait().unwrap();
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "seed {SEED}, round {round}");

        left += usize::from(!segments.existing().is_empty());
        if round % 4 < 2 {
            let began = Instant::now();
            let next = bind(&name.0);
            let took = began.elapsed();
            assert!(next.is_ok(), "seed {SEED}, round {round}: {:?}", next.map(drop));
            assert!(took < AT_ONCE, "seed {SEED}, round {round}: {took:?}");
            slowest = slowest.max(took);
        } else {
            // A child that main was just launching may have a copy of the lock, until it is dead too.
            let swept = || {
                sweep_endpoints().unwrap();
                endpoint_files(&name.0).is_empty()
            };
            assert!(within(AT_ONCE, swept), "seed {SEED}, round {round}");
        }
        let still = segments.existing();
        assert!(still.is_empty(), "seed {SEED}, round {round}: {still:?}");
    }
    println!("seed {SEED}: {KILLS} kills, {left} left segments; the slowest bind took {slowest:?}");
    assert!(left > KILLS as usize / 10, "they were killed too early to leave anything");
}

#[test]
fn segments_of_a_living_main_process_are_never_swept_even_without_its_lock() {
    if is_run_alone() {
        return;
    }
    let (name, ipc, segments) = endpoint("living");
    ipc.on_attach(|_| Ok(allow_everything()));
    let before = segments.existing();
    // Directories are found by any test's process.
    let is_swept = || sweep_endpoints().unwrap().iter().any(|swept| swept.name == name.0);
    assert!(!is_swept());
    assert_eq!(segments.existing(), before);
    // Another process has replaced the file that it has locked.
    for file in endpoint_files(&name.0) {
        fs::remove_file(&file).unwrap();
        fs::write(&file, "").unwrap();
    }
    assert!(!is_swept());
    assert!(matches!(bind(&name.0), Err(BindError::NameInUse { .. })));
    assert_eq!(segments.existing(), before);
    let attached = thread::scope(|scope| {
        let attaching = scope.spawn(|| IpcRenderer::attach_with(&name.0, CONTRACT, config()));
        while !attaching.is_finished() {
            ipc.run_for(Duration::from_millis(1)).unwrap();
        }
        attaching.join().unwrap()
    });
    assert!(attached.is_ok(), "it can be attached to as ever");
}

#[test]
fn a_foreign_directory_is_an_error_for_renderers_and_crashes_no_process() {
    if is_run_alone() {
        return;
    }
    let (name, ipc, segments) = endpoint("foreign");
    let directory = segments.directory();
    let whole = fs::read(&directory).unwrap();
    drop(ipc);

    let attach = || IpcRenderer::attach_with(&name.0, CONTRACT, config()).map(drop);
    let put = |bytes: &[u8], mode| {
        fs::write(&directory, bytes).unwrap();
        fs::set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
    };
    // The next main process makes its own in its place: a process that died early leaves such files.
    let is_replaced = |what: &str| {
        assert!(bind(&name.0).is_ok(), "{what}");
        assert_eq!(segments.existing(), Vec::<PathBuf>::new(), "{what}");
    };
    put(&[], 0o600);
    assert!(matches!(attach(), Err(ConnectError::NoSuchEndpoint { .. })));
    is_replaced("empty");
    for len in [1, 4096, whole.len() - 4096, whole.len() + 4096] {
        let mut bytes = whole.clone();
        bytes.resize(len, 0);
        put(&bytes, 0o600);
        assert!(matches!(attach(), Err(ConnectError::BadAnswer(_))), "{len} bytes");
        is_replaced("of another length");
    }
    for byte in [0x00, 0x55, 0xff] {
        put(&vec![byte; whole.len()], 0o600);
        assert!(attach().is_err(), "{byte}");
        is_replaced("of somebody else");
    }

    // A file that others may write is not touched.
    put(&whole, 0o644);
    assert!(matches!(attach(), Err(ConnectError::BadAnswer(_))));
    assert!(matches!(bind(&name.0), Err(BindError::Io { .. })));
    if getuid().is_root() {
        put(&whole, 0o600);
        chown(&directory, Some(65_534), None).unwrap();
        assert!(matches!(attach(), Err(ConnectError::BadAnswer(_))));
        assert!(matches!(bind(&name.0), Err(BindError::Io { .. })));
    }
    assert!(Path::exists(&directory));
    fs::remove_file(&directory).unwrap();
}

#[test]
fn a_forked_child_that_exits_removes_nothing() {
    let name = SweptName(unique_name("forked"));
    let (mut command, mut sign) = with_input(process(forks_a_child_that_exits, &[&name.0]));
    let mut main = Program::start_with_input(&mut command);
    main.lines.next_of("exited");
    let segments = SegmentNames::of_process(main.id()).unwrap();
    assert!(segments.directory().exists());
    assert_eq!(endpoint_files(&name.0).len(), 1, "its lock");
    Write::write_all(&mut sign, &[1]).unwrap();
    assert!(main.end().success());
    assert_eq!(segments.existing(), Vec::<PathBuf>::new());
}

/// Launches renderers and talks to them, for ever. Arguments: ENDPOINT.
fn is_killed_at_any_moment(arguments: &Arguments) {
    let ipc = bind(&arguments[0]).expect("the name is free");
    ipc.on_did_connect(|window| {
        for number in 0..100 {
            // Its ring may be full, or it gone.
            let _ = window.try_send(TICK, &number);
        }
    });
    for _ in 0..2 {
        let renderer = renderer(stays, &[]);
        ipc.launch(renderer, allow_everything()).expect("it can be launched");
    }
    ipc.run().expect("nobody else runs it");
}

/// Prints a line when the child has exited, and serves on until a sign. Arguments: ENDPOINT.
fn forks_a_child_that_exits(arguments: &Arguments) {
    let ipc = bind(&arguments[0]).expect("the name is free");
    ipc.run_for(Duration::from_millis(1)).expect("nobody else runs it");
    // SAFETY: the child does nothing but exit, as the next line says.
    let child = unsafe { libc::fork() };
    if child == 0 {
        std::process::exit(0);
    }
    let child = Pid::from_raw(child).expect("it was forked");
    waitpid(Some(child), WaitOptions::empty()).expect("it is a child of this process");
    println!("{}", json!({ "event": "exited" }));
    wait_for_input();
    ipc.close().expect("it is open");
}
