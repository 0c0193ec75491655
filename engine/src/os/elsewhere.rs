//! The operating system's part on systems that are not Linux, for the portable backend. The sealed backend, with its
//! sockets, eventfds and epolls, is not compiled there.
//!
//! What does run here is in [`process`] and [`clock`], and does less than on Linux:
//!
//! - Nothing ends a renderer with its main process. It learns of that end as it does of any other.
//! - No process is kept out of this one's memory: those who share it trust each other anyway.
//! - Nobody sleeps on a word. What sleeps does so on an event, which no part of this module is.
//! - Windows has no users' numbers: all are 0. Nobody else can open what a user makes there.
//! - Windows has no clock that all processes read alike as a number, so a renderer never says when it will
//!   wake up by itself, and is rung then too.

use std::io::{self, ErrorKind};

fn unsupported<T>() -> io::Result<T> {
    Err(ErrorKind::Unsupported.into())
}

pub(crate) mod clock {
    use std::time::Instant;

    /// Nanoseconds since boot; on Windows always 0, as [`alarm_ns`] has nothing to be compared with.
    pub(crate) fn now_ns() -> u64 {
        #[cfg(unix)]
        {
            use rustix::time::{ClockId, clock_gettime};
            let now = clock_gettime(ClockId::Monotonic);
            // Neither part is ever negative for this clock, and 584 years fit.
            now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
        }
        #[cfg(not(unix))]
        0
    }

    /// `instant` on the scale of [`now_ns`] as other processes read it, if they do.
    pub(crate) fn alarm_ns(instant: Instant) -> Option<u64> {
        let ahead = instant.saturating_duration_since(Instant::now());
        let at = now_ns().saturating_add(u64::try_from(ahead.as_nanos()).unwrap_or(u64::MAX));
        cfg!(unix).then_some(at)
    }

    /// Sleeps end when the system says so.
    #[derive(Debug)]
    pub(crate) struct Punctual;

    impl Punctual {
        pub(crate) fn begin() -> Self {
            Self
        }
    }
}

pub(crate) mod futex {
    use std::{
        io, thread,
        time::{Duration, Instant},
    };

    use crate::primitives::AtomicU32;

    const PAUSE: Duration = Duration::from_millis(1);

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Scope {
        Shared,
        Private,
    }

    /// Ends early, as a wait may, and so before the word has changed. For interrupts without an event, of which no
    /// session here has any.
    pub(crate) fn wait_either(
        _shared: &AtomicU32,
        _shared_seen: u32,
        _private: &AtomicU32,
        _private_seen: u32,
        deadline: Option<Instant>,
    ) -> io::Result<()> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        thread::sleep(left.map_or(PAUSE, |left| left.min(PAUSE)));
        Ok(())
    }

    /// Nobody sleeps.
    pub(crate) fn wake(_word: &AtomicU32, _count: u32, _scope: Scope) -> io::Result<usize> {
        Ok(0)
    }
}

/// A thread stays where it runs.
pub(crate) mod processor {
    pub(crate) fn current() -> Option<u32> {
        None
    }

    pub(crate) fn leave(_number: u32) -> bool {
        false
    }
}

pub(crate) mod membarrier {
    use super::*;

    pub(crate) fn register_process_fence() -> io::Result<()> {
        unsupported()
    }

    pub(crate) fn process_fence() -> io::Result<()> {
        unsupported()
    }
}

pub(crate) mod process {
    use std::process::{Child, Command};

    use super::*;

    /// A program that can be started again and again, each time with a session of its own.
    #[derive(Debug)]
    pub(crate) struct Program(Command);

    /// There are no sockets.
    pub(crate) const CHILD_SOCKET: i32 = 3;

    #[derive(Debug)]
    pub(crate) enum Never {}

    /// By what a child finds its session: an environment variable.
    #[derive(Debug)]
    pub(crate) struct Inherited {
        pub(crate) variable: &'static str,
        pub(crate) value: String,
        pub(crate) descriptor: Option<Never>,
    }

    impl Program {
        /// There is no descriptor to be put at a number, and nothing that ends a child with its parent.
        pub(crate) fn new(command: Command, _: i32, _: bool) -> io::Result<Self> {
            Ok(Self(command))
        }

        pub(crate) fn name(&self) -> String {
            self.0.get_program().to_string_lossy().into_owned()
        }

        pub(crate) fn start(&mut self, inherited: Inherited) -> io::Result<Child> {
            self.0.env(inherited.variable, inherited.value).spawn()
        }
    }

    pub(crate) fn user_id() -> u32 {
        #[cfg(unix)]
        return rustix::process::geteuid().as_raw();
        #[cfg(not(unix))]
        0
    }

    pub(crate) fn make_non_dumpable() -> io::Result<()> {
        Ok(())
    }

    /// As many as it has do: a session takes a few, and no more are passed on.
    pub(crate) fn raise_descriptor_limit() -> io::Result<u64> {
        unsupported()
    }

    #[cfg(feature = "kill-points")]
    pub(crate) fn kill_this_one() -> ! {
        std::process::abort()
    }
}
