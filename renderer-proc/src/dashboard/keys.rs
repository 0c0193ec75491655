//! Keys: from the terminal, and what each asks for.

use std::{io, sync::mpsc::Sender, thread, time::Duration};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers};

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Quit,
    Pause,
    Help,
    /// Ask for a line of text, to do this with it.
    Begin(Purpose),
    AskForSystemInfo,
    /// Show the answer from so many lines further on.
    Scroll(i16),
    // While a line is typed:
    Type(char),
    Erase,
    EraseAll,
    Submit,
    Cancel,
}

/// What a line of text is typed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    LogMessage,
    ReadFile,
}

/// What keys mean at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keymap {
    Commands,
    Typing,
    Help,
}

/// How many lines a page of an answer is.
const PAGE: i16 = 10;

/// The keys for people: what [`action`] understands, in the order of their use.
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

/// What a key asks for, if it does.
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

/// The keyboard, ready to be read: what the sandbox would not allow any more has been done.
pub(super) struct Keyboard(());

impl Keyboard {
    /// After the terminal was put into raw mode.
    pub(super) fn open() -> io::Result<Self> {
        // The first look makes the library's descriptors.
        event::poll(Duration::ZERO)?;
        Ok(Self(()))
    }

    /// Sends each key on, from a thread of its own. It ends with the terminal or with the process: nothing can wake
    /// it. (A change of size is no key. The sandbox does not let the library's signal through; the painter looks at
    /// the size before each frame.)
    pub(super) fn send_to<T: From<KeyEvent> + Send + 'static>(
        self,
        keys: Sender<T>,
    ) -> io::Result<()> {
        let read = move || {
            while let Ok(event) = event::read() {
                if let Event::Key(key) = event
                    && keys.send(key.into()).is_err()
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

    const KEYMAPS: [Keymap; 3] = [Keymap::Commands, Keymap::Typing, Keymap::Help];

    #[test]
    fn ctrl_c_quits_whatever_keys_mean() {
        assert_eq!(KEYMAPS.map(|keymap| control(keymap, 'c')), [Some(Action::Quit); 3]);
        assert_eq!(control(Keymap::Commands, 'p'), None);
    }

    #[test]
    fn a_letter_is_a_command_unless_a_line_is_typed() {
        assert_eq!(press(Keymap::Commands, KeyCode::Char('q')), Some(Action::Quit));
        assert_eq!(press(Keymap::Typing, KeyCode::Char('q')), Some(Action::Type('q')));
        assert_eq!(press(Keymap::Commands, KeyCode::Char('x')), None);
        assert_eq!(press(Keymap::Typing, KeyCode::Char('ä')), Some(Action::Type('ä')));
    }

    #[test]
    fn any_key_ends_the_help() {
        for code in [KeyCode::Char('?'), KeyCode::Esc, KeyCode::Enter, KeyCode::Char('l')] {
            assert_eq!(press(Keymap::Help, code), Some(Action::Help));
        }
    }

    #[test]
    fn every_letter_that_is_explained_does_something() {
        for (key, what) in KEYS {
            if let [letter] = key.chars().collect::<Vec<_>>()[..] {
                assert!(press(Keymap::Commands, KeyCode::Char(letter)).is_some(), "{key}: {what}");
            }
        }
    }
}
