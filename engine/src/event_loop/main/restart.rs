//! Launching a renderer, and again when it has crashed.
//!
//! A session does not survive its process, so each start has a window of its own. Its rings, request ids
//! and counters belong to one process, and a message for the old process must not reach the new one. A hook
//! tells the application which window replaces which.

use std::{
    io,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    os::process::{CHILD_SOCKET, Program},
    peer::Port,
    policy::Policy,
    session::liveness::GoneReason,
};

/// The cases in which main launches a renderer again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestartPolicy {
    /// In none.
    #[default]
    Never,
    /// When it crashed: it ended with a status other than 0, was killed, or ended before it had connected. Not when
    /// it ended with status 0, was [closed](crate::WebContents::close), hung up, or broke the protocol.
    OnCrash(Restarts),
}

/// The number and the delays of launches after crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restarts {
    /// How many times in a row.
    pub max: u32,
    /// How long after the first crash; twice as long after each further one.
    pub backoff: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
    /// A renderer that lived for this time begins again to count.
    pub forgiven_after: Duration,
}

impl Default for Restarts {
    fn default() -> Self {
        Self {
            max: 5,
            backoff: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
            forgiven_after: Duration::from_secs(60),
        }
    }
}

/// Options of launching a renderer.
#[derive(Clone, Copy, Debug)]
pub struct LaunchOptions {
    /// The kernel kills the renderer when main dies (on Linux only). On by default. If off, the renderer takes
    /// what was committed and ends by itself, or waits for another main
    /// ([`IpcRenderer::reconnect`](crate::IpcRenderer::reconnect)).
    pub die_with_main: bool,
    /// Never launched again, by default.
    pub restart: RestartPolicy,
}

impl Default for LaunchOptions {
    fn default() -> Self {
        Self { die_with_main: true, restart: RestartPolicy::Never }
    }
}

/// A renderer that is to be launched again.
pub(super) struct PendingRestart {
    pub(super) at: Instant,
    pub(super) recipe: Recipe,
    pub(super) old: Arc<Port>,
}

/// All that a renderer is launched with, each time.
pub(super) struct Recipe {
    pub(super) program: Program,
    pub(super) policy: Policy,
    pub(super) options: LaunchOptions,
    /// Crashes in a row.
    crashes: u32,
}

impl Recipe {
    pub(super) fn new(
        command: Command,
        policy: Policy,
        options: LaunchOptions,
    ) -> io::Result<Self> {
        let program = Program::new(command, CHILD_SOCKET, options.die_with_main)?;
        Ok(Self { program, policy, options, crashes: 0 })
    }

    /// Returns the time after which it is launched again, if it is: it went for `reason` after it had lived for
    /// this time.
    pub(super) fn restart_after(
        &mut self,
        reason: &GoneReason,
        lived: Duration,
    ) -> Option<Duration> {
        let RestartPolicy::OnCrash(restarts) = self.options.restart else { return None };
        let crashed = matches!(
            reason,
            GoneReason::AbnormalExit
                | GoneReason::Killed
                | GoneReason::Crashed
                | GoneReason::LaunchFailed
        );
        if !crashed {
            return None;
        }
        if lived >= restarts.forgiven_after {
            self.crashes = 0;
        }
        self.crashes += 1;
        let backoff = 2_u32
            .checked_pow(self.crashes - 1)
            .and_then(|factor| restarts.backoff.checked_mul(factor))
            .map_or(restarts.backoff_max, |backoff| backoff.min(restarts.backoff_max));
        (self.crashes <= restarts.max).then_some(backoff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn recipe(restart: RestartPolicy) -> Recipe {
        let options = LaunchOptions { restart, ..LaunchOptions::default() };
        Recipe::new(Command::new("true"), Policy::deny_all(), options).unwrap()
    }

    fn restarts() -> RestartPolicy {
        RestartPolicy::OnCrash(Restarts {
            max: 4,
            backoff: 10 * MS,
            backoff_max: 50 * MS,
            forgiven_after: 1000 * MS,
        })
    }

    #[test]
    fn each_wait_is_twice_the_last_up_to_a_limit_and_then_it_is_given_up() {
        let mut recipe = recipe(restarts());
        let waits = [(); 6].map(|()| recipe.restart_after(&GoneReason::Crashed, MS));
        assert_eq!(waits, [Some(10 * MS), Some(20 * MS), Some(40 * MS), Some(50 * MS), None, None]);
    }

    #[test]
    fn who_lived_long_enough_begins_again() {
        let mut recipe = recipe(restarts());
        for _ in 0..100 {
            assert_eq!(recipe.restart_after(&GoneReason::Killed, 1000 * MS), Some(10 * MS));
        }
        assert_eq!(recipe.restart_after(&GoneReason::Killed, 999 * MS), Some(20 * MS));
    }

    #[test]
    fn only_a_crash_is_followed_by_a_restart() {
        let violation = crate::wire::frame::Violation::SecondPad;
        for reason in [
            GoneReason::CleanExit,
            GoneReason::Closed,
            GoneReason::Disconnected,
            GoneReason::ProtocolViolation(violation),
        ] {
            assert_eq!(recipe(restarts()).restart_after(&reason, MS), None, "{reason}");
        }
        for reason in [GoneReason::AbnormalExit, GoneReason::LaunchFailed] {
            assert!(recipe(restarts()).restart_after(&reason, MS).is_some(), "{reason}");
            assert_eq!(recipe(RestartPolicy::Never).restart_after(&reason, MS), None);
        }
    }

    #[test]
    fn a_great_number_of_crashes_overflows_nothing() {
        let mut recipe = recipe(RestartPolicy::OnCrash(Restarts {
            max: u32::MAX,
            backoff: Duration::MAX / 2,
            backoff_max: 7 * MS,
            ..Restarts::default()
        }));
        assert!((0..100).all(|_| recipe.restart_after(&GoneReason::Crashed, MS) == Some(7 * MS)));
    }
}
