//! The end of a process: from its exit status to Electron's words.

use std::{fmt, process::ExitStatus};

use crate::wire::frame::Violation;

/// The reason of a process's end, in Electron's words where Electron has them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GoneReason {
    /// It ended with status 0.
    CleanExit,
    /// It ended with another status.
    AbnormalExit,
    /// It was sent SIGINT, SIGTERM or SIGKILL.
    Killed,
    /// It died of another signal, such as SIGSEGV.
    Crashed,
    /// It did not start, or did not finish the handshake.
    LaunchFailed,
    /// It broke the protocol, and its session was ended.
    ProtocolViolation(Violation),
    /// It hung up. It was not launched here, so its exit status is unknown.
    Disconnected,
    /// This process closed the session.
    Closed,
    /// The main process is gone (seen from a renderer).
    MainGone,
}

impl GoneReason {
    /// The name as Electron writes it: `clean-exit`, `killed` …
    pub fn name(&self) -> &'static str {
        match self {
            Self::CleanExit => "clean-exit",
            Self::AbnormalExit => "abnormal-exit",
            Self::Killed => "killed",
            Self::Crashed => "crashed",
            Self::LaunchFailed => "launch-failed",
            Self::ProtocolViolation(_) => "protocol-violation",
            Self::Disconnected => "disconnected",
            Self::Closed => "closed",
            Self::MainGone => "main-gone",
        }
    }
}

impl fmt::Display for GoneReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProtocolViolation(violation) => write!(f, "{}: {violation}", self.name()),
            _ => f.write_str(self.name()),
        }
    }
}

/// The reason, and the exit code or the signal's number.
pub(crate) fn reason_of(status: ExitStatus) -> (GoneReason, i32) {
    match (status.code(), signal_of(status)) {
        (Some(0), _) => (GoneReason::CleanExit, 0),
        (Some(code), _) => (GoneReason::AbnormalExit, code),
        // SIGINT, SIGKILL, SIGTERM: the same numbers on every Unix.
        (None, Some(signal @ (2 | 9 | 15))) => (GoneReason::Killed, signal),
        (None, Some(signal)) => (GoneReason::Crashed, signal),
        // No end: waiting reports only ends.
        (None, None) => (GoneReason::AbnormalExit, -1),
    }
}

#[cfg(unix)]
fn signal_of(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

/// There are no signals.
#[cfg(not(unix))]
fn signal_of(_: ExitStatus) -> Option<i32> {
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn an_end_has_electrons_name() {
        let exited = |code: i32| ExitStatus::from_raw(code << 8);
        let signalled = ExitStatus::from_raw;
        assert_eq!(reason_of(exited(0)), (GoneReason::CleanExit, 0));
        assert_eq!(reason_of(exited(3)), (GoneReason::AbnormalExit, 3));
        assert_eq!(reason_of(signalled(9)), (GoneReason::Killed, 9));
        assert_eq!(reason_of(signalled(15)), (GoneReason::Killed, 15));
        assert_eq!(reason_of(signalled(11)), (GoneReason::Crashed, 11));
    }
}
