//! A request of the peer that is not answered yet: how its handler hears that nobody waits any more.
//!
//! ```text
//!   who gives it up                       who wants to hear of it
//!   raises the flag                       leaves what to do (locked)
//!   takes what is to be done (locked)     looks at the flag
//! ```
//!
//! Either the one finds what the other has left, or the other sees the flag and does it by itself.

use crate::model::guarded;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak},
};

use crate::{primitives::Mutex, sync::flag::Flag, wake::executor::Task};

#[derive(Default)]
pub(crate) struct IncomingRequest {
    cancelled: Flag,
    on_cancel: Mutex<OnCancel>,
}

#[derive(Default)]
enum OnCancel {
    #[default]
    Nothing,
    Call(Box<dyn FnOnce() + Send>),
    /// The handler's future, which is dropped.
    Drop(Weak<Task>),
}

impl IncomingRequest {
    /// The caller does not wait any more. Called on the driver's thread.
    pub(crate) fn cancel(&self) {
        self.cancelled.raise();
        // Taken out first: the application's code runs without the lock.
        let what = std::mem::take(&mut *self.on_cancel.lock());
        match what {
            OnCancel::Nothing => {}
            OnCancel::Call(callback) => {
                // The application's code: its panic must not end the loop.
                let _ = catch_unwind(AssertUnwindSafe(callback));
            }
            OnCancel::Drop(task) => {
                if let Some(task) = task.upgrade() {
                    task.cancel();
                }
            }
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.is_raised()
    }

    /// Drops the future of an async handler when the caller gives up.
    pub(crate) fn drop_on_cancel(&self, task: &Arc<Task>) {
        self.leave(OnCancel::Drop(Arc::downgrade(task)));
    }

    /// Calls back when the caller gives up, in place of what was to be done before.
    pub(crate) fn call_on_cancel(&self, callback: impl FnOnce() + Send + 'static) {
        self.leave(OnCancel::Call(Box::new(callback)));
    }

    fn leave(&self, what: OnCancel) {
        // Dropped without the lock: it may be the application's.
        let replaced = std::mem::replace(&mut *self.on_cancel.lock(), what);
        drop(replaced);
        // It may have been cancelled just before: then nobody else will look.
        if guarded!("IncomingRequest::leave: cancelled", self.is_cancelled(), else false) {
            self.cancel();
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::model::{WRONG, check};
    use crate::primitives::{AtomicU32, Ordering::Relaxed, thread};

    #[test]
    fn loom_who_wants_to_hear_of_a_cancel_hears_of_it_once() {
        check(&[("IncomingRequest::leave: cancelled", WRONG)], || {
            let owed = Arc::new(IncomingRequest::default());
            let calls = Arc::new(AtomicU32::new(0));
            let cancelling = thread::spawn({
                let owed = owed.clone();
                move || owed.cancel()
            });
            owed.call_on_cancel({
                let calls = calls.clone();
                move || _ = calls.fetch_add(1, Relaxed)
            });
            cancelling.join().unwrap();
            assert_eq!(calls.load(Relaxed), 1);
        });
    }
}
