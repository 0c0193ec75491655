//! A terminal for a program under test: what it prints on it, and whether it gives it back as it found it.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::{AsFd, OwnedFd},
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex},
    thread,
};

use rustix::{
    fs::{Mode, OFlags, open},
    process::Signal,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Termios, Winsize, tcgetattr, tcsetwinsize},
};

use crate::processes::{eventually, signal};

/// How a program says that it draws on another page, and that it is done with that.
const OTHER_PAGE: &str = "\x1b[?1049h";
const FIRST_PAGE: &str = "\x1b[?1049l";

/// A terminal with a program on it.
pub struct Terminal {
    child: Child,
    keys: File,
    ours: OwnedFd,
    found: Termios,
    printed: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Starts a program on a terminal of its own, so many columns wide and lines high.
    pub fn start(command: &mut Command, columns: u16, lines: u16) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let keys = openpt(flags).expect("there are terminals");
        grantpt(&keys).expect("it is ours");
        unlockpt(&keys).expect("it is ours");
        let name = ptsname(&keys, Vec::new()).expect("it has a name");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let ours = open(name.as_c_str(), flags, Mode::empty()).expect("it can be opened");
        let size = Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&ours, size).expect("a terminal has a size");
        let found = tcgetattr(&ours).expect("it is a terminal");
        let end = || ours.try_clone().expect("descriptors are left");
        let child = command
            .env("TERM", "xterm-256color")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let keys = File::from(keys);
        let printed = Arc::new(Mutex::new(Vec::new()));
        let (mut screen, page) = (keys.try_clone().expect("descriptors are left"), printed.clone());
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = screen.read(&mut buffer) {
                page.lock().unwrap().extend_from_slice(&buffer[..len]);
            }
        });
        Self { child, keys, ours, found, printed }
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("it takes keys");
    }

    /// Sends the program a signal.
    pub fn signal(&self, kind: Signal) {
        signal(self.child.id(), kind);
    }

    /// All that was printed so far, with the terminal's own codes.
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&self.printed.lock().unwrap()).into_owned()
    }

    /// Waits until the program has printed this.
    pub fn until_printed(&self, text: &str) {
        eventually(text, || self.printed().contains(text));
    }

    /// Waits for the program's end, and sees that it has left the terminal as it found it.
    pub fn end(mut self) -> (ExitStatus, String) {
        let mut status = None;
        eventually("the program ends", || {
            status = self.child.try_wait().expect("it is this process's child");
            status.is_some()
        });
        let left = tcgetattr(self.ours.as_fd()).expect("it is a terminal");
        let modes = |termios: &Termios| {
            (termios.input_modes, termios.output_modes, termios.local_modes, termios.control_modes)
        };
        assert_eq!(modes(&left), modes(&self.found), "the terminal's modes");
        if self.printed().contains(OTHER_PAGE) {
            self.until_printed(FIRST_PAGE);
            self.until_printed("\x1b[?25h");
        }
        (status.expect("it has ended"), self.printed())
    }
}
