//! The requests of the peer that are not answered, and how their handlers hear of a cancel.
//!
//! ```text
//!   the driver cancels                    the handler registers
//!   raises the flag                       leaves an action (locked)
//!   takes the action (locked)             looks at the flag
//! ```
//!
//! Either the driver finds the action, or the handler sees the flag and runs the action itself.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak},
};

use crate::{
    model::guarded,
    primitives::{AtomicBool, AtomicU64, Mutex, Ordering},
    sync::flag::Flag,
    wake::executor::Task,
    wire::{frame::Violation, id::RequestId},
};

/// The requests that the peer has sent and that wait for their replies here.
pub(crate) struct Incoming {
    requests: Mutex<HashMap<RequestId, Arc<IncomingRequest>>>,
    /// Their number. Only the driver adds requests, so it may read this without the lock.
    count: AtomicU64,
    max: u16,
    /// The peer is dead, and its last frames are being taken: its invokes are counted, not run.
    orphaned: AtomicBool,
}

impl Incoming {
    /// `max` is the peer's quota.
    pub(crate) fn new(max: u16) -> Self {
        Self {
            requests: Mutex::new(HashMap::new()),
            count: AtomicU64::new(0),
            max,
            orphaned: AtomicBool::new(false),
        }
    }

    /// Checks that a new request has no id of another one, and is within the quota.
    #[inline]
    pub(crate) fn check(&self, id: RequestId) -> Result<(), Violation> {
        if self.count() == 0 {
            return Ok(());
        }
        self.work(|requests| {
            if requests.contains_key(&id) {
                Err(Violation::DuplicateRequest { id: id.to_wire() })
            } else if requests.len() >= usize::from(self.max) {
                Err(Violation::TooManyPending { max: u64::from(self.max) })
            } else {
                Ok(())
            }
        })
    }

    /// Adds a request that is answered later.
    pub(crate) fn add(&self, id: RequestId) -> Arc<IncomingRequest> {
        let request = Arc::new(IncomingRequest::default());
        self.work(|requests| requests.insert(id, request.clone()));
        request
    }

    /// Takes a request out to answer it. `false`: it was cancelled.
    pub(crate) fn take(&self, id: RequestId, request: &Arc<IncomingRequest>) -> bool {
        self.work(|requests| {
            // By identity: a hostile peer may use an id again once it has cancelled it.
            let is_ours = requests.get(&id).is_some_and(|found| Arc::ptr_eq(found, request));
            is_ours && requests.remove(&id).is_some()
        })
    }

    /// Takes a request out to [cancel](IncomingRequest::cancel) it. `None`: it was answered.
    pub(crate) fn remove(&self, id: RequestId) -> Option<Arc<IncomingRequest>> {
        self.work(|requests| requests.remove(&id))
    }

    /// Cancels every request: the session is over.
    pub(crate) fn end(&self) {
        let requests: Vec<_> = self.work(|requests| requests.drain().collect());
        requests.iter().for_each(|(_, request)| request.cancel());
    }

    #[inline]
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn mark_orphaned(&self) {
        // Relaxed: only the driver writes and reads it.
        self.orphaned.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_orphaned(&self) -> bool {
        self.orphaned.load(Ordering::Relaxed)
    }

    fn work<R>(&self, work: impl FnOnce(&mut HashMap<RequestId, Arc<IncomingRequest>>) -> R) -> R {
        let mut requests = self.requests.lock();
        let result = work(&mut requests);
        // Relaxed: the driver sees its own store, or by the driver lock that of the driver before it.
        self.count.store(requests.len() as u64, Ordering::Relaxed);
        result
    }
}

/// A request of the peer that is not answered.
#[derive(Default)]
pub(crate) struct IncomingRequest {
    cancelled: Flag,
    on_cancel: Mutex<OnCancel>,
}

/// The action for a cancel.
#[derive(Default)]
enum OnCancel {
    #[default]
    Nothing,
    Call(Box<dyn FnOnce() + Send>),
    /// Drops the handler's future.
    Drop(Weak<Task>),
}

impl IncomingRequest {
    /// Tells the handler that its caller does not wait any more. On the driver's thread.
    pub(crate) fn cancel(&self) {
        self.cancelled.raise();
        // Taken out first: the application's code runs without the lock.
        let action = std::mem::take(&mut *self.on_cancel.lock());
        match action {
            OnCancel::Nothing => {}
            OnCancel::Call(callback) => {
                // A panic of the application's code must not end the loop.
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

    /// Has the future of an async handler dropped by a cancel.
    pub(crate) fn drop_on_cancel(&self, task: &Arc<Task>) {
        self.leave(OnCancel::Drop(Arc::downgrade(task)));
    }

    /// Has `callback` called by a cancel, in place of an earlier action.
    pub(crate) fn call_on_cancel(&self, callback: impl FnOnce() + Send + 'static) {
        self.leave(OnCancel::Call(Box::new(callback)));
    }

    fn leave(&self, action: OnCancel) {
        // Dropped without the lock: it may be the application's.
        let replaced = std::mem::replace(&mut *self.on_cancel.lock(), action);
        drop(replaced);
        // A cancel just before this one has found no action.
        if guarded!("IncomingRequest::leave: cancelled", self.is_cancelled(), else false) {
            self.cancel();
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::{
        model::{WRONG, check},
        primitives::{AtomicU32, Ordering::Relaxed, thread},
    };

    #[test]
    fn loom_a_handler_hears_of_a_cancel_once() {
        check(&[("IncomingRequest::leave: cancelled", WRONG)], || {
            let request = Arc::new(IncomingRequest::default());
            let calls = Arc::new(AtomicU32::new(0));
            let cancelling = thread::spawn({
                let request = request.clone();
                move || request.cancel()
            });
            request.call_on_cancel({
                let calls = calls.clone();
                move || _ = calls.fetch_add(1, Relaxed)
            });
            cancelling.join().unwrap();
            assert_eq!(calls.load(Relaxed), 1);
        });
    }
}
