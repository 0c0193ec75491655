//! What models know of the operating system: that it puts threads to sleep, and wakes them.

use std::io;

use crate::primitives::AtomicU32;

/// In a model it is always the same moment.
pub(crate) mod clock {
    pub(crate) fn now_ns() -> u64 {
        1_000_000_000
    }
}

pub(crate) mod futex {
    use std::time::Instant;

    use super::*;
    use crate::primitives::{
        Mutex, Ordering,
        thread::{self, Thread},
    };

    /// Who can wait on a word. In a model all threads are one process's.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Scope {
        Shared,
        Private,
    }

    /// Who sleeps, and on which words.
    type Sleeper = ([usize; 2], Thread);

    loom::lazy_static! {
        static ref SLEEPERS: Mutex<Vec<Sleeper>> = Mutex::new(Vec::new());
    }

    /// Sleeps while `shared` and `private` both hold the values seen. In a model no time passes, so no
    /// deadline comes.
    pub(crate) fn wait_either(
        shared: &AtomicU32,
        shared_seen: u32,
        private: &AtomicU32,
        private_seen: u32,
        _deadline: Option<Instant>,
    ) -> io::Result<()> {
        {
            // The kernel too looks at the words and enters the sleeper in one step.
            let mut sleepers = SLEEPERS.lock();
            if now(shared) != shared_seen || now(private) != private_seen {
                return Ok(());
            }
            sleepers.push(([address(shared), address(private)], thread::current()));
        }
        thread::park();
        Ok(())
    }

    /// Wakes all who sleep on the word, whatever `count` says: every caller here means all.
    pub(crate) fn wake(word: &AtomicU32, _count: u32, _scope: Scope) -> io::Result<usize> {
        let woken: Vec<Sleeper> =
            SLEEPERS.lock().extract_if(.., |(words, _)| words.contains(&address(word))).collect();
        woken.iter().for_each(|(_, thread)| thread.unpark());
        Ok(woken.len())
    }

    /// The newest value, as the kernel sees it; a load could see an older one.
    fn now(word: &AtomicU32) -> u32 {
        // Relaxed: the kernel's look at a futex.
        word.fetch_add(0, Ordering::Relaxed)
    }

    fn address(word: &AtomicU32) -> usize {
        std::ptr::from_ref(word).addr()
    }
}
