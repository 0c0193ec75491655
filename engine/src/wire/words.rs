//! The atomic words of a control page, as types whose methods are verbs.
//!
//! Each word has one writer, the owner of the page, and so none needs a compare-and-swap. All
//! orderings of control pages are in this file.
//!
//! # The lost wake-up, and why it cannot happen
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
//! The two fences are ordered one way or the other. If the sleeper's comes first the waker sees it
//! asleep, and bumps the bell; if the waker's comes first the sleeper sees the work and does not
//! sleep. Without either fence a processor may look before its own store is visible, both miss, and
//! the work lies there until something else happens. (Tests on real hardware hardly ever catch that;
//! the loom model in `ring::tests` does at once.)

use crate::model::guarded;
use std::fmt;

use crate::primitives::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
    fence,
};

/// A position in bytes since the beginning, which only moves forward.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct Cursor(AtomicU64);

impl Cursor {
    #[cfg(any(test, loom))]
    pub(crate) fn new(position: u64) -> Self {
        Self(AtomicU64::new(position))
    }

    /// Hands over everything written (or finished with) before this call. Pairs with `observe`.
    #[inline]
    pub(crate) fn publish(&self, position: u64) {
        self.0.store(position, guarded!("Cursor::publish: Release", Release));
    }

    /// Sees everything handed over up to the returned position. Pairs with `publish`.
    #[inline]
    pub(crate) fn observe(&self) -> u64 {
        self.0.load(guarded!("Cursor::observe: Acquire", Acquire))
    }
}

/// Up to where the writer of a topic may be overwriting.
///
/// Its readers copy first and look here afterwards: a copy is whole if the writer had not claimed
/// its place by then.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct Claim(AtomicU64);

impl Claim {
    #[cfg(any(test, loom))]
    pub(crate) fn new(position: u64) -> Self {
        Self(AtomicU64::new(position))
    }

    /// Claims everything up to `position`, before the first word there changes.
    #[inline]
    pub(crate) fn stake(&self, position: u64) {
        self.0.store(position, Relaxed);
        // The claim before the words. Pairs with the fence in `staked`: a reader that copied one of
        // the words written after this sees the claim.
        guarded!("Claim::stake: fence", fence(Release));
    }

    /// What was claimed by the time the caller had copied what it copied before this call.
    #[inline]
    pub(crate) fn staked(&self) -> u64 {
        // The words before the claim. Pairs with the fence in `stake`.
        guarded!("Claim::staked: fence", fence(Acquire));
        self.0.load(Relaxed)
    }
}

/// Whether the owner sleeps, and which time around: odd while it does.
///
/// Each sleep has its own number, so that a waker can ring once per sleep and no more.
#[repr(transparent)]
pub(crate) struct Epoch(AtomicU32);

impl Epoch {
    #[cfg(any(test, loom))]
    pub(crate) fn new() -> Self {
        Self::starting_at(0)
    }

    #[cfg(any(test, loom))]
    fn starting_at(epoch: u32) -> Self {
        Self(AtomicU32::new(epoch))
    }

    /// Says that the owner is about to sleep, under a new odd number. Owner only.
    ///
    /// The caller looks for work once more after this, and sleeps only if there is none.
    #[inline]
    pub(crate) fn announce(&self) -> u32 {
        let epoch = guarded!("Epoch::announce: new number", self.0.load(Relaxed).wrapping_add(1) | 1, else 1);
        self.0.store(epoch, Relaxed);
        // Say "asleep" before looking for work. Pairs with `fence_before_look`.
        guarded!("Epoch::announce: fence", fence(SeqCst));
        epoch
    }

    /// Says that the owner is awake. Owner only; harmless if it was.
    #[inline]
    pub(crate) fn withdraw(&self) {
        let epoch = self.0.load(Relaxed);
        if is_odd(epoch) {
            self.0.store(epoch.wrapping_add(1), Relaxed);
        }
    }

    /// The number of the owner's present sleep. Call after [`fence_before_look`].
    #[inline]
    pub(crate) fn asleep(&self) -> Option<u32> {
        let epoch = self.0.load(Relaxed);
        is_odd(epoch).then_some(epoch)
    }
}

/// When the owner will wake up by itself, in nanoseconds of the one clock; 0: nobody knows.
///
/// Set before [`Epoch::announce`], read after [`fence_before_look`], so the argument above holds for it too: a
/// waker that is told of an earlier sleep's alarm has handed over its work before the owner's last look.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct Alarm(AtomicU64);

impl Alarm {
    /// An owner that is late by more has overslept.
    const LATE_MAX_NS: u64 = 1_000_000;

    #[cfg(any(test, loom))]
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Owner only. `None`: the next sleep ends when somebody rings.
    #[inline]
    pub(crate) fn set(&self, at_ns: Option<u64>) {
        // Relaxed: the fence in `Epoch::announce` comes after it.
        let no_alarm = guarded!("Alarm::set: clears", 0, else self.0.load(Relaxed));
        self.0.store(at_ns.unwrap_or(no_alarm), Relaxed);
    }

    /// Whether the owner, who sleeps, wakes up within `soon_ns` of `now_ns` by itself, or is just doing so.
    ///
    /// A peer may have set it to anything: it decides whether that peer is rung, and nothing else.
    #[inline]
    pub(crate) fn is_near(&self, now_ns: u64, soon_ns: u64) -> bool {
        // Relaxed: `fence_before_look` came before it.
        let at_ns = self.0.load(Relaxed);
        let from = at_ns.saturating_sub(soon_ns);
        let until = at_ns.saturating_add(Self::LATE_MAX_NS);
        at_ns != 0 && (from..until).contains(&now_ns)
    }
}

fn is_odd(epoch: u32) -> bool {
    epoch & 1 == 1
}

impl fmt::Debug for Epoch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let epoch = self.0.load(Relaxed);
        let state = if is_odd(epoch) { "asleep" } else { "awake" };
        write!(formatter, "Epoch({epoch}, {state})")
    }
}

/// Hands over work before looking for a sleeper. Pairs with the fence in [`Epoch::announce`]: either
/// the sleeper sees the work or the caller sees the sleeper.
#[inline]
pub(crate) fn fence_before_look() {
    guarded!("fence_before_look", fence(SeqCst));
}

/// The word on which the peer of its owner sleeps. It changes with every ring.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct Bell(AtomicU32);

impl Bell {
    #[cfg(any(test, loom))]
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// The value to sleep on, read before announcing. Pairs with `bump`.
    #[inline]
    pub(crate) fn read(&self) -> u32 {
        // No model: loom runs the accesses of a thread in their order, and Acquire keeps the later announcement behind
        // this load. The two fences carry the rest.
        self.0.load(Acquire)
    }

    /// Makes the value read by a sleeper stale. Owner only, any of its threads. Pairs with `read`.
    #[inline]
    pub(crate) fn bump(&self) {
        // No model: as in `read`.
        self.0.fetch_add(1, Release);
    }

    /// The word itself, for the system call that sleeps on it or wakes who does.
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.0
    }
}

/// A constant of the page, written before anyone else maps it.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(super) struct Constant<A>(A);

impl Constant<AtomicU32> {
    #[cfg(any(test, loom))]
    pub(super) fn new(value: u32) -> Self {
        Self(AtomicU32::new(value))
    }

    pub(super) fn set(&self, value: u32) {
        self.0.store(value, Relaxed);
    }

    pub(super) fn get(&self) -> u32 {
        self.0.load(Relaxed)
    }
}

impl Constant<AtomicU64> {
    #[cfg(any(test, loom))]
    pub(super) fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[cfg(all(test, loom))]
#[allow(unsafe_code, reason = "a model of memory that a cursor hands over")]
mod loom_tests {
    use crate::model::{RACE, check};
    use loom::cell::Cell;

    use super::*;
    use crate::primitives::{Arc, thread};

    /// Shared, as memory is.
    struct Place(Cell<u32>);

    // SAFETY: that its accesses are ordered is what the model checks, and loom reports it if they are not.
    unsafe impl Sync for Place {}

    /// A place with plain data in it, which the owner of a cursor is done with from `publish` on. Loom reports
    /// a reading and a writing that nothing orders, whatever the values.
    #[test]
    fn loom_a_place_is_written_again_only_after_it_was_read() {
        check(&[("Cursor::publish: Release", RACE), ("Cursor::observe: Acquire", RACE)], || {
            let shared = Arc::new((Cursor::new(0), Place(Cell::new(7))));
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
        let epoch = Epoch::new();
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
        let epoch = Epoch::starting_at(u32::MAX - 1);
        assert_eq!(epoch.announce(), u32::MAX);
        epoch.withdraw();
        assert_eq!(epoch.asleep(), None);
        assert_eq!(epoch.announce(), 1);
    }

    #[test]
    fn an_epoch_says_its_state_by_name() {
        let epoch = Epoch::new();
        assert_eq!(format!("{epoch:?}"), "Epoch(0, awake)");
        epoch.announce();
        assert_eq!(format!("{epoch:?}"), "Epoch(1, asleep)");
    }

    #[test]
    fn an_alarm_is_near_a_little_before_and_not_long_after() {
        let alarm = Alarm::new();
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
        let bell = Bell::new();
        let read = bell.read();
        bell.bump();
        assert_ne!(bell.read(), read);
    }
}
