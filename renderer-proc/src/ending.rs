//! A request that this process ends: by Ctrl-C, a broken pipe, or an error elsewhere.
//!
//! The request is remembered, so it may come before there is a loop to stop.

use std::{sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex};

/// The request, and the loop to stop.
#[derive(Default)]
pub struct Ending {
    state: Mutex<State>,
    signal_came: Condvar,
}

#[derive(Default)]
struct State {
    requested: bool,
    signalled: bool,
    stop: Option<Box<dyn Fn() + Send>>,
}

impl Ending {
    /// Creates an ending that nobody has requested.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Makes Ctrl-C, SIGTERM and SIGHUP request the end instead of killing. Once in a process.
    pub fn listen_to_signals(self: &Arc<Self>) -> Result<(), ctrlc::Error> {
        let ending = self.clone();
        ctrlc::set_handler(move || {
            ending.state.lock().signalled = true;
            ending.signal_came.notify_all();
            ending.request();
        })
    }

    /// Requests the end. Any thread may repeat it.
    pub fn request(&self) {
        let mut state = self.state.lock();
        state.requested = true;
        if let Some(stop) = &state.stop {
            stop();
        }
    }

    /// Returns whether the end was requested.
    pub fn is_requested(&self) -> bool {
        self.state.lock().requested
    }

    /// Returns whether a signal requests the end within the time. Ctrl-C reaches a whole process group, and this
    /// process may see another one die of it before its own signal arrives.
    pub fn is_signalled_within(&self, timeout: Duration) -> bool {
        let mut state = self.state.lock();
        self.signal_came.wait_while_for(&mut state, |state| !state.signalled, timeout);
        state.signalled
    }

    /// Calls `stop` on each request, and now if there was one. It must not wait.
    pub fn on_request(&self, stop: impl Fn() + Send + 'static) {
        let mut state = self.state.lock();
        if state.requested {
            stop();
        }
        state.stop = Some(Box::new(stop));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_request_that_comes_first_is_remembered_and_is_no_signal() {
        let ending = Ending::new();
        let stops = Arc::new(AtomicU32::new(0));
        ending.request();
        assert!(ending.is_requested());
        let counted = stops.clone();
        ending.on_request(move || _ = counted.fetch_add(1, Ordering::Relaxed));
        assert_eq!(stops.load(Ordering::Relaxed), 1);
        ending.request();
        assert_eq!(stops.load(Ordering::Relaxed), 2);
        assert!(!ending.is_signalled_within(Duration::ZERO));
        ending.state.lock().signalled = true;
        assert!(ending.is_signalled_within(Duration::from_secs(60)));
    }
}
