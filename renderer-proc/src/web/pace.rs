//! The rate limit of a page's messages, and the pace of its frames. The caller has the clock.

use std::time::{Duration, Instant};

/// The lasting limit of a page's messages, 250 a second: four times the need of a page that draws 60 frames a second.
const MESSAGE_EVERY: Duration = Duration::from_millis(4);
const BURST: u32 = 500;
const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 60);

/// The rate limit of a page's messages: the time at which all messages so far were allowed at the lasting rate.
pub(super) struct Rate(Instant);

impl Rate {
    pub(super) fn new(now: Instant) -> Self {
        Self(now)
    }

    /// Returns whether one more message may come now.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        let next = self.0.max(now) + MESSAGE_EVERY;
        let allowed = next <= now + BURST * MESSAGE_EVERY;
        if allowed {
            self.0 = next;
        }
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
        assert_eq!(allowed(now), 500);
        assert_eq!(allowed(now + Duration::from_millis(100)), 25);
    }

    #[test]
    fn frames_come_sixty_times_a_second_and_only_on_request_and_not_in_a_burst() {
        let start = Instant::now();
        let mut frames = Frames::new(start);
        assert_eq!(frames.due(), None);
        let mut sent_at = |now| {
            frames.want();
            let is_due = frames.due().is_some_and(|due| due <= now);
            if is_due {
                frames.sent(now);
            }
            is_due
        };
        let sent = (0..1_000_000).filter(|us| sent_at(start + Duration::from_micros(*us))).count();
        assert!((60..=61).contains(&sent), "{sent}");
        let late = (0..100).filter(|_| sent_at(start + Duration::from_secs(60))).count();
        assert!(late <= 2, "{late}");
        frames.sent(start);
        assert_eq!(frames.due(), None);
    }
}
