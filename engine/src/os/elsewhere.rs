//! The system calls on systems that are not Linux, for the portable backend. The sealed backend, with its sockets,
//! eventfds and epolls, is not compiled there. Differences from Linux:
//!
//! - A renderer does not end with its main process. It learns of that end as of any other.
//! - Main's memory is not protected from other processes: those that share it trust each other.
//! - No thread sleeps on a word. The portable backend sleeps on events.
//! - Windows has no numbers of users: all are 0. No other user can open what a user makes there.

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

    /// Ends early, as a wait may. For interrupts without an event; no session here has one.
    pub(crate) fn wait_either(
        _shared: (&AtomicU32, u32),
        _private: (&AtomicU32, u32),
        deadline: Option<Instant>,
    ) -> io::Result<()> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        thread::sleep(left.map_or(PAUSE, |left| left.min(PAUSE)));
        Ok(())
    }

    /// Does nothing: no thread sleeps.
    pub(crate) fn wake_all(_word: &AtomicU32, _scope: Scope) {}
}

/// A thread stays where it runs.
pub(crate) mod processor {
    pub(crate) fn current() -> Option<u32> {
        None
    }

    pub(crate) fn leave(_number: u32) -> bool {
        false
    }

    pub(crate) fn ticks() -> Option<u64> {
        None
    }
}

pub(crate) mod process {
    use std::{
        convert::Infallible,
        io,
        process::{Child, Command},
    };

    fn unsupported<T>() -> io::Result<T> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// A program that can be started several times, each time with a session of its own.
    #[derive(Debug)]
    pub(crate) struct Program(Command);

    /// There are no sockets.
    pub(crate) const CHILD_SOCKET: i32 = 3;

    /// The environment variable by which a child finds its session.
    #[derive(Debug)]
    pub(crate) struct Inherited {
        pub(crate) variable: &'static str,
        pub(crate) value: String,
        pub(crate) descriptor: Option<Infallible>,
    }

    impl Program {
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

    /// The present limit does: a session takes a few descriptors, and passes none on.
    pub(crate) fn raise_descriptor_limit() -> io::Result<u64> {
        unsupported()
    }

    pub(crate) fn register_process_fence() -> io::Result<()> {
        unsupported()
    }

    pub(crate) fn process_fence() -> io::Result<()> {
        unsupported()
    }

    #[cfg(feature = "kill-points")]
    pub(crate) fn kill_this_one() -> ! {
        std::process::abort()
    }
}
