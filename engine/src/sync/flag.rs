//! A flag that hands over all writes before its raising. It may lie in memory of several processes.

use crate::model::guarded;
use crate::primitives::AtomicU32;

/// 0, or raised. Not an `AtomicBool`, which another process could give an invalid value.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct Flag(AtomicU32);

impl Flag {
    pub(crate) fn raise(&self) {
        // Release: pairs with the Acquire in `is_raised` and `take`; makes the raiser's writes visible. An exchange,
        // not a store, so that a reader sees the writes of all threads that had raised the flag.
        let release = guarded!("Flag::raise: Release", Release);
        guarded!("Flag::raise: exchange", _ = self.0.swap(1, release), else self.0.store(1, release));
    }

    #[inline]
    pub(crate) fn is_raised(&self) -> bool {
        // Acquire: pairs with the Release in `raise`; makes the raiser's writes visible.
        self.0.load(guarded!("Flag::is_raised: Acquire", Acquire)) != 0
    }

    /// Lowers the flag, and returns whether it was raised. Call it before the look for the work that it stands for.
    pub(crate) fn take(&self) -> bool {
        // Acquire: pairs with the Release in `raise`; makes the raiser's writes visible.
        self.0.swap(0, guarded!("Flag::take: Acquire", Acquire)) != 0
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::model::{WRONG, check, check_bounded};
    use crate::primitives::{Arc, AtomicU32, Ordering::Relaxed, thread};

    /// A flag, and two things that it may be raised for.
    type Shared = Arc<(Flag, [AtomicU32; 2])>;

    fn shared() -> Shared {
        Arc::new((Flag::default(), [AtomicU32::new(0), AtomicU32::new(0)]))
    }

    fn raise_for(shared: &Shared, which: usize) -> thread::JoinHandle<()> {
        let shared = shared.clone();
        thread::spawn(move || {
            shared.1[which].store(1, Relaxed);
            shared.0.raise();
        })
    }

    #[test]
    fn loom_who_sees_a_flag_raised_sees_what_it_was_raised_for() {
        check(&[("Flag::raise: Release", WRONG), ("Flag::is_raised: Acquire", WRONG)], || {
            let shared = shared();
            let raising = raise_for(&shared, 0);
            if shared.0.is_raised() {
                assert_eq!(shared.1[0].load(Relaxed), 1);
            }
            raising.join().unwrap();
        });
    }

    #[test]
    fn loom_who_takes_a_flag_down_sees_what_every_thread_raised_it_for() {
        check_bounded(
            2,
            &[
                ("Flag::take: Acquire", "raised for nothing"),
                ("Flag::raise: exchange", "raised for nothing"),
            ],
            || {
                let shared = shared();
                let raising = [raise_for(&shared, 0), raise_for(&shared, 1)];
                let mut seen = [0, 0];
                for _ in 0..2 {
                    if shared.0.take() {
                        seen = [0, 1].map(|which| shared.1[which].load(Relaxed));
                    }
                }
                let left = shared.0.is_raised();
                for raising in raising {
                    raising.join().unwrap();
                }
                assert!(left || shared.0.take() || seen == [1, 1], "raised for nothing");
            },
        );
    }
}
