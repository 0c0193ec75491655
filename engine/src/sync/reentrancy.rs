//! Whether this thread is inside a loop's turn: in a listener, a handler, or a callback.
//!
//! There a blocking wait would stop the very loop that brings what it waits for, and main must not
//! wait for a renderer's room.

use crate::model::guarded;
use std::cell::Cell;

use crate::primitives::AtomicBool;

/// Which loop's turn is under way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CurrentLoop {
    Nothing,
    /// Of the main endpoint at this address, which is only compared.
    Main(usize),
    /// Of the renderer endpoint at this address, which is only compared.
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

/// Marks the thread until it is dropped.
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

/// Whether any loop's turn is under way on this thread.
#[inline]
pub(crate) fn any() -> bool {
    now() != CurrentLoop::Nothing
}

impl Drop for Marked {
    fn drop(&mut self) {
        INSIDE.set(self.before);
    }
}

/// Whether someone runs a loop for good. A waiting invocation drives too, but only until it has its
/// reply, so a run waits for it, and does not wait for another run.
#[derive(Default)]
pub(crate) struct Running(AtomicBool);

/// Why a run cannot begin.
#[derive(Debug)]
pub(crate) enum RunRefused {
    /// This thread is inside a loop's turn.
    InsideListener,
    /// Another thread runs this loop.
    AlreadyRunning,
}

/// Holding it is the right to run the loop.
pub(crate) struct RunningGuard<'a>(&'a Running);

impl Running {
    /// The right to run the loop, from outside of any loop's turn.
    pub(crate) fn begin(&self) -> Result<RunningGuard<'_>, RunRefused> {
        if any() {
            return Err(RunRefused::InsideListener);
        }
        // Acquire: pairs with the Release in `drop`.
        if self.0.swap(true, guarded!("Running::begin: Acquire", Acquire)) {
            return Err(RunRefused::AlreadyRunning);
        }
        Ok(RunningGuard(self))
    }
}

impl Drop for RunningGuard<'_> {
    fn drop(&mut self) {
        self.0.0.store(false, guarded!("RunningGuard::drop: Release", Release));
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use crate::model::{RACE, check};
    use loom::cell::Cell;

    use super::*;
    use crate::primitives::{Arc, thread};

    /// What a run leaves behind, as memory is shared.
    struct Left(Cell<u32>);

    // SAFETY: that its accesses are ordered is what the model checks, and loom reports it if they are not.
    #[allow(unsafe_code, reason = "a model of what one run leaves to the next")]
    unsafe impl Sync for Left {}

    #[test]
    fn loom_one_run_at_a_time_and_each_sees_what_the_last_one_left() {
        check(&[("RunningGuard::drop: Release", RACE), ("Running::begin: Acquire", RACE)], || {
            let shared = Arc::new((Running::default(), Left(Cell::new(0))));
            let run = |(running, left): &(Running, Left)| {
                let Ok(_running) = running.begin() else { return 0 };
                left.0.set(left.0.get() + 1);
                1
            };
            let other = thread::spawn({
                let shared = shared.clone();
                move || run(&shared)
            });
            let runs = run(&shared) + other.join().unwrap();
            assert_eq!(shared.1.0.get(), runs);
        });
    }
}
