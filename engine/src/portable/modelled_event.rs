//! The event of the portable backend as loom sees it.

use std::io;

use crate::primitives::{Condvar, Mutex, thread};

/// An event that ends one wait each time it is set. In a model no process dies.
#[derive(Default)]
pub(crate) struct NamedEvent {
    set: Mutex<bool>,
    changed: Condvar,
}

impl NamedEvent {
    pub(super) fn set(&self) {
        *self.set.lock() = true;
        self.changed.notify_all();
    }

    pub(super) fn wait(&self) {
        let mut set = self.set.lock();
        while !*set {
            set = self.changed.wait(set);
        }
        *set = false;
    }
}

pub(super) fn spawn(
    _name: &str,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<thread::JoinHandle<()>> {
    Ok(thread::spawn(work))
}
