//! The keyboard, and the actions of its keys.

use std::{io, sync::mpsc::Sender, thread, time::Duration};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers};

use super::painter::Instruction;

/// The action of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Quit,
    Pause,
    Help,
    /// Begin to type a line.
    Begin(Purpose),
    AskForSystemInfo,
    /// Move through the answer by this number of lines.
    Scroll(i16),
    // While the user types a line:
    Type(char),
    Erase,
    EraseAll,
    Submit,
    Cancel,
}

/// The purpose of a typed line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    LogMessage,
    ReadFile,
}

/// The present meaning of the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keymap {
    Commands,
    Typing,
    Help,
}

/// The number of lines that PgUp and PgDn move.
const PAGE: i16 = 10;

/// The help: the keys that [`action`] understands, in the order of their use.
pub(super) const KEYS: [(&str, &str); 8] = [
    ("l", "send main a log message"),
    ("i", "invoke get-system-info"),
    ("r", "invoke read-file, with a path below main's --files"),
    ("p", "pause the display; everything is still counted"),
    ("↑ ↓", "move through a long answer, also by PgUp and PgDn"),
    ("Esc", "leave a line that is being typed"),
    ("?", "this help"),
    ("q", "quit, also by Ctrl-C: main ends too, if it launched this renderer"),
];

/// Returns the action of a key, if it has one.
pub(super) fn action(keymap: Keymap, key: KeyEvent) -> Option<Action> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match (key.code, keymap) {
            (KeyCode::Char('c'), _) => Some(Action::Quit),
            (KeyCode::Char('u'), Keymap::Typing) => Some(Action::EraseAll),
            _ => None,
        };
    }
    match keymap {
        Keymap::Commands => command(key.code),
        Keymap::Typing => match key.code {
            KeyCode::Char(character) => Some(Action::Type(character)),
            KeyCode::Backspace => Some(Action::Erase),
            KeyCode::Enter => Some(Action::Submit),
            KeyCode::Esc => Some(Action::Cancel),
            _ => None,
        },
        Keymap::Help if key.code == KeyCode::Char('q') => Some(Action::Quit),
        Keymap::Help => Some(Action::Help),
    }
}

fn command(key: KeyCode) -> Option<Action> {
    match key {
        KeyCode::Char('q') => Some(Action::Quit),
        KeyCode::Char('p' | ' ') => Some(Action::Pause),
        KeyCode::Char('?' | 'h') => Some(Action::Help),
        KeyCode::Char('l') => Some(Action::Begin(Purpose::LogMessage)),
        KeyCode::Char('r') => Some(Action::Begin(Purpose::ReadFile)),
        KeyCode::Char('i') => Some(Action::AskForSystemInfo),
        KeyCode::Up => Some(Action::Scroll(-1)),
        KeyCode::Down => Some(Action::Scroll(1)),
        KeyCode::PageUp => Some(Action::Scroll(-PAGE)),
        KeyCode::PageDown => Some(Action::Scroll(PAGE)),
        _ => None,
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn press(keymap: Keymap, code: KeyCode) -> Option<Action> {
        action(keymap, KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn control(keymap: Keymap, letter: char) -> Option<Action> {
        action(keymap, KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL))
    }

    #[test]
    fn ctrl_c_quits_in_every_mode() {
        for keymap in [Keymap::Commands, Keymap::Typing, Keymap::Help] {
            assert_eq!(control(keymap, 'c'), Some(Action::Quit));
        }
        assert_eq!(control(Keymap::Commands, 'p'), None);
    }

    #[test]
    fn a_letter_is_a_command_or_text_or_ends_the_help() {
        assert_eq!(press(Keymap::Commands, KeyCode::Char('q')), Some(Action::Quit));
        assert_eq!(press(Keymap::Commands, KeyCode::Char('x')), None);
        for letter in ['q', 'ä'] {
            assert_eq!(press(Keymap::Typing, KeyCode::Char(letter)), Some(Action::Type(letter)));
        }
        for code in [KeyCode::Char('?'), KeyCode::Esc, KeyCode::Enter, KeyCode::Char('l')] {
            assert_eq!(press(Keymap::Help, code), Some(Action::Help));
        }
    }

    #[test]
    fn every_letter_in_the_help_does_something() {
        for (key, meaning) in KEYS {
            if let [letter] = key.chars().collect::<Vec<_>>()[..] {
                let pressed = press(Keymap::Commands, KeyCode::Char(letter));
                assert!(pressed.is_some(), "{key}: {meaning}");
            }
        }
    }
}
