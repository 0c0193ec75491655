//! The loan of main's terminal to a renderer with a dashboard.
//!
//! While the dashboard runs, main's lines are held back. When it ends well (by `q`, say), main ends too. When it crashes,
//! main restores the terminal and goes on by lines.

use std::{
    io,
    sync::atomic::{AtomicU32, Ordering},
};

use renderer_proc::{console::Console, terminal::Modes};
use ringbridge::WebContents;

pub(crate) struct Dashboard {
    before: Modes,
    /// The number of the window that owns the terminal; 0, which no window has, before there is one.
    window: AtomicU32,
}

impl Dashboard {
    /// Lends the terminal, before the renderer is launched.
    pub(crate) fn lend_terminal(console: &Console) -> io::Result<Self> {
        let before = Modes::current()?;
        console.hold();
        Ok(Self { before, window: AtomicU32::default() })
    }

    // Relaxed: only main's loop uses it, and main's thread before the loop runs.
    pub(crate) fn set_owner(&self, window: &WebContents) {
        self.window.store(window.id(), Ordering::Relaxed);
    }

    pub(crate) fn is_owner(&self, window: &WebContents) -> bool {
        self.window.load(Ordering::Relaxed) == window.id()
    }

    /// Restores the terminal if necessary, and prints main's lines again.
    pub(crate) fn take_back(&self, console: &Console) {
        // It fails only if the terminal is gone.
        let _ = self.before.restore_if_changed();
        console.release();
    }
}
