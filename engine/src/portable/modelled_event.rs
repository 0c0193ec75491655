//! The event of the portable backend as loom sees it.

use std::time::Duration;

use crate::primitives::{Condvar, Mutex};

/// An event that ends one wait each time it is set. In a model no time passes, and no process dies.
#[derive(Default)]
pub(crate) struct NamedEvent {
    set: Mutex<bool>,
    changed: Condvar,
}

impl NamedEvent {
    pub(crate) fn set(&self) {
        *self.set.lock() = true;
        self.changed.notify_all();
    }

    pub(crate) fn wait(&self, _timeout: Duration) -> bool {
        let mut set = self.set.lock();
        while !*set {
            set = self.changed.wait(set);
        }
        *set = false;
        true
    }

    pub(crate) fn rescue(&self) -> bool {
        true
    }

    pub(crate) fn is_lost(&self) -> bool {
        false
    }
}
