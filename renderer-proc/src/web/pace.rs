//! How fast a page may speak, and how often it is told something. The clock is the caller's.

use std::time::{Duration, Instant};

/// Messages a second that a page may send for long: some four times what one does that draws 60 frames.
const MESSAGES_PER_SECOND: f64 = 250.0;
/// And how many at once.
const BURST: f64 = 500.0;
/// The time of a frame.
const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 60);

/// A page's messages: a bucket of tokens.
pub(super) struct Rate {
    tokens: f64,
    filled_at: Instant,
}

impl Rate {
    pub(super) fn new(now: Instant) -> Self {
        Self { tokens: BURST, filled_at: now }
    }

    /// Whether one more message may come now.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.filled_at = now;
        self.tokens = (self.tokens + passed * MESSAGES_PER_SECOND).min(BURST);
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }
}

/// A page's frames: 60 a second on average at the most, and only as many as it asks for.
pub(super) struct Frames {
    due: Instant,
    wanted: bool,
}

impl Frames {
    pub(super) fn new(now: Instant) -> Self {
        Self { due: now, wanted: false }
    }

    /// The page has drawn the last one.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// When the next one may be sent; `None` before it is wanted.
    pub(super) fn due(&self) -> Option<Instant> {
        self.wanted.then_some(self.due)
    }

    /// One is sent now. One that was late does not make the next one late, but no more than one is made up for.
    pub(super) fn sent(&mut self, now: Instant) {
        self.wanted = false;
        let earliest = now.checked_sub(FRAME).map_or(self.due, |then| self.due.max(then));
        self.due = earliest + FRAME;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_let_through_and_then_the_rate() {
        let now = Instant::now();
        let mut rate = Rate::new(now);
        let allowed = (0..1000).filter(|_| rate.allows(now)).count();
        assert_eq!(allowed, BURST as usize);
        let later = now + Duration::from_millis(100);
        let allowed = (0..1000).filter(|_| rate.allows(later)).count();
        assert_eq!(allowed, 25);
    }

    #[test]
    fn frames_come_sixty_times_a_second_to_who_asks_at_once_and_not_at_all_to_who_does_not() {
        let start = Instant::now();
        let mut frames = Frames::new(start);
        assert_eq!(frames.due(), None);
        let mut sent = 0;
        for us in 0..1_000_000 {
            let now = start + Duration::from_micros(us);
            frames.want();
            if frames.due().is_some_and(|due| due <= now) {
                frames.sent(now);
                sent += 1;
            }
        }
        assert!((60..=61).contains(&sent), "{sent}");
        frames.sent(start);
        assert_eq!(frames.due(), None);
    }

    #[test]
    fn after_a_long_pause_frames_do_not_come_in_a_burst() {
        let start = Instant::now();
        let mut frames = Frames::new(start);
        let now = start + Duration::from_secs(60);
        let mut at_once = 0;
        frames.want();
        while frames.due().is_some_and(|due| due <= now) {
            frames.sent(now);
            frames.want();
            at_once += 1;
        }
        assert!(at_once <= 2, "{at_once}");
    }
}
