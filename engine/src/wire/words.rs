//! The atomic words of a control page. All orderings of control pages are in this file.
//!
//! Each word has one writer, the owner of the page, so none needs a compare-and-swap.
//!
//! # Why no wake-up is lost
//!
//! ```text
//!   sleeper                              waker
//!   -------                              -----
//!   reads the bell
//!   parked.announce():  parked := odd    hands over work (a frame, or room)
//!                       fence            fence_before_look()
//!   looks for work                       looks at parked.asleep()
//!   sleeps while the bell is as read     bumps the bell, wakes
//! ```
//!
//! One of the two fences comes first. If it is the sleeper's, the waker sees it asleep and bumps the bell.
//! If it is the waker's, the sleeper sees the work and does not sleep. Without either fence a processor may
//! look before its own store is visible. Then both miss, and the work waits for the next event.

use crate::{
    model::guarded,
    primitives::{
        AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release, SeqCst},
        fence,
    },
};

/// A position in bytes since the beginning. It only moves forward.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct Cursor(AtomicU64);

impl Cursor {
    #[inline]
    pub(crate) fn publish(&self, position: u64) {
        // Release: pairs with the Acquire in `observe`; makes all accesses up to `position` visible.
        self.0.store(position, guarded!("Cursor::publish: Release", Release));
    }

    #[inline]
    pub(crate) fn observe(&self) -> u64 {
        // Acquire: pairs with the Release in `publish`; makes all accesses up to the position visible.
        self.0.load(guarded!("Cursor::observe: Acquire", Acquire))
    }
}

/// The end of the bytes that the writer of a topic may be overwriting.
///
/// Readers copy first and read the claim afterwards. A copy is whole if the writer had not claimed its
/// place by then.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct Claim(AtomicU64);

impl Claim {
    /// Claims everything up to `position`, before the first word there changes.
    #[inline]
    pub(crate) fn stake(&self, position: u64) {
        self.0.store(position, Relaxed);
        // Release: pairs with the fence in `staked`; makes the claim visible to a reader that copied a word
        // written after it.
        guarded!("Claim::stake: fence", fence(Release));
    }

    /// Returns a claim that covers every word that the caller has copied before this call.
    #[inline]
    pub(crate) fn staked(&self) -> u64 {
        // Acquire: pairs with the fence in `stake`; keeps the copy before the load.
        guarded!("Claim::staked: fence", fence(Acquire));
        self.0.load(Relaxed)
    }
}

/// The number of the owner's sleep: odd while it sleeps. A waker rings once for each number.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct Epoch(AtomicU32);

impl Epoch {
    /// Announces a sleep under a new odd number. Owner only.
    ///
    /// The caller looks for work once more afterwards, and sleeps only if there is none.
    #[inline]
    pub(crate) fn announce(&self) -> u32 {
        let epoch = guarded!("Epoch::announce: new number", self.0.load(Relaxed).wrapping_add(1) | 1, else 1);
        self.0.store(epoch, Relaxed);
        // SeqCst: pairs with `fence_before_look`; makes the epoch visible before the owner looks for work.
        guarded!("Epoch::announce: fence", fence(SeqCst));
        epoch
    }

    /// Marks the owner as awake. Owner only; does nothing if it is awake.
    #[inline]
    pub(crate) fn withdraw(&self) {
        if let Some(epoch) = self.asleep() {
            self.0.store(epoch.wrapping_add(1), Relaxed);
        }
    }

    /// Returns the number of the owner's present sleep. Call after [`fence_before_look`].
    #[inline]
    pub(crate) fn asleep(&self) -> Option<u32> {
        let epoch = self.0.load(Relaxed);
        (epoch & 1 == 1).then_some(epoch)
    }
}

/// The time at which the owner wakes up by itself, in nanoseconds of the monotonic clock. 0: no such time.
///
/// Set before [`Epoch::announce`] and read after [`fence_before_look`], so the argument above holds here too: a
/// waker that reads an earlier sleep's alarm has handed over its work before the owner's last look.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct Alarm(AtomicU64);

impl Alarm {
    /// The longest delay of a wake-up. An alarm that is older does not count.
    const LATE_MAX_NS: u64 = 1_000_000;

    /// Sets the time. Owner only. With `None` only a ring ends the next sleep.
    #[inline]
    pub(crate) fn set(&self, at_ns: Option<u64>) {
        // Relaxed: the fence in `Epoch::announce` comes later.
        let no_alarm = guarded!("Alarm::set: clears", 0, else self.0.load(Relaxed));
        self.0.store(at_ns.unwrap_or(no_alarm), Relaxed);
    }

    /// Returns whether the sleeping owner wakes up by itself within `soon_ns` of `now_ns`, or is just waking up.
    ///
    /// A hostile peer may set any value. It only decides whether that peer is rung.
    #[inline]
    pub(crate) fn is_near(&self, now_ns: u64, soon_ns: u64) -> bool {
        // Relaxed: `fence_before_look` came before it.
        let at_ns = self.0.load(Relaxed);
        let from = at_ns.saturating_sub(soon_ns);
        let until = at_ns.saturating_add(Self::LATE_MAX_NS);
        at_ns != 0 && (from..until).contains(&now_ns)
    }
}

/// Orders handed-over work before the look for a sleeper.
#[inline]
pub(crate) fn fence_before_look() {
    // SeqCst: pairs with the fence in `Epoch::announce`; the sleeper sees the work or the caller the sleeper.
    guarded!("fence_before_look", fence(SeqCst));
}

/// The word on which the owner's peer sleeps. It changes with every ring.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Bell {
    word: AtomicU32,
    /// The processor on which the owner rang last, plus 1. 0: unknown. The peer decides by it only where it runs
    /// itself, so a false value costs nothing but the peer's own time.
    processor: AtomicU32,
}

impl Bell {
    /// Returns the value to sleep on. Call before [`Epoch::announce`].
    #[inline]
    pub(crate) fn read(&self) -> u32 {
        // Acquire: pairs with the Release in `bump`; keeps the later announcement behind this load.
        // No model: loom runs the accesses of a thread in their order.
        self.word.load(Acquire)
    }

    /// Changes the value that a sleeper has read. Any thread of the owner, which runs on `processor`.
    #[inline]
    pub(crate) fn bump(&self, processor: Option<u32>) {
        // Relaxed: a hint, on which no memory depends.
        self.processor.store(processor.map_or(0, |number| number.wrapping_add(1)), Relaxed);
        // Release: pairs with the Acquire in `read`; makes the work visible to a sleeper that it wakes.
        // No model: as in `read`.
        self.word.fetch_add(1, Release);
    }

    /// Returns the processor on which the owner rang last.
    pub(crate) fn rung_on(&self) -> Option<u32> {
        // Relaxed: as in `bump`.
        self.processor.load(Relaxed).checked_sub(1)
    }

    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.word
    }
}

#[cfg(all(test, loom))]
#[allow(unsafe_code, reason = "a model of memory that a cursor hands over")]
mod loom_tests {
    use crate::model::{RACE, check};
    use loom::cell::Cell;

    use super::*;
    use crate::primitives::{Arc, thread};

    struct Place(Cell<u32>);

    // SAFETY: that its accesses are ordered is what the model checks, and loom reports it if they are not.
    unsafe impl Sync for Place {}

    /// The owner of a cursor has finished with a place when it publishes. Loom reports an unordered read and write.
    #[test]
    fn loom_a_place_is_written_again_only_after_it_was_read() {
        check(&[("Cursor::publish: Release", RACE), ("Cursor::observe: Acquire", RACE)], || {
            let shared = Arc::new((Cursor::default(), Place(Cell::new(7))));
            let reader = thread::spawn({
                let shared = shared.clone();
                move || {
                    let (consumed, place) = &*shared;
                    assert_eq!(place.0.get(), 7);
                    consumed.publish(1);
                }
            });
            let (consumed, place) = &*shared;
            if consumed.observe() == 1 {
                place.0.set(8);
            }
            reader.join().unwrap();
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_sleep_has_its_own_number() {
        let epoch = Epoch::default();
        assert_eq!(epoch.asleep(), None);
        assert_eq!(epoch.announce(), 1);
        assert_eq!(epoch.asleep(), Some(1));
        assert_eq!(epoch.announce(), 3);
        epoch.withdraw();
        assert_eq!(epoch.asleep(), None);
        epoch.withdraw();
        assert_eq!(epoch.announce(), 5);
    }

    #[test]
    fn an_epoch_wraps_without_a_false_sleep() {
        let epoch = Epoch(AtomicU32::new(u32::MAX - 1));
        assert_eq!(epoch.announce(), u32::MAX);
        epoch.withdraw();
        assert_eq!(epoch.asleep(), None);
        assert_eq!(epoch.announce(), 1);
    }

    #[test]
    fn an_alarm_is_near_a_little_before_and_not_long_after() {
        let alarm = Alarm::default();
        assert!(!alarm.is_near(0, 100));
        alarm.set(Some(10_000_000));
        let near = [9_999_899, 9_999_900, 10_000_000, 10_999_999, 11_000_000]
            .map(|now| alarm.is_near(now, 100));
        assert_eq!(near, [false, true, true, true, false]);
        for nonsense in [1, u64::MAX] {
            alarm.set(Some(nonsense));
            assert!(!alarm.is_near(10_000_000, 100));
        }
        alarm.set(None);
        assert!(!alarm.is_near(10_000_000, 100));
    }

    #[test]
    fn a_bumped_bell_is_no_longer_what_a_sleeper_read() {
        let bell = Bell::default();
        let read = bell.read();
        assert_eq!(bell.rung_on(), None);
        bell.bump(Some(0));
        assert_ne!(bell.read(), read);
        assert_eq!(bell.rung_on(), Some(0));
    }
}
