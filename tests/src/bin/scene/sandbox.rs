//! Renderers in the sandbox, and what tries to get out of it.

#![allow(unsafe_code, reason = "a thread blocks a signal; system calls")]

use std::{
    collections::BTreeMap,
    env, io,
    mem::MaybeUninit,
    os::{fd::AsRawFd, unix::process::CommandExt},
    process::Command,
    sync::mpsc,
    thread,
    time::Duration,
};

use ringbridge::{Config, IpcRenderer, RunError, SandboxError, WaitStrategy};
use rustix::{
    io::Errno,
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{OptionalActions, Winsize, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize},
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use serde_json::json;
use tests::{
    contract::{
        ASK, BLOB, BULLETIN, BYTES, ECHO, NEWS, NUMBER, NUMBERED, Numbered, PICTURE, TICK,
        is_large, large,
    },
    doors::{DOORS, Door, Open, Targets},
    processes::program,
};

use crate::{Scene, connect, connect_with, number, report};

pub(crate) const SCENES: &[(&str, Scene)] = &[
    ("tries-doors", tries_doors),
    ("works-in-the-sandbox", works_in_the_sandbox),
    ("has-a-thread-that-cannot-be-reached", has_a_thread_that_cannot_be_reached),
    ("needs-all-of-the-sandbox", needs_all_of_the_sandbox),
    ("waits-in-the-sandbox", waits_in_the_sandbox),
    ("calls-by-another-table", calls_by_another_table),
    ("uses-a-terminal-in-the-sandbox", uses_a_terminal_in_the_sandbox),
    ("lacking", lacking),
];

/// `tries-doors sandboxed|free MAIN FOLDER ABSTRACT-SOCKET PORT`: reports what it saw from a thread that
/// was there before, from the one that has entered, and from a new one; or without a sandbox, from one.
fn tries_doors(arguments: &[String]) {
    let ipc = connect();
    let targets = Targets {
        main: number(arguments, 1) as i32,
        folder: (&arguments[2]).into(),
        abstract_socket: arguments[3].clone(),
        port: number(arguments, 4) as u16,
    };
    let attempts = |tried: fn(&Door) -> bool, targets: &Targets| -> BTreeMap<&str, String> {
        let doors = DOORS.iter().filter(|door| tried(door));
        doors.map(|door| (door.name, door.attempt(targets))).collect()
    };
    if arguments[0] == "free" {
        let seen = attempts(|door| door.open != Open::NotTried, &targets);
        return report(&ipc, json!({ "missing": [], "threads": { "only": seen } }));
    }
    let (go, gone) = mpsc::channel::<()>();
    let earlier = thread::spawn({
        let targets = targets.clone();
        move || {
            gone.recv().unwrap();
            attempts(|_| true, &targets)
        }
    });
    let sandbox = ipc.sandbox().unwrap();
    go.send(()).unwrap();
    let earlier = earlier.join().unwrap();
    let entered = attempts(|_| true, &targets);
    let later = thread::spawn(move || attempts(|_| true, &targets)).join().unwrap();
    let missing: Vec<_> = sandbox.missing().iter().map(|missing| missing.part.name()).collect();
    let threads = json!({ "earlier": earlier, "entered": entered, "later": later });
    report(&ipc, json!({ "missing": missing, "threads": threads }));
}

/// `works-in-the-sandbox LEN`: everything that a renderer does, asleep whenever it can.
fn works_in_the_sandbox(arguments: &[String]) {
    let len = number(arguments, 0) as usize;
    let ipc = connect_with(Config { wait: WaitStrategy::Park, ..Config::default() });
    // A thread that is there before, and one of its own that drives, as an application's may be.
    let (go, gone) = mpsc::channel::<()>();
    let earlier = thread::spawn({
        let ipc = ipc.clone();
        move || {
            gone.recv().unwrap();
            sends_numbered(&ipc, 1);
        }
    });
    let sandbox = ipc.sandbox().unwrap();
    assert_eq!(ipc.sandbox().unwrap(), sandbox, "again is the same");
    assert!(sandbox.is_complete(), "{sandbox}");
    go.send(()).unwrap();

    // What this side begins.
    let later = thread::spawn({
        let ipc = ipc.clone();
        move || sends_numbered(&ipc, 2)
    });
    assert_eq!(ipc.invoke(ECHO, b"short").unwrap().wait().unwrap(), b"short");
    let long = large(len, 1);
    assert_eq!(ipc.invoke(ECHO, &long).unwrap().wait().unwrap(), long);
    for seed in 2..5 {
        ipc.send(BYTES, &large(len, seed)).unwrap();
    }
    let mut picture = ipc.loan(PICTURE).unwrap();
    picture[1][1] = 7;
    picture.send();
    for thread in [earlier, later] {
        thread.join().unwrap();
    }
    uses_the_standard_library();

    // What main begins.
    let (from_push, from_topic, from_blob, from_bulletin) =
        (ipc.clone(), ipc.clone(), ipc.clone(), ipc.clone());
    ipc.on(TICK, move |_, number| from_push.send(NUMBER, number).unwrap()).unwrap();
    ipc.subscribe(NEWS, move |_, number| from_topic.send(NUMBER, number).unwrap()).unwrap();
    ipc.subscribe(BULLETIN, move |_, text| {
        from_bulletin.send(NUMBER, &(text.len() as u64)).unwrap();
    })
    .unwrap();
    ipc.on(BLOB, move |_, bytes| {
        assert!(is_large(bytes, len, 9));
        from_blob.send(NUMBER, &9).unwrap();
    })
    .unwrap();
    ipc.handle(ASK, |_, number| Ok(*number)).unwrap();
    ipc.handle(ECHO, |_, bytes| Ok(bytes.to_vec())).unwrap();
    report(&ipc, "listening");
    assert!(matches!(ipc.run(), Err(RunError::MainGone)));
}

fn sends_numbered(ipc: &IpcRenderer, sender: u64) {
    for number in 0..200 {
        ipc.send(NUMBERED, &Numbered { sender, number }).unwrap();
        assert_eq!(ipc.invoke(ASK, &number).unwrap().wait(), Ok(number));
    }
}

/// What an ordinary program does without thinking of the system.
fn uses_the_standard_library() {
    let mut numbers = Vec::new();
    for number in 0..4_000_000_u64 {
        numbers.push(number);
    }
    drop(numbers);
    let named = thread::Builder::new().name("named".to_owned()).spawn(|| {
        thread::sleep(Duration::from_millis(1));
        std::panic::catch_unwind(|| panic!("a panic in the sandbox is printed")).unwrap_err();
        let (reader, writer) = mpsc::channel::<()>();
        drop((reader, writer));
        thread::current().name().map(str::to_owned)
    });
    assert_eq!(named.unwrap().join().unwrap().as_deref(), Some("named"));
    let set: std::collections::HashSet<_> = (0..10).collect();
    assert_eq!(set.len(), 10);
    assert!(std::process::id() > 0);
    assert!(std::time::SystemTime::now().elapsed().is_ok());
}

/// A thread that blocks all signals keeps its rights, which is no sandbox.
fn has_a_thread_that_cannot_be_reached(_: &[String]) {
    let ipc = connect();
    let (blocked, blocks) = mpsc::channel();
    let (_go, gone) = mpsc::channel::<()>();
    thread::spawn(move || {
        // SAFETY: the set is a plain struct of this frame, which the first call fills.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_BLOCK, &all, std::ptr::null_mut());
        }
        blocked.send(()).unwrap();
        let _ = gone.recv();
    });
    blocks.recv().unwrap();
    let refused = ipc.sandbox().unwrap_err();
    assert!(matches!(&refused, SandboxError::Threads(_)), "{refused}");
    report(&ipc, refused);
}

fn needs_all_of_the_sandbox(_: &[String]) {
    let ipc = connect();
    match ipc.sandbox().unwrap().complete() {
        Ok(sandbox) => report(&ipc, sandbox),
        Err(error) => report(&ipc, error),
    }
}

/// Stays until main goes, for the test to look at from outside.
/// What a full-screen program does with a terminal that it has, and what it must not.
fn uses_a_terminal_in_the_sandbox(_: &[String]) {
    let ipc = connect();
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let person = openpt(flags).unwrap();
    unlockpt(&person).unwrap();
    let terminal = ioctl_tiocgptpeer(&person, flags).unwrap();
    tcsetwinsize(&person, Winsize { ws_row: 7, ws_col: 70, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    ipc.sandbox().unwrap();

    let before = tcgetattr(&terminal).unwrap();
    let mut raw = before.clone();
    raw.make_raw();
    tcsetattr(&terminal, OptionalActions::Now, &raw).unwrap();
    assert_eq!(tcgetattr(&terminal).unwrap().local_modes, raw.local_modes);
    // The C library's way, which is another call in some of its versions.
    // SAFETY: the descriptor is open, and the modes are written before they are read.
    unsafe {
        let mut modes = MaybeUninit::uninit();
        assert_eq!(libc::tcgetattr(terminal.as_raw_fd(), modes.as_mut_ptr()), 0);
        let modes = modes.assume_init();
        assert_eq!(libc::tcsetattr(terminal.as_raw_fd(), libc::TCSANOW, &modes), 0);
    }
    tcsetattr(&terminal, OptionalActions::Now, &before).unwrap();
    assert_eq!(tcgetattr(&terminal).unwrap().local_modes, before.local_modes);
    let size = tcgetwinsize(&terminal).unwrap();
    assert_eq!((size.ws_row, size.ws_col), (7, 70));

    // Not so much as its size is changed, and nothing typed into it, which would be for whoever reads there next.
    assert_eq!(tcsetwinsize(&terminal, size), Err(Errno::PERM));
    // SAFETY: the call reads one byte of a string that lives for ever.
    let typed = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSTI, c"x".as_ptr()) };
    assert_eq!((typed, io::Error::last_os_error().raw_os_error()), (-1, Some(libc::EPERM)));
    report(&ipc, "used");
}

fn waits_in_the_sandbox(_: &[String]) {
    let ipc = connect();
    let sandbox = ipc.sandbox().unwrap();
    report(&ipc, sandbox);
    assert!(matches!(ipc.run(), Err(RunError::MainGone)));
}

/// Makes an allowed call, but as a 32-bit program does.
fn calls_by_another_table(_: &[String]) {
    let ipc = connect();
    report(&ipc, ipc.sandbox().unwrap());
    #[cfg(target_arch = "x86_64")]
    // SAFETY: getpid changes nothing but the register with its result.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("eax") 20 => _, options(nostack));
    }
}

/// `lacking landlock|seccomp PROGRAM ARGUMENTS`: becomes the program, on a kernel that lacks that system
/// call, as far as it can tell.
fn lacking(arguments: &[String]) {
    let numbers = match arguments[0].as_str() {
        "landlock" => [libc::SYS_landlock_create_ruleset],
        "seccomp" => [libc::SYS_seccomp],
        other => panic!("'{other}' is not known"),
    };
    let rules = numbers.map(|number| (number, Vec::new())).into();
    let missing = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let architecture = env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, missing, architecture).unwrap();
    let filter: BpfProgram = filter.try_into().unwrap();
    apply_filter(&filter).unwrap();
    panic!("{}", Command::new(program(&arguments[1])).args(&arguments[2..]).exec());
}
