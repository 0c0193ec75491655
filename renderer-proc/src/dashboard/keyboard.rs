//! The keyboard.

use std::{io, sync::mpsc::Sender, thread, time::Duration};

use ratatui::crossterm::event::{self, Event};

use super::painter::Instruction;

/// The keyboard, ready to be read inside the sandbox.
pub(super) struct Keyboard(());

impl Keyboard {
    /// Opens the keyboard, after the terminal was put into raw mode.
    pub(super) fn open() -> io::Result<Self> {
        // The first poll creates the library's descriptors.
        event::poll(Duration::ZERO)?;
        Ok(Self(()))
    }

    /// Sends each key from a thread of its own. It ends with the terminal or the process; nothing can wake it. The
    /// sandbox blocks the signal of a size change, so the painter reads the size before each frame.
    pub(super) fn send_to(self, keys: Sender<Instruction>) -> io::Result<()> {
        let read = move || {
            while let Ok(event) = event::read() {
                if let Event::Key(key) = event
                    && keys.send(Instruction::Key(key)).is_err()
                {
                    return;
                }
            }
        };
        thread::Builder::new().name("keyboard".to_owned()).spawn(read).map(drop)
    }
}
