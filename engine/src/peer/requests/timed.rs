//! A hint that requests with a deadline have begun since the loop last looked at the table, so that a loop
//! with many sessions looks only into the tables that have changed.
//!
//! ```text
//!   the caller                              the loop
//!   puts a request into the table (locked)  withdraws the hint
//!   gives the hint                          looks into the table (locked)
//! ```
//!
//! No request is missed. If the loop did not find it, the loop locked the table first. Then it also
//! withdrew the hint first, and the hint that is given afterwards stays.

use crate::{
    model::guarded,
    primitives::{AtomicBool, Ordering::Relaxed},
};

/// The hint. All accesses are Relaxed: the table's lock orders them.
#[derive(Debug)]
pub(crate) struct TimedRequests(AtomicBool);

impl TimedRequests {
    pub(crate) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Gives the hint, after a request was put into the table. `true`: the loop is to be told.
    #[inline]
    pub(crate) fn begun(&self) -> bool {
        // Its cache line stays shared while there is nothing to change.
        !self.0.load(Relaxed) && !self.0.swap(true, Relaxed)
    }

    /// Returns whether the loop has yet to look. Certain for a request of this thread.
    #[inline]
    pub(crate) fn have_begun(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// Withdraws the hint and looks into the table. One thread at a time.
    pub(crate) fn look<R>(&self, look: impl FnOnce() -> R) -> R {
        guarded!("TimedRequests::look: hint first", self.0.store(false, Relaxed), else {
            let found = look();
            self.0.store(false, Relaxed);
            return found;
        });
        look()
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::model::{WRONG, check};
    use crate::primitives::{Arc, Mutex, thread};

    #[test]
    fn loom_a_request_is_found_or_leaves_a_hint() {
        check(&[("TimedRequests::look: hint first", WRONG)], || {
            let timed = Arc::new(TimedRequests::new());
            let table = Arc::new(Mutex::new(false));
            let asking = thread::spawn({
                let (timed, table) = (timed.clone(), table.clone());
                move || {
                    *table.lock() = true;
                    timed.begun();
                }
            });
            let found = timed.look(|| *table.lock());
            asking.join().unwrap();
            assert!(found || timed.have_begun());
        });
    }
}
