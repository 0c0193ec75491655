//! Removal of rights from threads: capabilities, new privileges, and the objects of a Landlock ruleset.
//!
//! Linux keeps these rights for each thread, and a thread can change its own only. The threads share their
//! memory, so one unconfined thread is enough to escape. So a signal interrupts each running thread in turn, and
//! its handler confines the thread, as in libpsx and Go's runtime. (Landlock can do that itself since Linux 7.0,
//! capabilities cannot.) A later thread inherits the rights of the thread that starts it.
//!
//! The signal is SIGURG: programs rarely block it, and it is ignored by default. The application's handler is
//! restored.

#![allow(unsafe_code, reason = "a signal's handler, and system calls that rustix does not have")]

use std::{
    fs,
    io::{self, ErrorKind},
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::getpid,
    thread::{
        CapabilitySet, CapabilitySets, gettid, remove_capability_from_bounding_set,
        set_capabilities, set_no_new_privs,
    },
};

use crate::{
    os::futex::{self, Scope},
    primitives::{
        AtomicU32,
        Ordering::{Acquire, Relaxed, Release},
    },
};

const SIGNAL: libc::c_int = libc::SIGURG;
/// The longest time until a thread has run the handler.
const PATIENCE: Duration = Duration::from_secs(5);
/// The time between two checks whether the thread has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// The most passes over the list of threads. A thread that was started meanwhile is confined twice, since it
/// cannot be told from an unconfined one, and the kernel limits the layers.
const PASSES_MAX: usize = 8;

/// Removes the calling thread's capabilities for good, and the way to new ones by `exec`.
pub(crate) fn confine_this_thread() -> io::Result<()> {
    Ok(give_up(None)?)
}

/// Removes the same from every other thread of this process, and confines it to `ruleset`.
///
/// Call it from one thread at a time, and confine that one last: a Landlock ruleset may forbid it to send
/// signals.
///
/// # Errors
///
/// If a thread could not be confined; others may be. A thread that blocks the signal is an
/// [`ErrorKind::TimedOut`].
pub(crate) fn confine_other_threads(ruleset: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let _handler = Handler::install()?;
    let mut confined = vec![gettid().as_raw_pid().cast_unsigned()];
    for _ in 0..PASSES_MAX {
        let known = confined.len();
        for thread in threads()? {
            if !confined.contains(&thread) {
                TURN.take(thread, ruleset)
                    .map_err(|error| io::Error::new(error.kind(), format!("{thread}: {error}")))?;
                confined.push(thread);
            }
        }
        // A confined thread has started each thread that is not on the list.
        if confined.len() == known {
            return Ok(());
        }
    }
    Err(io::Error::new(ErrorKind::TimedOut, "threads start faster than they can be confined"))
}

fn threads() -> io::Result<Vec<u32>> {
    let number = |name: std::ffi::OsString| name.to_str().and_then(|name| name.parse().ok());
    fs::read_dir("/proc/self/task")?
        .map(|entry| number(entry?.file_name()).ok_or_else(|| ErrorKind::InvalidData.into()))
        .collect()
}

/// Confines this thread. It also runs in a signal handler: it only makes system calls, and does not allocate.
fn give_up(ruleset: Option<libc::c_int>) -> Result<(), Errno> {
    for number in 0..u64::BITS {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            Ok(()) => {}
            // INVAL: there are no more. PERM: this thread has no capabilities to lose, and an exec without
            // new privileges gives it none.
            Err(Errno::INVAL | Errno::PERM) => break,
            Err(error) => return Err(error),
        }
    }
    let none = CapabilitySet::empty();
    // The ambient set is never more than these.
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    set_no_new_privs(true)?;
    let Some(ruleset) = ruleset else { return Ok(()) };
    // SAFETY: the call takes two numbers, and reads no memory of this process.
    let refused = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0) } != 0;
    if refused { Err(last_error()) } else { Ok(()) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

/// The thread that confines itself next, its ruleset, and the outcome.
struct Turn {
    thread: AtomicU32,
    /// A descriptor's number, or [`NONE`].
    ruleset: AtomicU32,
    /// [`PENDING`], the number of the confined thread, or [`FAILED`] and the number of an error. A futex.
    ///
    /// The thread's number tells a late answer from that of the next thread.
    outcome: AtomicU32,
}

static TURN: Turn = Turn {
    thread: AtomicU32::new(NOBODY),
    ruleset: AtomicU32::new(NONE),
    outcome: AtomicU32::new(PENDING),
};

const NOBODY: u32 = 0;
const NONE: u32 = u32::MAX;
const PENDING: u32 = 0;
/// No thread's number has this bit.
const FAILED: u32 = 1 << 31;

impl Turn {
    /// Makes `thread` confine itself, and waits until it has, or has ended.
    fn take(&self, thread: u32, ruleset: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let ruleset = ruleset.map_or(NONE, |ruleset| ruleset.as_raw_fd().cast_unsigned());
        self.ruleset.store(ruleset, Relaxed);
        self.outcome.store(PENDING, Relaxed);
        // No model: a signal handler takes part, and loom knows none.
        // Relaxed above, below: this store orders them.
        // Release: pairs with the Acquire in `respond`; makes the rule set and the pending outcome visible.
        self.thread.store(thread, Release);
        let ended = self.wait_for(thread);
        // A late handler finds another number here.
        self.thread.store(NOBODY, Relaxed);
        ended
    }

    fn wait_for(&self, thread: u32) -> io::Result<()> {
        if !signal(thread, SIGNAL)? {
            return Ok(());
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            // No model: as in `take`.
            // Acquire: pairs with the Release in `respond`; makes the thread's rights visible.
            let outcome = self.outcome.load(Acquire);
            if outcome == thread {
                return Ok(());
            }
            if outcome & FAILED != 0 {
                return Err(io::Error::from_raw_os_error((outcome & !FAILED).cast_signed()));
            }
            if !signal(thread, 0)? {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(io::Error::new(ErrorKind::TimedOut, "it blocks SIGURG, or is stopped"));
            }
            futex::wait(&self.outcome, outcome, Some(LOOK_AGAIN), Scope::Private)?;
        }
    }

    /// Runs in the handler, on any thread.
    fn respond(&self) {
        let me = gettid().as_raw_pid().cast_unsigned();
        // No model: as in `take`.
        // Acquire: pairs with the Release in `take`; makes the ruleset visible.
        if self.thread.load(Acquire) != me {
            return;
        }
        let ruleset = self.ruleset.load(Relaxed);
        let ruleset = (ruleset != NONE).then(|| ruleset.cast_signed());
        let outcome = match give_up(ruleset) {
            Ok(()) => me,
            Err(error) => FAILED | error.raw_os_error().cast_unsigned(),
        };
        // Release: pairs with the Acquire in `wait_for`; makes the thread's rights visible.
        self.outcome.store(outcome, Release);
        futex::wake_all(&self.outcome, Scope::Private);
    }
}

/// Sends a signal to a thread of this process, or with 0 only looks for it. `false`: the thread has ended.
fn signal(thread: u32, signal: libc::c_int) -> io::Result<bool> {
    let process = getpid().as_raw_pid();
    // SAFETY: the call takes three numbers, and reads no memory of this process. The kernel checks that the
    // thread belongs to this process.
    let failed = unsafe { libc::syscall(libc::SYS_tgkill, process, thread, signal) } != 0;
    match failed.then(last_error) {
        None => Ok(true),
        Some(Errno::SRCH) => Ok(false),
        Some(error) => Err(error.into()),
    }
}

/// The installed handler. Dropping it restores the one before.
struct Handler {
    before: libc::sigaction,
}

impl Handler {
    fn install() -> io::Result<Self> {
        let handler: extern "C" fn(libc::c_int) = on_signal;
        // SAFETY: all zeroes are a value of this plain struct, with no handler and an empty mask.
        let (mut action, mut before): (libc::sigaction, libc::sigaction) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        action.sa_sigaction = handler as libc::sighandler_t;
        // Interrupted system calls go on, where the kernel can do that. The handler runs on the thread's
        // alternate stack, if it has one, since its own may be small.
        action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
        // SAFETY: both pointers are to structs of this frame. The handler is async-signal-safe: it makes
        // system calls, uses atomics, and leaves errno as it was.
        if unsafe { libc::sigaction(SIGNAL, &action, &mut before) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { before })
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        // SAFETY: the kernel gave this struct for this signal.
        unsafe { libc::sigaction(SIGNAL, &self.before, ptr::null_mut()) };
    }
}

extern "C" fn on_signal(_: libc::c_int) {
    // SAFETY: errno belongs to this thread and lives as long as it.
    let errno = unsafe { *libc::__errno_location() };
    TURN.respond();
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}
