//! A test's other process: the test program once more, with one test in it, which plays another role.

use std::{
    env,
    os::unix::process::ExitStatusExt,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const ROLE: &str = "RINGBRIDGE_TEST_ROLE";

/// Longer than anything takes that does not hang.
const BOUND: Duration = Duration::from_secs(30);

/// Killed with this.
pub(crate) struct OtherProcess(Child);

impl OtherProcess {
    /// Runs the test `function` of the module (`module_path!()`), whose [`role`] is then this.
    pub(crate) fn start(module: &str, function: &str, role: &str) -> Self {
        let (_crate, module) = module.split_once("::").unwrap();
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", &format!("{module}::{function}"), "--nocapture"])
            .env(ROLE, role)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Ends it with SIGKILL, wherever it is.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        let status = self.0.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "it ended before: {status}");
    }

    /// Waits for its end, and that it ended well.
    pub(crate) fn succeeds(mut self) {
        let status = self.0.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for OtherProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What this process was started for, if it is another test's.
pub(crate) fn role() -> Option<String> {
    env::var(ROLE).ok()
}

/// Waits for what another thread or process does, and fails if that takes too long.
#[track_caller]
pub(crate) fn until(what: impl Fn() -> bool) {
    let began = Instant::now();
    while !what() {
        assert!(began.elapsed() < BOUND, "it did not happen");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Until this process is killed.
pub(crate) fn sleep_until_killed() -> ! {
    thread::sleep(BOUND);
    panic!("nobody has ended this process");
}
