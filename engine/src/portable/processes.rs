//! The processes that run on this machine.
//!
//! A look is slow (docs/performance.md), so it is for doubts. A zombie has ended.

use std::io;

use sysinfo::{Pid, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System};

use crate::portable::rendezvous::ProcessIdentity;

/// The largest difference of two readings of one process's start, in seconds. Each is rounded.
const START_DIFFERS_MAX: u64 = 2;

pub(crate) struct Processes(System);

impl Processes {
    pub(crate) fn new() -> io::Result<Self> {
        System::new().map(Self).map_err(|error| io::Error::other(error.to_string()))
    }

    /// This process, as others will see it.
    pub(crate) fn this(&mut self) -> io::Result<ProcessIdentity> {
        let pid = std::process::id();
        let started = self.started(pid).ok_or_else(|| {
            io::Error::other("this process cannot see itself among those that run: is /proc there?")
        })?;
        Ok(ProcessIdentity { pid, started, namespace: namespace() })
    }

    /// When the process of this number was started, in seconds since 1970, if one runs.
    pub(crate) fn started(&mut self, pid: u32) -> Option<u64> {
        let pid = Pid::from_u32(pid);
        self.0.refresh_processes_specifics(
            ProcessesToUpdate::Some(&[pid]),
            true,
            ProcessRefreshKind::nothing().without_tasks(),
        );
        let process = self.0.process(pid)?;
        let has_ended = matches!(process.status(), ProcessStatus::Zombie | ProcessStatus::Dead);
        (!has_ended).then(|| process.start_time())
    }

    /// Returns whether the process, while it runs, is found here by its number.
    pub(crate) fn can_see(process: ProcessIdentity) -> bool {
        process.namespace != 0 && process.namespace == namespace()
    }

    /// Returns whether this very process runs.
    pub(crate) fn is_running(&mut self, process: ProcessIdentity) -> bool {
        self.started(process.pid)
            .is_some_and(|started| started.abs_diff(process.started) <= START_DIFFERS_MAX)
    }
}

/// The namespace of the numbers of processes. On Linux containers have their own, elsewhere all processes share one.
fn namespace() -> u64 {
    #[cfg(target_os = "linux")]
    return std::fs::metadata("/proc/self/ns/pid")
        .map_or(0, |found| std::os::unix::fs::MetadataExt::ino(&found));
    #[cfg(not(target_os = "linux"))]
    return 1;
}

/// The group of this process. 0 where there are none.
pub(crate) fn group_id() -> u32 {
    #[cfg(unix)]
    return rustix::process::getegid().as_raw();
    #[cfg(not(unix))]
    return 0;
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_runs_until_it_has_ended_whether_it_was_reaped_or_not() {
        let mut processes = Processes::new().unwrap();
        let this = processes.this().unwrap();
        assert!(processes.is_running(this));
        let other_start = ProcessIdentity { started: this.started - 100, ..this };
        assert!(!processes.is_running(other_start), "its number was another's before");

        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        let started = processes.started(pid).unwrap();
        let identity = ProcessIdentity { pid, started, ..processes.this().unwrap() };
        assert!(processes.is_running(identity));
        drop(child.stdin.take());
        // Its end takes a moment.
        while processes.is_running(identity) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(!processes.is_running(identity));
        assert!(Processes::can_see(identity), "it would be seen if it ran");
        let elsewhere = ProcessIdentity { namespace: identity.namespace + 1, ..identity };
        assert!(!Processes::can_see(elsewhere));
    }
}
