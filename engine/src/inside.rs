//! Whether this thread is inside a loop's turn: in a listener, a handler, or a callback.
//!
//! There a blocking wait would stop the very loop that brings what it waits for, and main must not
//! wait for a renderer's room.

use std::cell::Cell;

/// Which loop's turn is under way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inside {
    Nothing,
    /// Of the main endpoint at this address, which is only compared.
    Main(usize),
    /// Of the renderer endpoint at this address, which is only compared.
    Renderer(usize),
}

impl Inside {
    pub(crate) fn main<T>(endpoint: &T) -> Self {
        Self::Main(std::ptr::from_ref(endpoint).addr())
    }

    pub(crate) fn renderer<T>(endpoint: &T) -> Self {
        Self::Renderer(std::ptr::from_ref(endpoint).addr())
    }
}

thread_local! {
    static INSIDE: Cell<Inside> = const { Cell::new(Inside::Nothing) };
}

/// Marks the thread until it is dropped.
pub(crate) struct Marked {
    before: Inside,
}

pub(crate) fn mark(inside: Inside) -> Marked {
    Marked { before: INSIDE.replace(inside) }
}

#[inline]
pub(crate) fn now() -> Inside {
    INSIDE.get()
}

/// Whether any loop's turn is under way on this thread.
#[inline]
pub(crate) fn any() -> bool {
    now() != Inside::Nothing
}

impl Drop for Marked {
    fn drop(&mut self) {
        INSIDE.set(self.before);
    }
}
