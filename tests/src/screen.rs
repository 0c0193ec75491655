//! A pseudo-terminal with a program, keys to press and a screen to read.

#![allow(unsafe_code, reason = "a new process takes a terminal for its own")]

use std::{
    fs::File,
    io::Read,
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

use rustix::{
    process::{ioctl_tiocsctty, setsid},
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    stdio::stdin,
    termios::{Winsize, tcgetattr, tcsetwinsize},
};
use vt100::{Color, Parser};

use crate::processes::{Killed, within};

/// A program in a terminal of its own. Killed if it is dropped alive.
pub struct Screen {
    child: Killed,
    person: File,
    /// The side of the program, for its modes.
    program: OwnedFd,
    screen: Arc<Mutex<Parser>>,
}

impl Screen {
    pub fn start(command: &mut Command, columns: u16, rows: u16) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let person = openpt(flags).expect("the system has pseudo-terminals");
        grantpt(&person).expect("it is this process's");
        unlockpt(&person).expect("it is this process's");
        let program = ioctl_tiocgptpeer(&person, flags).expect("it has two sides");
        let person = File::from(person);
        resize(&person, columns, rows);

        let side = || Stdio::from(program.try_clone().expect("there are descriptors"));
        command.stdin(side()).stdout(side()).stderr(side()).env("TERM", "xterm-256color");
        // SAFETY: between fork and exec, and nothing but two system calls.
        unsafe {
            command.pre_exec(|| {
                setsid()?;
                Ok(ioctl_tiocsctty(stdin())?)
            });
        }
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));

        let screen = Arc::new(Mutex::new(Parser::new(rows, columns, 1000)));
        let shown = screen.clone();
        let mut output = person.try_clone().expect("there are descriptors");
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // It ends when the program and this test have closed their sides.
            while let Ok(len @ 1..) = output.read(&mut bytes) {
                lock(&shown).process(&bytes[..len]);
            }
        });
        Self { child: Killed(child), person, program, screen }
    }

    pub fn id(&self) -> u32 {
        self.child.0.id()
    }

    pub fn press(&self, keys: &str) {
        rustix::io::write(&self.person, keys.as_bytes()).expect("a terminal takes some keys");
    }

    pub fn resize(&self, columns: u16, rows: u16) {
        lock(&self.screen).screen_mut().set_size(rows, columns);
        resize(&self.person, columns, rows);
    }

    pub fn text(&self) -> String {
        lock(&self.screen).screen().contents()
    }

    pub fn expect(&self, text: &str) {
        let is_there = within(crate::processes::LIMIT, || self.text().contains(text));
        assert!(is_there, "no '{text}' on the screen:\n{}", self.text());
    }

    pub fn number_before(&self, word: &str) -> Option<u64> {
        let text = self.text();
        let before = &text[..text.find(word)?];
        before.split_whitespace().next_back()?.trim_start_matches('│').parse().ok()
    }

    pub fn shows_in_red(&self, text: &str) -> bool {
        let parser = lock(&self.screen);
        let screen = parser.screen();
        let (_, columns) = screen.size();
        let mut places = (0..).zip(screen.rows(0, columns)).filter_map(|(row, line)| {
            let column = line[..line.find(text)?].chars().count();
            screen.cell(row, column as u16)
        });
        places.any(|cell| cell.fgcolor() == Color::Idx(1))
    }

    /// Returns whether the program has switched to the alternate screen.
    pub fn is_taken_over(&self) -> bool {
        lock(&self.screen).screen().alternate_screen()
    }

    pub fn hides_cursor(&self) -> bool {
        lock(&self.screen).screen().hide_cursor()
    }

    pub fn modes(&self) -> String {
        format!("{:?}", tcgetattr(&self.program).expect("it is a terminal"))
    }

    pub fn end(&mut self) -> ExitStatus {
        self.child.end()
    }
}

fn resize(terminal: &File, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("it is a terminal");
}

fn lock(screen: &Mutex<Parser>) -> MutexGuard<'_, Parser> {
    screen.lock().expect("nobody panics with it")
}
