//! Taking rights away from threads: capabilities, new privileges, and what a Landlock ruleset names.
//!
//! Linux keeps these for each thread, and lets a thread change its own only. A process is confined when
//! all of its threads are: one that is left out is enough, since they share their memory. So the threads
//! that run already are interrupted by a signal, one after the other, and each does it in the handler, as
//! libpsx and Go's runtime do. (Landlock itself can do it since Linux 7.0, capabilities cannot.) Threads
//! that start later have what the thread that starts them has.
//!
//! The signal is SIGURG: hardly anybody blocks it, and one that comes when the handler is gone is
//! ignored. What the application has installed for it is put back.

#![allow(unsafe_code, reason = "a signal's handler, and system calls that rustix does not have")]

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::getpid;
use rustix::thread::{
    CapabilitySet, CapabilitySets, gettid, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};

use crate::os::futex::{self, Scope};
use crate::primitives::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};

const SIGNAL: libc::c_int = libc::SIGURG;
/// How long a thread may take until it has run the handler.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at whether it has ended instead.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How often the list of threads is looked at. A thread that was started meanwhile is confined once more
/// than it need be, since nothing tells it from one that is not; and the kernel counts the layers.
const PASSES_MAX: usize = 8;

/// Takes from the calling thread, for good: its capabilities, and the way to new ones by `exec`.
pub(crate) fn confine_this_thread() -> io::Result<()> {
    Ok(give_up(None)?)
}

/// Takes the same from every other thread of this process, and confines it to `ruleset`.
///
/// Call it from one thread at a time, and confine that one last: a Landlock ruleset may keep it from
/// sending signals.
///
/// # Errors
///
/// If a thread could not be confined; others may be. A thread that blocks the signal ends as
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
        // Whoever is not on the list was started by one who was confined already.
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

/// Runs in a handler too: makes system calls only, and allocates nothing.
fn give_up(ruleset: Option<libc::c_int>) -> Result<(), Errno> {
    for number in 0..u64::BITS {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            Ok(()) => {}
            // There are no more; or this thread may not, and then has none to lose, and gets none
            // by an exec without new privileges.
            Err(Errno::INVAL | Errno::PERM) => break,
            Err(error) => return Err(error),
        }
    }
    let none = CapabilitySet::empty();
    // The ambient set is never more than these.
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    set_no_new_privs(true)?;
    let Some(ruleset) = ruleset else { return Ok(()) };
    // SAFETY: the call takes two numbers, and looks at no memory of this process.
    let refused = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0) } != 0;
    if refused { Err(last_error()) } else { Ok(()) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

/// Whose turn it is, what it is confined to, and how that went.
struct Turn {
    thread: AtomicU32,
    /// A descriptor's number, or [`NONE`].
    ruleset: AtomicU32,
    /// [`PENDING`], the number of the thread that has done it, or [`FAILED`] and the number of an error. A futex.
    ///
    /// The thread's number, so that one which answers when it was given up already is not taken for the next.
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
    /// Has `thread` confine itself, and waits until it has, or has ended.
    fn take(&self, thread: u32, ruleset: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let ruleset = ruleset.map_or(NONE, |ruleset| ruleset.as_raw_fd().cast_unsigned());
        self.ruleset.store(ruleset, Relaxed);
        self.outcome.store(PENDING, Relaxed);
        // No model: a signal handler takes part, and loom knows none.
        // Relaxed above, below: this store orders them.
        // Release: pairs with the Acquire in `respond`; makes the rule set and the pending outcome visible.
        self.thread.store(thread, Release);
        let ended = self.wait_for(thread);
        // A handler that comes late finds that it is not meant.
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
            // Acquire: pairs with the Release in `respond`.
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

    /// In the handler, on any thread.
    fn respond(&self) {
        let me = gettid().as_raw_pid().cast_unsigned();
        // No model: as in `take`.
        // Acquire: pairs with the Release in `take`.
        if self.thread.load(Acquire) != me {
            return;
        }
        let ruleset = self.ruleset.load(Relaxed);
        let ruleset = (ruleset != NONE).then(|| ruleset.cast_signed());
        let outcome = match give_up(ruleset) {
            Ok(()) => me,
            Err(error) => FAILED | error.raw_os_error().cast_unsigned(),
        };
        self.outcome.store(outcome, Release);
        // A waiter that is not woken looks again by itself.
        let _ = futex::wake(&self.outcome, 1, Scope::Private);
    }
}

/// Sends a signal to a thread of this process, or with 0 looks for it; `false` if it has ended.
fn signal(thread: u32, signal: libc::c_int) -> io::Result<bool> {
    let process = getpid().as_raw_pid();
    // SAFETY: the call takes three numbers, and looks at no memory of this process. The thread's number
    // cannot be another process's thread: the kernel compares it with the process.
    let failed = unsafe { libc::syscall(libc::SYS_tgkill, process, thread, signal) } != 0;
    match failed.then(last_error) {
        None => Ok(true),
        Some(Errno::SRCH) => Ok(false),
        Some(error) => Err(error.into()),
    }
}

/// The handler is installed while this lives; then what was there before is.
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
        // What is interrupted goes on, where the kernel can do that; on the stack for handlers if the
        // thread has one, since its own may be small.
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
        // SAFETY: the struct is what the kernel has given for this signal.
        unsafe { libc::sigaction(SIGNAL, &self.before, ptr::null_mut()) };
    }
}

extern "C" fn on_signal(_: libc::c_int) {
    // SAFETY: the place is this thread's own, and is there as long as the thread.
    let errno = unsafe { *libc::__errno_location() };
    TURN.respond();
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}
