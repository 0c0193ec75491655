//! The terminal while the dashboard owns it, and its restoration at every end.
//!
//! | end | restored by |
//! | --- | --- |
//! | `q`, Ctrl-C, SIGTERM, SIGHUP, main gone, `--duration` over, an error | the drop of [`Screen`] |
//! | a panic, in any thread | the panic hook, before the message is printed |
//! | SIGKILL | main, if it launched this process |
//!
//! Frames are written whole, under the lock of the flag that says whether the dashboard owns the terminal. So no thread
//! paints after the restoration.

use std::{
    io::{self, Write},
    mem, panic,
    sync::OnceLock,
    time::Duration,
};

use parking_lot::Mutex;
use ratatui::crossterm::{
    cursor::{Hide, MoveTo},
    queue,
    terminal::{Clear, ClearType, EnterAlternateScreen},
};

use crate::terminal::{self, Modes};

/// The time limit for a frame that delays the restoration.
const FRAME_MAX: Duration = Duration::from_secs(1);

static BEFORE: OnceLock<Modes> = OnceLock::new();
/// Set while the dashboard owns the terminal. Locked while a frame is written.
static IS_ENTERED: Mutex<bool> = Mutex::new(false);

/// Ownership of the terminal until this is dropped. Once in a process.
pub(super) struct Screen(());

impl Screen {
    pub(super) fn enter() -> io::Result<Self> {
        let before = Modes::current()?;
        before.make_raw()?;
        BEFORE.get_or_init(|| before);
        *IS_ENTERED.lock() = true;
        let screen = Self(());
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            leave();
            print(panic);
        }));
        let mut bytes = Vec::new();
        queue!(bytes, EnterAlternateScreen, Hide, Clear(ClearType::All), MoveTo(0, 0))?;
        terminal::write(&bytes)?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

/// Restores the terminal, unless that has been done.
fn leave() {
    let Some(before) = BEFORE.get() else { return };
    // These calls fail only if the terminal is gone.
    match IS_ENTERED.try_lock_for(FRAME_MAX) {
        Some(mut is_entered) => {
            if mem::take(&mut *is_entered) {
                let _ = terminal::leave_screen();
                let _ = before.restore();
            }
        }
        // It reads nothing, and so no escape sequence either. Its modes can be restored all the same.
        None => drop(before.restore()),
    }
}

/// A writer that collects a frame, and writes it in one piece while the dashboard owns the terminal.
#[derive(Default)]
pub(super) struct Frames(Vec<u8>);

impl Write for Frames {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let is_entered = IS_ENTERED.lock();
        let written = if *is_entered { terminal::write(&self.0) } else { Ok(()) };
        self.0.clear();
        written
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::terminal::tests::run_in_terminal;

    #[test]
    #[ignore = "it panics, and needs a terminal: see the next test"]
    fn panics_with_the_screen() {
        let _screen = Screen::enter().unwrap();
        let mut frames = Frames::default();
        frames.write_all(b"a frame").unwrap();
        frames.flush().unwrap();
        let painter = thread::spawn(|| panic!("the painter stumbles"));
        painter.join().unwrap_err();
        // Another thread may not know that yet.
        frames.write_all(b"too late").unwrap();
        frames.flush().unwrap();
    }

    #[test]
    fn after_a_panic_in_any_thread_the_terminal_is_as_it_was_and_nothing_is_painted() {
        let name = "dashboard::screen::tests::panics_with_the_screen";
        let text = run_in_terminal(&[], name);
        let place =
            |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what:?} in {text:?}"));
        let order = ["\x1b[?1049h", "a frame", "\x1b[?1049l", "the painter stumbles"];
        assert!(order.map(place).is_sorted(), "{text:?}");
        assert!(!text.contains("too late"), "{text:?}");
    }
}
