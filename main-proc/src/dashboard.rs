//! The renderer that shows a dashboard in main's own terminal, seen from main: who has the terminal.
//!
//! While it runs the terminal is the renderer's, and main's lines are held back. (Main's errors end it, and are printed
//! last anyway.) When the dashboard ends as it should, for `q` say, main ends with it: there is nobody left to look.
//! When it crashes main goes on, by lines; should it have been killed, the terminal is put right here.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use renderer_proc::{console::Console, ending::Ending, terminal::Modes};
use ringbridge::{GoneReason, IpcMain, WebContents};

/// A terminal that is lent. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Dashboard {
    console: Console,
    before: Modes,
    /// The number of the window to which it is lent; 0 before there is one, as no window has it.
    window: Arc<AtomicU32>,
}

impl Dashboard {
    /// Before the renderer is launched.
    pub(crate) fn lend_terminal(console: &Console) -> io::Result<Self> {
        let before = Modes::current()?;
        console.hold();
        Ok(Self { console: console.clone(), before, window: Arc::default() })
    }

    /// This is the renderer.
    pub(crate) fn is_shown_by(&self, window: &WebContents) {
        // Relaxed: stored and loaded by main's loop, and before that runs.
        self.window.store(window.id(), Ordering::Relaxed);
    }

    /// Takes the terminal back when the renderer has gone, and lends it again to the one that is launched in its
    /// place.
    pub(crate) fn watch(&self, ipc: &IpcMain, ending: &Arc<Ending>) {
        let is_mine = |dashboard: &Self, window: &WebContents| {
            dashboard.window.load(Ordering::Relaxed) == window.id()
        };
        let (dashboard, ending) = (self.clone(), ending.clone());
        ipc.on_render_process_gone(move |window, details| {
            if is_mine(&dashboard, window) {
                dashboard.take_back();
                if details.reason == GoneReason::CleanExit {
                    ending.request();
                }
            }
        });
        let dashboard = self.clone();
        ipc.on_render_process_restarted(move |old, new| {
            if let (true, Ok(new)) = (is_mine(&dashboard, old), new) {
                dashboard.console.hold();
                dashboard.is_shown_by(new);
            }
        });
    }

    /// The terminal is main's again, if it was not.
    pub(crate) fn take_back(&self) {
        // If that fails the terminal is gone.
        let _ = self.before.restore_if_changed();
        self.console.release();
    }
}
