//! Processes: start one with a socket, die with the parent, watch for the end; fences for a whole process.

#![allow(unsafe_code, reason = "a hook runs in the child between fork and exec")]

use std::{
    io::{self, ErrorKind},
    mem::ManuallyDrop,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    process::{Child, Command},
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
};

use rustix::{
    io::{Errno, FdFlags, dup2, fcntl_dupfd_cloexec, fcntl_setfd},
    process::{
        DumpableBehavior, Pid, PidfdFlags, Resource, Rlimit, Signal, getpid, getppid, getrlimit,
        set_dumpable_behavior, set_parent_process_death_signal, setrlimit,
    },
    thread::{MembarrierCommand, membarrier},
};

/// A program that can be started several times, each time with a session of its own.
#[derive(Debug)]
pub(crate) struct Program {
    command: Command,
    child_fd: RawFd,
    /// The socket's number in this process, for the hook in the child; negative if there is none.
    socket: Arc<AtomicI32>,
}

/// The number at which a child finds its socket.
pub(crate) const CHILD_SOCKET: RawFd = 3;

/// The environment variable by which a child finds its session, and perhaps a descriptor that it names.
#[derive(Debug)]
pub(crate) struct Inherited {
    pub(crate) variable: &'static str,
    pub(crate) value: String,
    pub(crate) descriptor: Option<OwnedFd>,
}

impl Program {
    /// A program that finds its socket, if it gets one, at the number `child_fd`.
    ///
    /// With `die_with_parent` the kernel kills it when the *thread* that starts it ends. Start it from a thread
    /// that lives as long as the child should.
    pub(crate) fn new(
        mut command: Command,
        child_fd: RawFd,
        die_with_parent: bool,
    ) -> io::Result<Self> {
        if child_fd <= 2 {
            return Err(io::Error::new(ErrorKind::InvalidInput, "standard streams are in use"));
        }
        let socket = Arc::new(AtomicI32::new(-1));
        let (number, parent) = (socket.clone(), getpid());
        let hook = move || {
            if die_with_parent {
                follow_to_death(parent)?;
            }
            // Relaxed: the thread that forked this one has set it.
            match number.load(Ordering::Relaxed) {
                ..0 => Ok(()),
                number => put_at(number, child_fd),
            }
        };
        // SAFETY: between fork and exec only async-signal-safe calls are allowed. The hook makes a few
        // system calls directly (prctl, getppid, dup2 or fcntl), takes no lock, and its error is a bare
        // number, so nothing is allocated.
        unsafe { command.pre_exec(hook) };
        Ok(Self { command, child_fd, socket })
    }

    /// The program's name, for errors.
    pub(crate) fn name(&self) -> String {
        self.command.get_program().to_string_lossy().into_owned()
    }

    /// Starts it. This process's copy of a socket is closed, so that the child's end is a hang-up at the peer.
    pub(crate) fn start(&mut self, inherited: Inherited) -> io::Result<Child> {
        let Inherited { variable, value, descriptor } = inherited;
        self.command.env(variable, value);
        let Some(socket) = descriptor else {
            // Relaxed: read by the thread that is forked from this one.
            self.socket.store(-1, Ordering::Relaxed);
            return self.command.spawn();
        };
        // Takes the number if it is free here, and else a higher one. Otherwise the pipe by which the child
        // reports that exec failed could get this number, and the child would replace it.
        let ours = fcntl_dupfd_cloexec(&socket, self.child_fd)?;
        debug_assert!(ours.as_raw_fd() >= self.child_fd);
        drop(socket);
        self.socket.store(ours.as_raw_fd(), Ordering::Relaxed);
        self.command.spawn()
    }
}

/// Duplicates `from` to the number `to`, which stays open over exec. Runs in the child.
fn put_at(from: RawFd, to: RawFd) -> io::Result<()> {
    // SAFETY: `start` keeps it open until the child has been started.
    let from_fd = unsafe { BorrowedFd::borrow_raw(from) };
    if from == to {
        return Ok(fcntl_setfd(from_fd, FdFlags::empty())?);
    }
    // SAFETY: no code uses this number in the child before exec, and `ManuallyDrop` never closes it.
    let mut target = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(to) });
    Ok(dup2(from_fd, &mut target)?)
}

/// Has the kernel kill this process with its parent. Asks first and then looks, so that a parent that dies
/// between the two is noticed.
fn follow_to_death(parent: Pid) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() == Some(parent) { Ok(()) } else { Err(Errno::SRCH.into()) }
}

/// Opens a descriptor that becomes readable when the process ends. Only for a child that was not reaped: another
/// process's number may be in use again.
pub(crate) fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(ErrorKind::InvalidInput)?;
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}

/// The effective user of this process.
pub(crate) fn user_id() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Keeps processes of the same user out of this one's memory and descriptors (`ptrace`,
/// `/proc/PID/mem`, `/proc/PID/fd`), and its memory out of core dumps.
pub(crate) fn make_non_dumpable() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Raises the limit of descriptors of this process and its children to the maximum, and returns it.
pub(crate) fn raise_descriptor_limit() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// Registers this process for [`process_fence`]. May be called again.
///
/// # Errors
///
/// If the kernel lacks it, or a filter of system calls refuses it.
pub(crate) fn register_process_fence() -> io::Result<()> {
    Ok(membarrier(MembarrierCommand::RegisterPrivateExpedited)?)
}

/// Runs a full fence on every processor that runs a thread of this process, and waits for all of them.
///
/// # Errors
///
/// If the process has not registered.
pub(crate) fn process_fence() -> io::Result<()> {
    Ok(membarrier(MembarrierCommand::PrivateExpedited)?)
}

/// Ends this process at once by SIGKILL.
#[cfg(feature = "kill-points")]
pub(crate) fn kill_this_one() -> ! {
    let _ = rustix::process::kill_process(getpid(), Signal::KILL);
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::os::Socket;
    use crate::os::epoll::{Epoll, Trigger};

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn inherited(descriptor: OwnedFd) -> Inherited {
        Inherited { variable: "TEST_SOCKET", value: String::new(), descriptor: Some(descriptor) }
    }

    fn spawn_with_socket(
        command: Command,
        socket: OwnedFd,
        child_fd: RawFd,
        die_with_parent: bool,
    ) -> io::Result<Child> {
        Program::new(command, child_fd, die_with_parent)?.start(inherited(socket))
    }

    #[test]
    fn a_program_can_be_started_again_with_another_socket() {
        let mut program = Program::new(shell("echo hello >&3"), 3, true).unwrap();
        for _ in 0..3 {
            let (ours, theirs) = Socket::pair().unwrap();
            let mut child = program.start(inherited(theirs.0)).unwrap();
            let mut buffer = [0; 64];
            let received = ours.receive(&mut buffer, 0).unwrap();
            assert_eq!(&buffer[..received.len], b"hello\n");
            assert_eq!(ours.receive(&mut buffer, 0).unwrap().len, 0, "nobody else has it");
            assert!(child.wait().unwrap().success());
        }
    }

    #[test]
    fn a_child_finds_its_socket_at_the_number_and_its_end_is_a_hangup() {
        for number in [3, 9] {
            let (ours, theirs) = Socket::pair().unwrap();
            let script = format!("echo hello >&{number}");
            let mut child = spawn_with_socket(shell(&script), theirs.0, number, false).unwrap();

            let mut buffer = [0; 64];
            let received = ours.receive(&mut buffer, 0).unwrap();
            assert_eq!(&buffer[..received.len], b"hello\n");
            assert_eq!(ours.receive(&mut buffer, 0).unwrap().len, 0);
            assert!(child.wait().unwrap().success());
        }
    }

    #[test]
    fn a_program_that_does_not_exist_is_an_error_here_and_a_hangup_there_whatever_the_number() {
        // One of these numbers is where the pipe that carries the error would have been.
        for number in 3..64 {
            let (ours, theirs) = Socket::pair().unwrap();
            let missing = Command::new("/no/such/program");
            let spawned = spawn_with_socket(missing, theirs.0, number, true);
            assert_eq!(spawned.unwrap_err().kind(), ErrorKind::NotFound, "{number}");
            assert_eq!(ours.receive(&mut [0; 64], 0).unwrap().len, 0, "{number}");
        }
    }

    #[test]
    fn standard_streams_are_not_replaced() {
        let (_ours, theirs) = Socket::pair().unwrap();
        let error = spawn_with_socket(shell("true"), theirs.0, 1, false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn a_child_dies_with_the_thread_that_spawned_it() {
        use std::os::unix::process::ExitStatusExt;

        let (ours, theirs) = Socket::pair().unwrap();
        let spawner = thread::spawn(move || {
            let child =
                spawn_with_socket(shell("echo ready >&3; exec sleep 60"), theirs.0, 3, true);
            assert!(ours.receive(&mut [0; 64], 0).unwrap().len > 0);
            child.unwrap()
        });
        let mut child = spawner.join().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::KILL.as_raw()));
    }

    #[test]
    fn nobody_follows_a_process_that_is_not_the_parent() {
        let error = follow_to_death(getpid()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::SRCH.raw_os_error()));
        set_parent_process_death_signal(None).unwrap();
    }

    #[test]
    fn a_pidfd_is_readable_when_its_process_has_ended() {
        let (ours, theirs) = Socket::pair().unwrap();
        let mut child = spawn_with_socket(shell("read go <&3"), theirs.0, 3, false).unwrap();
        let pidfd = pidfd_open(child.id()).unwrap();
        let epoll = Epoll::new().unwrap();
        epoll.add(&pidfd, 1, Trigger::Level).unwrap();

        let mut events = Vec::new();
        epoll.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.is_empty());

        drop(ours);
        while events.is_empty() {
            epoll.wait(&mut events, None).unwrap();
        }
        assert!(events[0].readable);
        child.wait().unwrap();
    }

    #[test]
    fn the_descriptor_limit_is_raised_as_far_as_it_goes() {
        let raised = raise_descriptor_limit().unwrap();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(limit.current.unwrap_or(u64::MAX), raised);
    }
}
