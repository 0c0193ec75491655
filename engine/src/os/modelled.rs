//! The operating system of the models: it puts threads to sleep and wakes them.

/// Time does not pass in a model.
pub(crate) mod clock {
    pub(crate) fn now_ns() -> u64 {
        1_000_000_000
    }
}

/// All threads of a model run on one processor.
pub(crate) mod processor {
    pub(crate) fn current() -> Option<u32> {
        Some(0)
    }

    /// Time does not pass.
    pub(crate) fn ticks() -> Option<u64> {
        None
    }
}

pub(crate) mod futex {
    use std::{io, time::Instant};

    use crate::primitives::{
        AtomicU32, Mutex, Ordering,
        thread::{self, Thread},
    };

    /// In a model all threads belong to one process.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Scope {
        Shared,
        Private,
    }

    /// A sleeping thread, and the words that it sleeps on.
    type Sleeper = ([usize; 2], Thread);

    loom::lazy_static! {
        static ref SLEEPERS: Mutex<Vec<Sleeper>> = Mutex::new(Vec::new());
    }

    /// Sleeps while `shared` and `private` both hold the values seen. No deadline passes in a model.
    pub(crate) fn wait_either(
        (shared, shared_seen): (&AtomicU32, u32),
        (private, private_seen): (&AtomicU32, u32),
        _deadline: Option<Instant>,
    ) -> io::Result<()> {
        {
            // Under the lock: the kernel compares the words and enters the sleeper in one step.
            let mut sleepers = SLEEPERS.lock();
            if now(shared) != shared_seen || now(private) != private_seen {
                return Ok(());
            }
            sleepers.push(([address(shared), address(private)], thread::current()));
        }
        thread::park();
        Ok(())
    }

    pub(crate) fn wake_all(word: &AtomicU32, _scope: Scope) {
        let woken: Vec<Sleeper> =
            SLEEPERS.lock().extract_if(.., |(words, _)| words.contains(&address(word))).collect();
        woken.iter().for_each(|(_, thread)| thread.unpark());
    }

    fn now(word: &AtomicU32) -> u32 {
        // Relaxed: an exchange reads the newest value, as the kernel does; a load could read an older one.
        word.fetch_add(0, Ordering::Relaxed)
    }

    fn address(word: &AtomicU32) -> usize {
        std::ptr::from_ref(word).addr()
    }
}
