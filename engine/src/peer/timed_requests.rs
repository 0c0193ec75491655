//! Whether any of many tables may have something with a deadline, so that a loop with many sessions need not
//! ask each of them whenever it sleeps.
//!
//! ```text
//!   who asks                          the loop
//!   puts it into its table (locked)   withdraws the hint
//!   gives the hint                    looks into all tables (locked)
//!                                     gives the hint back if it found something
//! ```
//!
//! Nothing is missed for good: either the loop finds it in its table, or the loop's part of that table's lock
//! came first; then the withdrawal did too, and the hint that is given after it stays.

use crate::model::guarded;
use std::time::Instant;

use crate::primitives::{AtomicBool, Ordering};

/// The hint. All accesses are Relaxed: the tables' locks order them, as said above.
#[derive(Debug)]
pub(crate) struct TimedRequests(AtomicBool);

impl TimedRequests {
    pub(crate) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// There is one more, in its table by now.
    #[inline]
    pub(crate) fn begun(&self) {
        // Its cache line stays shared while there is nothing to change.
        if !self.0.load(Ordering::Relaxed) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Looks into the tables, if there may be any: `look` returns the earliest deadline. One thread at a time.
    pub(crate) fn look(&self, look: impl FnOnce() -> Option<Instant>) -> Option<Instant> {
        if !self.0.load(Ordering::Relaxed) {
            return None;
        }
        self.0.store(false, Ordering::Relaxed);
        let next = guarded!("TimedRequests::look: hint first", look(), else { let next = look(); self.0.store(false, Ordering::Relaxed); next });
        if next.is_some() {
            self.0.store(true, Ordering::Relaxed);
        }
        next
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_looked_at_as_long_as_one_has_something() {
        let timed = TimedRequests::new();
        assert_eq!(timed.look(|| unreachable!("there is none")), None);
        let deadline = Instant::now();
        timed.begun();
        assert_eq!(timed.look(|| Some(deadline)), Some(deadline));
        assert_eq!(timed.look(|| None), None);
        assert_eq!(timed.look(|| unreachable!("it was the last")), None);
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
            let table = Arc::new(Mutex::new(None));
            // Another session's, so that the loop looks at all.
            timed.begun();
            let asking = thread::spawn({
                let (timed, table) = (timed.clone(), table.clone());
                move || {
                    *table.lock() = Some(Instant::now());
                    timed.begun();
                }
            });
            let found = timed.look(|| *table.lock());
            asking.join().unwrap();
            assert!(found.is_some() || timed.look(|| *table.lock()).is_some());
        });
    }
}
