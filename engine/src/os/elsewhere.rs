//! What stands in for Linux's own on systems that are not Linux: names that the portable backend has no use for.
//!
//! Without sealed memory there are no sockets, eventfds and epolls either: their types have no values, what would make
//! one fails, and what would use one need not be written. So the code above names them and is compiled everywhere, and
//! no part of it runs.
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

/// What there is none of.
#[derive(Debug)]
enum Never {}

/// A descriptor that another process can be given.
#[derive(Debug)]
pub(crate) struct OwnedFd(Never);

pub(crate) type BorrowedFd<'a> = &'a OwnedFd;

impl OwnedFd {
    pub(crate) fn never<T>(&self) -> T {
        match self.0 {}
    }
}

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

pub(crate) mod membarrier {
    use super::*;

    pub(crate) fn register_process_fence() -> io::Result<()> {
        unsupported()
    }

    pub(crate) fn process_fence() -> io::Result<()> {
        unsupported()
    }
}

pub(crate) mod eventfd {
    use super::*;

    #[derive(Debug)]
    pub(crate) struct EventFd(OwnedFd);

    impl EventFd {
        pub(crate) fn new() -> io::Result<Self> {
            unsupported()
        }

        pub(crate) fn try_clone(&self) -> io::Result<Self> {
            self.0.never()
        }

        pub(crate) fn ring(&self) -> io::Result<()> {
            self.0.never()
        }
    }

    impl From<OwnedFd> for EventFd {
        fn from(descriptor: OwnedFd) -> Self {
            Self(descriptor)
        }
    }

    impl From<EventFd> for OwnedFd {
        fn from(event: EventFd) -> Self {
            event.0
        }
    }
}

pub(crate) mod epoll {
    use std::time::Duration;

    pub(crate) use super::super::report::Event;
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Trigger {
        Level,
        Edge,
    }

    #[derive(Debug)]
    pub(crate) struct Epoll(Never);

    impl Epoll {
        pub(crate) fn new() -> io::Result<Self> {
            unsupported()
        }

        pub(crate) fn add<S>(&self, _: S, _: u64, _: Trigger) -> io::Result<()> {
            match self.0 {}
        }

        pub(crate) fn remove<S>(&self, _: S) -> io::Result<()> {
            match self.0 {}
        }

        pub(crate) fn wait(&self, _: &mut Vec<Event>, _: Option<Duration>) -> io::Result<()> {
            match self.0 {}
        }
    }
}

pub(crate) mod socket {
    use std::{path::Path, time::Duration};

    pub(crate) use super::super::report::{Credentials, Readiness};
    use super::*;

    #[derive(Debug)]
    pub(crate) struct Socket(OwnedFd);

    #[derive(Debug)]
    pub(crate) struct ReceivedPacket {
        pub(crate) len: usize,
        pub(crate) descriptors: Vec<OwnedFd>,
    }

    impl Socket {
        pub(crate) fn pair() -> io::Result<(Self, Self)> {
            unsupported()
        }

        /// Nobody listens.
        pub(crate) fn connect(_: &Path) -> io::Result<Self> {
            Err(ErrorKind::NotFound.into())
        }

        pub(crate) fn inherited(_: i32) -> io::Result<Self> {
            unsupported()
        }

        pub(crate) fn send(&self, _: &[u8], _: &[BorrowedFd<'_>]) -> io::Result<()> {
            self.0.never()
        }

        pub(crate) fn try_send(&self, _: &[u8], _: &[BorrowedFd<'_>]) -> io::Result<()> {
            self.0.never()
        }

        pub(crate) fn try_receive(&self, _: &mut [u8], _: usize) -> io::Result<ReceivedPacket> {
            self.0.never()
        }

        pub(crate) fn peer_credentials(&self) -> io::Result<Credentials> {
            self.0.never()
        }

        pub(crate) fn shutdown(&self) -> io::Result<()> {
            self.0.never()
        }

        pub(crate) fn poll_readable(&self, _: Option<Duration>) -> io::Result<Readiness> {
            self.0.never()
        }
    }

    impl From<Socket> for OwnedFd {
        fn from(socket: Socket) -> Self {
            socket.0
        }
    }

    #[derive(Debug)]
    pub(crate) struct Listener(Never);

    impl Listener {
        pub(crate) fn bind(_: &Path) -> io::Result<Self> {
            unsupported()
        }

        pub(crate) fn accept(&self) -> io::Result<Option<Socket>> {
            match self.0 {}
        }
    }
}

pub(crate) mod process {
    use std::process::{Child, Command};

    use super::*;

    /// A program that can be started again and again, each time with a session of its own.
    #[derive(Debug)]
    pub(crate) struct Program(Command);

    /// By what a child finds its session, and the environment variable that tells it so.
    #[derive(Debug)]
    pub(crate) enum Inherited {
        Descriptor { variable: &'static str, descriptor: OwnedFd },
        Name { variable: &'static str, value: String },
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
            match inherited {
                Inherited::Descriptor { descriptor, .. } => descriptor.never(),
                Inherited::Name { variable, value } => self.0.env(variable, value).spawn(),
            }
        }
    }

    pub(crate) fn pidfd_open(_pid: u32) -> io::Result<OwnedFd> {
        unsupported()
    }

    pub(crate) fn group_id() -> u32 {
        #[cfg(unix)]
        return rustix::process::getegid().as_raw();
        #[cfg(not(unix))]
        0
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
