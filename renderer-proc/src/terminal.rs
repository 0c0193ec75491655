//! The terminal that a user started this program in: whether it is there to be drawn on, how it was set, and that
//! it is set so again. For both programs: a renderer draws, and main puts right what a killed one has left.

use std::io;

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

/// Whether somebody sits before standard input and output, and reads this program's job rather than another's.
pub fn is_ours() -> bool {
    [stdin(), stdout()].into_iter().all(isatty)
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
