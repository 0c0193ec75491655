//! The loop whose turn this thread is in: it runs a listener, a handler or a callback.
//!
//! A blocking wait in a turn would stop the loop that it waits for, and main must not wait for space in a
//! renderer's ring.

use std::cell::Cell;

use crate::{model::guarded, primitives::AtomicBool};

/// The loop whose turn this thread is in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CurrentLoop {
    Nothing,
    /// A main endpoint's. The address is only compared.
    Main(usize),
    /// A renderer endpoint's. The address is only compared.
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

/// The flag of a thread in `run` or `poll`. A waiting invocation drives the loop too, but only until it has its
/// reply. So a run waits for invocations, and not for another run.
#[derive(Default)]
pub(crate) struct Running(AtomicBool);

/// The reason why a run cannot begin.
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
    pub(crate) fn begin(&self) -> Result<RunningGuard<'_>, RunRefused> {
        if any() {
            return Err(RunRefused::InsideListener);
        }
        // Acquire: pairs with the Release in `RunningGuard::drop`; makes the last run's writes visible.
        if self.0.swap(true, guarded!("Running::begin: Acquire", Acquire)) {
            return Err(RunRefused::AlreadyRunning);
        }
        Ok(RunningGuard(self))
    }
}

impl Drop for RunningGuard<'_> {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `Running::begin`; makes this run's writes visible.
        self.0.0.store(false, guarded!("RunningGuard::drop: Release", Release));
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use crate::model::{RACE, check};
    use loom::cell::Cell;

    use super::*;
    use crate::primitives::{Arc, thread};

    /// Plain memory that each run changes.
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
