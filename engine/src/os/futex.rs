//! Sleeping on a word of memory.
//!
//! A waiter passes the value that it has seen. The kernel puts it to sleep only if the word still holds that
//! value, so a change between the look and the sleep is not missed. A word that several processes map is
//! [`Scope::Shared`]; a read-only mapping is enough to wait on it and to wake its sleepers. A word of this
//! process alone is [`Scope::Private`], which is cheaper and never reaches another process.
//!
//! A wait may end early. A wake-up, a changed word, a signal and the timeout all return `Ok(())`, so callers
//! look and loop.

use std::{
    io,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    thread::futex::{self, ClockId, Flags, Wait, WaitFlags, WaitPtr, WaitvFlags},
};

use crate::{os::clock, primitives::AtomicU32};

/// The threads that can wait on a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Those of every process that maps it.
    Shared,
    /// Those of this process.
    Private,
}

impl Scope {
    fn flags(self) -> Flags {
        match self {
            Scope::Shared => Flags::empty(),
            Scope::Private => Flags::PRIVATE,
        }
    }
}

/// Sleeps while `word` holds `seen`, for at most `timeout`.
#[cfg(any(test, feature = "sandbox"))]
pub(crate) fn wait(
    word: &AtomicU32,
    seen: u32,
    timeout: Option<Duration>,
    scope: Scope,
) -> io::Result<()> {
    let timeout = timeout.map(clock::timespec_of);
    ended(futex::wait(word, scope.flags(), seen, timeout.as_ref()))
}

/// A word, and the value that its sleeper has seen there.
pub(crate) type Seen<'a> = (&'a AtomicU32, u32);

/// Sleeps while `shared` and `private` both hold the values seen, at most until `deadline`.
///
/// Another process may own the first word. The second is this process's own, and interrupts the wait.
pub(crate) fn wait_either(
    shared: Seen<'_>,
    private: Seen<'_>,
    deadline: Option<Instant>,
) -> io::Result<()> {
    let deadline = deadline.map(|at| clock::timespec_of(Duration::from_nanos(clock::at_ns(at))));
    let words = [waiter(shared, WaitFlags::empty()), waiter(private, WaitFlags::PRIVATE)];
    let woken = futex::waitv(&words, WaitvFlags::empty(), deadline.as_ref(), ClockId::Monotonic);
    ended(woken.map(drop))
}

/// Wakes all sleepers of `word`. The caller changes the word first: a sleeper that finds it unchanged sleeps again.
pub(crate) fn wake_all(word: &AtomicU32, scope: Scope) {
    // The kernel takes a signed count. The call fails only for an unmapped address.
    let _ = futex::wake(word, scope.flags(), i32::MAX as u32);
}

fn waiter((word, seen): Seen<'_>, flags: WaitFlags) -> Wait {
    let mut waiter = Wait::new();
    waiter.val = u64::from(seen);
    waiter.uaddr = WaitPtr::new(word.as_ptr().cast());
    waiter.flags = WaitFlags::SIZE_U32 | flags;
    waiter
}

/// Maps the ordinary ends of a wait to `Ok`.
fn ended(result: Result<(), Errno>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::primitives::{Arc, Ordering};

    const SOON: Duration = Duration::from_millis(20);
    const MUCH_LATER: Duration = Duration::from_secs(20);

    /// Runs `rouse` a little after `sleep` began and says how long `sleep` took.
    fn timed(sleep: impl FnOnce() + Send + 'static, rouse: impl FnOnce()) -> Duration {
        let start = Instant::now();
        let sleeper = thread::spawn(sleep);
        thread::sleep(SOON);
        rouse();
        sleeper.join().unwrap();
        start.elapsed()
    }

    #[test]
    fn a_wait_on_a_changed_word_does_not_sleep() {
        let start = Instant::now();
        wait(&AtomicU32::new(1), 0, Some(MUCH_LATER), Scope::Private).unwrap();
        assert!(start.elapsed() < MUCH_LATER);
    }

    #[test]
    fn a_wait_ends_with_its_timeout() {
        let start = Instant::now();
        wait(&AtomicU32::new(0), 0, Some(SOON), Scope::Shared).unwrap();
        assert!(start.elapsed() >= SOON);
    }

    #[test]
    fn a_wait_of_two_words_ends_by_the_first() {
        let words = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
        let theirs = words.clone();
        let deadline = Instant::now() + MUCH_LATER;
        let took = timed(
            move || {
                while theirs[0].load(Ordering::Acquire) == 0 {
                    wait_either((&theirs[0], 0), (&theirs[1], 0), Some(deadline)).unwrap();
                }
            },
            || {
                words[0].store(1, Ordering::Release);
                wake_all(&words[0], Scope::Shared);
            },
        );
        assert!(took < MUCH_LATER);
    }

    #[test]
    fn a_wait_of_two_words_ends_by_the_second() {
        let words = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
        let theirs = words.clone();
        let deadline = Instant::now() + MUCH_LATER;
        let took = timed(
            move || {
                while theirs[1].load(Ordering::Acquire) == 0 {
                    wait_either((&theirs[0], 0), (&theirs[1], 0), Some(deadline)).unwrap();
                }
            },
            || {
                words[1].store(1, Ordering::Release);
                wake_all(&words[1], Scope::Private);
            },
        );
        assert!(took < MUCH_LATER);
    }

    #[test]
    fn a_wait_of_two_words_ends_with_its_deadline() {
        let (shared, private) = (AtomicU32::new(0), AtomicU32::new(0));
        let deadline = Instant::now() + SOON;
        wait_either((&shared, 0), (&private, 0), Some(deadline)).unwrap();
        assert!(Instant::now() >= deadline);
    }

    #[test]
    fn a_deadline_that_has_passed_does_not_sleep() {
        let (shared, private) = (AtomicU32::new(0), AtomicU32::new(0));
        wait_either((&shared, 0), (&private, 0), Some(Instant::now())).unwrap();
    }
}
