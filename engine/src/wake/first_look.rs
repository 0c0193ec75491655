//! The first look at a cell in which a frame is expected.
//!
//! ```text
//!   our frame is committed         the peer's frame is expected
//!   ├──────────── delay ───────────┤
//!   │   the cell is left alone     │ look, and look again
//! ```
//!
//! A look fetches the cell's cache line. If the writer has asked for the line already, the look takes it away, and the
//! commit has to ask again: one more transfer between the processors. So a waiter that has just sent something
//! leaves the cell alone until the answer is probably there (docs/performance.md, "The first look").
//!
//! The delay is learned: a first look that finds the frame makes it a little shorter, and one that does not makes it
//! three times as much longer. So three in four find it. `max` bounds the loss where the answers are irregular.

use crate::os::processor;

/// The steps of the delay, in ticks.
const SHORTER: u32 = 2;
const LONGER: u32 = 3 * SHORTER;
/// The ticks of one look, where the processor has no counter.
const TICKS_PER_LOOK: u64 = 60;

/// The time of the first look, and what earlier ones have taught.
///
/// Its unit is the tick of [`processor::ticks`]. The processors' rates differ, which does not matter to a learned delay.
#[derive(Debug)]
pub(crate) struct FirstLook {
    delay: u32,
    max: u32,
    /// The start of the delay; `None` once the first look was taken.
    since: Option<u64>,
    /// Looks that were put off, where there are no ticks.
    put_off: u64,
}

impl FirstLook {
    /// The delay is at most `max` ticks.
    pub(crate) fn new(max: u32) -> Self {
        Self { delay: max / 2, max, since: None, put_off: 0 }
    }

    /// Begins the delay at a time of [`processor::ticks`].
    #[inline]
    pub(crate) fn begin(&mut self, since: u64) {
        self.since = Some(since);
        self.put_off = 0;
    }

    /// Returns whether the cell is to be left alone now. At the end of the delay it takes the first look.
    ///
    /// The counters of two processors may disagree. Then the delay ends early, never late.
    #[inline]
    pub(crate) fn is_put_off(&mut self, look: impl FnOnce() -> bool) -> bool {
        let Some(since) = self.since else { return false };
        let waited = match processor::ticks() {
            Some(now) => now.wrapping_sub(since),
            None => {
                self.put_off += TICKS_PER_LOOK;
                self.put_off
            }
        };
        if waited < u64::from(self.delay) {
            return true;
        }
        self.since = None;
        self.delay = if look() {
            self.delay.saturating_sub(SHORTER)
        } else {
            (self.delay + LONGER).min(self.max)
        };
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u32 = 700;

    /// Returns the looks that were put off, and whether the first one found the frame.
    fn wait(first_look: &mut FirstLook, is_there: impl Fn() -> bool) -> bool {
        let mut found = false;
        first_look.begin(processor::ticks().unwrap_or_default());
        while first_look.is_put_off(|| {
            found = is_there();
            found
        }) {}
        found
    }

    #[test]
    fn answers_that_are_there_make_the_delay_vanish_and_late_ones_make_it_as_long_as_allowed() {
        let mut first_look = FirstLook::new(MAX);
        (0..MAX).for_each(|_| _ = wait(&mut first_look, || true));
        assert_eq!(first_look.delay, 0);
        (0..MAX).for_each(|_| _ = wait(&mut first_look, || false));
        assert_eq!(first_look.delay, MAX);
    }

    #[test]
    fn three_of_four_first_looks_find_their_frame() {
        let mut first_look = FirstLook::new(MAX);
        // The answer takes 300 ticks, with a jitter of 32.
        let found = (0..4_000_u32)
            .filter(|number| {
                let takes = 300 + number.wrapping_mul(0x9e37_79b9) % 32;
                let delay = first_look.delay;
                wait(&mut first_look, || delay >= takes)
            })
            .count();
        assert!((2_600..3_400).contains(&found), "{found} of 4000, delay {}", first_look.delay);
    }

    #[test]
    fn there_is_one_first_look_after_each_beginning() {
        let mut first_look = FirstLook::new(0);
        assert!(!first_look.is_put_off(|| panic!("nothing has begun")));
        first_look.begin(0);
        let mut looks = 0;
        (0..3).for_each(|_| {
            first_look.is_put_off(|| {
                looks += 1;
                false
            });
        });
        assert_eq!(looks, 1);
    }

    #[test]
    fn a_beginning_in_the_future_puts_nothing_off() {
        let mut first_look = FirstLook::new(MAX);
        first_look.begin(u64::MAX / 2);
        assert!(processor::ticks().is_none() || !first_look.is_put_off(|| true));
    }
}
