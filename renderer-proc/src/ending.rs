//! The wish that this process ends, whoever has it: Ctrl-C, a broken pipe, an error elsewhere.
//!
//! The wish is remembered, so it does not matter whether it comes before or after there is a loop to be
//! stopped.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Whether this process is to end, and what has to be stopped for that.
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
    /// Nobody wants it yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// From now on Ctrl-C, SIGTERM and SIGHUP ask for the end instead of killing. Once in a process.
    ///
    /// # Errors
    ///
    /// If the operating system refuses.
    pub fn listen_to_signals(self: &Arc<Self>) -> Result<(), ctrlc::Error> {
        let ending = self.clone();
        ctrlc::set_handler(move || {
            ending.lock().signalled = true;
            ending.signal_came.notify_all();
            ending.request();
        })
    }

    /// Asks for the end. From any thread; asking again does no harm.
    pub fn request(&self) {
        let mut state = self.lock();
        state.requested = true;
        if let Some(stop) = &state.stop {
            stop();
        }
    }

    /// Whether somebody asked.
    pub fn is_requested(&self) -> bool {
        self.lock().requested
    }

    /// Whether a signal asked, or does within the time. Ctrl-C reaches a whole process group, and one
    /// process may be seen to die of it before another has noticed its own.
    pub fn is_signalled_within(&self, timeout: Duration) -> bool {
        let waited =
            self.signal_came.wait_timeout_while(self.lock(), timeout, |state| !state.signalled);
        waited.unwrap_or_else(PoisonError::into_inner).0.signalled
    }

    /// Calls `stop` when somebody asks; at once if somebody has. It must not wait.
    pub fn on_request(&self, stop: impl Fn() + Send + 'static) {
        let mut state = self.lock();
        if state.requested {
            stop();
        }
        state.stop = Some(Box::new(stop));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_wish_that_comes_first_is_not_forgotten() {
        let ending = Ending::new();
        let stops = Arc::new(AtomicU32::new(0));
        ending.request();
        assert!(ending.is_requested());
        let counted = stops.clone();
        ending.on_request(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(stops.load(Ordering::Relaxed), 1);
        ending.request();
        assert_eq!(stops.load(Ordering::Relaxed), 2);
    }
    #[test]
    fn a_wish_is_not_a_signal() {
        let ending = Ending::new();
        ending.request();
        assert!(!ending.is_signalled_within(Duration::ZERO));
        ending.lock().signalled = true;
        assert!(ending.is_signalled_within(Duration::from_secs(60)));
    }
}
