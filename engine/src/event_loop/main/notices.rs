//! The queue by which threads and sessions tell the loop which window needs it, and why.
//!
//! | reason | the loop looks | and is woken |
//! | --- | --- | --- |
//! | `Ended`, `Deferred` | in its next turn | yes |
//! | `Sent` | at its next housekeeping, or before it sleeps | yes |
//! | `Begun` | at its next housekeeping, or before it sleeps | no: a thread usually waits for the reply, and drives |
//! | `Untidy` | at its next housekeeping, or before it sleeps | no |
//! | `Unattended` | (of a request that has `Begun`) | yes |
//!
//! The same notice is queued once, so the queue is bounded by the number of windows.

use crate::{
    peer::link::Reason,
    primitives::{Arc, Mutex},
    session::transport::Meeting,
    sync::{
        flag::Flag,
        reentrancy::{self, CurrentLoop},
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Notice {
    pub(super) window: u32,
    pub(super) reason: Reason,
    /// It comes from another thread than the loop's.
    pub(super) from_elsewhere: bool,
}

pub(super) struct Notices {
    queue: Mutex<Vec<Notice>>,
    /// Something does not wait for the next housekeeping.
    pub(super) urgent: Flag,
    meeting: Arc<dyn Meeting>,
}

impl Notices {
    pub(super) fn new(meeting: Arc<dyn Meeting>) -> Self {
        Self { queue: Mutex::new(Vec::new()), urgent: Flag::default(), meeting }
    }

    pub(super) fn push(&self, window: u32, reason: Reason) {
        let from_elsewhere = self.is_elsewhere();
        if reason != Reason::Unattended {
            let notice = Notice { window, reason, from_elsewhere };
            let mut queue = self.queue.lock();
            if !queue.contains(&notice) {
                queue.push(notice);
            }
        }
        match reason {
            Reason::Ended | Reason::Deferred => self.call(),
            Reason::Sent | Reason::Unattended => self.wake(),
            Reason::Begun | Reason::Untidy => {}
        }
    }

    /// Has the loop look at its notices and arrivals in its next turn.
    pub(super) fn call(&self) {
        self.urgent.raise();
        self.wake();
    }

    /// Ends the loop's sleep, unless this is the loop's own thread, which is awake.
    pub(super) fn wake(&self) {
        if self.is_elsewhere() {
            self.meeting.ring();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.urgent.is_raised() && self.queue.lock().is_empty()
    }

    /// Swaps the queue for an empty one, so that no memory is allocated.
    pub(super) fn take(&self, empty: &mut Vec<Notice>) {
        // Before the queue, which is filled before the flag is raised.
        self.urgent.take();
        std::mem::swap(empty, &mut *self.queue.lock());
    }

    pub(super) fn current_loop(&self) -> CurrentLoop {
        CurrentLoop::main(self)
    }

    fn is_elsewhere(&self) -> bool {
        reentrancy::now() != self.current_loop()
    }
}
