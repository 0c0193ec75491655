//! The loan of main's terminal to a renderer with a dashboard.
//!
//! While the dashboard runs, main's lines are held back. When it ends well (by `q`, say), main ends too. When it crashes,
//! main goes on by lines. If it was killed, main restores the terminal. (Main's errors end the dashboard, and are printed
//! last.)

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use renderer_proc::{console::Console, ending::Ending, terminal::Modes};
use ringbridge::{GoneReason, IpcMain, WebContents};

/// A terminal on loan. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Dashboard {
    console: Console,
    before: Modes,
    /// The number of the window that owns the terminal; 0, which no window has, before there is one.
    window: Arc<AtomicU32>,
}

impl Dashboard {
    /// Lends the terminal, before the renderer is launched.
    pub(crate) fn lend_terminal(console: &Console) -> io::Result<Self> {
        let before = Modes::current()?;
        console.hold();
        Ok(Self { console: console.clone(), before, window: Arc::default() })
    }

    /// Notes the window that owns the terminal.
    pub(crate) fn set_owner(&self, window: &WebContents) {
        // Relaxed: only main's loop uses it, and main's thread before the loop runs.
        self.window.store(window.id(), Ordering::Relaxed);
    }

    fn is_owner(&self, window: &WebContents) -> bool {
        self.window.load(Ordering::Relaxed) == window.id()
    }

    /// Takes the terminal back when the renderer is gone, and lends it to the renderer's successor.
    pub(crate) fn watch(&self, ipc: &IpcMain, ending: &Arc<Ending>) {
        let (dashboard, ending) = (self.clone(), ending.clone());
        ipc.on_render_process_gone(move |window, details| {
            if dashboard.is_owner(window) {
                dashboard.take_back();
                if details.reason == GoneReason::CleanExit {
                    ending.request();
                }
            }
        });
        let dashboard = self.clone();
        ipc.on_render_process_restarted(move |old, new| {
            if let (true, Ok(new)) = (dashboard.is_owner(old), new) {
                dashboard.console.hold();
                dashboard.set_owner(new);
            }
        });
    }

    /// Restores the terminal if necessary, and prints main's lines again.
    pub(crate) fn take_back(&self) {
        // It fails only if the terminal is gone.
        let _ = self.before.restore_if_changed();
        self.console.release();
    }
}
