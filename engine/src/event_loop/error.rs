//! Errors of running a loop, and of launching a renderer.

use std::io;

use crate::sync::reentrancy::RunRefused;

/// An error of launching a renderer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// The program could not be started.
    #[error("cannot launch the renderer '{program}': {source}")]
    Spawn {
        /// The program.
        program: String,
        /// The system's error.
        source: io::Error,
    },
    /// Its memory or socket could not be made.
    #[error(
        "cannot prepare a renderer's session ({what}): {source}; is a limit of descriptors or memory reached?"
    )]
    Resources {
        /// The failed part.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The policy names a channel that main's contract does not have.
    #[error("the policy allows the channel '{channel}', which main's contract does not have")]
    UnknownChannel {
        /// The channel.
        channel: &'static str,
    },
    /// Main has its maximum of windows.
    #[error("there are {max} windows already, the most that this main allows")]
    TooManyWindows {
        /// The limit.
        max: usize,
    },
    /// Main has been closed.
    #[error("this main process has been closed")]
    Closed,
}

/// An error of `run` or `poll`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Called from inside a listener or handler, which the loop itself runs.
    #[error("run and poll cannot be called inside a listener or handler")]
    InsideListener,
    /// Another thread is running the loop.
    #[error("another thread is running this loop")]
    AlreadyRunning,
    /// The main process is gone.
    #[error("the main process is gone")]
    MainGone,
    /// The operating system refused.
    #[error("the loop cannot wait: {0}")]
    Io(#[from] io::Error),
}

impl From<RunRefused> for RunError {
    fn from(refused: RunRefused) -> Self {
        match refused {
            RunRefused::InsideListener => Self::InsideListener,
            RunRefused::AlreadyRunning => Self::AlreadyRunning,
        }
    }
}
