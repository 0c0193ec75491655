//! The system calls of a sandboxed renderer: an allow-list, compiled to BPF by `seccompiler`.
//!
//! Any other call fails with `EPERM`, so that a program sees an error and goes on. Tomorrow's system calls are not on
//! the list.
//!
//! Conditions on arguments allow memory that is not executable, threads but no processes, and signals to this process
//! alone. A filter cannot follow pointers, and `clone3` has its flags in memory. So it fails with `ENOSYS`, and the C
//! library uses `clone`.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter_all_threads,
};

use super::outcome::{Sandbox, SandboxError, SandboxPart};

/// Allowed whatever the arguments.
const ALLOWED: &[i64] = &[
    // Open descriptors, and those that main hands over. Only `fcntl` makes a new one, by duplication. Sockets cannot send
    // descriptors.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
    libc::SYS_close,
    libc::SYS_fstat,
    // Waiting for descriptors (an application's runtime does too), for time, for a bell.
    libc::SYS_ppoll,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_futex_waitv,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_sched_yield,
    libc::SYS_restart_syscall,
    // Memory. Mapping and protecting it have conditions below.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // Threads and this process's own signals.
    libc::SYS_clone3,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Clocks and random numbers.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    // Newer architectures do not have these.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
];

/// `membarrier`: queries, and fences between the threads of this process.
const MEMBARRIERS: [libc::c_int; 3] = [
    libc::MEMBARRIER_CMD_QUERY,
    libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED,
    libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED,
];

/// `fcntl`: nothing that signals another process, or changes an open file that main shares.
const FCNTLS: [libc::c_int; 6] = [
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_DUPFD_CLOEXEC,
    libc::F_ADD_SEALS,
    libc::F_GET_SEALS,
];

/// `prctl`: a thread's name and timer slack, the names of its memory, and `PR_GET_AUXV`, by which libraries find the
/// kernel's clock.
const PRCTLS: [libc::c_int; 6] = [
    libc::PR_SET_NAME,
    libc::PR_GET_NAME,
    libc::PR_SET_TIMERSLACK,
    libc::PR_GET_TIMERSLACK,
    libc::PR_SET_VMA,
    0x4155_5856,
];

/// `ioctl`: a terminal's size and modes, in both forms that libraries use. Nothing that types into a terminal
/// (`TIOCSTI`, `TIOCLINUX`) or takes it from another process.
const IOCTLS: [libc::c_int; 5] = [
    libc::TCGETS as libc::c_int,
    libc::TCGETS2 as libc::c_int,
    libc::TCSETS as libc::c_int,
    libc::TCSETS2 as libc::c_int,
    libc::TIOCGWINSZ as libc::c_int,
];

/// `futex` on memory that others map. Requeueing is not among them: it works on a read-only mapping, and could move
/// another process's sleepers.
const SHARED_FUTEXES: [libc::c_int; 4] =
    [libc::FUTEX_WAIT, libc::FUTEX_WAKE, libc::FUTEX_WAIT_BITSET, libc::FUTEX_WAKE_BITSET];

/// A new thread has these flags and none of [`CLONE_NEVER`].
const CLONE_THREAD: libc::c_int = libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND;
const CLONE_NEVER: libc::c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_IO;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Both programs, ready to be installed.
pub(super) struct Filters {
    /// Makes `clone3` fail with `ENOSYS`.
    not_there: BpfProgram,
    /// Makes everything that is not on the list fail.
    not_allowed: BpfProgram,
}

impl Filters {
    pub(super) fn compile() -> Result<Self, SandboxError> {
        let not_there = Rules::from([(libc::SYS_clone3, Vec::new())]);
        let fail = |error: i32| SeccompAction::Errno(error.cast_unsigned());
        let allowed = allowed(std::process::id())?;
        Ok(Self {
            not_there: compile(not_there, SeccompAction::Allow, fail(libc::ENOSYS))?,
            not_allowed: compile(allowed, fail(libc::EPERM), SeccompAction::Allow)?,
        })
    }

    /// Installs both for every thread of this process.
    pub(super) fn install(&self, sandbox: &mut Sandbox) -> Result<(), SandboxError> {
        let installed = apply_filter_all_threads(&self.not_there)
            .and_then(|()| apply_filter_all_threads(&self.not_allowed));
        let missing = match installed {
            Ok(()) => None,
            Err(Error::Seccomp(error))
                if [Some(libc::ENOSYS), Some(libc::EINVAL)].contains(&error.raw_os_error()) =>
            {
                Some(format!("the kernel has no filters of system calls: {error}"))
            }
            Err(error) => return Err(refused(error)),
        };
        sandbox.note(SandboxPart::SystemCalls, missing);
        Ok(())
    }
}

fn compile(
    rules: Rules,
    otherwise: SeccompAction,
    matching: SeccompAction,
) -> Result<BpfProgram, SandboxError> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(refused)?;
    let filter = SeccompFilter::new(rules, otherwise, matching, architecture).map_err(refused)?;
    filter.try_into().map_err(refused)
}

/// Returns the list with its conditions. `process` is this process.
fn allowed(process: u32) -> Result<Rules, SandboxError> {
    let mut rules: Rules = ALLOWED.iter().map(|number| (*number, Vec::new())).collect();
    let not_executable = || when([masked(2, libc::PROT_EXEC, 0)]);
    let one_of = |argument, values: &[libc::c_int]| {
        values.iter().map(|value| when([equal(argument, *value)])).collect::<Result<Vec<_>, _>>()
    };
    let shared = !(libc::FUTEX_CLOCK_REALTIME | libc::FUTEX_PRIVATE_FLAG);
    let mut futexes = vec![when([masked(1, libc::FUTEX_PRIVATE_FLAG, libc::FUTEX_PRIVATE_FLAG)])?];
    for operation in SHARED_FUTEXES {
        futexes.push(when([masked(1, shared, operation)])?);
    }
    rules.extend([
        (libc::SYS_mmap, vec![not_executable()?]),
        (libc::SYS_mprotect, vec![not_executable()?]),
        (libc::SYS_clone, vec![when([masked(0, CLONE_THREAD | CLONE_NEVER, CLONE_THREAD)])?]),
        (libc::SYS_tgkill, vec![when([equal(0, process.cast_signed())])?]),
        // Reading its own limits, as the C library does for the size of stacks.
        (libc::SYS_prlimit64, vec![when([equal(0, 0), pointer(2, 0)])?]),
        (libc::SYS_futex, futexes),
        // Where this process's own threads run.
        (libc::SYS_sched_setaffinity, vec![when([equal(0, 0)])?]),
        (libc::SYS_membarrier, one_of(0, &MEMBARRIERS)?),
        (libc::SYS_fcntl, one_of(1, &FCNTLS)?),
        (libc::SYS_prctl, one_of(0, &PRCTLS)?),
        (libc::SYS_ioctl, one_of(1, &IOCTLS)?),
    ]);
    Ok(rules)
}

type Condition = Result<SeccompCondition, seccompiler::BackendError>;

fn when<const COUNT: usize>(conditions: [Condition; COUNT]) -> Result<SeccompRule, SandboxError> {
    let conditions = conditions.into_iter().collect::<Result<_, _>>().map_err(refused)?;
    SeccompRule::new(conditions).map_err(refused)
}

/// The kernel takes these arguments as 32 bits. No flag in a 64-bit argument is above.
fn equal(argument: u8, value: libc::c_int) -> Condition {
    let value = u64::from(value.cast_unsigned());
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

fn masked(argument: u8, mask: libc::c_int, value: libc::c_int) -> Condition {
    let [mask, value] = [mask, value].map(|bits| u64::from(bits.cast_unsigned()));
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), value)
}

fn pointer(argument: u8, value: u64) -> Condition {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value)
}

fn refused(error: impl std::error::Error + Send + Sync + 'static) -> SandboxError {
    SandboxError::SystemCalls(Box::new(error))
}
