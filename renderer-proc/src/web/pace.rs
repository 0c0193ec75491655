//! The rate limit of a page's messages, and the pace of its frames. The caller has the clock.

use std::time::{Duration, Instant};

/// The lasting limit of a page's messages: four times the need of a page that draws 60 frames a second.
const MESSAGES_PER_SECOND: f64 = 250.0;
/// The limit of messages at once.
const BURST: f64 = 500.0;
/// The time of a frame.
const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 60);

/// The rate limit of a page's messages: a token bucket.
pub(super) struct Rate {
    tokens: f64,
    filled_at: Instant,
}

impl Rate {
    pub(super) fn new(now: Instant) -> Self {
        Self { tokens: BURST, filled_at: now }
    }

    /// Returns whether one more message may come now.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.filled_at = now;
        self.tokens = (self.tokens + passed * MESSAGES_PER_SECOND).min(BURST);
        let allowed = self.tokens >= 1.0;
        self.tokens -= f64::from(u8::from(allowed));
        allowed
    }
}

/// The pace of a page's frames: at most 60 a second on average, each on request.
pub(super) struct Frames {
    due: Instant,
    wanted: bool,
}

impl Frames {
    pub(super) fn new(now: Instant) -> Self {
        Self { due: now, wanted: false }
    }

    /// Requests a frame: the page has drawn the last one.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// Returns when the next frame may be sent, or `None` if it was not requested.
    pub(super) fn due(&self) -> Option<Instant> {
        self.wanted.then_some(self.due)
    }

    /// Notes that a frame is sent now. A late frame does not delay the next one, but at most one is caught up.
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
    fn a_burst_passes_and_then_the_rate() {
        let now = Instant::now();
        let mut rate = Rate::new(now);
        let mut allowed = |at| (0..1000).filter(|_| rate.allows(at)).count();
        assert_eq!(allowed(now), BURST as usize);
        assert_eq!(allowed(now + Duration::from_millis(100)), 25);
    }

    #[test]
    fn frames_come_sixty_times_a_second_and_only_on_request() {
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
