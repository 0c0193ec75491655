//! Renderers that ring without having sent anything, again and again.
//!
//! An honest renderer rings once for each time that main falls asleep, for a frame, or for room that main waits for.
//! A ring costs main a wake-up, so rings without frames could keep it busy for nothing. A window that
//! rings so too often in a short time is not heard for a while; it is looked at by interval instead, so
//! its frames come a little late, and its rings cost nothing.

use std::time::{Duration, Instant};

/// So many rings without a frame ...
const RINGS_MAX: u32 = 128;
/// ... in so short a time are a storm. (Main's rings for room come by the way of a bell too, but not as often.)
const RINGS_WITHIN: Duration = Duration::from_millis(10);
/// How long a renderer is not heard then.
const SILENCE: Duration = Duration::from_millis(250);
/// Between two looks at it meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// What one window has rung for.
#[derive(Default)]
pub(super) struct WakeFlood {
    /// How far its frames had been read at its last ring.
    position: u64,
    /// Rings without a frame, and since when they are counted.
    empty: u32,
    since: Option<Instant>,
    silent_until: Option<Instant>,
}

impl WakeFlood {
    /// Notes a ring of a window whose frames were read up to `position`. `true`: it is one too many, and the
    /// window is not heard until [`next_look`](Self::next_look) says so.
    pub(super) fn note(&mut self, position: u64, has_news: bool) -> bool {
        let empty = !has_news && position == self.position;
        self.position = position;
        empty && self.note_empty(Instant::now())
    }

    fn note_empty(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.duration_since(since) > RINGS_WITHIN) {
            self.since = Some(now);
            self.empty = 0;
        }
        self.empty += 1;
        let storm = self.empty > RINGS_MAX;
        if storm {
            self.since = None;
            self.silent_until = now.checked_add(SILENCE);
        }
        storm
    }

    /// Returns whether the window is not heard at present.
    pub(super) fn are_ignored(&self) -> bool {
        self.silent_until.is_some()
    }

    /// When the window is to be looked at next; `None`: it is to be heard.
    #[inline]
    pub(super) fn next_look(&mut self) -> Option<Instant> {
        self.silent_until?;
        self.next_look_after(Instant::now())
    }

    fn next_look_after(&mut self, now: Instant) -> Option<Instant> {
        self.silent_until.take_if(|until| *until <= now);
        self.silent_until?;
        now.checked_add(LOOK_EVERY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn rings_for_frames_are_no_storm_however_many_they_are() {
        let mut rings = WakeFlood::default();
        for ring in 1..10 * u64::from(RINGS_MAX) {
            // Every other frame was taken before its ring was heard, and the rest lie there yet.
            assert!(!rings.note(64 * ring.div_ceil(2), ring.is_multiple_of(2)));
            assert_eq!(rings.next_look(), None);
        }
    }

    #[test]
    fn rings_without_frames_are_a_storm_once_too_many_come_in_a_short_time() {
        let (mut rings, began) = (WakeFlood::default(), Instant::now());
        for ring in 0..10 * RINGS_MAX {
            assert!(!rings.note_empty(began + ring * MS), "they come slowly");
        }
        let later = began + Duration::from_secs(60);
        assert!((0..RINGS_MAX).all(|_| !rings.note_empty(later)));
        assert!(rings.note_empty(later));
        assert_eq!(rings.next_look_after(later), Some(later + LOOK_EVERY));
        assert_eq!(rings.next_look_after(later + SILENCE - MS), Some(later + SILENCE));
        assert_eq!(rings.next_look_after(later + SILENCE), None);
        // And all over again.
        assert!((0..RINGS_MAX).all(|_| !rings.note_empty(later + SILENCE)));
        assert!(rings.note_empty(later + SILENCE));
    }

    #[test]
    fn a_frame_now_and_then_does_not_hide_a_storm() {
        let mut rings = WakeFlood::default();
        let storm = (0..1_000_000).any(|ring| rings.note(ring / 16 * 64, false));
        assert!(storm);
    }
}
