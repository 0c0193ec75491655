//! Attacks on other processes, which only another user or the sandbox stops.

use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_getfd, pidfd_open,
    pidfd_send_signal,
};

use super::*;

#[rustfmt::skip]
pub(super) const ATTACKS: &[Attack] = &[
    launched("ptrace-of-main", Denied, |a| of_both(a, |process, _| denied(system::seize(process))),
        "attaches to main and to the bystander as a debugger").by_another_user(),
    launched("mains-memory-read-from-outside", Denied, |a| of_both(a, |process, address| {
            denied(system::access_memory(process, address, false));
            denied(system::access_memory(process, address, true));
        }),
        "reads and writes main's and the bystander's memory by `process_vm_readv` and `process_vm_writev`")
        .by_another_user(),
    launched("mains-memory-opened", Denied, |a| of_both(a, |process, _| {
            denied(fs::File::open(format!("/proc/{process}/mem")));
            denied(fs::read(format!("/proc/{process}/maps")));
            denied(fs::read_dir(format!("/proc/{process}/fd")).map(drop));
            denied(fs::read_dir(format!("/proc/{process}/map_files")).map(drop));
        }),
        "opens `/proc/PID/mem`, `maps`, `fd` and `map_files` of main and of the bystander").by_another_user(),
    launched("descriptors-taken-from-main", Denied, |a| of_both(a, |process, _| {
            let pidfd = pidfd_open(pid(process), PidfdFlags::empty()).expect("it lives");
            for number in 0..32 {
                let taken = pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty());
                denied(taken.map_err(io::Error::from));
            }
        }),
        "takes main's and the bystander's descriptors by `pidfd_getfd`, for other renderers' memory")
        .by_another_user(),
    launched("signals-to-main", Denied, |a| of_both(a, |process, _| {
            for signal in [Signal::KILL, Signal::STOP] {
                denied(kill_process(pid(process), signal).map_err(io::Error::from));
                let pidfd = pidfd_open(pid(process), PidfdFlags::empty()).expect("it lives");
                denied(pidfd_send_signal(&pidfd, signal).map_err(io::Error::from));
            }
        }),
        "kills and stops main and the bystander").by_another_user(),
    launched("signals-by-way-of-a-socket", Counted("attachment_buffers"), |a| {
            let mut session = a.session();
            // The kernel accepts this, and checks the user at each signal.
            system::aim_signals(session.socket.0.as_raw_fd(), a.main).expect("it is taken");
            for id in 1..10 {
                session.borrow(4096);
                session.number(GIVE_BACK, id);
            }
        },
        "has the kernel send SIGKILL to main whenever main writes to the session's socket (`F_SETOWN`, `F_SETSIG`), and has main write")
        .by_another_user(),
    door("endpoint-of-another-user", TurnedAway, |a| {
            assert_eq!(Socket::connect(&a.path).map(drop), Err(Errno::ACCESS));
            let folder = a.path.parent().expect("it is in one");
            denied(fs::read_dir(folder).map(drop));
            denied(fs::remove_file(&a.path));
            denied(fs::write(folder.join("squat.sock"), ""));
        },
        "connects to an endpoint in a folder of main's user").by_another_user(),
    door("endpoint-left-open-to-another-user", Refused, |a| {
            let socket = a.sneaks_in();
            socket.say(&hello(MAGIC, VERSION, &[]));
            socket.until_hung_up();
        },
        "is handed a way to the socket's file, whose mode an administrator has widened, and says hello")
        .by_another_user(),
];

/// Shakes hands, and attacks main and the bystander, with an address that is mapped in this process.
fn of_both(attacker: &mut Attacker, attack: fn(u32, usize)) {
    let session = attacker.session();
    let address = std::ptr::from_ref(session.inbox.u64(0)).addr();
    attack(attacker.main, address);
    attack(attacker.bystander, address);
}

fn pid(process: u32) -> Pid {
    Pid::from_raw(process as i32).expect("process ids are positive")
}

/// Checks that the kernel has refused, for lack of permission.
fn denied<T>(result: io::Result<T>) {
    match result {
        Ok(_) => panic!("the kernel has let it"),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}"),
    }
}
