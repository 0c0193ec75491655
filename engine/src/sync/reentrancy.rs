//! The loop whose turn this thread is in: it runs a listener, a handler or a callback.
//!
//! A blocking wait in a turn would stop the loop that it waits for, and main must not wait for space in a
//! renderer's ring.

use std::cell::Cell;

use crate::primitives::{Mutex, MutexGuard};

/// The loop of an endpoint, by its address, which is only compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CurrentLoop {
    Nothing,
    Main(usize),
    Renderer(usize),
}

impl CurrentLoop {
    pub(crate) fn main<T>(endpoint: &T) -> Self {
        Self::Main(std::ptr::from_ref(endpoint).addr())
    }

    pub(crate) fn renderer<T>(endpoint: &T) -> Self {
        Self::Renderer(std::ptr::from_ref(endpoint).addr())
    }
}

thread_local! {
    static INSIDE: Cell<CurrentLoop> = const { Cell::new(CurrentLoop::Nothing) };
}

/// The mark of a turn. Dropping it restores the one before.
pub(crate) struct Marked {
    before: CurrentLoop,
}

pub(crate) fn mark(inside: CurrentLoop) -> Marked {
    Marked { before: INSIDE.replace(inside) }
}

#[inline]
pub(crate) fn now() -> CurrentLoop {
    INSIDE.get()
}

/// Returns whether this thread is in a turn of any loop.
#[inline]
pub(crate) fn any() -> bool {
    now() != CurrentLoop::Nothing
}

impl Drop for Marked {
    fn drop(&mut self) {
        INSIDE.set(self.before);
    }
}

/// The lock of a thread in `run` or `poll`. A waiting invocation drives the loop too, but only until it has its
/// reply. So a run waits for invocations, and not for another run.
#[derive(Default)]
pub(crate) struct Running(Mutex<()>);

#[derive(Debug)]
pub(crate) enum RunRefused {
    InsideListener,
    AlreadyRunning,
}

impl Running {
    /// Takes the right to run the loop.
    pub(crate) fn begin(&self) -> Result<MutexGuard<'_, ()>, RunRefused> {
        if any() {
            return Err(RunRefused::InsideListener);
        }
        self.0.try_lock().ok_or(RunRefused::AlreadyRunning)
    }
}
