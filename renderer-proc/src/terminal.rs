//! The terminal that a user started this program in: whether it is there to be drawn on, how it was set, and that
//! it is set so again. For both programs: a renderer draws, and main puts right what a killed one has left.

use std::{env, ffi::OsString, io};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use ratatui::crossterm::{cursor::Show, queue, style::ResetColor, terminal::LeaveAlternateScreen};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::getpgrp,
    stdio::{stdin, stdout},
    termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetpgrp, tcsetattr},
};

/// How long a terminal may take nothing.
const ROOM_MAX: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Whether there is a terminal at standard input and output that can be drawn on, and is this job's rather than
/// another's.
pub fn is_ours() -> bool {
    let draws = |name: OsString| !name.is_empty() && name != "dumb";
    [stdin(), stdout()].into_iter().all(isatty)
        && env::var_os("TERM").is_some_and(draws)
        && tcgetpgrp(stdin()).is_ok_and(|foreground| foreground == getpgrp())
}

/// How a terminal is set: whether it echoes, waits for whole lines, turns Ctrl-C into a signal ...
#[derive(Clone, Debug)]
pub struct Modes(Termios);

impl Modes {
    /// As they are.
    ///
    /// # Errors
    ///
    /// If standard input is no terminal.
    pub fn current() -> io::Result<Self> {
        Ok(Self(tcgetattr(stdin())?))
    }

    /// As a full-screen program needs them: every key comes at once, and is not echoed.
    pub(crate) fn make_raw(&self) -> io::Result<()> {
        let mut raw = self.0.clone();
        raw.make_raw();
        Ok(tcsetattr(stdin(), OptionalActions::Now, &raw)?)
    }

    /// Has them be like this again.
    ///
    /// When main was killed the shell takes the terminal back, and this process is in the background, where it would
    /// be stopped for such a call, unless it blocks the signal.
    pub(crate) fn put_back(&self) -> io::Result<()> {
        let mut stop = SigSet::empty();
        stop.add(Signal::SIGTTOU);
        let before = stop.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let set = tcsetattr(stdin(), OptionalActions::Now, &self.0);
        before.thread_set_mask()?;
        Ok(set?)
    }

    /// Puts the terminal right if a full-screen program has not done so itself: because it was killed.
    ///
    /// # Errors
    ///
    /// If the terminal is gone.
    pub fn restore_if_changed(&self) -> io::Result<()> {
        let modes = |Termios { input_modes, output_modes, local_modes, .. }: &Termios| {
            (*input_modes, *output_modes, *local_modes)
        };
        // The modes are the last thing that is put back; who has done that has done all.
        if modes(&tcgetattr(stdin())?) == modes(&self.0) {
            return Ok(());
        }
        leave_screen()?;
        self.put_back()
    }
}

/// Has a terminal show again what it did before a full-screen program.
pub(crate) fn leave_screen() -> io::Result<()> {
    let mut bytes = Vec::new();
    queue!(bytes, ResetColor, LeaveAlternateScreen, Show)?;
    write(&bytes)
}

/// Writes all of it to standard output, past the lock and buffer of [`io::stdout`]: so that whoever puts the terminal
/// back need not wait for a thread that was in there.
pub(crate) fn write(mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(stdout(), bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            // Somebody who shares the terminal has set it so.
            Err(Errno::AGAIN) => {
                let mut room = [PollFd::from_borrowed_fd(stdout(), PollFlags::OUT)];
                if poll(&mut room, Some(&ROOM_MAX))? == 0 {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{
        fs::File,
        io::Read,
        os::fd::OwnedFd,
        process::{Child, Command, Stdio},
        thread::{self, JoinHandle},
        time::{Duration, Instant},
    };

    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

    use super::*;

    /// A test of this program that runs in a process and a terminal of its own, since it is marked to be ignored.
    pub(crate) struct InTerminal {
        terminal: OwnedFd,
        before: String,
        child: Child,
        output: JoinHandle<String>,
    }

    impl InTerminal {
        /// Starts the test of this name, by way of other programs.
        pub(crate) fn start(by_way_of: &[&str], test: &str) -> Self {
            let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
            let person = openpt(flags).unwrap();
            grantpt(&person).unwrap();
            unlockpt(&person).unwrap();
            let terminal = ioctl_tiocgptpeer(&person, flags).unwrap();

            let this = env::current_exe().unwrap();
            let mut arguments = by_way_of.iter().map(OsString::from).collect::<Vec<_>>();
            arguments.extend([this.into_os_string()]);
            arguments.extend(["--exact", test, "--ignored", "--nocapture"].map(OsString::from));
            let side = || Stdio::from(terminal.try_clone().unwrap());
            let mut command = Command::new(&arguments[0]);
            command.args(&arguments[1..]).env("RUST_BACKTRACE", "0");
            let child = command.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
            let output = thread::spawn(move || {
                let mut text = Vec::new();
                // Reading fails when nobody has the other side any more.
                let _ = File::from(person).read_to_end(&mut text);
                String::from_utf8_lossy(&text).into_owned()
            });
            Self { before: modes(&terminal), terminal, child, output }
        }

        /// Waits for its end, and returns what it has printed. It must succeed, and leave the terminal as it was.
        pub(crate) fn expect_good_end(mut self) -> String {
            let deadline = Instant::now() + Duration::from_secs(20);
            let status = loop {
                match self.child.try_wait().unwrap() {
                    None if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
                    status => break status,
                }
            };
            let _ = self.child.kill();
            let after = modes(&self.terminal);
            drop(self.terminal);
            let text = self.output.join().unwrap();
            assert!(status.is_some_and(|status| status.success()), "{status:?}: {text}");
            assert_eq!(after, self.before);
            text
        }
    }

    fn modes(terminal: &OwnedFd) -> String {
        format!("{:?}", tcgetattr(terminal).unwrap())
    }

    #[test]
    #[ignore = "it needs a terminal that is another job's: see the next test"]
    fn sets_the_terminal_from_the_background() {
        assert!(!is_ours());
        Modes::current().unwrap().put_back().unwrap();
    }

    #[test]
    fn a_terminal_is_put_back_from_the_background_too() {
        let shell = ["setsid", "-c", "bash", "-c", "set -m; \"$@\" & wait $!", "bash"];
        let name = "terminal::tests::sets_the_terminal_from_the_background";
        let text = InTerminal::start(&shell, name).expect_good_end();
        assert!(text.contains("1 passed"), "{text}");
    }
}
