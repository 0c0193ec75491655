//! Reaching for other processes: what only another user, or the sandbox, stops.

use std::{
    fs,
    io::{self, ErrorKind},
    os::fd::AsRawFd,
    path::PathBuf,
};

use rustix::{
    io::Errno,
    process::{
        Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_getfd, pidfd_open,
        pidfd_send_signal,
    },
};

use super::{AT_THE_DOOR, Attack, BY_ANOTHER_USER, Entry, StoppedBy, Verdict};
use crate::attacker::{door::Socket, system, wire};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "ptrace-of-main",
        does: "attaches to main and to the bystander as a debugger",
        run: |attacker| {
            let _session = attacker.session();
            for process in [attacker.main, attacker.bystander] {
                denied(system::seize(process));
            }
        },
        ..BY_ANOTHER_USER
    },
    Attack {
        name: "mains-memory-read-from-outside",
        does: "reads and writes main's and the bystander's memory by `process_vm_readv` and `process_vm_writev`",
        run: |attacker| {
            let session = attacker.session();
            // What lies at this address there is of no interest: it is not let near.
            let address = std::ptr::from_ref(session.inbox.u64(0)).addr();
            for process in [attacker.main, attacker.bystander] {
                denied(system::read_memory(process, address));
                denied(system::write_memory(process, address));
            }
        },
        ..BY_ANOTHER_USER
    },
    Attack {
        name: "mains-memory-opened",
        does: "opens `/proc/PID/mem`, `maps`, `fd` and `map_files` of main and of the bystander",
        run: |attacker| {
            let _session = attacker.session();
            for process in [attacker.main, attacker.bystander] {
                denied(fs::File::open(format!("/proc/{process}/mem")));
                denied(fs::read(format!("/proc/{process}/maps")));
                denied(fs::read_dir(format!("/proc/{process}/fd")).map(drop));
                denied(fs::read_dir(format!("/proc/{process}/map_files")).map(drop));
            }
        },
        ..BY_ANOTHER_USER
    },
    Attack {
        name: "descriptors-taken-from-main",
        does: "takes main's and the bystander's descriptors by `pidfd_getfd`, for other renderers' memory",
        run: |attacker| {
            let _session = attacker.session();
            for process in [attacker.main, attacker.bystander] {
                let pidfd = pidfd_open(pid(process), PidfdFlags::empty()).expect("it lives");
                for number in 0..32 {
                    let taken = pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty());
                    denied(taken.map_err(io::Error::from));
                }
            }
        },
        ..BY_ANOTHER_USER
    },
    Attack {
        name: "signals-to-main",
        does: "kills and stops main and the bystander",
        run: |attacker| {
            let _session = attacker.session();
            for process in [attacker.main, attacker.bystander] {
                for signal in [Signal::KILL, Signal::STOP] {
                    denied(kill_process(pid(process), signal).map_err(io::Error::from));
                    let pidfd = pidfd_open(pid(process), PidfdFlags::empty()).expect("it lives");
                    denied(pidfd_send_signal(&pidfd, signal).map_err(io::Error::from));
                }
            }
        },
        ..BY_ANOTHER_USER
    },
    Attack {
        name: "signals-by-way-of-a-socket",
        does: "has the kernel send SIGKILL to main whenever main writes to the session's socket (`F_SETOWN`, `F_SETSIG`), and has main write",
        verdict: Verdict::Counted("attachment_buffers"),
        run: |attacker| {
            let mut session = attacker.session();
            // The kernel takes the order, and looks at who gave it when the time has come.
            system::aim_signals(session.socket.0.as_raw_fd(), attacker.main).expect("it is taken");
            for id in 1..10 {
                session.borrow(4096);
                session.number(wire::GIVE_BACK, id);
            }
        },
        ..BY_ANOTHER_USER
    },
    Attack {
        name: "endpoint-of-another-user",
        does: "connects to an endpoint in a folder of main's user",
        verdict: Verdict::TurnedAway,
        run: |attacker| {
            assert_eq!(Socket::connect(&attacker.path).map(drop), Err(Errno::ACCESS));
            let folder = attacker.path.parent().expect("it is in one");
            denied(fs::read_dir(folder).map(drop));
            denied(fs::remove_file(&attacker.path));
            denied(fs::write(folder.join("squat.sock"), ""));
        },
        ..BY_THE_DOOR_OF_ANOTHER_USER
    },
    Attack {
        name: "endpoint-left-open-to-another-user",
        does: "is handed a way to the socket's file, whose mode an administrator has widened, and says hello",
        verdict: Verdict::Refused,
        run: |attacker| {
            let way_in = attacker.way_in.as_ref().expect("it was opened before");
            let path = PathBuf::from(format!("/proc/self/fd/{}", way_in.0.as_raw_fd()));
            let socket = Socket::connect(&path).expect("anyone may");
            socket.say(&wire::hello(wire::MAGIC, wire::VERSION, &[]));
            socket.until_hung_up();
        },
        ..BY_THE_DOOR_OF_ANOTHER_USER
    },
];

/// An attacker at the door, whom only another user, or the sandbox, keeps out.
const BY_THE_DOOR_OF_ANOTHER_USER: Attack =
    Attack { stopped_by: StoppedBy::AnotherUser, entry: Entry::Door, ..AT_THE_DOOR };

fn pid(process: u32) -> Pid {
    Pid::from_raw(process as i32).expect("process ids are positive")
}

/// The kernel has said no, as it does to who may not.
fn denied<T>(result: io::Result<T>) {
    match result {
        Ok(_) => panic!("the kernel has let it"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}"),
    }
}
